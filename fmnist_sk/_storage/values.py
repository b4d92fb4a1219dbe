"""Values as JSON and tensors, and back: numbers, texts, containers, arrays and tensors."""
from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import torch
from numpy.ma import MaskedArray
from torch import Tensor

LONGEST_TEXT = 10_000       # characters
LARGEST_TEXTS = 2**24       # bytes of all arrays of texts
MOST_NUMBERS = 2**20        # of a history, as Python's objects
MOST_SIDES = 32             # of an array of texts
NUMBERS = {f"{kind}{size}" for kind in "iuf" for size in (1, 2, 4, 8)} - {"f1"}
ARRAYS = {torch.from_numpy(np.zeros(0, dtype=kind)).dtype for kind in "?bBhHiIlLefd"}


class Encoder:
    """Turns values into what json.dumps takes; arrays and tensors are put into `tensors`."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.n_bytes = 0            # of arrays of texts

    def encode(self, value: Any, name: str) -> Any:
        """Raises ValueError that names `name` for what has no form in a file."""
        if isinstance(value, str) and len(value) > LONGEST_TEXT:
            raise ValueError(f"{name} cannot be saved: a text must have at most {LONGEST_TEXT:,} characters, got "
                             f"{len(value):,}.")
        if isinstance(value, np.generic):           # its type says how it rounds what it meets
            return self._number(value, name)
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"float": repr(value)}
        if isinstance(value, (np.ndarray, Tensor)):
            return self._array(value, name)
        if isinstance(value, tuple):
            return {"tuple": [self.encode(item, name) for item in value]}
        if isinstance(value, list):
            return [self.encode(item, name) for item in value]
        if isinstance(value, dict):
            return {"dict": [[self.encode(key, name), self.encode(item, name)] for key, item in value.items()]}
        if isinstance(value, (os.PathLike, torch.device)):
            return str(value)
        return self.other(value, name)

    def other(self, value: Any, name: str) -> Any:
        raise ValueError(f"{name} cannot be saved: {type(value).__name__} has no form in a file, got {value!r:.200}.")

    def _number(self, value: np.generic, name: str) -> Any:
        if value.dtype.str[1:] in NUMBERS:
            return {"number": self.encode(value.item(), name), "dtype": value.dtype.str}
        return self.encode(value.item(), name) if value.dtype.kind in "bU" else Encoder.other(self, value, name)

    def _array(self, value: np.ndarray | Tensor, name: str) -> dict:
        if isinstance(value, MaskedArray):
            return {"masked": self.encode(value.data, name), "mask": self.encode(np.ma.getmaskarray(value), name)}
        if isinstance(value, np.ndarray) and value.dtype.kind in "UO":
            self.n_bytes += value.nbytes
            if self.n_bytes > LARGEST_TEXTS:
                raise ValueError(f"{name} cannot be saved: arrays of texts must have at most {LARGEST_TEXTS:,} bytes, "
                                 f"got {self.n_bytes:,}.")
            return {"array": [self.encode(item, name) for item in value.ravel().tolist()], "shape": list(value.shape),
                    "dtype": value.dtype.str if value.dtype.kind == "U" else "O"}
        key = f"{name}.{len(self.tensors)}"
        if isinstance(value, Tensor):
            self.tensors[key] = value
            return {"tensor": key}
        if value.dtype.str[1:] not in NUMBERS | {"b1"}:
            Encoder.other(self, value, name)
        is_by_column = value.ndim == 2 and value.flags.f_contiguous and not value.flags.c_contiguous    # BLAS rounds
        self.tensors[key] = torch.from_numpy(np.array(value.T if is_by_column else value, order="C"))   # it otherwise
        return {"columns" if is_by_column else "values": key}


class Decoder:
    """Turns JSON into the values that an `Encoder` was given. Each of the `tensors` is used once.

    `decode` raises ValueError for anything else.
    """

    def __init__(self, tensors: dict[str, Tensor]):
        self.tensors = dict(tensors)
        self.n_bytes = 0            # of arrays of texts

    def decode(self, value: Any, name: str = "") -> Any:
        """`name` is that of the setting that the value is for."""
        if isinstance(value, str) and len(value) > LONGEST_TEXT:
            raise ValueError(f"it holds a text of {len(value):,} characters, which no fit makes.")
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        match value:
            case {"float": "inf" | "-inf" | "nan" as text}:
                return float(text)
            case {"number": number, "dtype": str() as dtype} if dtype[1:] in NUMBERS:
                return np.dtype(dtype).type(self.decode(number))
            case {"tuple": list() as items}:
                return tuple(self.decode(item) for item in items)
            case {"dict": list() as pairs}:
                return {self.decode(key): self.decode(item, str(key)) for key, item in pairs}
            case {"tensor": str() as key} if key in self.tensors:
                return self.tensors.pop(key)
            case {"values": str() as key} if key in self.tensors and self.tensors[key].dtype in ARRAYS:
                return self.tensors.pop(key).numpy()
            case {"columns": str() as key} if key in self.tensors and self.tensors[key].dtype in ARRAYS:
                return self.tensors.pop(key).numpy().T
            case {"array": list() as items, "shape": list() as shape, "dtype": str() as dtype}:
                return self._items([self.decode(item) for item in items], shape, dtype)
            case {"masked": data, "mask": mask}:
                return MaskedArray(self.decode(data), self.decode(mask))
        return self.other(value, name)

    def other(self, value: Any, name: str) -> Any:
        raise ValueError(f"it holds {value!r:.100}, which means nothing here.")

    def _items(self, items: list, shape: list, dtype: str) -> np.ndarray:
        """An array whose items are in JSON: texts, and until 0.1.0 also numbers."""
        kind = np.dtype(dtype)
        self.n_bytes += kind.itemsize * len(items)
        if kind.kind not in "biufUO" or self.n_bytes > LARGEST_TEXTS or len(shape) > MOST_SIDES or math.prod(
                shape) != len(items):
            raise ValueError(f"it holds an array of {len(items):,} {dtype:.20}, which no fit makes.")
        array = np.empty(len(items), dtype=kind)
        array[:] = items
        return array.reshape(shape)


def to_columns(rows: list[dict]) -> dict[str, Any]:
    """A history's numbers as an array for each name that all epochs have, and the rest as rows.

    Raises ValueError for more numbers than `to_rows` takes.
    """
    names = [name for name in (rows[0] if rows else ())
             if len(kinds := {type(row.get(name)) for row in rows}) == 1 and kinds < {bool, int, float}]
    if len(rows) * len(names) > MOST_NUMBERS:
        raise ValueError(f"history_ cannot be saved: it must have at most {MOST_NUMBERS:,} numbers, got "
                         f"{len(rows):,} epochs of {len(names)}: del history_[:-1000] keeps the last.")
    return {"columns": {name: np.array([row[name] for row in rows]) for name in names},
            "rows": [{name: value for name, value in row.items() if name not in names} for row in rows]}


def to_rows(history: dict[str, Any]) -> list[dict]:
    """What `to_columns` was given, but for the order of names. Raises ValueError for anything else."""
    columns, rows = history["columns"], history["rows"]
    if len(columns) * len(rows) > MOST_NUMBERS or any(values.shape != (len(rows),) for values in columns.values()):
        raise ValueError(f"its history must have at most {MOST_NUMBERS:,} numbers, one of each kind for each epoch.")
    lists = {name: values.tolist() for name, values in columns.items()}
    return [{**{name: values[i] for name, values in lists.items()}, **row} for i, row in enumerate(rows)]
