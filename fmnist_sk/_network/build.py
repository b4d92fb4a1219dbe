"""A net's module: standardisation and the network, built from parameters, or around weights from a file."""
from __future__ import annotations

import copy
import inspect
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fmnist_sk._network.layers import Standardize, in_memory_format
from fmnist_sk._network.limits import at_most, check_outputs
from fmnist_sk._network.random import DrawFrom
from fmnist_sk._network.rows import MIN_ROWS
from fmnist_sk._runtime.graphs import is_own_code
from fmnist_sk._runtime.parameters import check_arguments


class StandardizedNetwork(nn.Sequential):
    """The layers "standardize" (optional) and "network".

    is_channels_last : whether the network takes weights and images in channels_last order, which is faster; code such
        as ``x.view(len(x), -1)`` fails then
    """

    standardize: Standardize
    network: nn.Module
    is_channels_last = True

    @property
    def memory_format(self) -> torch.memory_format:
        """That of weights and images."""
        return torch.channels_last if self.is_channels_last else torch.contiguous_format

    def scaled(self, x: Tensor) -> Tensor:
        """Input of the network for pixels x (n, channels, height, width)."""
        return self.standardize(x) if "standardize" in self._modules else x


class NetworkBuilder:
    """Builds a network for images of one shape and a number of classes.

    module : nn.Module class or instance, or a function that returns one
    offered : settings passed if the module's signature names them
    given : settings that are always passed (``module__*``)
    image_shape : (channels, height, width) of the network's input
    n_classes : length of its logits
    standardize : (mean, std), (channels,) each, of the layer before the network, or None for none
    """

    def __init__(self, module: Any, offered: dict[str, Any], given: dict[str, Any], image_shape: tuple[int, int, int],
                 n_classes: int, standardize: tuple[Tensor, Tensor] | None):
        self.module, self.offered, self.given = module, offered, given
        self.image_shape, self.n_classes, self.standardize = image_shape, n_classes, standardize

    def build(self, seed: int) -> StandardizedNetwork:
        """Standardisation and network on the CPU, with weights drawn from the seed."""
        with DrawFrom(torch.Generator().manual_seed(seed)):
            module = self._with_standardize(self.network(self.image_shape).cpu().float())
            self._check_logits(module)
        self._choose_memory_format(module)
        return module

    def restore(self, state: dict[str, Tensor], seed: int) -> StandardizedNetwork:
        """The same with weights from a file, without drawing any. Raises ValueError for weights of other networks."""
        with torch.device("meta"), at_most(4 * len(state) + 60), torch.no_grad():
            module = self._with_standardize(self.network(self.image_shape))
        for name, value in module.state_dict(keep_vars=True).items():
            given = state.get(name)
            if given is None or (not isinstance(value, (nn.UninitializedParameter, nn.UninitializedBuffer))
                                 and (given.shape, given.dtype) != (value.shape, value.dtype)):
                found = "none" if given is None else f"{given.dtype} {tuple(given.shape)}"
                raise ValueError(f"the network's {name.removeprefix('network.')} must be {value.dtype} "
                                 f"{tuple(value.shape)}, got {found}.")
        module.load_state_dict(state, assign=True)
        check_outputs(module, self.image_shape)
        if any(value.is_meta for value in (*module.parameters(), *module.buffers())):     # such as unsaved buffers
            module = self.build(seed)
            module.load_state_dict(state)
        else:
            self._choose_memory_format(module)
        return module

    def network(self, image_shape: tuple[int, int, int]) -> nn.Module:
        """The network alone, for images of this shape. Raises TypeError or ValueError if it cannot be built."""
        template = self.module
        if isinstance(template, nn.Module):
            if not self.given:
                return copy.deepcopy(template)
            template = type(template)
        wrong = TypeError("module must be an nn.Module class or instance, or a function that returns one, "
                          f"got module={template!r}.")
        try:
            accepted = inspect.signature(template).parameters
        except (TypeError, ValueError):
            raise wrong from None
        offered = {"in_channels": image_shape[0], "n_classes": self.n_classes, "image_shape": image_shape,
                   **self.offered, **self.given}
        settings = {name: value for name, value in offered.items() if name in accepted or name in self.given}
        filled_in = " (in_channels, n_classes and image_shape are passed to constructors that name them; " \
            "set_params(module__...) sets other arguments)"
        check_arguments("module", template, self.given, more=filled_in)
        try:
            network = template(**settings)
        except (RuntimeError, OverflowError, MemoryError, TypeError, AttributeError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"module cannot be built with {settings}: {reason}{filled_in if kind is TypeError else ''}"
                       ) from error
        if not isinstance(network, nn.Module):
            raise wrong
        return network

    def why_too_small(self, image_shape: tuple[int, int, int]) -> str:
        """The network's own message about images that are too small: which layer leaves nothing of them."""
        try:
            with DrawFrom(torch.Generator()):
                self.network(image_shape)
        except ValueError as error:
            return f": {error}"
        return "."

    def _with_standardize(self, network: nn.Module) -> StandardizedNetwork:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if self.standardize is not None:
            layers["standardize"] = Standardize(*self.standardize)
        layers["network"] = network
        return StandardizedNetwork(layers)

    def _check_logits(self, module: nn.Module) -> None:
        """Check in one forward pass that the module fits these images and classes (lazy layers get their shapes)."""
        expected = MIN_ROWS, self.n_classes
        module.eval()
        with torch.no_grad():
            try:
                with _unstrided_pixels(module):
                    logits = module(torch.zeros(MIN_ROWS, *self.image_shape))
            except (RuntimeError, TypeError, ValueError) as error:
                raise ValueError(f"module cannot take images of shape {self.image_shape} "
                                 f"(channels, height, width): {error}") from error
        if not isinstance(logits, Tensor) or logits.shape != expected:
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(f"module must return logits of shape (n, n_classes), here {expected}, got {got}.")

    def _choose_memory_format(self, module: StandardizedNetwork) -> None:
        """Find out in a forward pass whether a user's network takes weights and images in channels_last order."""
        module.is_channels_last = True
        if is_own_code(module.network):
            return
        is_training = module.training
        in_memory_format(module.eval(), module.memory_format)
        try:
            with torch.no_grad(), DrawFrom(torch.Generator()):
                module(torch.zeros(MIN_ROWS, *self.image_shape).contiguous(memory_format=module.memory_format))
        except Exception:               # whatever its code raises
            module.is_channels_last = False
            in_memory_format(module, module.memory_format)
        module.train(is_training)


