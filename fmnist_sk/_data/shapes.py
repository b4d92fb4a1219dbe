"""Shapes of images: of flat rows, of arrays, and after padding."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fmnist_sk._runtime.parameters import is_whole
from fmnist_sk._runtime.warn import warn


def square_shape(n_features: int, least: int = 1) -> tuple[int, int, int]:
    """The smallest square image, one channel, that holds this many values.

    `least` is the smallest side that a network accepts: rows that would be smaller images get a warning elsewhere.
    """
    side = math.isqrt(n_features - 1) + 1
    if side * side != n_features and math.isqrt(n_features) >= least:
        warn(f"X has rows of {n_features} values, which fill no square image: they are padded to "
             f"{side} x {side}. If they are images, pass image_shape=(height, width) or (channels, height, "
             "width).")
    return 1, side, side


def check_image_shape(image_shape: Sequence[int] | None, n_features: int | None = None) -> tuple[int, int, int] | None:
    """The parameter image_shape as (channels, height, width), which a row of `n_features` fills; None stays None."""
    if image_shape is None:
        return None
    shape = tuple(image_shape) if isinstance(image_shape, Sequence) else ()
    if len(shape) not in (2, 3) or not all(is_whole(side) and int(side) > 0 for side in shape):
        raise ValueError("image_shape must be (height, width) or (channels, height, width), got "
                         f"image_shape={image_shape!r:.100}.")
    if n_features is not None and math.prod(shape) != n_features:
        raise ValueError(f"image_shape must hold as many values as a row of X, {n_features}, got "
                         f"image_shape={image_shape}.")
    channels, height, width = (1,) * (3 - len(shape)) + shape
    return channels, height, width


def shape_of_images(X: Any) -> tuple[int, int, int]:
    """(channels, height, width) of images X (n, height, width) or (n, channels, height, width)."""
    channels, height, width = (1,) * (4 - len(X.shape)) + tuple(X.shape[1:])
    return channels, height, width


def check_same_shape(X: Any, shape: tuple[int, int, int]) -> None:
    """Raise ValueError unless images X have the `shape` (channels, height, width) of those in fit."""
    given = tuple(X.shape)
    rule = f"X must hold images of shape {shape} (channels, height, width) as in fit"
    is_one = given == shape or (shape[0] == 1 and given == shape[1:])
    if is_one and math.prod(given[1:]) != math.prod(shape) and not hasattr(X, "columns"):
        raise ValueError(f"{rule}, got one image of shape {given}: pass X[None].")
    if len(given) > 2 and shape_of_images(X) != shape:
        if given == (*shape[1:], shape[0]):
            raise ValueError(f"{rule}, got one image of shape {given}, with the channels last: pass "
                             f"{'X.permute' if isinstance(X, Tensor) else 'X.transpose'}(2, 0, 1)[None].")
        raise ValueError(f"{rule}, got {shape_of_images(X)}.")


def to_images(X: Tensor, shape: tuple[int, int, int], background: Tensor, minimum: int = 1) -> Tensor:
    """X as (n, channels, height, width): rows padded to `shape`, images to `minimum` rows and columns.

    background : (channels, 1, 1) values to pad with
    """
    X = X.flatten(1)
    if missing := math.prod(shape) - X.shape[1]:            # rows of a guessed shape, which has one channel
        X = torch.cat([X, background.reshape(1, 1).to(X).expand(len(X), missing)], 1)
    return pad(X.reshape(-1, *shape), padding_to(shape, minimum), background)


def padding_to(shape: tuple[int, int, int], minimum: int) -> tuple[int, int, int, int]:
    """Pixels missing on the left, right, top and bottom of images that must have `minimum` rows and columns."""
    _, height, width = shape
    return 0, max(0, minimum - width), 0, max(0, minimum - height)


def pad(x: Tensor, padding: tuple[int, int, int, int], background: Tensor) -> Tensor:
    """Images (n, channels, height, width) with the background of each channel on the left, right, top and bottom.

    background : (channels, 1, 1)
    """
    if not any(padding):
        return x
    left, right, top, bottom = padding
    n, channels, height, width = x.shape
    padded = background.to(x).expand(n, channels, top + height + bottom, left + width + right).clone(
        memory_format=torch.contiguous_format)
    padded[:, :, top:top + height, left:left + width] = x
    return padded
