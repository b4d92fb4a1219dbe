"""Pictures of any origin and size, turned into images for networks."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import TransformerMixin
from sklearn.utils._param_validation import StrOptions

from fmnist_sk._data.pictures import (
    COLORS,
    FITS,
    READING,
    check_pictures,
    check_size,
    fit_to,
    name_of,
    pillow,
    read_picture,
)
from fmnist_sk._runtime.parameters import Estimator, whole
from fmnist_sk._runtime.sklearn_callbacks import CallbackSupportMixin, one_task, with_callbacks


class ImageReader(CallbackSupportMixin, TransformerMixin, Estimator):
    """Read pictures of any origin and size, as the first step of a Pipeline: images (n, channels, height, width).

    ``make_pipeline(ImageReader(64, "rgb"), ResNetClassifier())`` accepts paths, in searches too, and once saved it
    accepts photos.

    A picture is a path, the bytes of a file, a Pillow image, or an array or tensor (height, width), (height, width, 3)
    or (height, width, 4): uint8, bool, or floats from 0 to 1. Files are read as BMP, GIF, JPEG, PNG, PPM or WebP, and
    as AVIF and HEIC if Pillow can (HEIC with the package pillow-heif); from multi-page files, the first page. Photos
    are rotated according to their EXIF data; transparent areas become white.

    Needs the extra ``fmnist_sk[photo]``.

    Parameters
    ----------
    size : int or (height, width)
        Size of the images in pixels, from 1 to 4096 per side.
    color : {"gray", "rgb"}
        One channel (ITU-R BT.601) or three.
    resize : {"pad", "crop", "stretch"}
        How pictures of other proportions are fitted, as in `load_image_folder`. "pad": the whole picture, its
        sides filled with the median colour of its edges. "crop": its middle. "stretch": the whole picture, distorted.
    max_pixels : int
        Pictures with more pixels are refused before they are decoded; at most 89,478,485. Decoding takes up to 20 bytes
        per pixel.
    n_jobs : int or None
        Threads that read pictures; None means one, -1 as many as there are processors. More threads help with large
        photos, but slow down reading of small ones (about a millisecond each).

    Examples
    --------
    >>> import numpy as np
    >>> from fmnist_sk import ImageReader
    >>> photos = [np.zeros((300, 200, 3), dtype=np.uint8), np.zeros((50, 90), dtype=np.uint8)]
    >>> ImageReader(64, "rgb").fit_transform(photos).shape
    (2, 3, 64, 64)
    """

    _parameter_constraints = {
        "size": [whole(1), tuple, list],
        "color": [StrOptions(set(COLORS))],
        "resize": [StrOptions(set(FITS))],
        **READING,
    }

    def __init__(self, size: int | tuple[int, int] = 28, color: str = "gray", resize: str = "pad", *,
                 max_pixels: int = 50_000_000, n_jobs: int | None = None):
        self.size = size
        self.color = color
        self.resize = resize
        self.max_pixels = max_pixels
        self.n_jobs = n_jobs

    @with_callbacks
    def fit(self, X: Any = None, y: Any = None) -> Self:
        """Check the parameters; nothing is learned.

        Parameters
        ----------
        X, y : object
            Ignored.

        Returns
        -------
        ImageReader
            The reader itself.
        """
        with one_task(self, X, y):
            self._validate_params()
        return self

    def _validate_params(self) -> None:
        super()._validate_params()
        check_size(self.size)

    def transform(self, X: Iterable) -> np.ndarray:
        """Read pictures.

        Parameters
        ----------
        X : list or array of n pictures
            Paths, bytes of files, Pillow images, or arrays of pixels.

        Returns
        -------
        ndarray of shape (n, 1 or 3, height, width)
            Images, uint8.

        Raises
        ------
        TypeError
            For objects that are not pictures.
        FileNotFoundError
            For paths without a file.
        ValueError
            For files that cannot be read, are damaged or too large, and for arrays of other shapes or values; the
            message names the picture.
        """
        self._validate_params()
        pillow()
        pictures = check_pictures(X)
        size = check_size(self.size)
        images = Parallel(self.n_jobs, prefer="threads")(
            delayed(self._image)(picture, name_of(picture, i), size) for i, picture in enumerate(pictures))
        return np.stack(images)

    def _image(self, picture: Any, name: str, size: tuple[int, int]) -> np.ndarray:
        image = read_picture(picture, name, max_pixels=self.max_pixels, side=2 * max(size), fit=self.resize)
        return fit_to(image, size, self.color, self.resize)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.requires_fit = False
        return tags