def become(module: nn.Module, other: nn.Module) -> bool:
    """Turn `module` into `other` in place, so that hooks on its layers and parameters stay.

    Returns False, and changes nothing, unless both have the same layers by name and type.
    """
    pairs = list(zip(module.named_modules(), other.named_modules(), strict=False))
    if len(pairs) != len(list(module.modules())) or any(
            (name, type(old), *old._parameters, *old._buffers) != (other_name, type(new), *new._parameters,
                                                                   *new._buffers)
            for (name, old), (other_name, new) in pairs) or len(pairs) != len(list(other.modules())):
        return False
    for (_, old), (_, new) in pairs:
        vars(old).update({name: value for name, value in vars(new).items() if not name.startswith("_")})
        for name, value in (*new._parameters.items(), *new._buffers.items()):
            own = getattr(old, name)
            if own is not None and value is not None:
                own.data = value.data
    return True


def ends_in_softmax(module: nn.Module, image_shape: tuple[int, int, int]) -> bool:
    """Whether a network returns probabilities instead of logits: none is negative, and they sum to one."""
    device = next(module.parameters()).device
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        found = module.eval()(torch.rand(MIN_ROWS, *image_shape, generator=generator).to(device))
    return bool((found >= 0).all() and ((found.sum(1) - 1).abs() < 1e-4).all())


@contextmanager
def _unstrided_pixels(module: nn.Module) -> Iterator[None]:
    """Context in which convolutions over a single pixel lose their stride, which has no effect there.

    On processors with AMX, PyTorch 2.13 computes NaN as the gradients of strided ones in bfloat16: it reads
    uninitialised memory.
    """
    def unstride(convolution: nn.Conv2d, args: tuple) -> None:
        reach = [step * (size - 1) for step, size in zip(convolution.dilation, convolution.kernel_size, strict=True)]
        if args[0].shape[2:] == (1, 1) and [2 * int(side) for side in convolution.padding] == reach:
            convolution.stride = (1, 1)

    handles = [layer.register_forward_pre_hook(unstride) for layer in module.modules()
               if type(layer) is nn.Conv2d and max(layer.stride) > 1 and not isinstance(layer.padding, str)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
