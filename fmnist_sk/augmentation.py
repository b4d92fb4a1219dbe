"""Random transformers: new training images from old ones, a whole batch at a time, on the device.

Two uses of the same object:

- ``ResNetClassifier(augment=RandomCrop(padding=2))`` (or a list of them, a Pipeline, or the name of a preset): every
  image of every batch is drawn afresh, in training only, from a generator that the classifier seeds.
- as a step of a Pipeline before any classifier: ``fit_transform`` (training) gives one draw, ``transform``
  (prediction) leaves the images alone.
"""
from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.nn import functional as F

from fmnist_sk._containers import like
from fmnist_sk._validation import as_tensor, check_image_shape, check_pixels, encode_labels


class PixelRange(NamedTuple):
    """What pixels of the training images can be: from `low` to `high`. The background is `low`."""

    low: float
    high: float


class RandomTransformer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Base of the random transformers: which images are changed. Subclasses say how, in `_apply`.

    Every image is chosen independently with probability `p`, among those of the classes in `only` (default: all) and
    not in `exclude` (default: none); classes are named by the labels that the user's y holds.
    """

    _parameter_constraints = {
        "p": [Interval(numbers.Real, 0, 1, closed="both")],
        "only": ["array-like", None],
        "exclude": ["array-like", None],
        "image_shape": [tuple, list, None],
        "random_state": ["random_state"],
    }

    def _apply(self, x: Tensor, chosen: Tensor, generator: torch.Generator, pixel_range: PixelRange) -> Tensor:
        """x (n, channels, height, width) float32 with the images where `chosen` (n,) bool is true changed."""
        raise NotImplementedError

    def fit(self, X: ArrayLike | Tensor, y: ArrayLike | Tensor | None = None):
        """Check the parameters and, if classes are named, that they occur in y."""
        self._check(X, y)
        return self

    def fit_transform(self, X: ArrayLike | Tensor, y: ArrayLike | Tensor | None = None):
        """One draw for every image of X: (n, features), (n, H, W) or (n, C, H, W); the same kind and dtype out."""
        pixels, codes, classes = self._check(X, y)
        if self.p == 0:
            return X if pixels is X else like(X, pixels)
        tensor = as_tensor(pixels)
        images = tensor.reshape(-1, *self._image_shape(tensor))
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        generator = torch.Generator(images.device).manual_seed(seed)
        draw = compile_augmentation(self, classes, PixelRange(images.min().item(), images.max().item()), generator)
        drawn = draw(images, None if codes is None else codes.to(images.device)).reshape(tensor.shape)
        return like(X, drawn if tensor.is_floating_point() else drawn.round().to(tensor.dtype))

    def transform(self, X: ArrayLike | Tensor):
        """X as it is: at prediction nothing is random."""
        check_is_fitted(self)
        return like(X, check_pixels(self, X, reset=False, dtypes=_DTYPES))

    def _check(self, X, y):
        self._validate_params()
        pixels = check_pixels(self, X, reset=True, dtypes=_DTYPES)
        classes = codes = None
        if y is not None:
            classes, codes = encode_labels(y, len(pixels))
        self._selection(classes)
        return pixels, codes, classes

    def _image_shape(self, X: Tensor) -> tuple[int, ...]:
        if X.ndim > 2:
            return (1,) * (4 - X.ndim) + tuple(X.shape[1:])
        side = math.isqrt(X.shape[1])
        if self.image_shape is None and side * side != X.shape[1]:
            raise ValueError(f"image_shape must say how rows of {X.shape[1]} values form an image, got None.")
        return check_image_shape(self.image_shape or (side, side), X.shape[1])

    def _selection(self, classes: np.ndarray | None) -> Tensor | None:
        """(n_classes,) bool, whether images of a class may be changed; None if all may."""
        if self.only is None and self.exclude is None:
            return None
        if classes is None:
            raise ValueError(f"{type(self).__name__} has only={self.only!r}, exclude={self.exclude!r} and needs y, "
                             "the labels, got y=None.")
        for name, labels in (("only", self.only), ("exclude", self.exclude)):
            absent = [] if labels is None else [label for label in labels if label not in classes.tolist()]
            if absent:
                raise ValueError(f"{name} must name labels that occur in y ({classes.tolist()}), "
                                 f"got {name}={labels!r}.")
        allowed = np.ones(len(classes), bool) if self.only is None else np.isin(classes, list(self.only))
        if self.exclude is not None:
            allowed &= ~np.isin(classes, list(self.exclude))
        return torch.from_numpy(allowed)


_DTYPES = ("float32", "float64", "uint8")


class RandomHorizontalFlip(RandomTransformer):
    """Mirror images left to right.

    Parameters
    ----------
    p : float
        Probability for each image.
    only, exclude : array-like of labels, optional
        Change only these classes, or all but these. Report 3 never mirrors shoes: ``exclude=[5, 7, 9]``.
    image_shape : (height, width) or (channels, height, width), optional
        For flat rows in a Pipeline; default: the square they fill. The classifier's `augment=` does not need it.
    random_state : int, RandomState or None
        For the use in a Pipeline; as `augment=` the classifier's random_state counts.
    """

    def __init__(self, p: float = 0.5, *, only: ArrayLike | None = None, exclude: ArrayLike | None = None,
                 image_shape: tuple[int, ...] | None = None, random_state=None):
        self.p = p
        self.only = only
        self.exclude = exclude
        self.image_shape = image_shape
        self.random_state = random_state

    def _apply(self, x, chosen, generator, pixel_range):
        return torch.where(chosen[:, None, None, None], x.flip(-1), x)


class RandomCrop(RandomTransformer):
    """Shift images: pad them with background on every side and cut out a window of the old size at random.

    Parameters
    ----------
    padding : int
        Pixels on every side, so that images move by up to this many pixels in each direction.
    p, only, exclude, image_shape, random_state
        As in `RandomHorizontalFlip`.
    """

    _parameter_constraints = {
        **RandomTransformer._parameter_constraints,
        "padding": [Interval(numbers.Integral, 0, None, closed="left")],
    }

    def __init__(self, padding: int = 4, *, p: float = 1.0, only: ArrayLike | None = None,
                 exclude: ArrayLike | None = None, image_shape: tuple[int, ...] | None = None, random_state=None):
        self.padding = padding
        self.p = p
        self.only = only
        self.exclude = exclude
        self.image_shape = image_shape
        self.random_state = random_state

    def _apply(self, x, chosen, generator, pixel_range):
        n, _, height, width = x.shape
        shift = torch.randint(0, 2 * self.padding + 1, (2, n, 1), generator=generator, device=x.device)
        shift = torch.where(chosen[:, None], shift, self.padding)          # the middle window: no shift
        rows = shift[0] + torch.arange(height, device=x.device)            # (n, height)
        columns = shift[1] + torch.arange(width, device=x.device)          # (n, width)
        padded = F.pad(x, (self.padding,) * 4, value=pixel_range.low)
        image = torch.arange(n, device=x.device)[:, None, None]
        # Advanced indices around the channel slice: (n, height, width, channels), which is channels_last in memory.
        return padded[image, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


PRESETS: dict[str, Callable[[], list[RandomTransformer]]] = {
    "light": lambda: [RandomCrop(padding=1)],
    "fashion": lambda: [RandomCrop(padding=1), RandomHorizontalFlip()],
}


def as_transformers(augment) -> list[RandomTransformer]:
    """The transformers that an `augment=` stands for: None, a preset's name, one, a list or a Pipeline of them."""
    if augment is None:
        return []
    if isinstance(augment, str) and augment in PRESETS:
        return PRESETS[augment]()
    if isinstance(augment, Pipeline):
        augment = [step for _, step in augment.steps]
    if not isinstance(augment, Sequence) or isinstance(augment, str):
        augment = [augment]
    augment = [step for step in augment if step is not None and not (isinstance(step, str) and step == "passthrough")]
    for step in augment:
        if not isinstance(step, RandomTransformer):
            raise TypeError(f"augment must be None, one of {sorted(PRESETS)}, a random transformer such as "
                            f"RandomCrop(), or a list or Pipeline of them, got {step!r}.")
        step._validate_params()
    return list(augment)


def compile_augmentation(augment, classes: np.ndarray | None, pixel_range: PixelRange,
                         generator: torch.Generator) -> Callable[[Tensor, Tensor | None], Tensor] | None:
    """The function (x, codes) -> x that applies all transformers in turn; None if there are none.

    x (n, channels, height, width): bytes give float32, float types stay; codes (n,) index `classes`.
    """
    steps = [(step, step._selection(classes)) for step in as_transformers(augment)]
    if not steps:
        return None
    steps = [(step, allowed if allowed is None else allowed.to(generator.device)) for step, allowed in steps]

    def transform(x: Tensor, codes: Tensor | None) -> Tensor:
        x = x if x.is_floating_point() else x.float()
        for step, allowed in steps:
            chosen = torch.rand(len(x), generator=generator, device=x.device) < step.p
            if allowed is not None:
                chosen &= allowed[codes]
            x = step._apply(x, chosen, generator, pixel_range)
        return x

    return transform
