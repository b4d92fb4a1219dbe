"""Which training images are held out for validation."""
from __future__ import annotations

import numbers

import torch

from fmnist_sk._data.images import LabelledImages
from fmnist_sk._data.statistics import content_hashes, stratified_split


def n_held_out(fraction: float | int | None, n: int) -> int:
    """How many of n distinct images the parameter `validation_fraction` holds out."""
    share = fraction or 0
    return int(share) if isinstance(share, numbers.Integral) else max(1, round(share * n))


def hold_out(images: LabelledImages, fraction: float | int, seed: int) -> tuple[LabelledImages, LabelledImages]:
    """Training and validation images, stratified by class. Copies of an image with the same label stay on one side.

    Raises ValueError if nothing would be left to train on, or if nothing can be held out.
    """
    # Rows are sorted by content, so that copies of an image, given or made by its weight, are neighbours.
    hashes = content_hashes(images.pixels, images.codes)[images.row_numbers]
    copies = torch.unique_consecutive(hashes, return_inverse=True)[1]
    first = torch.cat([copies.new_ones(1), copies.diff()]).nonzero().flatten()
    n, size = len(first), n_held_out(fraction, len(first))
    if size >= n:
        raise ValueError(f"validation_fraction must leave images to train on, got validation_fraction={size} "
                         f"with {n} distinct images.")
    held_out = stratified_split(images.codes_in_order[first], size, torch.Generator().manual_seed(seed))
    if not held_out.any():
        raise ValueError(f"validation_fraction={fraction!r} needs a class with at least two images, got {n} distinct "
                         "images of as many classes.")
    train, valid = (images.take(part.nonzero().flatten()) for part in (~held_out[copies], held_out[copies]))
    return train, valid
