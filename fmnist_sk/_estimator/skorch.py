"""The seam to skorch: its state, its parameter protocol, and the hooks through which it runs a network.

skorch's own ``__init__`` never runs, because explicit signatures are what scikit-learn works with; the attributes it
would set are class attributes here. Each hook calls an object that knows how: see `fmnist_sk._training`.
"""
from __future__ import annotations

import dis
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.callback import CallbackSupportMixin
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EpochTimer
from skorch.history import History
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_sk._data.encoder import ImageEncoder, checked_images, encode
from fmnist_sk._data.images import Batches, Images, LabelledImages
from fmnist_sk._data.split import hold_out
from fmnist_sk._estimator.constraints import check_ready
from fmnist_sk._estimator.names import check_names
from fmnist_sk._estimator.parts import network_builder, prepare_unfitted, step_runner
from fmnist_sk._network.criterion import batch_loss, build_criterion
from fmnist_sk._network.generators import MIN_ROWS, Generators
from fmnist_sk._network.optimizer import build_optimizer, set_option
from fmnist_sk._runtime.memory import enough_memory
from fmnist_sk._runtime.parameters import set_nested
from fmnist_sk._runtime.precision import autocast, compute_dtype
from fmnist_sk._training.fit import Fit
from fmnist_sk._training.hooks import has_own
from fmnist_sk._training.passes import Pass
from fmnist_sk._training.phase import StopTraining
from fmnist_sk._training.steps import StepRunner
from fmnist_sk.augmentation import PixelRange, compile_augmentation
from fmnist_sk.callbacks import ProgressLog

LARGER_ON_CUDA = 4          # batches that need no gradients, and so less memory; there small ones take as much time


