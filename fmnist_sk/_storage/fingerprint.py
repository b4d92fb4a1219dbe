"""A hash of settings, data and code, by which a fit finds its own checkpoint."""
from __future__ import annotations

import functools
import hashlib
import inspect
import types
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn


def fingerprint(*parts) -> str:
    """A hash of settings, data and code that is the same in another process."""
    digest = hashlib.sha256()
    _feed(digest, (torch.__version__, _package_code(), *parts))
    return digest.hexdigest()[:24]


@functools.cache
def _package_code() -> str:
    package = Path(__file__).parents[1]
    code = [(str(path.relative_to(package)), path.read_text()) for path in sorted(package.rglob("*.py"))]
    return hashlib.sha256(repr(code).encode()).hexdigest()


def _feed(digest, value) -> None:
    digest.update(f"<{type(value).__qualname__}>".encode())
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous()
        digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, np.ndarray) and value.dtype != object:
        digest.update(f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    elif hasattr(value, "to_numpy"):
        _feed(digest, value.to_numpy())
    elif isinstance(value, (Mapping, set, frozenset)):
        for key in sorted(value, key=repr):
            _feed(digest, (key, value[key]) if isinstance(value, Mapping) else key)
    elif isinstance(value, (list, tuple, np.ndarray)):
        for item in value:
            _feed(digest, item)
    elif hasattr(value, "__array__") and not isinstance(value, (type, np.generic)):
        _feed(digest, np.asarray(value))
    elif isinstance(value, np.random.RandomState):
        _feed(digest, tuple(value.get_state())[1:])
    elif isinstance(value, nn.Module):
        layers = {name: (type(layer), {key: item for key, item in vars(layer).items() if not key.startswith("_")})
                  for name, layer in value.named_modules()}
        _feed(digest, (layers, value.state_dict()))
    elif hasattr(value, "get_params") and not isinstance(value, type):
        _feed(digest, (type(value), value.get_params(deep=False)))
    elif isinstance(value, functools.partial):
        _feed(digest, (value.func, value.args, value.keywords))
    elif isinstance(value, types.CodeType):
        _feed(digest, (value.co_code, value.co_names, value.co_consts))
    elif isinstance(value, types.FunctionType):
        closure = [cell.cell_contents for cell in value.__closure__ or ()]
        _feed(digest, (value.__module__, value.__qualname__, value.__code__, value.__defaults__, closure))
    elif isinstance(value, type) or inspect.isroutine(value):
        _feed(digest, (value.__module__, value.__qualname__, _sources(value)))
    elif type(value).__repr__ is object.__repr__:           # which contains a memory address
        _feed(digest, (type(value), getattr(value, "__dict__", {})))
    else:
        digest.update(repr(value).encode())
    digest.update(b"</>")


@functools.cache
def _sources(value) -> list[str]:
    """The sources of a user's class or function, and of those that it uses, if available.

    PyTorch and this package are represented by their versions.
    """
    found, waiting = {}, [value]
    while waiting:
        part = waiting.pop()
        if part in found or str(part.__module__).partition(".")[0] in ("builtins", "torch", "fmnist_sk"):
            continue
        try:
            found[part] = inspect.getsource(part)
        except (OSError, TypeError):
            found[part] = ""
        if isinstance(part, type):
            waiting += part.__bases__
        for function in vars(part).values() if isinstance(part, type) else [part]:
            if isinstance(function, types.FunctionType):
                named = (function.__globals__.get(name) for name in function.__code__.co_names)
                waiting += [item for item in named if isinstance(item, (type, types.FunctionType))]
    return sorted(found.values())
