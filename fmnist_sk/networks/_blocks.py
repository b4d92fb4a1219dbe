"""Layers that two or more families of networks use."""
from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_sk._network.layers import Concatenate
from fmnist_sk._runtime.parameters import is_whole, real, whole

MAX_DEPTH = 1000        # blocks, layers or tokens of a network at most, so that it can be built

# Constraints on parameters that several networks share, for scikit-learn's validation.
POSITIVE = [whole(1)]
DEPTH = [whole(1, MAX_DEPTH)]
DROPOUT = [real(0, 1, "left")]
HEAD_CONSTRAINTS = {"pool": POSITIVE, "hidden": [whole(0)], "dropout": DROPOUT}


class ConvNorm(nn.Sequential):
    """Convolution that keeps the size (divided by `stride`, rounded up), batch normalisation, and optionally ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1, *, bias: bool = False,
                 relu: bool = False):
        super().__init__(nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=bias),
                         nn.BatchNorm2d(out_channels), *([nn.ReLU()] if relu else []))


class PreActivationBlock(nn.Module):
    """Two convolutions, each after batch normalisation and ReLU, around an unobstructed shortcut.

    He et al., 2016, https://arxiv.org/abs/1603.05027; with dropout between the convolutions as in Zagoruyko and
    Komodakis, 2016, https://arxiv.org/abs/1605.07146. Where the shape changes, the shortcut is a 1 x 1 convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, *, dropout: float = 0.0,
                 bias: bool = False):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=bias)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=bias)
        changes = stride > 1 or in_channels != out_channels
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=bias) if changes else None

    def forward(self, x: Tensor) -> Tensor:                    # (n, in_channels, height, width)
        y = F.relu(self.norm1(x))
        shortcut = x if self.shortcut is None else self.shortcut(y)
        y = self.dropout(F.relu(self.norm2(self.conv1(y))))
        return self.conv2(y) + shortcut                        # (n, out_channels, height / stride, width / stride)


class Reduction(nn.Module):
    """Halves height and width (rounded up) by three branches side by side: "Reduction-A" of Inception-v4.

    Szegedy et al., 2016, https://arxiv.org/abs/1602.07261: a max pooling, a strided convolution, and two convolutions
    before a third, strided one. Here the pooled channels are projected, so that every branch gives a third of the
    `out_channels`.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        third, inner = out_channels // 3, math.ceil(5 * out_channels / 12)
        self.pool = nn.Sequential(nn.MaxPool2d(3, 2, padding=1), ConvNorm(in_channels, third, 1, relu=True))
        self.conv = ConvNorm(in_channels, third, 3, stride=2, relu=True)
        self.deep = nn.Sequential(ConvNorm(in_channels, inner, 1, relu=True), ConvNorm(inner, inner, 3, relu=True),
                                    ConvNorm(inner, out_channels - 2 * third, 3, stride=2, relu=True))
        self.concatenate = Concatenate()

    def forward(self, x: Tensor) -> Tensor:      # (n, in_channels, height, width)
        return self.concatenate(self.pool(x), self.conv(x), self.deep(x))


def check_stages(name: str, values: Sequence[int], least: int) -> None:
    """Raise ValueError unless the parameter holds a number for each stage, and at most MAX_DEPTH blocks in total."""
    if not 0 < len(values) <= MAX_DEPTH or not all(is_whole(value) and value >= least for value in values):
        raise ValueError(f"{name} must hold a whole number >= {least} for each stage, of which there are {MAX_DEPTH:,} "
                         f"at most, got {name}={values!r:.200}.")
    if name == "n_blocks" and sum(values) > MAX_DEPTH:
        raise ValueError(f"n_blocks must hold {MAX_DEPTH:,} blocks in all at most, got n_blocks={values!r:.200}.")


def reduced_stages(block: Callable[[int, int], nn.Module], shape: tuple[int, int, int], widths: Sequence[int],
                   n_blocks: Sequence[int]) -> tuple[list[nn.Module], tuple[int, int, int]]:
    """Stages of ``n_blocks[i]`` blocks with ``widths[i]`` channels, a `Reduction` after each.

    ``block(in_channels, out_channels)`` keeps the size. A reduction outputs the next stage's channels, the last one
    those of its own stage. Returns the modules and the shape (channels, height, width) of their output for input of
    `shape`.
    """
    check_stages("widths", widths, 4)
    check_stages("n_blocks", n_blocks, 0)
    if len(widths) != len(n_blocks):
        raise ValueError(f"widths and n_blocks must have one entry for each stage, got widths={widths!r} and "
                         f"n_blocks={n_blocks!r}.")
    channels, *sides = shape
    modules: list[nn.Module] = []
    for width, count, following in zip(widths, n_blocks, [*widths[1:], widths[-1]], strict=True):
        for _ in range(count):
            modules.append(block(channels, width))
            channels = width
        modules.append(Reduction(channels, following))
        channels, sides = following, [-(-side // 2) for side in sides]
    return modules, (channels, sides[0], sides[1])


class Head(nn.Sequential):
    """From the last feature map to logits: average, flatten, dense layer with batch normalisation, dropout, logits.

    The map is averaged to at most `pool` x `pool` cells. Garments are centred, so positions matter: a head that keeps
    the cells apart learns faster than one behind global average pooling, which is ``pool=1``. ``hidden=0`` leaves the
    dense layer out.
    """

    def __init__(self, shape: tuple[int, int, int], n_classes: int, *, pool: int = 7, hidden: int = 0,
                 dropout: float = 0.0, bias: bool = False):
        channels, *sides = shape
        layers: list[tuple[str, nn.Module]] = []
        if max(sides) > pool:
            windows = -(-sides[0] // pool), -(-sides[1] // pool)
            layers.append(("pool", nn.AdaptiveAvgPool2d(1) if pool == 1 else nn.AvgPool2d(windows, ceil_mode=True)))
            sides = [-(-side // window) for side, window in zip(sides, windows, strict=True)]
        layers.append(("flatten", nn.Flatten()))
        inputs = channels * math.prod(sides)
        if hidden:
            layers += [("hidden", nn.Linear(inputs, hidden, bias=bias)), ("norm", nn.BatchNorm1d(hidden)),
                       ("relu", nn.ReLU())]
            inputs = hidden
        layers += [("dropout", nn.Dropout(dropout)), ("logits", nn.Linear(inputs, n_classes))]
        super().__init__(OrderedDict(layers))
