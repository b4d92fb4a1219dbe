"""Values as texts: on the command line, and in the JSON of a config.json."""
import argparse
import ast
import contextlib
import inspect
import json

import torch
from sklearn.base import BaseEstimator

import fmnist_sk

CLASSES = {name: getattr(fmnist_sk, name) for name in fmnist_sk.__all__ if isinstance(getattr(fmnist_sk, name), type)}
LONGEST_TEXT = 10_000       # characters of a literal of Python
WORDS = {"none": None, "true": True, "false": False}


def evaluate(text):
    """The value that a text on the command line stands for: a word, a number, JSON, or a literal of Python."""
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    try:
        for read in (json.loads, literal):
            with contextlib.suppress(ValueError, SyntaxError, RecursionError, MemoryError):
                value = read(text)
                break
        else:
            if set(text) & set("()[]{}'\",="):
                raise ValueError("it is neither JSON nor a Python literal")
            return text
        return from_json(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"{text[:200]!r} cannot be used: {error!s:.300}; an object is written as "
                                         '{"RandomCrop": {"padding": 2}}') from error


def literal(text):
    """A literal of Python. Raises ValueError for long ones, which take 500 times as much memory."""
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"a literal may have at most {LONGEST_TEXT:,} characters")
    return ast.literal_eval(text)


def from_json(value):
    """What a value in config.json stands for: {"RandomCrop": {"padding": 2}} for an object, "(1, 2)" for a tuple.

    Nothing but CLASSES is ever called.
    """
    if isinstance(value, str) and value.startswith(("(", "[", "{")):
        with contextlib.suppress(ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            return literal(value)
    if isinstance(value, (list, tuple)):
        return type(value)(map(from_json, value))
    if isinstance(value, dict):
        value = {name: from_json(item) for name, item in value.items()}
        match list(value.items()):
            case [(str() as name, dict() as params)] if name in CLASSES:
                return CLASSES[name](**params)
    if value is not None and not isinstance(value, (str, int, float, list, tuple, dict)):
        raise ValueError(f"{value!r} is not a number, string, list, tuple or dict")
    return value


def as_json(name, value):
    """A value as config.json holds it. Unlike repr it never leaves anything out."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (BaseEstimator, torch.nn.Module)) and type(value).__name__ in CLASSES:
        params = {key: getattr(value, key) for key, parameter in inspect.signature(type(value)).parameters.items()
                  if not (key == "module" and parameter.default is getattr(value, key))}        # the class says it
        return {type(value).__name__: {key: as_json(key, param) for key, param in params.items()}}
    if isinstance(value, list):
        return [as_json(name, item) for item in value]
    text = value if isinstance(value, str) else repr(value)
    if from_json(text) == value and type(from_json(text)) is type(value):
        return text
    raise ValueError(f"{name}={value!r} cannot be written to config.json.")
