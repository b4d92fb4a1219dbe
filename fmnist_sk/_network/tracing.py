"""Forward passes through a network that record inputs and outputs of its layers."""
from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from fmnist_sk._runtime.cpu import use_cpu

# For each layer, in the order of computation: its first input tensor, or None, and its first output tensor.
Traces = dict[str, tuple[Tensor | None, Tensor]]


class Hooks:
    """Context that gives the Traces of `layers` in this thread's passes; other threads may use the network too.

    Layers that output no tensor are left out. If a layer is called several times, the last call counts.
    """

    def __init__(self, layers: dict[str, nn.Module]):
        self.layers = layers

    def __enter__(self) -> Traces:
        seen: Traces = {}
        thread = threading.get_ident()

        def hook_of(name):
            def hook(module, args, kwargs, output):
                if threading.get_ident() == thread:
                    found = _first_tensor(output if isinstance(output, (tuple, list)) else (output,))
                    seen.pop(name, None)                     # the last call decides the order
                    if found is not None:
                        seen[name] = _first_tensor((*args, *kwargs.values())), found
            return hook

        self.handles = [layer.register_forward_hook(hook_of(name), with_kwargs=True)
                        for name, layer in self.layers.items()]
        return seen

    def __exit__(self, *error):
        for handle in self.handles:
            handle.remove()


def trace_layers(module: nn.Module, layers: dict[str, nn.Module], shape: tuple[int, int, int]) -> Traces:
    """The traces of one black image (channels, height, width). Leaves the module in evaluation mode."""
    device = next(module.parameters()).device
    with torch.enable_grad(), Hooks(layers) as seen:       # without gradients, attention is one uncounted kernel
        module.eval()(torch.zeros(1, *shape, device=device))
    return seen


def layer_outputs(classifier, X, layers: dict[str, nn.Module]) -> Iterator[Traces]:
    """The traces of each batch of X. Raise ValueError for outputs that do not have one row for each image."""
    for batch in classifier.get_iterator(classifier.get_dataset(X)):
        size = len(batch[0]["x"])
        with Hooks(layers) as seen, use_cpu(classifier.n_threads):
            classifier.evaluation_step(batch)
        rows = classifier._rows_for(size)
        for name, (_, output) in seen.items():
            if output.ndim == 0 or len(output) != rows:
                raise ValueError(f"layers must give one row for each image, but {name!r} gives the shape "
                                 f"{tuple(output.shape)} for {rows} images.")
        yield {name: (None if input_ is None else input_[:size], output[:size])
               for name, (input_, output) in seen.items()}


def _first_tensor(values: Iterable) -> Tensor | None:
    return next((value for value in values if isinstance(value, Tensor)), None)


def layers_by_name(network: nn.Module, names: Sequence[str], parameter: str) -> dict[str, nn.Module]:
    """The modules of a network by name. Raise ValueError naming `parameter` for unknown names."""
    known = dict(network.named_modules())
    if unknown := [name for name in names if not isinstance(name, str) or name not in known]:
        raise ValueError(f"{parameter} must be named as in the network ({', '.join(filter(None, known))}), got "
                         f"{unknown}.")
    return {name: known[name] for name in names}


def is_layer(module: nn.Module) -> bool:
    """Whether a module computes something itself, rather than through its children."""
    is_leaf = not any(True for _ in module.children()) and not isinstance(module, (nn.Sequential, nn.Identity))
    return is_leaf or count(module, recurse=False) > 0


def count(module: nn.Module, recurse: bool = True) -> int:
    """Number of parameters, with `recurse` including those of all sublayers."""
    return sum(parameter.numel() for parameter in module.parameters(recurse))
