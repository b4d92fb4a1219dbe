"""A data set that lives on the device, and whole batches cut from it.

No per-sample Python work and no copies through host memory: a batch is one gather on the device.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from skorch.dataset import Dataset
from torch import Tensor
from torch.nn import functional as F


class Images(Dataset):
    """Images with their class codes and weights, all on one device.

    pixels : (n, channels, height, width) uint8 or float32
    codes : (n,) int64, indices into the classifier's ``classes_``; None where only predictions are wanted
    weights : (n,) float32 factors of the loss, or None
    rows : (m,) int64, which images are in the set, in which order and how often, or None for all n as they are.
        Subsets, repetitions and reorderings share one copy of the pixels.
    """

    def __init__(self, pixels: Tensor, codes: Tensor | None = None, weights: Tensor | None = None,
                 rows: Tensor | None = None):
        self.pixels, self.codes, self.weights, self.rows = pixels, codes, weights, rows

    def __len__(self) -> int:
        return len(self.pixels if self.rows is None else self.rows)

    def take(self, index: Tensor) -> Images:
        """The images at these positions, as another view of the same memory."""
        return Images(self.pixels, self.codes, self.weights, self._select(index))

    def batch(self, index: Tensor | slice) -> tuple[dict[str, Tensor | None], Tensor]:
        """What skorch calls a batch: ({"x": pixels, "weights": weights}, codes)."""
        rows = self._select(index)
        pixels, codes, weights = (None if values is None else values[rows] if isinstance(rows, slice) else
                                  values.index_select(0, rows)      # whole rows: several times faster than [rows]
                                  for values in (self.pixels, self.codes, self.weights))
        return {"x": pixels, "weights": weights}, pixels.new_empty(0) if codes is None else codes

    def _select(self, index: Tensor | slice) -> Tensor | slice:
        return index if self.rows is None else self.rows[index]

    # skorch's scoring callbacks take a data set apart into X and y. They get the images without their codes, which
    # predict answers with codes again: like is compared with like.
    @property
    def X(self) -> Images:
        return Images(self.pixels, rows=self.rows)

    @property
    def y(self) -> Tensor | None:
        return self.codes if self.codes is None or self.rows is None else self.codes[self.rows]

    def __getitem__(self, i):
        inputs, codes = self.batch(torch.as_tensor([range(len(self))[i]], device=self.pixels.device))
        return inputs["x"][0], codes[0]


@dataclass
class Batch:
    """A batch on its way through the augmentation.

    x : (n, channels, height, width) float
    codes : (n,) int64 class codes of the images before they were mixed; None if there are no labels
    weights : (n,) factors of the loss, or None
    n_classes : how many classes there are in all, where images may be mixed
    targets : (n, n_classes) the share of each class in an image, once images have been mixed
    """

    x: Tensor
    codes: Tensor | None
    weights: Tensor | None = None
    n_classes: int | None = None
    targets: Tensor | None = None

    def are_all_of(self, allowed: Tensor) -> Tensor:
        """(n,) bool: whether nothing of an image is of a class that `allowed` (n_classes,) bool leaves out."""
        return allowed[self.codes] if self.targets is None else ~((self.targets > 0) & ~allowed).any(1)

    def mix_targets(self, partner: Tensor, share: Tensor) -> None:
        """Each image is now `share` (n,) itself and the rest of it the image at `partner` (n,).

        Weights are mixed as well, so that the loss is the weighted mean of the two images' losses.
        """
        if self.n_classes is None:            # images of one class
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
    """Iterates over whole batches; shuffled anew each time if there is a generator.

    A shuffled last batch of a single image, which batch normalisation cannot use, joins the one before it.
    `transform` changes every batch in place: the augmentation. Where it mixes images, "targets" join pixels and
    weights, and the codes are those of the largest shares. `enough_memory` is a context in which they are made.
    """

    def __init__(self, data: Images, batch_size: int, generator: torch.Generator | None = None,
                 transform: Callable[[Batch], None] | None = None,
                 enough_memory: Callable[[], AbstractContextManager] = nullcontext):
        self.data, self.batch_size, self.generator, self.transform = data, batch_size, generator, transform
        self.enough_memory = enough_memory

    def _bounds(self) -> list[tuple[int, int]]:
        n = len(self.data)
        starts = list(range(0, n, self.batch_size))
        if self.generator is not None and len(starts) > 1 and n - starts[-1] == 1:
            starts.pop()
        return list(zip(starts, [*starts[1:], n], strict=True))

    def __len__(self) -> int:
        return len(self._bounds())

    def __iter__(self) -> Iterator:
        data = self.data
        if self.generator is not None:
            data = data.take(torch.randperm(len(data), generator=self.generator).to(data.pixels.device))
        for start, stop in self._bounds():
            with self.enough_memory():
                inputs, codes = data.batch(slice(start, stop))
                if self.transform is not None:
                    batch = Batch(inputs["x"], codes, inputs["weights"])
                    self.transform(batch)
                    inputs = {"x": batch.x, "weights": batch.weights}
                    if batch.targets is not None:
                        inputs["targets"], codes = batch.targets, batch.targets.argmax(1)
            yield inputs, codes
