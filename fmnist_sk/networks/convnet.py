"""Plain convolutional networks, written as text."""
from __future__ import annotations

import math
import numbers
import re
from typing import Any, NamedTuple

from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor, nn

from fmnist_sk.classifier import ImageClassifier

ACTIVATIONS = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "gelu": nn.GELU}
_TOKEN = re.compile(r"(?P<maps>\d+)C(?P<kernel>\d+)|MP(?P<pool>\d+)|(?P<units>\d+)N", re.ASCII)


class Layer(NamedTuple):
    """One token of an architecture: kind "conv", "pool" or "dense"; its maps or units; its kernel or window."""

    kind: str
    size: int
    window: int
    text: str


def parse_architecture(architecture: str) -> list[Layer]:
    """The layers that a text such as "32C3-MP2-64C3-MP2-128N" stands for.

    The notation of Ciresan, Meier and Schmidhuber, 2012, https://arxiv.org/abs/1202.2745: 32C3 is a convolution with
    32 maps and a 3 x 3 kernel, MP2 a 2 x 2 max pooling, 128N a dense layer of 128 units. The output layer is implied.
    """
    if not isinstance(architecture, str):
        raise TypeError(f"architecture must be a text such as '32C3-MP2-128N', got architecture={architecture!r}.")
    layers = []
    for text in architecture.split("-"):
        match = _TOKEN.fullmatch(text)
        if match is None or 0 in (values := [int(value) for value in match.groups() if value]):
            raise ValueError(f"architecture must consist of tokens such as 32C3, MP2 and 128N joined by '-', got "
                             f"{text!r} in architecture={architecture!r}.")
        if match["units"]:
            layers.append(Layer("dense", values[0], 1, text))
            continue
        if layers and layers[-1].kind == "dense":
            raise ValueError(f"architecture must have its dense layers last, got {text!r} after "
                             f"{layers[-1].text!r} in architecture={architecture!r}.")
        layers.append(Layer("conv", *values, text) if match["maps"] else Layer("pool", 0, values[0], text))
    return layers


def _side_after(layer: Layer, side: int, padding: str) -> int:
    if layer.kind == "pool":
        return side // layer.window
    return side - layer.window + 1 if layer.kind == "conv" and padding == "valid" else side


class ConvNet(nn.Module):
    """Convolutions (with batch normalisation) and poolings, then dense layers (with dropout), then logits."""

    def __init__(self, image_shape: tuple[int, int, int], n_classes: int, architecture: str, padding: str = "same",
                 batch_norm: bool = False, dropout: float = 0.0, activation: str = "relu"):
        super().__init__()
        channels, *sides = image_shape
        features, dense = [], []
        for layer in parse_architecture(architecture):
            before, sides = sides, [_side_after(layer, side, padding) for side in sides]
            if min(sides) < 1:
                raise ValueError(f"architecture must leave at least one pixel: its layer {layer.text!r} makes none of "
                                 f"{before[0]} x {before[1]} (architecture={architecture!r}, padding={padding!r}).")
            if layer.kind == "conv":
                features += [nn.Conv2d(channels, layer.size, layer.window, padding=padding),
                             *([nn.BatchNorm2d(layer.size)] if batch_norm else []), ACTIVATIONS[activation]()]
                channels = layer.size
            elif layer.kind == "pool":
                features.append(nn.MaxPool2d(layer.window))
            else:
                dense.append(layer.size)
        inputs = channels * math.prod(sides)
        head: list[nn.Module] = []
        for units in dense:
            head += [nn.Linear(inputs, units), ACTIVATIONS[activation](), nn.Dropout(dropout)]
            inputs = units
        self.features = nn.Sequential(*features)
        self.head = nn.Sequential(*head, nn.Linear(inputs, n_classes))

    def forward(self, x: Tensor) -> Tensor:      # (n, channels, height, width)
        x = self.features(x)                     # (n, maps, height', width')
        return self.head(x.flatten(1))           # (n, n_classes)


class ConvNetClassifier(ImageClassifier):
    """Plain convolutional network whose architecture is a text.

    All parameters of `ImageClassifier`, and:

    Parameters
    ----------
    architecture : str
        In the notation of Ciresan et al., 2012: ``32C3`` is a convolution of 32 maps with a 3 x 3 kernel, ``MP2`` a
        2 x 2 max pooling that drops what does not fill a window, ``128N`` a dense layer of 128 units. A search over
        depth is a list of such texts.
    padding : {"same", "valid"}
        Of the convolutions: zeros around the image keep its size, or none.
    batch_norm : bool
        After every convolution, before its activation (Ioffe and Szegedy, 2015, https://arxiv.org/abs/1502.03167).
    dropout : float
        After every dense layer but the last (Srivastava et al., 2014).
    activation : {"relu", "leaky_relu", "elu", "gelu"}

    Examples
    --------
    >>> from fmnist_sk import ConvNetClassifier
    >>> ConvNetClassifier(architecture="16C3-MP2-32N", max_epochs=3)
    ConvNetClassifier(architecture='16C3-MP2-32N', max_epochs=3)
    """

    module: Any = ConvNet
    architecture: str = "32C3-MP2-64C3-MP2-128N"
    padding: str = "same"
    batch_norm: bool = True
    dropout: float = 0.0
    activation: str = "relu"

    _parameter_constraints = {
        **ImageClassifier._parameter_constraints,
        "padding": [StrOptions({"same", "valid"})],
        "batch_norm": ["boolean"],
        "dropout": [Interval(numbers.Real, 0, 1, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
    }

    def _minimum_size(self) -> int:
        side = 1
        for layer in reversed([layer for layer in parse_architecture(self.architecture) if layer.kind != "dense"]):
            if layer.kind == "pool":
                side *= layer.window
            elif self.padding == "valid":
                side += layer.window - 1
        return side
