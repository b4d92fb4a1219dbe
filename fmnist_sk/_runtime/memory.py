"""Lack of memory, reported as a ValueError that says what to try."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch


class TakesBatches(Protocol):
    """The estimator named when memory runs out: it has a batch size and a device."""

    batch_size: int

    @property
    def device_(self) -> torch.device: ...


@contextmanager
def enough_memory(estimator: TakesBatches, n_images: int = 0, least: int = 1) -> Iterator[None]:
    """Context in which lack of memory becomes a ValueError that says what to try.

    n_images : images in the batch that the memory is for, or 0 if it is for the network itself
    least : number of images for which there is always enough memory, so that a smaller batch would not help
    """
    try:
        yield
    except (RuntimeError, MemoryError, ValueError) as error:
        lack = next(filter(is_lack, (error, error.__cause__)), None)
        if lack is None:
            raise
        needed_by, advice = f"The network of {estimator!r}", "use a smaller one"
        fewer = min(n_images, estimator.batch_size) // 2          # a batch may be of several times batch_size
        if n_images > least and fewer:
            needed_by, advice = f"batch_size={estimator.batch_size}", f"try batch_size={fewer}"
        where = estimator.device_ if isinstance(lack, torch.OutOfMemoryError) else "cpu"
        raise ValueError(f"{needed_by} needs more memory than there is on {where}: {advice}.") from error


def is_lack(error: BaseException | None) -> bool:
    """Whether an error says that there is not enough memory, on the CPU or a GPU."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "DefaultCPUAllocator" in str(error)
