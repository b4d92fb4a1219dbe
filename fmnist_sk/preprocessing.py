"""Transformers of images: the same scaling for all pixels, and features for other estimators.

The classifiers standardise by themselves (``standardize=True``); the scalers are for other estimators, and for
pipelines that show the step explicitly. They accept arrays, DataFrames and tensors on any device, and return the same
kind.
"""
from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from fmnist_sk._data.checks import as_tensor, check_pixels
from fmnist_sk._data.containers import like
from fmnist_sk._data.shapes import check_image_shape, shape_of_images, square_shape, to_images
from fmnist_sk._data.statistics import pixel_statistics
from fmnist_sk._runtime.optional import optional
from fmnist_sk._runtime.parameters import Estimator, whole
from fmnist_sk._runtime.sklearn_callbacks import CallbackSupportMixin, one_task, with_callbacks

_DTYPES = ("float32", "float64", "uint8")


class _PixelMap(CallbackSupportMixin, OneToOneFeatureMixin, TransformerMixin, Estimator):
    """Base of the linear maps x -> (x - shift_) / scale_, with one number for all pixels or one per channel."""

    _parameter_constraints: dict = {}

    @with_callbacks
    def fit(self, X: ArrayLike | Tensor, y: Any = None) -> Self:
        """Learn the map.

        Parameters
        ----------
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            The training images.
        y : object
            Ignored.

        Returns
        -------
        transformer
            The transformer itself.

        Raises
        ------
        TypeError or ValueError
            For parameters or images that cannot be used.
        """
        with one_task(self, X, y):
            self._validate_params()
            pixels = as_tensor(check_pixels(self, X, reset=True, dtypes=_DTYPES))
            shift, scale = self._learn(pixels)
            shape = (-1, 1, 1) if len(shift) > 1 else (1,)
            self._image_shape = tuple(pixels.shape[1:])
            self.shift_, self.scale_ = shift.reshape(shape), np.where(scale == 0, 1.0, scale).reshape(shape)
        return self

    def _learn(self, pixels: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Shift and scale of the pixels, (1,) or (channels,) each."""
        raise NotImplementedError

    def transform(self, X: ArrayLike | Tensor) -> Any:
        """Map images.

        Parameters
        ----------
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            Images like those in `fit`.

        Returns
        -------
        array or tensor of the shape of X
            In X's float type, or float32 for integers.
        """
        check_is_fitted(self)
        return self._map(X, lambda x, shift, scale: (x - shift) / scale)

    def inverse_transform(self, X: ArrayLike | Tensor) -> Any:
        """Undo `transform`.

        Parameters
        ----------
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            Images that were mapped.

        Returns
        -------
        array or tensor of the shape of X
            The images before, in a float type.
        """
        check_is_fitted(self)
        return self._map(X, lambda x, shift, scale: x * scale + shift)

    def _map(self, X: Any, function: Callable) -> Any:
        x = check_pixels(self, X, reset=False, dtypes=_DTYPES)
        if len(self.shift_) > 1 and tuple(x.shape[1:]) != self._image_shape:
            raise ValueError(f"X must hold images of shape {self._image_shape} (channels, height, width) as in fit, "
                             f"got {tuple(x.shape[1:])}.")
        if isinstance(x, Tensor):
            x = x if x.is_floating_point() else x.float()
            return like(X, function(x, *(torch.as_tensor(value, dtype=x.dtype, device=x.device)
                                         for value in (self.shift_, self.scale_))))
        values = x if x.dtype.kind == "f" else x.astype(np.float32)
        return like(X, function(values, self.shift_.astype(values.dtype), self.scale_.astype(values.dtype)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


class ImageScaler(_PixelMap):
    """Map the range of the training pixels, smallest to largest, to `feature_range`.

    Raw images (0 to 255) become 0 to 1. Unlike MinMaxScaler, which uses a range per pixel, it uses one for all pixels,
    so images keep their contrast. ``x -> (x - shift_) / scale_``.

    Parameters
    ----------
    feature_range : (float, float)
        Smallest and largest value of the result.

    Attributes
    ----------
    shift_, scale_ : arrays (1,)

    Examples
    --------
    >>> import numpy as np
    >>> from fmnist_sk import ImageScaler
    >>> print(ImageScaler().fit_transform(np.array([[0, 51], [102, 255]], dtype=np.uint8)).round(1))
    [[0.  0.2]
     [0.4 1. ]]
    """

    _parameter_constraints = {"feature_range": [tuple, list]}

    def __init__(self, feature_range: tuple[float, float] = (0.0, 1.0)):
        self.feature_range = feature_range

    def _learn(self, pixels: Tensor) -> tuple[np.ndarray, np.ndarray]:
        if len(self.feature_range) != 2 or not all(
                isinstance(v, numbers.Real) and math.isfinite(v) for v in self.feature_range
        ) or self.feature_range[0] >= self.feature_range[1]:
            raise ValueError("feature_range must be two finite numbers, the smaller first, "
                             f"got feature_range={self.feature_range!r}.")
        low, high = pixels.min().item(), pixels.max().item()
        start, stop = self.feature_range
        scale = (high - low) / (stop - start)
        return np.array([low - start * (scale or 1.0)]), np.array([scale])


class ImageStandardizer(_PixelMap):
    """Subtract the mean of the training pixels and divide by their standard deviation.

    One mean and deviation for all pixels; for (n, C, H, W), one for each channel. ``x -> (x - shift_) / scale_``.

    Attributes
    ----------
    shift_, scale_ : arrays (1,), or (C, 1, 1)
        Mean and standard deviation; the latter is 1 if all pixels are equal.

    Examples
    --------
    >>> import numpy as np
    >>> from fmnist_sk import ImageStandardizer
    >>> print(ImageStandardizer().fit_transform(np.array([[0, 2], [4, 6]], dtype=np.uint8)).round(2))
    [[-1.34 -0.45]
     [ 0.45  1.34]]
    """

    def _learn(self, pixels: Tensor) -> tuple[np.ndarray, np.ndarray]:
        images = pixels if pixels.ndim == 4 else pixels.reshape(len(pixels), 1, 1, -1)
        mean, deviation = pixel_statistics(images)
        return mean.numpy(), deviation.numpy()


class HOGTransformer(CallbackSupportMixin, TransformerMixin, Estimator):
    """Histograms of oriented gradients of each image, as features for classical estimators.

    Dalal and Triggs, 2005, https://doi.org/10.1109/CVPR.2005.177, computed by scikit-image: needs the extra
    ``fmnist_sk[hog]``. Followed by a support vector machine, a strong classical model for Fashion-MNIST.

    Parameters
    ----------
    orientations : int
        Number of directions in a histogram, 1,000 at most.
    cell : int
        Side in pixels of the square cell that a histogram describes.
    block : int
        Side in cells of the square blocks whose histograms are normalised together.
    image_shape : (H, W) or (C, H, W), optional
        Shape of the images that flat rows hold. Default: the square they fill, after zeros are appended if necessary.

    Attributes
    ----------
    image_shape_ : tuple of 3 ints
        Channels, height and width of the images.
    n_features_in_, feature_names_in_ : as in scikit-learn
        Number of values per image, and the column names if X was a DataFrame with names.

    Examples
    --------
    >>> import numpy as np
    >>> from fmnist_sk import HOGTransformer
    >>> HOGTransformer(cell=4).fit_transform(np.zeros((5, 28, 28), dtype=np.uint8)).shape
    (5, 1296)
    """

    _parameter_constraints = {
        "orientations": [whole(1, 1000)],
        "cell": [whole(1)],
        "block": [whole(1)],
        "image_shape": [tuple, list, None],
    }

    def __init__(self, orientations: int = 9, cell: int = 4, block: int = 2,
                 image_shape: tuple[int, ...] | None = None):
        self.orientations = orientations
        self.cell = cell
        self.block = block
        self.image_shape = image_shape

    @with_callbacks
    def fit(self, X: ArrayLike | Tensor, y: Any = None) -> Self:
        """Check the parameters, and learn the shape of images.

        Parameters
        ----------
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            The images.
        y : object
            Ignored.

        Returns
        -------
        HOGTransformer
            The transformer itself.

        Raises
        ------
        ValueError
            For images smaller than a block, and for rows that do not fit `image_shape`.
        """
        with one_task(self, X, y):
            self._validate_params()
            self.image_shape_ = self._learn_image_shape(check_pixels(self, X, reset=True))
        return self

    def _learn_image_shape(self, pixels: np.ndarray | Tensor) -> tuple[int, int, int]:
        given = check_image_shape(self.image_shape, math.prod(pixels.shape[1:]))
        shape = shape_of_images(pixels) if pixels.ndim > 2 else given or square_shape(pixels.shape[1])
        if given and given != shape:
            raise ValueError(f"image_shape must be the shape of X's images, {shape} (channels, height, width), got "
                             f"image_shape={self.image_shape!r}.")
        least = self.cell * self.block
        if min(shape[1:]) < least:
            raise ValueError(f"X must hold images of at least a block, cell * block = {least} x {least} pixels, got "
                             f"{shape[1]} x {shape[2]}.")
        return shape

    def transform(self, X: ArrayLike | Tensor) -> np.ndarray:
        """Histograms of oriented gradients.

        Parameters
        ----------
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            Images like those in `fit`.

        Returns
        -------
        ndarray of shape (n, blocks * block**2 * orientations)
            Features, float32.
        """
        check_is_fitted(self)
        hog = optional("skimage.feature", "Histograms of gradients are computed by", "hog").hog
        pixels = as_tensor(check_pixels(self, X, reset=False, shape=self.image_shape_))
        images = to_images(pixels, self.image_shape_, torch.zeros(self.image_shape_[0], 1, 1))
        return np.stack([hog(image, self.orientations, (self.cell, self.cell), (self.block, self.block),
                             channel_axis=0) for image in images.cpu().numpy()]).astype(np.float32)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
