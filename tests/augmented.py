"""Batches of images to augment."""
import numpy as np
import torch

from fmnist_sk._data.images import Batch
from fmnist_sk.augmentation import PixelRange, compile_augmentation

N = 4000


def pixel_range(low, high, background=None):
    """The range of one channel, or of several, in which the smallest pixel is the background unless told."""
    return PixelRange(*(torch.tensor(values).float().reshape(-1, 1, 1)
                        for values in (low, high, low if background is None else background)))


RANGE = pixel_range(0, 255)
NAMES = ["bag", "coat", "shoe"]


def some_images(n=N, size=6, seed=0):
    """n different images (n, 1, size, size) with background and foreground in [0, 200]."""
    x = torch.randint(1, 201, (n, 1, size, size), generator=torch.Generator().manual_seed(seed)).float()
    return torch.where(torch.arange(size) < size // 2, x, 0.0)


def draw(augment, x, codes=None, classes=NAMES, weights=None, seed=0, range_=RANGE):
    """The batch after augmentation; codes are 0, 1, 2, 0, ... unless told."""
    codes = torch.arange(len(x)) % len(classes) if codes is None else codes
    batch = Batch(x, codes, weights)
    compile_augmentation(augment, np.array(classes), range_, torch.Generator().manual_seed(seed))(batch)
    return batch
