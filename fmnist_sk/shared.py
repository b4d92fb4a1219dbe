"""Images that several fits share."""
from __future__ import annotations

from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from torch import Tensor

from fmnist_sk._validation import as_tensor, check_pixels


class SharedImages:
    """Images that are on a device once, however many fits use parts of them at the same time.

    For searches and ensembles in threads of one process: scikit-learn cuts training and test parts of every fold, and
    a part of these images is a list of rows, not a copy. Results are those of the images themselves. The classifiers of
    this package take them as X; everything else sees an array.

    Parameters
    ----------
    X : images in any form that classifiers take: (n, features), (n, H, W) or (n, C, H, W)
    device : str, torch.device or None
        None: where X is if that is no CPU, else CUDA if there is one, else the CPU.

    Raises TypeError or ValueError for what are no images, and for unknown devices.

    Examples
    --------
    >>> X = SharedImages(np.zeros((100, 28, 28), dtype=np.uint8), device="cpu")
    >>> part = X[10:30]
    >>> part.shape, part.pixels is X.pixels
    ((20, 28, 28), True)
    """

    def __init__(self, X: ArrayLike | Tensor, device: str | torch.device | None = None):
        from fmnist_sk.classifier import ImageClassifier
        checked = check_pixels(BaseEstimator(), X, reset=True)
        self.pixels = as_tensor(checked).to(ImageClassifier(device=device)._choose_device(checked))
        self.rows = torch.arange(len(self.pixels), device=self.pixels.device)

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.rows), *self.pixels.shape[1:]

    @property
    def ndim(self) -> int:
        return self.pixels.ndim

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(str(self.pixels.dtype).removeprefix("torch."))

    @property
    def device(self) -> torch.device:
        return self.pixels.device

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index) -> Self:
        """A part: a slice, whole numbers (m,), or bools (n,); no copy."""
        if isinstance(index, tuple) and len(index) == 2 and index[1] is Ellipsis:      # as scikit-learn writes it
            index = index[0]
        if not isinstance(index, slice):
            index = torch.as_tensor(np.asarray(index.cpu() if isinstance(index, Tensor) else index))
            if index.ndim != 1 or (index.dtype == torch.bool and len(index) != len(self)) or index.is_floating_point():
                raise IndexError(f"index must be a slice, whole numbers (m,) or bools ({len(self)},), got "
                                 f"{index.dtype} of shape {tuple(index.shape)}.")
            index = index.to(self.device)
        part = object.__new__(type(self))
        part.pixels, part.rows = self.pixels, self.rows[index]
        return part

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self.tensor().cpu(), dtype=dtype)

    def tensor(self) -> Tensor:
        """The images of this part, (n, ...), as a copy on their device."""
        return self.pixels[self.rows]

    def __repr__(self) -> str:
        return f"SharedImages of shape {self.shape}, {self.dtype}, on {self.device}"
