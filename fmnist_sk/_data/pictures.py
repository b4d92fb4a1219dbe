"""Pictures from files, bytes, Pillow and arrays: upright, in 8 bits, within bounds of size and memory."""
from __future__ import annotations

import io
import math
import mmap
import os
import re
import struct
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from fmnist_sk._data.checks import check_is_plain
from fmnist_sk._runtime.optional import optional
from fmnist_sk._runtime.parameters import is_whole, whole

# Formats that need memory only for their pixels (unlike TIFF's tiles; others run programs or are rarely photos).
FORMATS = "BMP", "GIF", "JPEG", "PNG", "PPM", "WEBP"
WHERE_PILLOW_CAN = "AVIF", "HEIF"       # from Pillow 11.3 on, and with the package pillow-heif
SUFFIXES = {".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm",
            ".webp"}
OTHER_SUFFIXES = {".dng", ".jp2", ".jxl", ".psd", ".raw", ".svg", ".tif", ".tiff"}       # pictures that are not read
LARGEST = 89_478_485                    # pixels; Pillow refuses larger pictures as attacks
LARGEST_SIDE = 4096                     # pixels of a side of what pictures are fitted to
COLORS, FITS = ("gray", "rgb"), ("pad", "crop", "stretch")
READING = {             # rules for parameters
    "max_pixels": [whole(1, LARGEST)],
    "n_jobs": [whole(1), whole(None, -1), None],
}
SCALED = "JPEG", "MPO"      # formats whose large pictures are decoded at a small size
GROWTH, SMALL = 8, 2**26    # others: pixels may take 8 times the file's bytes, plus 64 MiB
SCANS = 100                 # of a JPEG: each takes as long as decoding all of it, and progressive ones have about ten

# A marker of a JPEG that is followed by a segment (ISO 10918-1, table B.1).
MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
START_OF_SCAN, END = b"\xff\xda", b"\xff\xd9"

# For each orientation in EXIF data (EXIF 2.3, section 4.6.4) the method of Pillow that turns the picture upright.
ORIENTATION = 0x0112
TURNS = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE",
         8: "ROTATE_90"}
# Errors that Pillow raises for damaged files.
DAMAGED = (OSError, SyntaxError, EOFError, MemoryError, LookupError, ArithmeticError, ValueError, TypeError,
           struct.error)


def pillow() -> Any:
    """The module PIL.Image. Raises ImportError naming the extra if Pillow is missing."""
    return optional("PIL.Image", "Photos are read with", "photo")


def read_picture(picture: Any, name: str, *, max_pixels: int, side: int | None = None, fit: str = "pad") -> Any:
    """A picture as a Pillow image, upright, in mode L, RGB or, if something is transparent, RGBA.

    picture : path, bytes of a file, Pillow image, or array or tensor (height, width), (height, width, 3) or (height,
        width, 4): uint8, bool, or floats from 0 to 1
    name : the picture's name, for messages
    max_pixels : pictures with more are refused before they are decoded
    side : larger pictures are reduced to so many pixels, on the longer side for `fit` "pad", else on the shorter one

    Raises TypeError for other objects, FileNotFoundError for paths without a file, and ValueError for what cannot be
    read, is damaged or too large, and for arrays of other shapes or values.
    """
    Image = pillow()
    is_file = isinstance(picture, (str, os.PathLike, bytes, bytearray))
    if is_file:
        image = _opened(Image, picture, name, max_pixels)
    elif isinstance(picture, (np.ndarray, Tensor)):
        image = _from_array(Image, picture, name, max_pixels)
    elif isinstance(picture, Image.Image):
        image = picture
    else:
        raise TypeError(f"{name} must be a path, bytes, a Pillow image or an array, got {type(picture).__name__}.")
    try:
        _check_size(image.size, name, max_pixels)
        if is_file and image.format not in SCALED:
            _check_growth(image, picture, name)
        try:
            return _upright(Image, image, side, fit, is_file)
        except DAMAGED as error:
            raise ValueError(f"{name} is damaged, or not a readable picture: {error}") from error
    finally:
        if is_file:
            image.close()


