"""Photos of clothes, in the form of Fashion-MNIST's images."""
from __future__ import annotations

import math
import mmap
import numbers
import os
import re
import struct
import warnings
from collections.abc import Iterable, Mapping

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor

from fmnist_sk._data.checks import check_is_plain
from fmnist_sk._runtime.optional import optional
from fmnist_sk._runtime.parameters import Estimator
from fmnist_sk._runtime.sklearn_callbacks import CallbackSupportMixin, one_task, with_callbacks

# Formats that need memory for their pixels only (not so the tiles of a TIFF; others run programs or are rarely photos).
FORMATS = "BMP", "GIF", "JPEG", "PNG", "PPM", "WEBP"
WORKING_SIDE = 1024         # larger photos are reduced to this before anything else
DENOISED_SIDE = 224         # pixels a side of the copy in which garment and background are told apart ...
MEDIAN = 5                  # ... after a median filter of so many pixels (examples/benchmarks/photos.py compares)
GRAY = 0.299, 0.587, 0.114  # red, green and blue in a gray value (ITU-R BT.601)
EMPTY = 6                   # of 255: an image with a smaller mean shows next to nothing
LARGEST = 89_478_485        # pixels; Pillow refuses larger pictures as attacks
SCANS = 100                 # of a JPEG: each takes as long as decoding all of it, and progressive ones have about ten

# A marker of a JPEG that a segment follows (ISO 10918-1, table B.1).
MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
START_OF_SCAN, END = b"\xff\xda", b"\xff\xd9"

# For each orientation in EXIF data (EXIF 2.3, section 4.6.4) the method of Pillow that turns the picture upright.
ORIENTATION = 0x0112
TURNS = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE",
         8: "ROTATE_90"}
# Errors that Pillow raises for damaged files.
DAMAGED = (OSError, SyntaxError, EOFError, MemoryError, LookupError, ArithmeticError, ValueError, TypeError,
           struct.error)


