"""Labels as users pass them: their codes, and names for them."""
from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d
from torch import Tensor

from fmnist_sk._data.checks import check_is_plain, check_unmasked

REMEDIES = {"int": ": pass y.astype(int)", "float": ": pass y.astype(float)", "bool": ": pass y.astype(bool)",
            "bytes": ": pass [label.decode() for label in y]"}


def encode_labels(y: Any, n: int | None, name: str = "y") -> tuple[np.ndarray, Tensor]:
    """The classes that occur in y, sorted, and for each of the n rows (None for any number) the index of its class.

    A tensor's codes stay on its device; only the few distinct labels are copied to the host. `name` is that of the
    parameter, for messages.
    """
    if y is None:
        raise ValueError(f"{name} must hold one label for each image, got {name}=None: a fit requires y to be passed, "
                         "but the target y is None.")
    if isinstance(y, Tensor):
        check_is_plain(y, name)
    shape = _shape_of(y)
    if not shape:
        raise TypeError(f"{name} must be a list or an array of labels, got {name}={y!r:.100} of type "
                        f"{type(y).__name__}.")
    if len(shape) > 1 and (isinstance(y, Tensor) or shape[1:] != (1,)):
        raise ValueError(f"{name} must be a 1d array of labels, got shape {shape}.")
    if n not in (None, shape[0]):
        raise ValueError(f"{name} must hold one label for each of the {n} images, got {shape[0]}.")
    if isinstance(y, Tensor):
        if y.is_complex():
            raise ValueError(f"{name} must hold labels, got complex numbers: {y.dtype}.")
        y = y.detach().double() if y.is_floating_point() else y.detach()
        found, codes = torch.unique(y, return_inverse=True)
        found = found.cpu().numpy()
    else:
        check_unmasked(y, name)
        y = column_or_1d(y, warn=True)
        if y.dtype.kind == "V":
            raise ValueError(f"{name} must hold labels, numbers or strings, got dtype={y.dtype}.")
        if pd.isna(y).any() or (y.dtype.kind == "f" and not np.isfinite(y).all()):
            raise ValueError(f"Input {name} contains NaN, None or infinity: give every image a label.")
        try:
            _check_are_classes(y, name)
            found, codes = np.unique(y, return_inverse=True)
        except (TypeError, ValueError) as error:
            kinds = sorted({type(label).__name__.rstrip("_0123456789") for label in y})
            advice = REMEDIES.get(kinds[0], "") if len(kinds) == 1 else ""
            if "Unknown label type: unknown" in str(error):
                raise ValueError(f"Unknown label type: {name} must hold labels, strings or whole numbers of at most "
                                 f"64 bits, got dtype={y.dtype} of {kinds}{advice}.") from error
            if isinstance(error, ValueError):
                raise
            raise TypeError(f"{name} must hold labels of one kind, all numbers or all strings, "
                            f"got {kinds}{advice}.") from error
        codes = torch.from_numpy(codes.astype(np.int64))
    _check_are_classes(found, name)
    return found, codes


def _check_are_classes(values: np.ndarray, name: str) -> None:
    """Raise ValueError for what scikit-learn does not take for labels, such as fractions."""
    try:
        check_classification_targets(values)
    except ValueError as error:
        raise ValueError(f"{name} must hold the labels of classes: {error}") from error


def _shape_of(y: Any) -> tuple[int, ...]:
    """The shape of values in any container; () for what is none."""
    try:
        return tuple(y.shape if hasattr(y, "shape") else np.asarray(y).shape)
    except (TypeError, ValueError, RuntimeError):      # such as of lists of different lengths
        return ()


def positions_of(labels: Collection, classes: np.ndarray, parameter: str) -> list[int]:
    """Where labels that a user names stand in `classes`. Raise ValueError naming the parameter for unknown ones.

    They are compared one by one, because equal dates of NumPy, pandas and Python have different hashes.
    """
    forms, found = list(zip(classes, classes.tolist(), strict=True)), []
    for label in labels:
        position = next((position for position, form in enumerate(forms) if label in form), None)
        if position is None:
            raise ValueError(f"{parameter} must name labels that occur in y ({classes.tolist()}), got "
                             f"{parameter}={labels!r}.")
        found.append(position)
    return found


def one_each(names: Any, n: int, parameter: str, what: str) -> list[str]:
    """A user's names of n things as strings. Raise ValueError naming the parameter for anything else."""
    if len(shape := _shape_of(names)) != 1 or shape[0] != n:
        raise ValueError(f"{parameter} must name each of the {n} {what}, got {parameter}={names!r:.200}.")
    return [str(name) for name in names]


def names_of(classes: np.ndarray, class_names: Sequence[str] | None) -> list[str]:
    """Names of the classes, in their order: `class_names`, or the labels themselves.

    Raises ValueError for a wrong number of names, and for labels in another order, which would rename classes.
    """
    labels = [str(label) for label in classes]
    if class_names is None:
        return labels
    names = one_each(class_names, len(classes), "class_names", "classes")
    if (classes.dtype.kind in "UO" and any(name != label and name in labels
                                          for name, label in zip(names, labels, strict=True))) or (
            names != labels and sorted(names) == sorted(labels)):
        raise ValueError(f"class_names must be in the order of the classes, which are {labels}, got {names}. Labels "
                         "that are names already need no class_names.")
    return names
