"""The hooks through which skorch runs a network; each delegates to an object in `fmnist_sk._training`."""
from __future__ import annotations

import dis
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch
from skorch.callbacks import EpochTimer
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_sk._data.encoder import ImageEncoder, checked_images, encode
from fmnist_sk._data.images import Batches, Images, LabelledImages
from fmnist_sk._data.split import hold_out
from fmnist_sk._estimator.constraints import check_ready
from fmnist_sk._estimator.parts import network_builder, prepare_unfitted
from fmnist_sk._estimator.protocol import NetProtocol
from fmnist_sk._network.build import StandardizedNetwork
from fmnist_sk._network.criterion import batch_loss, build_criterion
from fmnist_sk._network.generators import Generators
from fmnist_sk._network.layers import in_memory_format
from fmnist_sk._network.optimizer import build_optimizer
from fmnist_sk._network.rows import MIN_ROWS, rows_for
from fmnist_sk._runtime.memory import enough_memory
from fmnist_sk._runtime.precision import autocast, compute_dtype
from fmnist_sk._training.hooks import has_own
from fmnist_sk._training.passes import Pass
from fmnist_sk._training.phase import StopTraining
from fmnist_sk._training.steps import StepRunner
from fmnist_sk.augmentation import compile_augmentation
from fmnist_sk.callbacks import ProgressLog

LARGER_ON_CUDA = 4          # for batches without gradients, which need less memory; small ones would take as long


