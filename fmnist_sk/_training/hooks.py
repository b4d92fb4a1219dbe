"""Who uses single batches: only then is the loss of every batch read, and are hooks called for it.

On CUDA, reading a number means waiting for the device. So a pass reads its sums only once, at its end, unless a
callback or the net itself has a hook for batches; and the history holds batches only if something may read them.
"""
from __future__ import annotations

from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, PassthroughScoring

from fmnist_sk._runtime.graphs import is_own_code
from fmnist_sk._training.net import StepBatch

BATCH_HOOKS = "on_batch_begin", "on_batch_end", "on_grad_computed"
EPOCH_HOOKS = "on_epoch_end", "on_train_end"


def has_own(part: Any, base: type, name: str) -> bool:
    """Whether the class of `part`, or `part` itself, replaces what `base` does."""
    return getattr(getattr(part, name), "__func__", None) is not getattr(base, name)


def is_hooked(net: Any, *names: str) -> bool:
    """Whether a callback or the net has a hook of one of these names, or the net overrides `notify` itself."""
    notify = net.notify
    return not notify.__module__.startswith("fmnist_sk.") or any(
        has_own(net, NeuralNet, name) or any(has_own(callback, Callback, name) for _, callback in net.callbacks_)
        for name in names)


def is_examined(net: Any) -> bool:
    """Whether skorch's SkorchDoctor has its hooks on the network."""
    layers = net.module_.modules() if net.initialized_ else ()
    hooks = (getattr(hook, "func", hook) for layer in layers for hook in layer._forward_hooks.values())
    return any(getattr(hook, "__module__", "") == "skorch._doctor" for hook in hooks)


def may_read_batches(net: Any) -> bool:
    """Whether something may look for batches in the history after an epoch: third-party callbacks, whose code is
    unknown, hooks that were set on a callback or belong to the net, and skorch's PassthroughScoring."""
    return any(has_own(net, NeuralNet, name) for name in EPOCH_HOOKS) or any(
        isinstance(callback, PassthroughScoring) or set(EPOCH_HOOKS) & set(vars(callback)) or not (
            is_own_code(callback) or type(callback).__module__.startswith("skorch."))
        for _, callback in net.callbacks_)


def for_callbacks(classes: np.ndarray, batch: StepBatch) -> tuple[Any, Any]:
    """A batch with the user's labels in place of codes, for callbacks that compute scores."""
    inputs, codes = batch
    if classes.dtype.kind in "iu" and len(classes) == classes[-1] + 1 and classes[0] == 0:      # they are the codes
        return inputs, codes
    if classes.dtype.kind in "biuf":
        return inputs, torch.from_numpy(classes).to(codes.device)[codes]
    return inputs, classes[codes.cpu().numpy()]
