"""Data sets of the user's own, from files of the usual forms, in the manner of scikit-learn's loaders."""
from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from sklearn.utils import Bunch

from fmnist_sk._data.bunch import CLASS_NAMES, as_bunch
from fmnist_sk._data.shapes import check_image_shape
from fmnist_sk._storage.csv import read_table
from fmnist_sk._storage.files import as_path
from fmnist_sk._storage.idx import read_idx


@overload
def load_csv(path: str | os.PathLike, *, member: str | None = None, image_shape: tuple[int, ...] | None = None,
             return_X_y: Literal[False] = False, as_frame: bool = False) -> Bunch: ...
@overload
def load_csv(path: str | os.PathLike, *, member: str | None = None, image_shape: tuple[int, ...] | None = None,
             return_X_y: Literal[True], as_frame: bool = False) -> tuple[Any, Any]: ...
def load_csv(path: str | os.PathLike, *, member: str | None = None, image_shape: tuple[int, ...] | None = None,
             return_X_y: bool = False, as_frame: bool = False) -> Bunch | tuple:
    """Load images from a CSV file: one row an image.

    Of a file with a header, the column of labels is the one named label, class, target or y, in any case; it stands
    before or after all pixels. A column named id or index, or pandas' index column without a name, holds ids. All
    others are pixels, in the order of the numbers in their names if they have such, else in that of the file. Without
    a header, a column before the pixels of an image holds labels, as Fashion-MNIST is often passed on
    (``fashion-mnist_train.csv``: 785 columns). Files without labels are read too.

    The file may be plain or compressed (.gz, .bz2, .xz, .zip), or lie in a .tar, .tar.gz or .tgz archive.

    Parameters
    ----------
    path : path
        The file to read.
    member : str, optional
        The name of the CSV file inside the archive; needed only where the archive holds several.
    image_shape : (height, width) or (channels, height, width), optional
        Shape of an image; default: the square that a row fills, in gray or else in RGB: 784 values are 28 x 28, 3,072
        are 3 x 32 x 32, one colour after the other.
    return_X_y : bool
        Return ``(data, target)`` instead of a Bunch.
    as_frame : bool
        Return data as DataFrame, target as Series, and both together as `frame`.

    Returns
    -------
    Bunch with data : (n, values) uint8, 0 to 255; images : (n, H, W) or (n, C, H, W); target : (n,) int64 or texts,
    None without labels; ids : (n,) texts or None; target_names : the labels in order, or, if they are 0 to 9 and the
    file's name contains "fashion", Fashion-MNIST's class names; feature_names, DESCR, and frame (None unless
    `as_frame`).

    Raises
    ------
    FileNotFoundError
        There is no file at `path`.
    ValueError
        The content is not a table of whole numbers from 0 to 255 with labels of one kind, it is not clear what its
        columns are, it is absurdly large, or the archive does not hold exactly one CSV file, or not `member`.
    """
    path = _file(path, "path", "a CSV file")
    table = read_table(path, member, check_image_shape(image_shape))
    return as_bunch(table.pixels, table.labels, table.shape, _names(table.labels, path), return_X_y, as_frame,
                    f"Images read from {path.name}: a CSV file.", ids=table.ids)


@overload
def load_idx(images: str | os.PathLike, labels: str | os.PathLike | None = None, *, return_X_y: Literal[False] = False,
             as_frame: bool = False) -> Bunch: ...
@overload
def load_idx(images: str | os.PathLike, labels: str | os.PathLike | None = None, *, return_X_y: Literal[True],
             as_frame: bool = False) -> tuple[Any, Any]: ...
def load_idx(images: str | os.PathLike, labels: str | os.PathLike | None = None, *, return_X_y: bool = False,
             as_frame: bool = False) -> Bunch | tuple:
    """Load images and labels from a pair of IDX files, the form of MNIST, KMNIST, EMNIST and Fashion-MNIST.

    Parameters
    ----------
    images, labels : paths
        Such as ``train-images-idx3-ubyte.gz`` and ``train-labels-idx1-ubyte.gz``; gzipped or plain. Without labels,
        target is None.
    return_X_y, as_frame : bool
        As in `load_csv`.

    Returns
    -------
    The same Bunch (or pair) as `load_csv`. EMNIST's files hold every image with rows and columns exchanged:
    ``images.transpose(0, 2, 1)`` turns them upright.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        A file is no IDX file, is truncated or damaged, holds other images than bytes of (n, H, W) or (n, H, W, 3), or
        there are not as many labels as images.
    """
    path = _file(images, "images", "an IDX file")
    pixels = read_idx(path, (3, 4))
    if pixels.dtype != np.uint8 or pixels.size == 0 or (pixels.ndim == 4 and pixels.shape[3] != 3):
        raise ValueError("images must hold bytes of the shape (n, height, width) or (n, height, width, 3), n >= 1, "
                         f"got {pixels.dtype} of shape {pixels.shape} in {path}.")
    pixels = pixels[:, None] if pixels.ndim == 3 else np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    target = None if labels is None else read_idx(_file(labels, "labels", "an IDX file"), (1,)).astype(np.int64)
    if target is not None and len(target) != len(pixels):
        raise ValueError(f"labels must hold a label for each of the {len(pixels)} images, got {len(target)} in "
                         f"{labels}.")
    n, channels, height, width = pixels.shape
    return as_bunch(pixels.reshape(n, -1), target, (channels, height, width), _names(target, path), return_X_y,
                    as_frame, f"Images read from {path.name}: an IDX file.")


def _file(path: Any, name: str, kind: str) -> Path:
    path = as_path(path, name)
    if not path.is_file():              # a pipe would be waited for
        raise FileNotFoundError(f"{name} must name {kind}, but there is none at {str(path)!r}.")
    return path


def _names(target: np.ndarray | None, path: Path) -> Sequence[str]:
    """Texts for the labels that occur; of Fashion-MNIST, by the file's name, its classes'."""
    labels = [] if target is None else np.unique(target).tolist()
    if "fashion" in path.name.lower() and set(labels) <= set(range(len(CLASS_NAMES))):
        return CLASS_NAMES
    return [str(label) for label in labels]
