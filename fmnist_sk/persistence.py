"""Trained models in one file, without pickle: safe to load, even from strangers.

A file is in the safetensors format: weights and arrays are its tensors, and its header holds settings as JSON. What may
lie around classifiers is declared in _saving/schema.py, and built of nothing but what the declarations allow; other
estimators are in the form of skops, and only read if the caller trusts them, for which nothing is promised.

Needs the extra ``fmnist_sk[save]``: safetensors, and skops for estimators that are not declared.
"""
from __future__ import annotations

import copy
import math
import os
import re
import warnings
from collections.abc import Iterable
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from fmnist_sk._data.encoder import ImageEncoder
from fmnist_sk._data.ranges import PixelStatistics
from fmnist_sk._estimator.fitting import MAX_PADDED_SIDE
from fmnist_sk._estimator.parts import network_builder
from fmnist_sk._network.criterion import build_criterion, probabilities_of
from fmnist_sk._network.generators import MIN_ROWS
from fmnist_sk._runtime.device import choose_device
from fmnist_sk._runtime.version import __version__
from fmnist_sk._saving.foreign import full_name, load_old
from fmnist_sk._storage.document import digest_of, read_document, write_document  # noqa: F401
from fmnist_sk._storage.files import as_path
from fmnist_sk._storage.values import to_columns, to_rows
from fmnist_sk.classifier import ImageClassifier

if TYPE_CHECKING:
    from fmnist_sk._saving.values import EstimatorDecoder, EstimatorEncoder

FORMAT, OLD_FORMAT = 2, 1               # grows when older versions can no longer read what is written
TENSORS_OF_SKOPS = "scikit-learn"       # of the old format
NOT_SAVED = "validation_data", "callbacks", "checkpoint"          # of the training, not of the model
PREFIXED_PARAM = re.compile("(module|criterion|optimizer)__.")         # settings in skorch's manner that are saved
FITTED_ATTRIBUTES = "n_features_in_", "feature_names_in_", "best_epoch_"
IN_FILE = {"classes_inferred_", "image_shape_", "value_range_", "pixels_", "_seed", "n_iter_", *FITTED_ATTRIBUTES}
PRETRAINED = {"small": "small_resnet.safetensors", "accurate": "accurate_inception.safetensors"}
LARGEST_IMAGE = 2**26                   # values
LARGEST_TRIED = 2**14                   # values of a row


def save(estimator, path: str | os.PathLike) -> Path:
    """Write a fitted estimator to one file, at once: whatever happens, the old file or the new one is there and whole.

    Parameters
    ----------
    estimator : fitted ImageClassifier, or any scikit-learn estimator around some
        Such as a Pipeline, a StackingClassifier, a CalibratedClassifierCV or a GridSearchCV.
    path : path
        By custom it ends in ".safetensors". A symbolic link is followed; a file that exists keeps its mode.

    Settings and what a fit has learned are saved, and everything that predictions depend on. `validation_data`,
    `callbacks`, `checkpoint`, `n_jobs` and a Pipeline's `memory` become None (with a warning for the first two), as do
    settings of a search that have no form in a file, such as distributions (with a warning), and the states of
    optimizer and random generators are left out: to go on with an interrupted training is what `checkpoint` is for.

    What `load` will want to be trusted, because it is neither of this package nor one of the estimators that it knows,
    is warned of: your own networks and transformers, and of scikit-learn for example histogram gradient boosting.

    Returns the path. Raises ValueError for settings that have no form in a file, for modules that are instances (give
    `module` a class instead) and for devices and pipes, scikit-learn's NotFittedError, ImportError without the extra.
    """
    from fmnist_sk._saving.values import EstimatorEncoder  # here, because it imports much of scikit-learn
    check_is_fitted(estimator)
    path, encoder = as_path(path), EstimatorEncoder()
    content: dict = {"format": FORMAT, "versions": _versions()}
    described = encoder.encode(estimator, type(estimator).__name__)
    if described != {"classifier": 0}:
        content["estimator"] = described
    content["classifiers"] = [_describe(classifier, encoder) for classifier in encoder.classifiers]
    tensors = dict(encoder.tensors)
    for i, classifier in enumerate(encoder.classifiers):
        for part in () if not classifier.initialized_ else (classifier.module_, classifier.criterion_):
            kind = "module" if part is classifier.module_ else "criterion"
            tensors |= {f"{i}.{kind}.{name}": value for name, value in part.state_dict().items()}
    if encoder.untrusted:
        warnings.warn(f"load() will take this file only with trusted=[...] of {', '.join(sorted(encoder.untrusted))}.",
                      UserWarning, stacklevel=2)
    write_document(path, content, tensors)
    return path


