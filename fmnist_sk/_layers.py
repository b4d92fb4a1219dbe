"""Layers that the classifier itself puts into or around a network."""
from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode


class Standardize(nn.Module):
    """First layer of a network: (x - mean) / std with one mean and deviation for each channel of (n, C, H, W).

    Both are buffers: saved, exported and moved with the network. Channels without variation are only shifted.
    """

    def __init__(self, mean: Tensor, std: Tensor):
        super().__init__()
        self.register_buffer("mean", mean.reshape(1, -1, 1, 1).clone())
        self.register_buffer("std", torch.where(std > 0, std, 1.0).reshape(1, -1, 1, 1))

    def learn(self, mean: Tensor, std: Tensor) -> None:
        """Take these, unless the layer already has others than nothing (0 and 1), which were loaded into it."""
        if ((self.mean == 0) & (self.std == 1)).all():
            new = Standardize(mean.to(self.mean.device), std.to(self.std.device))
            self.mean, self.std = new.mean, new.std

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


class Whitening(nn.Module):
    """First layer whose maps are uncorrelated and of variance one, and their negatives: a convolution not trained.

    Its weights are the principal components of the training images' patches, each divided by its standard deviation,
    in the order of their variances, and then the same with the other sign, so that a ReLU loses nothing. After Jordan,
    2024, https://arxiv.org/abs/2404.00498. Takes (n, in_channels, height, width).

    maps : twice the number of components: an even number, at most ``2 * in_channels * kernel ** 2``
    """

    FLOOR = 0.01        # share of the mean variance that is added to each, so that noise is not blown up

    def __init__(self, in_channels: int, maps: int, kernel: int, stride: int, padding: int):
        super().__init__()
        size = in_channels * kernel**2
        if maps % 2 or maps > 2 * size:
            raise ValueError(f"whitening must have an even number of maps up to {2 * size}, twice the values of a "
                             f"patch, got {maps}.")
        self.stride, self.padding = stride, padding
        components = torch.eye(size)[:maps // 2].reshape(-1, in_channels, kernel, kernel)       # of nothing seen yet
        self.register_buffer("weight", torch.cat([components, -components]))

    @torch.no_grad()
    def learn(self, x: Tensor) -> None:
        """Whiten images like these, (n, in_channels, height, width), as they come to this layer."""
        n_maps, _, kernel, _ = self.weight.shape
        patches = F.unfold(x.double(), kernel, padding=self.padding, stride=self.stride)
        patches = patches.transpose(1, 2).flatten(0, 1)                                         # (n, values of a patch)
        variances, directions = torch.linalg.eigh(patches.T @ patches / len(patches))           # ascending
        scale = (variances.clamp_min(0) + self.FLOOR * variances.mean() + 1e-12).rsqrt()
        components = (directions * scale).T.flip(0)[:n_maps // 2].reshape(-1, *self.weight.shape[1:])
        self.weight.copy_(torch.cat([components, -components]))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, stride=self.stride, padding=self.padding)


class Dropout(nn.Dropout):
    """nn.Dropout that draws from its own generator.

    PyTorch's can only use the global one, whose numbers depend on what other threads do.
    """

    generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        kept = torch.empty_like(x).bernoulli_(1 - self.p, generator=self.generator)
        return x * kept if self.p == 1 else x * kept.div_(1 - self.p)

    def __getstate__(self):
        return {key: value for key, value in self.__dict__.items() if key != "generator"}


def use_generator(module: nn.Module, generator: torch.Generator) -> None:
    """Let all dropout of elements in `module` draw from `generator`."""
    replaced: dict[nn.Module, Dropout] = {}           # one layer may stand in several places
    for parent in list(module.modules()):
        for name, child in parent._modules.items():
            if type(child) is nn.Dropout:
                child = parent._modules[name] = replaced.setdefault(child, Dropout(child.p).train(child.training))
            if isinstance(child, Dropout):
                child.generator = generator


def draws_random_numbers(module: nn.Module, x: Tensor) -> bool:
    """Whether training on x draws from the global generator, as nn.Dropout2d or F.dropout do."""
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    trial = copy.deepcopy(module).cpu().train()
    with torch.no_grad(), DrawFrom(generator):
        use_generator(trial, torch.Generator())
        trial(x)
    return not torch.equal(before, generator.get_state())


class DrawFrom(TorchDispatchMode):
    """Within this context, random numbers of this thread come from `generator`.

    PyTorch's layers initialise themselves from the global generator, which other threads use and seed.
    """

    def __init__(self, generator: torch.Generator):
        super().__init__()
        self.generator = generator

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if "generator" not in {argument.name for argument in func._schema.arguments}:
            func = getattr(func.overloadpacket, "generator", func)       # torch.rand and the like have two forms
        if kwargs.get("generator") is None and "generator" in {argument.name for argument in func._schema.arguments}:
            kwargs = {**kwargs, "generator": self.generator}
        return func(*args, **kwargs)
