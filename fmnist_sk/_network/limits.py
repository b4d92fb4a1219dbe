"""Limits of networks from files: no more layers, and no larger ones, than such networks need."""
from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from fmnist_sk._network.rows import MIN_ROWS

LARGEST_OUTPUT = 2**27          # values that a layer of a network from a file may output for MIN_ROWS images


@contextmanager
def at_most(n_parts: int) -> Iterator[None]:
    """Context in which a network with more parameters or layers than these raises ValueError as soon as it has them.
    """
    thread, counts = threading.get_ident(), {kind: itertools.count(1) for kind in (nn.Parameter, nn.Module)}

    def hook(kind, module, name, part):
        if threading.get_ident() == thread and next(counts[kind]) > n_parts:
            raise ValueError("the settings make a much larger network than the one these weights belong to.")

    handles = [register_module_parameter_registration_hook(partial(hook, nn.Parameter)),
               register_module_module_registration_hook(partial(hook, nn.Module))]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _TooLarge(ValueError):
    pass


def check_outputs(network: nn.Module, image_shape: tuple[int, int, int]) -> None:
    """Raise ValueError if a layer outputs more values for MIN_ROWS images than a network for such images needs.

    An empty batch shows the sizes; nothing is computed.
    """
    def hook(module, inputs, output):
        if isinstance(output, Tensor) and (
                n := math.prod(size or MIN_ROWS for size in output.shape)) > LARGEST_OUTPUT:
            raise _TooLarge(f"its network makes {n:,} values in one layer of {MIN_ROWS} images, of at most "
                            f"{LARGEST_OUTPUT:,}.")

    handles = [module.register_forward_hook(hook) for module in network.modules()]
    try:
        if MIN_ROWS * math.prod(image_shape) > LARGEST_OUTPUT:
            raise _TooLarge(f"its images have {math.prod(image_shape):,} values.")
        with torch.no_grad():
            network.eval()(torch.zeros(0, *image_shape))
    except _TooLarge:
        raise
    except Exception:                   # a user's network may not accept an empty batch
        pass
    finally:
        network.train()
        for handle in handles:
            handle.remove()
