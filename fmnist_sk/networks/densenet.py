"""Densely connected networks."""
from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_sk._runtime.parameters import real
from fmnist_sk.classifier import ImageClassifier
from fmnist_sk.networks._blocks import DEPTH, POSITIVE, Concatenate, Head


class DenseLayer(nn.Module):
    """Appends `growth` channels by a 3 x 3 convolution; with `bottleneck`, after a 1 x 1 one to 4 * growth channels."""

    def __init__(self, channels: int, growth: int, bottleneck: bool):
        super().__init__()
        steps: list[nn.Module] = []
        if bottleneck:
            steps += [nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, 4 * growth, 1, bias=False)]
            channels = 4 * growth
        steps += [nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, growth, 3, padding=1, bias=False)]
        self.steps = nn.Sequential(*steps)
        self.concatenate = Concatenate()

    def forward(self, x: Tensor) -> Tensor:                    # (n, channels, height, width)
        return self.concatenate(x, self.steps(x))              # (n, channels + growth, height, width)


class DenseNet(nn.Module):
    """A convolution, three stages of dense layers with transitions that halve the size, global average pooling."""

    def __init__(self, image_shape: tuple[int, int, int], n_classes: int, depth: int = 40, growth: int = 12,
                 bottleneck: bool = True, compression: float = 0.5):
        super().__init__()
        per_layer = 6 if bottleneck else 3
        if depth < 4 + per_layer or (depth - 4) % per_layer:
            raise ValueError(f"depth must be {per_layer} n + 4 for n >= 1 dense layers in each stage with "
                             f"bottleneck={bottleneck}, got depth={depth}.")
        channels, *sides = image_shape
        width = 2 * growth if bottleneck else 16
        self.stem = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        stages: list[nn.Module] = []
        for stage in range(3):
            if stage:
                narrow = max(1, int(width * compression))
                stages += [nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, narrow, 1, bias=False),
                           nn.AvgPool2d(2, ceil_mode=True)]
                width, sides = narrow, [-(-side // 2) for side in sides]
            for _ in range((depth - 4) // per_layer):
                stages.append(DenseLayer(width, growth, bottleneck))
                width += growth
        self.stages = nn.Sequential(*stages, nn.BatchNorm2d(width))
        self.head = Head((width, sides[0], sides[1]), n_classes, pool=1)

    def forward(self, x: Tensor) -> Tensor:          # (n, channels, height, width)
        x = self.stem(x)                             # (n, 2 * growth, height, width)
        x = F.relu(self.stages(x))                   # (n, channels', height / 4, width / 4)
        return self.head(x)                          # (n, n_classes)


class DenseNetClassifier(ImageClassifier):
    """Densely connected network, DenseNet-BC.

    Images can have any size. All parameters of `ImageClassifier`, with the optimizer, learning rate and weight decay of
    the paper by Huang et al., but a one-cycle schedule and PyTorch's initialisation, and:

    Parameters
    ----------
    depth : int
        Number of layers as the paper counts them: 6 n + 4 for n dense layers in each of the three stages with
        `bottleneck`, 3 n + 4 without; 1,000 at most.
    growth : int
        Channels that every dense layer appends.
    bottleneck : bool
        "B" of BC: a 1 x 1 convolution to 4 * growth channels before every 3 x 3 convolution.
    compression : float
        "C" of BC: the share of the channels, above 0 to 1, that is passed to the next stage.

    References
    ----------
    Huang et al., 2017, https://arxiv.org/abs/1608.06993

    Examples
    --------
    >>> from fmnist_sk import DenseNetClassifier
    >>> DenseNetClassifier(depth=100)
    DenseNetClassifier(depth=100)
    """

    module: Any = DenseNet
    depth: int = 40
    growth: int = 12
    bottleneck: bool = True
    compression: float = 0.5
    optimizer: Any = "sgd"
    lr: float = 0.1
    weight_decay: float = 1e-4
    schedule: str = "one_cycle"
    max_epochs: int = 15
    augment: Any = "light"

    _parameter_constraints = {
        **ImageClassifier._parameter_constraints,
        "depth": DEPTH,
        "growth": POSITIVE,
        "bottleneck": ["boolean"],
        "compression": [real(0, 1, "right")],
    }
