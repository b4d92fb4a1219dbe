"""A net's optimizer, built from parameters."""
from __future__ import annotations

import copy
import fnmatch
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from fmnist_sk._runtime.parameters import check_arguments

OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "asgd": torch.optim.ASGD,
}
Named = Sequence[tuple[str, nn.Parameter]]


def build_optimizer(optimizer: str | type[torch.optim.Optimizer], named: Named, *, lr: float, momentum: float,
                    weight_decay: float, decay_biases: bool, settings: dict[str, Any]) -> torch.optim.Optimizer:
    """An optimizer of the parameters that are not frozen.

    named : pairs of a parameter's name and the parameter
    settings : the user's ``optimizer__*``; "param_groups" are pairs of a pattern of names and settings
    """
    n, named = len(named), [(name, p) for name, p in named if p.requires_grad]
    if not named:
        raise ValueError("module must have parameters to train, got a network " + (
            f"whose {n} parameters are all frozen (requires_grad=False)." if n else "without any."))
    kind = OPTIMIZERS[optimizer] if isinstance(optimizer, str) else optimizer
    accepted = [name for name in inspect.signature(kind).parameters if name != "params"]
    check_arguments("optimizer", kind, settings, among=[*accepted, "param_groups"])
    if isinstance(optimizer, str):
        if optimizer == "sgd":
            settings = {"momentum": momentum, "nesterov": bool(momentum > 0), **settings}
        if "fused" in accepted and "foreach" not in settings and named[0][1].device.type in ("cpu", "cuda"):
            settings = {"fused": all(p.is_floating_point() for _, p in named), **settings}     # one kernel a step
    decays = "weight_decay" in accepted
    settings = dict(settings)
    groups = [group for group in _groups_by_name(named, settings.pop("param_groups", ())) if group["params"]]
    if decays and not decay_biases:
        groups = _without_decay_of_biases(groups)
    defaults = {"lr": lr, "weight_decay": weight_decay} if decays else {"lr": lr}
    try:
        return kind(groups, **{**defaults, **settings})
    except (TypeError, ValueError) as error:
        raise type(error)(f"optimizer cannot be created with {({**defaults, **settings})}: {error}") from error


def _groups_by_name(named: Named, patterns: Any) -> list[dict[str, Any]]:
    """A group for each pattern that names match (the first match counts), and one for all other parameters."""
    try:
        groups = [{"params": [], **settings} for _, settings in patterns]
        others: dict[str, Any] = {"params": []}
        for name, parameter in named:
            matching = (group for (pattern, _), group in zip(patterns, groups, strict=True)
                        if fnmatch.fnmatch(name, pattern))
            next(matching, others)["params"].append(parameter)
    except (TypeError, ValueError) as error:
        raise ValueError("optimizer__param_groups must be a list of pairs (pattern of names, settings), got "
                         f"{patterns!r}.") from error
    return [*groups, others]


def _without_decay_of_biases(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The groups with biases and normalisation parameters apart, at the end, which do not decay.

    A group that sets weight_decay itself stays whole.
    """
    apart = []
    for group in groups:
        biases = [p for p in group["params"] if p.ndim <= 1]
        if biases and "weight_decay" not in group:
            exempt = {**group, "params": biases, "weight_decay": 0.0}
            group["params"] = [p for p in group["params"] if p.ndim > 1]
            if group["params"]:
                apart.append(exempt)
            else:
                group |= exempt
    return [*groups, *apart]


def set_option(groups: list[dict[str, Any]], name: str, value: float, decay_biases: bool) -> None:
    """Set the learning rate or weight decay of an optimizer's groups, of the same ones as `build_optimizer`."""
    for group in groups:
        if name != "weight_decay" or decay_biases or any(p.ndim > 1 for p in group["params"]):
            group[name] = value


def state_after_a_step(optimizer: torch.optim.Optimizer, found) -> dict[str, Any]:
    """The state of an optimizer after a step, as a pattern for `checked_copy`, from a copy that takes a step.

    Only parameters whose state `found` has, because frozen ones take no steps.
    """
    twin = copy.deepcopy(optimizer)
    for group in twin.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    twin.step()
    wanted, known = twin.state_dict(), found.get("state") if isinstance(found, dict) else None
    if isinstance(known, dict):
        wanted["state"] = {key: value for key, value in wanted["state"].items() if key in known}
    return wanted
