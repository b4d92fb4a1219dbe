"""What a checkpoint of a fit holds, and how a fit goes on from it."""
from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch

from fmnist_sk._storage.fit_file import checked_copy, raise_if_interrupted

if TYPE_CHECKING:
    from fmnist_sk._training.phase import Phase


def state_of(phase: Phase, stopped: bool) -> dict[str, Any]:
    """The state of a fit between two epochs; `stopped`: whether a callback has ended it."""
    net, fit = phase.net, phase.fit
    return {
        "seed": fit.generators.seed, "phase": phase.index, "step": phase.schedule.step, "first": phase.first,
        "stopped": stopped, "history": list(net.history),
        "module": net.module_.state_dict(), "optimizer": net.optimizer_.state_dict(),
        "average": None if phase.average is None else phase.average.state_dict(),
        "best": None if fit.best is None else fit.best.state_dict(),
        "generators": fit.generators.state_dict(),
    }


def resume(phase: Phase, saved: dict[str, Any], source) -> None:
    """Bring a phase to where its checkpoint `saved`, of the file `source`, was written.

    Raises ValueError for a state of another network or optimizer.
    """
    net, schedule, fit = phase.net, phase.schedule, phase.fit
    first, rows, n_steps = saved["first"], saved["history"], schedule.n_epochs * schedule.steps_per_epoch
    try:
        n_rows, n_epochs = len(rows) - first + 1, saved["step"] // schedule.steps_per_epoch
        if not (first >= 1 and 0 <= saved["step"] <= n_steps and 0 <= n_rows - n_epochs <= saved["stopped"]):
            raise ValueError("its epochs and steps are not those of this fit")
        module = checked_copy(saved["module"], net.module_.state_dict(), "module")
        optimizer = checked_copy(saved["optimizer"], _state_after_a_step(net.optimizer_, saved["optimizer"]),
                                 "optimizer")
        states = checked_copy(saved["generators"], fit.generators.state_dict(), "random generator")
        if phase.average is not None:
            phase.average.load_state_dict(checked_copy(saved["average"], phase.average.state_dict(), "average"))
        schedule.resume(saved["step"], rows[first - 1:])
        net.module_.load_state_dict(module)
        net.optimizer_.load_state_dict(optimizer)
        fit.generators.load_state_dict(states)
        if fit.best is not None:
            fit.best.load_state_dict(saved["best"])
    except Exception as error:              # a forged file may raise anything
        raise_if_interrupted(error)
        raise ValueError(f"checkpoint: {source} is of another network or optimizer; delete it to begin anew ({error})."
                         ) from error
    net.history[:], phase.first, phase.done = rows, first, n_epochs
    if net.verbose:
        print(f"{source}: going on after epoch {len(net.history)}")


def _state_after_a_step(optimizer: torch.optim.Optimizer, found) -> dict[str, Any]:
    """The state of an optimizer after a step, as a pattern for `checked_copy`: of a copy that takes a step.

    Only parameters that `found` has a state of, because frozen ones take no steps.
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
