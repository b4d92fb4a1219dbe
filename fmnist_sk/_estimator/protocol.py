"""A skorch net's state, its parameter protocol, and how it is pickled.

skorch's own ``__init__`` never runs, because scikit-learn requires explicit signatures; the attributes it would set are
class attributes here.
"""
from __future__ import annotations

import os
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from skorch.callbacks import Callback
from skorch.history import History
from torch import Tensor, nn

from fmnist_sk._data.encoder import ImageEncoder
from fmnist_sk._data.images import LabelledImages
from fmnist_sk._data.statistics import pixel_statistics
from fmnist_sk._estimator.constraints import check_params
from fmnist_sk._estimator.names import check_names
from fmnist_sk._network.build import StandardizedNetwork
from fmnist_sk._network.generators import Generators
from fmnist_sk._network.optimizer import set_option
from fmnist_sk._runtime.parameters import set_nested
from fmnist_sk._runtime.site import OnSite
from fmnist_sk._runtime.sklearn_callbacks import CallbackSupportMixin
from fmnist_sk._training.fit import Fit
from fmnist_sk._training.net import PhasePlan

if TYPE_CHECKING:
    from fmnist_sk._estimator.skorch_types import NeuralNetClassifier
else:
    from skorch import NeuralNetClassifier

SKORCH_STATE = ("callbacks_", "cuda_dependent_attributes_", "init_context_", "initialized_", "prefixes_",
                "virtual_params_")


