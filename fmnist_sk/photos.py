"""Photos of clothes, turned into images like Fashion-MNIST's."""
from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils._param_validation import StrOptions

from fmnist_sk._data.pictures import READING, check_pictures, name_of, pillow, read_picture
from fmnist_sk._runtime.parameters import Estimator, real, whole
from fmnist_sk._runtime.sklearn_callbacks import CallbackSupportMixin, one_task, with_callbacks
from fmnist_sk._runtime.warn import warn

WORKING_SIDE = 1024         # larger photos are reduced to this before anything else
DENOISED_SIDE = 224         # pixels a side of the copy in which garment and background are told apart ...
MEDIAN = 5                  # ... after a median filter of so many pixels (examples/benchmarks/photos.py compares)
GRAY = 0.299, 0.587, 0.114  # red, green and blue in a gray value (ITU-R BT.601)
EMPTY = 6                   # of 255: an image with a smaller mean shows next to nothing
LIGHTEST = 245              # of 255: cut-out garments without a darker pixel would be black on white paper
BRIGHT = 200                # of 255: in pale cut-outs, the brightest twentieth of the pixels becomes at least as bright
CONTRAST, STRETCH = 100, 8  # of 255: range to which nine tenths of a cut-out are stretched; largest factor
FRAME = 12, 40              # of 255: how far the colours of a uniform frame may differ; more if it is a JPEG's
EDGE = 0.95                 # share of a line of pixels just within a frame that differ from it
LEAST = 0.6                 # least share of a photo's height and width that must be left within a frame
LEAST_OF_BARS = 0.25        # the same between bars, which leave the other side whole: a wide photo on a tall screen