class PhotoToFashion(CallbackSupportMixin, TransformerMixin, Estimator):
    """Photos of one garment each, as images like Fashion-MNIST's: 28 x 28, gray, bright on black, filling the frame.

    The steps are those by which the data set was made (Xiao, Rasul and Vollgraf, 2017, section 2,
    https://arxiv.org/abs/1708.07747): trim edges of the background's colour, reduce the longest edge to `size`,
    sharpen with a Gaussian of radius and deviation 1, extend the shortest edge to `size` with the garment in the
    centre, invert, make gray. Before them, photos are turned as their EXIF data say, what is transparent becomes white
    (black, if the garment is light), and what has the background's colour becomes white, as it was in the shop's
    pictures, or black on a dark background. The background must be seen along most of the photo's edges. It may grow
    darker to a side or to the corners, and may be noisy; strong wrinkles and patterns are taken for garments.

    A photo is a path, a Pillow image, or an array or tensor (height, width), (height, width, 3) or (height, width, 4):
    uint8, bool, or floats from 0 to 1. Files are read as BMP, GIF, JPEG, PNG, PPM or WebP, of several pictures the
    first.

    Needs the extra ``fmnist_sk[photo]``.

    Parameters
    ----------
    size : int
        Height and width of the result in pixels, from 4 to 1024.
    background : {"auto", "light", "dark"}
        On a light background the garment is inverted, on a dark one it is not. "auto": the background is light if it
        is lighter than the garment.
    trim : bool
        Whether edges of the background's colour are cut off, so that the garment fills the frame.
    tolerance : float
        Largest difference from the background's colour, in each of red, green and blue, of a pixel that belongs to it:
        from 0 to 1, the difference of black and white.
    sharpen : bool
        Whether the reduced photo is sharpened, as the data set's images were.
    max_pixels : int
        Photos of more pixels are refused before they are decoded; at most 89,478,485. Decoding takes up to 20 bytes a
        pixel.

    Examples
    --------
    >>> import numpy as np
    >>> photo = np.full((300, 200, 3), 255, dtype=np.uint8)      # white
    >>> photo[100:250, 50:100] = (0, 0, 128)                     # and something dark blue
    >>> images = PhotoToFashion().fit_transform([photo])
    >>> images.shape, images.dtype, int(images[0, 14, 14])
    ((1, 28, 28), dtype('uint8'), 240)
    """

    _parameter_constraints = {
        "size": [Interval(numbers.Integral, 4, WORKING_SIDE, closed="both")],
        "background": [StrOptions({"auto", "light", "dark"})],
        "trim": ["boolean"],
        "tolerance": [Interval(numbers.Real, 0, 1, closed="both")],
        "sharpen": ["boolean"],
        "max_pixels": [Interval(numbers.Integral, 1, LARGEST, closed="both")],
    }

    def __init__(self, size: int = 28, background: str = "auto", trim: bool = True, tolerance: float = 0.1,
                 sharpen: bool = True, max_pixels: int = 50_000_000):
        self.size = size
        self.background = background
        self.trim = trim
        self.tolerance = tolerance
        self.sharpen = sharpen
        self.max_pixels = max_pixels

    @with_callbacks
    def fit(self, X=None, y=None):
        """Check the parameters; nothing is learned."""
        with one_task(self, X, y):
            self._validate_params()
        return self

    def transform(self, X: Iterable) -> np.ndarray:
        """Photos X as images (n, size, size) uint8.

        X is a list of photos, or an array (n, height, width) or (n, height, width, 3 or 4).

        Raises TypeError for other objects than photos, FileNotFoundError for paths without a file, and ValueError for
        files that cannot be read, are damaged or too large, and for arrays of other shapes or values; the message names
        the photo. Warns of photos that show nothing but their background.
        """
        self._validate_params()
        if isinstance(X, (str, bytes, os.PathLike, Mapping)) or not isinstance(X, Iterable) or hasattr(
                X, "getbands") or hasattr(X, "columns") or getattr(X, "ndim", 1) == 0:
            raise TypeError(f"X must be a list of photos, such as [{'photo.jpg'!r}], got {type(X).__name__}.")
        shape = tuple(getattr(X, "shape", ()))
        if len(shape) == 3 and shape[2] in (1, 3, 4):
            raise ValueError(f"X must hold photos, but this array of shape {shape} would be {shape[0]} photos of "
                             f"{shape[1]} x {shape[2]} pixels: give one photo as a list, [X].")
        images = [self._image(photo, i) for i, photo in enumerate(X)]
        if not images:
            raise ValueError("X must hold at least one photo, got none.")
        return np.stack(images)

    def _image(self, photo, i: int) -> np.ndarray:
        Image = optional("PIL.Image", "Photos are read with", "photo")
        name = str(photo) if isinstance(photo, (str, os.PathLike)) else f"X[{i}]"
        image = self._rgb(Image, photo, name)
        rgb = np.asarray(image, dtype=np.float32)
        background = _background(rgb)
        differs = self._differs(Image, image, background)
        if not differs.any():
            warnings.warn(f"{name} shows nothing but its background: its image is black.", UserWarning, stacklevel=4)
        if self.trim and differs.any():
            rows, columns = np.flatnonzero(differs.any(1)), np.flatnonzero(differs.any(0))
            part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
            rgb, differs, background = rgb[part], differs[part], background[part]
        gray = rgb @ np.array(GRAY, dtype=np.float32)
        garment = np.median(gray[differs]) if differs.any() else 0.0
        is_inverted = self.background == "light" or (self.background == "auto" and
                                                     float((background @ GRAY).mean()) > garment)
        on_paper = np.where(differs[:, :, None], rgb, 255.0 if is_inverted else 0.0)
        image = self._reduced(Image, on_paper.astype(np.uint8), is_inverted)
        if differs.any() and image.mean() < EMPTY:
            warnings.warn(f"{name} gives an image that is nearly black. The garment must differ from a background that "
                          "is seen at the edges of the photo.", UserWarning, stacklevel=4)
        return image

    def _differs(self, Image, image, background: np.ndarray) -> np.ndarray:
        """Mask (height, width) of the pixels that are not background; noise and specks are left out."""
        from PIL import ImageFilter
        from scipy import ndimage
        scale = min(1.0, DENOISED_SIDE / max(image.size))
        shape = tuple(max(1, round(side * scale)) for side in image.size)
        smooth = image.resize(shape, Image.Resampling.BOX).filter(ImageFilter.MedianFilter(MEDIAN))
        plain = Image.fromarray(background.clip(0, 255).astype(np.uint8)).resize(shape, Image.Resampling.BOX)
        distance = np.abs(np.asarray(smooth, dtype=np.float32) - np.asarray(plain, dtype=np.float32)).max(2)
        parts, n_parts = ndimage.label(distance > 255 * self.tolerance, np.ones((3, 3)))
        if n_parts:
            sizes = np.bincount(parts.ravel())[1:]
            parts = np.isin(parts, 1 + np.flatnonzero(sizes >= max(2, 0.02 * sizes.max())))
        mask = Image.fromarray((parts > 0).astype(np.uint8) * 255).resize(image.size, Image.Resampling.BOX)
        return np.asarray(mask) > 127

    def _reduced(self, Image, rgb: np.ndarray, is_inverted: bool) -> np.ndarray:
        """The result (size, size) from the trimmed garment on white, which is inverted, or on black."""
        from PIL import ImageFilter
        height, width = rgb.shape[:2]
        scale = self.size / max(height, width)
        shape = max(1, round(width * scale)), max(1, round(height * scale))
        small = Image.fromarray(rgb).resize(shape, Image.Resampling.BOX)
        if self.sharpen:
            small = small.filter(ImageFilter.UnsharpMask(radius=1, percent=100, threshold=0))
        gray = np.asarray(small.convert("L"))
        result = np.zeros((self.size, self.size), dtype=np.uint8)
        top, left = (self.size - shape[1]) // 2, (self.size - shape[0]) // 2
        result[top:top + shape[1], left:left + shape[0]] = 255 - gray if is_inverted else gray
        return result

    def _rgb(self, Image, photo, name: str):
        """The photo as a Pillow image in RGB, upright, opaque, of at most WORKING_SIDE pixels a side."""
        is_file = isinstance(photo, (str, os.PathLike))
        if is_file:
            image = self._opened(Image, photo, name)
        elif isinstance(photo, (np.ndarray, Tensor)):
            image = self._from_array(Image, photo, name)
        elif isinstance(photo, Image.Image):
            image = photo
        else:
            raise TypeError(f"{name} must be a path, a Pillow image or an array, got {type(photo).__name__}.")
        try:
            self._check_size(image.size, name)
            try:
                return self._upright(Image, image, is_file)
            except DAMAGED as error:
                raise ValueError(f"{name} is damaged, or no picture that can be read: {error}") from error
        finally:
            if is_file:
                image.close()

    def _upright(self, Image, image, is_file: bool):
        if is_file:
            image.draft("RGB", (2 * WORKING_SIDE, 2 * WORKING_SIDE))      # JPEG: decode no more than needed
        image.load()
        turned = TURNS.get(_orientation(image) or 1)
        image = image if turned is None else image.transpose(getattr(Image.Transpose, turned))
        if image.mode.startswith("I;16") or image.mode in ("I", "F"):
            values = np.asarray(image, dtype=np.float32)
            if not np.isfinite(values).all():
                raise OSError("it holds NaN or infinity")
            highest = values.max()
            scale = 257 if image.mode.startswith("I;16") or highest > 255 else 1 / 255 if highest <= 1 else 1
            image = Image.fromarray((values / scale).clip(0, 255).astype(np.uint8))
        if not image.has_transparency_data:
            image = image.convert("RGB")
            image.thumbnail((WORKING_SIDE, WORKING_SIDE), Image.Resampling.BOX)
            return image
        image = image.convert("RGBA")
        image.thumbnail((WORKING_SIDE, WORKING_SIDE), Image.Resampling.BOX)
        gray, alpha = np.asarray(image.convert("RGB").convert("L")), np.asarray(image)[:, :, 3]
        is_dark = self.background == "light" or (self.background == "auto" and (
            not (alpha > 127).any() or np.median(gray[alpha > 127]) <= 127))
        paper = Image.new("RGBA", image.size, "white" if is_dark else "black")
        return Image.alpha_composite(paper, image).convert("RGB")

    def _opened(self, Image, path, name: str):
        if not os.path.isfile(path):        # a pipe would be waited for
            raise FileNotFoundError(f"X must hold paths of photos, but there is no file at {name!r}.")
        try:
            image = Image.open(path, formats=FORMATS)
            if image.format == "PNG":
                image.verify()              # its checksums, which decoding does not look at
                image = Image.open(path, formats=FORMATS)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise ValueError(f"{name} is too large, more than max_pixels={self.max_pixels:,}: {error}") from error
        except (OSError, SyntaxError, ValueError, EOFError, OverflowError) as error:
            raise ValueError(f"{name} is no picture that can be read ({', '.join(FORMATS)}): {error}") from error
        if image.format in ("JPEG", "MPO") and _scans(path) > SCANS:
            image.close()
            raise ValueError(f"{name} is damaged: a JPEG has at most {SCANS} scans.")
        return image

    def _from_array(self, Image, photo, name: str):
        if isinstance(photo, Tensor):
            check_is_plain(photo, name)
            photo = photo.detach().resolve_neg().cpu()
            photo = photo.float() if photo.is_floating_point() else photo              # NumPy has no bfloat16
        if np.ma.is_masked(photo):
            raise ValueError(f"{name} must not hold masked values, got {np.ma.count_masked(photo)}.")
        array = np.asarray(photo)
        if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or not array.size:
            raise ValueError(f"{name} must have the shape (height, width) or (height, width, 3 or 4), got "
                             f"{array.shape}.")
        self._check_size((array.shape[1], array.shape[0]), name)
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

    def _check_size(self, size: tuple[int, int], name: str) -> None:
        if size[0] * size[1] > self.max_pixels or min(size) < 1:
            raise ValueError(f"{name} must have from 1 to max_pixels={self.max_pixels:,} pixels, got {size[0]:,} x "
                             f"{size[1]:,}.")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.requires_fit = False
        return tags


