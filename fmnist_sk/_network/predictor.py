"""From images to probabilities: what predict_proba does, and what is exported."""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_sk._network.criterion import probabilities_of
from fmnist_sk._network.views import views


class Predictor(nn.Module):
    """Raw pixels (n, channels, height, width) to probabilities (n, n_classes) float32.

    logits : the network with its standardisation, or a function of pixels that runs it in batches
    criterion : the loss, which makes probabilities of logits
    tta : kinds of views of an image whose probabilities are averaged, see ImageClassifier; None for the image alone
    background : value of what comes in from outside when a view is shifted
    padding : pixels added on the left, right, top and bottom
    """

    def __init__(self, logits: Callable[[Tensor], Tensor], criterion: nn.Module, tta=None, background: float = 0.0,
                 padding: tuple[int, int, int, int] = (0, 0, 0, 0)):
        super().__init__()
        self.logits, self.criterion = logits, criterion
        self.tta, self.background, self.padding = tta, background, padding

    def forward(self, images: Tensor) -> Tensor:
        x = F.pad(images, self.padding) if any(self.padding) else images
        found = [probabilities_of(self.criterion, self.logits(view)) for view in views(x, self.tta, self.background)]
        return found[0] if len(found) == 1 else torch.stack(found).mean(0)
