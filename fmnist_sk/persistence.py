"""Trained models in one file, without pickle: safe to load, even from strangers.

A file is in the safetensors format. Its tensors are the weights of all networks, its header holds the settings as
JSON, and the parts of scikit-learn in a Pipeline, an ensemble or a search lie in it in the form of skops. Loading
builds nothing but classes that are known: those of this package, PyTorch's optimizers and schedulers, what skops trusts
of scikit-learn, and the classes that the caller trusts.

Needs the extra ``fmnist_sk[save]``: safetensors, and skops where there is more than a classifier of this package.
"""
from __future__ import annotations

import copy
import hashlib
import io
import json
import math
import os
import pickle
import re
import warnings
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import sklearn
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from fmnist_sk._data.encoder import ImageEncoder
from fmnist_sk._data.ranges import PixelStatistics
from fmnist_sk._estimator.parts import network_builder
from fmnist_sk._network.criterion import build_criterion, probabilities_of
from fmnist_sk._network.generators import MIN_ROWS
from fmnist_sk._runtime.device import choose_device
from fmnist_sk._runtime.optional import optional
from fmnist_sk._runtime.version import __version__
from fmnist_sk._saving.encoding import Known, decode, encode, full_name
from fmnist_sk._saving.skops import EXTRA, Join, SavedClassifier, Separate, dump_with_skops, load_with_skops
from fmnist_sk._storage.files import as_path, write_whole
from fmnist_sk.classifier import ImageClassifier

FORMAT = 1                              # grows when older versions can no longer read what is written
TENSORS_OF_SKOPS = "scikit-learn"
NOT_SAVED = "validation_data", "callbacks", "checkpoint"          # of the training, not of the model
PREFIXED_PARAM = re.compile("(module|criterion|optimizer)__.")         # settings in skorch's manner that are saved
FITTED_ATTRIBUTES = "n_features_in_", "feature_names_in_", "best_epoch_"
IN_FILE = {"classes_inferred_", "image_shape_", "value_range_", "pixels_", "_seed", "n_iter_", *FITTED_ATTRIBUTES}
PRETRAINED = {"small": "small_resnet.safetensors", "accurate": "accurate_inception.safetensors"}
LARGEST_IMAGE = 2**26                   # values


def save(estimator, path: str | os.PathLike) -> Path:
    """Write a fitted estimator to one file, at once: whatever happens, the old file or the new one is there and whole.

    Parameters
    ----------
    estimator : fitted ImageClassifier, or any scikit-learn estimator around some
        Such as a Pipeline, a StackingClassifier, a CalibratedClassifierCV or a GridSearchCV.
    path : path
        By custom it ends in ".safetensors".

    Settings and what a fit has learned are saved, and everything that predictions depend on. `validation_data`,
    `callbacks`, `checkpoint` and a Pipeline's `memory` become None (with a warning for the first two), and the states
    of optimizer and random generators are left out: to go on with an interrupted training is what
    `checkpoint` is for.

    What `load` will want to be trusted, because it is neither of this package nor known to hold only data, is warned
    of: your own networks, and of scikit-learn those whose fitted form skops does not know, such as histogram gradient
    boosting, and k-nearest neighbours that search a tree (by brute force they need no trust).

    Returns the path. Raises ValueError for settings that have no form in JSON and for modules that are instances
    (give `module` a class instead), scikit-learn's NotFittedError, ImportError without the extra.
    """
    check_is_fitted(estimator)
    path = as_path(path)
    safetensors = optional("safetensors.torch", *EXTRA)
    classifiers: list[ImageClassifier] = []
    content: dict = {"format": FORMAT, "versions": _versions()}
    tensors: dict[str, Tensor] = {}
    if isinstance(estimator, ImageClassifier):
        classifiers.append(estimator)
    else:
        buffer = io.BytesIO()
        try:
            Separate(buffer, classifiers).dump(estimator)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ValueError(f"{type(estimator).__name__} cannot be saved: {error}") from error
        data = dump_with_skops(Join(buffer, [SavedClassifier(i) for i in range(len(classifiers))]).load())
        tensors[TENSORS_OF_SKOPS] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    content["classifiers"] = [_describe(classifier) for classifier in classifiers]
    for i, classifier in enumerate(classifiers):
        for part in () if not classifier.initialized_ else (classifier.module_, classifier.criterion_):
            kind = "module" if part is classifier.module_ else "criterion"
            tensors |= {f"{i}.{kind}.{name}": value.detach().cpu().contiguous().clone()
                        for name, value in part.state_dict().items()}
    if unknown := sorted(_unknown_classes(content["classifiers"], Known())):
        warnings.warn(f"load() will take this file only with trusted=[...] of {', '.join(unknown)}.", UserWarning,
                      stacklevel=2)
    content["digest"] = digest_of(content, tensors)
    data = safetensors.save(tensors, {"fmnist_sk": json.dumps(content, allow_nan=False)})
    write_whole(path, data)
    return path