def check_pictures(X: Any) -> list:
    """X as a list of pictures of any kind. Raises TypeError or ValueError unless it is a list or array."""
    if isinstance(X, (str, bytes, os.PathLike, Mapping)) or not isinstance(X, Iterable) or hasattr(
            X, "getbands") or hasattr(X, "columns") or getattr(X, "ndim", 1) == 0:
        raise TypeError(f"X must be a list of photos, such as [{'photo.jpg'!r}], got {type(X).__name__}.")
    shape = tuple(getattr(X, "shape", ()))
    if len(shape) == 3 and shape[2] in (1, 3, 4):
        raise ValueError(f"X must hold photos, but this array of shape {shape} would be {shape[0]} photos of "
                         f"{shape[1]} x {shape[2]} pixels: give one photo as a list, [X].")
    pictures = list(X)
    if not pictures:
        raise ValueError("X must hold at least one photo, got none.")
    return pictures


def fit_to(image: Any, size: tuple[int, int], color: str, fit: str) -> np.ndarray:
    """A Pillow image as (1 or 3, height, width) uint8, in "gray" or "rgb", fitted to `size` (height, width).

    fit : "pad" keeps the whole picture and its proportions and fills the rest with the median colour of its edges;
        "crop" keeps the middle; "stretch" changes the proportions
    Transparent areas become white.
    """
    from PIL import ImageOps
    Image, (height, width) = pillow(), size
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if color == "gray" else "RGB")
    method = Image.Resampling.LANCZOS
    if fit == "pad":
        values = np.asarray(image)
        edges = np.concatenate([values[[0, -1]].reshape(-1, *values.shape[2:]),
                                values[:, [0, -1]].reshape(-1, *values.shape[2:])])
        median = np.median(edges, axis=0).round().astype(int).tolist()
        ratio = max(image.width / width, image.height / height)
        fitted = image.resize([max(1, round(side / ratio)) for side in image.size], method)
        image = Image.new(image.mode, (width, height), tuple(median) if color == "rgb" else median)
        image.paste(fitted, (round((width - fitted.width) / 2), round((height - fitted.height) / 2)))
    elif fit == "crop":
        image = ImageOps.fit(image, (width, height), method)
    else:
        image = image.resize((width, height), method)
    values = np.asarray(image)
    return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)


def check_size(size: Any) -> tuple[int, int]:
    """The parameter size, a number or (height, width), as (height, width). Raises ValueError for other values."""
    sides = size if isinstance(size, (tuple, list)) else (size, size)
    if len(sides) != 2 or not all(is_whole(side) and 1 <= int(side) <= LARGEST_SIDE for side in sides):
        raise ValueError(f"size must be a whole number or (height, width), from 1 to {LARGEST_SIDE} pixels, got "
                         f"size={size!r}.")
    return int(sides[0]), int(sides[1])


def name_of(picture: Any, i: int) -> str:
    """Name of picture i of X in messages: its path if it has one."""
    return str(picture) if isinstance(picture, (str, os.PathLike)) else f"X[{i}]"


def _upright(Image, image, side: int | None, fit: str, is_file: bool):
    if is_file and side is not None:
        image.draft("RGB", (2 * side, 2 * side))                # JPEG: decode no more than needed
    image.load()
    turned = TURNS.get(_orientation(image) or 1)
    image = image if turned is None else image.transpose(getattr(Image.Transpose, turned))
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        is_16_bits = image.mode.startswith("I;16") or (image.mode, getattr(image, "format", None)) == ("I", "PPM")
        image = Image.fromarray(_in_8_bits(np.asarray(image, dtype=np.float32), is_16_bits))
    is_gray = image.mode in ("1", "L")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        is_opaque = image.getextrema()[3][0] == 255
        image = image.convert("RGB") if is_opaque else image
    else:
        image = image.convert("L" if is_gray else "RGB")
    if side is not None:
        longer = side if fit == "pad" else math.ceil(side * max(image.size) / min(image.size))
        image.thumbnail((longer, longer), Image.Resampling.BOX)
    return image


