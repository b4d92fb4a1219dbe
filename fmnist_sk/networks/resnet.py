"""Residual networks sized for small images."""
from __future__ import annotations

from typing import Any

from sklearn.utils._param_validation import StrOptions
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_sk.classifier import ImageClassifier
from fmnist_sk.networks._blocks import HEAD_CONSTRAINTS, POSITIVE, ConvNorm, Head, PreActivationBlock, check_stages
from fmnist_sk.networks._text import feature_layers, minimum_side, stem_layers


class _ResidualBlock(nn.Module):
    """Convolutions around a shortcut, ReLU after the sum (He et al., 2016, https://arxiv.org/abs/1512.03385).

    Where the size changes, the shortcut averages 2 x 2 pixels; where the channels change, it projects them (He et al.,
    2019, https://arxiv.org/abs/1812.01187, ResNet-D).
    """

    def __init__(self, convolutions: nn.Module, in_channels: int, out_channels: int, stride: int, bias: bool):
        super().__init__()
        self.convolutions = convolutions
        shortcut: list[nn.Module] = []
        if stride > 1:
            shortcut.append(nn.AvgPool2d(stride, ceil_mode=True))
        if in_channels != out_channels:
            shortcut.append(ConvNorm(in_channels, out_channels, 1, bias=bias))
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:                    # (n, in_channels, height, width)
        return F.relu(self.convolutions(x) + self.shortcut(x))


class BasicBlock(_ResidualBlock):
    """Two 3 x 3 convolutions."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, *, bias: bool = False):
        super().__init__(nn.Sequential(ConvNorm(in_channels, out_channels, 3, stride, bias=bias, relu=True),
                                       ConvNorm(out_channels, out_channels, 3, bias=bias)),
                         in_channels, out_channels, stride, bias)


class Bottleneck(_ResidualBlock):
    """A 1 x 1, a 3 x 3 and a 1 x 1 convolution; the first two of them `expansion` times narrower than the last."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, *, expansion: int = 4,
                 bias: bool = False):
        width = out_channels // expansion
        super().__init__(nn.Sequential(ConvNorm(in_channels, width, 1, bias=bias, relu=True),
                                       ConvNorm(width, width, 3, stride, bias=bias, relu=True),
                                       ConvNorm(width, out_channels, 1, bias=bias)),
                         in_channels, out_channels, stride, bias)


class ResNet(nn.Module):
    """A stem, stages of residual blocks, and a head that keeps positions apart."""

    def __init__(self, image_shape: tuple[int, int, int], n_classes: int, width: int = 32,
                 n_blocks: tuple[int, ...] = (1, 1), block: str = "basic", expansion: int = 4,
                 stem: str = "32C3-MP2ceil", downsample: str = "stride", pool: int = 7, hidden: int = 256,
                 dropout: float = 0.2, bias: bool = False):
        super().__init__()
        check_stages("n_blocks", n_blocks, 1)
        first, (channels, *sides) = feature_layers(stem_layers(stem), image_shape, bias=bias, name="stem")
        self.stem = nn.Sequential(*first)
        blocks: list[nn.Module] = []
        for stage, count in enumerate(n_blocks):
            out_channels = (width << stage) * (expansion if block == "bottleneck" else 1)
            for i in range(count):
                stride = 2 if downsample == "stride" and stage and i == 0 else 1
                if block == "bottleneck":
                    blocks.append(Bottleneck(channels, out_channels, stride, expansion=expansion, bias=bias))
                else:
                    kind = BasicBlock if block == "basic" else PreActivationBlock
                    blocks.append(kind(channels, out_channels, stride, bias=bias))
                channels, sides = out_channels, [-(-side // stride) for side in sides]
            if downsample == "pool":
                blocks.append(nn.MaxPool2d(3, 2, padding=1))
                sides = [-(-side // 2) for side in sides]
        if block == "preactivation":
            blocks += [nn.BatchNorm2d(channels), nn.ReLU()]
        self.blocks = nn.Sequential(*blocks)
        shape = channels, sides[0], sides[1]
        self.head = Head(shape, n_classes, pool=pool, hidden=hidden, dropout=dropout, bias=bias)

    def forward(self, x: Tensor) -> Tensor:          # (n, channels, height, width)
        x = self.stem(x)                             # (n, stem's maps, height / 2, width / 2)
        x = self.blocks(x)                           # (n, channels, height', width')
        return self.head(x)                          # (n, n_classes)


class ResNetClassifier(ImageClassifier):
    """Residual network for small images: the recommended default.

    Images must be large enough for the stem to leave a pixel: with the default stem, any size will do.

    All parameters of `ImageClassifier`, with a recipe chosen on a validation split of Fashion-MNIST's training images
    for the best accuracy in about three minutes on two CPU cores (``examples/benchmarks/choose_recipe.py``), and:

    Parameters
    ----------
    width : int
        Channels of the first stage; every further stage has twice as many.
    n_blocks : tuple of int
        Number of residual blocks in each stage, 1,000 in all at most.
    block : {"basic", "bottleneck", "preactivation"}
        Two 3 x 3 convolutions; 1 x 1, 3 x 3, 1 x 1 (He et al., 2016, https://arxiv.org/abs/1512.03385); or two 3 x 3
        convolutions, each after its normalisation and ReLU (He et al., 2016, https://arxiv.org/abs/1603.05027).
    expansion : int
        Outputs of "bottleneck" blocks have this many times the stage's channels; other blocks ignore it.
    stem : str
        Convolutions and poolings before the first stage, in the notation of `ConvNetClassifier`, with padding "same"
        and rounding "floor". Batch normalisation and ReLU follow every convolution.
    downsample : {"stride", "pool"}
        How height and width are halved: by the first block of every stage but the first, or by a 3 x 3 max pooling with
        stride 2 after every stage.
    pool : int
        The last feature map is averaged to at most this many rows and columns; 1 is global average pooling.
    hidden : int
        Units of a dense layer before the logits; 0 for none.
    dropout : float
        Dropout rate before the logits, from 0 to below 1.
    bias : bool
        Whether convolutions and the dense layer have biases, which batch normalisation makes superfluous.

    Examples
    --------
    >>> from fmnist_sk import ResNetClassifier
    >>> ResNetClassifier(augment="fashion", max_epochs=3)
    ResNetClassifier(augment='fashion', max_epochs=3)
    """

    module: Any = ResNet
    width: int = 32
    n_blocks: tuple[int, ...] = (1, 1)
    block: str = "basic"
    expansion: int = 4
    stem: str = "32C3-MP2ceil"
    downsample: str = "stride"
    pool: int = 7
    hidden: int = 256
    dropout: float = 0.2
    bias: bool = False
    optimizer: Any = "sgd"
    lr: float = 0.2
    weight_decay: float = 5e-4
    schedule: str = "one_cycle"
    label_smoothing: float = 0.1
    max_epochs: int = 9
    augment: Any = "light"

    _parameter_constraints = {
        **ImageClassifier._parameter_constraints,
        **HEAD_CONSTRAINTS,
        "width": POSITIVE,
        "n_blocks": [tuple, list],
        "block": [StrOptions({"basic", "bottleneck", "preactivation"})],
        "expansion": POSITIVE,
        "downsample": [StrOptions({"stride", "pool"})],
        "bias": ["boolean"],
    }

    def _minimum_size(self) -> int:
        return minimum_side(stem_layers(self.stem))
