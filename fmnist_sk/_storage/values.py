"""Values as JSON and tensors, and back: numbers, strings, containers, arrays and tensors."""
from __future__ import annotations

import math
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.ma import MaskedArray
from torch import Tensor

LONGEST_TEXT = 10_000       # characters
WIDEST_TEXT = 256           # characters of a type of texts, unless one of the array's is longer
MOST_SIDES = 32             # of an array of texts
MOST_WIDER = 32             # times as many columns as a matrix that is a part of a larger one
NUMBER, OBJECT = 100, 3_000                 # bytes of a history's number and of an estimator, as Python's objects
OBJECTS, OF_TENSORS = 40 * 2**20, 2         # bytes that objects may take: so many, and times those of the tensors
NUMBERS = {f"{kind}{size}" for kind in "iuf" for size in (1, 2, 4, 8)} - {"f1"}
ARRAYS = {torch.from_numpy(np.zeros(0, dtype=kind)).dtype for kind in "?bBhHiIlLefd"}


def allowed(tensors: Iterable[Tensor]) -> int:
    """Bytes that Python objects from a file with these tensors may take; some are far larger than their JSON."""
    return OBJECTS + OF_TENSORS * sum(tensor.numel() * tensor.element_size() for tensor in tensors)


class Encoder:
    """Turns values into what json.dumps accepts; arrays and tensors are put in `tensors`.

    `spent` is their size as objects in bytes, which must not exceed `allowed`.
    """

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.spent = 0

    def spend(self, n_bytes: int) -> None:
        self.spent += n_bytes

    def encode(self, value: Any, name: str) -> Any:
        """Raises ValueError naming `name` for values that cannot be stored."""
        if isinstance(value, str) and len(value) > LONGEST_TEXT:
            raise ValueError(f"{name} cannot be saved: a string must have at most {LONGEST_TEXT:,} characters, got "
                             f"{len(value):,}.")
        if isinstance(value, np.generic):           # its type determines how results are rounded
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
        raise ValueError(f"{name} cannot be saved: {type(value).__name__} is not supported, got {value!r:.200}.")

    def _number(self, value: np.generic, name: str) -> Any:
        if value.dtype.str[1:] in NUMBERS:
            return {"number": self.encode(value.item(), name), "dtype": value.dtype.str}
        return self.encode(value.item(), name) if value.dtype.kind in "bU" else Encoder.other(self, value, name)

    def _array(self, value: np.ndarray | Tensor, name: str) -> dict:
        if isinstance(value, MaskedArray) and value.dtype.kind in "biuf":
            return {"masked": self.encode(value.data, name), "mask": self.encode(np.ma.getmaskarray(value), name)}
        if isinstance(value, np.ndarray) and value.dtype.kind in "UO":
            if value.dtype.kind == "U":
                value = value.astype(f"<U{max([1, *map(len, value.ravel())])}", copy=False)
            self.spend(value.nbytes)
            return {"array": [self.encode(item, name) for item in value.ravel().tolist()], "shape": list(value.shape),
                    "dtype": value.dtype.str if value.dtype.kind == "U" else "O"}
        key = f"{name}.{len(self.tensors)}"
        if isinstance(value, Tensor):
            self.tensors[key] = value
            return {"tensor": key}
        if value.dtype.str[1:] not in NUMBERS | {"b1"}:
            Encoder.other(self, value, name)
        value = value.astype(value.dtype.newbyteorder("="), copy=False)
        if flipped := [axis for axis in range(value.ndim) if value.strides[axis] < 0 and value.size]:
            return {"flipped": self._array(np.flip(value, tuple(flipped)), name), "axes": flipped}
        is_by_column = value.ndim == 2 and value.strides[0] < value.strides[1]          # BLAS rounds it differently
        ordered = value.T if is_by_column else value
        self.tensors[key] = torch.from_numpy(np.array(ordered, order="C"))
        described: dict[str, Any] = {"columns" if is_by_column else "values": key}
        if value.ndim == 2 and ordered.size and ordered.strides[1] == value.itemsize and (
                ordered.strides[0] > value.itemsize * ordered.shape[1]):                # and a part of a larger one
            described["of"] = min(ordered.strides[0] // value.itemsize, MOST_WIDER * ordered.shape[1])
        return described


class Decoder:
    """Turns JSON into the values that an `Encoder` was given. Each of the `tensors` is used once.

    `decode` raises ValueError for anything else.
    """

    def __init__(self, tensors: dict[str, Tensor]):
        self.tensors = dict(tensors)
        self.left = allowed(tensors.values())

    def spend(self, n_bytes: int) -> None:
        """Raises ValueError if the file's objects take more bytes than a file of its size may."""
        self.left -= n_bytes
        if self.left < 0:
            raise ValueError("it holds more objects than a file of its size may.")

    def decode(self, value: Any, name: str = "") -> Any:
        """`name` is the name of the setting that holds the value."""
        if isinstance(value, str) and len(value) > LONGEST_TEXT:
            raise ValueError(f"it holds a string of {len(value):,} characters, which no fit makes.")
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, list):
            return [self.decode(item, name) for item in value]
        match value:
            case {"float": "inf" | "-inf" | "nan" as text}:
                return float(text)
            case {"number": number, "dtype": str() as dtype} if dtype[1:] in NUMBERS:
                return np.dtype(dtype).type(self.decode(number))
            case {"tuple": list() as items}:
                return tuple(self.decode(item, name) for item in items)
            case {"dict": list() as pairs}:
                return {self.decode(key): self.decode(item, str(key)) for key, item in pairs}
            case {"tensor": str() as key} if key in self.tensors:
                return self.tensors.pop(key)
            case {"flipped": {**array}, "axes": list() as axes} if "flipped" not in array:
                return np.flip(self.decode(array), tuple(axes))
            case {"values": str() as key, "of": int() as width}:
                return self._part(key, width)
            case {"columns": str() as key, "of": int() as width}:
                return self._part(key, width).T
            case {"values": str() as key} if key in self.tensors and self.tensors[key].dtype in ARRAYS:
                return self.tensors.pop(key).numpy()
            case {"columns": str() as key} if key in self.tensors and self.tensors[key].dtype in ARRAYS:
                return self.tensors.pop(key).numpy().T
            case {"array": list() as items, "shape": list() as shape, "dtype": str() as dtype}:
                return self._items([self.decode(item, name) for item in items], shape, dtype)
            case {"masked": {"values": _} as data, "mask": {"values": _} as mask}:
                numbers, masked = self.decode(data), self.decode(mask)
                if numbers.shape == masked.shape and masked.dtype == bool:
                    return MaskedArray(numbers, masked)
        return self.other(value, name)

    def other(self, value: Any, name: str) -> Any:
        raise ValueError(f"it holds {value!r:.100}, which is not a known value.")

    def _part(self, key: str, width: int) -> np.ndarray:
        """A matrix that is the left part of one with `width` columns."""
        part = self.decode({"values": key})
        if part.ndim != 2 or not part.shape[1] < width <= MOST_WIDER * part.shape[1]:
            raise ValueError(f"it holds a matrix of shape {part.shape} as a part of {width} columns.")
        self.spend(part.itemsize * len(part) * width)
        whole = np.zeros((len(part), width), dtype=part.dtype)
        whole[:, :part.shape[1]] = part
        return whole[:, :part.shape[1]]

    def _items(self, items: list, shape: list, dtype: str) -> np.ndarray:
        """An array whose items are in JSON: strings, and until 0.1.0 also numbers."""
        kind = np.dtype(dtype[:20])
        self.spend(kind.itemsize * len(items))
        widest = max([WIDEST_TEXT, *(len(item) for item in items if isinstance(item, str))])
        if kind.kind not in "biufUO" or (kind.kind == "U" and kind.itemsize > 4 * widest) or len(
                shape) > MOST_SIDES or math.prod(shape) != len(items):
            raise ValueError(f"it holds an array of {len(items):,} {dtype:.20}, which no fit makes.")
        array = np.empty(len(items), dtype=kind)
        array[:] = items
        return array.reshape(shape)


