"""CUDA graphs: work on a device is recorded once, as a graph of kernels, and from then on started as a whole."""
from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

_one_at_a_time = threading.Lock()


class Recorded:
    """A function of tensors whose kernels are recorded and replayed (CUDA graphs).

    A step of a small network is a hundred kernels, which take longer to launch one by one than to run. The first calls
    run the function directly; the first call whose tensor sizes have occurred WARM_UP times before is recorded, and
    later calls with these sizes replay it. Each replay overwrites the results of the previous one.

    function : does the same work whatever values the tensors hold, never waits for the device, leaves the tensors
        unchanged, and returns a tuple of tensors without gradients, or None in their place
    generators : all random generators that the function uses
    """

    WARM_UP = 3         # direct calls, in which libraries choose kernels and allocate memory

    def __init__(self, function: Callable[..., tuple], generators: Sequence[torch.Generator]):
        self.function, self.generators = function, generators
        self._forget(None)

    def _forget(self, state: Any) -> None:
        self.state = state
        self.sizes: tuple | None = None
        self.graph: torch.cuda.CUDAGraph | None = None
        self.counts: Counter[tuple] = Counter()

    def __call__(self, state: Any, *tensors: Tensor | None) -> tuple:
        """function(*tensors). state: what else its work depends on; if it changes, the function is recorded again."""
        if state != self.state:
            self._forget(state)
        sizes = tuple(None if value is None else (value.shape, value.dtype) for value in tensors)
        if self.graph is None:
            self.counts[sizes] += 1
            if self.counts[sizes] <= self.WARM_UP:
                return self.function(*tensors)
            self.graph = self._record(sizes, tensors)
        elif sizes != self.sizes:
            return self.function(*tensors)
        for own, value in zip(self.given, tensors, strict=True):
            if own is not None and value is not None:
                own.copy_(value)
        with torch.cuda.device(self.generators[0].device):
            self.graph.replay()
        return self.found

    def _record(self, sizes: tuple, tensors: Sequence[Tensor | None]) -> torch.cuda.CUDAGraph:
        self.given = [None if value is None else value.clone() for value in tensors]
        graph = torch.cuda.CUDAGraph()
        for generator in self.generators:
            graph.register_generator_state(generator)
        # Other threads may continue; what they allocate is theirs.
        with _one_at_a_time, torch.cuda.device(self.generators[0].device), \
                torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self.found = self.function(*self.given)
        torch.cuda.synchronize(self.generators[0].device)      # recording sets the generators back, on its own stream
        self.sizes = sizes
        return graph


def is_own_code(part: type | Any) -> bool:
    """Whether this class, or this object's class, is defined in this package, so that its behaviour is known."""
    return (part if isinstance(part, type) else type(part)).__module__.startswith("fmnist_sk.")
