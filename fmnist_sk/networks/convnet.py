"""Plain convolutional networks, written as text."""
from __future__ import annotations

import math
from typing import Any

from sklearn.utils._param_validation import StrOptions
from torch import Tensor, nn

from fmnist_sk.classifier import ImageClassifier
from fmnist_sk.networks._blocks import DROPOUT
from fmnist_sk.networks._text import ACTIVATIONS, feature_layers, minimum_side, parse_architecture


class ConvNet(nn.Module):
    """Convolutions (with batch normalisation) and poolings, then dense layers (with dropout), then logits."""

    def __init__(self, image_shape: tuple[int, int, int], n_classes: int, architecture: str, padding: str = "same",
                 rounding: str = "floor", batch_norm: bool | str = False, norm_first: bool = True,
                 dropout: float = 0.0, activation: str = "relu"):
        super().__init__()
        layers = parse_architecture(architecture, padding=padding, rounding=rounding)
        features, shape = feature_layers(layers, image_shape, batch_norm=bool(batch_norm), activation=activation,
                                         norm_first=norm_first)
        inputs = math.prod(shape)
        head: list[nn.Module] = []
        for layer in layers:
            if layer.kind == "dense":
                after = [*([nn.BatchNorm1d(layer.size)] if batch_norm == "all" else []), ACTIVATIONS[activation]()]
                head += [nn.Linear(inputs, layer.size), *(after if norm_first else after[::-1]), nn.Dropout(dropout)]
                inputs = layer.size
        self.features = nn.Sequential(*features)
        self.head = nn.Sequential(*head, nn.Linear(inputs, n_classes))

    def forward(self, x: Tensor) -> Tensor:      # (n, channels, height, width)
        x = self.features(x)                     # (n, maps, height', width')
        return self.head(x.flatten(1))           # (n, n_classes)


class ConvNetClassifier(ImageClassifier):
    """Plain convolutional network whose architecture is a string.

    Images must be large enough for the convolutions and poolings to leave a pixel: at least 4 x 4 by default.

    All parameters of `ImageClassifier`, and:

    Parameters
    ----------
    architecture : str
        In the notation of Ciresan et al., 2012, https://arxiv.org/abs/1202.2745, tokens joined by "-". To search over
        depth, give a list of such strings.

        - ``32C3`` is a convolution of 32 maps with a 3 x 3 kernel, ``32C4/2`` one of 4 x 4 with stride 2; ``32C3same``
          and ``32C3valid`` override `padding`.
        - ``32W4/2`` is such a convolution that is not trained: it whitens the patches of the training images (their
          principal components, each of variance one, and their negatives; Jordan, 2024,
          https://arxiv.org/abs/2404.00498). Only the first layer can be of this kind. Fitting it costs next to nothing.
        - ``MP2`` is a 2 x 2 max pooling, ``MP3/2`` one of 3 x 3 with stride 2, ``AP2`` an average pooling;
          ``MP2floor`` and ``MP2ceil`` override `rounding`.
        - ``GAP`` and ``GMP`` are global average and max pooling.
        - ``128N`` is a dense layer of 128 units. Dense layers come last; the output layer is implied.

        1,000 tokens at most.
    padding : {"same", "valid"}
        Padding of the convolutions: "same" keeps the image's size by adding zeros around it, "valid" adds none.
    rounding : {"floor", "ceil"}
        Rounding of the poolings: rows and columns that do not fill a window are dropped ("floor") or pooled in a
        smaller window ("ceil").
    batch_norm : bool or "all"
        Batch normalisation after every convolution (Ioffe and Szegedy, 2015, https://arxiv.org/abs/1502.03167); "all":
        after every dense layer but the last, too.
    norm_first : bool
        Whether batch normalisation comes before the activation, rather than after it.
    dropout : float
        Dropout rate after every dense layer but the last, from 0 to below 1 (Srivastava et al., 2014).
    activation : {"relu", "leaky_relu", "elu", "gelu"}
        Nonlinearity after every convolution and every dense layer but the last.

    Examples
    --------
    >>> from fmnist_sk import ConvNetClassifier
    >>> ConvNetClassifier(architecture="16C3-MP2-32N", max_epochs=3)
    ConvNetClassifier(architecture='16C3-MP2-32N', max_epochs=3)
    """

    module: Any = ConvNet
    architecture: str = "32C3-MP2-64C3-MP2-128N"
    padding: str = "same"
    rounding: str = "floor"
    batch_norm: bool | str = True
    norm_first: bool = True
    dropout: float = 0.0
    activation: str = "relu"

    _parameter_constraints = {
        **ImageClassifier._parameter_constraints,
        "padding": [StrOptions({"same", "valid"})],
        "rounding": [StrOptions({"floor", "ceil"})],
        "batch_norm": ["boolean", StrOptions({"all"})],
        "norm_first": ["boolean"],
        "dropout": DROPOUT,
        "activation": [StrOptions(set(ACTIVATIONS))],
    }

    def _minimum_size(self) -> int:
        return minimum_side(parse_architecture(self.architecture, padding=self.padding, rounding=self.rounding))
