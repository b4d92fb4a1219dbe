"""How the learning rate changes during a fit.

A schedule gives the factor by which the optimizer's learning rates are multiplied at any moment of a fit. It holds no
state: the factor depends only on the steps done and on the scores so far, so training can resume at any step.
`TorchSchedule` wraps PyTorch's schedulers, which do hold state.

>>> from fmnist_sk import OneCycle
>>> OneCycle(warmup=0.5).trace(n_epochs=2, steps_per_epoch=4).round(2).tolist()
[0.1, 0.32, 0.55, 0.78, 1.0, 0.75, 0.5, 0.25]
"""
from __future__ import annotations

import functools
import inspect
import math
import numbers
from typing import Any

from sklearn.utils._param_validation import StrOptions
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from fmnist_sk._runtime.parameters import is_whole, real, whole
from fmnist_sk._training.schedule import FreeRun, Moment, Schedule, ScheduleRun, TorchRun

_SHARE = [real(0, 1)]
_COUNT = [whole(1)]
_PER = [StrOptions({"batch", "epoch"})]


class Constant(Schedule):
    """A learning rate that stays the same.

    Examples
    --------
    >>> from fmnist_sk import Constant
    >>> Constant().trace(n_epochs=2, steps_per_epoch=1).tolist()
    [1.0, 1.0]
    """

    def run(self, optimizer: Optimizer, n_epochs: int, steps_per_epoch: int) -> ScheduleRun:
        return FreeRun(self, optimizer, n_epochs, steps_per_epoch)


class OneCycle(Schedule):
    """Linear rise from ``start * lr`` to `lr`, then linear decay to zero.

    Momentum stays constant, unlike in the paper.

    Parameters
    ----------
    warmup : float
        Share of the fit before the largest learning rate is reached, from 0 to 1.
    start : float
        Share of `lr` at the beginning, from 0 to 1.
    per : {"batch", "epoch"}
        How often the rate changes.

    References
    ----------
    Smith and Topin, 2018, https://arxiv.org/abs/1708.07120

    Examples
    --------
    >>> from fmnist_sk import OneCycle
    >>> OneCycle(warmup=0.5).trace(n_epochs=2, steps_per_epoch=4).round(2).tolist()
    [0.1, 0.32, 0.55, 0.78, 1.0, 0.75, 0.5, 0.25]
    """

    _parameter_constraints = {"warmup": _SHARE, "start": _SHARE, "per": _PER}

    def __init__(self, warmup: float = 0.25, start: float = 0.1, per: str = "batch"):
        self.warmup = warmup
        self.start = start
        self.per = per

    def at(self, moment: Moment) -> float:
        progress = moment.progress(self.per)
        if progress < self.warmup:
            return self.start + (1 - self.start) * progress / self.warmup
        return (1 - progress) / (1 - self.warmup) if self.warmup < 1 else 1.0


class Cosine(Schedule):
    """Half a cosine wave from `lr` down to `end` times `lr`, after a linear rise.

    ``end + (1 - end) * (1 + cos(pi * t)) / 2`` with t from 0 to 1 after the warm-up.

    Parameters
    ----------
    warmup : float
        Share of the fit during which the learning rate rises, from 0 to below 1.
    end : float
        Share of `lr` at the end, from 0 to 1.
    per : {"batch", "epoch"}
        How often the rate changes.

    References
    ----------
    Loshchilov and Hutter, 2017, https://arxiv.org/abs/1608.03983

    Examples
    --------
    >>> from fmnist_sk import Cosine
    >>> Cosine(warmup=0).trace(n_epochs=1, steps_per_epoch=4).round(2).tolist()
    [1.0, 0.85, 0.5, 0.15]
    """

    _parameter_constraints = {"warmup": [real(0, 1, "left")], "end": _SHARE, "per": _PER}

    def __init__(self, warmup: float = 0.05, end: float = 0.0, per: str = "batch"):
        self.warmup = warmup
        self.end = end
        self.per = per

    def at(self, moment: Moment) -> float:
        n = moment.n_steps if self.per == "batch" else moment.n_epochs
        done, rise = round(moment.progress(self.per) * n), self.warmup * n
        if done < rise:
            return (done + 1) / (math.ceil(rise) + 1)                # not zero: the first step counts too
        t = (done - rise) / (n - rise)
        return self.end + (1 - self.end) * (1 + math.cos(math.pi * t)) / 2


