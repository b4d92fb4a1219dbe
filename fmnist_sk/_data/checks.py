"""X and sample_weight as users pass them, checked and turned into tensors.

NumPy arrays and DataFrames go through scikit-learn's own validation. Tensors stay on their device: they are checked
there, and never pass through NumPy.
"""
from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import (
    _check_sample_weight,
    validate_data,
)
from torch import Tensor
from torch.utils.data import Dataset

from fmnist_sk._data.shapes import check_same_shape


def check_pixels(estimator: BaseEstimator, X: Any, y: Any = None, *, reset: bool,
                 dtypes: Sequence[str] = ("float32", "uint8"), shape: tuple[int, int, int] | None = None
                 ) -> np.ndarray | Tensor:
    """X as a numeric array or tensor (n, ...) of 2, 3 or 4 dimensions without NaN or infinity.

    Sets or compares ``n_features_in_`` (values per image) and ``feature_names_in_`` of `estimator`. Types not in
    `dtypes` become the first of them. With y, X needs two rows and y must not be None. `shape`, (channels, height,
    width), is that of the images in fit if X must match it.
    """
    if shape is not None and not reset and _are_bytes(estimator, X, shape):
        return X
    given, X = X, _as_container(X)
    _check_types(X)
    _check_dimensions(X, given, shape, tuple(getattr(estimator, "image_shape", None) or ()))
    if shape is not None and hasattr(X, "shape"):
        check_same_shape(X, shape)
    if isinstance(X, Tensor):
        return _check_tensor(estimator, X, reset, dtypes)
    check_unmasked(X, "X")
    if isinstance(X, pd.DataFrame) and X.shape[1] == 0:
        raise ValueError(_NO_PIXELS.format(X.shape))
    whole = np.shape(X) if _ndim(X) > 2 else None
    try:
        flat = np.asarray(X).reshape(whole[0], math.prod(whole[1:])) if whole else X
        with np.errstate(over="ignore"):          # too large for float32: infinity, which is refused below
            checked = validate_data(estimator, flat, reset=reset, dtype=[np.dtype(kind) for kind in dtypes], order="C",
                                    ensure_all_finite=False, ensure_min_samples=1 if y is None else 2)
    except OverflowError as error:
        raise ValueError(f"X must hold pixel values, which are numbers of at most 64 bits: {error}.") from error
    except RuntimeError as error:
        raise ValueError(_NO_ARRAY.format(type(X).__name__, error)) from error
    except MemoryError as error:
        raise ValueError(f"X needs more memory than there is, got shape {np.shape(X)}: {error}.") from error
    except (TypeError, ValueError) as error:
        if any(words in str(error) for words in _NO_NUMBER):
            raise type(error)(f"X must hold pixel values, which are numbers: {error}.") from error
        raise
    if checked.dtype.kind == "f" and not np.isfinite(checked).all():
        raise ValueError(_NOT_FINITE.format(checked.dtype))
    return checked.reshape(whole) if whole else checked


def _as_container(X: Any) -> Any:
    """X itself if it is an array, a DataFrame or a tensor, else as an array. Raises TypeError or ValueError."""
    if isinstance(X, Tensor):
        check_is_plain(X, "X")
    if isinstance(X, Dataset) or (isinstance(X, Mapping) and not issparse(X)):      # some sparse matrices are dicts
        raise TypeError(f"X must be an array, a DataFrame or a tensor, got a {type(X).__name__}: pass its images "
                        "as X and its labels as y.")
    if isinstance(X, type):
        raise TypeError(f"X must be an array, a DataFrame or a tensor, got the class {X.__name__}.")
    if _holds_pictures(X):
        raise TypeError(f"X must hold pixel values, which are numbers, but holds files or pictures: {_READ_FIRST}")
    if hasattr(X, "shape") or hasattr(X, "columns") or issparse(X):
        return X
    try:
        return np.asarray(X)
    except (RuntimeError, OverflowError, ValueError) as error:      # such as of tensors that need gradients
        if "inhomogeneous" in str(error) and isinstance(X, (list, tuple)) and np.ndim(X[0]) > 1:
            raise ValueError("X must hold images of one size: " + _READ_FIRST) from error
        raise ValueError(_NO_ARRAY.format(type(X).__name__, error)) from error