def load(path: str | os.PathLike, device: str | torch.device = "auto", *, trusted: Iterable[Any] = ()):
    """Read an estimator that `save` wrote.

    Parameters
    ----------
    path : path
    device : device that networks are put on
        "auto": CUDA if there is one, else the CPU. It becomes their parameter `device`, for "auto" None.
    trusted : classes and functions
        Your own that the file may need, such as the `module` of an ImageClassifier, or estimators that this package
        does not know: what is in the file may then run any code through them. Nothing else is imported or called.

    Raises TypeError for what is no path, FileNotFoundError; ValueError for a file that is damaged, of a later version
    or not by `save`, and for classes that are not trusted; ImportError without the extra.
    """
    from fmnist_sk._saving.values import EstimatorDecoder  # here, because it imports much of scikit-learn
    path = as_path(path)
    if device != "auto":
        choose_device(device)             # ValueError for none of this machine
    if not os.path.exists(path):
        raise FileNotFoundError(f"path must name a file that save() wrote, but there is none at {str(path)!r}.")
    content, tensors = read_document(path)
    if not all(isinstance(content.get(name), kind) for name, kind in (("classifiers", list), ("versions", dict))):
        raise ValueError(f"{path} is a safetensors file, but none that save() wrote.")
    if content.get("format") not in (FORMAT, OLD_FORMAT):
        raise ValueError(f"{path} is of format {content.get('format')!r:.20} (fmnist_sk "
                         f"{content['versions'].get('fmnist_sk')!r:.20}), this version reads format {FORMAT}: update "
                         "fmnist_sk, or save the model again.")
    decoder = EstimatorDecoder({name: value for name, value in tensors.items() if not name[:1].isdecimal()}, trusted)
    try:
        return _build(content, tensors, device, decoder)
    except ImportError:
        raise
    except Exception as error:                      # whatever forged content makes the parts raise
        raise ValueError(f"{path} cannot be loaded: {error!s:.300}") from error


def _build(content: dict, tensors: dict[str, Tensor], device, decoder: EstimatorDecoder) -> Any:
    described = content.get("estimator", {"classifier": 0})
    of_classifiers: list[dict[str, Tensor]] = [{} for _ in content["classifiers"]]
    for name, value in tensors.items():
        number, _, rest = name.partition(".")
        if number.isdecimal():
            if int(number) >= len(of_classifiers):
                raise ValueError(f"it holds weights of a classifier {number:.20} of {len(of_classifiers)}.")
            of_classifiers[int(number)][rest] = value
    for one, own in zip(content["classifiers"], of_classifiers, strict=True):
        decoder.classifiers.append(_restore(one, own, device, decoder))
    if TENSORS_OF_SKOPS in tensors:
        return load_old(tensors[TENSORS_OF_SKOPS].numpy().tobytes(), decoder.classifiers, decoder.trusted)
    estimator = decoder.decode(described)
    if not isinstance(estimator, BaseEstimator):
        raise ValueError(f"it must hold an estimator, got {type(estimator).__name__}.")
    if len(decoder.used) < len(decoder.classifiers) or decoder.tensors:
        raise ValueError("it holds classifiers or arrays that nothing refers to.")
    if "estimator" in content and not decoder.trusted:
        _try(estimator, decoder)
    return estimator


def _try(estimator: BaseEstimator, decoder: EstimatorDecoder) -> None:
    """Raise ValueError for parts that do not work together, such as a vote by probabilities of who gives none.

    Networks do not compute here, which might take any memory; of extractors of their features nothing is tried.
    """
    use = getattr(estimator, "predict", None) or getattr(estimator, "transform", None)
    n_features = getattr(estimator, "n_features_in_", None)
    if use is None or n_features is None or n_features > LARGEST_TRIED or "FeatureExtractor" in decoder.kinds:
        return
    networks = [classifier for classifier in decoder.classifiers if classifier.initialized_]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            for classifier in networks:
                vars(classifier)["_logits"] = partial(_no_logits, len(classifier.classes_))
            use(1 + np.arange(2 * n_features).reshape(2, n_features) % 2)
        except ValueError:                  # such as for rows where images are wanted
            pass
        except Exception as error:
            raise ValueError(f"its parts do not work together: {error!s:.200}.") from error
        finally:
            for classifier in networks:
                vars(classifier).pop("_logits", None)


def _no_logits(n_classes: int, x: Any) -> Tensor:
    return torch.zeros(len(x), n_classes)


