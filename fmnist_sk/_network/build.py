"""What a net is made of: its network, its loss and its optimizer, built from its parameters."""
from __future__ import annotations

import copy
import inspect
import itertools
import threading
from collections import OrderedDict
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from fmnist_sk._network.layers import Standardize
from fmnist_sk._network.random import DrawFrom, draws_random_numbers, use_generator
from fmnist_sk.losses import LOSSES

OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "asgd": torch.optim.ASGD,
}
MIN_ROWS = 16        # smaller batches use other kernels: rows are added so that a prediction never depends on that


@contextmanager
def _at_most(n_parameters: int):
    """Within this context, a network of more parameters than these raises ValueError as soon as it has them."""
    thread, count = threading.get_ident(), itertools.count(1)

    def hook(module, name, parameter):
        if threading.get_ident() == thread and next(count) > n_parameters:
            raise ValueError("the settings make a much larger network than that of these weights.")

    handle = register_module_parameter_registration_hook(hook)
    try:
        yield
    finally:
        handle.remove()


class Parts:
    """The part of a net that builds them, where skorch asks for it."""

    def initialize_module(self):
        with self._enough_memory(for_batch=False):
            self._take_module(self._new_module())
            self._find_draws()
        return self

    def _take_module(self, module: nn.Sequential) -> None:
        device = self.device_
        self._generators = {"shuffle": torch.Generator().manual_seed(self._seed),
                            "device": torch.Generator(device).manual_seed(self._seed)}
        use_generator(module, self._generators["device"])
        self._draws, self._built_for = None, self._minimum_size()
        self.module_ = module.to(device).to(memory_format=torch.channels_last)

    def _find_draws(self) -> None:
        self._draws = draws_random_numbers(self.module_, torch.zeros(MIN_ROWS, *self._network_shape))

    def _initialize_with(self, module: dict[str, Tensor], criterion: dict[str, Tensor]) -> None:
        """Build the net around these states, without drawing weights. Raises ValueError for states that do not fit.

        The optimizer comes when it is asked for, because PyTorch then imports for seconds.
        """
        self._initialize_virtual_params()
        self._initialize_callbacks()
        with torch.device("meta"), _at_most(4 * len(module) + 100):
            network = self._build_network()
        for name, value in network.state_dict(keep_vars=True).items():
            given = module.get(f"network.{name}")
            if given is None or (not isinstance(value, nn.parameter.UninitializedTensorMixin)
                                 and (given.shape, given.dtype) != (value.shape, value.dtype)):
                raise ValueError(f"the network's {name} must be {value.dtype} {tuple(value.shape)}, got "
                                 f"{'none' if given is None else f'{given.dtype} {tuple(given.shape)}'}.")
        built = self._as_module(network)
        built.load_state_dict(module, assign=True)
        if any(value.is_meta for value in (*built.parameters(), *built.buffers())):     # such as buffers not saved
            built = self._new_module()
            built.load_state_dict(module)
        self._take_module(built)
        self.initialize_criterion()
        self.criterion_.load_state_dict(criterion)
        self._initialize_history()
        self.initialized_ = True

    def _new_module(self) -> nn.Sequential:
        """Standardisation and the network, with weights drawn from the seed, on the CPU."""
        with DrawFrom(torch.Generator().manual_seed(self._seed)):
            module = self._as_module(self._build_network().cpu().float())
            self._check_logits(module)
        return module

    def _as_module(self, network: nn.Module) -> nn.Sequential:
        first = [("standardize", Standardize(*self._statistics))] if self.standardize else []
        return nn.Sequential(OrderedDict([*first, ("network", network)]))

    def _build_network(self, image_shape: tuple[int, int, int] | None = None) -> nn.Module:
        """The module with what its signature asks for: in_channels, n_classes, image_shape and our own parameters."""
        image_shape = image_shape or self._network_shape
        given = self.get_params_for("module")
        template = self.module
        if isinstance(template, nn.Module):
            return type(template)(**given) if given else copy.deepcopy(template)
        wrong = TypeError("module must be an nn.Module class or instance, or a function that returns one, "
                          f"got module={template!r}.")
        try:
            accepted = inspect.signature(template).parameters
        except (TypeError, ValueError):
            raise wrong from None
        offered = {"in_channels": image_shape[0], "n_classes": len(self.classes_), "image_shape": image_shape,
                   **self._architecture_params(), **given}
        takes_all = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in accepted.values())
        settings = {name: value for name, value in offered.items() if takes_all or name in accepted or name in given}
        try:
            network = template(**settings)
        except (RuntimeError, OverflowError, MemoryError, TypeError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"module cannot be built with {settings}: {reason}") from error
        if not isinstance(network, nn.Module):
            raise wrong
        return network

    def _size_reason(self, shape: tuple[int, int, int]) -> str:
        """What the network itself says of images that are too small: which layer leaves nothing of them."""
        try:
            with DrawFrom(torch.Generator()):
                self._build_network(shape)
        except ValueError as error:
            return f": {error}"
        return "."

    def _check_logits(self, module: nn.Module) -> None:
        """One forward pass: is the module made for these images and classes? (Lazy layers get their shapes here.)"""
        expected = MIN_ROWS, len(self.classes_)
        module.eval()
        with torch.no_grad():
            try:
                with self._enough_memory(for_batch=False):
                    logits = module(torch.zeros(MIN_ROWS, *self._network_shape))
            except (RuntimeError, TypeError, ValueError) as error:
                raise ValueError(f"module cannot take images of shape {self._network_shape} "
                                 f"(channels, height, width): {error}") from error
        if not isinstance(logits, Tensor) or logits.shape != expected:
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(f"module must return logits of shape (n, n_classes), here {expected}, got {got}.")

    def initialize_criterion(self):
        """The loss: one of LOSSES by name, a class or a copy of an instance, with what is set as criterion__*."""
        given, criterion = self.get_params_for("criterion"), self.criterion
        if isinstance(criterion, nn.Module) and not given:
            self.criterion_ = copy.deepcopy(criterion).to(self.device_)
            return self
        kind = LOSSES[criterion] if isinstance(criterion, str) else criterion
        settings = {}
        if isinstance(kind, nn.Module):              # an instance's settings are kept but for those that are given
            kind, names = type(kind), inspect.signature(type(kind)).parameters
            settings = {name: getattr(criterion, name) for name in names if hasattr(criterion, name)}
        elif "label_smoothing" in inspect.signature(kind).parameters:
            settings = {"label_smoothing": self.label_smoothing}
        settings |= given
        try:
            self.criterion_ = kind(**settings).to(self.device_)
        except (TypeError, ValueError) as error:
            raise type(error)(f"criterion cannot be made with {settings}: {error}") from error
        return self

    def initialize_optimizer(self):
        self.optimizer_ = self._new_optimizer(self.optimizer, self.lr, self.get_params_for("optimizer"))
        return self

    def _new_optimizer(self, optimizer: str | type, lr: float, settings: dict) -> torch.optim.Optimizer:
        """An optimizer of all parameters that are not frozen."""
        named = [(name, p) for name, p in self.get_all_learnable_params() if p.requires_grad]
        if not named:
            raise ValueError("module must have parameters to train, but all of its parameters are frozen "
                             "(requires_grad=False).")
        if isinstance(optimizer, str):
            if optimizer == "sgd":
                settings = {"momentum": self.momentum, "nesterov": self.momentum > 0, **settings}
            optimizer = OPTIMIZERS[optimizer]
            takes_fused = "fused" in inspect.signature(optimizer).parameters and "foreach" not in settings
            if takes_fused and self.device_.type in ("cpu", "cuda"):
                settings = {"fused": all(p.is_floating_point() for _, p in named), **settings}     # one kernel a step
        decays = "weight_decay" in inspect.signature(optimizer).parameters
        if "param_groups" in settings:
            try:
                (groups,), settings = self.get_params_for_optimizer("optimizer", named)
            except (TypeError, ValueError) as error:
                raise ValueError("optimizer__param_groups must be a list of pairs (pattern of names, settings), got "
                                 f"{settings['param_groups']!r}.") from error
        elif decays and not self.decay_biases:
            groups = [{"params": [p for _, p in named if p.ndim > 1]},
                      {"params": [p for _, p in named if p.ndim <= 1], "weight_decay": 0.0}]
            groups = [group for group in groups if group["params"]]
        else:
            groups = [{"params": [p for _, p in named]}]
        defaults = {"lr": lr, "weight_decay": self.weight_decay} if decays else {"lr": lr}
        try:
            return optimizer(groups, **{**defaults, **settings})
        except (TypeError, ValueError) as error:
            raise type(error)(f"optimizer cannot be made with {({**defaults, **settings})}: {error}") from error
