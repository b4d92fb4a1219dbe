"""Loaders for your own data sets in common file formats, in the style of scikit-learn's loaders."""
from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from joblib import Parallel, delayed
from sklearn.utils import Bunch
from sklearn.utils._param_validation import validate_parameter_constraints
from tqdm import tqdm

from fmnist_sk._data.bunch import CLASS_NAMES, as_bunch
from fmnist_sk._data.pictures import (
    COLORS,
    FITS,
    OTHER_SUFFIXES,
    READING,
    SUFFIXES,
    check_size,
    fit_to,
    pillow,
    read_picture,
)
from fmnist_sk._data.shapes import check_image_shape
from fmnist_sk._runtime.warn import warn
from fmnist_sk._storage.csv import read_table
from fmnist_sk._storage.files import expanded
from fmnist_sk._storage.idx import read_idx

PARTS = {"train", "training", "test", "testing", "valid", "val", "validation"}       # names of folders, not of classes
LABEL_FORMS = "folder", "name", None


@overload
def load_csv(path: str | os.PathLike, *, member: str | None = None, image_shape: tuple[int, ...] | None = None,
             return_X_y: Literal[False] = False, as_frame: bool = False) -> Bunch: ...
@overload
def load_csv(path: str | os.PathLike, *, member: str | None = None, image_shape: tuple[int, ...] | None = None,
             return_X_y: Literal[True], as_frame: bool = False) -> tuple[Any, Any]: ...
