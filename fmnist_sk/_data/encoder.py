"""What a fit learns from its images and labels, and how other images are converted to match them on the device."""
from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data
from skorch.helper import SliceDataset
from torch import Tensor

from fmnist_sk._data.checks import as_tensor, check_pixels
from fmnist_sk._data.images import Images, LabelledImages
from fmnist_sk._data.labels import encode_labels, positions_of
from fmnist_sk._data.ranges import PixelRange, PixelStatistics, learn_pixels, value_range
from fmnist_sk._data.shapes import check_image_shape, check_same_shape, shape_of_images, square_shape, to_images
from fmnist_sk._data.shared import SharedImages
from fmnist_sk._data.statistics import content_hashes, repeat_by_weight
from fmnist_sk._runtime.warn import warn

Checked = np.ndarray | Tensor | SharedImages
Labels = tuple[np.ndarray, Tensor]      # labels that occur, sorted, and each image's index into them


def checked_images(estimator: BaseEstimator, X, y=None, *, shape: tuple[int, int, int] | None = None) -> Checked:
    """X as images (n, ...) ready for computation, of the shape (channels, height, width) of those in fit.

    If `shape` is None, sets what `estimator` knows about features, else compares with it.

    Raises TypeError or ValueError for anything else.
    """
    if isinstance(X, SliceDataset):
        X = X.__array__()
    if not isinstance(X, SharedImages):
        return check_pixels(estimator, X, y, reset=shape is None, shape=shape)
    if shape is not None:
        check_same_shape(X, shape)
    validate_data(estimator, X.pixels.flatten(1), reset=shape is None, skip_check_array=True)
    if len(X) < (1 if y is None else 2):
        raise ValueError(f"X must hold at least {1 if y is None else 2} images, got {len(X)}.")
    return X


def encode(y, n: int) -> Labels:
    """The labels that occur in y (n,), sorted, and each image's index into them. Raises TypeError or ValueError."""
    return encode_labels(y.__array__() if isinstance(y, SliceDataset) else y, n)


def learn_classes(found: np.ndarray, classes: ArrayLike | None = None, known: np.ndarray | None = None) -> np.ndarray:
    """The labels of a fit: those that are `known`, those that the user names, or those that occur.

    Raises TypeError or ValueError.
    """
    if classes is None:
        return found if known is None else known
    named, _ = encode_labels(classes, None, "classes")
    if len(named) < 2:
        raise ValueError(f"classes must name at least 2 classes, got {named.tolist()}.")
    if known is not None and not np.array_equal(named, known):
        raise ValueError(f"classes must be those of the first fit, {known.tolist()}, got {named.tolist()}.")
    return named


def learn_image_shape(X: Checked, image_shape: tuple[int, ...] | None, smallest_side: int = 1
                      ) -> tuple[tuple[int, int, int], bool]:
    """(channels, height, width) of images X, and whether it was given rather than guessed.

    `image_shape` is the classifier's parameter, `smallest_side` what its network needs. Raises ValueError if
    `image_shape` is not that of X.
    """
    n_features = math.prod(X.shape[1:])
    given = check_image_shape(image_shape, n_features)
    if X.ndim == 2:
        return given or square_shape(n_features, smallest_side), given is not None
    shape = shape_of_images(X)
    if given not in (None, shape):
        raise ValueError(f"image_shape must be that of the images in X, {shape}, got image_shape={image_shape}.")
    return shape, True


