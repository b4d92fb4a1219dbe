"""Layers of several networks of one architecture as one grouped layer that shares their memory."""
from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_sk._network.layers import Concatenate, Standardize
from fmnist_sk._network.random import Dropout


class CannotJoin(Exception):
    """The architecture does not allow it, or the networks differ."""


def join(modules: Sequence[nn.Module], x: Tensor) -> nn.Module:
    """One module that takes the members' inputs side by side, (n, members * C, H, W), and returns their outputs so.

    It shares memory with the members, so training one changes the other. Copies and x (n, C, H, W) are used first to
    check that both compute the same.

    Raises CannotJoin.
    """
    try:
        _try([copy.deepcopy(module) for module in modules], x)
    except (RuntimeError, TypeError, ValueError) as error:
        raise CannotJoin(str(error)) from error
    return _join(modules, {})


def _try(modules: Sequence[nn.Module], x: Tensor) -> None:
    """Raise CannotJoin unless the joined network computes what its members do, and none sees another's images.

    Their weights are changed, because layers that begin with zeros would hide what comes before them.
    """
    generator = torch.Generator().manual_seed(0)
    for module in modules:
        for layer in module.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0
        for value in module.parameters():
            value.data += 0.1 * torch.randn(value.shape, generator=generator).to(value)
    joined = _join(modules, {})
    inputs = [x.roll(i, 0).requires_grad_() for i in range(len(modules))]
    for training in (True, False):
        joined.train(training)
        for module in modules:
            module.train(training)
        expected = torch.cat([module(given) for module, given in zip(modules, inputs, strict=True)], 1)
        found = joined(torch.cat(inputs, 1).contiguous(memory_format=torch.channels_last))
        tolerance = 1e-3 * expected.detach().std().item()
        if found.shape != expected.shape or not torch.allclose(found, expected, rtol=1e-3, atol=tolerance):
            raise CannotJoin("the joined layers compute something else")
        part = found[:, :found.shape[1] // len(modules)]
        of_first = (part * torch.randn(part.shape, generator=generator).to(part)).sum()
        gradients = torch.autograd.grad(of_first, inputs, allow_unused=True)
        if any(gradient is not None and gradient.any() for gradient in gradients[1:]):
            raise CannotJoin("the layers mix what should stay apart")


def _join(modules: Sequence[nn.Module], done: dict[nn.Module, nn.Module]) -> nn.Module:
    """`done` holds what was joined before, because one layer can occur in several places."""
    first = modules[0]
    if first not in done:
        done[first] = _join_layers(modules, done)
    return done[first]


def _join_layers(modules: Sequence[nn.Module], done: dict[nn.Module, nn.Module]) -> nn.Module:
    first = modules[0]
    if any(type(module) is not type(first) for module in modules):
        raise CannotJoin("the networks differ")
    if type(first) in _JOINERS:
        return _JOINERS[type(first)](modules)
    if first._parameters or first._buffers:
        raise CannotJoin(f"{type(first).__name__} has no grouped form")
    new = copy.copy(first)                              # a container, or a layer without weights
    new._modules = {name: None if child is None else _join([module.get_submodule(name) for module in modules], done)
                    for name, child in first._modules.items()}
    return new


def _shared(members: Sequence[nn.Module], name: str, combine: Callable = torch.cat) -> Tensor | None:
    """The members' tensors of this name as one tensor, of which theirs become parts."""
    values = [getattr(member, name) for member in members]
    if values[0] is None:
        return None
    whole = combine([value.detach() for value in values])
    if whole.ndim == 4 and combine is torch.cat:
        whole = whole.contiguous(memory_format=torch.channels_last)
    parts = whole.unbind() if combine is torch.stack else whole.chunk(len(members))
    for value, part in zip(values, parts, strict=True):
        value.data = part
    if isinstance(values[0], nn.Parameter):
        return nn.Parameter(whole, requires_grad=values[0].requires_grad)
    return whole


class Joined(nn.Module):
    """A layer whose weights are the members', side by side."""

    combine = staticmethod(torch.cat)

    def __init__(self, members: Sequence[nn.Module], *names: str):
        super().__init__()
        self.members = tuple(members)                           # a tuple, so that they are not submodules
        for name in names:
            value = _shared(members, name, self.combine)
            if isinstance(value, nn.Parameter) or value is None:
                self.register_parameter(name, value)
            else:
                self.register_buffer(name, value)

    def gradients(self) -> None:
        """Give the members' parameters their parts of the gradients."""
        for name, whole in self._parameters.items():
            if whole is not None and whole.grad is not None:
                parts = whole.grad.unbind() if self.combine is torch.stack else whole.grad.chunk(len(self.members))
                for member, part in zip(self.members, parts, strict=True):
                    getattr(member, name).grad = part
                whole.grad = None


class _Conv(Joined):
    members: tuple[nn.Conv2d, ...]
    weight: Tensor
    bias: Tensor | None

    def __init__(self, members):
        super().__init__(members, "weight", "bias")
        if members[0].padding_mode != "zeros":
            raise CannotJoin(f"padding_mode={members[0].padding_mode!r}")
        self.groups = len(members) * members[0].groups

    def forward(self, x: Tensor) -> Tensor:             # (n, members * in_channels, height, width)
        first = self.members[0]
        padding = first.padding
        if isinstance(padding, str):                    # an overload of its own
            return F.conv2d(x, self.weight, self.bias, first.stride, padding, first.dilation, self.groups)
        return F.conv2d(x, self.weight, self.bias, first.stride, padding, first.dilation, self.groups)


class _Linear(Joined):
    weight: Tensor
    bias: Tensor | None
    combine = staticmethod(torch.stack)

    def __init__(self, members):
        super().__init__(members, "weight", "bias")

    def forward(self, x: Tensor) -> Tensor:             # (n, members * in_features)
        if x.ndim != 2:
            raise CannotJoin("a dense layer is applied to more than one dimension")
        given = x.unflatten(1, (len(self.members), -1)).transpose(0, 1)            # (members, n, in_features)
        weight = self.weight.transpose(1, 2)
        found = torch.bmm(given, weight) if self.bias is None else torch.baddbmm(self.bias[:, None], given, weight)
        return found.transpose(0, 1).flatten(1)


class _BatchNorm(Joined):
    members: tuple[nn.BatchNorm2d | nn.BatchNorm1d, ...]
    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, members):
        super().__init__(members, "weight", "bias", "running_mean", "running_var")
        if not members[0].track_running_stats:
            raise CannotJoin("batch normalisation without statistics")

    def forward(self, x: Tensor) -> Tensor:
        first = self.members[0]
        momentum = first.momentum
        if self.training:
            for member in self.members:
                if member.num_batches_tracked is not None:
                    member.num_batches_tracked += 1
            if momentum is None and first.num_batches_tracked is not None:
                momentum = 1.0 / float(first.num_batches_tracked)
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training,
                            momentum or 0.0, first.eps)


class _Standardize(Joined):
    """Each member's own: they can be identical, or from different folds."""

    def forward(self, x: Tensor) -> Tensor:
        parts = x.chunk(len(self.members), 1)
        return torch.cat([member(part) for member, part in zip(self.members, parts, strict=True)], 1).contiguous(
            memory_format=torch.channels_last)


class _Dropout(Joined):
    """Each member draws from its own generator, as when trained alone."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.members[0].p == 0:
            return x
        parts = x.chunk(len(self.members), 1)
        return torch.cat([member(part) for member, part in zip(self.members, parts, strict=True)], 1)


class _Concatenate(Joined):
    def forward(self, *parts: Tensor) -> Tensor:
        apart = [part.unflatten(1, (len(self.members), -1)) for part in parts]
        return torch.cat(apart, 2).flatten(1, 2).contiguous(memory_format=torch.channels_last)


_JOINERS = {Concatenate: _Concatenate, nn.Conv2d: _Conv, nn.Linear: _Linear, nn.BatchNorm2d: _BatchNorm,
            nn.BatchNorm1d: _BatchNorm, Standardize: _Standardize, Dropout: _Dropout}