def _ndim(X: Any) -> int:
    """Number of dimensions; some tables know their columns alone."""
    return len(X.shape) if hasattr(X, "shape") else 2


def _check_types(X: Any) -> None:
    """Raise ValueError for types of values that are not real numbers; objects are tried later."""
    for dtype in X.dtypes if isinstance(X, pd.DataFrame) else [getattr(X, "dtype", None)]:
        kind = getattr(dtype, "kind", None)
        if kind == "c" or (isinstance(dtype, torch.dtype) and dtype.is_complex):
            raise ValueError(f"Complex data not supported: X must hold real numbers, got {dtype}.")
        if kind in ("S", "U", "M", "m", "V"):
            raise ValueError(f"X must hold pixel values, which are numbers, got dtype={dtype}.")


def _check_dimensions(X: Any, given: Any, fitted: tuple[int, ...] | None, named: tuple[int, ...]) -> None:
    """Raise ValueError for wrong dimensions.

    given : the user's X
    fitted : the shape of the images in fit, if they have been seen
    named : the shape that the user names
    """
    ndim = _ndim(X)
    if not 2 <= ndim <= 4:
        got = f"shape {tuple(X.shape)}" if ndim else f"X={given!r:.100}"
        advice = " Reshape your data, with X.reshape(1, -1) if it is one image." if ndim == 1 else ""
        raise ValueError("X must have 2, 3 or 4 dimensions, (n, pixels), (n, height, width) or (n, channels, height, "
                         f"width), got {ndim}: {got}.{advice}")
    if ndim == 4 and _ends_in_channels(*X.shape[1:]) and tuple(X.shape[1:]) not in (fitted, named):
        raise ValueError(f"X must be (n, channels, height, width), got the channels last: shape {tuple(X.shape)}. "
                         "Pass X.transpose(0, 3, 1, 2) for an array, X.permute(0, 3, 1, 2) for a tensor" + (
                             "." if fitted else f", or name the shape, image_shape={tuple(X.shape[1:])}, if it is "
                                                "right as it is."))


def _holds_pictures(X: Any) -> bool:
    """Whether X is a list, an array or a Series of paths, bytes of files, or Pillow images; or one of these."""
    is_list = isinstance(X, (list, tuple)) or getattr(X, "ndim", 0) == 1
    first = next(iter(X), None) if is_list else X
    return isinstance(first, (str, bytes, os.PathLike)) or hasattr(first, "getbands")


def _ends_in_channels(first: int, second: int, third: int) -> bool:
    """Whether images of this shape seem to have their channels last: up to four, after sides that are more similar."""
    return third <= 4 < first and abs(math.log(first / max(second, 1))) < abs(math.log(max(second, 1) / max(third, 1)))


def _are_bytes(estimator: BaseEstimator, X: Any, shape: tuple[int, int, int]) -> bool:
    """Whether X is an array of bytes as in the fit, in which nothing can be wrong: so that one image costs little."""
    return (type(X) is np.ndarray and X.dtype == np.uint8 and len(X) > 0 and "feature_names_in_" not in vars(estimator)
            and (X.shape[1:] in (shape, (estimator.n_features_in_,)) or (shape[0] == 1 and X.shape[1:] == shape[1:])))


_NOT_FINITE = ("X contains NaN or infinity (or values too large for {}): replace them first, for example with "
               "np.nan_to_num(X).")
_READ_FIRST = "read them first, with load_image_folder, or in a Pipeline, make_pipeline(ImageReader(28), ...)."
_NO_ARRAY = "X must be an array, a DataFrame or a tensor, got a {} that cannot be converted to one: {}."
# What NumPy says about an item that is not a number: a text, another object, or an array.
_NO_NUMBER = "could not convert string", "must be a string", "setting an array element with a sequence"
_NO_PIXELS = "X must hold images of at least one pixel, got 0 feature(s): shape {}."


