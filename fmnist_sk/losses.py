"""Losses: what training minimises, and how logits become probabilities.

Each takes logits (n, n_classes) and targets: class codes (n,) int64, or shares of the classes (n, n_classes) that sum
to one (of images mixed by MixUp or CutMix). ``reduction="none"`` gives the loss of each image, (n,); "mean" their mean.
`label_smoothing` spreads that share of every target over all classes (Szegedy et al., 2016,
https://arxiv.org/abs/1512.00567).

`probabilities` turns logits into what predict_proba returns: rows that sum to one, ordered like the logits as far as
float32 can tell.
"""
from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Loss(nn.Module):
    """Base of the losses. Subclasses give the loss of each image in `per_image`; see the module's docstring.

    Parameters
    ----------
    label_smoothing : float
        Share of every target that is spread over all classes, from 0 to below 1.
    reduction : {"mean", "none"}
        Whether the call gives the mean of the images' losses, or each of them.
    """

    def __init__(self, label_smoothing: float = 0.0, reduction: str = "mean"):
        super().__init__()
        self.label_smoothing = _number("label_smoothing", label_smoothing, 0, 1)
        if not isinstance(reduction, str) or reduction not in ("mean", "none"):
            raise ValueError(f'reduction must be "mean" or "none", got reduction={reduction!r}.')
        self.reduction = reduction

    def per_image(self, logits: Tensor, targets: Tensor) -> Tensor:
        """logits (n, n_classes), targets (n, n_classes) shares -> (n,)"""
        raise NotImplementedError

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        n_classes = logits.shape[1]
        shares = targets if targets.ndim == 2 else F.one_hot(targets, n_classes)
        shares = shares.to(logits.dtype)
        if self.label_smoothing:
            shares = (1 - self.label_smoothing) * shares + self.label_smoothing / n_classes
        losses = self.per_image(logits, shares)
        return losses if self.reduction == "none" else losses.mean()

    def probabilities(self, logits: Tensor) -> Tensor:
        """Softmax of the logits (n, n_classes), in the same order of classes."""
        return logits.softmax(1)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in vars(self).items()
                         if not name.startswith("_") and name != "training")


class CrossEntropy(Loss):
    """Cross-entropy: ``-sum(t * log(p))`` with the target's shares t and p the softmax of the logits.

    Parameters
    ----------
    label_smoothing : float
        Share of every target that is spread over all classes, from 0 to below 1.
    reduction : {"mean", "none"}
        Whether the call gives the mean of the images' losses, or each of them.

    Examples
    --------
    >>> import torch
    >>> from fmnist_sk import CrossEntropy
    >>> logits, codes = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
    >>> round(CrossEntropy()(logits, codes).item(), 3)
    0.22
    """

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing, reduction=self.reduction)


class FocalLoss(Loss):
    """Focal loss: ``-sum(alpha * t * (1 - p) ** gamma * log(p))``, so that easy images count less.

    t are the target's shares, p the softmax of the logits. The default gamma is the paper's.

    Parameters
    ----------
    gamma : float
        How strongly easy images are down-weighted, at least 0; 0 with ``alpha=1`` is cross-entropy.
    alpha : float, or one for each class in sorted order
        Factor of the losses of all classes, or of each class.
    label_smoothing : float
        Share of every target that is spread over all classes, from 0 to below 1.
    reduction : {"mean", "none"}
        Whether the call gives the mean of the images' losses, or each of them.

    References
    ----------
    Lin et al., 2017, https://arxiv.org/abs/1708.02002

    Examples
    --------
    >>> import torch
    >>> from fmnist_sk import FocalLoss
    >>> logits, codes = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
    >>> round(FocalLoss(gamma=2)(logits, codes).item(), 3)
    0.012
    """

    def __init__(self, gamma: float = 2.0, alpha: float | Sequence[float] = 1.0, label_smoothing: float = 0.0,
                 reduction: str = "mean"):
        super().__init__(label_smoothing, reduction)
        self.gamma = _number("gamma", gamma, 0, math.inf)
        alphas = alpha if isinstance(alpha, (Sequence, np.ndarray)) and not isinstance(alpha, str) else [alpha]
        self.alpha = tuple(_number("alpha", value, 0, math.inf) for value in alphas)

    def per_image(self, logits: Tensor, targets: Tensor) -> Tensor:
        if len(self.alpha) not in (1, logits.shape[1]):
            raise ValueError(f"alpha must be a number or one for each of the {logits.shape[1]} classes, got "
                             f"alpha={self.alpha}.")
        log_p = logits.log_softmax(1)
        # 1 - p without cancellation, and with a gradient that stays finite where p is 1.
        hardness = (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).tiny) ** self.gamma
        # One value at a time, because a tensor made from numbers on the host could not be recorded on CUDA.
        alpha = self.alpha[0] if len(self.alpha) == 1 else torch.cat([log_p.new_full((1,), a) for a in self.alpha])
        return -(alpha * targets * hardness * log_p).sum(1)


