"""The base class of the random transformers: which images they change, in training and in a Pipeline."""
from __future__ import annotations

import math
import numbers
from collections.abc import Collection
from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from fmnist_sk._data.checks import as_tensor, check_pixels
from fmnist_sk._data.containers import like
from fmnist_sk._data.images import Batch
from fmnist_sk._data.labels import encode_labels, positions_of
from fmnist_sk._data.ranges import PixelRange, learn_pixels
from fmnist_sk._data.shapes import check_image_shape, shape_of_images
from fmnist_sk._network.random import new_seed
from fmnist_sk._runtime.parameters import Estimator, real
from fmnist_sk._runtime.sklearn_callbacks import CallbackSupportMixin, one_task, with_callbacks

DTYPES = ("float32", "float64", "uint8")
LABELS = ["array-like", None]
SHARE = [real(0, 1)]


class Augmenter(CallbackSupportMixin, Estimator):
    """Base of what `augment=` accepts: it changes training images, or stores changed copies of them."""


@dataclass(eq=False, repr=False)
class RandomTransformer(OneToOneFeatureMixin, TransformerMixin, Augmenter):
    """Base of the random transformers: which images are changed. Subclasses say how, in `_apply`.

    Every image is chosen independently with probability `p`, among those of the classes in `only` (default: all) and
    not in `exclude` (default: none); classes are named by the labels in the user's y.

    Parameters of all random transformers
    -------------------------------------
    p : float
        Probability for each image.
    only, exclude : array-like of labels, optional
        Change only these classes, or all but these. Report 3 never mirrors shoes: ``exclude=[5, 7, 9]``. Labels that do
        not occur in y are refused.
    image_shape : (height, width) or (channels, height, width), optional
        Shape of flat rows in a Pipeline; default: the square they fill. Not needed in the classifier's `augment=`.
    random_state : int, RandomState or None
        Seed for use in a Pipeline; in `augment=`, the classifier's random_state applies.
    """

    _: KW_ONLY
    p: float = 1.0
    only: Collection | None = None
    exclude: Collection | None = None
    image_shape: tuple[int, ...] | None = None
    random_state: int | np.random.RandomState | None = None

    _parameter_constraints = {
        "p": SHARE,
        "only": LABELS,
        "exclude": LABELS,
        "image_shape": [tuple, list, None],
        "random_state": ["random_state"],
    }
    _mixes = False          # whether images are mixed with others, so that targets become soft

    def _apply(self, x: Tensor, chosen: Tensor, generator: torch.Generator, pixel_range: PixelRange) -> Tensor:
        """x (n, channels, height, width) float, with those images changed for which `chosen` (n,) bool is true."""
        raise NotImplementedError

    def _change(self, batch: Batch, allowed: Tensor | None, generator: torch.Generator, pixel_range: PixelRange
                ) -> None:
        """Change a batch. allowed: (n_classes,) bool, the classes whose images may be changed; None for all."""
        chosen = torch.rand(len(batch.x), generator=generator, device=batch.x.device) < self.p
        if allowed is not None:
            chosen &= batch.are_all_of(allowed)
        batch.x = self._apply(batch.x, chosen, generator, pixel_range)

    # ------------------------------------------------------------------ as a step of a Pipeline

    @with_callbacks
    def fit(self, X: ArrayLike | Tensor, y: ArrayLike | Tensor | None = None) -> Self:
        """Check the parameters and, if classes are named, that they occur in y.

        Parameters
        ----------
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            The images.
        y : array-like or tensor of shape (n,), optional
            Their labels, needed if `only` or `exclude` names classes.

        Returns
        -------
        transformer
            The transformer itself.

        Raises
        ------
        TypeError or ValueError
            For parameters, images or labels that cannot be used.
        """
        with one_task(self, X, y):
            self._check(X, y)
        return self

    @with_callbacks
    def fit_transform(self, X: ArrayLike | Tensor, y: ArrayLike | Tensor | None = None) -> Any:
        """Change images at random, with one draw for each.

        Parameters
        ----------
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            The images.
        y : array-like or tensor of shape (n,), optional
            Their labels, needed if `only` or `exclude` names classes.

        Returns
        -------
        array or tensor of the shape of X
            Changed images in the same kind of container. uint8, float32 and float64 are kept; other types become
            float32.
        """
        with one_task(self, X, y):
            pixels, codes, classes = self._check(X, y)
            if self.p == 0:
                return X if pixels is X else like(X, pixels)
            tensor = as_tensor(pixels)
            images = as_images(tensor, self.image_shape)
            generator = torch.Generator(images.device).manual_seed(new_seed(self.random_state))
            drawn = draw_once([(self, class_selection(self, self.only, self.exclude, classes))], images, codes,
                              generator)
            return like(X, drawn.reshape(tensor.shape))

    def transform(self, X: ArrayLike | Tensor) -> Any:
        """Leave images as they are: predictions involve no randomness.

        Parameters
        ----------
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            The images.

        Returns
        -------
        array or tensor
            X.
        """
        check_is_fitted(self)
        return like(X, check_pixels(self, X, reset=False, dtypes=DTYPES))

    def _check(self, X: Any, y: Any) -> tuple[np.ndarray | Tensor, Tensor | None, np.ndarray | None]:
        """Pixels, codes and classes of X and y; the last two are None without y."""
        self._validate_params()
        pixels = check_pixels(self, X, reset=True, dtypes=DTYPES)
        classes = codes = None
        if y is not None:
            classes, codes = encode_labels(y, len(pixels))
        elif self._mixes and self.p > 0:
            raise ValueError(f"{type(self).__name__} as a step of a Pipeline mixes images of one class and needs y, "
                             "the labels, got y=None.")
        class_selection(self, self.only, self.exclude, classes)
        return pixels, codes, classes