def load_csv(path: str | os.PathLike, *, member: str | None = None, image_shape: tuple[int, ...] | None = None,
             return_X_y: bool = False, as_frame: bool = False) -> Bunch | tuple:
    """Load images from a CSV file with one image per row.

    If the file has a header, labels are in the column named label, class, target or y, in upper or lower case, before
    or after all pixels. A column named id or index, or pandas' unnamed index column, holds ids. All other columns are
    pixels, in the order of the numbers in their names if there are any, else in file order. Without a header, a column
    before the pixels holds labels, as in the usual form of Fashion-MNIST (``fashion-mnist_train.csv``: 785 columns).
    Files without labels are read too.

    The file can be plain, compressed (.gz, .bz2, .xz, .zip), or in a .tar, .tar.gz or .tgz archive.

    Parameters
    ----------
    path : path
        The file to read.
    member : str, optional
        The name of the CSV file inside the archive; needed only if the archive holds several. None for other files.
    image_shape : (height, width) or (channels, height, width), optional
        Shape of an image; default: the square that a row fills, in gray or else in RGB: 784 values are 28 x 28, 3,072
        are 3 x 32 x 32, one channel after the other.
    return_X_y : bool
        Return ``(data, target)`` instead of a Bunch.
    as_frame : bool
        Return data as DataFrame, target as Series, and both together as `frame`.

    Returns
    -------
    Bunch, or tuple of data and target
        With data, (n, values) uint8 from 0 to 255; images, (n, H, W) or (n, C, H, W); target, (n,) int64 or strings, or
        None without labels; ids, (n,) strings or None; target_names, the labels in order, or, if they are 0 to 9 and
        the file's name contains "fashion", Fashion-MNIST's class names; feature_names; DESCR; frame, None unless
        `as_frame`.

    Raises
    ------
    FileNotFoundError
        There is no file at `path`.
    ValueError
        The content is not a table of whole numbers from 0 to 255 with labels of one kind, its columns are ambiguous, or
        it is too large.
    ValueError
        The archive does not hold exactly one CSV file, or lacks `member`, or there is a `member`, but no archive.

    Examples
    --------
    >>> import tempfile
    >>> from fmnist_sk import load_csv
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with open(f"{folder}/tiny.csv", "w") as file:
    ...         print("label,p0,p1,p2,p3\\nbag,0,1,2,3\\ncoat,4,5,6,7", file=file)
    ...     data = load_csv(f"{folder}/tiny.csv", image_shape=(2, 2))
    >>> data.images.shape, data.target.tolist()
    ((2, 2, 2), ['bag', 'coat'])
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
    """Load images and labels from a pair of IDX files, the format of MNIST, KMNIST, EMNIST and Fashion-MNIST.

    Parameters
    ----------
    images, labels : paths
        Such as ``train-images-idx3-ubyte.gz`` and ``train-labels-idx1-ubyte.gz``; gzipped or plain. Without labels,
        target is None.
    return_X_y, as_frame : bool
        As in `load_csv`.

    Returns
    -------
    Bunch, or tuple of data and target
        As for `load_csv`. EMNIST's files store every image with rows and columns swapped: ``images.transpose(0, 2, 1)``
        turns them upright.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        A file is not an IDX file, is truncated or damaged, does not hold images as bytes of (n, H, W) or (n, H, W, 3),
        or the numbers of labels and images differ.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from fmnist_sk import load_idx
    >>> header = np.array([0x00000803, 2, 2, 2], dtype=">i4").tobytes()          # two images of 2 x 2 pixels
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with open(f"{folder}/images", "wb") as file:
    ...         n_bytes = file.write(header + bytes(range(8)))
    ...     images = load_idx(f"{folder}/images").images
    >>> images.tolist()
    [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]
    """
    path = _file(images, "images", "an IDX file")
    pixels = read_idx(path, (3, 4))
    if pixels.dtype != np.uint8 or pixels.size == 0 or (pixels.ndim == 4 and pixels.shape[3] != 3):
        raise ValueError("images must hold bytes of the shape (n, height, width) or (n, height, width, 3), n >= 1, "
                         f"got {pixels.dtype} of shape {pixels.shape} in {path}.")
    pixels = pixels[:, None] if pixels.ndim == 3 else np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    codes = None if labels is None else read_idx(_file(labels, "labels", "an IDX file"), (1,))
    if codes is not None and len(codes) != len(pixels):
        raise ValueError(f"labels must hold a label for each of the {len(pixels)} images, got {len(codes)} in "
                         f"{labels}.")
    target = None if codes is None else codes.astype(np.int64)
    n, channels, height, width = pixels.shape
    return as_bunch(pixels.reshape(n, -1), target, (channels, height, width), _names(target, path), return_X_y,
                    as_frame, f"Images read from {path.name}: an IDX file.")


def load_image_folder(folder: str | os.PathLike, *, size: int | tuple[int, int] = 28, color: str = "gray",
                      resize: str = "pad", label: str | None = "folder", on_error: str = "warn",
                      max_pixels: int = 50_000_000, n_jobs: int | None = None, progress: bool = False) -> Bunch:
    """Load pictures from a folder with a subfolder for each class.

    Pictures can lie at any depth in a subfolder. Files and folders whose names begin with a dot, and files without a
    picture's extension, are skipped. A warning names pictures in unsupported formats, pictures outside the subfolders,
    and empty subfolders. Empty subfolders still appear in `target_names`, so class numbers agree across folders; the
    names of a classifier's own classes are ``target_names[classifier.classes_]``. Classes, and the pictures of each,
    are sorted by name, in the same order on every machine. Photos are rotated according to their EXIF data; transparent
    areas become white. Memory holds only the images and one picture per thread.

    Needs the extra ``fmnist_sk[photo]``. `ImageReader` reads pictures as a step of a Pipeline.

    Parameters
    ----------
    folder : path
        The folder to read.
    size : int or (height, width)
        Size of the images in pixels, from 1 to 4096 per side.
    color : {"gray", "rgb"}
        One channel (ITU-R BT.601) or three.
    resize : {"pad", "crop", "stretch"}
        How pictures of other proportions are fitted. "pad": the whole picture, its sides filled with the median colour
        of its edges. "crop": its middle. "stretch": the whole picture, distorted.
    label : {"folder", "name", None}
        What target holds: the number of the subfolder ("folder") or its name ("name"). None: `folder` has no subfolders
        for classes, all pictures in it are read, and target is None.
    on_error : {"warn", "raise"}
        Whether unreadable files are skipped and named in one warning, or the first one raises an error.
    max_pixels : int
        Pictures with more pixels are not decoded; at most 89,478,485.
    n_jobs : int or None
        Threads that read pictures; None means one, -1 as many as there are processors. More threads help with large
        photos, but slow down reading of small ones (about a millisecond each).
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    Bunch
        With data, (n, values) uint8; images, (n, H, W), or in colour (n, 3, H, W); target, (n,) int64, strings or None;
        target_names, names of the subfolders; paths, (n,) pathlib.Path of the pictures; DESCR; feature_names; frame,
        None.

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    ValueError
        It holds no readable picture, or, with ``on_error="raise"``, an unreadable one.
    ImportError
        The extra is not installed.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from PIL import Image
    >>> from fmnist_sk import load_image_folder
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for name, color in (("blue", (0, 0, 255)), ("red", (255, 0, 0))):
    ...     (folder / name).mkdir()
    ...     Image.new("RGB", (40, 30), color).save(folder / name / "a.png")
    >>> pictures = load_image_folder(folder, size=32, color="rgb")
    >>> pictures.images.shape, pictures.target, pictures.target_names
    ((2, 3, 32, 32), array([0, 1]), array(['blue', 'red'], dtype='<U4'))
    """
    pillow()
    is_named, folder, sides = folder != "", expanded(folder, "folder"), check_size(size)
    for name, value, allowed in (("color", color, COLORS), ("resize", resize, FITS), ("label", label, LABEL_FORMS),
                                 ("on_error", on_error, ("warn", "raise"))):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {name}={value!r}.")
    validate_parameter_constraints(READING, {"max_pixels": max_pixels, "n_jobs": n_jobs}, "load_image_folder")
    if not folder.is_dir() or not is_named:
        raise FileNotFoundError(f"folder must name a folder of pictures, but there is none at {str(folder)!r}.")
    parts = [folder] if label is None else sorted(
        part for part in folder.iterdir() if part.is_dir() and not part.name.startswith("."))
    if label is not None and parts and {part.name.lower() for part in parts} <= PARTS:
        found = ", ".join(part.name for part in parts)
        raise ValueError(f"folder must have a subfolder for each class, got {found} in {str(folder)!r}: load each "
                         "separately.")
    files = [(path, part.name) for part in parts for path in _pictures_in(part)]
    if not files:
        where = "it" if label is None else "its subfolders, one for each class"
        raise ValueError(f"folder must hold pictures ({', '.join(sorted(SUFFIXES))}) in {where}, got none in "
                         f"{str(folder)!r}.")
    images = np.empty((len(files), 1 if color == "gray" else 3, *sides), dtype=np.uint8)

    def read(i: int) -> str | None:
        try:
            picture = read_picture(files[i][0], str(files[i][0]), max_pixels=max_pixels, side=2 * max(sides),
                                   fit=resize)
        except (ValueError, FileNotFoundError) as error:
            if on_error == "raise":
                raise
            return str(error)               # the error itself would keep in memory what was read
        images[i] = fit_to(picture, sides, color, resize)
        return None

    reading = Parallel(n_jobs, prefer="threads", return_as="generator")(delayed(read)(i) for i in range(len(files)))
    errors = list(tqdm(reading, total=len(files), unit=" pictures", disable=not progress))
    kept = np.array([error is None for error in errors])
    if not kept.all():
        wrong = [error for error in errors if error is not None]
        more = f" and {len(wrong) - 10} more" if len(wrong) > 10 else ""
        message = f"{len(wrong)} of {len(files)} pictures skipped: {' '.join(wrong[:10])}{more}"
        if not kept.any():
            raise ValueError(message)
        warn(message)
        images = images[kept]
    files = [file for file, is_kept in zip(files, kept, strict=True) if is_kept]
    if passed_over := _passed_over(folder, parts, files):
        warn(passed_over)
    names = np.array(sorted(part.name for part in parts))
    codes = np.searchsorted(names, [name for _, name in files])
    target = None if label is None else names[codes] if label == "name" else codes.astype(np.int64)
    n, channels, height, width = images.shape
    descr = f"{n} pictures of {folder}, as {height} x {width} pixels in {'gray' if channels == 1 else 'RGB'}."
    return as_bunch(images.reshape(n, -1), target, (channels, height, width), [] if label is None else names.tolist(),
                    False, False, descr, paths=[path for path, _ in files])


def _pictures_in(folder: Path) -> list[Path]:
    """Files with a picture's extension, at any depth, sorted by name."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
             and not any(part.startswith(".") for part in path.relative_to(folder).parts))
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def _passed_over(folder: Path, parts: list[Path], files: list[tuple[Path, str]]) -> str:
    """What a user might have expected to be loaded: pictures in other formats or places, and classes without any."""
    others = [path for part in parts for path in sorted(part.rglob("*")) if path.suffix.lower() in OTHER_SUFFIXES]
    if parts == [folder]:
        beside, empty = [], []
    else:
        beside = [path for path in sorted(folder.glob("*.*")) if path.suffix.lower() in SUFFIXES]
        empty = sorted({part.name for part in parts} - {name for _, name in files})
    told = [f"{len(paths)} picture{'s' if len(paths) > 1 else ''} {where}, such as {paths[0]}" for paths, where in (
        (others, "in formats that are not read"), (beside, "outside the subfolders")) if paths]
    told += [f"classes without pictures, which still appear in target_names, {', '.join(empty)}"] if empty else []
    return f"Skipped: {'; '.join(told)}." if told else ""


def _file(path: Any, name: str, kind: str) -> Path:
    path = expanded(path, name)
    if not path.is_file():              # a pipe would be waited for
        raise FileNotFoundError(f"{name} must name {kind}, but there is none at {str(path)!r}.")
    return path


def _names(target: np.ndarray | None, path: Path) -> Sequence[str]:
    """Names for the labels that occur; if the file's name suggests Fashion-MNIST, those of its classes."""
    labels = [] if target is None else np.unique(target).tolist()
    if "fashion" in path.name.lower() and set(labels) <= set(range(len(CLASS_NAMES))):
        return CLASS_NAMES
    return [str(label) for label in labels]
