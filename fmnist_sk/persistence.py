"""Trained models in one file, without pickle: safe to load, even from strangers.

A file is in the safetensors format: weights and arrays are its tensors, and its header holds settings as JSON.
Estimators that may contain classifiers are declared in _saving/schema.py and rebuilt only as the declarations allow.
Other estimators are stored in the format of skops and read only if the caller trusts them; nothing is promised for
them.

Needs the extra ``fmnist_sk[save]``: safetensors, and skops for estimators that are not declared.
"""
from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from fmnist_sk._runtime.device import choose_device
from fmnist_sk._runtime.version import __version__
from fmnist_sk._runtime.warn import warn
from fmnist_sk._saving.classifiers import describe, restore
from fmnist_sk._saving.foreign import load_old
from fmnist_sk._storage.document import read_document, write_document
from fmnist_sk._storage.files import expanded
from fmnist_sk._storage.values import allowed
from fmnist_sk.classifier import ImageClassifier

if TYPE_CHECKING:
    from fmnist_sk._saving.values import EstimatorDecoder

FORMAT, OLD_FORMAT = 2, 1               # incremented when older versions can no longer read new files
TENSORS_OF_SKOPS = "scikit-learn"       # of the old format
PRETRAINED = {"small": "small_resnet.safetensors", "accurate": "accurate_inception.safetensors"}
LARGEST_TRIED = 2**14                   # values of a row


