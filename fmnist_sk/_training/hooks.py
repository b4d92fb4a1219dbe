"""Who looks at batches: only then is the loss of every batch read, and are hooks called for it.

On CUDA to read a number means to wait for the device. So a pass reads its sums once, at its end, unless a callback or
the net itself has a hook for batches; and the history holds batches only if somebody may read them there.
"""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from skorch import NeuralNet
from skorch.callbacks import Callback, PassthroughScoring

from fmnist_sk._runtime.graphs import is_own_code

BATCH_HOOKS = "on_batch_begin", "on_batch_end", "on_grad_computed"


def has_own(part: Any, base: type, name: str) -> bool:
    """Whether the class of `part`, or `part` itself, replaces what `base` does."""
    return getattr(getattr(part, name), "__func__", None) is not getattr(base, name)


def is_hooked(net: Any, *names: str) -> bool:
    """Whether a callback or the net has a hook of one of these names."""
    return any(has_own(net, NeuralNet, name) or any(has_own(callback, Callback, name) for _, callback in net.callbacks_)
               for name in names)


def is_examined(net: Any) -> bool:
    """Whether skorch's SkorchDoctor has its hooks on the network."""
    layers = net.module_.modules() if net.initialized_ else ()
    hooks = (getattr(hook, "func", hook) for layer in layers for hook in layer._forward_hooks.values())
    return any(getattr(hook, "__module__", "") == "skorch._doctor" for hook in hooks)


def may_read_batches(callbacks: Iterable[tuple[str, Any]]) -> bool:
    """Whether a callback may look for batches in the history at the end of an epoch: those of others, whose code is
    not known, and skorch's PassthroughScoring."""
    return any(isinstance(callback, PassthroughScoring) or not (
        is_own_code(callback) or type(callback).__module__.startswith("skorch.")) for _, callback in callbacks)