class NetProtocol(OnSite, CallbackSupportMixin, NeuralNetClassifier):
    """What makes a net an estimator: attributes, parameters, copying and pickling."""

    initialized_ = False
    history_: Any = None
    module_: StandardizedNetwork
    criterion_: nn.Module
    callbacks_: list[tuple[str, Any]]
    best_epoch_: int
    n_features_in_: int
    if TYPE_CHECKING:
        optimizer_: torch.optim.Optimizer

    virtual_params_: dict = {}
    _params_to_validate: frozenset[str] | set[str] = frozenset()
    prefixes_ = ["module", "criterion", "optimizer", "callbacks"]       # parts of which "prefix__name" can be set
    cuda_dependent_attributes_ = ["module_", "criterion_", "optimizer_"]
    _modules, _criteria, _optimizers = ["module"], ["criterion"], ["optimizer"]

    if TYPE_CHECKING:               # parameters of ImageClassifier that hooks use
        module: Any
        standardize: bool | str
        image_shape: tuple[int, ...] | None
        lr: float
        batch_size: int
        max_epochs: int
        optimizer: str | type[torch.optim.Optimizer]
        momentum: float
        weight_decay: float
        decay_biases: bool
        gradient_clip: float | None
        sam_rho: float
        criterion: Any
        label_smoothing: float
        triplet_weight: float
        triplet_margin: float
        augment: Any
        ema: float | None
        swa: float | None
        teacher: Any
        teacher_weight: float
        validation_fraction: float | int | None
        validation_data: tuple | None
        monitor: str
        keep_best: bool
        early_stopping: bool
        patience: int
        checkpoint: str | os.PathLike | None
        checkpoint_every: int
        class_weight: dict | str | None
        schedule: Any
        schedule_epochs: int | None
        warm_start: bool
        keep_checkpoint: bool
        random_state: int | np.random.RandomState | None
        n_threads: int | None
        device: str | torch.device | None
        precision: str
        verbose: int

    _encoder: ImageEncoder          # what was learned from the data; missing before a fit
    _generators: Generators         # those of the network that was built
    _fit: Fit | None = None                         # while one runs

    # skorch's settings that are not hyper-parameters here
    train_split = None
    classes = None
    predict_nonlinearity = "auto"
    use_caching = "auto"
    torch_load_kwargs = None
    compile = False

    # ------------------------------------------------------------------ parameters

    _get_param_names: Any = classmethod(BaseEstimator._get_param_names.__func__)
    get_metadata_routing = BaseEstimator.get_metadata_routing

    if not TYPE_CHECKING:           # type checkers use the parameters themselves
        def __new__(cls, *args, **params):
            """Raise TypeError for arguments that the constructor does not accept, saying what to do instead."""
            check_names(cls, args, params)
            return super().__new__(cls)

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        """As code: the constructor's parameters, then those that are set afterwards."""
        settings = ", ".join(f"{name}={value!r}" for name, value in self._prefixed_params().items())
        return BaseEstimator.__repr__(self, N_CHAR_MAX) + (f".set_params({settings})" if settings else "")

    def _prefixed_params(self) -> dict[str, Any]:
        """Parameters set by skorch's prefixed names, such as optimizer__betas: attributes of that name."""
        return {name: value for name, value in self.__dict__.items() if "__" in name and not name.startswith("_")}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters; with deep=True, also those of nested objects, callbacks and skorch's prefixed names.

        Those of the teacher are not among them: it stays as it is.
        """
        params = BaseEstimator.get_params(self, deep=deep)
        params = {name: value for name, value in params.items() if not name.startswith("teacher__")}
        return {**params, **self._get_params_callbacks(), **self._prefixed_params()} if deep else params

    def set_params(self, **params):
        """Set parameters of this estimator, of nested objects (``augment__p``) and of skorch's parts.

        Of these, only `tta`, `tta_below` and `precision` change the predictions of a fitted classifier; others,
        including ``module__*`` and ``criterion__*``, take effect in the next fit. Further training (partial_fit,
        warm_start) uses new values of `lr`, `weight_decay`, ``optimizer__*``, `criterion`, `label_smoothing`,
        ``criterion__*``, `callbacks` and those of the training loop. Parameters in ``optimizer__param_groups`` keep
        their groups, and `lr` and `weight_decay`, until a new fit. Setting an attribute, ``net.lr = 0.01``, does the
        same.

        Parameters
        ----------
        **params
            New values by name.

        Returns
        -------
        ImageClassifier
            The classifier itself.

        Raises
        ------
        TypeError or ValueError
            For names and callbacks that do not exist.
        """
        theirs = {name: value for name, value in params.items() if name.partition("__")[0] in self.prefixes_
                  and "__" in name}
        self._set_nested({name: value for name, value in params.items() if name not in theirs})
        if "callbacks" in params and self.initialized_ and isinstance(self.callbacks, (list, str, NoneType)):
            self._initialize_callbacks()
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
            self.callbacks_ = [pair for pair in self.callbacks_ if pair[1] is not None]
        return self

    def _set_nested(self, params: dict[str, Any]) -> None:
        """Set parameters, and those of nested objects except the teacher, which stays as it is."""
        if fixed := [name for name in params if name.startswith("teacher__")]:
            raise ValueError(f"{fixed[0]} cannot be set: the teacher stays as it is; give another.")
        set_nested(self, params)

    def __setattr__(self, name, value):
        """Set an attribute; a running optimizer is updated with learning rate, weight decay and other settings.

        A parameter can be anything until fit checks it; skorch would reject networks and optimizers at once.
        """
        parameters = getattr(type(self), "__dataclass_fields__", ())
        is_parameter, part = name in parameters, name.partition("__")[0]
        if not is_parameter and part in parameters and part not in self.prefixes_:
            self._set_nested({name: value})                # of a nested object, such as augment__p
        elif is_parameter or ("__" in name and part in self.prefixes_):
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)
        optimizer = self.__dict__.get("optimizer_")
        if optimizer is None:
            return
        if name in (self._lr_name, "weight_decay"):
            option = "lr" if name == self._lr_name else name
            if not {"optimizer__param_groups", f"optimizer__{option}"} & set(self.__dict__):      # these come first
                set_option(optimizer.param_groups, option, value, self.decay_biases)
                if self._fit is not None:
                    self._fit.set_option(option, value)
        elif name.startswith("optimizer__"):
            self._apply_virtual_params({name: value})

    def __sklearn_clone__(self):
        new = super().__sklearn_clone__()
        new.__dict__.update({name: clone(value, safe=False) for name, value in self._prefixed_params().items()})
        new.teacher = self.teacher              # as it is, fitted or not
        return new

    def _get_params_html(self, deep: bool = True, doc_link: str = "") -> Any:
        """The parameters in scikit-learn's diagram: the constructor's, and those set by skorch's prefixed names."""
        found = super()._get_params_html(deep=True, doc_link=doc_link)
        names = [name for name in found if "__" not in name or name in self._prefixed_params()]
        found.data = {name: found.data[name] for name in names}
        found.non_default = tuple(name for name in found.non_default if name in names)
        return found

    def _get_fitted_attr_html(self, doc_link: str = "") -> Any:
        """Fitted attributes in scikit-learn's diagram, without skorch's state."""
        found = super()._get_fitted_attr_html(doc_link)
        for name in SKORCH_STATE:
            found.pop(name, None)
        return found

    # ------------------------------------------------------------------ what networks may override

    def _validate_params(self) -> None:
        """Raise ValueError or TypeError for parameters that cannot be used, alone or together."""
        check_params(self)

    def _minimum_size(self) -> int:
        """The smallest height and width that the network accepts."""
        return 1

    def _prepare_network(self, network: nn.Module, is_new: bool) -> None:
        """For networks that start with weights of their own, or with frozen layers."""

    def _plan_phases(self, epochs: int, done: int) -> list[PhasePlan]:
        """The phases of the next `epochs` of a fit, `done` epochs after its beginning."""
        return [PhasePlan(epochs, self.lr)]

    def _pixel_statistics(self, images: LabelledImages) -> tuple[Tensor, Tensor]:
        """What the standardising first layer subtracts and divides by: (channels,) each."""
        if self.standardize == "min_max":
            range_ = self._encoder.pixel_range
            return range_.low.flatten().cpu(), range_.span.flatten().cpu()
        return pixel_statistics(images.pixels, images.rows)

    @property
    def _lr_name(self) -> str:
        """The parameter that holds the current optimizer's learning rate."""
        return "lr"

    # ------------------------------------------------------------------ what was learned

    @property
    def classes_(self) -> np.ndarray:
        return self._encoder.classes

    @property
    def image_shape_(self) -> tuple[int, int, int]:
        return self._encoder.image_shape

    @property
    def value_range_(self) -> tuple[float, float] | None:
        return None if self._encoder.pixels is None else self._encoder.pixels.overall

    @property
    def device_(self) -> torch.device:
        return self._encoder.device

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
        if self.__dict__:
            raise TypeError(f"{type(self).__name__} accepts a state only while it is copied or unpickled.")
        asked, encoder = state["device"], state.get("_encoder")
        super().__setstate__({**state, "device": asked or (encoder.device.type if encoder else "cpu")})
        if asked is None:
            self.device = None
        if "module_" in self.__dict__:
            self._encoder.device = next(self.module_.parameters()).device
            self._generators = self._generators.on(self.device_)
            self._generators.attach(self.module_)
