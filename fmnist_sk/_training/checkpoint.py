"""The part of a net that keeps the state of an unfinished fit, and goes on from it."""
from __future__ import annotations

import copy

import torch

from fmnist_sk._storage.fit_file import raise_if_interrupted, taken
from fmnist_sk._training.averages import BestEpoch
from fmnist_sk._training.steps import Steps


class Resumable(Steps):
    """Writes the state of a fit to `self._file`, if it has one, and goes on from it."""

    def _save(self, phase: int, first: int, best: BestEpoch | None, stopped: bool = False) -> None:
        if self._file is None:
            return
        self._file.save({
            "seed": self._seed, "phase": phase, "step": self._run.step, "first": first, "stopped": stopped,
            "history": list(self.history),
            "module": self.module_.state_dict(), "optimizer": self.optimizer_.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
            "best": None if best is None else best.state_dict(),
            "generators": {name: generator.get_state() for name, generator in self._generators.items()},
        })

    def _take_up(self, saved: dict, best: BestEpoch | None) -> int:
        """Go on where a checkpoint was written; returns the number of the phase's first epoch."""
        first, rows, n_steps = saved["first"], saved["history"], self._run.n_epochs * self._run.steps_per_epoch
        try:
            n_rows, n_epochs = len(rows) - first + 1, saved["step"] // self._run.steps_per_epoch
            if not (first >= 1 and 0 <= saved["step"] <= n_steps and 0 <= n_rows - n_epochs <= saved["stopped"]):
                raise ValueError("its epochs and steps are not those of this fit")
            module = taken(saved["module"], self.module_.state_dict(), "module")
            optimizer = taken(saved["optimizer"], state_after_a_step(self.optimizer_, saved["optimizer"]), "optimizer")
            states = {name: generator.get_state() for name, generator in self._generators.items()}
            states = taken(saved["generators"], states, "random generator")
            if self._average is not None:
                self._average.load_state_dict(taken(saved["average"], self._average.state_dict(), "average"))
            self._run.resume(saved["step"], rows[first - 1:])
            self.module_.load_state_dict(module)
            self.optimizer_.load_state_dict(optimizer)
            for name, generator in self._generators.items():
                generator.set_state(states[name])
            if best is not None:
                best.load_state_dict(saved["best"])
        except Exception as error:              # whatever a forged file makes of it
            raise_if_interrupted(error)
            raise ValueError(f"checkpoint: {self._file.source} is of another network or optimizer; delete it to begin "
                             f"anew ({error}).") from error
        self.history_[:], self._file.content = saved["history"], None
        if self.verbose:
            print(f"{self._file.source}: going on after epoch {len(self.history)}")
        return first


def state_after_a_step(optimizer: torch.optim.Optimizer, found) -> dict:
    """The form of an optimizer's state, for `taken`, of the parameters that `found` has a state of.

    It is that of a copy whose parameters have taken a step; those that are frozen take none.
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
