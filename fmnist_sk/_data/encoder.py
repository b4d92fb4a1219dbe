"""What a classifier does with X and y: shapes, classes, weights, and the warning about another range of values."""
from __future__ import annotations

import math
import numbers
import warnings

import numpy as np
import torch
from sklearn.utils.validation import validate_data
from torch import Tensor

from fmnist_sk._data.checks import as_tensor, check_pixels, check_weights, encode_labels
from fmnist_sk._data.images import Images
from fmnist_sk._data.shapes import check_image_shape, square_shape, to_images
from fmnist_sk._data.statistics import content_hashes, repeat_by_weight, value_range
from fmnist_sk.datasets import fashion_labels
from fmnist_sk.shared import SharedImages

CONFUSABLE = 0, 2, 4, 6     # T-shirt, pullover, coat, shirt
MAX_PADDED_SIDE = 256       # flat rows are padded to a network's smallest image up to this size


class ImageData:
    """The part of ImageClassifier that turns users' data into Images on its device."""

    def _training_images(self, X, y, sample_weight, *, restart: bool, classes) -> Images:
        """X, y and weights, checked, on the device, in canonical order. A restart learns classes and image shape."""
        checked = self._checked(X, y, reset=restart)
        found, codes = encode_labels(y, len(checked))
        weights = check_weights(sample_weight, len(checked))
        if restart:
            if classes is not None and np.ndim(classes) == 0:
                raise TypeError(f"classes must be a list or an array of labels, got classes={classes!r}.")
            self.classes_inferred_ = found if classes is None else encode_labels(classes, len(classes))[0]
            if len(self.classes_) < 2 and classes is not None:
                raise ValueError(f"classes must name at least 2 classes, got {self.classes_.tolist()}.")
            self._set_image_shape(checked)
            self.device_ = self._choose_device(checked)
        codes = self._known_codes(found, codes).to(self.device_)
        pixels, rows = self._as_images(checked)
        if not restart:
            self._warn_of_other_range(pixels, rows)
        if rows is not None and len(rows.unique()) < len(rows):         # of a bootstrap sample, whose labels may differ
            pixels, rows = pixels[rows], None
        if rows is None:
            order = torch.argsort(content_hashes(pixels, codes), stable=True)
        else:
            codes, weights = (None if part is None else part.new_zeros(len(pixels)).index_copy_(
                0, rows.to(part.device), part) for part in (codes, weights))
            order = rows[torch.argsort(content_hashes(pixels, codes)[rows], stable=True)]
        rows, weights = repeat_by_weight(order, weights)
        n_present = len(codes[rows].unique())
        if n_present == 0 or (n_present < 2 and restart and classes is None):
            raise ValueError(f"{type(self).__name__} needs images of at least 2 classes with a positive weight, "
                             f"got {n_present} class{'es' * (n_present != 1)}.")
        return Images(pixels, codes, self._loss_factors(codes, weights, rows), rows)

    def _checked(self, X, y=None, *, reset: bool) -> np.ndarray | Tensor | SharedImages:
        if not isinstance(X, SharedImages):
            return check_pixels(self, X, y, reset=reset)
        validate_data(self, X.pixels.flatten(1), reset=reset, skip_check_array=True)
        if len(X) < (1 if y is None else 2):
            raise ValueError(f"X must hold at least {1 if y is None else 2} images, got {len(X)}.")
        return X

    def _loss_factors(self, codes: Tensor, weights: Tensor | None, rows: Tensor) -> Tensor | None:
        """Weight times class weight for every image, with a mean of one over `rows`."""
        self._class_factors = None
        if self.class_weight is None:
            return weights
        class_weight = self.class_weight
        if class_weight == "report_3":
            class_weight = dict.fromkeys(fashion_labels(CONFUSABLE, self.classes_, "class_weight='report_3'"), 2.0)
        if isinstance(class_weight, dict):
            known = self.classes_.tolist()
            for label, value in class_weight.items():
                if not isinstance(value, numbers.Real) or not 0 <= value <= torch.finfo(torch.float32).max:
                    raise ValueError(f"class_weight must hold finite numbers >= 0, got {label!r}: {value!r}.")
            if unknown := [label for label in class_weight if label not in known]:
                raise ValueError(f"class_weight must name labels that occur in y ({known}), got {unknown}.")
            factors = codes.new_tensor([float(class_weight.get(label, 1)) for label in known], dtype=torch.float32)
        else:
            counted = None if weights is None else weights[rows].cpu()      # CUDA's own sum is not deterministic
            counts = torch.bincount(codes[rows].cpu(), counted, minlength=len(self.classes_)).float()
            factors = torch.where(counts > 0, counts.sum() / counts.clamp_min(1e-12), 0.0).to(codes.device)
        each = factors[codes] if weights is None else factors[codes] * weights
        mean = each[rows].double().mean()
        if not 0 < mean < torch.finfo(torch.float32).max:
            raise ValueError("class_weight must leave images with a positive, finite weight, got "
                             f"class_weight={self.class_weight!r}.")
        self._class_factors = (factors / mean).float()
        return (each / mean).float()

    def _prediction_images(self, X) -> Images:
        self._check_ready()
        pixels, rows = self._as_images(self._checked(X, reset=False))
        self._warn_of_other_range(pixels, rows)
        return Images(pixels, rows=rows)

    def _validation_images(self) -> Images:
        if len(self.validation_data) != 2:
            raise ValueError(f"validation_data must be a pair (X, y), got {len(self.validation_data)} items.")
        X, y = self.validation_data
        try:
            checked = self._checked(X, reset=False)
            pixels, rows = self._as_images(checked)
            pixels = pixels if rows is None else pixels[rows]
            codes = self._known_codes(*encode_labels(y, len(checked)))
        except (TypeError, ValueError) as error:
            raise type(error)(f"validation_data must be like the training data: {error}") from error
        self._warn_of_other_range(pixels)
        codes = codes.to(self.device_)
        return Images(pixels, codes, None if self._class_factors is None else self._class_factors[codes])

    def _known_codes(self, found: np.ndarray, codes: Tensor) -> Tensor:
        unknown = np.setdiff1d(found, self.classes_)
        if len(unknown):
            raise ValueError(f"y must hold labels known from the first fit ({self.classes_.tolist()}), got "
                             f"{unknown.tolist()} (partial_fit takes all labels in its first call, as classes=...).")
        if len(found) == len(self.classes_):
            return codes
        return torch.from_numpy(np.searchsorted(self.classes_, found)).to(codes.device)[codes]

    def _set_image_shape(self, X: np.ndarray | Tensor) -> None:
        n_features = math.prod(X.shape[1:])
        given = check_image_shape(self.image_shape, n_features)
        minimum = self._smallest_side()
        if X.ndim == 2:
            shape = given or square_shape(n_features)
        else:
            shape = (1,) * (4 - X.ndim) + tuple(X.shape[1:])
            if given not in (None, shape):
                raise ValueError(f"image_shape must be that of the images in X, {shape}, got "
                                 f"image_shape={self.image_shape}.")
        is_explicit = X.ndim > 2 or given is not None
        if min(shape[1:]) < minimum and (is_explicit or minimum > MAX_PADDED_SIDE):
            raise ValueError(f"{type(self).__name__} needs images of at least {minimum} x {minimum} pixels, got "
                             f"{shape[1]} x {shape[2]}{self._size_reason(shape)}")
        if min(shape[1:]) < minimum:
            warnings.warn(f"X has rows of {n_features} values, which are padded with zeros to {minimum} x {minimum}, "
                          f"the smallest images that {type(self).__name__} takes. Pass image_shape=(height, width) if "
                          "they are images.", UserWarning, stacklevel=2)
        self.image_shape_ = shape

    def _as_images(self, X: np.ndarray | Tensor | SharedImages) -> tuple[Tensor, Tensor | None]:
        """(n, channels, height, width) on the device, and which of them are meant, or None for all."""
        shape = (1,) * (4 - X.ndim) + tuple(X.shape[1:])
        if X.ndim > 2 and shape != self.image_shape_:
            raise ValueError(f"X must hold images of shape {self.image_shape_} (channels, height, width) as in fit, "
                             f"got {shape}.")
        pixels, rows = (X.pixels, X.rows.to(self.device_)) if isinstance(X, SharedImages) else (as_tensor(X), None)
        pixels = to_images(pixels, self.image_shape_, self._smallest_side())
        try:
            return pixels.to(self.device_), rows
        except torch.OutOfMemoryError as error:
            raise ValueError(f"X needs {pixels.nbytes / 2**20:,.0f} MiB, more than there are on {self.device_}: pass "
                             "fewer images at once, as bytes, or take device='cpu'.") from error

    def _warn_of_other_range(self, pixels: Tensor, rows: Tensor | None = None) -> None:
        if self.value_range_ is None:       # parameters were loaded without a fit
            return
        low, high = value_range(pixels, rows)
        lowest, highest = self.value_range_
        span = highest - lowest
        outside = low < lowest - 0.5 * span or high > highest + 0.5 * span
        if outside or 0 < high - low < 0.01 * span:
            warnings.warn(f"X holds values from {low:g} to {high:g}, but {type(self).__name__} was fitted on values "
                          f"from {lowest:g} to {highest:g}: scale X as the training images were, or predictions "
                          "will be wrong.", UserWarning, stacklevel=2)
