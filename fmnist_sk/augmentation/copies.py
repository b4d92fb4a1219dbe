"""Augmented images stored beside the originals."""
from __future__ import annotations

from collections.abc import Collection
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from fmnist_sk._data.checks import as_tensor, check_pixels
from fmnist_sk._data.containers import like
from fmnist_sk._data.images import LabelledImages
from fmnist_sk._data.labels import encode_labels
from fmnist_sk._data.ranges import PixelRange
from fmnist_sk._network.random import new_seed
from fmnist_sk._runtime.parameters import real
from fmnist_sk._runtime.sklearn_callbacks import one_task, with_callbacks
from fmnist_sk.augmentation._base import (
    DTYPES,
    LABELS,
    Augmenter,
    RandomTransformer,
    as_images,
    class_selection,
    draw_once,
)
from fmnist_sk.augmentation.geometry import RandomHorizontalFlip
from fmnist_sk.augmentation.presets import as_transformers, with_allowed_classes


class AugmentedCopies(Augmenter):
    """Add augmented copies to the training data, drawn once.

    Two uses:

    - ``ConvNetClassifier(augment=AugmentedCopies())``, alone or in a list: copies are added to the images left after
      the validation split, at the beginning of a fit. The other transformers of the list are drawn afresh for every
      batch of originals and copies.
    - as a step of imbalanced-learn's Pipeline, which calls `fit_resample` in training only.

    Parameters
    ----------
    fraction : float
        Share of the images that are copied, drawn at random: above 0, up to 1.
    transformer : random transformer, list or Pipeline of them, preset's name, or None
        How the copies are changed. None: every copy is mirrored.
    only, exclude : array-like of labels, optional
        Copy only these classes, or all but these.
    image_shape : (height, width) or (channels, height, width), optional
        Shape of flat rows in a Pipeline; default: the square they fill.
    random_state : int, RandomState or None
        Seed for `fit_resample`; in `augment=`, the classifier's random_state applies.

    Examples
    --------
    >>> import numpy as np
    >>> from fmnist_sk import AugmentedCopies
    >>> X, y = np.random.default_rng(0).integers(0, 256, (10, 8, 8), dtype=np.uint8), np.arange(10) % 2
    >>> larger, labels = AugmentedCopies(fraction=0.5, random_state=0).fit_resample(X, y)
    >>> larger.shape, labels.shape
    ((15, 8, 8), (15,))
    """

    _parameter_constraints = {
        "fraction": [real(0, 1, "right")],
        "only": LABELS,
        "exclude": LABELS,
        "image_shape": [tuple, list, None],
        "random_state": ["random_state"],
    }

    def __init__(self, fraction: float = 1.0, transformer: Any = None, *, only: Collection | None = None,
                 exclude: Collection | None = None, image_shape: tuple[int, ...] | None = None,
                 random_state: int | np.random.RandomState | None = None):
        self.fraction = fraction
        self.transformer = transformer
        self.only = only
        self.exclude = exclude
        self.image_shape = image_shape
        self.random_state = random_state

    @with_callbacks
    def fit(self, X: ArrayLike | Tensor, y: ArrayLike | Tensor | None = None) -> Self:
        """Check the parameters and data; nothing is learned.

        Parameters
        ----------
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            The images.
        y : array-like or tensor of shape (n,)
            Their labels.

        Returns
        -------
        AugmentedCopies
            The sampler itself.
        """
        with one_task(self, X, y):
            self._check(X, y)
        return self

    @with_callbacks
    def fit_resample(self, X: ArrayLike | Tensor, y: ArrayLike | Tensor) -> tuple[Any, Any]:
        """Put changed copies after the originals.

        Parameters
        ----------
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            The images.
        y : array-like or tensor of shape (n,)
            Their labels.

        Returns
        -------
        X, y : arrays or tensors
            Originals and copies in the same kinds of containers. uint8, float32 and float64 are kept; other types
            become float32.
        """
        with one_task(self, X, y):
            pixels, codes, classes = self._check(X, y)
            generator = torch.Generator(pixels.device).manual_seed(new_seed(self.random_state))
            rows = torch.arange(len(pixels), device=pixels.device)
            images = LabelledImages(as_images(pixels, self.image_shape), codes.to(pixels.device), classes, rows=rows)
            chosen, drawn = self._draw(images, classes, generator, None)
            enlarged = torch.cat([pixels, drawn.reshape(-1, *pixels.shape[1:])])
            index = torch.cat([rows, chosen]).cpu().numpy()
            if isinstance(X, pd.DataFrame):
                X = X.iloc[index].set_axis(np.arange(len(index)), axis=0)
            return like(X, enlarged if isinstance(X, Tensor) else enlarged.numpy()), _labels_of_rows(y, index)

    def _check(self, X: Any, y: Any) -> tuple[Tensor, Tensor, np.ndarray]:
        """Pixels, codes and classes of X and y."""
        self._validate_params()
        pixels = check_pixels(self, X, y, reset=True, dtypes=DTYPES)
        classes, codes = encode_labels(y, len(pixels))
        class_selection(self, self.only, self.exclude, classes)
        self._steps(classes)
        return as_tensor(pixels), codes, classes

    def _steps(self, classes: np.ndarray | None) -> list[tuple[RandomTransformer, Tensor | None]]:
        """How the copies are changed: each transformer with the classes whose images it may change."""
        steps = [RandomHorizontalFlip(p=1.0)] if self.transformer is None else \
            as_transformers(self.transformer, classes, "transformer")
        if not steps or any(isinstance(step, AugmentedCopies) for step in steps):
            raise ValueError("transformer must change the copies by random transformers other than AugmentedCopies, "
                             f"got transformer={self.transformer!r}.")
        return with_allowed_classes(steps, classes)

    def _draw(self, images: LabelledImages, classes: np.ndarray, generator: torch.Generator,
              pixel_range: PixelRange | None) -> tuple[Tensor, Tensor]:
        """Which of the rows of `images` are copied, drawn at random, and the changed copies of their pixels."""
        rows, steps = images.row_numbers, self._steps(classes)
        allowed = class_selection(self, self.only, self.exclude, classes)
        if allowed is not None:
            rows = rows[allowed.to(rows.device)[images.codes[rows]]]
        order = torch.randperm(len(rows), generator=generator, device=generator.device)
        rows = rows[order[:round(self.fraction * len(rows))].sort().values.to(rows.device)]
        pixels = images.pixels[rows]
        return rows, draw_once(steps, pixels, images.codes[rows], generator, pixel_range) if len(rows) else pixels

    def enlarge(self, images: LabelledImages, classes: np.ndarray, generator: torch.Generator, pixel_range: PixelRange
                ) -> LabelledImages:
        """The images and the copies of some of them, with the labels and weights of their originals."""
        rows, drawn = self._draw(images, classes, generator, pixel_range)
        new = torch.arange(len(images.pixels), len(images.pixels) + len(rows), device=rows.device)
        weights = None if images.weights is None else torch.cat([images.weights, images.weights[rows]])
        return LabelledImages(torch.cat([images.pixels, drawn]), torch.cat([images.codes, images.codes[rows]]),
                              images.classes, weights, torch.cat([images.row_numbers, new]), images.class_factors)


def _labels_of_rows(y: Any, index: np.ndarray) -> Any:
    """The labels of these rows, in the same kind of container as y."""
    if isinstance(y, Tensor):
        return y[torch.from_numpy(index).to(y.device)]
    if isinstance(y, (pd.Series, pd.DataFrame)):
        return y.iloc[index].set_axis(np.arange(len(index)), axis=0)
    return np.asarray(y)[index]
