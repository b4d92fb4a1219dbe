"""A classifier of this package as JSON and tensors, and back."""
from __future__ import annotations

import copy
import math
import re
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from fmnist_sk._data.encoder import ImageEncoder
from fmnist_sk._data.ranges import PixelStatistics
from fmnist_sk._estimator.constraints import check_each
from fmnist_sk._estimator.fitting import MAX_PADDED_SIDE
from fmnist_sk._estimator.parts import network_builder
from fmnist_sk._network.criterion import build_criterion, probabilities_of
from fmnist_sk._network.rows import MIN_ROWS
from fmnist_sk._runtime.device import choose_device
from fmnist_sk._runtime.warn import warn
from fmnist_sk._saving.foreign import full_name
from fmnist_sk._saving.form import ONLY_TO_FIT
from fmnist_sk._storage.values import OBJECT, to_columns, to_rows
from fmnist_sk.classifier import ImageClassifier

if TYPE_CHECKING:
    from fmnist_sk._saving.values import EstimatorDecoder, EstimatorEncoder

NOT_SAVED = "validation_data", "callbacks", "checkpoint", "teacher"         # settings of training, not of the model
PREFIXED_PARAM = re.compile("(module|criterion|optimizer)__.")         # skorch-style settings that are saved
FITTED_ATTRIBUTES = "n_features_in_", "feature_names_in_", "best_epoch_"
IN_FILE = {"classes_inferred_", "image_shape_", "value_range_", "pixels_", "_seed", "n_iter_", *FITTED_ATTRIBUTES}
LARGEST_IMAGE = 2**21                   # values
DEVICES = "cpu", "cuda", "mps", "xpu"
FITTED = 30_000                         # bytes of a network besides its weights


def describe(classifier: ImageClassifier, encoder: EstimatorEncoder) -> dict:
    """Settings and learned attributes of a classifier, for JSON; only settings if unfitted, such as a search's."""
    params = BaseEstimator.get_params(classifier, deep=False)
    if isinstance(classifier.module, torch.nn.Module):
        raise ValueError("module must be a class to be saved, because the file holds no code, got an instance of "
                         f"{type(classifier.module).__name__}: pass the class, and its settings as module__*.")
    lost = [name for name in ("validation_data", "callbacks", "teacher") if params[name] is not None]
    lost += [name for name in ONLY_TO_FIT if isinstance(params[name], np.random.RandomState)]
    if lost:
        warn(f"{' and '.join(lost)} of {type(classifier).__name__} {'are' if len(lost) > 1 else 'is'} not saved.")
    params |= dict.fromkeys([*NOT_SAVED, *lost])
    encoder.spend(OBJECT + FITTED * classifier.initialized_)
    settings = {
        "class": full_name(type(classifier)),
        "params": {name: encoder.encode(value, name) for name, value in params.items()},
        "prefixed": {name: encoder.encode(value, name) for name, value in classifier._prefixed_params().items()
                     if PREFIXED_PARAM.match(name)},
    }
    if not classifier.initialized_:
        return settings
    rows = [{key: value for key, value in row.items() if key != "batches"} for row in classifier.history_ or ()]
    check_each(classifier)
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
        "history": encoder.encode(to_columns(rows, encoder), "history_"),
        "device": classifier.device_.type,
    }


def _check_as_fitted(classifier: ImageClassifier) -> None:
    """Raise ValueError if the parameters to be saved do not produce the network and loss that were fitted."""
    encoder, module = classifier._encoder, copy.deepcopy(classifier.module_).cpu().eval()
    x = encoder.noise(MIN_ROWS).cpu()
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
        raise ValueError(f"{type(classifier).__name__} cannot be saved: parameters were set after its fit, and give "
                         "a different network or different probabilities. Fit it again, or reset them.")