def to_columns(rows: list[dict], encoder: Encoder) -> dict[str, Any]:
    """Rows, such as a history's, as one table for each kind of row, and the kind of each row.

    A table has an array for each name with numbers, another list of rows for each name with one in every row, such as
    the batches of an epoch, and what is left as rows.
    """
    kinds: dict[frozenset, int] = {}
    numbers = [kinds.setdefault(frozenset((name, type(value)) for name, value in row.items()), len(kinds))
               for row in rows]
    tables: list[list[dict]] = [[] for _ in kinds]
    for number, row in zip(numbers, rows, strict=True):
        tables[number].append(row)
    return {"kinds": np.array(numbers), "tables": [_to_table(own, encoder) for own in tables]}


def _to_table(rows: list[dict], encoder: Encoder) -> dict[str, Any]:
    names = [name for name, value in rows[0].items() if type(value) in (bool, int, float)]
    lists = [name for name, value in rows[0].items() if type(value) is list
             and all(type(item) is dict for row in rows for item in row[name])]
    others = rows[0].keys() - {*names, *lists}
    rest = [{name: row[name] for name in others} for row in rows]
    encoder.spend(NUMBER * len(rows) * (len(names) + 1))
    return {"n": len(rows), "columns": {name: np.array([row[name] for row in rows]) for name in names},
            "lists": {name: {"lengths": np.array([len(row[name]) for row in rows]),
                             "items": to_columns([item for row in rows for item in row[name]], encoder)}
                      for name in lists},
            "rows": rest if any(rest) else []}


def to_rows(found: dict[str, Any], decoder: Decoder) -> list[dict]:
    """The rows that `to_columns` was given, except for the order of names. Raises ValueError for anything else."""
    tables = [iter(_to_rows(decoder=decoder, **table)) for table in found["tables"]]
    try:
        rows = [next(tables[kind]) for kind in found["kinds"]]
    except (IndexError, StopIteration, TypeError):
        rows = []
    if len(rows) != len(found["kinds"]) or any(True for table in tables for _ in table):
        raise ValueError("its history must have as many rows of each kind as it says.")
    return rows


def _to_rows(n: int, columns: dict[str, np.ndarray], lists: dict[str, dict], rows: list[dict],
             decoder: Decoder) -> list[dict]:
    if type(n) is not int or n < 0 or len(rows) not in (0, n):
        raise ValueError(f"its history must have a number of rows, got {n!r:.100}.")
    decoder.spend(NUMBER * n * (len(columns) + 1))
    if any(values.shape != (n,) for values in columns.values()):
        raise ValueError("its history must have a number of each kind for each epoch.")
    of_each = {name: values.tolist() for name, values in columns.items()}
    for name, found in lists.items():
        items, ends = to_rows(found["items"], decoder), np.cumsum(found["lengths"])
        if found["lengths"].shape != (n,) or (found["lengths"] < 0).any() or ends[-1:].sum() != len(items):
            raise ValueError("its history must have lists as long as it says.")
        of_each[name] = [items[end - length:end] for end, length in zip(ends, found["lengths"], strict=True)]
    return [{**{name: values[i] for name, values in of_each.items()}, **(rows[i] if rows else {})} for i in range(n)]