def load_pretrained(name: str = "small", device: str | torch.device = "auto") -> ImageClassifier:
    """A network that comes with the package, trained on Fashion-MNIST: images (n, 28, 28) to labels 0 to 9.

    `CLASS_NAMES` names the labels; `PhotoToFashion` brings photos into the form of its images. Data, recipe, measured
    accuracy and limits are in the card of each, fmnist_sk/pretrained/README.md.

    Parameters
    ----------
    name : {"small", "accurate"}
        A network of 24,506 parameters, or one of 292,570, which looks at ten views of each image.
    device : device that the network is put on
        As in `load`.

    Raises ValueError for another name, ImportError without the extra ``fmnist_sk[save]``.
    """
    if name not in PRETRAINED:
        raise ValueError(f"name must be one of {', '.join(map(repr, PRETRAINED))}, got name={name!r}.")
    return load(Path(__file__).parent / "pretrained" / PRETRAINED[name], device)


# ---------------------------------------------------------------------- classifiers

def _describe(classifier: ImageClassifier, encoder: EstimatorEncoder) -> dict:
    """Settings and learned attributes of a classifier, for JSON; of an unfitted one, such as a search's, settings."""
    params = BaseEstimator.get_params(classifier, deep=False)
    if isinstance(classifier.module, torch.nn.Module):
        raise ValueError("module must be a class to be saved, because the file holds no code, got an instance of "
                         f"{type(classifier.module).__name__}: pass the class, and its settings as module__*.")
    if lost := [name for name in ("validation_data", "callbacks") if params[name] is not None]:
        warnings.warn(f"{' and '.join(lost)} of {type(classifier).__name__} are not saved.", UserWarning, stacklevel=3)
    params |= dict.fromkeys(NOT_SAVED)
    settings = {
        "class": full_name(type(classifier)),
        "params": {name: encoder.encode(value, name) for name, value in params.items()},
        "prefixed": {name: encoder.encode(value, name) for name, value in classifier._prefixed_params().items()
                     if PREFIXED_PARAM.match(name)},
    }
    if not classifier.initialized_:
        return settings
    rows = [{key: value for key, value in row.items() if key != "batches"} for row in classifier.history_ or ()]
    _check_as_fitted(classifier)
    images = classifier._encoder
    learned = {"classes_inferred_": images.classes, "image_shape_": images.image_shape,
               "pixels_": None if images.pixels is None else asdict(images.pixels),
               "_seed": classifier._generators.seed, "n_iter_": classifier.n_iter_,
               **{name: vars(classifier)[name] for name in FITTED_ATTRIBUTES if name in vars(classifier)}}
    return {
        **settings,
        "learned": {name: encoder.encode(value, name) for name, value in learned.items()},
        "statistics": [list(map(float, values)) for values in (images.mean, images.std)],
        "history": encoder.encode(to_columns(rows), "history_"),
        "device": classifier.device_.type,
    }


def _check_as_fitted(classifier: ImageClassifier) -> None:
    """Raise ValueError if the parameters, which are saved, do not make the network and loss that were fitted."""
    encoder, module = classifier._encoder, copy.deepcopy(classifier.module_).cpu().eval()
    low, span = encoder.pixel_range.low.cpu(), encoder.pixel_range.span.cpu()
    generator = torch.Generator().manual_seed(0)
    x = low + span * torch.rand(MIN_ROWS, *encoder.network_shape, generator=generator)
    try:
        saved = network_builder(classifier, encoder).restore(module.state_dict(), classifier._generators.seed).eval()
        criterion = build_criterion(classifier.criterion, classifier.get_params_for("criterion"),
                                    classifier.label_smoothing, torch.device("cpu"))
        with torch.no_grad():
            logits = module(x)
            expected = probabilities_of(copy.deepcopy(classifier.criterion_).cpu(), logits)
            same = torch.allclose(logits, saved(x), rtol=1e-3, atol=1e-4 * float(logits.abs().max())) and torch.equal(
                expected, probabilities_of(criterion, logits))
    except (RuntimeError, TypeError, ValueError):
        same = False
    if not same:
        raise ValueError(f"{type(classifier).__name__} cannot be saved: parameters were set after its fit, and make "
                         "another network or other probabilities. Fit it again, or set them back.")