class SkorchNet(NetProtocol):
    """What skorch needs to treat our classifiers as its own nets."""

    # ------------------------------------------------------------------ parts of the net

    def initialize(self):
        """Build the network without training it, for example to load weights.

        Before the first fit it is made for ten classes, and for images of `image_shape` or one-channel 28 x 28.
        """
        if not hasattr(self, "_generators"):         # the last thing that a fit creates before the network
            self._encoder, self._generators = prepare_unfitted(self)
        return super().initialize()

    def initialize_module(self):
        with enough_memory(self):
            self._encoder.smallest_side = self._minimum_size()
            self._install(network_builder(self, self._encoder).build(self._generators.seed), is_new=True)
        return self

    def _install(self, module: StandardizedNetwork, is_new: bool) -> None:
        """Put a network in place on its device. is_new: whether its weights were drawn rather than loaded."""
        self._generators = Generators(self._generators.seed, self.device_)
        self._generators.attach(module)
        self.module_ = in_memory_format(module.to(self.device_), module.memory_format)
        if is_new:                  # now, because hooks added later would see the trial
            self._generators.draws_globally(self.module_, self._encoder.network_shape)
        self._prepare_network(self.module_.network, is_new)

    def initialize_criterion(self):
        self.criterion_ = build_criterion(self.criterion, self.get_params_for("criterion"), self.label_smoothing,
                                          self.device_)
        return self

    def initialize_optimizer(self):
        self.optimizer_ = build_optimizer(
            self.optimizer, list(self.get_all_learnable_params()), lr=self.lr, momentum=self.momentum,
            weight_decay=self.weight_decay, decay_biases=self.decay_biases, settings=self.get_params_for("optimizer"))
        return self

    def restore(self, encoder: ImageEncoder, seed: int, module: dict[str, Tensor], criterion: dict[str, Tensor],
                history: Iterable[dict]) -> None:
        """Become a fitted net from the content of a file, without drawing weights.

        The optimizer is created only on access, because PyTorch then spends seconds on imports. Raises ValueError for
        states of other networks.
        """
        self._encoder, self._generators = encoder, Generators(seed, encoder.device)
        encoder.smallest_side = self._minimum_size()
        self._initialize_virtual_params()
        self._initialize_callbacks()
        self._install(network_builder(self, encoder).restore(module, seed), is_new=False)
        self.initialize_criterion()
        self.criterion_.load_state_dict(criterion)
        self._initialize_history()
        self.history_.extend({"batches": [], **row} for row in history)
        self.initialized_ = True

    def save_params(self, f_params=None, f_optimizer=None, f_criterion=None, f_history=None, use_safetensors=False,
                    **kwargs):
        """As skorch's; weights in channels_last order, which safetensors does not accept, are written contiguously."""
        files = {"f_params": f_params, "f_optimizer": f_optimizer, "f_criterion": f_criterion, "f_history": f_history}
        with _contiguous(self.module_) if use_safetensors else nullcontext():
            super().save_params(**files, use_safetensors=use_safetensors, **kwargs)

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there is a complete network, even one that was loaded or is not trained yet."""
        return self.initialized_

    if not TYPE_CHECKING:           # or any attribute would exist for a type checker
        def __getattr__(self, name):
            if name == "optimizer_" and self.__dict__.get("initialized_"):          # of a net that was loaded
                self._initialize_optimizer()
                return self.__dict__["optimizer_"]
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def _default_callbacks(self):
        return [("epoch_timer", EpochTimer()), ("print_log", ProgressLog())]

    def trim_for_prediction(self):
        """Free what only training needs; the loss stays, because it computes probabilities."""
        self.check_is_fitted()
        kept = {name: getattr(self, name) for name in ("criterion", "criterion_", "optimizer")}
        super().trim_for_prediction()
        self.__dict__.update(kept)

    # ------------------------------------------------------------------ data

    def check_data(self, X, y=None):
        """Data are checked in fit."""

    def get_dataset(self, X, y=None) -> Images:
        """X as Images on the classifier's device; with labels y as LabelledImages."""
        if isinstance(X, Images):
            return X
        check_ready(self)
        if isinstance(X, dict) and isinstance(pixels := dict.get(X, "x"), Tensor):       # of a batch
            shape = self._encoder.network_shape
            if self._fit is None and pixels.shape[1:] != shape:
                raise ValueError(f"X[\"x\"] must hold images (n, channels, height, width) of the network's shape "
                                 f"{shape}, got shape {tuple(pixels.shape)}.")
            return Images(pixels)
        checked = checked_images(self, X, shape=self.image_shape_)
        if y is None:
            return self._encoder.images(checked)
        return self._encoder.validation_images(checked, encode(y, len(checked)), None)

    def get_split_datasets(self, X: LabelledImages, y=None, **fit_params
                           ) -> tuple[LabelledImages, LabelledImages | None]:
        """Training and validation images; the latter are `validation_data`, a stratified part of X, or None."""
        if self.validation_data is not None:
            return X, self._given_validation_images(self.validation_data, X.class_factors)
        if self.validation_fraction is None:
            return X, None
        return hold_out(X, self.validation_fraction, self._generators.seed)

    def _given_validation_images(self, given: tuple, class_factors: Tensor | None) -> LabelledImages:
        X, y = given
        try:
            checked = checked_images(self, X, shape=self.image_shape_)
            return self._encoder.validation_images(checked, encode(y, len(checked)), class_factors)
        except (TypeError, ValueError) as error:
            raise type(error)(f"validation_data must be like the training data: {error}") from error

    def get_iterator(self, dataset: Images, training: bool = False) -> Batches:
        """Whole batches: labelled images are shuffled and augmented for training; all others are in order."""
        def guard(n_images):
            return enough_memory(self, n_images)
        if not (training and isinstance(dataset, LabelledImages)):
            size = self.batch_size * (LARGER_ON_CUDA if self.device_.type == "cuda" else 1)
            return Batches(dataset, size, guard=guard)
        change = compile_augmentation(self.augment, self.classes_, self._encoder.pixel_range, self._generators.draw)
        teacher = None if self._fit is None else self._fit.teacher
        return Batches(dataset, self.batch_size, self._generators.shuffle, change, guard, teacher)

    # ------------------------------------------------------------------ steps

    def fit_loop(self, X: LabelledImages, y=None, epochs=None, **fit_params):
        """Train on X as `fit` has prepared it."""
        if self._fit is None:
            raise TypeError("fit_loop runs within fit and partial_fit: call one of them.")
        self._fit.run()
        return self

    def run_single_epoch(self, iterator, training: bool, prefix: str, step_fn: Callable, **fit_params) -> None:
        """One pass over the batches, which records losses and accuracies in the history."""
        if iterator is not None:
            scores = Pass(self, training, prefix)
            for batch in scores.over(iterator):
                scores.add(batch, step_fn(batch, **fit_params))
            scores.finish()

    def _steps(self) -> StepRunner:
        if self._fit is not None:
            return self._fit.steps
        return StepRunner(self, self._generators, self._encoder.network_shape, lambda: own_hooks(self))

    def train_step(self, batch, **fit_params) -> dict[str, Tensor]:
        """One step of the optimizer: {"loss": ..., "y_pred": logits}."""
        return self._steps().default_step(batch, **fit_params)

    def train_step_single(self, batch, **fit_params) -> dict[str, Tensor]:
        """Loss and gradients of one batch."""
        return self._steps().gradient_step(batch, **fit_params)

    def validation_step(self, batch, **fit_params) -> dict[str, Tensor]:
        """Loss and logits of one batch, without gradients."""
        return self._steps().default_evaluate(batch, **fit_params)

    def get_loss(self, y_pred: Tensor, y_true: Tensor, X=None, training: bool = False) -> Tensor:
        """Mean loss of logits (n, n_classes), with soft targets if images were mixed, weighted if there are weights."""
        return batch_loss(self.criterion_, y_pred, y_true, X, training)

    def infer(self, x, **fit_params) -> Tensor:
        """Logits (n, n_classes) float32 of a batch: pixels (n, C, H, W), or the mapping that Batches yields."""
        pixels = x["x"] if isinstance(x, Mapping) else x
        pixels = pixels.to(self.device_).float().contiguous(memory_format=self.module_.memory_format)
        with autocast(self._dtype(), self.device_), self._generators.around(self.module_, self._encoder.network_shape):
            return self.module_(pixels).float()

    def evaluation_step(self, batch, training: bool = False) -> Tensor:
        inputs, codes = batch
        pixels = inputs["x"]
        with enough_memory(self, len(pixels), least=MIN_ROWS):
            short = 0 if training else self._rows_for(len(pixels)) - len(pixels)
            padded = F.pad(pixels, (0, 0) * (pixels.ndim - 1) + (0, short)) if short else pixels
            return super().evaluation_step(({"x": padded}, codes), training)[:len(pixels)]

    def _dtype(self) -> torch.dtype:
        """That of the network's arithmetic."""
        return compute_dtype(self.precision, self.device_) if self._fit is None else self._fit.steps.dtype

    def _rows_for(self, n: int) -> int:
        """In how many rows the network evaluates n images."""
        if self.device_.type != "cpu":
            return max(n, MIN_ROWS)
        return rows_for(n, self.module_, (torch.get_num_threads(), self._dtype()), self._logits_of,
                        self._encoder.noise)

    @torch.no_grad()
    def _logits_of(self, pixels: Tensor) -> Tensor:
        self._set_training(False)
        return self.infer({"x": pixels})

    def _set_training(self, training: bool = True) -> None:
        modules = (getattr(self, f"{name}_", None) for name in self._modules)
        if any(isinstance(module, nn.Module) and module.training != training for module in modules):
            super()._set_training(training)

    def notify(self, method_name, **kwargs):
        """Call the callbacks' hook. skorch's callbacks end fits with KeyboardInterrupt, which is told from Ctrl-C."""
        try:
            super().notify(method_name, **kwargs)
        except KeyboardInterrupt as stop:
            if method_name in ("on_train_begin", "on_train_end") or not _has_raise_statement(stop):
                raise
            raise StopTraining from stop


STEP_HOOKS = "train_step", "train_step_single", "validation_step", "get_loss", "infer", "run_single_epoch", "fit_loop"


def own_hooks(net: SkorchNet) -> frozenset[str]:
    """Hooks of a step that the net's own class, or the net itself, overrides."""
    return frozenset(name for name in STEP_HOOKS if has_own(net, SkorchNet, name))


@contextmanager
def _contiguous(module: StandardizedNetwork) -> Iterator[None]:
    """Context in which a module's weights are contiguous."""
    in_memory_format(module, torch.contiguous_format)
    try:
        yield
    finally:
        in_memory_format(module, module.memory_format)


def _has_raise_statement(error: BaseException) -> bool:
    """Whether a `raise` statement raised the exception; a signal strikes at other instructions."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and \
        dis.opname[trace.tb_frame.f_code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"
