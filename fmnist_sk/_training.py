"""The training loop: epochs, precision, schedule, validation, the best epoch."""
from __future__ import annotations

import contextlib
import math
import numbers
from collections.abc import Iterator

import torch
from skorch.callbacks import Callback

from fmnist_sk._batches import Batches, Images
from fmnist_sk._skorch import SkorchNet
from fmnist_sk._validation import content_hashes, stratified_split
from fmnist_sk.augmentation import PixelRange, compile_augmentation
from fmnist_sk.schedules import SCHEDULES


class _StopTraining(Exception):
    """A callback asked for the end of the fit."""


class Trainer(SkorchNet):
    """Runs a fit on data that live on the device, with one synchronisation per epoch."""

    # ------------------------------------------------------------------ precision

    def _autocast(self):
        if self._compute_dtype is torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device_.type, self._compute_dtype)

    @property
    def _compute_dtype(self) -> torch.dtype:
        if self.precision == "auto":
            return torch.bfloat16 if has_fast_bf16(self.device_) else torch.float32
        return {"bf16": torch.bfloat16, "fp32": torch.float32}[self.precision]

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
        n, size = len(first), self.validation_fraction
        size = size if isinstance(size, numbers.Integral) else max(1, round(size * n))
        if size >= n:
            raise ValueError(f"validation_fraction must leave images to train on, got validation_fraction={size} "
                             f"with {n} distinct images.")
        held_out = stratified_split(X.y[first], size, torch.Generator().manual_seed(self._seed))
        if not held_out.any():
            raise ValueError(f"validation_fraction={self.validation_fraction!r} needs a class with at least two "
                             f"images, got {n} distinct images of as many classes.")
        return tuple(X.take(part.nonzero().flatten()) for part in (~held_out[copies], held_out[copies]))

    def get_iterator(self, dataset: Images, training: bool = False) -> Batches:
        """Whole batches: shuffled and augmented if for training, in order if not."""
        if not training:
            return Batches(dataset, self.batch_size)
        draw = compile_augmentation(self.augment, self.classes_, PixelRange(*self.value_range_),
                                    self._generators["device"])
        return Batches(dataset, self.batch_size, self._generators["shuffle"], draw)

    # ------------------------------------------------------------------ the loop

    def _train(self, images: Images, epochs: int, schedule: str) -> None:
        self._schedule, self.epochs_ = SCHEDULES[schedule], epochs
        self.notify("on_train_begin", X=images, y=None)
        try:
            self.fit_loop(images, epochs=epochs)
        finally:
            self._set_training(False)
            if schedule != "constant":        # further training starts from lr again, not from the schedule's end
                self._set_learning_rate(1.0)
        self.notify("on_train_end", X=images, y=None)

    def fit_loop(self, X: Images, y=None, epochs=None, **fit_params):
        """Train for `epochs` passes over X, then go back to the best one if `keep_best` says so."""
        train, valid = self.get_split_datasets(X)
        best = _BestEpoch(self) if valid is not None else None
        try:
            for phase in self._phases(train, valid, epochs):
                self._run_phase(*phase, best)
                if best is not None:
                    best.finish()
        except _StopTraining:
            pass
        finally:
            if best is not None:
                best.finish()
        return self

    def _phases(self, train: Images, valid: Images | None, epochs: int
                ) -> Iterator[tuple[Images, Images | None, int]]:
        """Training images, validation images and epochs of each part of a fit; each has the whole schedule."""
        yield train, valid, epochs

    def _run_phase(self, train: Images, valid: Images | None, epochs: int, best: _BestEpoch | None) -> None:
        batches_train, batches_valid = (part if part is None else self.get_iterator(part, training=part is train)
                                        for part in (train, valid))
        parts = {"dataset_train": train, "dataset_valid": valid}
        self._base_lrs = [group["lr"] for group in self.optimizer_.param_groups]
        self._progress, self._step = 0.0, 1 / (epochs * len(batches_train))
        first = len(self.history) + 1
        for _ in range(epochs):
            with self._epoch_context() as context:
                self.notify("on_epoch_begin", **parts)
                self.run_single_epoch(batches_train, True, "train", self.train_step)
                self.history.record("lr", self.optimizer_.param_groups[0]["lr"])
                self.run_single_epoch(batches_valid, False, "valid", self.validation_step)
                if best is not None:
                    best.update()
                self.notify("on_epoch_end", **parts)
            if context.get("stop"):
                raise _StopTraining
            if self.early_stopping and best.age(first) >= self.patience:
                break

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
        result["stop"] = task.call_on_fit_task_end(
            estimator=self, X=X, y=y, reconstruction_attributes=lambda: {"n_iter_": len(self.history)})

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """One pass over the batches. Losses and hits are summed on the device and read once, at the end.

        Callbacks' batch hooks are only called where a callback has any, because then every batch's loss is read.
        """
        if iterator is None:
            return
        per_batch = self._has_hook("on_batch_begin", "on_batch_end")
        if not per_batch:
            self.history.new_batch()           # skorch's Checkpoint reads the last batch of the history
        loss, hits, n = 0.0, 0, 0
        for batch in iterator:
            if training and self._schedule is not SCHEDULES["constant"]:
                self._set_learning_rate(self._schedule(self._progress))
                self._progress += self._step
            if per_batch:
                self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch)
            size = len(batch[1])
            loss, n = loss + step["loss"].detach() * size, n + size
            hits = hits + (step["y_pred"].detach().argmax(1) == batch[1]).sum()
            if per_batch:
                self.history.record_batch(f"{prefix}_loss", step["loss"].item())
                self.history.record_batch(f"{prefix}_batch_size", size)
                self.notify("on_batch_end", batch=batch, training=training, **step)
        loss, hits = torch.stack([loss, hits]).tolist()
        if training and not math.isfinite(loss):
            rate = self._live_lr
            raise ValueError(f"The training loss became {loss} in epoch {self.history[-1, 'epoch']} with "
                             f"{rate}={getattr(self, rate)}: lower {rate}, check the scale of X if "
                             "standardize=False, or set precision='fp32'.")
        self.history.record(f"{prefix}_batch_count", len(iterator))
        self._record(f"{prefix}_loss", loss / n, lower_is_better=True)
        self._record(f"{prefix}_acc", hits / n, lower_is_better=False)

    def train_step_single(self, batch, **fit_params):
        """Loss and gradients of one batch."""
        self._set_training(True)
        inputs, codes = batch
        try:
            logits = self.infer(inputs)
        except ValueError as error:
            if len(codes) > 1 or "more than 1 value per channel" not in str(error):
                raise
            raise ValueError("Batch normalisation needs at least two images in a batch: raise batch_size "
                             f"(batch_size={self.batch_size}), or train on more images.") from error
        loss = self.get_loss(logits, codes, X=inputs, training=True)
        loss.backward()
        return {"loss": loss, "y_pred": logits}

    def train_step(self, batch, **fit_params):
        """One step of the optimizer."""
        self.optimizer_.zero_grad()
        step = self.train_step_single(batch)
        if self._has_hook("on_grad_computed"):
            self.notify("on_grad_computed", named_parameters=list(self.get_all_learnable_params()), batch=batch,
                        training=True)
        self.optimizer_.step()
        return step

    def notify(self, method_name, **kwargs):
        """Call the callbacks' hook. skorch's callbacks end a fit by raising KeyboardInterrupt there."""
        try:
            super().notify(method_name, **kwargs)
        except KeyboardInterrupt as stop:
            if method_name in ("on_train_begin", "on_train_end"):
                raise
            raise _StopTraining from stop

    def _set_learning_rate(self, factor: float) -> None:
        for group, base in zip(self.optimizer_.param_groups, self._base_lrs, strict=True):
            group["lr"] = base * factor

    def _has_hook(self, *names: str) -> bool:
        return any(getattr(type(callback), name) is not getattr(Callback, name)
                   for _, callback in self.callbacks_ for name in names)

    def _record(self, name: str, value: float, *, lower_is_better: bool) -> None:
        past = [row[name] for row in self.history[:-1] if not math.isnan(row.get(name, math.nan))]
        is_best = not math.isnan(value) and all(value < other if lower_is_better else value > other for other in past)
        self.history.record(name, value)
        self.history.record(f"{name}_best", is_best)


class _BestEpoch:
    """Follows the monitored validation score, and keeps the weights of the best epoch where they are wanted."""

    def __init__(self, net: Trainer):
        self.net, self.sign = net, -1 if net.monitor.endswith("loss") else 1
        self.score, self.epoch, self.weights = -math.inf, None, None

    def update(self) -> None:
        row = self.net.history[-1]
        score = self.sign * row[self.net.monitor]
        score = -math.inf if math.isnan(score) else score
        if self.epoch is None or score > self.score:
            self.score, self.epoch = score, row["epoch"]
            if self.net.keep_best:
                self.weights = {name: value.clone() for name, value in self.net.module_.state_dict().items()}

    def age(self, first: int) -> int:
        """How many epochs ago the best epoch was, of those from `first` on."""
        return self.net.history[-1]["epoch"] - max(self.epoch, first)

    def finish(self) -> None:
        self.net.best_epoch_ = self.epoch
        if self.weights is not None and self.epoch != self.net.history[-1]["epoch"]:
            self.net.module_.load_state_dict(self.weights)


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 matrices (AVX512-BF16, AMX, CUDA from Ampere)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