def digest_of(content: dict, tensors: dict[str, Tensor]) -> str:
    """SHA-256 of settings and tensors: tells damage, not forgery."""
    digest = hashlib.sha256(json.dumps({name: value for name, value in content.items() if name != "digest"},
                                       sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()


def _unknown_classes(value, known: Known) -> set[str]:
    """Names of classes in settings as JSON that `load` does not know."""
    if isinstance(value, list):
        return set().union(*(_unknown_classes(item, known) for item in value))
    if not isinstance(value, dict):
        return set()
    names = {value[key] for key in ("class", "object") if isinstance(value.get(key), str)}
    return (names - set(known.classes)).union(*(_unknown_classes(item, known) for item in value.values()))


def load(path: str | os.PathLike, device: str | torch.device = "auto", *, trusted: Iterable[type] = ()):
    """Read an estimator that `save` wrote.

    Parameters
    ----------
    path : path
    device : device that networks are put on
        "auto": CUDA if there is one, else the CPU. It becomes their parameter `device`, for "auto" None.
    trusted : classes and functions
        Your own that the file may need, such as the `module` of an ImageClassifier, or estimators that skops does not
        trust by itself. Nothing else is ever imported or built.

    Raises TypeError for what is no path, FileNotFoundError; ValueError for a file that is damaged, of a later version
    or not by `save`, and for classes that are not trusted; ImportError without the extra.
    """
    path, known = as_path(path), Known(trusted)
    safetensors = optional("safetensors", *EXTRA)
    if device != "auto":
        choose_device(device)             # ValueError for none of this machine
    if not path.is_file():
        raise FileNotFoundError(f"path must name a file that save() wrote, but there is none at {str(path)!r}.")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            content = json.loads((file.metadata() or {}).get("fmnist_sk", "null"))
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}      # noqa: SIM118  (no mapping)
    except (safetensors.SafetensorError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged, or no file that save() wrote: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(content.get(name), kind) for name, kind in
                                                (("classifiers", list), ("versions", dict))):
        raise ValueError(f"{path} is a safetensors file, but none that save() wrote.")
    if content.get("format") != FORMAT:
        raise ValueError(f"{path} is of format {content.get('format')!r} (fmnist_sk "
                         f"{content['versions'].get('fmnist_sk')}), this version reads format {FORMAT}: update "
                         "fmnist_sk, or save the model again.")
    if content.get("digest") != digest_of(content, tensors):
        raise ValueError(f"{path} is damaged: its content is not what was saved.")
    try:
        classifiers = [_restore(described, {name.removeprefix(f"{i}."): value for name, value in tensors.items()
                                            if name.startswith(f"{i}.")}, device, known)
                       for i, described in enumerate(content["classifiers"])]
        if TENSORS_OF_SKOPS not in tensors:
            if len(classifiers) != 1:
                raise ValueError(f"it must hold one classifier, got {len(classifiers)}.")
            return classifiers[0]
        buffer = io.BytesIO()
        Separate(buffer, [], SavedClassifier).dump(load_with_skops(tensors[TENSORS_OF_SKOPS].numpy().tobytes(), known))
        return Join(buffer, classifiers, known).load()
    except ImportError:
        raise
    except Exception as error:                      # whatever forged content makes the parts raise
        raise ValueError(f"{path} cannot be loaded: {error}") from error


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

def _describe(classifier: ImageClassifier) -> dict:
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
        "params": {name: encode(value, name) for name, value in params.items()},
        "prefixed": {name: encode(value, name) for name, value in classifier._prefixed_params().items()
                     if PREFIXED_PARAM.match(name)},
    }
    if not classifier.initialized_:
        return settings
    rows = [{key: value for key, value in row.items() if key != "batches"} for row in classifier.history_ or ()]
    _check_as_fitted(classifier)
    encoder = classifier._encoder
    learned = {"classes_inferred_": encoder.classes, "image_shape_": encoder.image_shape,
               "pixels_": None if encoder.pixels is None else asdict(encoder.pixels),
               "_seed": classifier._generators.seed, "n_iter_": classifier.n_iter_,
               **{name: vars(classifier)[name] for name in FITTED_ATTRIBUTES if name in vars(classifier)}}
    return {
        **settings,
        "learned": {name: encode(value, name) for name, value in learned.items()},
        "statistics": [encode(np.array(values, dtype=np.float32), "statistics")
                       for values in (encoder.mean, encoder.std)],
        "history": encode(rows, "history_"),
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


def _restore(described: dict, tensors: dict[str, Tensor], device, known: Known) -> ImageClassifier:
    kind = known.find(described["class"])
    if not issubclass(kind, ImageClassifier):
        raise ValueError(f"{described['class']} is no ImageClassifier.")
    params = {name: decode(value, known) for name, value in described["params"].items()}
    classifier = kind(**params | dict.fromkeys(NOT_SAVED))
    prefixed = {name: decode(value, known) for name, value in described["prefixed"].items()}
    if wrong := [name for name in prefixed if not PREFIXED_PARAM.match(name)]:
        raise ValueError(f"it sets {wrong}, which belong to no part of a network.")
    classifier.set_params(**prefixed)
    classifier.device = None if device == "auto" else device
    if "learned" not in described:
        return classifier
    classifier._validate_params()
    learned = {name: decode(value, known) for name, value in described["learned"].items()}
    if set(learned) - IN_FILE:
        raise ValueError(f"it holds unknown attributes {sorted(set(learned) - IN_FILE)}.")
    _check_learned(learned)
    classifier.__dict__.update({name: learned[name] for name in FITTED_ATTRIBUTES if name in learned})
    mean, std = (tuple(np.asarray(decode(value, known), dtype=np.float32).tolist())
                 for value in described["statistics"])
    encoder = ImageEncoder(kind.__name__, learned["classes_inferred_"], learned["image_shape_"], 1,
                           choose_device(classifier.device), _pixels(learned), mean, std)
    if described["device"] != "cpu" and encoder.device.type == "cpu" and device == "auto":
        warnings.warn(f"The model was fitted on {described['device']}, which is not here: it is on the CPU now, and "
                      "slower.", UserWarning, stacklevel=3)
    parts = {name: {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
             for name in ("module", "criterion")}
    classifier.restore(encoder, learned.get("_seed", 0), **parts,
                       history=[_flat_row(row) for row in decode(described["history"], known)])
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
