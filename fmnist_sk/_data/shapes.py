"""Shapes of images: of flat rows, of arrays, and after padding."""
from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional as F


def square_shape(n_features: int) -> tuple[int, int, int]:
    """The smallest square image, one channel, that holds this many values."""
    side = math.isqrt(n_features - 1) + 1
    if side * side != n_features:
        warnings.warn(f"X has rows of {n_features} values, which fill no square image: they are padded with zeros to "
                      f"{side} x {side}. Pass image_shape=(height, width) if they are images.", UserWarning,
                      stacklevel=2)
    return 1, side, side


def check_image_shape(image_shape: Sequence[int] | None, n_features: int) -> tuple[int, int, int] | None:
    """The parameter image_shape as (channels, height, width); None stays None."""
    if image_shape is None:
        return None
    shape = tuple(image_shape)
    if len(shape) not in (2, 3) or not all(isinstance(side, numbers.Integral) and int(side) > 0 for side in shape):
        raise ValueError("image_shape must be (height, width) or (channels, height, width), got "
                         f"image_shape={image_shape}.")
    if math.prod(shape) != n_features:
        raise ValueError(f"image_shape must hold as many values as a row of X, {n_features}, got "
                         f"image_shape={image_shape}.")
    channels, height, width = (1,) * (3 - len(shape)) + shape
    return channels, height, width


def shape_of_images(X: Any) -> tuple[int, int, int]:
    """(channels, height, width) of images X (n, height, width) or (n, channels, height, width)."""
    channels, height, width = (1,) * (4 - X.ndim) + tuple(X.shape[1:])
    return channels, height, width


def to_images(X: Tensor, shape: tuple[int, int, int], minimum: int = 1) -> Tensor:
    """X as (n, channels, height, width): rows filled up with zeros to `shape`, images to `minimum` rows and columns."""
    size = math.prod(shape)
    if X.ndim == 2 and X.shape[1] < size:
        X = F.pad(X, (0, size - X.shape[1]))
    X = X.reshape(-1, *shape)
    missing = [max(0, minimum - side) for side in shape[1:]]
    return F.pad(X, (0, missing[1], 0, missing[0])) if any(missing) else X
