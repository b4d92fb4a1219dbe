"""Networks without convolutions: dense layers that mix patches and features in turn."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn.utils._param_validation import StrOptions
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_sk.classifier import ImageClassifier
from fmnist_sk.networks._blocks import DEPTH, DROPOUT, POSITIVE


def _mlp(inputs: int, hidden: int, outputs: int, activation: Callable[[], nn.Module], dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), activation(), nn.Dropout(dropout), nn.Linear(hidden, outputs),
                         nn.Dropout(dropout))


class MixerBlock(nn.Module):
    """One dense network mixes the patches of every feature, another the features of every patch.

    Each after layer normalisation and around a shortcut (Tolstikhin et al., 2021, https://arxiv.org/abs/2105.01601).
    """

    def __init__(self, n_patches: int, width: int, patch_hidden: int, feature_hidden: int, dropout: float):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix_patches = _mlp(n_patches, patch_hidden, n_patches, nn.GELU, dropout)
        self.mix_features = _mlp(width, feature_hidden, width, nn.GELU, dropout)

    def forward(self, x: Tensor) -> Tensor:                    # (n, n_patches, width)
        x = x + self.mix_patches(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.mix_features(self.norm2(x))


class PlainBlock(nn.Module):
    """Report 4's block: the two dense networks one after the other, with ReLU, no normalisation, no shortcut.

    patches, features : inputs, hidden units and outputs of the two networks
    """

    def __init__(self, patches: tuple[int, int, int], features: tuple[int, int, int], dropout: float):
        super().__init__()
        self.mix_patches = _mlp(*patches, nn.ReLU, dropout)
        self.mix_features = _mlp(*features, nn.ReLU, dropout)

    def forward(self, x: Tensor) -> Tensor:                    # (n, patches, features)
        return self.mix_features(self.mix_patches(x.transpose(1, 2)).transpose(1, 2))


class MLPMixer(nn.Module):
    """Patches as rows of features, blocks that mix them, the mean over patches, logits."""

    def __init__(self, image_shape: tuple[int, int, int], n_classes: int, patch_size: int = 4, width: int = 256,
                 n_blocks: int = 4, patch_hidden: int = 128, feature_hidden: int = 512, block: str = "mixer",
                 dropout: float = 0.0):
        super().__init__()
        channels, *sides = image_shape
        rows, columns = (-(-side // patch_size) for side in sides)
        self.padding = (0, columns * patch_size - sides[1], 0, rows * patch_size - sides[0])
        n_patches, is_mixer = rows * columns, block == "mixer"
        self.stem = nn.Sequential(nn.Conv2d(channels, width, patch_size, patch_size))
        self.norm = nn.Identity() if is_mixer else nn.BatchNorm1d(n_patches)
        if is_mixer:
            self.blocks = nn.Sequential(*(MixerBlock(n_patches, width, patch_hidden, feature_hidden, dropout)
                                          for _ in range(n_blocks)), nn.LayerNorm(width))
        else:
            sizes = [((n_patches, patch_hidden, patch_hidden), (width, feature_hidden, feature_hidden))]
            sizes += [((patch_hidden, -(-patch_hidden // 2), patch_hidden),
                       (feature_hidden, -(-feature_hidden // 2), feature_hidden))] * (n_blocks - 1)
            self.blocks = nn.Sequential(*(PlainBlock(patches, features, dropout) for patches, features in sizes))
            width = feature_hidden
        self.logits = nn.Linear(width, n_classes)
        if not is_mixer:
            for module in self.modules():
                if isinstance(module, (nn.Linear, nn.Conv2d)):
                    nn.init.kaiming_normal_(module.weight)
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:                        # (n, channels, height, width)
        x = self.stem(F.pad(x, self.padding))                      # (n, width, rows, columns)
        x = self.norm(x.flatten(2).transpose(1, 2))                # (n, n_patches, width)
        return self.logits(self.blocks(x).mean(1))                 # (n, n_classes)


class MLPMixerClassifier(ImageClassifier):
    """MLP-Mixer, and report 4's patch MLP.

    `fmnist_sk.reference` introduces the report. The smallest images are `patch_size` x `patch_size`. All parameters of
    `ImageClassifier`, and:

    Parameters
    ----------
    patch_size : int
        Side of the square patches, in pixels. Images whose sides are not multiples of it are padded below and on the
        right.
    width : int
        Features of a patch.
    n_blocks : int
        Number of blocks, 1,000 at most. Each has one dense network across patches and one across features.
    patch_hidden, feature_hidden : int
        Hidden units of the two dense networks.
    block : {"mixer", "plain"}
        "mixer" has layer normalisation, GELU and shortcuts. "plain" is that of report 4 (see the guide's page on
        networks): batch normalisation with one mean for each patch, then blocks with ReLU, Kaiming-normal weights and
        neither normalisation nor shortcut. Its first block turns the patches' features into
        `patch_hidden` x `feature_hidden` values; the others keep that shape and have half as many hidden units.
    dropout : float
        Dropout rate after each of the two dense layers of both networks, from 0 to below 1.

    References
    ----------
    Tolstikhin et al., 2021, https://arxiv.org/abs/2105.01601

    Examples
    --------
    >>> from fmnist_sk import MLPMixerClassifier, summary
    >>> int(summary(MLPMixerClassifier(width=32, n_blocks=2)).loc["total", "parameters"])
    93260
    """

    module: Any = MLPMixer
    patch_size: int = 4
    width: int = 256
    n_blocks: int = 4
    patch_hidden: int = 128
    feature_hidden: int = 512
    block: str = "mixer"
    dropout: float = 0.0
    lr: float = 2e-3
    weight_decay: float = 0.05
    schedule: str = "one_cycle"
    label_smoothing: float = 0.1
    max_epochs: int = 20
    augment: Any = "light"

    _parameter_constraints = {
        **ImageClassifier._parameter_constraints,
        "patch_size": POSITIVE,
        "width": POSITIVE,
        "n_blocks": DEPTH,
        "patch_hidden": POSITIVE,
        "feature_hidden": POSITIVE,
        "block": [StrOptions({"mixer", "plain"})],
        "dropout": DROPOUT,
    }

    def _minimum_size(self) -> int:
        return self.patch_size