class MultiStep(Schedule):
    """A learning rate that is multiplied by `factor` at each milestone.

    Parameters
    ----------
    milestones : tuple or list of numbers
        When the rate changes: whole numbers are epochs, numbers between 0 and 1 are shares of the fit.
    factor : float
        Factor of the learning rate at each change, from 0 to 1.

    Examples
    --------
    >>> from fmnist_sk import MultiStep
    >>> MultiStep(milestones=(1, 3)).trace(n_epochs=4, steps_per_epoch=1).round(3).tolist()
    [1.0, 0.1, 0.1, 0.01]
    """

    _parameter_constraints = {"milestones": [tuple, list], "factor": _SHARE}

    def __init__(self, milestones: tuple[float, ...] = (0.5, 0.75), factor: float = 0.1):
        self.milestones = milestones
        self.factor = factor

    def _validate_params(self) -> None:
        super()._validate_params()
        epochs = [m for m in self.milestones if is_whole(m) and m >= 1]
        shares = [m for m in self.milestones if isinstance(m, numbers.Real) and 0 < m < 1]
        if len(epochs) + len(shares) < len(self.milestones):
            raise ValueError("milestones must be epochs (whole numbers from 1 on) or shares of the fit (between 0 and "
                             f"1), got milestones={self.milestones!r}.")

    def at(self, moment: Moment) -> float:
        steps_per_epoch = moment.n_steps // moment.n_epochs
        passed = sum(moment.step >= (m * steps_per_epoch if isinstance(m, numbers.Integral) else m * moment.n_steps)
                     for m in self.milestones)
        return self.factor ** passed


