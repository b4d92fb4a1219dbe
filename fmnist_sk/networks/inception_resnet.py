"""Small Inception-ResNet networks: Inception branches around a shortcut."""
from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_sk.classifier import ImageClassifier
from fmnist_sk.networks._blocks import HEAD_CONSTRAINTS, Concatenate, ConvNorm, Head, reduced_stages
from fmnist_sk.networks._text import feature_layers, minimum_side, stem_layers


class InceptionResidualBlock(nn.Module):
    """"Inception-ResNet-A" (Szegedy et al., 2016, https://arxiv.org/abs/1602.07261).

    Three branches (a 1 x 1 convolution; a 1 x 1 and a 3 x 3; a 1 x 1 and two of 3 x 3), each two thirds as wide as the
    block, are joined by a 1 x 1 convolution with batch normalisation and added to the shortcut, without the paper's
    scaling. The shortcut projects where the channels change.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        width = 2 * out_channels // 3
        self.one = ConvNorm(in_channels, width, 1, relu=True)
        self.three = nn.Sequential(ConvNorm(in_channels, width, 1, relu=True), ConvNorm(width, width, 3, relu=True))
        self.five = nn.Sequential(ConvNorm(in_channels, width, 1, relu=True), ConvNorm(width, width, 3, relu=True),
                                  ConvNorm(width, width, 3, relu=True))
        self.concatenate = Concatenate()
        self.join = ConvNorm(3 * width, out_channels, 1)
        self.shortcut = nn.Identity() if in_channels == out_channels else ConvNorm(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:          # (n, in_channels, height, width)
        branches = self.concatenate(self.one(x), self.three(x), self.five(x))
        return F.relu(self.join(branches) + self.shortcut(x))


class InceptionResNet(nn.Module):
    """A stem, stages of Inception-ResNet blocks with a reduction after each, and dense layers."""

    def __init__(self, image_shape: tuple[int, int, int], n_classes: int, stem: str = "16C3valid-32C3valid",
                 widths: tuple[int, ...] = (64, 96), n_blocks: tuple[int, ...] = (2, 2), pool: int = 7,
                 hidden: int = 128, dropout: float = 0.0):
        super().__init__()
        first, shape = feature_layers(stem_layers(stem), image_shape, bias=False, name="stem")
        self.stem = nn.Sequential(*first)
        stages, shape = reduced_stages(InceptionResidualBlock, shape, widths, n_blocks)
        self.stages = nn.Sequential(*stages)
        self.head = Head(shape, n_classes, pool=pool, hidden=hidden, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:          # (n, channels, height, width)
        x = self.stages(self.stem(x))                # (n, widths[-1], height', width')
        return self.head(x)                          # (n, n_classes)


class InceptionResNetClassifier(ImageClassifier):
    """Small Inception-ResNet.

    The default is the network of about 982,000 parameters of report 3 (see the guide's page on networks); its branch
    widths are our reading. Images must be large enough for the stem to leave a pixel: at least 5 x 5 by default. All
    parameters of `ImageClassifier`, and:

    Parameters
    ----------
    stem : str
        Convolutions and poolings before the first stage, in the notation of `ConvNetClassifier`, with padding "same"
        and rounding "floor". Batch normalisation and ReLU follow every convolution.
    widths : tuple of int
        Channels of each stage.
    n_blocks : tuple of int
        Inception-ResNet blocks of each stage (0 or more, 1,000 in all at most). A reduction, which halves height and
        width, follows every stage.
    pool : int
        The last feature map is averaged to at most this many rows and columns; 1 is global average pooling.
    hidden : int
        Units of a dense layer before the logits; 0 for none.
    dropout : float
        Dropout rate before the logits, from 0 to below 1.

    References
    ----------
    Szegedy et al., 2016, https://arxiv.org/abs/1602.07261

    Examples
    --------
    >>> from fmnist_sk import InceptionResNetClassifier, summary
    >>> int(summary(InceptionResNetClassifier()).loc["total", "parameters"])
    982658
    """

    module: Any = InceptionResNet
    stem: str = "16C3valid-32C3valid"
    widths: tuple[int, ...] = (64, 96)
    n_blocks: tuple[int, ...] = (2, 2)
    pool: int = 7
    hidden: int = 128
    dropout: float = 0.0
    optimizer: Any = "sgd"
    lr: float = 0.1
    weight_decay: float = 5e-4
    schedule: str = "one_cycle"
    max_epochs: int = 15
    augment: Any = "light"

    _parameter_constraints = {
        **ImageClassifier._parameter_constraints,
        **HEAD_CONSTRAINTS,
        "widths": [tuple, list],
        "n_blocks": [tuple, list],
    }

    def _minimum_size(self) -> int:
        return minimum_side(stem_layers(self.stem))
