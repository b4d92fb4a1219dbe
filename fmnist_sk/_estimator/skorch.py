"""The seam to skorch: its state, its parameter protocol, and the hooks through which it runs a network.

skorch's own ``__init__`` never runs, because explicit signatures are what scikit-learn works with; the attributes it
would set are class attributes here.
"""
from __future__ import annotations

import dis
from collections.abc import Mapping
from contextlib import contextmanager, nullcontext
from types import NoneType

import torch
from sklearn.base import BaseEstimator, clone
from sklearn.callback import CallbackSupportMixin
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EpochTimer
from torch import Tensor
from torch.nn import functional as F

from fmnist_sk._data.images import Images
from fmnist_sk._network.build import MIN_ROWS, Parts
from fmnist_sk._network.random import DrawFrom, use_generator
from fmnist_sk._runtime.parameters import set_nested
from fmnist_sk.callbacks import ProgressLog


class StopTraining(Exception):
    """A callback asked for the end of the fit."""


class SkorchNet(Parts, CallbackSupportMixin, NeuralNetClassifier):
    """What skorch needs to treat our classifiers as nets of its own, and scikit-learn as estimators of its own."""

    initialized_ = False
    history_ = None
    virtual_params_ = {}
    _params_to_validate = frozenset()
    prefixes_ = ["module", "criterion", "optimizer", "callbacks"]       # what "prefix__name" may be set of
    cuda_dependent_attributes_ = ["module_", "criterion_", "optimizer_"]
    _modules, _criteria, _optimizers = ["module"], ["criterion"], ["optimizer"]
    _live_lr = "lr"         # the parameter that is the learning rate of the optimizer at work

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

    def _prefixed_params(self) -> dict:
        """Those set by skorch's prefixed names, such as optimizer__betas: they are attributes of that name."""
        return {name: value for name, value in vars(self).items() if "__" in name and not name.startswith("_")}

    def get_params(self, deep: bool = True) -> dict:
        """The parameters, with deep=True also those of nested objects, callbacks and skorch's prefixed names."""
        params = BaseEstimator.get_params(self, deep=deep)
        return {**params, **self._get_params_callbacks(), **self._prefixed_params()} if deep else params

    def set_params(self, **params):
        """Set parameters of this estimator, of nested objects (``augment__p``) and of skorch's parts.

        ``module__*``, ``criterion__*``, ``optimizer__*`` and ``callbacks__*`` go to skorch. On a fitted classifier
        ``lr``, ``weight_decay``, ``criterion``, ``label_smoothing``, ``criterion__*`` and ``optimizer__*`` take effect
        on further training (partial_fit, warm_start).
        """
        ours = {name: value for name, value in params.items()
                if "__" not in name or name.partition("__")[0] not in self.prefixes_}
        set_nested(self, ours)
        if self._live_lr in ours and self.initialized_:
            self._apply_virtual_params({"lr": ours[self._live_lr]})
        if "weight_decay" in ours and self.initialized_:
            for group in self.optimizer_.param_groups:
                if self.decay_biases or any(parameter.ndim > 1 for parameter in group["params"]):
                    group["weight_decay"] = self.weight_decay
        if theirs := {name: value for name, value in params.items() if name not in ours}:
            self._params_to_validate = set(self._params_to_validate)
            for name, value in theirs.items():
                part, _, rest = name.partition("__")
                if not rest:
                    raise ValueError(f"{name} must name a parameter of {part}, such as {part}__lr.")
                if part == "callbacks" and "__" not in rest and not isinstance(value, (Callback, NoneType)):
                    raise TypeError(f"{name} must be a skorch callback or None, got {name}={value!r}.")
            try:
                super().set_params(**theirs)
            except (AttributeError, ValueError) as error:
                reason = f"no such callback with callbacks={self.callbacks!r}." if "unpack" in str(error) else error
                raise ValueError(f"{', '.join(theirs)} cannot be set to {list(theirs.values())}: {reason}") from error
            for name, value in theirs.items():      # skorch tells a live optimizer only; a refit needs them too
                if name.startswith("optimizer__") and not name.startswith("optimizer__param_groups__"):
                    setattr(self, name, value)
        return self

    def __sklearn_clone__(self):
        new = super().__sklearn_clone__()
        vars(new).update({name: clone(value, safe=False) for name, value in self._prefixed_params().items()})
        return new

    def __setattr__(self, name, value):
        """A parameter may be anything until fit checks it; skorch would refuse networks and optimizers at once."""
        if name in getattr(type(self), "__dataclass_fields__", ()):
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    # ------------------------------------------------------------------ parts of the net

    def initialize(self):
        """Build the network without training it, to load weights into.

        Before the first fit it is made for ten classes, and for images of `image_shape` or one-channel 28 x 28.
        """
        if not hasattr(self, "_seed"):          # the last thing that a fit learns before it builds the network
            self._prepare_unfitted()
        vars(self).pop("_built_for", None)
        return super().initialize()

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there is a whole network, also one that was loaded or is not trained yet."""
        return self.initialized_

    def __getattr__(self, name):
        if name == "optimizer_" and vars(self).get("initialized_"):          # of a net that was loaded
            self._initialize_optimizer()
            return vars(self)["optimizer_"]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def _default_callbacks(self):
        return [("epoch_timer", EpochTimer()), ("print_log", ProgressLog())]

    # ------------------------------------------------------------------ data and steps

    def check_data(self, X, y=None):
        """Data are checked in fit."""

    def get_dataset(self, X, y=None) -> Images:
        """X as Images on the classifier's device."""
        return X if isinstance(X, Images) else self._prediction_images(X)

    def infer(self, x, **fit_params) -> Tensor:
        """Logits (n, n_classes) float32 of a batch: pixels (n, C, H, W), or the mapping that Batches yields."""
        pixels = x["x"] if isinstance(x, Mapping) else x
        pixels = pixels.to(self.device_).float().contiguous(memory_format=torch.channels_last)
        with self._autocast(), self._random_layers():
            return self.module_(pixels).float()

    def _random_layers(self):
        """Where random layers other than ours draw from during training."""
        if not self.module_.training:
            return nullcontext()
        if self._draws is None:         # the network was loaded
            self._find_draws()
        return DrawFrom(self._generators["device"]) if self._draws else nullcontext()

    def evaluation_step(self, batch, training=False):
        inputs, codes = batch
        pixels = inputs["x"]
        short = max(0, MIN_ROWS - len(pixels))
        padded = F.pad(pixels, (0, 0) * (pixels.ndim - 1) + (0, short)) if short else pixels
        with self._enough_memory():
            return super().evaluation_step(({"x": padded}, codes), training)[:len(pixels)]

    @contextmanager
    def _enough_memory(self, for_batch: bool = True):
        """Within this context a lack of memory becomes an error that says what to try.

        for_batch : whether it is needed for a batch, so that a smaller one may do, or for the network itself
        """
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and "DefaultCPUAllocator" not in str(error):
                raise
            needed_by, advice = f"The network of {self!r}", "use a smaller one"
            if for_batch and self.batch_size > 1:
                needed_by, advice = f"batch_size={self.batch_size}", f"try batch_size={self.batch_size // 2}"
            where = self.device_ if isinstance(error, torch.OutOfMemoryError) else "cpu"
            raise ValueError(f"{needed_by} needs more memory than there is on {where}: {advice}.") from error

    def _set_training(self, training=True):
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

    # ------------------------------------------------------------------ pickling and loading

    def _check_device(self, requested_device, map_device):
        return None if requested_device is None else super()._check_device(requested_device, map_device)

    def __getstate__(self):
        state = {name: value for name, value in super().__getstate__().items() if name != "_recorded"}
        if "_generators" in state:      # their states are plain CPU tensors, whatever device they serve
            state["_generators"] = {name: generator.get_state() for name, generator in self._generators.items()}
            state["_trained_on"] = self.device_.type
        return state

    def __setstate__(self, state):
        if vars(self):
            raise TypeError(f"{type(self).__name__} takes a state only while it is copied or unpickled.")
        asked, trained_on = state["device"], state.pop("_trained_on", "cpu")
        super().__setstate__({**state, "device": asked or trained_on})
        if asked is None:
            self.device = None
        if "_generators" in state:
            self.device_ = next(self.module_.parameters()).device
            saved, self._generators = self._generators, {}
            for name, device in (("shuffle", torch.device("cpu")), ("device", self.device_)):
                generator = torch.Generator(device).manual_seed(self._seed)
                if name == "shuffle" or device.type == trained_on:
                    generator.set_state(saved[name])
                self._generators[name] = generator
            use_generator(self.module_, self._generators["device"])


def _has_raise_statement(error: BaseException) -> bool:
    """Whether a `raise` made the exception. A signal strikes at any other instruction."""
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    return dis.opname[trace.tb_frame.f_code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"
