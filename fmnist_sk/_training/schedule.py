"""The base class of learning-rate schedules, and runs, which apply one to an optimizer."""
from __future__ import annotations

import inspect
import numbers
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from fmnist_sk._runtime.parameters import Estimator, check_count


class Moment(NamedTuple):
    """Progress of a fit: steps and epochs done and in total, and the history's rows of the epochs done."""

    step: int
    n_steps: int
    epoch: int
    n_epochs: int
    rows: Sequence[dict] = ()

    def progress(self, per: str) -> float:
        """From 0 to 1; per "epoch", it is constant within an epoch."""
        return self.step / self.n_steps if per == "batch" else self.epoch / self.n_epochs


class Schedule(Estimator):
    """Base of the schedules. Subclasses return the factor of the learning rate from `at`."""

    _parameter_constraints: dict = {}
    per = "batch"           # how often the factor can change

    @property
    def monitored(self) -> str | None:
        """The score in the history that it follows, if any."""
        return None

    def at(self, moment: Moment) -> float:
        """The factor of the learning rate in the next step."""
        raise NotImplementedError

    def run(self, optimizer: torch.optim.Optimizer, n_epochs: int, steps_per_epoch: int) -> ScheduleRun:
        """The schedule applied to an optimizer that takes n_epochs * steps_per_epoch steps."""
        return ScheduleRun(self, optimizer, n_epochs, steps_per_epoch)

    def trace(self, n_epochs: int, steps_per_epoch: int, rows: Sequence[dict] = (), lr: float = 1.0) -> np.ndarray:
        """The learning rate of every step of a fit, (n_epochs * steps_per_epoch,).

        lr : the optimizer's learning rate, multiplied by the schedule's factors
        rows : the history's row of each epoch, such as ``[{"valid_loss": 0.5}, ...]``, for schedules that read it

        Raises ValueError for numbers that are not whole, a rate that is not above 0 and invalid parameters of the
        schedule, and TypeError for rows that are not dicts.
        """
        self._validate_params()
        check_count(n_epochs, "n_epochs")
        check_count(steps_per_epoch, "steps_per_epoch")
        if not isinstance(lr, numbers.Real) or not 0 < lr < np.inf:
            raise ValueError(f"lr must be a number above 0, got lr={lr!r}.")
        check_rows(rows)
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
        run, rates = self.run(optimizer, n_epochs, steps_per_epoch), []
        for epoch in range(n_epochs):
            run.begin_epoch(rows[:epoch])
            for _ in range(steps_per_epoch):
                run.begin_batch()
                optimizer.step()
                rates.append(optimizer.param_groups[0]["lr"])
        return np.array(rates)


def check_rows(rows: Any) -> None:
    """Raise TypeError unless these are rows of a history."""
    if not isinstance(rows, Sequence) or not all(isinstance(row, Mapping) for row in rows):
        raise TypeError("rows must be dicts, one for each epoch, such as classifier.history_, got "
                        f"rows={rows!r:.100}.")


class ScheduleRun:
    """A schedule applied to an optimizer, for `n_epochs` of `steps_per_epoch` each."""

    def __init__(self, schedule: Schedule, optimizer: torch.optim.Optimizer, n_epochs: int, steps_per_epoch: int):
        self.schedule, self.optimizer = schedule, optimizer
        self.n_epochs, self.steps_per_epoch = n_epochs, steps_per_epoch
        self.step = 0
        self.rows: Sequence[dict] = ()
        self.before = [dict(group) for group in optimizer.param_groups]

    def begin_epoch(self, rows: Sequence[dict]) -> None:
        """Call before an epoch; `rows` is the history of this run's epochs so far."""
        self.rows = rows
        if self.schedule.per == "epoch":
            self._apply()

    def begin_batch(self) -> None:
        """Call before every step."""
        if self.schedule.per == "batch":
            self._apply()
        self.step += 1

    def _apply(self) -> None:
        factor = self.schedule.at(Moment(self.step, self.n_epochs * self.steps_per_epoch, self.epoch,
                                         self.n_epochs, self.rows))
        for group, before in zip(self.optimizer.param_groups, self.before, strict=True):
            group["lr"] = before["lr"] * factor

    def finish(self) -> None:
        """Give the optimizer its learning rate back: further training starts from it, not from the schedule's end."""
        for group, before in zip(self.optimizer.param_groups, self.before, strict=True):
            group["lr"] = before["lr"]

    def share(self) -> float | None:
        """The learning rate as a share of its largest value, if it will end below a tenth of the current one."""
        last = self.n_epochs * self.steps_per_epoch - 1
        now, end = (self.schedule.at(Moment(step, last + 1, step // self.steps_per_epoch, self.n_epochs, self.rows))
                    for step in (self.step, last))
        return now if end < now / 10 else None

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return self.step // self.steps_per_epoch

    def resume(self, step: int, rows: Sequence[dict]) -> None:
        """Continue as if `step` steps had been done and had left the history `rows`."""
        self.step, self.rows = step, rows


class FreeRun(ScheduleRun):
    """Leaves the learning rate to others, such as skorch's LRScheduler callback."""

    def _apply(self) -> None:
        pass

    def finish(self) -> None:
        pass

    def share(self) -> None:
        pass


class TorchRun(ScheduleRun):
    """Steps one of PyTorch's schedulers before every batch or epoch but the first."""

    def __init__(self, schedule: Schedule, optimizer: torch.optim.Optimizer, n_epochs: int, steps_per_epoch: int):
        super().__init__(schedule, optimizer, n_epochs, steps_per_epoch)
        try:
            self.scheduler = schedule.scheduler(optimizer, **(schedule.settings or {}))
        except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"schedule cannot be created with settings={schedule.settings!r}: {error}") from error

    def _apply(self) -> None:
        if self.step == 0:
            return
        score = self.schedule.monitor if "metrics" in inspect.signature(self.scheduler.step).parameters else None
        if score is not None and (not self.rows or score not in self.rows[-1]):
            raise ValueError(f"monitor must be a score in the history of every epoch, got monitor={score!r}.")
        try:
            self.scheduler.step(*([] if score is None else [self.rows[-1][score]]))
        except (TypeError, ValueError, ArithmeticError) as error:
            raise ValueError(f"schedule must last for {self.n_epochs} epochs of {self.steps_per_epoch} batches, got "
                             f"settings={self.schedule.settings!r}: {error}") from error

    def finish(self) -> None:
        """Give the optimizer all its settings back, because a scheduler may have changed momentum too, and added some.
        """
        for group, before in zip(self.optimizer.param_groups, self.before, strict=True):
            for key in set(group) - set(before):
                del group[key]
            group.update(before)

    def share(self) -> None:
        """None: PyTorch's schedulers cannot look ahead."""

    def resume(self, step: int, rows: Sequence[dict]) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step\\(\\)` before", UserWarning)
            while self.step < step:
                if self.step % self.steps_per_epoch == 0:
                    self.begin_epoch(rows[:self.epoch])
                self.begin_batch()
