"""Layers that the classifier itself adds in or around a network."""
from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Module = TypeVar("Module", bound=nn.Module)


class Standardize(nn.Module):
    """First layer of a network: (x - mean) / std with one mean and deviation for each channel of (n, C, H, W).

    Both are buffers: saved, exported and moved with the network. Channels without variation are only shifted.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor):
        super().__init__()
        self.register_buffer("mean", mean.reshape(1, -1, 1, 1).clone())
        self.register_buffer("std", torch.where(std > 0, std, 1.0).reshape(1, -1, 1, 1))

    def learn(self, mean: Tensor, std: Tensor) -> None:
        """Use this mean and deviation (channels,), unless values other than the initial 0 and 1 were loaded before."""
        if ((self.mean == 0) & (self.std == 1)).all():
            new = Standardize(mean.to(self.mean.device), std.to(self.std.device))
            self.mean, self.std = new.mean, new.std

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


class Whitening(nn.Module):
    """Fixed convolution as a first layer: uncorrelated maps of variance one, and their negatives. It is not trained.

    Its weights are the principal components of the training images' patches, each divided by its standard deviation,
    in the order of their variances, followed by their negatives, so that a ReLU loses nothing. After Jordan, 2024,
    https://arxiv.org/abs/2404.00498. Takes (n, in_channels, height, width).

    maps : twice the number of components: an even number, at most ``2 * in_channels * kernel ** 2``
    kernel, stride, padding : height and width of a patch, steps between patches and zeros around the images, in pixels
    """

    weight: Tensor
    FLOOR = 0.01        # share of the mean variance added to each, so that noise is not amplified

    def __init__(self, in_channels: int, maps: int, kernel: int, stride: int, padding: int):
        super().__init__()
        size = in_channels * kernel**2
        if maps % 2 or maps > 2 * size:
            raise ValueError(f"whitening must have an even number of maps up to {2 * size}, twice the values of a "
                             f"patch, got {maps}.")
        self.stride, self.padding = stride, padding
        self.register_buffer("weight", self._initial(maps, in_channels, kernel))

    @staticmethod
    def _initial(maps: int, in_channels: int, kernel: int) -> Tensor:
        """Weights before any data."""
        components = torch.eye(maps // 2, in_channels * kernel**2).reshape(-1, in_channels, kernel, kernel)
        return torch.cat([components, -components])

    @torch.no_grad()
    def learn(self, x: Tensor) -> None:
        """Whiten images like x, (n, in_channels, height, width), which are inputs of this layer.

        Weights other than the initial ones, which were loaded before, stay.
        """
        n_maps, in_channels, kernel, _ = self.weight.shape
        if not torch.equal(self.weight, self._initial(n_maps, in_channels, kernel).to(self.weight)):
            return
        size, n_patches = in_channels * kernel**2, 0
        products = torch.zeros(size, size, dtype=torch.float64, device=x.device)
        for images in x.split(32):                                  # all patches at once would take much memory
            patches = F.unfold(images.double(), kernel, padding=self.padding, stride=self.stride)
            patches = patches.transpose(0, 1).flatten(1)                                        # (values of a patch, n)
            products += patches @ patches.T
            n_patches += patches.shape[1]
        variances, directions = torch.linalg.eigh(products / n_patches)                         # ascending
        scale = (variances.clamp_min(0) + self.FLOOR * variances.mean() + 1e-12).rsqrt()
        components = (directions * scale).T.flip(0)[:n_maps // 2].reshape(-1, *self.weight.shape[1:])
        self.weight.copy_(torch.cat([components, -components]))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, stride=self.stride, padding=self.padding)


class Concatenate(nn.Module):
    """Branches side by side: maps (n, channels, height, width) to (n, all their channels, height, width).

    It is a layer so that an ensemble trained as one network can keep its members' channels apart.
    """

    def forward(self, *branches: Tensor) -> Tensor:
        return torch.cat(branches, 1)


def in_memory_format(module: Module, memory_format: torch.memory_format) -> Module:
    """The module with its four-dimensional weights in this memory format (channels_last or contiguous)."""
    return module.to(memory_format=memory_format)  # type: ignore[call-overload]  # missing in PyTorch's annotations
