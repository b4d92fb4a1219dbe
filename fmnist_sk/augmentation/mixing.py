"""Random transformers that mix images, and their labels with them."""
from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor

from fmnist_sk._data.images import Batch
from fmnist_sk._data.ranges import PixelRange
from fmnist_sk._network.random import DrawFrom
from fmnist_sk._runtime.parameters import real
from fmnist_sk.augmentation._base import RandomTransformer


@dataclass(eq=False, repr=False)
class MixingTransformer(RandomTransformer):
    """Base of the transformers that mix a chosen image with another, its partner, and their labels in the same shares.

    Partners come from the classes that may be changed. As a step of a Pipeline, where labels cannot become soft, images
    are mixed with others of their own class.
    """

    alpha: float = 1.0
    _: KW_ONLY
    p: float = 1.0

    _parameter_constraints = {
        **RandomTransformer._parameter_constraints,
        "alpha": [real(1e-6, 1e6)],        # beyond it, float32 overflows
    }
    _mixes = True

    def _mix(self, x: Tensor, partner: Tensor, share: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images with about the share `share` (n,) of x and the rest of `partner`, and the exact shares."""
        raise NotImplementedError

    def _change(self, batch: Batch, allowed: Tensor | None, generator: torch.Generator, pixel_range: PixelRange
                ) -> None:
        x = batch.x
        chosen = torch.rand(len(x), generator=generator, device=x.device) < self.p
        may_change = None if allowed is None else batch.are_all_of(allowed)
        if may_change is not None:
            chosen &= may_change
        partner = _partners(may_change, len(x), generator)
        mixed, share = self._mix(x, x[partner], self._shares(len(x), generator).to(x.dtype), generator)
        batch.x = torch.where(chosen[:, None, None, None], mixed, x)
        batch.mix_targets(partner, torch.where(chosen, share, 1.0).float())

    def _shares(self, n: int, generator: torch.Generator) -> Tensor:
        """(n,) numbers with the distribution Beta(alpha, alpha): G / (G + H) of two gamma-distributed G and H.

        Small alphas make G and H smaller than any float, so their logarithms are drawn:
        ``G(alpha) = G(alpha + 1) * U ** (1 / alpha)``.
        """
        one = torch.ones((), device=generator.device)
        with DrawFrom(generator):
            gamma = torch.distributions.Gamma(self.alpha + one, one, validate_args=False).sample((2, n))
        u = torch.rand(2, n, generator=generator, device=generator.device).clamp_min(torch.finfo(torch.float32).tiny)
        log_g, log_h = gamma.log() + u.log() / self.alpha
        return torch.sigmoid(log_g - log_h)


def _partners(may_change: Tensor | None, n: int, generator: torch.Generator) -> Tensor:
    """(n,) int64: for each image another one in random order, among those where `may_change` is true."""
    key = torch.rand(n, generator=generator, device=generator.device)
    order = (key if may_change is None else torch.where(may_change, key, 2.0)).argsort(stable=True)
    last = n - 1 if may_change is None else may_change.sum() - 1      # a tensor, so that the host need not wait
    position = torch.arange(n, device=order.device)
    following = order[torch.where(position < last, (position + 1) % n, 0)]
    return torch.empty_like(order).scatter_(0, order, following)


@dataclass(eq=False, repr=False)
class MixUp(MixingTransformer):
    """Blend an image with another.

    Each image becomes ``share * x + (1 - share) * partner`` with its own share, and labels are mixed alike.

    Parameters
    ----------
    alpha : float
        The shares have the distribution Beta(alpha, alpha), from 1e-6 to 1e6: 1 is uniform, small values leave most
        images nearly unchanged.
    p, only, exclude, image_shape, random_state
        As in `RandomHorizontalFlip`, but `p` is 1.0 by default. Partners, too, come from the classes that may be
        changed.

    References
    ----------
    Zhang et al., 2018, https://arxiv.org/abs/1710.09412

    Examples
    --------
    >>> from fmnist_sk import ConvNetClassifier, MixUp
    >>> ConvNetClassifier(augment=MixUp(alpha=0.4)).augment
    MixUp(alpha=0.4)
    """

    alpha: float = 0.2

    def _mix(self, x: Tensor, partner: Tensor, share: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return torch.lerp(partner, x, share[:, None, None, None]), share


@dataclass(eq=False, repr=False)
class CutMix(MixingTransformer):
    """Paste a rectangle of another image, at the same position.

    The rectangle has the image's proportions, and its centre lies anywhere in the image; what sticks out is cut off,
    and labels are mixed in proportion to the remaining area.

    Parameters
    ----------
    alpha : float
        The share of the image's area that stays, before the rectangle is cut off, has the distribution
        Beta(alpha, alpha), alpha from 1e-6 to 1e6: 1 is uniform.
    p, only, exclude, image_shape, random_state
        As in `RandomHorizontalFlip`, but `p` is 1.0 by default. Partners, too, come from the classes that may be
        changed.

    References
    ----------
    Yun et al., 2019, https://arxiv.org/abs/1905.04899

    Examples
    --------
    >>> from fmnist_sk import ConvNetClassifier, CutMix, RandomCrop
    >>> ConvNetClassifier(augment=[RandomCrop(padding=1), CutMix(p=0.5)]).augment
    [RandomCrop(padding=1), CutMix(p=0.5)]
    """

    def _mix(self, x: Tensor, partner: Tensor, share: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        half = (1 - share).sqrt() / 2
        centre = torch.rand(2, len(x), generator=generator, device=x.device)
        within = []
        for side, middle in zip(x.shape[2:], centre, strict=True):
            start, stop = (((middle + sign * half) * side).round().clamp(0, side) for sign in (-1, 1))
            position = torch.arange(side, device=x.device)
            within.append((position >= start[:, None]) & (position < stop[:, None]))
        pasted = within[0][:, :, None] & within[1][:, None, :]
        return torch.where(pasted[:, None], partner, x), 1 - pasted.to(x.dtype).mean(dim=(1, 2))