def _in_8_bits(values: np.ndarray, is_16_bits: bool) -> np.ndarray:
    """Numbers from 0 to 65535, 255 or 1, depending on the largest one, as uint8."""
    if not np.isfinite(values).all():
        raise OSError("it holds NaN or infinity")
    highest = values.max()
    scale = 257 if is_16_bits or highest > 255 else 1 / 255 if highest <= 1 else 1
    return (values / scale).round().clip(0, 255).astype(np.uint8)


def _opened(Image, source, name: str, max_pixels: int):
    is_path = isinstance(source, (str, os.PathLike))
    if is_path and not os.path.isfile(source):          # reading a pipe would block
        raise FileNotFoundError(f"X must hold paths of photos, but there is no file at {name!r}.")
    formats = [*FORMATS, *(known for known in WHERE_PILLOW_CAN if known in _registered(Image))]

    def opened():
        return Image.open(source if is_path else io.BytesIO(source), formats=formats)
    try:
        image = opened()
        if image.format == "PNG":
            with image:
                image.verify()          # its checksums, which decoding does not check
            image = opened()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"{name} is too large, more than max_pixels={max_pixels:,}: {error}") from error
    except (OSError, SyntaxError, ValueError, EOFError, OverflowError) as error:
        raise ValueError(f"{name} is not a readable picture ({', '.join(formats)}): {error}") from error
    if image.format in SCALED and _scans(source, is_path) > SCANS:
        image.close()
        raise ValueError(f"{name} is damaged: a JPEG has at most {SCANS} scans.")
    return image


def _check_growth(image, source, name: str) -> None:
    n_bytes = image.width * image.height * len(image.getbands()) * (2 if image.mode.startswith("I") else 1)
    size = os.path.getsize(source) if isinstance(source, (str, os.PathLike)) else len(source)
    if n_bytes > GROWTH * size + SMALL:
        raise ValueError(f"{name} is too large for a file of {size:,} bytes: its {image.width} x {image.height} pixels "
                         f"take {n_bytes:,} bytes, of at most {GROWTH * size + SMALL:,}.")


def _registered(Image) -> set[str]:
    """The formats that this Pillow reads, including HEIC if the package pillow-heif is installed."""
    try:
        import pillow_heif
        pillow_heif.register_heif_opener()
    except ImportError:
        pass
    Image.init()
    return set(Image.OPEN)


def _from_array(Image, picture, name: str, max_pixels: int):
    if isinstance(picture, Tensor):
        check_is_plain(picture, name)
        picture = picture.detach().resolve_neg().cpu()
        picture = picture.float() if picture.is_floating_point() else picture          # NumPy has no bfloat16
    if np.ma.is_masked(picture):
        raise ValueError(f"{name} must not hold masked values, got {np.ma.count_masked(picture)}.")
    array = np.asarray(picture)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or not array.size:
        raise ValueError(f"{name} must have the shape (height, width) or (height, width, 3 or 4), got {array.shape}.")
    _check_size((array.shape[1], array.shape[0]), name, max_pixels)
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not (math.isfinite(low) and low >= 0 and high <= 1):
            raise ValueError(f"{name} must hold floats from 0 to 1, or uint8, got {low:g} to {high:g}.")
        array = (array * 255).round().astype(np.uint8)
    if array.dtype != np.uint8:
        raise ValueError(f"{name} must hold uint8, or floats from 0 to 1, got {array.dtype}.")
    return Image.fromarray(array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array)


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels or min(size) < 1:
        raise ValueError(f"{name} must have from 1 to max_pixels={max_pixels:,} pixels, got {size[0]:,} x "
                         f"{size[1]:,}.")


def _scans(source, is_path: bool) -> int:
    """Number of a JPEG's scans, counted up to one more than SCANS."""
    if is_path:
        with open(source, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _count_scans(data)
    return _count_scans(source)


def _count_scans(data) -> int:
    n = end = 0
    while n <= SCANS and (found := MARKER.search(data, end)) and found[0] != END:
        n += found[0] == START_OF_SCAN
        end = found.end() + int.from_bytes(data[found.end():found.end() + 2], "big")
    return n


def _orientation(image) -> int | None:
    """The orientation in a picture's EXIF data; None if they are missing or damaged."""
    try:
        return image.getexif().get(ORIENTATION)
    except DAMAGED:
        return None
