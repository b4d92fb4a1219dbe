"""Passes through a network that see what its layers take in and give."""
from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from fmnist_sk._network.generators import MIN_ROWS


class Hooks:
    """Within this context, what each of `layers` took in and gave: a dict from name to (input, output).

    Of several tensors the first; None where nothing taken in is a tensor; layers that give none are left out. Only
    this thread's passes are seen, so that others may use the network meanwhile.
    """

    def __init__(self, layers: dict[str, nn.Module]):
        self.layers = layers

    def __enter__(self) -> dict[str, tuple[Tensor | None, Tensor]]:
        seen: dict[str, tuple[Tensor | None, Tensor]] = {}
        thread = threading.get_ident()

        def hook_of(name):
            def hook(module, args, kwargs, output):
                if threading.get_ident() == thread:
                    given = _first_tensor(output if isinstance(output, (tuple, list)) else (output,))
                    seen.pop(name, None)                     # the last call decides the order
                    if given is not None:
                        seen[name] = _first_tensor((*args, *kwargs.values())), given
            return hook

        self.handles = [layer.register_forward_hook(hook_of(name), with_kwargs=True)
                        for name, layer in self.layers.items()]
        return seen

    def __exit__(self, *error):
        for handle in self.handles:
            handle.remove()


def trial(module: nn.Module, layers: dict[str, nn.Module], shape: tuple[int, int, int]) -> dict:
    """What the layers take in and give for one black image."""
    device = next(module.parameters()).device
    with torch.enable_grad(), Hooks(layers) as seen:       # without gradients, attention is one kernel not counted
        module.eval()(torch.zeros(1, *shape, device=device))
    return seen


def passes(classifier, X, layers: dict[str, nn.Module]
            ) -> Iterator[dict[str, tuple[Tensor | None, Tensor]]]:
    """For each batch of X, what the layers take in and give."""
    for batch in classifier.get_iterator(classifier.get_dataset(X)):
        size = len(batch[0]["x"])
        with Hooks(layers) as seen:
            classifier.evaluation_step(batch)
        rows = max(size, MIN_ROWS)
        for name, (_, given) in seen.items():
            if given.ndim == 0 or len(given) != rows:
                raise ValueError(f"layers must give one row for each image, but {name!r} gives the shape "
                                 f"{tuple(given.shape)} for {rows} images.")
        yield {name: (None if taken is None else taken[:size], given[:size]) for name, (taken, given) in seen.items()}


def _first_tensor(values: Iterable) -> Tensor | None:
    return next((value for value in values if isinstance(value, Tensor)), None)


def named(network: nn.Module, names: Sequence[str], parameter: str) -> dict[str, nn.Module]:
    known = dict(network.named_modules())
    if unknown := [name for name in names if not isinstance(name, str) or name not in known]:
        raise ValueError(f"{parameter} must be named as in the network ({', '.join(filter(None, known))}), got "
                         f"{unknown}.")
    return {name: known[name] for name in names}


def is_layer(module: nn.Module) -> bool:
    """Whether it computes something itself, rather than by its children."""
    is_leaf = not any(True for _ in module.children()) and not isinstance(module, (nn.Sequential, nn.Identity))
    return is_leaf or count(module, recurse=False) > 0


def count(module: nn.Module, recurse: bool = True) -> int:
    return sum(parameter.numel() for parameter in module.parameters(recurse))
