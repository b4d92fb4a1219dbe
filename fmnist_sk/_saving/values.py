"""Estimators and settings as JSON and tensors, and back: those that schema.py declares, and others that are trusted."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from fmnist_sk import losses, networks
from fmnist_sk._runtime.warn import warn
from fmnist_sk._saving.foreign import dump_foreign, full_name, load_foreign
from fmnist_sk._saving.form import ONLY_TO_FIT
from fmnist_sk._saving.schema import FORMS, FUNCTIONS
from fmnist_sk._storage.values import OBJECT, Decoder, Encoder
from fmnist_sk.classifier import ImageClassifier

MOST_USES = 64              # of one classifier in a file: each use takes as long as another classifier
MOST_NESTED = 10            # levels of estimators: scikit-learn queries the next one about three times at each


def _classes_in(place: Any, base: type) -> list[type]:
    return [kind for kind in vars(place).values() if isinstance(kind, type) and issubclass(kind, base)]


# Classes that settings may name, by setting.
CLASSIFIERS = [ImageClassifier, *(getattr(networks, name) for name in networks.__all__)]
ROLES: dict[str, list[type]] = {
    "classifier": CLASSIFIERS,
    "module": [kind.module for kind in CLASSIFIERS if isinstance(getattr(kind, "module", None), type)],
    "criterion": [*losses.LOSSES.values(), nn.BCEWithLogitsLoss, nn.CrossEntropyLoss, nn.HuberLoss, nn.L1Loss,
                  nn.MSELoss, nn.MultiLabelSoftMarginLoss, nn.MultiMarginLoss, nn.NLLLoss, nn.SmoothL1Loss],
    "optimizer": _classes_in(torch.optim, torch.optim.Optimizer),
    "schedule": _classes_in(torch.optim.lr_scheduler, torch.optim.lr_scheduler.LRScheduler),
}


class EstimatorEncoder(Encoder):
    """Encodes estimators too; this package's classifiers are put in the list `classifiers`.

    `untrusted` are the names of classes that `load` will require to be trusted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.classifiers: list[ImageClassifier] = []
        self.used: Counter[int] = Counter()
        self.untrusted: set[str] = set()
        self.depth = 0

    def other(self, value: Any, name: str) -> Any:
        if known := [key for key, function in FUNCTIONS.items() if function is value]:
            return {"function": known[0]}
        if isinstance(value, type):
            if not any(value in kinds for kinds in ROLES.values()):
                self.untrusted.add(full_name(value))
            return {"class": full_name(value)}
        if isinstance(value, ImageClassifier):
            if not any(value is known for known in self.classifiers):
                self.classifiers.append(value)
            index = next(i for i, known in enumerate(self.classifiers) if known is value)
            self.used[index] += 1
            if self.used[index] > MOST_USES:
                raise ValueError(f"{name} cannot be saved: it uses one {type(value).__name__} more than {MOST_USES} "
                                 "times.")
            return {"classifier": index}
        form = FORMS.get(type(value).__name__)
        if form is not None and form.kind is type(value) and form.takes(value):
            return self._declared(form, value)
        if not isinstance(value, BaseEstimator):
            return super().other(value, name)
        data, needed = dump_foreign(value)
        self.untrusted |= needed
        return {"foreign": full_name(type(value)), "data": self.encode(np.frombuffer(data, dtype=np.uint8), name)}

    def _declared(self, form: Any, value: Any) -> dict:
        params, fitted = {}, form.fitted_of(value)
        depth = self.depth = self.depth + 1
        if depth > MOST_NESTED:
            raise ValueError(f"{form.kind.__name__} cannot be saved: it is in more than {MOST_NESTED} estimators.")
        if fitted is not None:
            try:
                form.check(value, fitted, form.kind.__name__)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise ValueError(f"{form.kind.__name__} cannot be saved: {error}") from error
        self.spend(OBJECT + (0 if fitted is None else form.cost(fitted)))
        for key, param in form.params_of(value).items():
            try:
                params[key] = self.encode(param, key)
            except ValueError as error:
                self.depth = depth
                if key in ONLY_TO_FIT:
                    warn(f"{key} of {form.kind.__name__} is not saved.")
                    continue
                if key not in form.unsaved:
                    raise
                params[key] = self.encode(form.unsaved[key], key)
                warn(f"{form.kind.__name__}: {error}")
        described = {"object": form.kind.__name__, "params": params, **({} if fitted is None else {
            "fitted": {key: self.encode(item, key) for key, item in fitted.items()}})}
        self.depth -= 1
        return described


class EstimatorDecoder(Decoder):
    """Decodes estimators too.

    `classifiers` are those in the file, `used` counts how often each was needed, `kinds` are the names of all other
    objects.
    """

    def __init__(self, tensors: dict[str, Tensor], trusted: Iterable[Any] = ()):
        super().__init__(tensors)
        self.trusted = list(trusted) if isinstance(trusted, Iterable) and not isinstance(trusted, str) else [trusted]
        if wrong := [kind for kind in self.trusted if not hasattr(kind, "__qualname__")]:
            raise TypeError(f"trusted must hold classes or functions, such as trusted=[MyNetwork], got {wrong}.")
        self.classifiers: list[ImageClassifier] = []
        self.used: Counter[int] = Counter()
        self.kinds: set[str] = set()
        self.depth = 0
        self.is_open = False            # whether classifiers may be referred to (not by one another)

    def find(self, name: Any, role: str) -> Any:
        """The class of this name, if it is allowed for such a setting or trusted."""
        role = role.removeprefix("param_").rpartition("__")[2]             # also in a search's cv_results_
        for kind in (*ROLES.get("schedule" if role == "scheduler" else role, ()), *self.trusted):
            if full_name(kind) == name:
                return kind
        own: list[Any] = self.trusted
        moved = [kind for kind in own if str(name).rpartition(".")[2] == kind.__qualname__]     # to another module
        if len(moved) == 1:
            return moved[0]
        raise ValueError(f"it needs the class {name!r:.200}, which is not known here: if the file is from someone you "
                         "trust, pass the class itself, trusted=[...].")

    def other(self, value: Any, name: str) -> Any:
        match value:
            case {"function": str() as key} if key in FUNCTIONS and name in ("func", "inverse_func"):
                return FUNCTIONS[key]
            case {"class": kind}:
                return self.find(kind, name)
            case {"classifier": int() as index} if self.is_open and 0 <= index < len(self.classifiers):
                self.used[index] += 1
                if self.used[index] > MOST_USES:
                    raise ValueError(f"it uses one classifier more than {MOST_USES} times.")
                return self.classifiers[index]
            case {"foreign": str() as kind, "data": data} if isinstance(data := self.decode(data), np.ndarray):
                return load_foreign(data.tobytes(), kind, self.trusted)
            case {"object": str() as kind, "params": dict() as params}:
                form = FORMS.get(kind.rpartition(".")[2])               # until 0.1.0 with its module
                if form is None:
                    raise ValueError(f"it holds an object of {kind[:100]!r}, which is not known here.")
                self.kinds.add(form.kind.__name__)
                self.depth += 1
                if self.depth > MOST_NESTED:
                    raise ValueError(f"it holds an estimator that is in more than {MOST_NESTED} others.")
                self.spend(OBJECT)
                fitted = value.get("fitted")
                built = form.build({key: self.decode(item, key) for key, item in params.items()}, None if fitted is None
                                   else {key: self.decode(item) for key, item in fitted.items()}, self.spend)
                self.depth -= 1
                return built
        return super().other(value, name)