class PhotoToFashion(CallbackSupportMixin, TransformerMixin, Estimator):
    """Photos of one garment each, as images like Fashion-MNIST's: 28 x 28, gray, bright on black, filling the frame.

    The steps are those by which the data set was made (Xiao, Rasul and Vollgraf, 2017, section 2,
    https://arxiv.org/abs/1708.07747): trim edges of the background's colour, downscale the longest edge to `size`,
    sharpen with a Gaussian of radius and deviation 1, extend the shortest edge to `size` with the garment in the
    centre, invert, convert to grayscale. Before that, photos are rotated according to their EXIF data, and frames and
    bars of one colour are cut off. Pixels of the background's colour become white, as in the shop's pictures, or black
    if the background is dark. The background must be visible along most of the photo's edges. It can be noisy and can
    darken towards a side or the corners; strong wrinkles and patterns are mistaken for garments. In partly transparent
    pictures, the opaque part is the garment; pale ones become brighter, because white paper would hide them.

    A photo is a path, the bytes of a file, a Pillow image, or an array or tensor (height, width), (height, width, 3) or
    (height, width, 4): uint8, bool, or floats from 0 to 1. Files are read as BMP, GIF, JPEG, PNG, PPM or WebP, and as
    AVIF and HEIC if Pillow can (HEIC with the package pillow-heif); from multi-page files, the first page.

    Needs the extra ``fmnist_sk[photo]``.

    Parameters
    ----------
    size : int
        Height and width of the result in pixels, from 4 to 1024.
    background : {"auto", "light", "dark"}
        On a light background the photo is inverted, on a dark one it is not. "auto": the background counts as light if
        it is lighter than the garment.
    trim : bool
        Whether frames, and edges of the background's colour, are cut off, so that the garment fills the image.
    tolerance : float
        Largest difference from the background's colour, in each of red, green and blue, at which a pixel still belongs
        to it: from 0 to 1, the difference between black and white.
    sharpen : bool
        Whether the reduced photo is sharpened, as the data set's images were.
    max_pixels : int
        Photos with more pixels are refused before they are decoded; at most 89,478,485. Decoding takes up to 20 bytes
        per pixel.

    Examples
    --------
    >>> import numpy as np
    >>> from fmnist_sk import PhotoToFashion
    >>> photo = np.full((300, 200, 3), 255, dtype=np.uint8)      # white
    >>> photo[100:250, 50:100] = (0, 0, 128)                     # and something dark blue
    >>> images = PhotoToFashion().fit_transform([photo])
    >>> images.shape, images.dtype, int(images[0, 14, 14])
    ((1, 28, 28), dtype('uint8'), 240)
    """

    _parameter_constraints = {
        "size": [whole(4, WORKING_SIDE)],
        "background": [StrOptions({"auto", "light", "dark"})],
        "trim": ["boolean"],
        "tolerance": [real(0, 1)],
        "sharpen": ["boolean"],
        "max_pixels": READING["max_pixels"],
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
        """Check the parameters; nothing is learned.

        Parameters
        ----------
        X, y : object
            Ignored.

        Returns
        -------
        PhotoToFashion
            The transformer itself.
        """
        with one_task(self, X, y):
            self._validate_params()
        return self

    def transform(self, X: Iterable) -> np.ndarray:
        """Make images like those of Fashion-MNIST from photos.

        Warns of photos that show nothing but their background, and of those that show only a rectangle.

        Parameters
        ----------
        X : list of n photos, or array of shape (n, height, width) or (n, height, width, 3 or 4)
            In a list, paths, bytes of files, Pillow images, or arrays of pixels.

        Returns
        -------
        ndarray of shape (n, size, size)
            Images, uint8.

        Raises
        ------
        TypeError
            For objects that are not photos.
        FileNotFoundError
            For paths without a file.
        ValueError
            For files that cannot be read, are damaged or too large, and for arrays of other shapes or values; the
            message names the photo.
        """
        self._validate_params()
        return np.stack([self._image(photo, name_of(photo, i)) for i, photo in enumerate(check_pictures(X))])

    def _image(self, photo, name: str) -> np.ndarray:
        Image = pillow()
        image = read_picture(photo, name, max_pixels=self.max_pixels, side=WORKING_SIDE)
        if image.mode == "RGBA":
            rgb, shown, is_inverted = self._cut_out(Image, image)
            background = np.full_like(rgb, 255.0 if is_inverted else 0.0)
        else:
            image = image.convert("RGB")
            image = _without_frame(image) if self.trim else image
            rgb = np.asarray(image, dtype=np.float32)
            background = _background(rgb)
            shown, is_inverted = self._differs(Image, image, background), None
        if not shown.any():
            warn(f"{name} shows nothing but its background: its image is black.")
            return np.zeros((self.size, self.size), dtype=np.uint8)
        rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        if shown[box].mean() > 0.98 and min(shown[box].shape) > 1:
            warn(f"{name} shows a rectangle on its background: a picture in a frame, or a garment whose edges "
                 "lie outside the photo, is not recognised.")
        if self.trim:
            rgb, shown, background = rgb[box], shown[box], background[box]
        if is_inverted is None:
            is_inverted = self._is_inverted((background @ GRAY).mean(), np.median((rgb @ GRAY)[shown]))
        on_paper = np.where(shown[:, :, None], rgb, 255.0 if is_inverted else 0.0)
        small = self._reduced(Image, on_paper.astype(np.uint8), is_inverted)
        if image.mode == "RGBA":
            return _brightened(small)
        if small.mean() < EMPTY:
            warn(f"{name} gives an image that is nearly black. The garment must differ from a background that "
                 "is visible at the edges of the photo.")
        return small

    def _is_inverted(self, background: float, garment: float) -> bool:
        """Whether dark becomes bright, for these brightnesses of background and garment."""
        return self.background == "light" or (self.background == "auto" and background > garment)

    def _cut_out(self, Image, image) -> tuple[np.ndarray, np.ndarray, bool]:
        """A transparent picture on paper (height, width, 3), a mask of its opaque part, and whether it is inverted.

        The paper is white, as in the shop, unless that would leave next to nothing of a white garment.
        """
        values = _with_contrast(np.array(image))
        image, shown = Image.fromarray(values), values[:, :, 3] > 127
        gray = values[:, :, :3] @ np.array(GRAY)
        is_inverted = self._is_inverted(LIGHTEST, np.quantile(gray[shown], 0.05) if shown.any() else 0.0)
        paper = Image.new("RGBA", image.size, "white" if is_inverted else "black")
        return np.asarray(Image.alpha_composite(paper, image).convert("RGB"), dtype=np.float32), shown, is_inverted

    def _differs(self, Image, image, background: np.ndarray) -> np.ndarray:
        """Mask (height, width) of the pixels that are not background, without noise and specks."""
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
        """The result (size, size) from the trimmed garment on white, which is then inverted, or on black."""
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

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.requires_fit = False
        return tags


def _with_contrast(values: np.ndarray) -> np.ndarray:
    """A cut-out (height, width, 4) with more contrast if it has little, so that folds and seams become visible.

    Not for photos, whose noise would become stronger too.
    """
    shown, rgb = values[:, :, 3] > 127, values[:, :, :3].astype(np.float32)
    if not shown.any():
        return values
    low, middle, high = np.quantile((rgb @ np.array(GRAY, dtype=np.float32))[shown], (0.05, 0.5, 0.95))
    factor = min(STRETCH, CONTRAST / max(high - low, 1))
    if factor > 1 and high - low >= 1:              # a garment of one shade has nothing to show
        low, high = (middle + factor * (value - middle) for value in (low, high))
        moved = min(0, 250 - high) + max(0, 5 - low)
        values[:, :, :3] = (middle + factor * (rgb - middle) + moved).round().clip(0, 255)
    return values


def _brightened(image: np.ndarray) -> np.ndarray:
    """A cut-out's image (height, width) with a garment at least as bright as most of the data set's.

    Not for photos, whose noise would become brighter too.
    """
    if not image.any():
        return image
    bright = np.quantile(image[image > 0], 0.95)
    factor = min(BRIGHT / bright, BRIGHT / (255 - LIGHTEST))
    return image if factor <= 1 else (image * factor).round().clip(0, 255).astype(np.uint8)


def _without_frame(image):
    """A photo without the frame, or the bars on some sides, of one colour and with straight edges, that surround it."""
    rgb = np.asarray(image, dtype=np.int16)
    edges = rgb[0], rgb[-1], rgb[:, 0], rgb[:, -1]
    corners: list[np.ndarray] = []
    for corner in (rgb[0, 0], rgb[-1, -1], rgb[0, -1], rgb[-1, 0]):
        is_new = all(np.abs(corner - other).max() > FRAME[0] for other in corners)
        if is_new and any((np.abs(edge - corner).max(1) <= FRAME[1]).mean() >= EDGE for edge in edges):
            corners.append(corner)                      # the colour of a whole edge
    for tolerance, corner in itertools.product(FRAME, corners):
        differs = (np.abs(rgb - corner) > tolerance).any(2)
        rows, columns = (np.flatnonzero(differs.mean(axis) > LEAST_OF_BARS / 2) for axis in (1, 0))
        if not len(rows) or not len(columns):
            continue
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        inner = differs[top:bottom, left:right]
        shares = sorted(small / large for small, large in zip(inner.shape, differs.shape, strict=True))
        is_frame = LEAST <= shares[0] < 1 or (shares[1] == 1 and LEAST_OF_BARS <= shares[0] < 1)
        is_plain = differs.sum() - inner.sum() <= 0.01 * differs.size           # all around
        if is_frame and is_plain and all(
                line.mean() >= EDGE for line in (inner[:2], inner[-2:], inner[:, :2], inner[:, -2:])) and all(
                _is_edge(lines, at) for lines, at in ((rgb[:, left:right], top), (rgb[::-1, left:right], -bottom),
                                                      (rgb[top:bottom].swapaxes(0, 1), left),
                                                      (rgb[top:bottom, ::-1].swapaxes(0, 1), -right))):
            blurred = 1 + min(inner.shape) // 100                               # by JPEG, or by reducing the photo
            inside = image.crop((left + blurred, top + blurred, right - blurred, bottom - blurred))
            return _without_frame(inside) if _shows_something(inside) else image
    return image


def _is_edge(lines: np.ndarray, at: int) -> bool:
    """Whether colours change abruptly between the lines (n, length, 3) before `at`, if any, and those after it.

    A shadow, which grows with the distance from the edge, does not change abruptly.
    """
    at %= len(lines)
    return at == 0 or bool(np.median(np.abs(lines[max(at - 3, 0)] - lines[at + 2]).max(1)) > FRAME[0])


def _shows_something(image) -> bool:
    """Whether the content of a frame is a photo, and not the photographed object, such as a bag of one colour."""
    rgb = np.asarray(image, dtype=np.int16)
    return bool((np.abs(rgb - np.median(rgb[[0, -1]], axis=(0, 1))) > FRAME[0]).any(2).mean() > 0.02)


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
        if near.mean() < 0.3:           # no plain background: the edges' median must do
            break
        surface = np.linalg.lstsq(x[near], y[near], rcond=None)[0]
    return (terms @ surface).astype(np.float32)