def _restore(described: dict, tensors: dict[str, Tensor], device, decoder: EstimatorDecoder) -> ImageClassifier:
    kind = decoder.find(described["class"], "classifier")
    if not (isinstance(kind, type) and issubclass(kind, ImageClassifier)):
        raise ValueError(f"{described['class']} is no ImageClassifier.")
    params = {name: decoder.decode(value, name) for name, value in described["params"].items()}
    classifier = kind(**params | dict.fromkeys(NOT_SAVED))
    prefixed = {name: decoder.decode(value) for name, value in described["prefixed"].items()}
    if wrong := [name for name in prefixed if not PREFIXED_PARAM.match(name)]:
        raise ValueError(f"it sets {wrong}, which belong to no part of a network.")
    classifier.set_params(**prefixed)
    classifier.device = None if device == "auto" else device
    if "learned" not in described:
        if tensors:
            raise ValueError("it holds weights of a classifier that was not fitted.")
        return classifier
    classifier._validate_params()
    learned = {name: decoder.decode(value) for name, value in described["learned"].items()}
    if set(learned) - IN_FILE:
        raise ValueError(f"it holds unknown attributes {sorted(set(learned) - IN_FILE)}.")
    _check_learned(learned)
    classifier.__dict__.update({name: learned[name] for name in FITTED_ATTRIBUTES if name in learned})
    n_channels = learned["image_shape_"][0]
    mean, std = (tuple(np.asarray(decoder.decode(value), dtype=np.float32).reshape(n_channels).tolist())
                 for value in described["statistics"])
    images = ImageEncoder(kind.__name__, learned["classes_inferred_"], learned["image_shape_"], 1,
                          choose_device(classifier.device), _pixels(learned), mean, std)
    if min(learned["image_shape_"][1:]) < classifier._minimum_size() > MAX_PADDED_SIDE:
        raise ValueError(f"its network needs images of {classifier._minimum_size()} pixels a side.")
    if described["device"] != "cpu" and images.device.type == "cpu" and device == "auto":
        warnings.warn(f"The model was fitted on {described['device']}, which is not here: it is on the CPU now, and "
                      "slower.", UserWarning, stacklevel=4)
    parts = {name: {key.removeprefix(f"{name}."): value for key, value in tensors.items()
                    if key.startswith(f"{name}.")} for name in ("module", "criterion")}
    history = decoder.decode(described["history"])
    rows = [_flat_row(row) for row in history] if isinstance(history, list) else to_rows(history)
    classifier.restore(images, learned.get("_seed", 0), **parts, history=rows)
    return classifier


def _flat_row(row: dict) -> dict:
    """A row of the history; until 0.1.0 it held the accuracies of all classes as a list."""
    of_classes = row.get("valid_class_acc", ())
    return {**{name: value for name, value in row.items() if name != "valid_class_acc"},
            **{f"valid_class_acc_{code}": value for code, value in enumerate(of_classes)}}


def _check_learned(learned: dict) -> None:
    """Raise ValueError unless the attributes are such as a fit makes."""
    classes, shape = learned.get("classes_inferred_"), learned.get("image_shape_")
    if not isinstance(classes, np.ndarray) or classes.ndim != 1 or (classes.dtype == object and not all(
            isinstance(label, str) for label in classes)) or not np.array_equal(np.unique(classes), classes):
        raise ValueError("its classes must be different numbers or texts, in order.")
    if not isinstance(shape, tuple) or len(shape) != 3 or not all(isinstance(side, int) and side > 0 for side in shape
                                                                 ) or math.prod(shape) > LARGEST_IMAGE:
        raise ValueError(f"its images must have a shape (channels, height, width), got {shape!r}.")
    if learned.get("n_features_in_", 1) not in range(1, math.prod(shape) + 1):         # fewer are padded
        raise ValueError(f"its rows of {learned['n_features_in_']!r} values are no images of shape {shape}.")
    if not all(isinstance(learned.get(name, 0), int) for name in ("n_features_in_", "best_epoch_", "n_iter_", "_seed")):
        raise ValueError("its numbers of features and epochs and its seed must be whole numbers.")


def _pixels(learned: dict) -> PixelStatistics | None:
    """What a fit learned of its pixels; until 0.1.0 that was one range for all channels, the smallest the background.

    Raises ValueError for what none learns.
    """
    n_channels, of_old = learned["image_shape_"][0], learned.get("value_range_")
    found = learned.get("pixels_")
    if of_old is not None:
        low, high = of_old[:1] * n_channels, of_old[1:] * n_channels
        found = {"low": low, "high": high, "background": low, "usual": of_old}
    if found is None:
        return None
    for name in (field.name for field in fields(PixelStatistics)):
        values, n = found.get(name), 2 if name == "usual" else n_channels
        if not (isinstance(values, tuple) and len(values) == n and all(
                isinstance(value, (int, float)) for value in values)):
            raise ValueError(f"its range of values must have {n} numbers as {name}, got {values!r:.100}.")
    return PixelStatistics(**found)


def _versions() -> dict[str, str]:
    return {"fmnist_sk": __version__, "torch": torch.__version__, "scikit-learn": sklearn.__version__}