def _check_tensor(estimator: BaseEstimator, X: Tensor, reset: bool, dtypes: Sequence[str]) -> Tensor:
    if len(X) == 0:
        raise ValueError(f"X must hold at least one image, got 0 sample(s): shape {tuple(X.shape)}.")
    if X.numel() == 0:
        raise ValueError(_NO_PIXELS.format(tuple(X.shape)))
    X = X.detach().resolve_neg()
    validate_data(estimator, X.reshape(len(X), -1), reset=reset, skip_check_array=True)
    if X.dtype not in (getattr(torch, kind) for kind in dtypes):
        X = X.to(getattr(torch, dtypes[0]))
    if X.is_floating_point() and not torch.isfinite(X).all():
        raise ValueError(_NOT_FINITE.format(X.dtype))
    return X.contiguous()


def check_unmasked(values: Any, name: str) -> None:
    """Raise ValueError for a NumPy array that hides values behind a mask."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):       # arrays of pandas have masks too
        raise ValueError(f"{name} must not hold masked values, got {np.ma.count_masked(values)}: replace them first, "
                         f"with {name}.filled(...).")


def check_is_plain(values: Tensor, name: str) -> None:
    """Raise TypeError unless the tensor is dense and holds numbers: not nested, quantized or on "meta"."""
    if values.is_nested:
        raise TypeError(f"{name} must be one tensor, got a nested one.")
    if values.is_meta or values.is_quantized:
        raise TypeError(f"{name} must hold plain numbers, got a tensor of {values.dtype} on device {values.device}.")
    if values.layout != torch.strided:
        raise TypeError(f"{name} must be dense, got a tensor of layout {values.layout}: pass {name}.to_dense().")


def as_tensor(X: np.ndarray | Tensor) -> Tensor:
    """The same memory as a tensor (read-only arrays, which PyTorch cannot hold, are copied)."""
    return X if isinstance(X, Tensor) else torch.from_numpy(np.require(X, requirements=["C", "W"]))


def check_weights(sample_weight: Any, n: int) -> Tensor | None:
    """Non-negative float64 weights (n,), on their original device; None if none were given."""
    if sample_weight is None:
        return None
    if not isinstance(sample_weight, Tensor):
        check_unmasked(sample_weight, "sample_weight")
        if getattr(dtype := getattr(sample_weight, "dtype", None), "kind", None) in ("c", "M", "m"):
            raise ValueError(f"sample_weight must hold real numbers, got dtype={dtype}.")
        try:
            sample_weight = _check_sample_weight(sample_weight, np.empty((n, 0)), dtype=np.float64,
                                                 ensure_non_negative=True, copy=True)
        except OverflowError as error:
            raise ValueError(f"sample_weight must hold numbers of at most 64 bits: {error}.") from error
        except (TypeError, ValueError) as error:
            if "sample_weight" in str(error):
                raise
            raise type(error)(f"sample_weight must hold one number for each image: {error}") from error
        return torch.from_numpy(sample_weight)
    check_is_plain(sample_weight, "sample_weight")
    if sample_weight.is_complex():
        raise ValueError(f"sample_weight must hold real numbers, got {sample_weight.dtype}.")
    if sample_weight.shape != (n,):
        raise ValueError(f"sample_weight must hold one weight for each of the {n} images, got shape "
                         f"{tuple(sample_weight.shape)}.")
    weights = sample_weight.detach().double()
    if not torch.isfinite(weights).all() or (weights < 0).any():
        raise ValueError("sample_weight must be non-negative and finite, got "
                         f"{weights.min().item()} to {weights.max().item()}.")
    return weights


def check_probabilities(values: Any, shape: Sequence[int], rule: str, *, finite: bool = True) -> None:
    """Raise ValueError unless an array or tensor has this shape (n, n_classes), numbers >= 0, and rows that sum to one.

    rule : beginning of the message, up to ", got ..."
    finite : whether rows with NaN or infinity are refused too
    """
    if not isinstance(values, (np.ndarray, Tensor)) or tuple(values.shape) != tuple(shape):
        raise ValueError(f"{rule}, got {tuple(getattr(values, 'shape', (type(values).__name__,)))} instead of "
                         f"{tuple(shape)}.")
    values = torch.as_tensor(values)
    least, sums = values.amin(1), values.sum(1)
    wrong = ~((least >= 0) & ((sums - 1).abs() <= 1e-3))
    if not finite:
        wrong &= sums.isfinite()
    if wrong.any():
        raise ValueError(f"{rule}, got numbers >= {least[wrong][0]:g} with the sum {sums[wrong][0]:g}.")
