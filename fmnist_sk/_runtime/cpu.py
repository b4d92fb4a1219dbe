"""How networks use the CPU: PyTorch's threads, and memory kept by the process between steps."""
from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import joblib
import torch

_lock = threading.Lock()
_n_computing = 0                # how many contexts of use_cpu are open, in all threads
_since = 0.0                    # when the first of them was entered, in seconds
_n_setting = 0                  # how many of them set the number of threads
_before = 1                     # the number of threads before the first of these
_mine = threading.local()       # left: the number of threads that this thread must set again; uses: its contexts
_is_fork = False                # whether this process was forked, without the threads of its parent
# Options of glibc's mallopt: their values within use_cpu, and otherwise, unless the environment sets others (the
# highest that glibc itself chooses). Blocks of at least the first size are mapped from the system one by one; free
# memory at the end of the heap is returned to the system if it is larger than the second. Mapping it anew in every step
# slows a training, most of all under Dask, whose workers return everything at once.
_THRESHOLDS = {"MALLOC_MMAP_THRESHOLD_": (-3, 2**25, 2**25), "MALLOC_TRIM_THRESHOLD_": (-1, 2**31 - 1, 2**26)}
_asked = {name: os.environ.get(name, "") for name in _THRESHOLDS}          # glibc reads them once, too
_mallopt: Callable[[int, int], int] | None = None                # None with another allocator
with contextlib.suppress(AttributeError, OSError, TypeError):
    _mallopt, _malloc_trim = ctypes.CDLL(None).mallopt, ctypes.CDLL(None).malloc_trim


def n_processors() -> int:
    """Number of processors that this process may use, by its affinity, its container's quota and joblib's limit.

    The quota, of which a part of a processor counts as one, is that at the first call. joblib's limit is the
    environment's LOKY_MAX_CPU_COUNT; raises ValueError for others than whole numbers.
    """
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    limit = os.environ.get("LOKY_MAX_CPU_COUNT")
    try:
        return _n_processors(frozenset(affinity), limit)
    except ValueError as error:         # of joblib, which does not say of what
        raise ValueError("the environment's LOKY_MAX_CPU_COUNT must be a whole number above 0, got "
                         f"{limit!r}.") from error


@functools.lru_cache(maxsize=8)
def _n_processors(affinity: frozenset[int], limit: str | None) -> int:
    return joblib.cpu_count()           # which reads the quota from files


@contextlib.contextmanager
def use_cpu(n_threads: int | None) -> Iterator[None]:
    """Context in which PyTorch computes with n_threads (None: its current setting) and keeps the memory it frees.

    There are never more than n_processors: a thousand threads are 60 times as slow. A forked process uses one thread.
    """
    global _n_computing, _since
    with _lock:
        _n_computing += 1
        if _n_computing == 1:
            _since = time.monotonic()
            _set_thresholds(computing=True)
        if not _n_setting and hasattr(_mine, "left"):
            torch.set_num_threads(vars(_mine).pop("left"))
    use = _Use()
    uses = vars(_mine).setdefault("uses", [])
    uses.append(use)
    try:
        most = 1 if _is_fork else n_processors()
        if n_threads is not None or torch.get_num_threads() > most:
            use.set_threads(min(int(n_threads or most), most))
        yield
    finally:
        uses.remove(use)
        use.finish()
        with _lock:
            _n_computing -= 1
            if not _n_computing:
                _set_thresholds(computing=False)


def set_threads(n_threads: int) -> bool:
    """Set the number of threads for the rest of this thread's innermost use_cpu context; False if it is in none."""
    uses = getattr(_mine, "uses", None)
    if uses:
        uses[-1].set_threads(n_threads)
    return bool(uses)


def seconds_in_queue() -> float | None:
    """How long this process's threads have waited for a processor in all, in seconds; None where Linux does not say."""
    try:
        each = [int(path.read_text().split()[1]) for path in Path("/proc/self/task").glob("*/schedstat")]
    except (OSError, ValueError, IndexError):       # such as of a thread that ends meanwhile
        return None
    return sum(each) / 1e9 if each else None


class _Use:
    """One context of use_cpu."""

    def __init__(self) -> None:
        self.n_threads: int | None = None           # that it has set

    def set_threads(self, n_threads: int) -> None:
        global _n_setting, _before
        with _lock:
            if self.n_threads is None:
                if not _n_setting:
                    _before = torch.get_num_threads()
                _n_setting += 1
            self.n_threads = n_threads
            torch.set_num_threads(n_threads)

    def finish(self) -> None:
        """Restore the previous number of threads: that of the context around this one, if that has set any.

        Part of the setting (MKL's) belongs to the process: the last context that ends restores it. The other part
        (OpenMP's) belongs to the thread: a thread that leaves before others restores it the next time.
        """
        global _n_setting
        with _lock:
            if self.n_threads is None:
                return
            _n_setting -= 1
            if around := [use.n_threads for use in _mine.uses if use.n_threads is not None]:
                torch.set_num_threads(around[-1])
            elif _n_setting:
                _mine.left = _before
            else:
                torch.set_num_threads(_before)
                vars(_mine).pop("left", None)


def _begin_anew() -> None:
    """Forget the parent's threads in a forked process.

    There PyTorch computes with one thread, here and elsewhere: OpenMP would wait forever for the parent's threads.
    """
    global _lock, _n_computing, _n_setting, _mine, _is_fork
    _lock, _n_computing, _n_setting, _mine, _is_fork = threading.Lock(), 0, 0, threading.local(), True
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def _set_thresholds(computing: bool) -> None:
    """Set mallopt's options for use within use_cpu or otherwise; at its end, return free memory to the system."""
    if _mallopt is None:
        return
    for name, (option, within, otherwise) in _THRESHOLDS.items():
        usual = min(int(_asked[name]), 2**31 - 1) if _asked[name].isdecimal() else otherwise
        _mallopt(option, within if computing else usual)
    if not computing and time.monotonic() - _since > 0.3:      # returning it takes milliseconds
        _malloc_trim(0)
