"""The training loop: data, epochs, phases, schedule, validation, taking up an interrupted fit."""
from __future__ import annotations

import contextlib
import math
import numbers
from collections.abc import Callable, Generator, Iterator

import torch
from torch.nn import functional as F

from fmnist_sk._data.images import Batches, Images
from fmnist_sk._data.statistics import content_hashes, stratified_split
from fmnist_sk._estimator.skorch import StopTraining
from fmnist_sk._network.build import MIN_ROWS
from fmnist_sk._storage.fit_file import FitFile
from fmnist_sk._training.averages import BestEpoch, WeightAverage, renew_statistics
from fmnist_sk._training.checkpoint import Resumable
from fmnist_sk.augmentation import AugmentedCopies, PixelRange, as_transformers, compile_augmentation
from fmnist_sk.schedules import Schedule

LARGER_ON_CUDA = 4          # batches that need no gradients, and so less memory; there small ones take as much time


class Trainer(Resumable):
    """Runs a fit on data that live on the device, with one synchronisation per epoch."""

    _is_member = False          # of a group of networks that are trained together

    # ------------------------------------------------------------------ data

    def get_split_datasets(self, X: Images, y=None, **fit_params) -> tuple[Images, Images | None]:
        """Training images and validation images: `validation_data`, a stratified part of X, or None."""
        if self.validation_data is not None:
            return X, self._validation_images()
        if self.validation_fraction is None:
            return X, None
        # Rows are sorted by content. Copies of an image, given or made by its weight, stay together on one side.
        hashes = content_hashes(X.pixels, X.codes)[X.rows]
        copies = torch.unique_consecutive(hashes, return_inverse=True)[1]
        first = torch.cat([copies.new_ones(1), copies.diff()]).nonzero().flatten()
        n, size = len(first), self._n_held_out(len(first))
        if size >= n:
            raise ValueError(f"validation_fraction must leave images to train on, got validation_fraction={size} "
                             f"with {n} distinct images.")
        held_out = stratified_split(X.y[first], size, torch.Generator().manual_seed(self._seed))
        if not held_out.any():
            raise ValueError(f"validation_fraction={self.validation_fraction!r} needs a class with at least two "
                             f"images, got {n} distinct images of as many classes.")
        return tuple(X.take(part.nonzero().flatten()) for part in (~held_out[copies], held_out[copies]))

    def _n_held_out(self, n: int) -> int:
        """How many of n distinct images `validation_fraction` holds out."""
        share = self.validation_fraction or 0
        return share if isinstance(share, numbers.Integral) else max(1, round(share * n))

    def _with_copies(self, train: Images) -> Images:
        """The training images, enlarged by what AugmentedCopies in `augment` store."""
        for step in as_transformers(self.augment, self.classes_):
            if isinstance(step, AugmentedCopies):
                train = step.enlarge(train, self.classes_, self._generators["device"], PixelRange(*self.value_range_))
        return train

    def get_iterator(self, dataset: Images, training: bool = False) -> Batches:
        """Whole batches: shuffled and augmented if for training, in order if not."""
        if not training:
            size = self.batch_size * (LARGER_ON_CUDA if self.device_.type == "cuda" else 1)
            return Batches(dataset, size, enough_memory=self._enough_memory)
        change = compile_augmentation(self.augment, self.classes_, PixelRange(*self.value_range_),
                                      self._generators["device"])
        return Batches(dataset, self.batch_size, self._generators["shuffle"], change, self._enough_memory)

    # ------------------------------------------------------------------ the loop

    def _train(self, images: Images, epochs: int, schedule: Schedule, planned: int, file: FitFile | None = None
               ) -> Generator:
        """Train for the first `epochs` of as many as the schedule has `planned`, see `_loop`."""
        self._schedule, self.epochs_, self._planned, self._file = schedule, epochs, planned, file
        self._find_features()
        self.notify("on_train_begin", X=images, y=None)
        try:
            yield from self._loop(images, epochs) if self._is_member else self._own_loop(images, epochs)
        finally:
            self._set_training(False)
            for name in ("_schedule", "_planned", "_file", "_run", "_average", "_class_factors",    # of this fit only
                         "_recorded", "_recordable"):
                vars(self).pop(name, None)
        self._check_last_step(images)
        self.notify("on_train_end", X=images, y=None)
        if file is not None:
            file.finish()

    def _own_loop(self, images: Images, epochs: int) -> Generator:
        self.fit_loop(images, epochs=epochs)
        yield from ()

    def fit_loop(self, X: Images, y=None, epochs=None, **fit_params):
        """Train for `epochs` passes over X, then go back to the best one if `keep_best` says so."""
        for _ in self._loop(X, epochs):
            pass
        return self

    def _loop(self, images: Images, epochs: int) -> Generator:
        """The epochs of a fit. Of a member of a group, it yields batches and is sent their loss and logits."""
        train, valid = self.get_split_datasets(images)
        best = BestEpoch(self) if valid is not None else None
        saved = self._file.content if self._file is not None else None
        left = epochs
        try:
            for index, (parts, n_epochs) in enumerate(self._phases(self._with_copies(train), valid, self._planned)):
                if saved is None or index >= saved["phase"]:
                    yield from self._run_phase(index, *parts(), n_epochs, min(n_epochs, left), best, saved)
                    saved = None
                left -= n_epochs
                if left <= 0:
                    break
            if saved is not None:
                raise ValueError(f"checkpoint: {self._file.source} is of a fit with more parts; delete it to begin "
                                 "anew.")
        except StopTraining:
            pass

    def _plan(self, epochs: int) -> list[tuple[int, float]]:
        """Epochs and learning rate of each part of a fit, as it is before the first one."""
        return [(epochs, self.lr)]

    def _phases(self, train: Images, valid: Images | None, epochs: int
                ) -> Iterator[tuple[Callable[[], tuple[Images, Images | None]], int]]:
        """For each part of a fit a function that gives training and validation images, and the epochs.

        Each has the whole schedule, and begins with the best weights of the one before.
        """
        yield lambda: (train, valid), epochs

    def _run_phase(self, index: int, train: Images, valid: Images | None, n_epochs: int, n_run: int,
                   best: BestEpoch | None, saved: dict | None) -> Generator:
        """The first `n_run` of the `n_epochs` that a phase has planned."""
        batches_train, batches_valid = (part if part is None else self.get_iterator(part, training=part is train)
                                        for part in (train, valid))
        parts = {"dataset_train": train, "dataset_valid": valid}
        self._run = self._schedule.run(self.optimizer_, n_epochs, len(batches_train))
        with self._enough_memory(for_batch=False):
            self._average = WeightAverage(self.module_, self.ema, self.swa) \
                if self.ema is not None or self.swa is not None else None
        self._recorded = None
        first = len(self.history) + 1
        try:
            if saved is not None:
                first = self._take_up(saved, best)
                if saved["stopped"]:
                    raise StopTraining
            for done in range(self._run.epoch, n_run):
                if done and self._is_too_old(best, first):
                    break
                with self._epoch_context() as context:
                    yield from self._run_epoch(done + 1, n_epochs, batches_train, batches_valid, parts, best, first)
                if context.get("stop"):
                    raise StopTraining
                is_last = done + 1 == n_run or self._is_too_old(best, first)
                if (done + 1) % self.checkpoint_every == 0 or (self.keep_checkpoint and is_last):
                    self._save(index, first, best)
        except StopTraining:
            if self.keep_checkpoint and not (saved is not None and saved["stopped"]):
                self._save(index, first, best, stopped=True)
            raise
        finally:
            self._run.finish()
            if self._average is not None:
                self._average.finish()
            if best is not None:
                best.finish()

    def _is_too_old(self, best: BestEpoch | None, first: int) -> bool:
        """Whether early stopping ends the phase after this epoch."""
        return self.early_stopping and best.age(first) >= self.patience

    def _run_epoch(self, number: int, n_epochs: int, batches_train: Batches, batches_valid: Batches | None, parts: dict,
                   best: BestEpoch | None, first: int) -> Generator:
        self.notify("on_epoch_begin", **parts)
        self._run.begin_epoch(self.history[first - 1:-1])
        if self.device_.type == "cuda":
            self._record_steps(batches_train)
        if self._is_member:
            yield from self._pass(batches_train, True, "train", self._step)
        else:
            self.run_single_epoch(batches_train, True, "train", self.train_step)
        self.history.record("lr", self.optimizer_.param_groups[0]["lr"])
        if self._average is not None:
            self._average.end_epoch(number, n_epochs)
        with self._averaged():
            if self.swa is not None and self._average.is_running:
                with self._enough_memory(for_batch=False):
                    renew_statistics(self, batches_train)
            self.run_single_epoch(batches_valid, False, "valid", self.validation_step)
            if best is not None:
                best.update()
            self.notify("on_epoch_end", **parts)

    def _averaged(self):
        """Within this context the network has the average of its weights, if there is one."""
        return self._average.in_place() if self._average is not None else contextlib.nullcontext()

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """One pass over the batches. Losses and hits are summed on the device and read once, at the end.

        Callbacks' batch hooks are only called where a callback has any, because then every batch's loss is read.
        """
        if iterator is not None:
            for _ in self._pass(iterator, training, prefix, lambda batch: _returned(step_fn(batch))):
                pass

    def _pass(self, iterator, training: bool, prefix: str, step_fn: Callable[..., Generator]) -> Generator:
        per_batch = self._has_hook("on_batch_begin", "on_batch_end")
        if not per_batch:
            self.history.new_batch()           # skorch's Checkpoint reads the last batch of the history
        n_classes = len(self.classes_)
        loss, n, hits = 0.0, 0, 0
        for batch in iterator:
            if training:
                self._run.begin_batch()
            if per_batch:
                self.notify("on_batch_begin", batch=batch, training=training)
            step = yield from step_fn(batch)
            codes = batch[1]
            size = len(codes)
            loss, n = loss + step["loss"].detach() * size, n + size
            hit = step["y_pred"].detach().argmax(1) == codes
            hits = hits + (hit.sum() if training else
                           F.one_hot(torch.where(hit, codes, n_classes), n_classes + 1).sum(0))
            if training and self._average is not None:
                self._average.end_step()
            if per_batch:
                self.history.record_batch(f"{prefix}_loss", step["loss"].item())
                self.history.record_batch(f"{prefix}_batch_size", size)
                self.notify("on_batch_end", batch=batch, training=training, **step)
        loss, *hits = torch.cat([loss.reshape(1), hits.reshape(-1).float()]).tolist()
        if not math.isfinite(loss):
            self._explode(f"{'training' if training else 'validation'} loss became {loss}")
        self.history.record(f"{prefix}_batch_count", len(iterator))
        self._record(f"{prefix}_loss", loss / n, lower_is_better=True)
        if not training:
            hits, counts = hits[:n_classes], torch.bincount(iterator.data.y.cpu(), minlength=n_classes).tolist()
            self.history.record(f"{prefix}_class_acc", [hit / count if count else math.nan
                                                        for hit, count in zip(hits, counts, strict=True)])
        self._record(f"{prefix}_acc", sum(hits) / n, lower_is_better=False)

    def _explode(self, what: str) -> None:
        rate = self._live_lr
        raise ValueError(f"The {what} in epoch {self.history[-1, 'epoch']} with {rate}={getattr(self, rate)}: lower "
                         f"{rate}, check the scale of X if standardize=False, or set precision='fp32'.")

    def _check_last_step(self, images: Images) -> None:
        """Raise ValueError if the network computes no numbers after its last step, whose loss is that before it.

        Where images are held out, their loss has shown it.
        """
        if len(self.history) and "valid_loss" not in self.history[-1]:
            first = images.take(torch.arange(min(len(images), MIN_ROWS), device=self.device_))
            for logits in self.forward_iter(first, device=None):
                if not torch.isfinite(self._as_probabilities(logits)).all():
                    self._explode("network ceased to compute numbers")

    @contextlib.contextmanager
    def _epoch_context(self):
        """Tells scikit-learn's callbacks (sklearn.callback) about the epoch."""
        result = {}
        fit_context = getattr(self, "_callback_fit_ctx", None)
        if fit_context is None:
            yield result
            return
        task = fit_context.subcontext(task_name="epoch").call_on_fit_task_begin(estimator=self)
        yield result
        X, y = self._callback_data
        with self._averaged():
            result["stop"] = task.call_on_fit_task_end(
                estimator=self, X=X, y=y, reconstruction_attributes=lambda: {"n_iter_": len(self.history)})

    def _record(self, name: str, value: float, *, lower_is_better: bool) -> None:
        past = [row[name] for row in self.history[:-1] if not math.isnan(row.get(name, math.nan))]
        is_best = not math.isnan(value) and all(value < other if lower_is_better else value > other for other in past)
        self.history.record(name, value)
        self.history.record(f"{name}_best", is_best)


def _returned(value) -> Generator:
    """A generator that yields nothing."""
    return value
    yield
