"""Wide residual networks."""
from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fmnist_sk.classifier import ImageClassifier
from fmnist_sk.networks._blocks import DEPTH, DROPOUT, POSITIVE, Head, PreActivationBlock


class WideResNet(nn.Module):
    """A convolution, three stages of pre-activation blocks, global average pooling."""

    def __init__(self, image_shape: tuple[int, int, int], n_classes: int, depth: int = 16, widen_factor: int = 4,
                 dropout: float = 0.0):
        super().__init__()
        if depth < 10 or depth % 6 != 4:
            raise ValueError(f"depth must be 6 n + 4 for n >= 1 blocks in each stage (10, 16, 22, 28, ...), got "
                             f"depth={depth}.")
        channels, *sides = image_shape
        self.stem = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        channels = 16
        blocks: list[nn.Module] = []
        for stage in range(3):
            width = (16 << stage) * widen_factor
            for i in range((depth - 4) // 6):
                stride = 2 if stage and i == 0 else 1
                blocks.append(PreActivationBlock(channels, width, stride, dropout=dropout))
                channels, sides = width, [-(-side // stride) for side in sides]
        self.blocks = nn.Sequential(*blocks, nn.BatchNorm2d(channels), nn.ReLU())
        self.head = Head((channels, sides[0], sides[1]), n_classes, pool=1)

    def forward(self, x: Tensor) -> Tensor:          # (n, channels, height, width)
        x = self.stem(x)                             # (n, 16, height, width)
        x = self.blocks(x)                           # (n, 64 * widen_factor, height / 4, width / 4)
        return self.head(x)                          # (n, n_classes)


class WideResNetClassifier(ImageClassifier):
    """Wide residual network (WRN).

    WRN-16-4, WRN-28-10, WRN-40-4 and the like of the paper by Zagoruyko and Komodakis: the numbers are `depth` and
    `widen_factor`. Images can have any size. All parameters of `ImageClassifier`, with the paper's optimizer, learning
    rate and weight decay, but a one-cycle schedule and PyTorch's initialisation, and:

    Parameters
    ----------
    depth : int
        Number of convolutional layers as the paper counts them: 6 n + 4 for n blocks in each of the three stages,
        1,000 at most.
    widen_factor : int
        The stages have 16, 32 and 64 channels times this.
    dropout : float
        Dropout rate between the two convolutions of every block, from 0 to below 1.

    References
    ----------
    Zagoruyko and Komodakis, 2016, https://arxiv.org/abs/1605.07146

    Examples
    --------
    >>> from fmnist_sk import WideResNetClassifier
    >>> WideResNetClassifier(depth=28, widen_factor=10)
    WideResNetClassifier(depth=28, widen_factor=10)
    """

    module: Any = WideResNet
    depth: int = 16
    widen_factor: int = 4
    dropout: float = 0.0
    optimizer: Any = "sgd"
    lr: float = 0.1
    weight_decay: float = 5e-4
    schedule: str = "one_cycle"
    max_epochs: int = 15
    augment: Any = "light"

    _parameter_constraints = {
        **ImageClassifier._parameter_constraints,
        "depth": DEPTH,
        "widen_factor": POSITIVE,
        "dropout": DROPOUT,
    }
