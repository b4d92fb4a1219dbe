"""Test-time augmentation: an image is classified by several views of it."""
from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from torch import Tensor

from fmnist_sk._data.shapes import pad

SHIFTS = (0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)         # rows down, columns to the right
KINDS = "mirror", "shift"


def check_tta(tta: Any) -> tuple[str, ...]:
    """The parameter tta as a tuple of kinds of views. Raise ValueError for other values."""
    kinds = () if tta is None else (tta,) if isinstance(tta, str) else tta
    if not isinstance(kinds, (tuple, list)) or any(kind not in KINDS for kind in kinds) or len(set(kinds)) < len(kinds):
        raise ValueError(f"tta must be None, 'mirror', 'shift' or ('mirror', 'shift'), got tta={tta!r}.")
    return tuple(kinds)


def views(x: Tensor, tta: Any, background: Tensor) -> Iterator[Tensor]:
    """Images (n, channels, height, width) and the views of them that `tta` names. Shifts fill with the background
    (channels, 1, 1) of each channel."""
    kinds = check_tta(tta)
    for mirrored, shift in product((False, True) if "mirror" in kinds else (False,),
                                   SHIFTS if "shift" in kinds else SHIFTS[:1]):
        down, right = shift
        yield _shifted(x.flip(-1) if mirrored else x, down, right, background)


def _shifted(x: Tensor, down: int, right: int, background: Tensor) -> Tensor:
    if (down, right) == (0, 0):
        return x
    height, width = x.shape[2:]
    return pad(x, (1, 1, 1, 1), background)[:, :, 1 - down:1 - down + height, 1 - right:1 - right + width]
