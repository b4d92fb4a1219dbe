"""Random transformers that change the values of pixels: erasing, noise, brightness."""
from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass

import torch
from sklearn.utils._param_validation import StrOptions
from torch import Tensor

from fmnist_sk._data.ranges import PixelRange
from fmnist_sk._runtime.parameters import real
from fmnist_sk.augmentation._base import SHARE, RandomTransformer, check_range

_POSITIVE = [real(0, closed="left")]


@dataclass(eq=False, repr=False)
class RandomErasing(RandomTransformer):
    """Erase a random rectangle.

    Cutout, a square of one size that may stick out of the image, is
    ``RandomErasing(p=1, area=(0.25, 0.25), aspect=(1, 1), fill=0.0, inside=False)``.

    Parameters
    ----------
    area : (float, float)
        Smallest and largest area of the rectangle, as shares of the image's area.
    aspect : (float, float)
        Smallest and largest ratio of its height to its width, drawn evenly on a logarithmic scale, and limited to what
        fits in the image.
    fill : "random", "mean" or float
        In each channel: an independent random value for every pixel, the mean of the image's pixels, or a value from 0,
        the background, to 1, the training pixel farthest from it.
    inside : bool
        Whether the whole rectangle lies within the image, rather than only its centre.
    p, only, exclude, image_shape, random_state
        As in `RandomHorizontalFlip`.

    References
    ----------
    Zhong et al., 2017, https://arxiv.org/abs/1708.04896

    DeVries and Taylor, 2017 (cutout), https://arxiv.org/abs/1708.04552

    Examples
    --------
    >>> import numpy as np
    >>> from fmnist_sk import RandomErasing
    >>> X = np.arange(8, dtype=np.uint8).reshape(1, 2, 4)
    >>> RandomErasing(p=1.0, fill=0.0, random_state=0).fit_transform(X).shape
    (1, 2, 4)
    """

    area: tuple[float, float] = (0.02, 0.4)
    aspect: tuple[float, float] = (0.3, 1 / 0.3)
    fill: str | float = "random"
    inside: bool = True
    _: KW_ONLY
    p: float = 0.5

    _parameter_constraints = {
        **RandomTransformer._parameter_constraints,
        "area": [tuple, list],
        "aspect": [tuple, list],
        "fill": [StrOptions({"random", "mean"}), *SHARE],
        "inside": ["boolean"],
    }

    def _validate_params(self) -> None:
        super()._validate_params()
        check_range(self, "area", "two shares from above 0 to 1, the smaller first", 0, 1)
        check_range(self, "aspect", "two positive numbers, the smaller first", 0, math.inf)

    def _apply(self, x: Tensor, chosen: Tensor, generator: torch.Generator, pixel_range: PixelRange) -> Tensor:
        hidden = self._rectangles(x, generator) & chosen[:, None, None, None]
        if self.fill == "random":
            fill = torch.empty_like(x).uniform_(generator=generator) * pixel_range.span + pixel_range.low
        elif isinstance(self.fill, str):        # "mean"
            fill = x.mean(dim=(2, 3), keepdim=True)
        else:
            fill = torch.lerp(pixel_range.background, pixel_range.foreground, self.fill)
        return torch.where(hidden, fill, x)

    def _rectangles(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """(n, 1, height, width) bool, true within a random rectangle of each image."""
        n, _, *sides = x.shape
        u = torch.rand(4, n, generator=generator, device=x.device)
        area = (self.area[0] + (self.area[1] - self.area[0]) * u[0]) * math.prod(sides)
        low, high = math.log(self.aspect[0]), math.log(self.aspect[1])
        aspect = (low + (high - low) * u[1]).exp()
        aspect = torch.minimum(torch.maximum(aspect, area / sides[1] ** 2), sides[0] ** 2 / area)
        within = []
        for side, length, place in zip(sides, ((area * aspect).sqrt(), (area / aspect).sqrt()), u[2:], strict=True):
            length = length.round().clamp(1, side)
            start = (place * (side - length + 1)).floor() if self.inside else \
                (place * side).floor() - (length / 2).floor()
            position = torch.arange(side, device=x.device)
            within.append((position >= start[:, None]) & (position < (start + length)[:, None]))
        return (within[0][:, :, None] & within[1][:, None, :])[:, None]


@dataclass(eq=False, repr=False)
class GaussianNoise(RandomTransformer):
    """Add normally distributed noise to every pixel; values stay within the range of the training pixels.

    Parameters
    ----------
    std : float
        Standard deviation, as a share of the range of the training pixels in each channel.
    where : {"all", "foreground"}
        All pixels, or those that differ from the background in any channel.
    p, only, exclude, image_shape, random_state
        As in `RandomHorizontalFlip`.

    Examples
    --------
    >>> import numpy as np
    >>> from fmnist_sk import GaussianNoise
    >>> X = np.arange(8, dtype=np.uint8).reshape(1, 2, 4)
    >>> GaussianNoise(p=1.0, random_state=0).fit_transform(X).shape
    (1, 2, 4)
    """

    std: float = 0.1
    where: str = "all"
    _: KW_ONLY
    p: float = 0.5

    _parameter_constraints = {
        **RandomTransformer._parameter_constraints,
        "std": _POSITIVE,
        "where": [StrOptions({"all", "foreground"})],
    }

    def _apply(self, x: Tensor, chosen: Tensor, generator: torch.Generator, pixel_range: PixelRange) -> Tensor:
        noise = torch.empty_like(x).normal_(0, self.std, generator=generator) * pixel_range.span
        changed = chosen[:, None, None, None]
        if self.where == "foreground":
            changed = changed & (x != pixel_range.background).any(1, keepdim=True)
        return torch.where(changed, (x + noise).clamp_(pixel_range.low, pixel_range.high), x)


@dataclass(eq=False, repr=False)
class RandomBrightness(RandomTransformer):
    """Make the foreground brighter or darker; values stay within the range of the training pixels.

    Parameters
    ----------
    strength : float
        All values, counted from the background, are multiplied by a factor from ``1 - strength`` to ``1 + strength``,
        drawn evenly.
    p, only, exclude, image_shape, random_state
        As in `RandomHorizontalFlip`.

    Examples
    --------
    >>> import numpy as np
    >>> from fmnist_sk import RandomBrightness
    >>> X = np.arange(8, dtype=np.uint8).reshape(1, 2, 4)
    >>> RandomBrightness(p=1.0, random_state=0).fit_transform(X).shape
    (1, 2, 4)
    """

    strength: float = 0.3
    _: KW_ONLY
    p: float = 0.5

    _parameter_constraints = {**RandomTransformer._parameter_constraints, "strength": SHARE}

    def _apply(self, x: Tensor, chosen: Tensor, generator: torch.Generator, pixel_range: PixelRange) -> Tensor:
        low, high, background = pixel_range
        u = torch.rand(len(x), 1, 1, 1, generator=generator, device=x.device, dtype=x.dtype) * 2 - 1
        changed = (background + (x - background) * (1 + self.strength * u)).clamp_(low, high)
        return torch.where(chosen[:, None, None, None], changed, x)
