"""Settings and learned attributes as JSON, and back: numbers, texts, containers, arrays, and objects of known classes.

Nothing but the classes in `Known` is ever built, and no code is stored.
"""
from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Iterable

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from torch import Tensor, nn

from fmnist_sk import augmentation, losses, networks, schedules
from fmnist_sk.classifier import ImageClassifier

_ARRAYS = "biuf"        # kinds of numbers in arrays
LONGEST_TEXT = 10_000       # characters
LARGEST_ARRAY = 2**26       # bytes


def full_name(kind: type | Callable) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


class Known:
    """Classes by name: the package's own, PyTorch's optimizers, schedulers and layers, and those of the user's."""

    def __init__(self, trusted: Iterable[type] = ()):
        trusted = list(trusted) if isinstance(trusted, Iterable) and not isinstance(trusted, str) else [trusted]
        if wrong := [kind for kind in trusted if not hasattr(kind, "__qualname__")]:
            raise TypeError(f"trusted must hold classes or functions, such as trusted=[MyNetwork], got {wrong}.")
        self.trusted = trusted
        own = [Pipeline, ImageClassifier, *(getattr(networks, name) for name in networks.__all__),
               *(getattr(augmentation, name) for name in augmentation.__all__), *losses.LOSSES.values()]
        own += [kind.module for kind in own if isinstance(getattr(kind, "module", None), type)]
        places = ((schedules, schedules.Schedule), (torch.optim, torch.optim.Optimizer),
                  (torch.optim.lr_scheduler, torch.optim.lr_scheduler.LRScheduler), (nn.modules.loss, nn.Module))
        of_places = [kind for place, base in places for kind in vars(place).values()
                     if isinstance(kind, type) and issubclass(kind, base)]
        self.classes = {full_name(kind): kind for kind in (*of_places, *own, *trusted)}

    def find(self, name: str) -> type:
        if not isinstance(name, str) or not isinstance(self.classes.get(name), type):
            raise ValueError(f"it needs the class {name!r}, which is not known here: if the file is from someone you "
                             "trust, pass the class itself, trusted=[...].")
        return self.classes[name]


def encode(value, name: str):
    """`value` as what json.dumps takes. Raises ValueError that names `name` for what has no such form."""
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise ValueError(f"{name} cannot be saved: a text must have at most {LONGEST_TEXT:,} characters, got "
                         f"{len(value):,}.")
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, np.generic):
        plain = value.item() if value.dtype.kind in f"{_ARRAYS}U" else value
        return _refuse(value, name) if isinstance(plain, np.generic) else encode(plain, name)       # as of longdouble
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        is_text = value.dtype.kind == "U" or all(isinstance(item, str) for item in value.flat)
        if value.dtype.kind not in _ARRAYS and not (is_text and value.dtype.kind in "UO"):
            _refuse(value, name)
        if value.nbytes > LARGEST_ARRAY:
            raise ValueError(f"{name} cannot be saved: an array must have at most {LARGEST_ARRAY:,} bytes, got "
                             f"{value.nbytes:,}.")
        return {"array": [encode(item, name) for item in value.ravel().tolist()], "shape": list(value.shape),
                "dtype": value.dtype.str if value.dtype != object else "O"}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, tuple):
        return {"tuple": [encode(item, name) for item in value]}
    if isinstance(value, list):
        return [encode(item, name) for item in value]
    if isinstance(value, dict):
        return {"dict": [[encode(key, name), encode(item, name)] for key, item in value.items()]}
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, type):
        return {"class": full_name(value)}
    if isinstance(value, BaseEstimator):
        params = value.get_params(deep=False)
    elif isinstance(value, losses.Loss):
        params = {key: getattr(value, key) for key in inspect.signature(type(value)).parameters}
    else:
        _refuse(value, name)
    return {"object": full_name(type(value)), "params": {key: encode(item, name) for key, item in params.items()}}


def _refuse(value, name: str):
    raise ValueError(f"{name} cannot be saved: {type(value).__name__} has no form in JSON, got {value!r:.200}.")


def decode(value, known: Known):
    """What `encode` was given. Raises ValueError for anything else."""
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise ValueError(f"it holds a text of {len(value):,} characters, which no fit makes.")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [decode(item, known) for item in value]
    match value:
        case {"float": str() as text}:
            return float(text)
        case {"tuple": list() as items}:
            return tuple(decode(item, known) for item in items)
        case {"dict": list() as pairs}:
            return {decode(key, known): decode(item, known) for key, item in pairs}
        case {"array": list() as items, "shape": list() as shape, "dtype": str() as dtype}:
            kind = np.dtype(dtype)
            if kind.kind not in f"{_ARRAYS}UO" or kind.itemsize * len(items) > LARGEST_ARRAY:
                raise ValueError(f"it holds an array of {len(items):,} {dtype}, which no fit makes.")
            array = np.empty(len(items), dtype=kind)
            array[:] = [decode(item, known) for item in items]
            return array.reshape(shape)
        case {"class": name}:
            return known.find(name)
        case {"object": name, "params": dict() as params}:
            wanted = known.find(name)
            if not issubclass(wanted, (BaseEstimator, losses.Loss)) or issubclass(wanted, ImageClassifier):
                raise ValueError(f"it holds an object of {name}, which no setting is.")     # networks may be enormous
            return wanted(**{key: decode(item, known) for key, item in params.items()})
    raise ValueError(f"it holds {value!r:.100}, which means nothing here.")
