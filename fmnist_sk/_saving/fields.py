"""Valid attributes of a saved estimator: types, shapes and ranges, for the declarations in schema.py.

A field is a function ``(value, sizes) -> bool``. `sizes` holds the values of letters that stand for sides of an
estimator's arrays: the first array with a letter determines that side's length, and all others must agree.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

Sizes = dict[str, int]
Field = Callable[[Any, Sizes], bool]
Side = int | str


def fits(side: Side, n: int, sizes: Sizes) -> bool:
    """Whether a side of length n is as declared: a number, a letter, or a letter minus a number, "k-1"."""
    if isinstance(side, int):
        return n == side
    letter, _, less = side.partition("-")
    return n == sizes.setdefault(letter, n + int(less or 0)) - int(less or 0)


def array(kinds: str, *shape: Side, low: float = -math.inf, below: float | str = math.inf) -> Field:
    """An array of numbers of these NumPy kinds, from `low` to below `below`, which can be a letter, or NaN.

    Not a masked array, whose masked numbers compiled code would still read.
    """
    def check(value: Any, sizes: Sizes) -> bool:
        if not (type(value) is np.ndarray and value.dtype.kind in kinds and value.ndim == len(shape)
                and all(fits(side, n, sizes) for side, n in zip(shape, value.shape, strict=True))):
            return False
        limit = sizes.get(below, 0) if isinstance(below, str) else below
        return not ((value < low).any() or (limit < math.inf and (value >= limit).any()))
    return check


def floats(*shape: Side, low: float = -math.inf) -> Field:
    return array("f", *shape, low=low)


def integers(*shape: Side, low: float = 0, below: float | str = math.inf) -> Field:
    return array("iu", *shape, low=low, below=below)


def number(low: float = -math.inf, high: float = math.inf) -> Field:
    """A number, including NaN."""
    def check(value: Any, sizes: Sizes) -> bool:
        return isinstance(value, (int, float, np.number)) and type(value) is not bool and not (
            value < low or value > high)
    return check


def integer(low: float = 0, high: float = 2**62, letter: str | None = None) -> Field:
    """A whole number; with a letter, the length of the sides with that letter."""
    def check(value: Any, sizes: Sizes) -> bool:
        return isinstance(value, (int, np.integer)) and type(value) is not bool and bool(low <= value <= high) and (
            letter is None or fits(letter, int(value), sizes))
    return check


def labels(letter: str) -> Field:
    """Distinct numbers or strings in order, one for each class."""
    def check(value: Any, sizes: Sizes) -> bool:
        return (type(value) is np.ndarray and value.ndim == 1 and value.dtype.kind in "biufUO"
                and (value.dtype.kind != "O" or all(isinstance(label, str) for label in value))
                and fits(letter, len(value), sizes) and np.array_equal(np.unique(value), value))
    return check


def texts(letter: str) -> Field:
    def check(value: Any, sizes: Sizes) -> bool:
        return (type(value) is np.ndarray and value.shape == value.shape[:1] and value.dtype.kind in "UO"
                and all(isinstance(text, str) for text in value) and fits(letter, len(value), sizes))
    return check


def one_of(*values: Any) -> Field:
    return lambda value, sizes: any(type(value) is type(known) and value == known for known in values)


def either(*fields: Field) -> Field:
    return lambda value, sizes: any(field(value, sizes) for field in fields)


def many(field: Field, letter: Side, kind: type[list] | type[tuple] = list) -> Field:
    """A list of one or more values that satisfy `field`; letters apply within each value only."""
    def check(value: Any, sizes: Sizes) -> bool:
        return type(value) is kind and len(value) > 0 and fits(letter, len(value), sizes) and all(
            field(item, dict(sizes)) for item in value)
    return check


def estimator(*methods: str) -> Field:
    """An estimator with these methods, as its class defines them."""
    return lambda value, sizes: isinstance(value, BaseEstimator) and all(
        callable(getattr(value, method, None)) for method in methods)


def mapping(value: Any, sizes: Sizes) -> bool:
    """A dict from strings to anything that a file can hold."""
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


n_features = integer(1, 2**21, letter="p")         # of a row
