"""What is saved of one kind of estimator, and how it is rebuilt."""
from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sklearn.base import BaseEstimator

from fmnist_sk._saving.fields import Field, Sizes, n_features, texts

Fitted = dict[str, Any]
NOT_KEPT = {"n_jobs": None, "memory": None, "pre_dispatch": "2*n_jobs"}     # of a machine, not of a model
OUTPUT = ("_sklearn_output_config",)                                # of set_output
ONLY_TO_FIT = {"random_state"}                                      # may be an object, which is not saved
EVERY: dict[str, Field] = {"n_features_in_": n_features, "feature_names_in_": texts("p"),
                           "_sklearn_output_config": lambda value, sizes: type(value) is dict and list(
                               value.items()) in [[("transform", kind)] for kind in ("default", "pandas", "polars")]}


@dataclass(frozen=True)
class Form:
    """A kind of estimator, or of another object that is determined by its constructor's parameters.

    kind : its class
    fitted : attributes that every fit leaves, with their rules
    optional : attributes that only some fits leave, with their rules
    params : rules for parameters beyond scikit-learn's own
    unsaved : parameters that may not be storable, and what they then become, with a warning
    is_consistent : whether attributes are consistent, if that takes more than types, shapes and ranges
    pack, unpack : what is saved of a fitted object, if not its attributes, and how it is restored
    complete : sets attributes that follow from others
    is_right : whether the parameters of a built object are consistent
    cost : bytes that a fitted object takes besides its attributes
    """

    kind: type
    fitted: dict[str, Field] = field(default_factory=dict)
    optional: dict[str, Field] = field(default_factory=dict)
    params: dict[str, Field] = field(default_factory=dict)
    unsaved: dict[str, Any] = field(default_factory=dict)
    is_consistent: Callable[[Any, Fitted], bool] = lambda part, fitted: True
    pack: Callable[[Any], Fitted] = lambda part: vars(part)
    unpack: Callable[[Any, Fitted], None] = lambda part, fitted: vars(part).update(fitted)
    complete: Callable[[Any], None] = lambda part: None
    is_right: Callable[[Any], bool] = lambda part: True
    cost: Callable[[Fitted], int] = lambda fitted: 0

    def params_of(self, part: Any) -> dict[str, Any]:
        """Parameters of an object, without those that belong to a machine."""
        if isinstance(part, BaseEstimator):
            params = part.get_params(deep=False)
        else:
            own = {**vars(part), **vars(part).get("cvargs", {})}            # of scikit-learn's repeated splits
            params = {name: own[name] for name in inspect.signature(self.kind).parameters if name in own}
        return {name: NOT_KEPT.get(name, value) for name, value in params.items()}

    def takes(self, part: Any) -> bool:
        """Whether a file may hold an object with these parameters, for objects with rules of their own."""
        params = self.params_of(part)
        return all(rule(params.get(key), {}) for key, rule in self.params.items())

    def fitted_of(self, part: Any) -> Fitted | None:
        """Fitted attributes of an object that predictions need; None for one that was not fitted."""
        if not any(name in vars(part) for name in ("tree_", "_fit_X", *self.fitted)):
            return None
        found = {**self.pack(part), **{name: vars(part)[name] for name in OUTPUT if name in vars(part)}}
        return {name: found[name] for name in {**EVERY, **self.fitted, **self.optional} if name in found}

    def build(self, params: dict[str, Any], fitted: Fitted | None, spend: Callable[[int], None]) -> Any:
        """An object with these parameters and attributes. Raises ValueError for those that no fit leaves."""
        name = self.kind.__name__
        for key, rule in self.params.items():
            _check(rule(params.get(key), {}), name, key, params.get(key))
        try:
            part = self.kind(**{key: NOT_KEPT.get(key, value) for key, value in params.items()})
            if hasattr(self.kind, "_parameter_constraints"):
                part._validate_params()
            if not self.is_right(part):
                raise ValueError(f"its {name} has parameters that do not fit together.")
            if fitted is not None:
                self._set(part, fitted, name, spend)
        except (TypeError, AttributeError, IndexError, KeyError) as error:
            raise ValueError(f"its {name} cannot be built: {error!s:.200}") from error
        return part

    def _set(self, part: Any, fitted: Fitted, name: str, spend: Callable[[int], None]) -> None:
        self.check(part, fitted, name)
        spend(self.cost(fitted))
        self.unpack(part, {key: value for key, value in fitted.items() if key not in OUTPUT})
        vars(part).update({key: fitted[key] for key in OUTPUT if key in fitted})
        self.complete(part)

    def check(self, part: Any, fitted: Fitted, name: str) -> None:
        """Raise ValueError for attributes that no fit leaves."""
        sizes: Sizes = {}
        rules = {**EVERY, **self.fitted, **self.optional}
        if unknown := fitted.keys() - rules.keys():
            raise ValueError(f"its {name} has an unknown attribute {min(unknown)[:50]!r}.")
        for key, rule in rules.items():
            if key in self.fitted or key in fitted:
                _check(key in fitted and rule(fitted[key], sizes), name, key, fitted.get(key))
        if not self.is_consistent(part, fitted):
            raise ValueError(f"its {name} has attributes that do not fit together.")


def _check(is_right: bool, kind: str, name: str, value: Any) -> None:
    if not is_right:
        said = repr(value)[:100] if isinstance(value, (int, float, str, type(None))) else type(value).__name__
        raise ValueError(f"its {kind} has a wrong {name}: {said}.")
