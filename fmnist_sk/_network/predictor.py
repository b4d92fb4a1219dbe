"""From images to probabilities: what predict_proba does, and what is exported."""
from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import torch
from torch import Tensor, nn

from fmnist_sk._data.shapes import pad
from fmnist_sk._network.criterion import probabilities_of
from fmnist_sk._network.views import check_tta, views


class Predictor(nn.Module):
    """Raw pixels (n, channels, height, width) to probabilities (n, n_classes) float32.

    logits : the network with its standardisation, or a function of pixels that runs it in batches
    criterion : the loss, which turns logits into probabilities
    tta : kinds of views of an image whose probabilities are averaged, see ImageClassifier; None for the image alone
    tta_below : views are used only for images whose largest probability is less; None for all
    skips : whether to skip unneeded views; an exported program, with its fixed operations, computes all
    background : (channels, 1, 1) fill values for shifted views and padded images
    padding : pixels added on the left, right, top and bottom
    """

    background: Tensor

    def __init__(self, logits: Callable[[Tensor], Tensor], criterion: nn.Module, tta, tta_below: float | None,
                 background: Tensor, padding: tuple[int, int, int, int] = (0, 0, 0, 0), skips: bool = True):
        super().__init__()
        self.logits, self.criterion = logits, criterion
        self.tta, self.tta_below, self.skips, self.padding = tta, tta_below, skips, padding
        self.register_buffer("background", background)

    def forward(self, images: Tensor) -> Tensor:
        images = pad(images, self.padding, self.background)
        plain = self._probabilities(images)
        if not check_tta(self.tta):
            return plain
        if self.tta_below is None:
            return self._mean(plain, images)
        is_unsure = plain.amax(1) < self.tta_below
        if not self.skips:
            return torch.where(is_unsure[:, None], self._mean(plain, images), plain)
        if is_unsure.any():
            means = self._mean(plain[is_unsure], images[is_unsure.to(images.device)])
            plain = plain.index_put((is_unsure,), means)
        return plain

    def _mean(self, plain: Tensor, images: Tensor) -> Tensor:
        """Mean probabilities over all views; those of the first view, `plain`, are given.

        They are added one by one, because PyTorch's mean rounds differently for different numbers of images.
        """
        total, n_views = plain, 1
        for view in islice(views(images, self.tta, self.background), 1, None):
            total, n_views = total + self._probabilities(view), n_views + 1
        return total / n_views

    def _probabilities(self, x: Tensor) -> Tensor:
        return probabilities_of(self.criterion, self.logits(x))
