"""Values of `augment=`, presets by name, and the function that changes a batch."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.pipeline import Pipeline
from sklearn.utils._param_validation import StrOptions
from torch import Tensor

from fmnist_sk._data.bunch import fashion_labels
from fmnist_sk._data.images import Batch
from fmnist_sk._data.ranges import PixelRange
from fmnist_sk._runtime.graphs import Recorded, is_own_code
from fmnist_sk.augmentation._base import SHARE, Augmenter, RandomTransformer, class_selection
from fmnist_sk.augmentation.geometry import RandomAffine, RandomCrop, RandomHorizontalFlip
from fmnist_sk.augmentation.mixing import CutMix
from fmnist_sk.augmentation.pixels import GaussianNoise, RandomBrightness, RandomErasing

SHOES = 5, 7, 9         # sandal, sneaker, ankle boot


def _report_3(classes: np.ndarray | None) -> list[RandomTransformer]:
    """The five transformers of report 3, each with probability 0.3; shoes are never mirrored."""
    shoes = None if classes is None else fashion_labels(SHOES, classes, "augment='report_3'")
    return [GaussianNoise(p=0.3), RandomBrightness(p=0.3), RandomHorizontalFlip(p=0.3, exclude=shoes),
            RandomErasing(p=0.3), RandomCrop(padding=4, p=0.3)]


def _mirror_and_shift(classes: np.ndarray | None) -> list[RandomTransformer]:
    return [RandomCrop(padding=1), RandomHorizontalFlip()]


PRESETS: dict[str, Callable[[np.ndarray | None], list]] = {
    "light": lambda classes: [RandomCrop(padding=1)],
    "fashion": _mirror_and_shift,
    "strong": lambda classes: [RandomCrop(padding=2), RandomHorizontalFlip(), RandomErasing(), CutMix(p=0.5)],
    "report_1": _mirror_and_shift,          # report 1 does not give its strength
    "report_2": lambda classes: [RandomHorizontalFlip(), RandomAffine(shift=0.1, zoom=0.1), RandomErasing()],
    "report_3": _report_3,
}


class Preset(Augmenter):
    """A preset with another probability: ``augment=Preset("report_3", p=0.5)``, or ``augment__p`` in a search.

    Parameters
    ----------
    name : str
        One of the names that `augment=` takes: "light", "fashion", "strong", "report_1", "report_2" or "report_3".
    p : float, optional
        Probability of each of its transformers for each image, from 0 to 1; None: the preset's own.

    Examples
    --------
    >>> from fmnist_sk import ConvNetClassifier, Preset
    >>> ConvNetClassifier(augment=Preset("fashion", p=0.3)).set_params(augment__p=0.5).augment
    Preset(name='fashion', p=0.5)
    """

    _parameter_constraints = {"name": [StrOptions(set(PRESETS))], "p": [*SHARE, None]}

    def __init__(self, name: str, p: float | None = None):
        self.name = name
        self.p = p

    def transformers(self, classes: np.ndarray | None) -> list[Augmenter]:
        self._validate_params()
        return [step if self.p is None else step.set_params(p=self.p) for step in PRESETS[self.name](classes)]


def as_transformers(augment: Any, classes: np.ndarray | None = None, parameter: str = "augment") -> list[Augmenter]:
    """The transformers for a value of `augment=`: None, a preset's name, one, a list or a Pipeline of them.

    classes : labels of the fit, on which a preset can depend
    parameter : name of the parameter, for messages
    """
    if augment is None:
        return []
    if isinstance(augment, str) and augment in PRESETS:
        return PRESETS[augment](classes)
    if isinstance(augment, Pipeline):
        augment = [step for _, step in augment.steps]
    if not isinstance(augment, Sequence) or isinstance(augment, str):
        augment = [augment]
    augment = [step for step in augment if step is not None and not (isinstance(step, str) and step == "passthrough")]
    augment = [step for one in augment for step in (one.transformers(classes) if isinstance(one, Preset) else [one])]
    for step in augment:
        if not isinstance(step, Augmenter):
            raise TypeError(f"{parameter} must be None, one of {sorted(PRESETS)}, a random transformer such as "
                            f"RandomCrop(), or a list or Pipeline of transformers and Preset('light'), got {step!r}.")
        step._validate_params()
    return list(augment)


def with_allowed_classes(steps: Sequence[RandomTransformer], classes: np.ndarray | None
           ) -> list[tuple[RandomTransformer, Tensor | None]]:
    """Each step with the classes (n_classes,) bool whose images it may change, or None for all."""
    return [(step, class_selection(step, step.only, step.exclude, classes)) for step in steps]


class Augmentation:
    """Applies all random transformers to a batch in turn: bytes become float32, float types are kept."""

    def __init__(self, steps: Sequence[tuple[RandomTransformer, Tensor | None]], n_classes: int,
                 pixel_range: PixelRange, generator: torch.Generator):
        self.steps, self.n_classes, self.generator = steps, n_classes, generator
        self.change = partial(_changed, steps, n_classes, pixel_range, generator)
        self._recorded: Recorded | None = None

    def record(self) -> None:
        """Record a CUDA graph of the changes from the next batch on, even if there is one already.

        A batch is then valid until the next one. Transformers from outside this package are not recorded, because they
        might branch in Python.
        """
        if all(is_own_code(step) for step, _ in self.steps):
            self._recorded = Recorded(self.change, [self.generator])

    def __call__(self, batch: Batch) -> None:
        batch.n_classes = self.n_classes
        change: Callable[..., tuple] = self.change if self._recorded is None else partial(self._recorded, None)
        batch.x, batch.weights, batch.targets = change(batch.x, batch.codes, batch.weights)


def _changed(steps: Sequence[tuple[RandomTransformer, Tensor | None]], n_classes: int, pixel_range: PixelRange,
             generator: torch.Generator, x: Tensor, codes: Tensor, weights: Tensor | None
             ) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Pixels, weights and targets of a changed batch."""
    batch = Batch(x if x.is_floating_point() else x.float(), codes, weights, n_classes)
    for step, allowed in steps:
        step._change(batch, allowed, generator, pixel_range)
    return batch.x, batch.weights, batch.targets


def compile_augmentation(augment: Any, classes: np.ndarray, pixel_range: PixelRange, generator: torch.Generator
                         ) -> Augmentation | None:
    """The function that changes a batch; None without random transformers."""
    steps = [step for step in as_transformers(augment, classes) if isinstance(step, RandomTransformer)]
    if not steps:
        return None
    return Augmentation([(step, allowed if allowed is None else allowed.to(generator.device))
                         for step, allowed in with_allowed_classes(steps, classes)],
                        len(classes), pixel_range, generator)