class SigmoidLoss(Loss):
    """One binary cross-entropy for each class.

    ``-(t * log(s) + (1 - t) * log(1 - s))`` with s the logistic sigmoid of each logit, combined over all classes.
    Probabilities are ``s / sum(s)``.

    Parameters
    ----------
    label_smoothing : float
        Share of every target that is spread over all classes, from 0 to below 1.
    reduction : {"mean", "none"}
        Whether the call gives the mean of the images' losses, or each of them.
    over_classes : {"sum", "mean"}
        Gradients of the sum over classes are as large as those of cross-entropy; gradients of the mean, as in
        ``nn.BCEWithLogitsLoss``, are smaller by the number of classes, so weight decay counts for more. The mean is our
        reading of the "sigmoid" of report 1 (see the guide's page on networks).

    Examples
    --------
    >>> import torch
    >>> from fmnist_sk import SigmoidLoss
    >>> logits, codes = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
    >>> round(SigmoidLoss(over_classes="mean")(logits, codes).item(), 3)
    0.457
    """

    def __init__(self, label_smoothing: float = 0.0, reduction: str = "mean", over_classes: str = "sum"):
        super().__init__(label_smoothing, reduction)
        if not isinstance(over_classes, str) or over_classes not in ("sum", "mean"):
            raise ValueError(f'over_classes must be "sum" or "mean", got over_classes={over_classes!r}.')
        self.over_classes = over_classes

    def per_image(self, logits: Tensor, targets: Tensor) -> Tensor:
        losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return losses.sum(1) if self.over_classes == "sum" else losses.mean(1)

    def probabilities(self, logits: Tensor) -> Tensor:
        return F.logsigmoid(logits).softmax(1)


class SoftmaxOfSigmoid(Loss):
    """Cross-entropy of sigmoid outputs: ``-sum(t * log(p))`` with p the softmax of the logits' logistic sigmoids.

    The literal reading of the "sigmoid" of report 1 (see the guide's page on networks). No p is above
    ``e / (e + n_classes - 1)``, 0.23 for ten classes, so the loss never comes near zero.

    Parameters
    ----------
    label_smoothing : float
        Share of every target that is spread over all classes, from 0 to below 1.
    reduction : {"mean", "none"}
        Whether the call gives the mean of the images' losses, or each of them.

    Examples
    --------
    >>> import torch
    >>> from fmnist_sk import SoftmaxOfSigmoid
    >>> logits, codes = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
    >>> round(SoftmaxOfSigmoid()(logits, codes).item(), 3)
    0.553
    """

    def per_image(self, logits: Tensor, targets: Tensor) -> Tensor:
        return -(targets * logits.sigmoid().log_softmax(1)).sum(1)

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.sigmoid().softmax(1)