class Exponential(Schedule):
    """A learning rate that is multiplied by `factor` after every `every` batches or epochs.

    ``Exponential(0.9, every=1 / 25, per="batch")`` multiplies by 0.9 after each of 25 parts of a fit.

    Parameters
    ----------
    factor : float
        Factor of the learning rate at each change, from 0 to 1.
    every : int or float
        Number of batches or epochs between two changes, or a share of the fit if between 0 and 1.
    per : {"batch", "epoch"}
        The unit of `every`, and how often the rate can change.

    Examples
    --------
    >>> from fmnist_sk import Exponential
    >>> Exponential(0.5).trace(n_epochs=3, steps_per_epoch=1).tolist()
    [1.0, 0.5, 0.25]
    """

    _parameter_constraints = {"factor": _SHARE, "every": [*_COUNT, real(0, 1, "neither")],
                              "per": _PER}

    def __init__(self, factor: float = 0.9, every: float = 1, per: str = "epoch"):
        self.factor = factor
        self.every = every
        self.per = per

    def at(self, moment: Moment) -> float:
        if self.every < 1:
            return self.factor ** int(min(moment.step / (self.every * moment.n_steps) + 1e-9, 2.0**62))
        return self.factor ** ((moment.step if self.per == "batch" else moment.epoch) // self.every)


class ReduceOnPlateau(Schedule):
    """A learning rate that is multiplied by `factor` when a score has not improved for more than `patience` epochs.

    Epochs are counted as in PyTorch's ReduceLROnPlateau.

    Parameters
    ----------
    monitor : str
        Score in the history: "train_loss", "train_acc", or with validation images "valid_loss", "valid_acc", ...;
        losses are better when lower, others when higher.
    patience : int
        Consecutive epochs without a better score that are tolerated; the next such epoch reduces the rate.
    factor : float
        Factor of the learning rate at each reduction, from 0 to 1.
    threshold : float
        Smallest relative change that counts as better, from 0 to 1.
    end : float
        Smallest learning rate as a share of `lr`, from 0 to 1.

    Examples
    --------
    >>> from fmnist_sk import ReduceOnPlateau
    >>> losses = [{"valid_loss": loss} for loss in (0.5, 0.5, 0.5, 0.4)]
    >>> ReduceOnPlateau(patience=1).trace(n_epochs=4, steps_per_epoch=1, rows=losses).tolist()
    [1.0, 1.0, 1.0, 0.1]
    """

    _parameter_constraints = {"monitor": [str], "patience": [whole(0)],
                              "factor": _SHARE, "threshold": _SHARE, "end": _SHARE}
    per = "epoch"

    def __init__(self, monitor: str = "valid_loss", patience: int = 10, factor: float = 0.1, threshold: float = 1e-4,
                 end: float = 0.0):
        self.monitor = monitor
        self.patience = patience
        self.factor = factor
        self.threshold = threshold
        self.end = end

    def _validate_params(self) -> None:
        super()._validate_params()
        if self.monitor in ("epoch", "dur", "lr") or self.monitor.endswith(("_best", "_batch_count")):
            raise ValueError("monitor must be a score in the history, such as 'valid_loss' or 'train_acc', got "
                             f"monitor={self.monitor!r}.")

    @property
    def monitored(self) -> str | None:
        return self.monitor

    def at(self, moment: Moment) -> float:
        sign = 1 if self.monitor.endswith("loss") else -1
        best, bad, reductions = math.inf, 0, 0
        for row in moment.rows:
            if not isinstance(row.get(self.monitor), numbers.Real):
                raise ValueError(f"monitor must be a score in the history ({', '.join(sorted(map(str, row)))}; those "
                                 f"of validation need validation images), got monitor={self.monitor!r}.")
            score = sign * row[self.monitor]
            if score < best - self.threshold * abs(best) or best == math.inf > score:
                best, bad = score, 0
            else:
                bad += 1
            if bad > self.patience:
                reductions, bad = reductions + 1, 0
        return max(self.factor ** reductions, self.end)


class TorchSchedule(Schedule):
    """Any of PyTorch's learning-rate schedulers.

    Parameters
    ----------
    scheduler : class of torch.optim.lr_scheduler, or function
        A function takes an optimizer and returns a scheduler.
    settings : dict, optional
        Keyword arguments of `scheduler` besides the optimizer.
    per : {"batch", "epoch"}
        How often the scheduler steps.
    monitor : str
        The score in the history that is passed to ReduceLROnPlateau; other schedulers do not use it.

    Examples
    --------
    >>> import torch
    >>> from fmnist_sk import TorchSchedule
    >>> schedule = TorchSchedule(torch.optim.lr_scheduler.StepLR, {"step_size": 2, "gamma": 0.5})
    >>> schedule.trace(n_epochs=5, steps_per_epoch=1).tolist()
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    _parameter_constraints = {"scheduler": [callable], "settings": [dict, None], "per": _PER, "monitor": [str]}

    def __init__(self, scheduler: type[LRScheduler], settings: dict | None = None, per: str = "epoch",
                 monitor: str = "valid_loss"):
        self.scheduler = scheduler
        self.settings = settings
        self.per = per
        self.monitor = monitor

    @property
    def monitored(self) -> str | None:
        kind = self.scheduler.func if isinstance(self.scheduler, functools.partial) else self.scheduler
        follows = isinstance(kind, type) and "metrics" in inspect.signature(kind.step).parameters
        return self.monitor if follows else None

    def run(self, optimizer: Optimizer, n_epochs: int, steps_per_epoch: int) -> ScheduleRun:
        return TorchRun(self, optimizer, n_epochs, steps_per_epoch)


SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "multi_step": MultiStep,
    "exponential": Exponential,
    "reduce_on_plateau": ReduceOnPlateau,
    "cosine": Cosine,
    "one_cycle": OneCycle,
}


def as_schedule(schedule: Any) -> Schedule:
    """The schedule for a value of `schedule=`: a name, a schedule, or one of PyTorch's scheduler classes."""
    if isinstance(schedule, str) and schedule in SCHEDULES:
        return SCHEDULES[schedule]()
    kind = schedule.func if isinstance(schedule, functools.partial) else schedule
    if isinstance(kind, type) and issubclass(kind, LRScheduler):
        schedule = TorchSchedule(schedule)
    if not isinstance(schedule, Schedule):
        raise TypeError(f"schedule must be one of {sorted(SCHEDULES)}, a schedule such as MultiStep(), or a class of "
                        f"torch.optim.lr_scheduler, got schedule={schedule!r}.")
    schedule._validate_params()
    return schedule