def save(estimator, path: str | os.PathLike) -> Path:
    """Write a fitted estimator to one file, atomically: whatever happens, either the old or the new file is complete.

    Parameters
    ----------
    estimator : fitted ImageClassifier, or any scikit-learn estimator that contains one
        Such as a Pipeline, a StackingClassifier, a CalibratedClassifierCV or a GridSearchCV.
    path : path
        By convention it ends in ".safetensors". A symbolic link is followed; an existing file keeps its mode.

    Returns
    -------
    pathlib.Path
        The path.

    Raises
    ------
    ValueError
        For settings and fitted attributes that cannot be stored, such as those of several labels per image, and modules
        that are instances: set `module` to a class instead.
    ValueError
        For more than 10 nested estimators, more objects than `load` accepts (thousands of trees or epochs with a tiny
        network), devices and pipes.
    NotFittedError, TypeError
        If the estimator is not fitted, or is none.
    ImportError
        If the extra is not installed.

    Notes
    -----
    Settings, what a fit has learned, and everything else that predictions depend on are saved. What only training needs
    becomes None: `checkpoint`, `n_jobs` and a Pipeline's `memory` without a word; `validation_data`, `callbacks`,
    `teacher`, a `random_state` that is an object, and settings of a search that cannot be stored with a warning. The
    states of optimizer and random generators are not saved: use `checkpoint` to resume an interrupted fit.

    A warning names what `load` will require to be trusted, because it is neither part of this package nor one of the
    estimators that the package knows: your own networks and transformers, and some of scikit-learn's, for example
    histogram gradient boosting.

    Examples
    --------
    >>> import tempfile
    >>> from fmnist_sk import load, load_pretrained, save
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save(load_pretrained(), f"{folder}/model.safetensors")
    ...     load(path).classes_.tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    from fmnist_sk._saving.values import EstimatorEncoder  # here, because it imports much of scikit-learn
    if isinstance(estimator, type) or not hasattr(estimator, "fit"):
        raise TypeError(f"estimator must be a fitted estimator, got estimator={estimator!r:.100}.")
    check_is_fitted(estimator)
    classes = getattr(estimator, "classes_", None)
    if isinstance(classes, np.ndarray) and classes.dtype.kind not in "biufUO":
        raise ValueError(f"y must have held strings, bools or numbers for {type(estimator).__name__} to be saved, got "
                         f"{classes.dtype} such as {classes[-1]!r}: fit with such labels, and keep a list of what "
                         "they stand for.")
    path, encoder = expanded(path), EstimatorEncoder()
    content: dict = {"format": FORMAT, "versions": _versions()}
    described = encoder.encode(estimator, type(estimator).__name__)
    if described != {"classifier": 0}:
        content["estimator"] = described
    content["classifiers"] = [describe(classifier, encoder) for classifier in encoder.classifiers]
    tensors = dict(encoder.tensors)
    for i, classifier in enumerate(encoder.classifiers):
        for part in () if not classifier.initialized_ else (classifier.module_, classifier.criterion_):
            kind = "module" if part is classifier.module_ else "criterion"
            tensors |= {f"{i}.{kind}.{name}": value for name, value in part.state_dict().items()}
    if encoder.spent > allowed(tensors.values()):
        raise ValueError(f"{type(estimator).__name__} cannot be saved: it holds more estimators, strings or epochs "
                         "than a file of its size may: del history_[:-1000] keeps the last epochs.")
    if encoder.untrusted:
        warn(f"load() will take this file only with trusted=[{', '.join(sorted(encoder.untrusted))}].")
    write_document(path, content, tensors)
    return path


def load(path: str | os.PathLike, device: str | torch.device = "auto", *, trusted: Iterable[Any] = ()):
    """Read an estimator that `save` wrote.

    Parameters
    ----------
    path : path
        A file that `save` wrote.
    device : str or torch.device
        Device of the networks. "auto": CUDA if available, else the CPU. It becomes their parameter `device` (None for
        "auto").
    trusted : classes and functions
        Your own classes and functions that the file needs, such as the `module` of an ImageClassifier, or estimators
        that this package does not know. The file's content can then run any code through them. Nothing else is imported
        or called.

    Returns
    -------
    estimator
        As it was saved.

    Raises
    ------
    ValueError
        For a file that is damaged, from a later version or not written by `save`, and for classes that are not trusted.
    TypeError, FileNotFoundError
        `path` is not a path, or there is no file.
    ImportError
        Without the extra.

    Examples
    --------
    >>> import tempfile
    >>> from fmnist_sk import load, load_pretrained, save
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save(load_pretrained(), f"{folder}/model.safetensors")
    ...     type(load(path, device="cpu")).__name__
    'ResNetClassifier'
    """
    from fmnist_sk._saving.values import EstimatorDecoder  # here, because it imports much of scikit-learn
    path = expanded(path)
    if device != "auto":
        choose_device(device)             # ValueError unless this machine has it
    if not os.path.exists(path):
        raise FileNotFoundError(f"path must name a file that save() wrote, but there is none at {str(path)!r}.")
    content, tensors = read_document(path)
    if not all(isinstance(content.get(name), kind) for name, kind in (("classifiers", list), ("versions", dict))):
        raise ValueError(f"{path} is a safetensors file, but not one that save() wrote.")
    if content.get("format") not in (FORMAT, OLD_FORMAT):
        raise ValueError(f"{path} is of format {content.get('format')!r:.20} (fmnist_sk "
                         f"{content['versions'].get('fmnist_sk')!r:.20}), this version reads format {FORMAT}: update "
                         "fmnist_sk, or save the model again.")
    decoder = EstimatorDecoder({name: value for name, value in tensors.items() if not name[:1].isdecimal()}, trusted)
    decoder.left = allowed(tensors.values())
    try:
        return _build(content, tensors, device, decoder)
    except ImportError:
        raise
    except Exception as error:                      # whatever forged content makes the parts raise
        said = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        said = "".join(character if character.isprintable() else " " for character in said[:300])
        raise ValueError(f"{path} cannot be loaded: {said}") from error


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
        decoder.classifiers.append(restore(one, own, device, decoder))
    if TENSORS_OF_SKOPS in tensors:
        return load_old(tensors[TENSORS_OF_SKOPS].numpy().tobytes(), decoder.classifiers, decoder.trusted)
    decoder.is_open = True
    estimator = decoder.decode(described)
    if not isinstance(estimator, BaseEstimator):
        raise ValueError(f"it must hold an estimator, got {type(estimator).__name__}.")
    if len(decoder.used) < len(decoder.classifiers) or decoder.tensors:
        raise ValueError("it holds classifiers or arrays that nothing refers to.")
    if "estimator" in content and not decoder.trusted:
        _try(estimator, decoder)
    return estimator


def _try(estimator: BaseEstimator, decoder: EstimatorDecoder) -> None:
    """Raise ValueError for parts that do not work together, such as soft voting with members without predict_proba.

    Networks do not compute here, which might take any amount of memory; FeatureExtractors are not tried at all.
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

    ``CLASS_NAMES`` names the labels; `PhotoToFashion` turns photos into such images. Data, recipe, measured accuracy
    and limits are in the networks' model card, fmnist_sk/pretrained/README.md.

    Parameters
    ----------
    name : {"small", "accurate"}
        A network with 24,506 parameters, or one with 292,570, which uses ten views of each image.
    device : str or torch.device
        Device of the network, as in `load`.

    Returns
    -------
    ImageClassifier
        Fitted.

    Raises
    ------
    ValueError
        For another name.
    ImportError
        Without the extra ``fmnist_sk[save]``.

    Examples
    --------
    >>> from fmnist_sk import load_pretrained, summary
    >>> int(summary(load_pretrained()).loc["total", "parameters"])
    24506
    """
    if not isinstance(name, str) or name not in PRETRAINED:
        raise ValueError(f"name must be one of {', '.join(map(repr, PRETRAINED))}, got name={name!r}.")
    return load(Path(__file__).parent / "pretrained" / PRETRAINED[name], device)


def _versions() -> dict[str, str]:
    return {"fmnist_sk": __version__, "torch": torch.__version__, "scikit-learn": sklearn.__version__}