class SquaredError(Loss):
    """Mean squared error of one-hot targets: ``mean((z - t) ** 2)`` over the classes, with z the logits.

    The logits then estimate probabilities themselves; predict_proba gives the nearest vector whose entries are not
    negative and sum to one. Gradients are smaller than those of cross-entropy by about the number of classes.

    Parameters
    ----------
    label_smoothing : float
        Share of every target that is spread over all classes, from 0 to below 1.
    reduction : {"mean", "none"}
        Whether the call gives the mean of the images' losses, or each of them.

    References
    ----------
    Martins and Astudillo, 2016, https://arxiv.org/abs/1602.02068

    Examples
    --------
    >>> import torch
    >>> from fmnist_sk import SquaredError
    >>> logits, codes = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
    >>> round(SquaredError()(logits, codes).item(), 3)
    0.25
    """

    def per_image(self, logits: Tensor, targets: Tensor) -> Tensor:
        return (logits - targets).square().mean(1)

    def probabilities(self, logits: Tensor) -> Tensor:
        logits = logits - logits.amax(1, keepdim=True)              # the same, with more digits
        descending = logits.sort(1, descending=True).values
        rank = torch.arange(1, logits.shape[1] + 1, device=logits.device)
        excess = (descending.cumsum(1) - 1) / rank
        last = (descending > excess).sum(1, keepdim=True).clamp_min(1)           # how many entries stay positive
        return (logits - excess.gather(1, last - 1)).clamp_min(0)


class TripletLoss(nn.Module):
    """Pulls features of one class together and pushes those of different classes apart, using the hardest examples.

    For each image of a batch, ``max(0, margin + d(farthest of its class) - d(nearest of another class))`` with d the
    Euclidean distance of the features, scaled to length 1: "batch hard".

    Parameters
    ----------
    margin : float
        How much farther images of other classes should be than those of the same class; distances are at most 2.

    References
    ----------
    Hermans et al., 2017, https://arxiv.org/abs/1703.07737

    Examples
    --------
    >>> import torch
    >>> from fmnist_sk import TripletLoss
    >>> features, codes = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> [round(loss, 3) for loss in TripletLoss(margin=2.0)(features, codes).tolist()]
    [0.696, 0.777, 0.0]
    """

    def __init__(self, margin: float = 0.2):
        super().__init__()
        self.margin = _number("margin", margin, 0, math.inf)

    def forward(self, features: Tensor, codes: Tensor, takes_part: Tensor | None = None) -> Tensor:
        """features (n, ...), codes (n,) -> (n,): 0 for images without a partner of both kinds in the batch.

        takes_part : (n,) bool, images that have a loss and can be the partner of another; default: all.
        """
        features = F.normalize(features.flatten(1).float())
        similarity = features @ features.T
        distance = (2 - 2 * similarity).clamp_min(1e-8).sqrt()         # at 0 the root has no gradient
        same = codes[:, None] == codes
        other, same = ~same, same & ~torch.eye(len(codes), dtype=torch.bool, device=codes.device)
        if takes_part is not None:
            other, same = (pairs & takes_part & takes_part[:, None] for pairs in (other, same))
        farthest = distance.masked_fill(~same, -math.inf).amax(1)
        nearest = distance.masked_fill(~other, math.inf).amin(1)
        has_both = same.any(1) & other.any(1)
        # masked_fill after the subtraction would leave inf - inf in the gradient
        farthest, nearest = (part.masked_fill(~has_both, 0.0) for part in (farthest, nearest))
        return F.relu(self.margin + farthest - nearest) * has_both


def _number(name: str, value: Any, low: float, high: float) -> float:
    """The value as a float; ValueError unless it is a number from `low` to below `high`."""
    try:
        number = float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else math.nan
    except OverflowError:           # of an int
        number = math.inf
    if not low <= number < high:
        raise ValueError(f"{name} must be a number from {low} to below {high}, got {name}={value!r}.")
    return number


LOSSES: dict[str, type[Loss]] = {
    "cross_entropy": CrossEntropy,
    "focal": FocalLoss,
    "sigmoid": SigmoidLoss,
    "softmax_of_sigmoid": SoftmaxOfSigmoid,
    "mse": SquaredError,
}
