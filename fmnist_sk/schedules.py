"""How the learning rate changes during a fit.

A schedule is a function of progress (0 at the first batch, 1 after the last) that gives the factor of `lr`. It holds
no state, so training can be taken up again anywhere.
"""
from __future__ import annotations

from collections.abc import Callable


def constant(progress: float) -> float:
    """The learning rate stays as it is."""
    return 1.0


def one_cycle(progress: float, warmup: float = 0.25) -> float:
    """Up in a straight line from a tenth of `lr` during the first quarter, then down in a straight line to zero.

    After Smith and Topin, 2018, https://arxiv.org/abs/1708.07120, without the change of momentum.
    """
    if progress < warmup:
        return 0.1 + 0.9 * progress / warmup
    return max(0.0, (1 - progress) / (1 - warmup))


SCHEDULES: dict[str, Callable[[float], float]] = {"constant": constant, "one_cycle": one_cycle}
