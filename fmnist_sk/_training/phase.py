"""A part of a fit that runs a whole schedule: its epochs, averages, early stopping and checkpoints."""
from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from fmnist_sk._data.images import LabelledImages
from fmnist_sk._network.optimizer import state_after_a_step
from fmnist_sk._runtime.memory import enough_memory
from fmnist_sk._runtime.warn import warn
from fmnist_sk._storage.fit_file import checked_copy, raise_if_interrupted
from fmnist_sk._training.averages import WeightAverage, learning_parts, renew_statistics
from fmnist_sk._training.net import PhasePlan, StepBatch
from fmnist_sk._training.passes import record_mean_loss

if TYPE_CHECKING:
    from fmnist_sk._training.fit import Fit


class StopTraining(Exception):
    """A callback asks to stop the fit."""


class Phase:
    """The first `n_run` of the epochs of a plan.

    fit : the fit that it belongs to
    index : its number in the fit, from 0 on
    train, valid : images, before the plan changes them
    saved : the checkpoint that it resumes from, or None

    As a context: the schedule is active within it; at its end the network gets its averaged or best weights.
    """

    def __init__(self, fit: Fit, index: int, plan: PhasePlan, train: LabelledImages, valid: LabelledImages | None,
                 n_run: int, saved: dict | None):
        self.fit, self.net, self.index, self.plan, self.n_run = fit, fit.net, index, plan, n_run
        self.saved = saved
        self.was_stopped = saved is not None and saved["stopped"]
        plan.begin()
        self.train, self.valid = plan.images(train, valid)
        self.train_batches = self.net.get_iterator(self.train, training=True)
        self.valid_batches = None if self.valid is None else self.net.get_iterator(self.valid, training=False)
        self.schedule = fit.schedule.run(self.net.optimizer_, plan.n_epochs, len(self.train_batches))
        self.average: WeightAverage | None = None
        self.first = len(self.net.history) + 1          # the number of its first epoch
        self.done = 0                                   # epochs

    def __enter__(self) -> Phase:
        net = self.net
        with contextlib.ExitStack() as stack:
            stack.callback(self.schedule.finish)
            if net.ema is not None or net.swa is not None:
                with enough_memory(net):
                    self.average = WeightAverage(net.module_, net.ema, net.swa)
            self.fit.steps.begin_phase()
            if self.saved is not None:
                self._resume(self.saved)
                self.saved = None
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind, error, trace) -> None:
        with self._stack:
            if kind is StopTraining and self.net.keep_checkpoint and not self.was_stopped:
                self._save(stopped=True)
        if self.average is not None:
            self.average.finish()
        if self.fit.best is not None:
            self.fit.best.finish()

    def epochs(self) -> Iterator[TrainingBatches]:
        """For each epoch, the batches to train on; the rest of the epoch happens before and after."""
        if self.was_stopped:
            raise StopTraining
        while self.done < self.n_run:
            if self.done and self._is_too_old():
                return self._say_why_it_stops()
            self.fit.begin_epoch(self.train, self.valid)
            self.schedule.begin_epoch(self.net.history[self.first - 1:-1])
            self.fit.steps.begin_epoch(self.train_batches)
            yield TrainingBatches(self)
            self._end_epoch()

    def _end_epoch(self) -> None:
        net, average = self.net, self.average
        self.done += 1
        record_mean_loss(net.history, "train")
        net.history.record("lr", net.optimizer_.param_groups[0]["lr"])
        if average is not None:
            average.end_epoch(self.done, self.plan.n_epochs)
        with self.averaged():
            if net.swa is not None and average is not None and average.is_running:
                with enough_memory(net):
                    renew_statistics(net, self.train_batches)
                average.keep_statistics()
            net.run_single_epoch(self.valid_batches, training=False, prefix="valid",
                                 step_fn=self.fit.steps.evaluate)
            record_mean_loss(net.history, "valid")
            if self.fit.best is not None:
                self.fit.best.update()
            with self.fit.may_stop():
                net.notify("on_epoch_end", dataset_train=self.train, dataset_valid=self.valid)
        self.fit.end_epoch(self.averaged)
        if self.fit.stops:
            raise StopTraining
        is_last = self.done == self.n_run or self._is_too_old()
        if self.done % net.checkpoint_every == 0 or (net.keep_checkpoint and is_last):
            self._save()

    def averaged(self) -> AbstractContextManager:
        """Context in which the network has the average of its weights, if there is one."""
        return contextlib.nullcontext() if self.average is None else self.average.in_place()

    def _is_too_old(self) -> bool:
        """Whether the best epoch is so long ago that early stopping ends the phase."""
        return self.net.early_stopping and self.fit.best is not None \
            and self.fit.best.age(self.first) >= self.net.patience

    def _say_why_it_stops(self) -> None:
        """Print that early stopping ends the phase; warn if the learning rate is still high but would have fallen."""
        net, share = self.net, self.schedule.share()
        if net.verbose and self.fit.best is not None:
            print(f"early stopping: the best {net.monitor} was that of epoch {self.fit.best.epoch}")
        if share is not None and share > 0.1:
            warn(
                f"early_stopping ended training after epoch {self.done} of {self.plan.n_epochs}, with the learning "
                f"rate at {share:.0%} of its largest value: {self.fit.schedule!r} lowers it later. Networks are more "
                'accurate after a whole schedule: set early_stopping=False with fewer epochs, or schedule="constant".')

    # ------------------------------------------------------------------ checkpoints

    def _save(self, stopped: bool = False) -> None:
        """Write the state between two epochs; `stopped`: whether a callback has ended the fit."""
        net, fit = self.net, self.fit
        if fit.file is None:
            return
        fit.file.save({
            "seed": fit.generators.seed, "phase": self.index, "step": self.schedule.step, "first": self.first,
            "stopped": stopped, "history": list(net.history),
            "module": learning_parts(net).state_dict(), "optimizer": net.optimizer_.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "best": None if fit.best is None else fit.best.state_dict(),
            "generators": fit.generators.state_dict(),
        })

    def _resume(self, saved: dict) -> None:
        """Resume from a checkpoint. Raise ValueError for one of another network or optimizer."""
        net, schedule, fit = self.net, self.schedule, self.fit
        first, rows, n_steps = saved["first"], saved["history"], schedule.n_epochs * schedule.steps_per_epoch
        try:
            n_rows, n_epochs = len(rows) - first + 1, saved["step"] // schedule.steps_per_epoch
            if not (first >= 1 and 0 <= saved["step"] <= n_steps and 0 <= n_rows - n_epochs <= saved["stopped"]):
                raise ValueError("its epochs and steps are not those of this fit")
            parts = checked_copy(saved["module"], learning_parts(net).state_dict(), "module")
            optimizer = checked_copy(saved["optimizer"], state_after_a_step(net.optimizer_, saved["optimizer"]),
                                     "optimizer")
            states = checked_copy(saved["generators"], fit.generators.state_dict(), "random generator")
            if self.average is not None:
                self.average.load_state_dict(checked_copy(saved["average"], self.average.state_dict(), "average"))
            schedule.resume(saved["step"], rows[first - 1:])
            learning_parts(net).load_state_dict(parts)
            net.optimizer_.load_state_dict(optimizer)
            fit.generators.load_state_dict(states)
            if fit.best is not None:
                fit.best.load_state_dict(saved["best"])
        except Exception as error:              # a forged file can raise anything
            raise_if_interrupted(error)
            raise ValueError(f"checkpoint: {fit.source} is of another network or optimizer; delete it to start over "
                             f"({error}).") from error
        left = 0 if saved["stopped"] else fit.epochs - (len(rows) - len(net.history))
        net.history[:], self.first, self.done = rows, first, n_epochs
        if net.verbose:
            print(f"{fit.source}: " + (f"resuming after epoch {len(rows)}" if left else
                                       f"this fit is complete, with {len(rows)} epochs"))


class TrainingBatches:
    """The batches of a training epoch. Iterating over them also updates the learning rate and the averages."""

    def __init__(self, phase: Phase):
        self.phase = phase

    def __len__(self) -> int:
        return len(self.phase.train_batches)

    def __iter__(self) -> Iterator[StepBatch]:
        schedule, average = self.phase.schedule, self.phase.average
        for batch in self.phase.train_batches:
            schedule.begin_batch()
            yield batch
            if average is not None:
                average.end_step()
