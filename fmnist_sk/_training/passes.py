"""One pass over batches, in training or validation, and its record in the history."""
from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from skorch.history import History
from torch import Tensor
from torch.nn import functional as F

from fmnist_sk._training.hooks import for_callbacks, is_hooked, may_read_batches
from fmnist_sk._training.net import Net, StepBatch


class Pass:
    """Sums losses and hits on the device, and reads them once, at the end.

    net : the net whose history is written, and whose callbacks are called if they have hooks for batches
    prefix : "train" or "valid"
    """

    def __init__(self, net: Net, training: bool, prefix: str):
        self.net, self.training, self.prefix = net, training, prefix
        self.hooked = is_hooked(net, "on_batch_begin", "on_batch_end")
        self.losses: list[Tensor] = []
        self.sizes: list[int] = []
        self.loss: Tensor | float = 0.0
        self.hits: Tensor | int = 0             # in validation (n_classes + 1,): hits of each class, and the misses
        self.counts: Tensor | int = 0           # of each class, in validation

    def over(self, batches: Iterable[StepBatch]) -> Iterator[StepBatch]:
        """The batches, each with an entry in the history."""
        rows = self.rows = self.net.history[-1]["batches"]
        self.first = len(rows)
        for batch in batches:
            if self.hooked:
                self.net.notify("on_batch_begin", batch=for_callbacks(self.net.classes_, batch), training=self.training)
            else:
                rows.append({})
            yield batch

    def add(self, batch: StepBatch, step: dict[str, Any]) -> None:
        """Count a batch; `step` holds its "loss" and "y_pred", the logits (n, n_classes)."""
        codes, loss, n_classes = batch[1], step["loss"].detach(), len(self.net.classes_)
        self.losses.append(loss.clone())        # the next replay of a recorded step overwrites it
        self.sizes.append(len(codes))
        self.loss = self.loss + loss * len(codes)
        hit = step["y_pred"].detach().argmax(1) == codes
        if self.training:
            self.hits = self.hits + hit.sum()
        else:
            self.hits = self.hits + F.one_hot(torch.where(hit, codes, n_classes), n_classes + 1).sum(0)
            self.counts = self.counts + F.one_hot(codes, n_classes).sum(0)
        if self.hooked:
            self._record_batch(self.rows[-1], loss.item(), len(codes))
            self.net.notify("on_batch_end", batch=for_callbacks(self.net.classes_, batch), training=self.training,
                            **step)

    def finish(self) -> None:
        """Write means into the history. Raises ValueError if the loss is not finite."""
        if not self.losses:
            return
        history, n, n_classes = self.net.history, sum(self.sizes), len(self.net.classes_)
        batches_are_read = not self.hooked and (any(self.rows[self.first:])
                                                or may_read_batches(self.net))
        sums = [torch.as_tensor(self.loss).reshape(1), torch.as_tensor(self.hits).reshape(-1).float()]
        sums += [] if self.training else [torch.as_tensor(self.counts).float()]
        sums += [torch.stack(self.losses).float()] if batches_are_read else []
        loss, *found = torch.cat(sums).tolist()                 # the only wait for the device
        if not math.isfinite(loss):
            raise not_finite(self.net, f"{'training' if self.training else 'validation'} loss became {loss}")
        if batches_are_read:
            for row, value, size in zip(self.rows[self.first:], found[-len(self.losses):], self.sizes, strict=True):
                self._record_batch(row, value, size)
        elif not self.hooked:
            del self.rows[self.first + 1:]                      # skorch's Checkpoint looks at the last one
        history.record(f"{self.prefix}_batch_count", len(self.losses))
        record(history, f"{self.prefix}_loss", loss / n, lower_is_better=True)
        if self.training:
            hits = found[:1]
        else:
            hits, counts = found[:n_classes], found[n_classes + 1:2 * n_classes + 1]
            for code, (right, count) in enumerate(zip(hits, counts, strict=True)):
                history.record(f"{self.prefix}_class_acc_{code}", right / count if count else math.nan)
        record(history, f"{self.prefix}_acc", sum(hits) / n, lower_is_better=False)

    def _record_batch(self, row: dict, loss: float, size: int) -> None:
        row[f"{self.prefix}_loss"], row[f"{self.prefix}_batch_size"] = loss, size


def record(history: History, name: str, value: float, *, lower_is_better: bool) -> None:
    """Write a score of the epoch, and whether it is the best so far."""
    past = [row[name] for row in history[:-1] if not math.isnan(row.get(name, math.nan))]
    is_best = not math.isnan(value) and all(value < other if lower_is_better else value > other for other in past)
    history.record(name, value)
    history.record(f"{name}_best", is_best)


def record_mean_loss(history: History, prefix: str) -> None:
    """Compute an epoch's loss from its batches, if a net's own `run_single_epoch` has recorded only these."""
    name, row = f"{prefix}_loss", history[-1]
    batches = [batch for batch in row["batches"] if name in batch]
    if name not in row and batches:
        sizes = [batch.get(f"{prefix}_batch_size", 1) for batch in batches]
        record(history, name, float(np.average([batch[name] for batch in batches], weights=sizes)),
               lower_is_better=True)


def not_finite(net: Net, what: str) -> ValueError:
    """The error for a loss or logits that are infinite or NaN."""
    name = net._lr_name
    return ValueError(f"The {what} in epoch {net.history[-1, 'epoch']} with {name}={getattr(net, name)}: lower {name}, "
                      "check the scale of X if standardize=False, or set precision='fp32'.")
