"""Residual networks sized for small images."""
from __future__ import annotations

import numbers
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
    """A convolution and a pooling, stages of basic blocks, and a head that keeps positions apart.

    Garments are centred, so where something is matters: the head sees every cell of the last feature map (or of a
    average of it over at most 7 x 7 windows, should it be larger) instead of one average over the image.
    """

    def __init__(self, image_shape: tuple[int, int, int], n_classes: int, width: int = 32,
                 n_blocks: tuple[int, ...] = (1, 1), hidden: int = 256, dropout: float = 0.2):
        super().__init__()
        if not n_blocks or not all(isinstance(count, numbers.Integral) and count > 0 for count in n_blocks):
            raise ValueError(f"n_blocks must hold a number of blocks >= 1 for each stage, got n_blocks={n_blocks!r}.")
        channels, *sides = image_shape
        self.stem = nn.Sequential(ConvNorm(channels, 32), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True))
        sides = [-(-side // 2) for side in sides]
        blocks: list[nn.Module] = []
        channels = 32
        for stage, count in enumerate(n_blocks):
            for block in range(count):
                stride = 2 if stage and block == 0 else 1
                blocks.append(BasicBlock(channels, width << stage, stride))
                channels, sides = width << stage, [-(-side // stride) for side in sides]
        if max(sides) > 7:
            windows = [-(-side // 7) for side in sides]
            blocks.append(nn.AvgPool2d(windows, ceil_mode=True))
            sides = [-(-side // window) for side, window in zip(sides, windows, strict=True)]
        self.blocks = nn.Sequential(*blocks)
        inputs = channels * sides[0] * sides[1]
        head: list[nn.Module] = []
        if hidden:
            head += [nn.Linear(inputs, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU()]
            inputs = hidden
        self.head = nn.Sequential(*head, nn.Dropout(dropout), nn.Linear(inputs, n_classes))

    def forward(self, x: Tensor) -> Tensor:          # (n, channels, height, width)
        x = self.stem(x)                             # (n, 32, height / 2, width / 2)
        x = self.blocks(x)                           # (n, channels, height', width')
        return self.head(x.flatten(1))               # (n, n_classes)


class ResNetClassifier(ImageClassifier):
    """Residual network for small images: the recommended default.

    All parameters of `ImageClassifier`, with a recipe chosen on a validation split of Fashion-MNIST's training images
    for the best accuracy in about two minutes of two CPU cores (``examples/benchmarks/choose_recipe.py``), and:

    Parameters
    ----------
    width : int
        Channels of the first stage; every further stage has twice as many, at half the height and width.
    n_blocks : tuple of int
        Number of residual blocks in each stage.
    hidden : int
        Units of a dense layer before the logits; 0 for none.
    dropout : float
        Before the logits.

    Examples
    --------
    >>> from fmnist_sk import ResNetClassifier
    >>> ResNetClassifier(augment="fashion", max_epochs=3)
    ResNetClassifier(augment='fashion', max_epochs=3)
    """

    module: Any = ResNet
    width: int = 32
    n_blocks: tuple[int, ...] = (1, 1)
    hidden: int = 256
    dropout: float = 0.2
    optimizer: Any = "sgd"
    lr: float = 0.2
    weight_decay: float = 5e-4
    schedule: str = "one_cycle"
    label_smoothing: float = 0.1
    max_epochs: int = 9
    augment: Any = "light"

    _parameter_constraints = {
        **ImageClassifier._parameter_constraints,
        "width": [Interval(numbers.Integral, 1, None, closed="left")],
        "n_blocks": [tuple, list],
        "hidden": [Interval(numbers.Integral, 0, None, closed="left")],
        "dropout": [Interval(numbers.Real, 0, 1, closed="left")],
    }
