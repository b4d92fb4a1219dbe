"""Estimators that schema.py does not declare, through skops: only if the user trusts them, and nothing is promised."""
from __future__ import annotations

import io
import zipfile
from typing import Any

from sklearn.base import BaseEstimator

from fmnist_sk._runtime.optional import optional
from fmnist_sk._storage.document import EXTRA
from fmnist_sk.classifier import ImageClassifier


class SavedClassifier(BaseEstimator):
    """Placeholder for a classifier of this package in files of version 0.1.0."""

    def __init__(self, index: int):
        self.index = index


def dump_foreign(estimator: Any) -> tuple[bytes, set[str]]:
    """An estimator in skops's format, and the names of what must be trusted to load it."""
    name = type(estimator).__name__

    def refuse_networks(part: Any) -> None:
        if isinstance(part, ImageClassifier):
            raise ValueError(f"{name} cannot be saved: it holds a {type(part).__name__}, and is not one of the "
                             "estimators that may hold one in a file.")

    replace(estimator, refuse_networks)
    skops = optional("skops.io", *EXTRA)
    try:
        data = skops.dumps(estimator)
    except Exception as error:          # skops's errors have no common base class
        raise ValueError(f"{name} cannot be saved: {error}") from error
    needed = {full_name(type(estimator)), *skops.get_untrusted_types(data=data)}
    if local := [kind for kind in needed if "<" in kind]:
        raise ValueError(f"{name} cannot be saved: {local[0]} has no name by which it could be imported.")
    return data, needed


def load_foreign(data: bytes, kind: Any, trusted: list) -> Any:
    """Reverse of `dump_foreign`. Raises ValueError unless `kind`, its class's name, and all it needs are trusted."""
    names = {full_name(known) for known in trusted}
    needed = {kind} if kind not in names else set(optional("skops.io", *EXTRA).get_untrusted_types(data=data))
    if needed - names:
        raise ValueError(f"it needs {sorted(map(str, needed - names))}, which are not known here: if the file is from "
                         "someone you trust, pass the classes and functions themselves, trusted=[...].")
    return optional("skops.io", *EXTRA).loads(data, trusted=sorted(needed))


def load_old(data: bytes, classifiers: list, trusted: list) -> Any:
    """What version 0.1.0 wrote around classifiers, all in skops's format."""
    if not trusted:
        raise ValueError("it is of version 0.1.0 and holds parts of scikit-learn in a form that may run code: if it is "
                         "from someone you trust, load it with trusted=[...] of their classes, and save it again.")
    renamed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(renamed, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b'"fmnist_sk._skops"', f'"{__name__}"'.encode()))
    skops = optional("skops.io", *EXTRA)
    needed = set(skops.get_untrusted_types(data=renamed.getvalue()))
    own = {kind for kind in needed if kind.partition(".")[0] in ("fmnist_sk", "numpy", "sklearn")}
    if missing := needed - own - {full_name(kind) for kind in trusted}:
        raise ValueError(f"it needs {sorted(missing)} to be trusted as well, trusted=[...].")
    loaded = skops.loads(renamed.getvalue(), trusted=sorted(needed))
    return replace(loaded, lambda part: classifiers[part.index] if isinstance(part, SavedClassifier) else None)


def replace(value: Any, other: Any, seen: dict | None = None) -> Any:
    """`value` with each part replaced by `other(part)` unless that is None."""
    seen = {} if seen is None else seen
    if (new := other(value)) is not None:
        return new
    if id(value) in seen or isinstance(value, (str, bytes, type)):
        return value
    seen[id(value)] = value
    if isinstance(value, (list, tuple)):
        items = [replace(item, other, seen) for item in value]
        if isinstance(value, list):
            value[:] = items
            return value
        return type(value)(items) if type(value) is tuple else value
    parts = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    for key, item in list(parts.items()):
        parts[key] = replace(item, other, seen)
    return value


def full_name(kind: Any) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