def restore(described: dict, tensors: dict[str, Tensor], device, decoder: EstimatorDecoder) -> ImageClassifier:
    kind = decoder.find(described["class"], "classifier")
    if not (isinstance(kind, type) and issubclass(kind, ImageClassifier)):
        raise ValueError(f"its {kind.__name__} is not an ImageClassifier.")
    params = {name: decoder.decode(value, name) for name, value in described["params"].items()}
    if "module" in params and not isinstance(params["module"], type) and params["module"] not in decoder.trusted:
        raise ValueError("its module must be a class.")
    decoder.spend(OBJECT)
    classifier = kind(**params | dict.fromkeys(NOT_SAVED))
    prefixed = {name: decoder.decode(value, name) for name, value in described["prefixed"].items()}
    if wrong := [name for name in prefixed if not PREFIXED_PARAM.match(name)]:
        raise ValueError(f"it sets {wrong}, which belong to no part of a network.")
    classifier.set_params(**prefixed)
    classifier.device = None if device == "auto" else device
    if "learned" not in described:
        if tensors:
            raise ValueError("it holds weights of a classifier that was not fitted.")
        return classifier
    check_each(classifier)
    decoder.spend(FITTED)
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
        raise ValueError(f"its network needs images of {classifier._minimum_size()} pixels per side.")
    if described["device"] not in DEVICES:
        raise ValueError(f"its device must be one of {', '.join(DEVICES)}.")
    if described["device"] != "cpu" and images.device.type == "cpu" and device == "auto":
        warn(f"The model was fitted on {described['device']}, which is not available: it is on the CPU now, "
             "and slower.")
    parts = {name: {key.removeprefix(f"{name}."): value for key, value in tensors.items()
                    if key.startswith(f"{name}.")} for name in ("module", "criterion")}
    history = decoder.decode(described["history"])
    rows = [_flat_row(row) for row in history] if isinstance(history, list) else to_rows(history, decoder)
    classifier.restore(images, learned.get("_seed", 0), **parts, history=rows)
    return classifier


def _flat_row(row: dict) -> dict:
    """A row of the history; until 0.1.0 it held the accuracies of all classes as a list."""
    of_classes = row.get("valid_class_acc", ())
    if not isinstance(of_classes, (list, tuple)):
        raise ValueError("its history must have lists of numbers.")
    return {**{name: value for name, value in row.items() if name != "valid_class_acc"},
            **{f"valid_class_acc_{code}": value for code, value in enumerate(of_classes)}}


def _check_learned(learned: dict) -> None:
    """Raise ValueError unless the attributes are valid results of a fit."""
    classes, shape = learned.get("classes_inferred_"), learned.get("image_shape_")
    if type(classes) is not np.ndarray or classes.ndim != 1 or (classes.dtype == object and not all(
            isinstance(label, str) for label in classes)) or not np.array_equal(np.unique(classes), classes):
        raise ValueError("its classes must be different numbers or strings, in order.")
    if not isinstance(shape, tuple) or len(shape) != 3 or not all(isinstance(side, int) and side > 0 for side in shape
                                                                 ) or math.prod(shape) > LARGEST_IMAGE:
        raise ValueError(f"its images must have a shape (channels, height, width), got {shape!r}.")
    if not all(type(learned.get(name, 0)) is int for name in ("n_features_in_", "best_epoch_", "n_iter_", "_seed")):
        raise ValueError("its numbers of features and epochs and its seed must be whole numbers.")
    if learned.get("best_epoch_", 1) < 0 or learned.get("n_iter_", 1) < 0:
        raise ValueError("its numbers of epochs must not be below 0.")
    if not 1 <= learned.get("n_features_in_", 1) <= math.prod(shape):                  # fewer are padded
        raise ValueError(f"its rows of {learned['n_features_in_']!r} values are not images of shape {shape}.")


def _pixels(learned: dict) -> PixelStatistics | None:
    """What a fit learned about its pixels; until 0.1.0 one range for all channels, whose minimum was the background.

    Raises ValueError for values that no fit learns.
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
