"""Residual networks sized for small images."""
from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import Any

from sklearn.utils._param_validation import Interval
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_sk.classifier import ImageClassifier


class ConvNorm(nn.Sequential):
    """3 x 3 convolution and batch normalisation."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__(nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
                         nn.BatchNorm2d(out_channels))


class BasicBlock(nn.Module):
    """Two convolutions around a shortcut (He et al., 2016, https://arxiv.org/abs/1512.03385).

    Where the size changes, the shortcut averages 2 x 2 pixels and projects the channels (He et al., 2019,
    https://arxiv.org/abs/1812.01187, ResNet-D).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__()
        self.conv1 = ConvNorm(in_channels, out_channels, stride)
        self.conv2 = ConvNorm(out_channels, out_channels)
        shortcut: list[nn.Module] = []
        if stride == 2:
            shortcut.append(nn.AvgPool2d(2, ceil_mode=True))
        if in_channels != out_channels:
            shortcut += [nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)]
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:                    # (n, in_channels, height, width)
        y = self.conv2(F.relu(self.conv1(x)))                  # (n, out_channels, height / stride, width / stride)
        return F.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    """A convolution and a pooling, then stages of basic blocks, the maximum over the image, and logits."""

    def __init__(self, in_channels: int, n_classes: int, width: int = 48, n_blocks: tuple[int, ...] = (1, 1)):
        super().__init__()
        self.stem = nn.Sequential(ConvNorm(in_channels, 32), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True))
        blocks, channels = [], 32
        for stage, count in enumerate(n_blocks):
            for block in range(count):
                blocks.append(BasicBlock(channels, width << stage, stride=2 if stage and block == 0 else 1))
                channels = width << stage
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, n_classes)

    def forward(self, x: Tensor) -> Tensor:          # (n, in_channels, height, width)
        x = self.stem(x)                             # (n, 32, height / 2, width / 2)
        x = self.blocks(x)                           # (n, channels, height', width')
        return self.head(x.amax(dim=(2, 3)))         # (n, n_classes)


@dataclass(kw_only=True, eq=False, repr=False)
class ResNetClassifier(ImageClassifier):
    """Residual network for small images: the recommended default."""

    module: Any = ResNet
    width: int = 48
    n_blocks: tuple[int, ...] = (1, 1)

    _parameter_constraints = {
        **ImageClassifier._parameter_constraints,
        "width": [Interval(numbers.Integral, 1, None, closed="left")],
        "n_blocks": [tuple, list],
    }
