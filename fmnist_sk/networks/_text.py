"""The text notation of plain convolutional networks and of stems: parsing, sizes, layers.

After Ciresan, Meier and Schmidhuber, 2012, https://arxiv.org/abs/1202.2745.
"""
from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from fmnist_sk._network.layers import Whitening
from fmnist_sk.networks._blocks import MAX_DEPTH

ACTIVATIONS = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "gelu": nn.GELU}
_TOKEN = re.compile(r"(?P<maps>\d{1,9})(?P<conv>[CW])(?P<kernel>\d{1,9})(?:/(?P<step>\d{1,9}))?(?P<padding>same|valid)?"
                    r"|(?P<pool>[MA])P(?P<window>\d{1,9})(?:/(?P<stride>\d{1,9}))?(?P<rounding>floor|ceil)?"
                    r"|G(?P<global>[MA])P"
                    r"|(?P<units>\d{1,9})N", re.ASCII)


class Layer(NamedTuple):
    """One token of a text.

    kind is "conv", "whitening", "max_pool", "avg_pool", "global_max_pool", "global_avg_pool" or "dense"; size its maps
    or units; window its kernel or window; edge "same" or "valid" of a convolution, "floor" or "ceil" of a pooling.
    """

    text: str
    kind: str
    size: int = 0
    window: int = 1
    stride: int = 1
    edge: str = ""

    def side_after(self, side: int) -> int:
        """The height (or width) of the output for one of the input; less than 1 if nothing is left."""
        if self.edge == "same":
            return -(-side // self.stride)
        if self.kind.startswith("global"):
            return 1
        if self.edge in ("floor", "valid"):
            return (side - self.window) // self.stride + 1
        last = -(-(side - self.window) // self.stride)      # the last window may hang over, but must begin inside
        return last + 1 if last * self.stride < side else last

    def side_before(self, needed: int) -> int:
        """The smallest height (or width) of the input that leaves at least `needed` of the output."""
        if self.edge == "same":
            return (needed - 1) * self.stride + 1
        if self.kind.startswith("global"):
            return 1
        if self.edge in ("floor", "valid"):
            return (needed - 1) * self.stride + self.window
        return max((needed - 2) * self.stride + self.window, (needed - 1) * self.stride) + 1


def parse_architecture(text: str, *, padding: str = "same", rounding: str = "floor", name: str = "architecture"
                       ) -> list[Layer]:
    """The layers that a text such as "32C3-MP2-64C3-MP2-128N" stands for.

    - ``32C3``: convolution of 32 maps with a 3 x 3 kernel, ``32C4/2`` one of 4 x 4 with stride 2; ``32C3same``,
      ``32C3valid`` override `padding`.
    - ``32W4/2``: such a convolution whose weights are not trained, see `Whitening`; as the first layer only.
    - ``MP2``: 2 x 2 max pooling, ``MP3/2`` 3 x 3 with stride 2, ``AP2`` average pooling; ``MP2floor`` and ``MP2ceil``
      override `rounding`.
    - ``GAP``, ``GMP``: global average and max pooling.
    - ``128N``: dense layer of 128 units. Dense layers come last. The output layer is implied.

    `name` is the name of the parameter, for messages.
    """
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a string such as '32C3-MP2', got {name}={text!r}.")
    tokens = text.split("-")
    if len(tokens) > MAX_DEPTH:
        raise ValueError(f"{name} must consist of {MAX_DEPTH:,} tokens at most, got {len(tokens):,} in "
                         f"{name}={text[:200]!r}.")
    layers: list[Layer] = []
    for token in tokens:
        match = _TOKEN.fullmatch(token)
        if match is None or any(match[key] and int(match[key]) == 0
                                for key in ("maps", "kernel", "step", "window", "stride", "units")):
            examples = "32C3, MP2 and GAP" if name == "stem" else "32C3, MP2, GAP and 128N"
            raise ValueError(f"{name} must consist of tokens such as {examples} joined by '-', got {token[:100]!r} in "
                             f"{name}={text[:200]!r}.")
        if match["units"]:
            layers.append(Layer(token, "dense", int(match["units"])))
            continue
        if layers and layers[-1].kind == "dense":
            raise ValueError(f"{name} must have its dense layers last, got {token!r} after {layers[-1].text!r} in "
                             f"{name}={text!r}.")
        if match["conv"] == "W" and layers:
            raise ValueError(f"{name} must have whitening as its first layer, because it learns from images, got "
                             f"{token!r} after {layers[-1].text!r} in {name}={text!r}.")
        if match["maps"]:
            layers.append(Layer(token, "conv" if match["conv"] == "C" else "whitening", int(match["maps"]),
                                int(match["kernel"]), int(match["step"] or 1), match["padding"] or padding))
        elif match["global"]:
            layers.append(Layer(token, f"global_{_POOLS[match['global']]}"))
        else:
            window = int(match["window"])
            layers.append(Layer(token, _POOLS[match["pool"]], window=window, stride=int(match["stride"] or window),
                                edge=match["rounding"] or rounding))
    return layers


_POOLS = {"M": "max_pool", "A": "avg_pool"}


def minimum_side(layers: Sequence[Layer]) -> int:
    """Smallest image side for which the convolutions and poolings leave at least one pixel."""
    side = 1
    for layer in reversed([layer for layer in layers if layer.kind != "dense"]):
        side = layer.side_before(side)
    return side


def feature_layers(layers: Sequence[Layer], image_shape: tuple[int, int, int], *, batch_norm: bool = True,
                   bias: bool = True, activation: str = "relu", norm_first: bool = True, name: str = "architecture"
                   ) -> tuple[list[nn.Module], tuple[int, int, int]]:
    """Modules of all but the dense layers, and the shape (channels, height, width) of their output.

    Raises ValueError, which quotes the layer that leaves no pixel.
    """
    channels, *sides = image_shape
    modules: list[nn.Module] = []
    for layer in layers:
        if layer.kind == "dense":
            break
        before, sides = sides, [layer.side_after(side) for side in sides]
        if min(sides) < 1:
            raise ValueError(f"{name} must leave at least one pixel: layer {layer.text!r} leaves no pixels of a "
                             f"{before[0]} x {before[1]} map ({name}={'-'.join(each.text for each in layers)!r}).")
        if layer.kind == "whitening":
            modules += [*_padding(layer), _whitening(channels, layer), ACTIVATIONS[activation]()]
            channels = layer.size
        elif layer.kind == "conv":
            after = [*([nn.BatchNorm2d(layer.size)] if batch_norm else []), ACTIVATIONS[activation]()]
            modules += [*_padding(layer), _convolution(channels, layer, bias), *(after if norm_first else after[::-1])]
            channels = layer.size
        elif layer.kind.startswith("global"):
            modules.append((nn.AdaptiveMaxPool2d if "max" in layer.kind else nn.AdaptiveAvgPool2d)(1))
        else:
            pool = nn.MaxPool2d if layer.kind == "max_pool" else nn.AvgPool2d
            modules.append(pool(layer.window, layer.stride, ceil_mode=layer.edge == "ceil"))
    return modules, (channels, sides[0], sides[1])


def _padding(layer: Layer) -> list[nn.Module]:
    """Zeros around the images, if a convolution cannot add them itself: an even kernel needs one more on one side."""
    before, after = (layer.window - 1) // 2, layer.window // 2
    return [nn.ZeroPad2d((before, after, before, after))] if layer.edge == "same" and before != after else []


def _convolution(channels: int, layer: Layer, bias: bool) -> nn.Module:
    return nn.Conv2d(channels, layer.size, layer.window, layer.stride, padding=_own_padding(layer), bias=bias)


def _whitening(channels: int, layer: Layer) -> nn.Module:
    try:
        return Whitening(channels, layer.size, layer.window, layer.stride, padding=_own_padding(layer))
    except ValueError as error:
        raise ValueError(f"{layer.text!r}: {error}") from error


def _own_padding(layer: Layer) -> int:
    """Zeros that the convolution itself adds on each side."""
    return layer.window // 2 if layer.edge == "same" and layer.window % 2 else 0


def stem_layers(stem: str, *, name: str = "stem") -> list[Layer]:
    """The layers of a stem: convolutions and poolings in the text notation, no dense layers."""
    layers = parse_architecture(stem, name=name)
    if layers[-1].kind == "dense":
        raise ValueError(f"{name} must hold convolutions and poolings only, got {layers[-1].text!r} in "
                         f"{name}={stem!r}.")
    return layers
