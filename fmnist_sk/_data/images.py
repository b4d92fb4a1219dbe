"""A data set that lives on the device, and whole batches cut from it.

No per-sample Python work and no copies through host memory: a batch is one gather on the device.
"""
from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NotRequired, Self, TypedDict

import numpy as np
import torch
from skorch.dataset import Dataset
from torch import Tensor
from torch.nn import functional as F


class Inputs(TypedDict):
    """What a network and its loss receive of a batch; `targets` and `mixed` only if labels became soft."""

    x: Tensor
    weights: Tensor | None
    targets: NotRequired[Tensor]
    mixed: NotRequired[Tensor]


class Images(Dataset):
    """Images on one device, as a data set of skorch.

    pixels : (n, channels, height, width) uint8 or float32
    rows : (m,) int64, which images are in the set, in which order and how often, or None for all n in order.
        Subsets, repetitions and reorderings share one copy of the pixels.
    """

    def __init__(self, pixels: Tensor, rows: Tensor | None = None):
        self.pixels, self.rows = pixels, rows

    def __len__(self) -> int:
        return len(self.pixels if self.rows is None else self.rows)

    def tensor(self) -> Tensor:
        """The images of this set, (m, channels, height, width)."""
        return self.pixels if self.rows is None else self.pixels[self.rows]

    def take(self, index: Tensor) -> Self:
        """The images at these positions, as another view of the same memory."""
        part = copy.copy(self)
        part.rows = index if self.rows is None else self.rows[index]
        return part

    def batch(self, index: Tensor | slice) -> tuple[Inputs, Tensor]:
        """The images at these positions as what skorch calls a batch: ({"x": pixels, ...}, codes)."""
        pixels = self._gather(self.pixels, self._select(index))
        return {"x": pixels, "weights": None}, pixels.new_empty(0)

    def _select(self, index: Tensor | slice) -> Tensor | slice:
        return index if self.rows is None else self.rows[index]

    @staticmethod
    def _gather(values: Tensor, rows: Tensor | slice) -> Tensor:
        # Whole rows: several times faster than [rows].
        return values[rows] if isinstance(rows, slice) else values.index_select(0, rows)

    @property
    def X(self) -> Images:
        """The images alone, which skorch's scoring callbacks pass to predict."""
        return Images(self.pixels, self.rows)

    @property
    def y(self) -> np.ndarray | None:
        return None

    def __getitem__(self, i):
        inputs, codes = self.batch(torch.as_tensor([range(len(self))[i]], device=self.pixels.device))
        return inputs["x"][0], codes[0] if len(codes) else codes


class LabelledImages(Images):
    """Images with their class codes and weights.

    classes : (n_classes,) the user's labels, sorted
    codes : (n,) int64, indices into `classes`
    weights : (n,) float32 factors of the loss, or None
    class_factors : (n_classes,) float32, the part of the weights that depends on the class alone, or None
    """

    def __init__(self, pixels: Tensor, codes: Tensor, classes: np.ndarray, weights: Tensor | None = None,
                 rows: Tensor | None = None, class_factors: Tensor | None = None):
        super().__init__(pixels, rows)
        self.codes, self.classes, self.weights, self.class_factors = codes, classes, weights, class_factors

    def with_pixels(self, pixels: Tensor) -> Self:
        """The same set with other values in place of its pixels, such as features (n, ...)."""
        other = copy.copy(self)
        other.pixels = pixels
        return other

    def batch(self, index: Tensor | slice) -> tuple[Inputs, Tensor]:
        rows = self._select(index)
        weights = None if self.weights is None else self._gather(self.weights, rows)
        return {"x": self._gather(self.pixels, rows), "weights": weights}, self._gather(self.codes, rows)

    @property
    def row_numbers(self) -> Tensor:
        """Which images are in the set, (m,)."""
        return torch.arange(len(self), device=self.pixels.device) if self.rows is None else self.rows

    @property
    def codes_in_order(self) -> Tensor:
        """The code of each image of the set, (m,)."""
        return self.codes if self.rows is None else self.codes[self.rows]

    @property
    def y(self) -> np.ndarray:
        """The label of each image of the set, (m,), as the user named them."""
        return self.classes[self.codes_in_order.cpu().numpy()]


