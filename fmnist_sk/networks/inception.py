"""Small Inception networks: branches of different kernels side by side."""
from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fmnist_sk.classifier import ImageClassifier
from fmnist_sk.networks._blocks import HEAD_CONSTRAINTS, POSITIVE, Concatenate, ConvNorm, Head, reduced_stages
from fmnist_sk.networks._text import feature_layers, minimum_side, stem_layers


class InceptionBlock(nn.Module):
    """"Inception-A" of Inception-v4 (Szegedy et al., 2016, https://arxiv.org/abs/1602.07261): four branches.

    Average pooling and a 1 x 1 convolution; a 1 x 1 convolution; a 1 x 1 and a 3 x 3; a 1 x 1 and two of 3 x 3. Each
    gives a quarter of the `out_channels`.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        width = out_channels // 4
        last = out_channels - 3 * width
        self.pool = nn.Sequential(nn.AvgPool2d(3, 1, padding=1, count_include_pad=False),
                                  ConvNorm(in_channels, width, 1, relu=True))
        self.one = ConvNorm(in_channels, width, 1, relu=True)
        self.three = nn.Sequential(ConvNorm(in_channels, width, 1, relu=True), ConvNorm(width, width, 3, relu=True))
        self.five = nn.Sequential(ConvNorm(in_channels, width, 1, relu=True), ConvNorm(width, width, 3, relu=True),
                                  ConvNorm(width, last, 3, relu=True))
        self.concatenate = Concatenate()

    def forward(self, x: Tensor) -> Tensor:          # (n, in_channels, height, width)
        return self.concatenate(self.pool(x), self.one(x), self.three(x), self.five(x))


class Inception(nn.Module):
    """A stem, stages of Inception blocks with a reduction after each, a 1 x 1 convolution, and dense layers."""

    def __init__(self, image_shape: tuple[int, int, int], n_classes: int, stem: str = "16C3valid-16C3valid",
                 widths: tuple[int, ...] = (64, 96), n_blocks: tuple[int, ...] = (1, 0), projection: int = 48,
                 pool: int = 7, hidden: int = 128, dropout: float = 0.0):
        super().__init__()
        first, shape = feature_layers(stem_layers(stem), image_shape, bias=False, name="stem")
        self.stem = nn.Sequential(*first)
        stages, (channels, *sides) = reduced_stages(InceptionBlock, shape, widths, n_blocks)
        self.stages = nn.Sequential(*stages)
        self.projection = ConvNorm(channels, projection, 1, relu=True)
        self.head = Head((projection, sides[0], sides[1]), n_classes, pool=pool, hidden=hidden, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:          # (n, channels, height, width)
        x = self.stages(self.stem(x))                # (n, widths[-1], height', width')
        x = self.projection(x)                       # (n, projection, height', width')
        return self.head(x)                          # (n, n_classes)


class InceptionClassifier(ImageClassifier):
    """Small Inception network.

    The default follows the network of report 3 (see the guide's page on networks), which gives about 343,000
    parameters; with the branch widths, which are our reading, it has 348,250. Images must be large enough for the stem
    to leave a pixel: at least 5 x 5 by default. All parameters of `ImageClassifier`, and:

    Parameters
    ----------
    stem : str
        Convolutions and poolings before the first stage, in the notation of `ConvNetClassifier`, with padding "same"
        and rounding "floor". Batch normalisation and ReLU follow every convolution.
    widths : tuple of int
        Channels of each stage.
    n_blocks : tuple of int
        Inception blocks of each stage (0 or more, 1,000 in all at most). A reduction, which halves height and width,
        follows every stage.
    projection : int
        Channels of the 1 x 1 convolution after the last stage.
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
    >>> from fmnist_sk import InceptionClassifier, summary
    >>> int(summary(InceptionClassifier()).loc["total", "parameters"])
    348250
    """

    module: Any = Inception
    stem: str = "16C3valid-16C3valid"
    widths: tuple[int, ...] = (64, 96)
    n_blocks: tuple[int, ...] = (1, 0)
    projection: int = 48
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
        "projection": POSITIVE,
    }

    def _minimum_size(self) -> int:
        return minimum_side(stem_layers(self.stem))
