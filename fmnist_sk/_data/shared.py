"""Images that several fits share."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from torch import Tensor

from fmnist_sk._data.checks import as_tensor, check_pixels
from fmnist_sk._runtime.device import choose_device

_INDEX = "SharedImages: index must be a slice, whole numbers (m,) or bools ({},)"


class SharedImages:
    """Images that are stored on a device only once, however many fits use parts of them at the same time.

    For searches and ensembles in threads of one process: scikit-learn cuts training and test parts for every fold, and
    a part of these images is a list of rows, not a copy. Results are those of the images themselves. The classifiers of
    this package accept them as X; everything else sees an array.

    Parameters
    ----------
    X : array-like or tensor
        Images in any form that classifiers accept: (n, features), (n, H, W) or (n, C, H, W).
    device : str, torch.device or None
        None: the device of X unless that is the CPU, else CUDA if available, else the CPU. Images already on the device
        are not copied, so changes to X are visible.

    Raises
    ------
    TypeError, ValueError
        For anything but images, and for unknown devices.

    Notes
    -----
    Other processes get copies (of a part, only its images), so use it with threads.

    Examples
    --------
    >>> import numpy as np
    >>> from fmnist_sk import SharedImages
    >>> X = SharedImages(np.zeros((100, 28, 28), dtype=np.uint8), device="cpu")
    >>> part = X[10:30]
    >>> part.shape, part.pixels is X.pixels
    ((20, 28, 28), True)
    """

    def __init__(self, X: ArrayLike | Tensor, device: str | torch.device | None = None):
        messages_for = type("SharedImages", (BaseEstimator,), {})()
        checked = check_pixels(messages_for, X, reset=True)
        self.pixels = as_tensor(checked).to(choose_device(device, checked))
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
        """A part: a slice, whole numbers (m,), or bools (n,), as NumPy counts them; no copy."""
        if isinstance(index, tuple) and len(index) == 2 and index[1] is Ellipsis:      # as in scikit-learn
            index = index[0]
        if isinstance(index, Tensor):
            index = index.cpu().numpy()
        try:
            rows = np.arange(len(self))[index]
        except (IndexError, TypeError, ValueError) as error:
            raise IndexError(f"{_INDEX.format(len(self))}, got {index!r} ({error}).") from None
        if rows.ndim != 1:
            raise IndexError(f"{_INDEX.format(len(self))}, got {index!r}.")
        index = torch.from_numpy(rows.copy()).to(self.device)
        part = object.__new__(type(self))
        part.pixels, part.rows = self.pixels, self.rows[index]
        return part

    def __getstate__(self):                 # other processes receive only this part's images
        return {"pixels": self.tensor(), "rows": torch.arange(len(self), device=self.device)}

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(np.asarray(self))

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        if copy is False:
            raise ValueError("SharedImages become an array only as a copy, got copy=False.")
        return np.asarray(self.tensor().cpu(), dtype=dtype)

    def tensor(self) -> Tensor:
        """Copy the images of this part.

        Returns
        -------
        tensor of shape (n, ...)
            The images, on their device.
        """
        return self.pixels[self.rows]

    def __repr__(self) -> str:
        return f"SharedImages of shape {self.shape}, {self.dtype}, on {self.device}"
