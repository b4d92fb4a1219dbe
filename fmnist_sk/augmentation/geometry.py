"""Random transformers that move pixels: mirror, shift, zoom, turn, shear."""
from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fmnist_sk._data.ranges import PixelRange
from fmnist_sk._data.shapes import pad
from fmnist_sk._runtime.parameters import real, whole
from fmnist_sk.augmentation._base import RandomTransformer


@dataclass(eq=False, repr=False)
class RandomHorizontalFlip(RandomTransformer):
    """Mirror images left to right.

    Parameters
    ----------
    p : float
        Probability for each image.
    only, exclude : array-like of labels, optional
        Change only these classes, or all but these: ``exclude=[5, 7, 9]`` leaves Fashion-MNIST's shoes alone.
    image_shape : (height, width) or (channels, height, width), optional
        Shape of flat rows in a Pipeline; default: the square they fill. Not needed in the classifier's `augment=`.
    random_state : int, RandomState or None
        Seed for use in a Pipeline; in `augment=`, the classifier's random_state applies.

    Examples
    --------
    >>> import numpy as np
    >>> from fmnist_sk import RandomHorizontalFlip
    >>> X = np.arange(8, dtype=np.uint8).reshape(1, 2, 4)
    >>> RandomHorizontalFlip(p=1.0).fit_transform(X)[0].tolist()
    [[3, 2, 1, 0], [7, 6, 5, 4]]
    """

    p: float = 0.5

    def _apply(self, x: Tensor, chosen: Tensor, generator: torch.Generator, pixel_range: PixelRange) -> Tensor:
        return torch.where(chosen[:, None, None, None], x.flip(-1), x)


@dataclass(eq=False, repr=False)
class RandomCrop(RandomTransformer):
    """Shift images: pad them with background on every side and cut out a window of the original size at random.

    Parameters
    ----------
    padding : int
        Pixels on every side, so that images move by up to this many pixels in each direction; 10,000 at most.
    p, only, exclude, image_shape, random_state
        As in `RandomHorizontalFlip`, but `p` is 1.0 by default.

    Examples
    --------
    >>> import numpy as np
    >>> from fmnist_sk import RandomCrop
    >>> X = np.arange(8, dtype=np.uint8).reshape(1, 2, 4)
    >>> RandomCrop(padding=1, p=1.0, random_state=1).fit_transform(X)[0].tolist()
    [[3, 0, 1, 2], [3, 4, 5, 6]]
    """

    padding: int = 4
    _: KW_ONLY
    p: float = 1.0

    _parameter_constraints = {
        **RandomTransformer._parameter_constraints,
        "padding": [whole(0, 10_000)],
    }

    def _apply(self, x: Tensor, chosen: Tensor, generator: torch.Generator, pixel_range: PixelRange) -> Tensor:
        n, _, height, width = x.shape
        shift = torch.randint(0, 2 * self.padding + 1, (2, n, 1), generator=generator, device=x.device)
        shift = torch.where(chosen[:, None], shift, self.padding)          # the middle window: no shift
        # Where pixels come from: (n, height) and (n, width). One pixel of background on every side stands for all.
        rows, columns = ((1 - self.padding + part + torch.arange(side, device=x.device)).clamp(0, side + 1)
                         for part, side in zip(shift, (height, width), strict=True))
        padded = pad(x, (1, 1, 1, 1), pixel_range.background)
        image = torch.arange(n, device=x.device)[:, None, None]
        # Advanced indices around the channel slice: (n, height, width, channels), which is channels_last in memory.
        return padded[image, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


@dataclass(eq=False, repr=False)
class RandomAffine(RandomTransformer):
    """Shift, zoom, turn and shear images about their centre, all at once, by bilinear interpolation.

    Each amount is drawn from a uniform distribution; 0 switches it off. Areas from outside the image are filled with
    background.

    Parameters
    ----------
    shift : float
        Largest shift in each direction, as a share of height and width. It comes before the other changes, which apply
        to it too: the image moves by up to ``shift * (1 + zoom)``, and `rotation` turns the direction.
    zoom : float
        Images are enlarged by a factor from ``1 - zoom`` to ``1 + zoom``.
    rotation : float
        Largest angle in degrees, to either side.
    shear : float
        Largest angle in degrees by which columns lean, to either side; below 90.
    p, only, exclude, image_shape, random_state
        As in `RandomHorizontalFlip`, but `p` is 1.0 by default.

    Examples
    --------
    >>> import numpy as np
    >>> from fmnist_sk import RandomAffine
    >>> X = np.arange(8, dtype=np.uint8).reshape(1, 2, 4)
    >>> RandomAffine(p=1.0, random_state=0).fit_transform(X).shape
    (1, 2, 4)
    """

    shift: float = 0.1
    zoom: float = 0.1
    rotation: float = 0.0
    shear: float = 0.0
    _: KW_ONLY
    p: float = 1.0

    _parameter_constraints = {
        **RandomTransformer._parameter_constraints,
        "shift": [real(0, 1)],
        "zoom": [real(0, 1, "left")],
        "rotation": [real(0, 180)],
        "shear": [real(0, 90, "left")],
    }

    def _apply(self, x: Tensor, chosen: Tensor, generator: torch.Generator, pixel_range: PixelRange) -> Tensor:
        n, _, height, width = x.shape
        u = torch.rand(5, n, generator=generator, device=x.device, dtype=x.dtype) * 2 - 1
        zoom, angle = 1 + self.zoom * u[2], math.radians(self.rotation) * u[3]
        lean = torch.tan(math.radians(self.shear) * u[4])
        cos, sin = angle.cos() / zoom, angle.sin() / zoom
        # From a pixel of the result to its source in the image, both in pixels from the centre; then in grid_sample's
        # units, where height and width are 2.
        theta = torch.stack([torch.stack([cos, (cos * lean - sin) * height / width, 2 * self.shift * u[0]], 1),
                             torch.stack([sin * width / height, sin * lean + cos, 2 * self.shift * u[1]], 1)], 1)
        grid = F.affine_grid(theta, list(x.shape), align_corners=False)
        background = pixel_range.background
        moved = F.grid_sample(x - background, grid, align_corners=False) + background
        return torch.where(chosen[:, None, None, None], moved, x)
