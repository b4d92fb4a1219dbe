"""The base class of schedules and transformers, and checks that apply to any parameter."""
from __future__ import annotations

import difflib
import inspect
import numbers
from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval

from fmnist_sk._runtime.site import OnSite

ELSEWHERE = {           # what other libraries call a parameter
    "learning_rate": "lr", "learning_rate_init": "lr", "epochs": "max_epochs", "n_epochs": "max_epochs",
    "max_iter": "max_epochs", "n_iter_no_change": "patience", "validation_split": "validation_fraction",
    "alpha": "weight_decay", "loss": "criterion", "solver": "optimizer", "seed": "random_state",
    "n_jobs": "n_threads", "hidden_layer_sizes": "architecture", "n_estimators": "n_members",
    "base_estimator": "estimator",
}
INSTEAD_OF: dict[str, Callable[[Any], str]] = {     # an object whose parameters can be set, instead of a name or a list
    "augment": lambda value: f"Preset({value!r})" if isinstance(value, str) else (
        "make_pipeline(RandomCrop())" if value else "Preset('fashion') or RandomCrop()"),
    "schedule": lambda value: "Exponential() instead of 'exponential'"}


def named(params: Iterable[str], name: str) -> list[str]:
    """The parameters of an estimator, or of estimators in it, that have this name."""
    return [key for key in params if key == name or key.endswith(f"__{name}")]


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """The known parameter that was probably meant, or None."""
    known = list(known)
    if ELSEWHERE.get(name) in known:
        return ELSEWHERE[name]
    return next(iter(difflib.get_close_matches(name, known, 1)), None)


def check_arguments(part: str, function: Callable, given: Iterable[str], among: Iterable[str] | None = None,
                    more: str = "") -> None:
    """Raise TypeError for settings ``part__*`` that `function`, of which the part is made, does not take.

    among : the arguments that can be set, if not all
    more : a remark after them
    """
    accepted = inspect.signature(function).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in accepted.values()):
        return
    known = list(accepted if among is None else among)
    for name in given:
        if name not in known:
            meant = did_you_mean(name, known)
            raise TypeError(f"{part} has no argument {name}{f': did you mean {part}__{meant}?' if meant else ':'} "
                            f"{getattr(function, '__name__', function)} takes {', '.join(known) or 'none'}{more}.")


def set_nested(estimator: BaseEstimator, params: dict) -> None:
    """scikit-learn's set_params, with ValueErrors that help.

    They are for unknown names, and for nested ones, such as ``schedule__factor``, of plain values.
    """
    known = estimator.get_params(deep=False)
    for name in params:
        own = name.partition("__")[0]
        if own not in known and (meant := did_you_mean(own, known)):
            raise ValueError(f"Invalid parameter {own!r} for estimator {type(estimator).__name__}: did you mean "
                             f"{meant}?")
    try:
        BaseEstimator.set_params(estimator, **params)
    except AttributeError as error:
        if "set_params" not in str(error):
            raise
        nested = {name: name.partition("__")[0] for name in params if "__" in name}
        wrong = [name for name, part in nested.items() if not hasattr(getattr(estimator, part), "set_params")]
        name = (wrong or list(nested))[0]
        part = nested[name]
        value = getattr(estimator, part)
        example = f"; pass, for example, {INSTEAD_OF[part](value)}" if part in INSTEAD_OF else ""
        raise ValueError(f"{name} needs an object with parameters, got {part}={value!r}{example}.") from error


def check_numbers(params: dict) -> None:
    """Raise TypeError or ValueError for numbers that neither NumPy nor PyTorch can compute with."""
    for name, value in params.items():
        if isinstance(value, numbers.Real) and not isinstance(value, (int, float, np.number)):
            raise TypeError(f"{name} must be an int or a float, got {name}={value!r}.")
        if isinstance(value, int) and abs(value) >= 2**63:
            raise ValueError(f"{name} must be a number of 64 bits, got an int of {value.bit_length()} bits.")


def is_whole(value: Any) -> bool:
    """Whether this is a whole number; True and False are none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def check_count(value: Any, name: str, least: int = 1) -> int:
    """`value` as an int. Raise ValueError naming the parameter `name` unless it is a whole number >= `least`."""
    if not is_whole(value) or value < least:
        raise ValueError(f"{name} must be a whole number >= {least}, got {name}={value!r}.")
    return int(value)


class _Numbers(Interval):
    """scikit-learn's interval, without booleans."""

    def is_satisfied_by(self, val: Any) -> bool:
        return not isinstance(val, bool) and super().is_satisfied_by(val)


def whole(least: int | None, most: int | None = None) -> Interval:
    """The constraint on a parameter that is a whole number from `least` to `most`; None for no limit."""
    closed = "right" if least is None else "left" if most is None else "both"
    return _Numbers(numbers.Integral, least, most, closed=closed)


def real(least: float, most: float | None = None, closed: str = "both") -> Interval:
    """The constraint on a parameter that is a number from `least` to `most`; None for no limit.

    closed : "both", "left", "right" or "neither": which of the two it may be
    """
    return _Numbers(numbers.Real, least, most, closed=closed)


class Estimator(OnSite, BaseEstimator):
    """scikit-learn's base class, with errors that name the parameter."""

    def set_params(self, **params: Any) -> Self:
        """Set parameters of this estimator, and those of nested objects (``estimator__lr``).

        Parameters
        ----------
        **params
            New values by name.

        Returns
        -------
        estimator
            The estimator itself.

        Raises
        ------
        ValueError
            For names that do not exist.
        """
        set_nested(self, params)
        return self

    def _validate_params(self) -> None:
        check_numbers(self.get_params(deep=False))
        super()._validate_params()
