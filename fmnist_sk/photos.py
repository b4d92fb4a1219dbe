"""Photos of clothes, in the form of Fashion-MNIST's images."""
from __future__ import annotations

import math
import numbers
import os
import warnings
from collections.abc import Iterable

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor

from fmnist_sk._files import optional

# Formats that Pillow decodes by itself (others run programs, or are seldom photos).
FORMATS = "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP"
WORKING_SIDE = 1024         # larger photos are reduced to this before anything else


class PhotoToFashion(TransformerMixin, BaseEstimator):
    """Photos of one garment each, as images like Fashion-MNIST's: 28 x 28, gray, bright on black, filling the frame.

    The steps are those by which the data set was made (Xiao, Rasul and Vollgraf, 2017, section 2,
    https://arxiv.org/abs/1708.07747): trim edges of the background's colour, reduce the longest edge to `size`,
    sharpen with a Gaussian of radius and deviation 1, extend the shortest edge to `size` with the garment in the
    centre, invert, make gray. Before them, photos are turned as their EXIF data say, and what is transparent becomes
    white. After them, what has the background's colour becomes 0.

    A photo is a path, a Pillow image, or an array or tensor (height, width), (height, width, 3) or (height, width, 4):
    uint8, or floats from 0 to 1. Files are read as BMP, GIF, JPEG, PNG, PPM, TIFF or WebP, of several pictures the
    first.

    Needs the extra ``fmnist_sk[photo]``.

    Parameters
    ----------
    size : int
        Height and width in pixels of the result.
    background : {"auto", "light", "dark"}
        A light background is inverted, a dark one is not. "auto" judges by the photo's edges.
    trim : bool
        Cut off edges of the background's colour.
    tolerance : float
        How far from the background's colour, in each of red, green and blue, a pixel still belongs to it: from 0 to 1.
    sharpen : bool
    max_pixels : int
        Photos of more pixels are refused before they are decoded. Decoding takes up to 4 bytes a pixel.

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
        "size": [Interval(numbers.Integral, 4, None, closed="left")],
        "background": [StrOptions({"auto", "light", "dark"})],
        "trim": ["boolean"],
        "tolerance": [Interval(numbers.Real, 0, 1, closed="both")],
        "sharpen": ["boolean"],
        "max_pixels": [Interval(numbers.Integral, 1, None, closed="left")],
    }

    def __init__(self, size: int = 28, background: str = "auto", trim: bool = True, tolerance: float = 0.1,
                 sharpen: bool = True, max_pixels: int = 50_000_000):
        self.size = size
        self.background = background
        self.trim = trim
        self.tolerance = tolerance
        self.sharpen = sharpen
        self.max_pixels = max_pixels

    def fit(self, X=None, y=None):
        """Check the parameters; nothing is learned."""
        self._validate_params()
        return self

    def transform(self, X: Iterable) -> np.ndarray:
        """Photos X as images (n, size, size) uint8.

        X is a list of photos, or an array (n, height, width) or (n, height, width, 3 or 4).

        Raises TypeError for what are no photos, FileNotFoundError, and ValueError for files that cannot be read, are
        damaged or too large, and for arrays of other shapes or values. The message names the photo.
        """
        self._validate_params()
        if isinstance(X, (str, bytes, os.PathLike)) or not isinstance(X, Iterable) or hasattr(X, "getbands"):
            raise TypeError(f"X must be a list of photos, such as [{'photo.jpg'!r}], got {type(X).__name__}.")
        images = [self._image(photo, i) for i, photo in enumerate(X)]
        if not images:
            raise ValueError("X must hold at least one photo, got none.")
        return np.stack(images)

    def _image(self, photo, i: int) -> np.ndarray:
        Image = optional("PIL.Image", "Photos are read with", "photo")
        name = str(photo) if isinstance(photo, (str, os.PathLike)) else f"X[{i}]"
        rgb = np.asarray(self._rgb(Image, photo, name), dtype=np.float32)
        edges = np.concatenate([rgb[0], rgb[-1], rgb[:, 0], rgb[:, -1]])
        color = np.median(edges, axis=0)
        differs = (np.abs(rgb - color) > 255 * self.tolerance).any(2)
        if self.trim:
            rgb, differs = _trimmed(rgb, differs)
        return self._reduced(Image, rgb, differs, color)

    def _reduced(self, Image, rgb: np.ndarray, differs: np.ndarray, color: np.ndarray) -> np.ndarray:
        """From the trimmed photo to the result."""
        from PIL import ImageFilter
        height, width = differs.shape
        scale = self.size / max(height, width)
        shape = max(1, round(width * scale)), max(1, round(height * scale))
        small = Image.fromarray(rgb.astype(np.uint8)).resize(shape, Image.Resampling.BOX)
        mask = Image.fromarray(differs.astype(np.uint8) * 255).resize(shape, Image.Resampling.BOX)
        if self.sharpen:
            small = small.filter(ImageFilter.UnsharpMask(radius=1, percent=100, threshold=0))
        gray, background = np.asarray(small.convert("L"), dtype=np.float32), float(color @ (0.299, 0.587, 0.114))
        is_light = self.background == "light" or (self.background == "auto" and background > 127)
        gray = 255 - gray if is_light else gray
        gray = np.where(np.asarray(mask) > 0, gray, 0)
        result = np.zeros((self.size, self.size), dtype=np.uint8)
        top, left = (self.size - shape[1]) // 2, (self.size - shape[0]) // 2
        result[top:top + shape[1], left:left + shape[0]] = gray.round().clip(0, 255)
        return result

    def _rgb(self, Image, photo, name: str):
        """The photo as a Pillow image in RGB, upright, on white, of at most WORKING_SIDE pixels a side."""
        from PIL import ImageOps
        image = photo
        if isinstance(photo, (str, os.PathLike)):
            image = self._opened(Image, photo, name)
        elif isinstance(photo, (np.ndarray, Tensor)):
            image = self._from_array(Image, photo, name)
        elif not isinstance(photo, Image.Image):
            raise TypeError(f"{name} must be a path, a Pillow image or an array, got {type(photo).__name__}.")
        self._check_size(image.size, name)
        try:
            if isinstance(photo, (str, os.PathLike)):
                image.draft("RGB", (2 * WORKING_SIDE, 2 * WORKING_SIDE))      # JPEG: decode no more than needed
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I;16") or image.mode in ("I", "F"):
                values = np.asarray(image, dtype=np.float32)
                image = Image.fromarray((values / (257 if values.max() > 255 else 1)).clip(0, 255).astype(np.uint8))
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            image = image.convert("RGB")
        except (OSError, SyntaxError, ValueError, EOFError, MemoryError, IndexError, ZeroDivisionError) as error:
            raise ValueError(f"{name} is damaged, or no picture that can be read: {error}") from error
        image.thumbnail((WORKING_SIDE, WORKING_SIDE), Image.Resampling.BOX)
        return image

    def _opened(self, Image, path, name: str):
        if not os.path.exists(path):
            raise FileNotFoundError(f"X must hold paths of photos, but there is nothing at {name!r}.")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                warnings.filterwarnings("ignore", category=UserWarning)
                return Image.open(path, formats=FORMATS)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise ValueError(f"{name} is too large, more than max_pixels={self.max_pixels:,}: {error}") from error
        except (OSError, SyntaxError, ValueError, EOFError, OverflowError) as error:
            raise ValueError(f"{name} is no picture that can be read ({', '.join(FORMATS)}): {error}") from error

    def _from_array(self, Image, photo, name: str):
        array = np.asarray(photo.detach().cpu() if isinstance(photo, Tensor) else photo)
        if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or not array.size:
            raise ValueError(f"{name} must have the shape (height, width) or (height, width, 3 or 4), got "
                             f"{array.shape}.")
        self._check_size((array.shape[1], array.shape[0]), name)
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


def _trimmed(rgb: np.ndarray, differs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Without the rows and columns at the edges in which fewer than 1 in 200 pixels differ from the background."""
    rows = np.flatnonzero(differs.mean(1) > 0.005)
    columns = np.flatnonzero(differs.mean(0) > 0.005)
    if not len(rows) or not len(columns):
        return rgb, differs
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return rgb[part], differs[part]