@dataclass
class Batch:
    """A batch on its way through the augmentation.

    x : (n, channels, height, width) float
    codes : (n,) int64 class codes of the images before they were mixed; None if there are no labels
    weights : (n,) factors of the loss, or None
    n_classes : total number of classes, if images may be mixed
    targets : (n, n_classes) the share of each class in an image, once images have been mixed
    """

    x: Tensor
    codes: Tensor | None
    weights: Tensor | None = None
    n_classes: int | None = None
    targets: Tensor | None = None

    def are_all_of(self, allowed: Tensor) -> Tensor:
        """(n,) bool: whether an image belongs only to classes for which `allowed` (n_classes,) bool is true.

        Raises ValueError if there are no labels.
        """
        if self.targets is not None:
            return ~((self.targets > 0) & ~allowed).any(1)
        if self.codes is None:
            raise ValueError("A batch without labels has no classes to choose from.")
        return allowed[self.codes]

    def mix_targets(self, partner: Tensor, share: Tensor) -> None:
        """Give image i a label that is ``share[i]`` its own and otherwise that of image ``partner[i]``.

        Weights are mixed as well, so that the loss is the weighted mean of the two images' losses.
        """
        if self.n_classes is None or self.codes is None:            # images of one class
            return
        targets = F.one_hot(self.codes, self.n_classes).float() if self.targets is None else self.targets
        own, other = share, 1 - share
        if self.weights is not None:
            own, other = own * self.weights, other * self.weights[partner]
            self.weights = own + other
            total = self.weights.clamp_min(torch.finfo(torch.float32).tiny)
            own, other = own / total, other / total
        self.targets = own[:, None] * targets + other[:, None] * targets[partner]


class Batches:
    """Iterates over whole batches, reshuffled each time if there is a generator.

    A shuffled last batch of a single image, which batch normalisation cannot use, joins the one before it.
    `transform` changes every batch in place: the augmentation. If it mixes images, the inputs also hold "targets" and
    "mixed", which says of which (n,), and the codes are those of the largest shares. `teacher` then gives the targets
    (n, n_classes) of a batch. `guard(n)` returns a context in which a batch of n images is made.
    """

    def __init__(self, data: Images, batch_size: int, generator: torch.Generator | None = None,
                 transform: Callable[[Batch], None] | None = None,
                 guard: Callable[[int], AbstractContextManager] = nullcontext,
                 teacher: Callable[[Batch], Tensor] | None = None):
        self.data, self.batch_size, self.generator, self.transform = data, batch_size, generator, transform
        self.guard, self.teacher = guard, teacher

    def _bounds(self) -> list[tuple[int, int]]:
        n = len(self.data)
        starts = list(range(0, n, self.batch_size))
        if self.generator is not None and len(starts) > 1 and n - starts[-1] == 1:
            starts.pop()
        return list(zip(starts, [*starts[1:], n], strict=True))

    def __len__(self) -> int:
        return len(self._bounds())

    def __iter__(self) -> Iterator[tuple[Inputs, Tensor]]:
        data = self.data
        if self.generator is not None:
            data = data.take(torch.randperm(len(data), generator=self.generator).to(data.pixels.device))
        for start, stop in self._bounds():
            with self.guard(stop - start):
                inputs, codes = data.batch(slice(start, stop))
                batch = Batch(inputs["x"], codes, inputs["weights"])
                if self.transform is not None:
                    self.transform(batch)
                    inputs = {"x": batch.x, "weights": batch.weights}
                    if batch.targets is not None:
                        inputs |= {"targets": batch.targets, "mixed": batch.targets.amax(1) < 1}
                        codes = batch.targets.argmax(1)
                if self.teacher is not None:
                    inputs["targets"] = self.teacher(batch)
            yield inputs, codes
