"""Detects that other programs keep a fit's threads from the processors."""
from __future__ import annotations

import time

import torch

from fmnist_sk._runtime.cpu import set_threads
from fmnist_sk._runtime.warn import warn

WINDOW = 2.0        # seconds of steps between two checks
STARVED = 0.7       # of a processor: a thread that gets less waits for others, which wait for a processor
PAUSE = 60.0        # seconds after which as many threads as before are tried again


class Watch:
    """A context for each step, which compares how long steps take with how long their thread computes.

    Threads that share an operation wait for one another at its end. If other programs want the same processors, one
    thread is always without, and all wait until the system lets it run: fits can then take more than ten times as long.

    may_change : whether the fit continues with half as many threads, which round differently, besides warning
    """

    def __init__(self, may_change: bool):
        self.may_change = may_change
        self.warned = False
        self.before = 0                 # threads before, if it now uses fewer
        self.retry_at = 0.0
        self._begin()

    def _begin(self) -> None:
        self.seconds = self.computed = 0.0

    def __enter__(self) -> None:
        self._started = time.monotonic(), time.thread_time()

    def __exit__(self, kind, error, trace) -> None:
        now = time.monotonic()
        self.seconds += now - self._started[0]
        self.computed += time.thread_time() - self._started[1]
        if self.seconds >= WINDOW:
            self._judge(now)
            self._begin()

    def _judge(self, now: float) -> None:
        n_threads, share = torch.get_num_threads(), self.computed / self.seconds
        if n_threads > 1 and share < STARVED:
            fewer = n_threads // 2
            if not self.warned:
                self._warn(n_threads, fewer, share)
                self.warned = True
            if self.may_change:
                self.before, self.retry_at = max(self.before, n_threads), now + PAUSE
                set_threads(fewer)
        elif self.before and now > self.retry_at:
            set_threads(self.before)
            self.before = 0

    def _warn(self, n_threads: int, fewer: int, share: float) -> None:
        what_now = f"It continues with {fewer} for now." if self.may_change else "Set n_threads=1, or fewer than now."
        warn(f"Others use the processors: {n_threads} threads of this fit wait for one another, and compute only "
             f"{share:.0%} of the time. {what_now}")
