"""Values of pixels: the range and the background of every channel, learned from training images."""
from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fmnist_sk._data.statistics import CHUNK

SAMPLE = 2**20          # largest number of values in a sample of images ...
MOST_IMAGES = 1000      # ... and images: enough to tell a range or a background
RARE = 0.01             # share of a sample's values on either side that lie outside the usual range
FEW_OUTSIDE = 0.05      # share of values far outside the usual range up to which they are outliers
# Share of the values that differ from the median from which images count as scaled differently. The median is the
# background of drawings, which is 0 in many scales.
MOST_OUTSIDE = 0.5


class PixelRange(NamedTuple):
    """For each channel, (channels, 1, 1) on one device: the smallest and the largest pixel, and the background."""

    low: Tensor
    high: Tensor
    background: Tensor

    @property
    def span(self) -> Tensor:
        return self.high - self.low

    @property
    def foreground(self) -> Tensor:
        """The end of the range that is farther from the background: white on black, black on white."""
        is_dark = self.high - self.background >= self.background - self.low
        return torch.where(is_dark, self.high, self.low)


@dataclass(frozen=True)
class PixelStatistics:
    """What a fit has learned about its pixels.

    low, high : (channels,) the smallest and the largest
    background : (channels,) the median of the pixels at the edges of images
    usual : the range of 98 % of all pixels
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    background: tuple[float, ...]
    usual: tuple[float, float]

    @property
    def overall(self) -> tuple[float, float]:
        """The smallest and the largest pixel of all channels."""
        return min(self.low), max(self.high)

    def on(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> PixelRange:
        """The ranges of the channels as tensors."""
        return _on_device(self, device, dtype)

    def differ_from(self, pixels: Tensor, rows: Tensor | None = None) -> bool:
        """Whether pixels (n, ...) are scaled differently, as far as their values show it; outliers are ignored."""
        values = _sample(pixels, rows)
        low, high = (value.item() for value in values.aminmax())
        least, most = self.usual
        margin = 0.5 * (most - least)
        if 0 < high - low < 0.02 * (most - least):          # bytes scaled to 0 to 1, or to deviation 1
            return True
        if least - margin <= low and high <= most + margin:
            return False
        n_outside = ((values < least - margin) | (values > most + margin)).sum().item()
        n_shown = (values != values.median()).sum().item()
        return n_outside > max(MOST_OUTSIDE * n_shown, FEW_OUTSIDE * values.numel())


@functools.lru_cache(maxsize=100)           # of so many fits, because the prediction of one image asks twice
def _on_device(statistics: PixelStatistics, device: torch.device | str, dtype: torch.dtype) -> PixelRange:
    with torch.inference_mode(False):
        return PixelRange(*(torch.tensor(values, dtype=torch.float64).reshape(-1, 1, 1).to(device, dtype)
                            for values in (statistics.low, statistics.high, statistics.background)))


def learn_pixels(pixels: Tensor, rows: Tensor | None = None) -> PixelStatistics:
    """The statistics of images (n, channels, height, width): of those in `rows`, or of all."""
    low, high = channel_ranges(pixels, rows)
    sample = _sample(pixels, rows)
    at_edge = torch.ones(pixels.shape[2:], dtype=torch.bool, device=pixels.device)
    at_edge[1:-1, 1:-1] = False
    edges = sample[:, :, at_edge].transpose(0, 1).flatten(1).sort(1).values
    ordered = sample.flatten().sort().values
    rare = int(RARE * (len(ordered) - 1))
    usual = ordered[rare].item(), ordered[-1 - rare].item()
    if usual[0] == usual[1]:                            # nearly all pixels are equal
        usual = min(low), max(high)
    return PixelStatistics(low, high, tuple(edges[:, (edges.shape[1] - 1) // 2].tolist()), usual)


def channel_ranges(pixels: Tensor, rows: Tensor | None = None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The smallest and the largest pixel of each channel, of images (n, channels, ...)."""
    parts = pixels.split(CHUNK) if rows is None else (pixels[part] for part in rows.split(CHUNK))   # one copy at a time
    ends = [torch.stack([channel.amin(1), channel.amax(1)])
            for channel in (part.transpose(0, 1).flatten(1) for part in parts)]
    low, high = torch.stack(ends).unbind(1)
    return tuple(low.amin(0).tolist()), tuple(high.amax(0).tolist())


def value_range(pixels: Tensor, rows: Tensor | None = None) -> tuple[float, float]:
    """The smallest and the largest pixel of all."""
    low, high = channel_ranges(pixels, rows)
    return min(low), max(high)


def _sample(pixels: Tensor, rows: Tensor | None) -> Tensor:
    """Float images (m, ...) at even distances in the order of `rows`."""
    n = len(pixels) if rows is None else len(rows)
    n_images = max(1, min(n, MOST_IMAGES, SAMPLE // pixels[0].numel()))
    if n_images < n:
        positions = torch.arange(n_images, device=pixels.device) * n // n_images
        rows = positions if rows is None else rows[positions]
    chosen = pixels if rows is None else pixels[rows]
    return chosen if chosen.dtype == torch.float64 else chosen.float()
