"""The base class of schedules and transformers, and checks that apply to any parameter."""
from __future__ import annotations

import numbers
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator

from fmnist_sk._runtime.site import OnSite


def set_nested(estimator: BaseEstimator, params: dict) -> None:
    """scikit-learn's set_params, with a ValueError for nested names, such as ``schedule__factor``, of plain values."""
    try:
        BaseEstimator.set_params(estimator, **params)
    except AttributeError as error:
        if "set_params" not in str(error):
            raise
        nested = {name: name.partition("__")[0] for name in params if "__" in name}
        wrong = [name for name, part in nested.items() if not hasattr(getattr(estimator, part), "set_params")]
        name = (wrong or list(nested))[0]
        raise ValueError(f"{name} needs an object with parameters, got {nested[name]}="
                         f"{getattr(estimator, nested[name])!r}; examples: OneCycle(), Preset('fashion').") from error


def check_numbers(params: dict) -> None:
    """Raise TypeError or ValueError for numbers that neither NumPy nor PyTorch can compute with."""
    for name, value in params.items():
        if isinstance(value, numbers.Real) and not isinstance(value, (int, float, np.number)):
            raise TypeError(f"{name} must be an int or a float, got {name}={value!r}.")
        if isinstance(value, int) and abs(value) >= 2**63:
            raise ValueError(f"{name} must be a number of 64 bits, got an int of {value.bit_length()} bits.")


class Estimator(OnSite, BaseEstimator):
    """scikit-learn's base class, with errors that name the parameter."""

    def set_params(self, **params: Any) -> Self:
        """Set parameters of this estimator, and those of nested objects (``estimator__lr``)."""
        set_nested(self, params)
        return self

    def _validate_params(self) -> None:
        check_numbers(self.get_params(deep=False))
        super()._validate_params()