class SkorchNet(CallbackSupportMixin, NeuralNetClassifier):
    """What skorch needs to treat our classifiers as nets of its own, and scikit-learn as estimators of its own."""

    initialized_ = False
    history_: Any = None
    module_: nn.Module
    criterion_: nn.Module
    callbacks_: list[tuple[str, Any]]
    if TYPE_CHECKING:
        optimizer_: torch.optim.Optimizer

    virtual_params_: dict = {}
    _params_to_validate: frozenset[str] | set[str] = frozenset()
    prefixes_ = ["module", "criterion", "optimizer", "callbacks"]       # what "prefix__name" may be set of
    cuda_dependent_attributes_ = ["module_", "criterion_", "optimizer_"]
    _modules, _criteria, _optimizers = ["module"], ["criterion"], ["optimizer"]

    _encoder: ImageEncoder | None = None            # what was learned of the data
    _generators: Generators | None = None           # of the network that was built
    _fit: Fit | None = None                         # while one runs

    # skorch's settings that are not hyper-parameters here
    train_split = None
    classes = None
    predict_nonlinearity = "auto"
    use_caching = "auto"
    torch_load_kwargs = None
    compile = False

    # ------------------------------------------------------------------ parameters

    _get_param_names = classmethod(BaseEstimator._get_param_names.__func__)
    __repr__ = BaseEstimator.__repr__
    get_metadata_routing = BaseEstimator.get_metadata_routing

    def __new__(cls, *args, **params):
        """Raise TypeError for what no constructor takes, with what to do instead."""
        check_names(cls, args, params)
        return super().__new__(cls)

    def _prefixed_params(self) -> dict[str, Any]:
        """Those set by skorch's prefixed names, such as optimizer__betas: they are attributes of that name."""
        return {name: value for name, value in vars(self).items() if "__" in name and not name.startswith("_")}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters, with deep=True also those of nested objects, callbacks and skorch's prefixed names."""
        params = BaseEstimator.get_params(self, deep=deep)
        return {**params, **self._get_params_callbacks(), **self._prefixed_params()} if deep else params

    def set_params(self, **params):
        """Set parameters of this estimator, of nested objects (``augment__p``) and of skorch's parts.

        What a fitted classifier predicts does not change, but for `tta` and `precision`: other parameters, also
        ``module__*`` and ``criterion__*``, count from the next fit on. In further training (partial_fit, warm_start)
        count `lr`, `weight_decay`, ``optimizer__*``, `criterion`, `label_smoothing`, ``criterion__*`` and those of the
        training loop; to set an attribute, ``net.lr = 0.01``, does the same.

        Raises ValueError or TypeError for names and callbacks that there are not.
        """
        theirs = {name: value for name, value in params.items() if name.partition("__")[0] in self.prefixes_
                  and "__" in name}
        set_nested(self, {name: value for name, value in params.items() if name not in theirs})
        callbacks = {}
        for name, value in theirs.items():
            part, _, rest = name.partition("__")
            if not rest:
                raise ValueError(f"{name} must name a parameter of {part}, such as {part}__lr.")
            if part != "callbacks":
                setattr(self, name, value)
            elif "__" not in rest and not isinstance(value, (Callback, NoneType)):
                raise TypeError(f"{name} must be a skorch callback or None, got {name}={value!r}.")
            else:
                callbacks[name] = value
        if callbacks:
            self._params_to_validate = set(self._params_to_validate)
            try:
                super().set_params(**callbacks)
            except (AttributeError, ValueError) as error:
                reason = f"no such callback with callbacks={self.callbacks!r}." if "unpack" in str(error) else error
                raise ValueError(f"{', '.join(callbacks)} cannot be set to {list(callbacks.values())}: {reason}"
                                 ) from error
        return self

    def __setattr__(self, name, value):
        """Set an attribute. An optimizer at work is told of its learning rate, weight decay and other settings.

        A parameter may be anything until fit checks it; skorch would refuse networks and optimizers at once.
        """
        is_parameter = name in getattr(type(self), "__dataclass_fields__", ())
        if is_parameter or ("__" in name and name.partition("__")[0] in self.prefixes_):
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)
        optimizer = vars(self).get("optimizer_")
        if optimizer is None:
            return
        if name in (self._lr_name, "weight_decay"):
            set_option(optimizer, "lr" if name == self._lr_name else name, value, self.decay_biases)
        elif name.startswith("optimizer__"):
            self._apply_virtual_params({name: value})

    def __sklearn_clone__(self):
        new = super().__sklearn_clone__()
        vars(new).update({name: clone(value, safe=False) for name, value in self._prefixed_params().items()})
        return new

    @property
    def _lr_name(self) -> str:
        """The parameter that is the learning rate of the optimizer at work."""
        return "lr"

    # ------------------------------------------------------------------ parts of the net

    def initialize(self):
        """Build the network without training it, to load weights into.

        Before the first fit it is made for ten classes, and for images of `image_shape` or one-channel 28 x 28.
        """
        if self._encoder is None or self._generators is None:
            self._encoder, self._generators = prepare_unfitted(self)
        return super().initialize()

    def initialize_module(self):
        with enough_memory(self, for_batch=False):
            self._encoder.smallest_side = self._minimum_size()
            self._install(network_builder(self, self._encoder).build(self._generators.seed), is_new=True)
        return self

    def _install(self, module: nn.Sequential, is_new: bool) -> None:
        """Put a network in place on its device. is_new: whether its weights were drawn, and not loaded."""
        self._generators = Generators(self._generators.seed, self.device_)
        self._generators.attach(module)
        self.module_ = module.to(self.device_).to(memory_format=torch.channels_last)
        if is_new:                  # now, because later it may have hooks, which would see the trial
            self._generators.draws_globally(self.module_, self._encoder.network_shape)
        self._prepare_network(self.module_.get_submodule("network"), is_new)

    def _prepare_network(self, network: nn.Module, is_new: bool) -> None:
        """For networks that begin with weights of their own, or with frozen layers."""

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
        """Become a fitted net out of what a file holds, without drawing weights.

        The optimizer comes when it is asked for, because PyTorch then imports for seconds. Raises ValueError for
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
        """skorch's; weights in channels_last order, which safetensors does not take, are written as usual."""
        files = {"f_params": f_params, "f_optimizer": f_optimizer, "f_criterion": f_criterion, "f_history": f_history}
        with _contiguous(self.module_) if use_safetensors and f_params is not None else nullcontext():
            super().save_params(**files, use_safetensors=use_safetensors, **kwargs)

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there is a whole network, also one that was loaded or is not trained yet."""
        return self.initialized_

    if not TYPE_CHECKING:           # to a type checker, any attribute would exist
        def __getattr__(self, name):
            if name == "optimizer_" and vars(self).get("initialized_"):          # of a net that was loaded
                self._initialize_optimizer()
                return vars(self)["optimizer_"]
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def _default_callbacks(self):
        return [("epoch_timer", EpochTimer()), ("print_log", ProgressLog())]

    def trim_for_prediction(self):
        """Free what only training needs; the loss stays, because probabilities are made by it."""
        kept = {name: getattr(self, name) for name in ("criterion", "criterion_", "optimizer")}
        super().trim_for_prediction()
        vars(self).update(kept)

    # ------------------------------------------------------------------ data

    def check_data(self, X, y=None):
        """Data are checked in fit."""

    def get_dataset(self, X, y=None) -> Images:
        """X as Images on the classifier's device; with labels y as LabelledImages."""
        check_ready(self)
        if isinstance(X, Images):
            return X
        if isinstance(X, Mapping):              # of a batch
            return Images(X["x"])
        checked = checked_images(self, X, reset=False)
        if y is None:
            return self._encoder.images(checked)
        return self._encoder.validation_images(checked, encode(y, len(checked)), None)

    def get_split_datasets(self, X: LabelledImages, y=None, **fit_params
                           ) -> tuple[LabelledImages, LabelledImages | None]:
        """Training images and validation images: `validation_data`, a stratified part of X, or None."""
        if self.validation_data is not None:
            return X, self._given_validation_images(X.class_factors)
        if self.validation_fraction is None:
            return X, None
        return hold_out(X, self.validation_fraction, self._generators.seed)

    def _given_validation_images(self, class_factors: Tensor | None) -> LabelledImages:
        if len(self.validation_data) != 2:
            raise ValueError(f"validation_data must be a pair (X, y), got {len(self.validation_data)} items.")
        X, y = self.validation_data
        try:
            checked = checked_images(self, X, reset=False)
            return self._encoder.validation_images(checked, encode(y, len(checked)), class_factors)
        except (TypeError, ValueError) as error:
            raise type(error)(f"validation_data must be like the training data: {error}") from error

    def get_iterator(self, dataset: Images, training: bool = False) -> Batches:
        """Whole batches: shuffled and augmented if for training, in order if not."""
        def guard():
            return enough_memory(self)
        if not training:
            size = self.batch_size * (LARGER_ON_CUDA if self.device_.type == "cuda" else 1)
            return Batches(dataset, size, guard=guard)
        low, high = self._encoder.value_range or (0.0, 1.0)
        change = compile_augmentation(self.augment, self.classes_, PixelRange(low, high), self._generators.draw)
        return Batches(dataset, self.batch_size, self._generators.shuffle, change, guard)

    # ------------------------------------------------------------------ steps

    def fit_loop(self, X: LabelledImages, y=None, epochs=None, **fit_params):
        """Train on X as `fit` has prepared it."""
        if self._fit is None:
            raise TypeError("fit_loop runs within fit and partial_fit: call one of them.")
        self.check_training_readiness()
        self._fit.run()
        return self

    def run_single_epoch(self, iterator, training: bool, prefix: str, step_fn: Callable, **fit_params) -> None:
        """One pass over the batches, of which the history gets losses and accuracies."""
        if iterator is not None:
            scores = Pass(self, training, prefix)
            for batch in scores.over(iterator):
                scores.add(batch, step_fn(batch, **fit_params))
            scores.finish()

    def _steps(self) -> StepRunner:
        return step_runner(self, own_hooks(self)) if self._fit is None else self._fit.steps

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
        """Mean loss of logits (n, n_classes): of soft targets where images were mixed, and weighted with weights."""
        return batch_loss(self.criterion_, y_pred, y_true, X)

    def infer(self, x, **fit_params) -> Tensor:
        """Logits (n, n_classes) float32 of a batch: pixels (n, C, H, W), or the mapping that Batches yields."""
        pixels = x["x"] if isinstance(x, Mapping) else x
        pixels = pixels.to(self.device_).float().contiguous(memory_format=torch.channels_last)
        dtype = compute_dtype(self.precision, self.device_)
        with autocast(dtype, self.device_), self._generators.around(self.module_, self._encoder.network_shape):
            return self.module_(pixels).float()

    def evaluation_step(self, batch, training: bool = False) -> Tensor:
        inputs, codes = batch
        pixels = inputs["x"]
        short = max(0, MIN_ROWS - len(pixels))
        padded = F.pad(pixels, (0, 0) * (pixels.ndim - 1) + (0, short)) if short else pixels
        with enough_memory(self):
            return super().evaluation_step(({"x": padded}, codes), training)[:len(pixels)]

    def _set_training(self, training: bool = True) -> None:
        if self.module_.training != training:
            super()._set_training(training)

    def notify(self, method_name, **kwargs):
        """Call the callbacks' hook. skorch's callbacks end fits by raising KeyboardInterrupt; Ctrl-C is no such end."""
        try:
            super().notify(method_name, **kwargs)
        except KeyboardInterrupt as stop:
            if method_name in ("on_train_begin", "on_train_end") or not _has_raise_statement(stop):
                raise
            raise StopTraining from stop

    # ------------------------------------------------------------------ what was learned

    def _learned(self) -> ImageEncoder:
        if self._encoder is None:
            raise AttributeError(f"{type(self).__name__!r} object has not learned that yet: call fit first.")
        return self._encoder

    @property
    def classes_(self) -> np.ndarray:
        return self._learned().classes

    @property
    def image_shape_(self) -> tuple[int, int, int]:
        return self._learned().image_shape

    @property
    def value_range_(self) -> tuple[float, float] | None:
        return self._learned().value_range

    @property
    def device_(self) -> torch.device:
        return self._learned().device

    @property
    def n_iter_(self) -> int:
        if not isinstance(self.history_, History):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute 'n_iter_' before it is fitted.")
        return len(self.history_)

    # ------------------------------------------------------------------ pickling

    def _check_device(self, requested_device, map_device):
        return None if requested_device is None else super()._check_device(requested_device, map_device)

    def __getstate__(self):
        return {name: value for name, value in super().__getstate__().items() if name != "_fit"}

    def __setstate__(self, state):
        if vars(self):
            raise TypeError(f"{type(self).__name__} takes a state only while it is copied or unpickled.")
        asked, encoder = state["device"], state.get("_encoder")
        super().__setstate__({**state, "device": asked or (encoder.device.type if encoder else "cpu")})
        if asked is None:
            self.device = None
        if "module_" in vars(self):
            self._encoder.device = next(self.module_.parameters()).device
            self._generators = self._generators.on(self.device_)
            self._generators.attach(self.module_)


STEP_HOOKS = "train_step", "train_step_single", "validation_step", "get_loss", "infer"


def own_hooks(net: SkorchNet) -> frozenset[str]:
    """Which hooks of a step are code of the net's own class, or of the net itself."""
    return frozenset(name for name in STEP_HOOKS if has_own(net, SkorchNet, name))


@contextmanager
def _contiguous(module: nn.Module) -> Iterator[None]:
    """Within this context a module's weights are in usual order."""
    module.to(memory_format=torch.contiguous_format)
    try:
        yield
    finally:
        module.to(memory_format=torch.channels_last)


def _has_raise_statement(error: BaseException) -> bool:
    """Whether a `raise` made the exception. A signal strikes at any other instruction."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and \
        dis.opname[trace.tb_frame.f_code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"
