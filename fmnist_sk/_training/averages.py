"""Which weights a fit ends with: averages over steps or epochs, and the best epoch."""
from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fmnist_sk._data.images import Batches
from fmnist_sk._storage.fit_file import checked_copy
from fmnist_sk._training.net import Net


class WeightAverage:
    """Averages of a network's weights and normalisation statistics, for validation and prediction.

    ema : the average moves towards the weights by ``1 - ema`` after every step; over the first steps by more,
        ``9 / (10 + steps)``, so that the random initial weights are soon forgotten
    swa : after this share of the fit, the average of the weights after every epoch
    """

    def __init__(self, module: nn.Module, ema: float | None, swa: float | None):
        self.module, self.ema, self.swa = module, ema, swa
        self.n = 0                                    # steps or epochs in the average
        self.values = [value.clone() for value in self._live()]

    def _live(self) -> list[Tensor]:
        return [value for value in self.module.state_dict().values() if value.is_floating_point()]

    @torch.no_grad()
    def _move(self, weight: float) -> None:
        torch._foreach_lerp_(self.values, self._live(), weight)
        self.n += 1

    def end_step(self) -> None:
        if self.ema is not None:
            self._move(max(1 - self.ema, 9 / (10 + self.n)))

    def end_epoch(self, done: int, n_epochs: int) -> None:
        if self.swa is not None and done > self.swa * n_epochs:
            self._move(1 / (1 + self.n))

    @property
    def is_running(self) -> bool:
        return self.n > 0

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Context in which the network has the averaged weights."""
        if not self.is_running:
            yield
            return
        kept = [value.clone() for value in self._live()]
        try:
            self._copy(self.values, self._live())
            yield
        finally:
            self._copy(kept, self._live())

    def keep_statistics(self) -> None:
        """Within `in_place`: the network's new normalisation statistics are the average's."""
        self._copy(self._live(), self.values)

    def finish(self) -> None:
        """The network keeps the average."""
        if self.is_running:
            self._copy(self.values, self._live())
            self.n = 0

    @staticmethod
    @torch.no_grad()
    def _copy(source: list[Tensor], target: list[Tensor]) -> None:
        torch._foreach_copy_(target, source)

    def state_dict(self) -> dict:
        return {"n": self.n, "values": self.values}

    def load_state_dict(self, state: dict) -> None:
        self.n, self.values = state["n"], [value.to(live.device) for value, live in
                                           zip(state["values"], self._live(), strict=True)]


@torch.no_grad()
def renew_statistics(net: Net, batches: Batches) -> None:
    """Recompute batch normalisation's statistics for averaged weights, in one pass over the training batches."""
    net._set_training(True)
    norms = [m for m in net.module_.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None                          # equal weights for all batches
    try:
        batches = copy.copy(batches)
        batches.teacher = None                        # it has no part in them
        for inputs, _ in batches:
            net.infer(inputs)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def learning_parts(net: Net) -> nn.ModuleDict:
    """What a fit trains: the network, and the loss, which can have parameters too."""
    return nn.ModuleDict({"module": net.module_, "criterion": net.criterion_})


class BestEpoch:
    """Follows the monitored validation score, and keeps the weights of the best epoch if required.

    Until there is a best epoch, it keeps those of an earlier fit.
    """

    def __init__(self, net: Net):
        self.net, self.sign = net, -1 if net.monitor.endswith("loss") else 1
        self.score = -math.inf
        self.epoch: int | None = None
        self.weights: dict[str, Tensor] | None = self._copy() if net.keep_best and len(net.history) else None

    def _copy(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in learning_parts(self.net).state_dict().items()}

    def update(self) -> None:
        row = self.net.history[-1]
        if self.net.monitor not in row:
            raise ValueError(f"monitor must be a score in the history of every epoch, got monitor="
                             f"{self.net.monitor!r} and {sorted(row)}.")
        score = self.sign * row[self.net.monitor]
        if self.epoch is None or score > self.score:
            self.score, self.epoch = score, row["epoch"]
            if self.net.keep_best:
                self.weights = self._copy()

    def age(self, first: int) -> int:
        """Number of epochs since the best one, among those from `first` on."""
        return self.net.history[-1]["epoch"] - max(self.epoch or 0, first)

    def finish(self) -> None:
        if self.epoch is not None:
            self.net.best_epoch_ = self.epoch
        if self.weights is not None and self.epoch != self.net.history[-1]["epoch"]:
            learning_parts(self.net).load_state_dict(self.weights)

    def state_dict(self) -> dict | None:
        return None if self.epoch is None else {"score": self.score, "epoch": self.epoch, "weights": self.weights}

    def load_state_dict(self, state: dict | None) -> None:
        if state is None:
            return
        weights = learning_parts(self.net).state_dict() if self.net.keep_best else None
        wanted = {"score": 0.0, "epoch": 0, "weights": weights}
        state = checked_copy(state, wanted, "best epoch")
        self.score, self.epoch, self.weights = state["score"], state["epoch"], state["weights"]