def _scans(path) -> int:
    """Number of a JPEG's scans, counted up to one more than SCANS."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        n = end = 0
        while n <= SCANS and (found := MARKER.search(data, end)) and found[0] != END:
            n += found[0] == START_OF_SCAN
            end = found.end() + int.from_bytes(data[found.end():found.end() + 2], "big")
        return n


def _orientation(image) -> int | None:
    """The orientation in a picture's EXIF data; None if there are no data, or damaged ones."""
    try:
        return image.getexif().get(ORIENTATION)
    except DAMAGED:
        return None


def _background(rgb: np.ndarray) -> np.ndarray:
    """The background (height, width, 3) as a curved surface through the colours of the edges, which may vary smoothly.

    Edge pixels that fit badly, where a garment touches them, are left out of a second and a third fit.
    """
    height, width = rgb.shape[:2]
    rows, columns = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    at_edge = np.ones((height, width), dtype=bool)
    border = max(1, min(height, width) // 50)
    at_edge[border:-border, border:-border] = False
    terms = np.stack([np.ones_like(rows), rows, columns, rows**2, columns**2, rows * columns], -1)
    x, y = terms[at_edge], rgb[at_edge]
    surface = np.zeros((6, 3))
    surface[0] = np.median(y, axis=0)
    for limit in (60, 30):
        near = (np.abs(y - x @ surface) < limit).all(1)
        if near.mean() < 0.3:           # no plain background: the median of the edges must do
            break
        surface = np.linalg.lstsq(x[near], y[near], rcond=None)[0]
    return (terms @ surface).astype(np.float32)