@dataclass
class ImageEncoder:
    """What a fit has learned from its data.

    owner : name of the classifier, for messages
    classes : (n_classes,) labels, sorted
    image_shape : (channels, height, width)
    smallest_side : height and width in pixels up to which images are padded for the network
    device : device of the images
    pixels : ranges and backgrounds of the training images; None before a fit
    mean, std : what the standardising first layer subtracts and divides by, (channels,) each; 0 and 1 before a fit
    """

    owner: str
    classes: np.ndarray
    image_shape: tuple[int, int, int]
    smallest_side: int
    device: torch.device
    pixels: PixelStatistics | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self):
        if not self.mean:
            self.mean, self.std = (0.0,) * self.image_shape[0], (1.0,) * self.image_shape[0]

    @property
    def network_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of what the network takes in."""
        channels, height, width = self.image_shape
        return channels, max(height, self.smallest_side), max(width, self.smallest_side)

    @property
    def pixel_range(self) -> PixelRange:
        """Range of pixels, on the device; before a fit, from 0, the background, to 1."""
        n = self.image_shape[0]
        return (self.pixels or PixelStatistics((0.0,) * n, (1.0,) * n, (0.0,) * n, (0.0, 1.0))).on(self.device)

    # ------------------------------------------------------------------ images

    def images(self, X: Checked, name: str = "X") -> Images:
        """Images to predict, with a warning if their values are outside the range of the training images."""
        pixels, rows = self._pixels(X)
        self._warn_of_other_range(pixels, rows, name)
        return Images(self.filled_up(pixels), rows)

    def training_images(self, X: Checked, labels: Labels, weights: Tensor | None, class_weight, *, names_classes: bool
                        ) -> LabelledImages:
        """Images to train on, in an order that depends on their content alone, with the factors of their losses.

        Learns `pixels` from the first call's images.

        names_classes : whether the user named the classes, so that not all of them need occur
        """
        codes = self.codes(*labels, "the first fit", " To add labels later, pass them all to the first partial_fit, "
                                                     "classes=[...].").to(self.device)
        pixels, rows = self._pixels(X)
        self._warn_of_other_range(pixels, rows)
        if rows is not None and len(rows.unique()) < len(rows):         # as in a bootstrap sample; labels may differ
            pixels, rows = pixels[rows], None
        if rows is None:
            order = torch.argsort(content_hashes(pixels, codes), stable=True)
        else:
            codes = _scattered(codes, rows, len(pixels))
            weights = None if weights is None else _scattered(weights, rows, len(pixels))
            order = rows[torch.argsort(content_hashes(pixels, codes)[rows], stable=True)]
        order, weights = repeat_by_weight(order, weights)
        n_present = len(codes[order].unique())
        if n_present == 0 or (n_present < 2 and not names_classes):
            raise ValueError(f"{self.owner} needs images of at least 2 classes with a positive weight, "
                             f"got {n_present} class{'es' * (n_present != 1)}.")
        weights, class_factors = self._loss_factors(codes, weights, order, class_weight)
        if self.pixels is None:
            self.pixels = learn_pixels(pixels, order)
        return LabelledImages(self.filled_up(pixels), codes, self.classes, weights, order, class_factors)

    def validation_images(self, X: Checked, labels: Labels, class_factors: Tensor | None) -> LabelledImages:
        """Images to validate on; their losses have the same class factors as in training."""
        codes = self.codes(*labels, "the training images").to(self.device)
        pixels = self.images(X, "validation_data").tensor()
        return LabelledImages(pixels, codes, self.classes, None if class_factors is None else class_factors[codes],
                              class_factors=class_factors)

    def _pixels(self, X: Checked) -> tuple[Tensor, Tensor | None]:
        """Images (n, channels, height, width) on the device, and the rows of those meant, or None for all.

        Rows too short for `image_shape` become images of one line.
        """
        pixels, rows = (X.pixels, X.rows.to(self.device)) if isinstance(X, SharedImages) else (as_tensor(X), None)
        is_whole = pixels[0].numel() == math.prod(self.image_shape)
        pixels = pixels.reshape(-1, *(self.image_shape if is_whole else (1, 1, pixels.shape[1])))
        with self._enough_memory(pixels):
            return pixels.to(self.device), rows

    def noise(self, n: int) -> Tensor:
        """n images as the network takes them, of random pixels; always the same."""
        pixels = torch.rand(n, *self.network_shape, generator=torch.Generator().manual_seed(0)).to(self.device)
        return self.pixel_range.low + self.pixel_range.span * pixels

    def filled_up(self, pixels: Tensor) -> Tensor:
        """The images padded with background on the right and below, up to the shape that the network accepts."""
        with self._enough_memory(pixels):
            return to_images(pixels, self.image_shape, self.pixel_range.background, self.smallest_side)

    @contextmanager
    def _enough_memory(self, pixels: Tensor) -> Iterator[None]:
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise ValueError(f"X needs {pixels.nbytes / 2**20:,.0f} MiB, more than there is on {self.device}: pass "
                             "fewer images at once, as bytes, or use device='cpu'.") from error

    def _warn_of_other_range(self, pixels: Tensor, rows: Tensor | None, name: str = "X") -> None:
        if self.pixels is not None and self.pixels.differ_from(pixels, rows):
            (low, high), (lowest, highest) = value_range(pixels, rows), self.pixels.overall
            warn(f"{name} holds values from {low:g} to {high:g}, but {self.owner} was fitted on values "
                 f"from {lowest:g} to {highest:g}: scale {name} as the training images were, or predictions "
                 "will be wrong.")

    # ------------------------------------------------------------------ labels and weights

    def codes(self, found: np.ndarray, codes: Tensor, source: str, advice: str = "") -> Tensor:
        """Indices into `classes` of labels given as indices `codes` into `found`.

        Raises ValueError, which says what the classes are the labels of, for labels that are not among them.
        """
        unknown = np.setdiff1d(found, self.classes)
        if len(unknown):
            raise ValueError(f"y must hold only labels of {source}, {self.classes.tolist()}, got {unknown.tolist()}."
                             f"{advice}")
        if len(found) == len(self.classes):
            return codes
        return torch.from_numpy(np.searchsorted(self.classes, found)).to(codes.device)[codes]

    def _loss_factors(self, codes: Tensor, weights: Tensor | None, rows: Tensor, class_weight
                      ) -> tuple[Tensor | None, Tensor | None]:
        """Weight times class weight for every image, with a mean of one over `rows`, and the class's part of it."""
        if class_weight is None:
            return weights, None
        if isinstance(class_weight, dict):
            for label, value in class_weight.items():
                if not isinstance(value, (int, float, np.number)) or not 0 <= value <= torch.finfo(torch.float32).max:
                    raise ValueError(f"class_weight must hold finite numbers >= 0, got {label!r}: {value!r}.")
            factors = torch.ones(len(self.classes), device=codes.device)
            for position, value in zip(positions_of(class_weight, self.classes, "class_weight"),
                                       class_weight.values(), strict=True):
                factors[position] = float(value)
        else:
            counted = None if weights is None else weights[rows].cpu()      # CUDA's own sum is not deterministic
            counts = torch.bincount(codes[rows].cpu(), counted, minlength=len(self.classes)).float()
            factors = torch.where(counts > 0, counts.sum() / counts.clamp_min(1e-12), 0.0).to(codes.device)
        each = factors[codes] if weights is None else factors[codes] * weights
        mean = each[rows].double().mean()
        if not 0 < mean < torch.finfo(torch.float32).max:
            raise ValueError("class_weight must leave images with a positive, finite weight, got "
                             f"class_weight={class_weight!r}.")
        return (each / mean).float(), (factors / mean).float()


def _scattered(values: Tensor, rows: Tensor, n: int) -> Tensor:
    """`values` (m,) at the places `rows` (m,) of n zeros."""
    return values.new_zeros(n).index_copy_(0, rows.to(values.device), values)