def class_selection(transformer: BaseEstimator, only: Collection | None, exclude: Collection | None,
                    classes: np.ndarray | None) -> Tensor | None:
    """(n_classes,) bool, the classes whose images may be changed; None for all."""
    if only is None and exclude is None:
        return None
    if classes is None:
        raise ValueError(f"{type(transformer).__name__} has only={only!r}, exclude={exclude!r} and needs y, the "
                         "labels, got y=None.")
    allowed = torch.full((len(classes),), only is None)
    if only is not None:
        allowed[positions_of(only, classes, "only")] = True
    if exclude is not None:
        allowed[positions_of(exclude, classes, "exclude")] = False
    if not allowed.any():
        raise ValueError(f"only and exclude must leave a class of y ({classes.tolist()}), got only={only!r}, "
                         f"exclude={exclude!r}.")
    return allowed


def check_range(transformer: BaseEstimator, name: str, rule: str, low: float, high: float) -> None:
    """Raise ValueError unless the parameter `name` is two numbers from `low` to `high`, the smaller first."""
    value = getattr(transformer, name)
    if len(value) != 2 or not all(isinstance(bound, numbers.Real) for bound in value) or not (
            low < value[0] <= value[1] <= high):
        raise ValueError(f"{name} must be {rule}, got {name}={value!r}.")


def as_images(X: Tensor, image_shape: tuple[int, ...] | None) -> Tensor:
    """X as (n, channels, height, width); flat rows as images of `image_shape`, or the square they fill."""
    if X.ndim > 2:
        return X.reshape(len(X), *shape_of_images(X))
    side = math.isqrt(X.shape[1])
    shape = check_image_shape(image_shape or (side, side), X.shape[1]) if image_shape or side**2 == X.shape[1] else None
    if shape is None:
        raise ValueError(f"image_shape must say how rows of {X.shape[1]} values form an image, got None.")
    return X.reshape(len(X), *shape)


def draw_once(steps: list[tuple[RandomTransformer, Tensor | None]], images: Tensor, codes: Tensor | None,
              generator: torch.Generator, pixel_range: PixelRange | None = None) -> Tensor:
    """One draw of images (n, channels, height, width) with labels kept: images are mixed only within their class."""
    x = images if images.is_floating_point() else images.float()
    pixel_range = pixel_range or learn_pixels(images).on(x.device, x.dtype)
    codes = None if codes is None else codes.to(images.device)
    steps = [(step, None if allowed is None else allowed.to(images.device)) for step, allowed in steps]
    mixes = any(step._mixes for step, _ in steps)
    parts: list[Tensor | slice] = [slice(None)]
    if mixes and codes is not None:
        parts = [torch.nonzero(codes == code).flatten() for code in codes.unique()]
    drawn = torch.empty_like(x)
    for part in parts:
        batch = Batch(x[part], None if codes is None else codes[part])
        for step, allowed in steps:
            step._change(batch, allowed, generator, pixel_range)
        drawn[part] = batch.x
    return drawn if images.is_floating_point() else drawn.round().to(images.dtype)
