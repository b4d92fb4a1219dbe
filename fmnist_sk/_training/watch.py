"""Detects that other programs keep a fit's threads from the processors."""
from __future__ import annotations

import time

import torch

from fmnist_sk._runtime.cpu import seconds_in_queue, set_threads
from fmnist_sk._runtime.warn import warn

WINDOW = 2.0        # seconds of steps between two checks
STARVED = 0.7       # of a processor: a thread that gets less waits for others, which wait for a processor
PAUSE = 60.0        # seconds after which as many threads as before are tried again


class Watch:
    """A context for each step, which compares how long steps take with how long their thread computes.

    Threads that share an operation wait for one another at its end. If other programs want the same processors, one
    thread is always without, and all wait until the system lets it run: fits can then take more than ten times as long.
    Steps that wait for something else, such as a debugger, are told from these where the system says how long threads
    were ready to run and did not: at least half of the time that is missing.

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
        self.queued = seconds_in_queue()

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
        if n_threads > 1 and share < STARVED and self._is_queued():
            fewer = n_threads // 2
            changed = self.may_change and set_threads(fewer)
            if changed:
                self.before, self.retry_at = max(self.before, n_threads), now + PAUSE
            if not self.warned:
                self._warn(n_threads, share, f"It continues with {fewer} for now." if changed else
                           "Set n_threads=1, or fewer than now.")
                self.warned = True
        elif self.before and now > self.retry_at:
            set_threads(self.before)
            self.before = 0

    def _is_queued(self) -> bool:
        """Whether its threads were kept from the processors, as far as the system says."""
        queued = seconds_in_queue()
        return queued is None or self.queued is None or queued - self.queued > (self.seconds - self.computed) / 2

    def _warn(self, n_threads: int, share: float, what_now: str) -> None:
        warn(f"Others use the processors: {n_threads} threads of this fit wait for one another, and compute only "
             f"{share:.0%} of the time. {what_now}")
