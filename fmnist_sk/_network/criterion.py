"""A net's loss: built from parameters, and applied to logits."""
from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fmnist_sk._data.checks import check_probabilities
from fmnist_sk._runtime.graphs import is_own_code
from fmnist_sk._runtime.parameters import check_arguments
from fmnist_sk.losses import LOSSES, Loss


def build_criterion(criterion: str | type | nn.Module, given: dict[str, Any], label_smoothing: float,
                    device: torch.device) -> nn.Module:
    """The loss on a device: one of LOSSES by name, a class, or a copy of an instance, with the settings `given`."""
    if isinstance(criterion, nn.Module) and not given:
        return copy.deepcopy(criterion).to(device)
    kind = LOSSES[criterion] if isinstance(criterion, str) else criterion
    settings: dict[str, Any] = {}
    if isinstance(kind, nn.Module):              # an instance keeps its settings except those given
        names = inspect.signature(type(kind)).parameters
        settings = {name: getattr(kind, name) for name in names if hasattr(kind, name)}
        kind = type(kind)
    elif "label_smoothing" in inspect.signature(kind).parameters:
        settings = {"label_smoothing": label_smoothing}
    check_arguments("criterion", kind, given)
    settings |= given
    try:
        return kind(**settings).to(device)
    except (TypeError, ValueError) as error:
        raise type(error)(f"criterion cannot be created with {settings}: {error}") from error


def batch_loss(criterion: nn.Module, logits: Tensor, codes: Tensor, X: Any = None, training: bool = False) -> Tensor:
    """Mean loss of logits (n, n_classes), with soft targets if images were mixed, weighted if there are weights.

    nn.NLLLoss gets their log-softmax, as PyTorch defines it.

    X : a batch's mapping, whose "weights" and "targets" are used; anything else has none
    training : as in skorch's get_loss; the loss is the same in validation
    """
    mapping = X if isinstance(X, Mapping) else {}
    weights, targets = mapping.get("weights"), mapping.get("targets")
    if weights is not None and not hasattr(criterion, "reduction"):
        raise ValueError("criterion must have an attribute `reduction`, as PyTorch's losses have, for training "
                         f"with sample_weight or class_weight, got {criterion!r}.")
    criterion.reduction = "mean" if weights is None else "none"  # type: ignore[assignment]  # as losses have it
    try:
        given = logits.log_softmax(1) if isinstance(criterion, nn.NLLLoss) else logits
        loss = criterion(given, codes if targets is None else targets)
    except (RuntimeError, TypeError, IndexError, ValueError) as error:
        if isinstance(criterion, Loss):
            raise
        what = "class codes (n,)" if targets is None else \
            "the shares of the classes (n, n_classes), because images were mixed or have a teacher"
        raise ValueError(f"criterion must take logits (n, n_classes) and {what}, but {criterion!r} fails: "
                         f"{error}") from error
    expected = () if weights is None else (len(logits),)
    if not isinstance(loss, Tensor) or loss.shape != expected:
        raise ValueError(f"criterion must return a tensor of shape {expected} with reduction="
                         f"{criterion.reduction!r}, got {tuple(getattr(loss, 'shape', (type(loss).__name__,)))}.")
    return loss if weights is None else (loss * weights).mean()


def probabilities_of(criterion: nn.Module, logits: Tensor) -> Tensor:
    """(n, n_classes): the criterion's method `probabilities` applied to logits, else their softmax."""
    function = getattr(criterion, "probabilities", None)
    if function is None:
        return logits.softmax(1)
    found = function(logits)
    if not is_own_code(criterion) and not torch.compiler.is_exporting():
        rule = "criterion must have a method `probabilities` that turns logits (n, n_classes) into as many numbers " \
               f">= 0, which sum to one for each image (that of {criterion!r} does not)"
        # Rows with NaN pass: they come from logits that are not finite, which predictions report themselves.
        check_probabilities(found, logits.shape, rule, finite=False)
    return found
