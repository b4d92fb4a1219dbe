"""From images to probabilities: what predict_proba does, and what is exported."""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fmnist_sk._data.shapes import pad
from fmnist_sk._network.criterion import probabilities_of
from fmnist_sk._network.views import views


class Predictor(nn.Module):
    """Raw pixels (n, channels, height, width) to probabilities (n, n_classes) float32.

    logits : the network with its standardisation, or a function of pixels that runs it in batches
    criterion : the loss, which makes probabilities of logits
    tta : kinds of views of an image whose probabilities are averaged, see ImageClassifier; None for the image alone
    background : (channels, 1, 1) what comes in from outside when a view is shifted or images are padded
    padding : pixels added on the left, right, top and bottom
    """

    background: Tensor

    def __init__(self, logits: Callable[[Tensor], Tensor], criterion: nn.Module, tta, background: Tensor,
                 padding: tuple[int, int, int, int] = (0, 0, 0, 0)):
        super().__init__()
        self.logits, self.criterion = logits, criterion
        self.tta, self.padding = tta, padding
        self.register_buffer("background", background)

    def forward(self, images: Tensor) -> Tensor:
        x = pad(images, self.padding, self.background)
        found = [probabilities_of(self.criterion, self.logits(view)) for view in views(x, self.tta, self.background)]
        return found[0] if len(found) == 1 else torch.stack(found).mean(0)
