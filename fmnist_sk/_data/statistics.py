"""Computations over a whole data set: hashes, means and splits."""
from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 1024        # rows that a pass over the whole data set handles at a time, to keep its buffers small


def content_hashes(pixels: Tensor, codes: Tensor) -> Tensor:
    """(n,) int64: a 64-bit hash of each image's values and its code.

    Rows sorted by it are in an order that depends on their content alone, so a fit does not depend on the order of its
    data. Equal hashes mean equal rows, whatever their type: if all values of a data set are those of bytes, they are
    hashed as bytes, else as float32.
    """
    as_bytes = are_bytes(pixels)
    size = pixels[0].numel() * (1 if as_bytes else 4)
    words = -(-size // 8)
    generator = torch.Generator().manual_seed(0x5EED)
    factors = torch.randint(-2**62, 2**62, (words + 1,), generator=generator).mul_(2).add_(1).to(pixels.device)
    hashes = codes * factors[-1]
    for start in range(0, len(pixels), CHUNK):
        part = pixels[start:start + CHUNK].reshape(-1, pixels[0].numel())
        raw = part.byte() if as_bytes else (part.float() + 0.0).view(torch.uint8)       # -0.0 is 0.0
        block = raw.new_zeros((len(raw), words * 8))
        block[:, :size] = raw
        hashes[start:start + CHUNK] += (block.view(torch.int64) * factors[:-1]).sum(1)
    return hashes


def are_bytes(pixels: Tensor) -> bool:
    """Whether all values are whole numbers from 0 to 255."""
    if not pixels.is_floating_point():
        return True
    parts = (pixels[start:start + CHUNK] for start in range(0, len(pixels), CHUNK))
    return all(bool(((part >= 0) & (part <= 255) & (part == part.round())).all()) for part in parts)


def repeat_by_weight(rows: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Rows without weight dropped; whole-numbered weights turned into repetitions, others kept as factors.

    A fit with weight 2 is then the fit with that row given twice. If that would more than quadruple the data set,
    weights remain factors of the loss, scaled to a mean of one.
    """
    if weights is None:
        return rows, None
    n, weights = len(rows), weights.to(rows.device)
    kept = weights[rows]
    rows = rows[kept > 0]
    kept = kept[kept > 0]
    if not torch.isfinite(kept.sum()):
        raise ValueError("sample_weight must have a finite sum: divide the weights by their largest, got "
                         f"{kept.max().item():g}.")
    if (kept == kept.round()).all() and kept.sum() <= 4 * n:
        return rows.repeat_interleave(kept.long()), None
    return rows, (weights / kept.mean()).float()


def pixel_statistics(pixels: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every channel over all images: two float64 tensors (channels,) on the host."""
    rows = torch.arange(len(pixels), device=pixels.device) if rows is None else rows
    total = torch.zeros(2, pixels.shape[1], dtype=torch.float64, device=pixels.device)
    precision = pixels.dtype if pixels.is_floating_point() else torch.float32
    # Deviations from a first guess, so that a large mean does not cancel the digits of a small deviation.
    origin = pixels[rows[:CHUNK]].double().mean(dim=(0, 2, 3), keepdim=True)
    for start in range(0, len(rows), CHUNK):
        block = pixels[rows[start:start + CHUNK]]
        block = block.to(precision) - origin.to(precision)
        total += torch.stack([block.sum((0, 2, 3), dtype=torch.float64),
                              block.square_().sum((0, 2, 3), dtype=torch.float64)])
    mean, square = total / (len(rows) * pixels[0, 0].numel())
    deviation = (square - mean**2).clamp_min(0).sqrt()
    mean = mean + origin.to(precision).double().flatten()
    return tuple(value.cpu().as_subclass(Tensor) for value in (mean, deviation))


def stratified_split(codes: Tensor, n_held_out: int, generator: torch.Generator) -> Tensor:
    """(n,) bool: `n_held_out` rows drawn in proportion to the classes. A class always keeps at least one row."""
    order = torch.randperm(len(codes), generator=generator).to(codes.device)
    grouped = order[torch.argsort(codes[order], stable=True)]
    counts = torch.bincount(codes).cpu()
    exact = counts * (n_held_out / len(codes))
    quota = exact.floor().long()
    spare = torch.argsort(quota - exact, stable=True)         # the largest remainders first
    quota[spare[:max(0, n_held_out - int(quota.sum()))]] += 1
    quota = torch.minimum(quota, (counts - 1).clamp_min(0))
    held_out = torch.cat([group[:k] for group, k in zip(grouped.split(counts.tolist()), quota.tolist(), strict=True)])
    chosen = torch.zeros(len(codes), dtype=torch.bool, device=codes.device)
    chosen[held_out] = True
    return chosen
