"""How many rows a batch of few images needs for its predictions to be independent of the other images."""
from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from fmnist_sk._network.tracing import Hooks, is_layer

MIN_ROWS = 16               # from here on, kernels give an image the same bits in a batch of any size
FEWER = 1, 2, 4, 8          # which may do so too, depending on the network, the threads and the processor

# For each network, by what decides on the kernels besides it and the number of rows: whether the bits are the same.
_known: WeakKeyDictionary[nn.Module, dict[tuple, bool]] = WeakKeyDictionary()


def rows_for(n: int, module: nn.Module, arithmetic: tuple, infer: Callable[[Tensor], Tensor],
             images: Callable[[int], Tensor]) -> int:
    """The least number of rows, n or more, in which n images get the same logits as in any larger batch.

    module : the network, tried when it first gets few images
    arithmetic : what decides on the kernels besides the network, such as the number of threads
    infer : returns the network's logits (n, n_classes) of images (n, channels, height, width)
    images : returns a number of images to try
    """
    if n >= MIN_ROWS:
        return n
    known = _known.setdefault(module, {})
    for rows in FEWER:
        if rows >= n:
            key = *arithmetic, rows
            if key not in known:
                same = _same_bits(module, infer, images(MIN_ROWS), rows)
                if same is None:
                    return MIN_ROWS
                known[key] = same
            if known[key]:
                return rows
    return MIN_ROWS


def _same_bits(module: nn.Module, infer: Callable[[Tensor], Tensor], x: Tensor, rows: int) -> bool | None:
    """Whether every layer outputs the same for `rows` images at a time as for all; None if it does for all images.

    Rounding hides from the logits what differs inside.
    """
    layers = {name: layer for name, layer in module.named_modules() if is_layer(layer)}

    def outputs(x: Tensor) -> dict[str, Tensor]:
        with Hooks(layers) as seen:
            logits = infer(x)
        return {**{name: output for name, (_, output) in seen.items()}, "logits of all": logits}

    expected = outputs(x)
    if len(expected["logits of all"].unique(dim=0)) < len(x):       # such as of a last layer that begins with zeros
        return None
    try:
        parts = [outputs(part) for part in x.split(rows)]
        return all(torch.cat([part[name] for part in parts]).equal(output) for name, output in expected.items())
    except (RuntimeError, ValueError, IndexError, TypeError, KeyError):
        return False            # the network cannot take so few, as one that squeezes its output
