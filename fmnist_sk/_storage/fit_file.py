"""The state of an unfinished fit on disk."""
from __future__ import annotations

import math
import numbers
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fmnist_sk._runtime.warn import warn
from fmnist_sk._storage.document import read_document, write_document
from fmnist_sk._storage.files import leftovers
from fmnist_sk._storage.values import Decoder, Encoder, allowed, to_columns, to_rows

PLAIN = {"fit": str, "seed": int, "phase": int, "step": int, "first": int, "stopped": bool, "history": dict}
SUFFIX = ".safetensors"
CONTENT = *PLAIN, "module", "optimizer", "average", "best", "generators"


class PlainEncoder(Encoder):
    """Encodes NumPy numbers, such as those in an optimizer's settings, as Python numbers."""

    def _number(self, value: np.generic, name: str) -> Any:
        return self.encode(value.item(), name)


class FitFile:
    """A file in `folder` that belongs to one fit: only the same data and settings find it again.

    With `epochs`, the fit is the first `epochs` of a longer plan, and can continue from the file of a shorter fit.
    `content` is what an earlier fit left in the file `source`, or None; `n_others` counts the files of other fits. With
    `keep`, the file stays when the fit is complete.
    """

    def __init__(self, folder: str | os.PathLike, fingerprint: str, epochs: int | None = None, keep: bool = False):
        try:
            self.path = Path(folder).expanduser() / (f"{fingerprint}{SUFFIX}" if epochs is None else
                                                     f"{fingerprint}-{epochs}{SUFFIX}")
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError, RuntimeError) as error:         # such as ~ of a nonexistent user
            raise ValueError(f"checkpoint must be a folder that can be written to, got checkpoint={str(folder)!r}: "
                             f"{error}") from error
        self.keep, self._has_warned = keep, False
        paths = [self.path]
        if epochs is not None:
            names = ((path, re.fullmatch(r"-(\d+)", path.stem.removeprefix(fingerprint)))
                     for path in self.path.parent.glob(f"{fingerprint}-*{SUFFIX}"))
            found = {path: int(match[1]) for path, match in names if match}
            paths += sorted((path for path, number in found.items() if number < epochs), key=lambda path: found[path],
                            reverse=True)
        self.n_others = sum(path not in paths for path in self.path.parent.glob(f"*{SUFFIX}"))
        self.source: Path | None = None
        self.content: dict | None = None
        for path in paths:
            if self.content is None:
                self.source, self.content = path, self._load(path)

    @staticmethod
    def _load(path: Path) -> dict | None:
        try:
            described, tensors = read_document(path)
            decoder = Decoder(tensors)
            content = {name: decoder.decode(described[name], name) for name in CONTENT}
            wrong = [name for name, kind in PLAIN.items() if type(content[name]) is not kind]
            if wrong or not 0 <= content["seed"] < 2**31:
                raise ValueError(f"its {wrong or 'seed'} is not that of a fit.")
            content["history"] = to_rows(content["history"], decoder)
            _check_history(content["history"])
        except FileNotFoundError:
            return None
        except Exception as error:                  # a damaged file can raise anything
            raise_if_interrupted(error)
            warn(f"The checkpoint {path} cannot be read ({type(error).__name__}): the fit starts over.")
            return None
        if content["fit"] != path.stem:
            raise ValueError(f"checkpoint: {path} is of another fit, and was originally named "
                             f"{content['fit'][:99]}{SUFFIX}: rename or delete it.")
        return content

    def save(self, content: dict) -> None:
        """Replace the file atomically: whenever the process is killed, either the old or the new one is complete.

        If something cannot be written, because the disk is full or a value cannot be stored, it warns once; the fit
        goes on. The batches in the history, which only callbacks look at, are left out where they would be too many.
        """
        rows = [{name: _plain(value) for name, value in row.items()} for row in content["history"]]
        try:
            try:
                self._write(content, rows)
            except ValueError:
                self._write(content, [{**row, "batches": []} for row in rows])
        except (OSError, RuntimeError, ValueError) as error:
            raise_if_interrupted(error)
            if not self._has_warned:                # without the file name, so that a search's fits warn only once
                self._has_warned, reason = True, getattr(error, "strerror", None) or error
                warn(f"checkpoint: nothing can be written to the folder {self.path.parent} ({reason}). "
                     "The fit continues without it.")

    def _write(self, content: dict, rows: list[dict]) -> None:
        """Raises ValueError for rows that are more than a file of its size may hold."""
        encoder = PlainEncoder()
        described = {name: encoder.encode(value, name) for name, value in
                     {**content, "fit": self.path.stem, "history": to_columns(rows, encoder)}.items()}
        if encoder.spent > allowed(encoder.tensors.values()):
            raise ValueError("its history is too long")
        for attempt in range(5):
            try:
                return write_document(self.path, described, encoder.tensors)
            except FileNotFoundError:               # another process has completed the same fit and cleaned up
                self.path.parent.mkdir(parents=True, exist_ok=True)
                if attempt == 4:
                    raise

    def finish(self) -> None:
        """Remove or keep the file of a complete fit. Parts left by killed processes are removed too."""
        try:
            for path in (*([] if self.keep else [self.path]), *leftovers(self.path)):
                path.unlink(missing_ok=True)
        except OSError as error:
            warn(f"checkpoint: {error.filename} of a complete fit cannot be removed "
                 f"({error.strerror}).")


def checked_copy(state, like, name: str):
    """Copy of a state from a file. Raises ValueError unless keys, shapes, dtypes and types match those of `like`.

    If tensors were too small, an optimizer's step would read and write memory beyond them.
    """
    if isinstance(like, Tensor):
        if isinstance(state, Tensor) and (state.shape, state.dtype, state.layout) == (
                like.shape, like.dtype, like.layout) and not state.is_meta:
            own = torch.empty_strided(like.shape, like.stride(), dtype=like.dtype)      # such as channels_last
            return own.copy_(state.detach())
    elif isinstance(like, Mapping):
        if isinstance(state, dict) and state.keys() == like.keys():
            return {key: checked_copy(state[key], value, f"{name} {key}") for key, value in like.items()}
    elif isinstance(like, list) and like and all(type(item) is int for item in like):       # of parameters
        if state == like:
            return state
    elif isinstance(like, (list, tuple)):
        if type(state) is type(like) and len(state) == len(like):
            return type(state)(checked_copy(*pair, name) for pair in zip(state, like, strict=True))
    elif isinstance(like, numbers.Real) and not isinstance(like, bool):
        if type(state) in (int, float) and math.isfinite(state):
            return state
    elif type(state) is type(like) and state == like:
        return state
    raise ValueError(f"its {name} is not that of this fit")


def _check_history(rows: Any) -> None:
    """Raise ValueError for anything but a history."""
    numbers = "train_loss", "train_acc", "valid_loss", "valid_acc", "lr", "dur"
    for number, row in enumerate(rows, 1):
        if row["epoch"] != number or any(type(row.get(name, 0)) not in (int, float) for name in numbers):
            raise ValueError("its history is not valid.")


def raise_if_interrupted(error: BaseException) -> None:
    """Raise KeyboardInterrupt if it caused `error`: PyTorch's file functions often turn Ctrl-C into a RuntimeError."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        cause = cause.__cause__ or cause.__context__


def _plain(value: Any) -> Any:
    """A value of a history as Python numbers, strings and lists; anything else as a string."""
    if isinstance(value, (np.generic, np.ndarray, Tensor)):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)
