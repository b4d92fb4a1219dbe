"""How many CPU threads PyTorch computes with."""
from __future__ import annotations

import contextlib
import threading

import torch

_lock = threading.Lock()
_active = 0                     # how many are within the context, in all threads
_before = 1                     # what was set before the first of them


@contextlib.contextmanager
def use_threads(n: int | None):
    """Within this context, PyTorch computes with n threads; with None as it is set.

    A part of the setting (MKL's) is the whole process's, so it is given back by the last one who leaves.
    """
    global _active, _before
    if n is None:
        yield
        return
    with _lock:
        if not _active:
            _before = torch.get_num_threads()
        _active += 1
        torch.set_num_threads(n)
    try:
        yield
    finally:
        with _lock:
            _active -= 1
            if not _active:
                torch.set_num_threads(_before)
