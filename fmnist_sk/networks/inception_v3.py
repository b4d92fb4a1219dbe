"""Transfer learning with Inception v3: ImageNet's features under a new head."""
from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from sklearn.utils._param_validation import StrOptions
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_sk._data.images import LabelledImages
from fmnist_sk._data.ranges import value_range
from fmnist_sk._data.statistics import CHUNK, content_hashes
from fmnist_sk._network.optimizer import build_optimizer
from fmnist_sk._runtime.parameters import real, whole
from fmnist_sk._runtime.precision import autocast, compute_dtype
from fmnist_sk._runtime.warn import warn
from fmnist_sk._storage.files import expanded
from fmnist_sk._training.net import PhasePlan
from fmnist_sk.augmentation import RandomTransformer, as_transformers
from fmnist_sk.classifier import ImageClassifier
from fmnist_sk.networks._blocks import DROPOUT, POSITIVE
from fmnist_sk.networks._inception_v3 import (
    BLOCKS,
    LARGEST,
    SMALLEST,
    InceptionV3,
    imagenet_checkpoint,
    load_checkpoint,
)

IMAGENET_WIDTH = 1
MAX_CACHE_BYTES = 4 << 30       # outputs of the frozen blocks are kept if they take no more than this


class TransferInceptionV3(nn.Module):
    """Gray or colour images, enlarged, through Inception v3's blocks to a head: dense, ReLU, dropout, logits.

    After `freeze`, the first `n_frozen` blocks do not learn, and batch normalisation in all blocks keeps the statistics
    of the pretraining data, which a few small batches would only spoil.
    """

    def __init__(self, image_shape: tuple[int, int, int], n_classes: int, width: float = 1.0, resize: int = 150,
                 hidden: int = 256, dropout: float = 0.5):
        super().__init__()
        if image_shape[0] not in (1, 3):
            raise ValueError(f"X must hold images of 1 or 3 channels for Inception v3, got {image_shape[0]}.")
        self.resize = resize
        self.base = InceptionV3(width)
        self.head = nn.Sequential(nn.Linear(self.base.channels, hidden), nn.ReLU(), nn.Dropout(dropout),
                                  nn.Linear(hidden, n_classes))
        self.n_frozen, self.is_pretrained = 0, False

    def freeze(self, n_blocks: int) -> None:
        """Freeze the first `n_blocks` of BLOCKS and train all others."""
        self.n_frozen, self.is_pretrained = n_blocks, True
        for i, block in enumerate(self.base.blocks()):
            block.requires_grad_(i >= n_blocks)
        self.train(self.training)

    def train(self, mode: bool = True) -> TransferInceptionV3:
        super().train(mode)
        self.base.train(mode and not self.is_pretrained)
        return self

    def forward(self, x: Tensor) -> Tensor:          # (n, 1 or 3, height, width), in [-1, 1]
        return self.trainable(self.frozen(x))        # (n, n_classes)

    def frozen(self, x: Tensor) -> Tensor:
        """Output of the frozen blocks for images; the enlarged images if nothing is frozen."""
        x = F.interpolate(x.expand(-1, 3, -1, -1), size=(self.resize, self.resize), mode="bilinear", antialias=True)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.n_frozen):
            for block in self.base.blocks(stop=self.n_frozen):
                x = block(x)
        return x

    def trainable(self, x: Tensor) -> Tensor:
        """From the output of the frozen blocks to logits (n, n_classes)."""
        for block in self.base.blocks(self.n_frozen):
            x = block(x)                             # at the end (n, channels, 1, 1)
        return self.head(x.flatten(1))


class InceptionV3Classifier(ImageClassifier):
    """Transfer learning with Inception v3.

    Report 2 (see the guide's page on networks) planned it so. Images are enlarged, gray ones repeated in three
    channels. A fit has two phases. In the first `frozen_epochs` the network pretrained on ImageNet is frozen and only
    the new head learns, by `optimizer` at `lr`. In the remaining epochs, up to `max_epochs`, the blocks from
    `fine_tune_from` on learn too, by SGD at `fine_tune_lr`. Batch normalisation keeps ImageNet's
    statistics in both phases. Without augmentation, the output of the frozen blocks is computed once per phase, if it
    takes no more than 4 GiB. Each phase runs the whole `schedule`, and with validation images and `keep_best` the
    second starts from the best epoch of the first. `partial_fit` and warm starts continue the count of epochs.
    ``optimizer__*`` are settings of the first phase's optimizer; SGD has `momentum` and `weight_decay`.
    `early_stopping` ends a phase; a callback that stops training ends the whole fit. Images can have any size.

    All parameters of `ImageClassifier`, and:

    Parameters
    ----------
    weights : "imagenet", path or None
        "imagenet" is PyTorch's official checkpoint, downloaded once (104 MB) to the folder that torchvision also uses.
        A path names a file with a state dict of torchvision's names, for this `width`. None: nothing is pretrained or
        frozen; the whole network learns from the first epoch on, by `optimizer` at `lr`.
    width : float
        Factor for the channels of all blocks; the ImageNet weights have 1.
    resize : int
        Height and width in pixels, from 75 to 512, to which images are enlarged (or reduced) bilinearly.
    hidden : int
        Units of the dense layer between global average pooling and the logits.
    dropout : float
        Dropout rate after the dense layer.
    frozen_epochs : int
        Epochs of the first phase; the second has the rest of `max_epochs`, if there is any.
    fine_tune_from : str
        The lowest block that learns in the second phase: "Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3",
        "Conv2d_3b_1x1", "Conv2d_4a_3x3", "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a" to "Mixed_6e", "Mixed_7a",
        "Mixed_7b" or "Mixed_7c".
    fine_tune_lr : float
        Learning rate of the second phase.
    standardize : bool
        Scale pixels to [-1, 1], as the checkpoint expects: uint8 from 0 to 255, other numbers from the smallest to
        the largest training pixel.

    Notes
    -----
    `fit` raises FileNotFoundError if the weights can be neither found nor downloaded; the message says where to put
    them.

    References
    ----------
    Szegedy et al., 2016, https://arxiv.org/abs/1512.00567

    Examples
    --------
    >>> from fmnist_sk import InceptionV3Classifier
    >>> InceptionV3Classifier(frozen_epochs=2, max_epochs=4, fine_tune_lr=1e-4).fine_tune_lr
    0.0001
    """

    module: Any = TransferInceptionV3
    weights: str | os.PathLike | None = "imagenet"
    width: float = 1.0
    resize: int = 150
    hidden: int = 256
    dropout: float = 0.5
    frozen_epochs: int = 5
    fine_tune_from: str = "Mixed_7b"
    fine_tune_lr: float = 1e-4
    optimizer: Any = "adamw"
    lr: float = 1e-3
    schedule: str = "one_cycle"
    batch_size: int = 64
    max_epochs: int = 10

    _parameter_constraints = {
        **ImageClassifier._parameter_constraints,
        "standardize": ["boolean"],
        "weights": [str, os.PathLike, None],
        "width": [real(0, closed="neither")],
        "resize": [whole(SMALLEST, LARGEST)],
        "hidden": POSITIVE,
        "dropout": DROPOUT,
        "frozen_epochs": [whole(0)],
        "fine_tune_from": [StrOptions({name for name in BLOCKS if "pool" not in name})],
        "fine_tune_lr": [real(0, closed="neither")],
    }

    @property
    def _fine_tunes(self) -> bool:
        """Whether the second phase has begun."""
        return "module_" in self.__dict__ and self._network.is_pretrained and self._network.n_frozen < len(BLOCKS)

    @property
    def _network(self) -> TransferInceptionV3:
        network = self.module_.network
        if not isinstance(network, TransferInceptionV3):
            raise TypeError(f"module must be a TransferInceptionV3, got {type(network).__name__}.")
        return network

    @property
    def _lr_name(self) -> str:
        return "fine_tune_lr" if self._fine_tunes else "lr"

    def _pixel_statistics(self, images: LabelledImages) -> tuple[Tensor, Tensor]:
        low, high = value_range(images.pixels, images.rows) if images.pixels.is_floating_point() else (0, 255)
        return (torch.full((self.image_shape_[0],), (high + low) / 2),
                torch.full((self.image_shape_[0],), (high - low) / 2))

    def _prepare_network(self, network: nn.Module, is_new: bool) -> None:
        if self.weights is not None:
            if is_new:
                path = imagenet_checkpoint() if self.weights == "imagenet" else self._local_checkpoint()
                load_checkpoint(self._network.base, path)
            self._network.freeze(len(BLOCKS))

    def _local_checkpoint(self) -> Path:
        path = expanded(self.weights, "weights")
        try:
            exists = path.is_file()
        except OSError:                      # such as a name that is too long
            exists = False
        if not exists:
            raise FileNotFoundError("weights must be 'imagenet', None or the path of a checkpoint, but there is no "
                                    f"file at weights={self.weights!r}.")
        return path

    def _validate_params(self):
        super()._validate_params()
        if self.weights == "imagenet" and self.width != IMAGENET_WIDTH:
            raise ValueError(f"width must be {IMAGENET_WIDTH} with weights='imagenet', got width={self.width}.")

    def _plan_phases(self, epochs: int, done: int) -> list[PhasePlan]:
        if self.weights is None:
            return super()._plan_phases(epochs, done)
        n_frozen = 0 if done and self._fine_tunes else min(epochs, max(0, self.frozen_epochs - done))
        plans = [PhasePlan(n_frozen, self.lr, images=self._without_frozen_part),
                 PhasePlan(epochs - n_frozen, self.fine_tune_lr, self._begin_fine_tuning, self._without_frozen_part)]
        return [plan for plan in plans if plan.n_epochs]

    def _begin_fine_tuning(self) -> None:
        if not self._fine_tunes:
            self._network.freeze(BLOCKS.index(self.fine_tune_from))
            self.optimizer_ = build_optimizer(
                "sgd", list(self.get_all_learnable_params()), lr=self.fine_tune_lr, momentum=self.momentum,
                weight_decay=self.weight_decay, decay_biases=self.decay_biases, settings={})

    def _without_frozen_part(self, train: LabelledImages, valid: LabelledImages | None
                             ) -> tuple[LabelledImages, LabelledImages | None]:
        """Output of the frozen blocks, once for all epochs; images that are augmented, or shown to a teacher, stay.

        Such features stand in Images' pixels as flat rows (n, features).
        """
        needs_pixels = self.teacher is not None or any(
            isinstance(step, RandomTransformer) for step in as_transformers(self.augment, self.classes_))
        wanted = [part for part in (train, valid) if part is not None and (part is valid or not needs_pixels)]
        if not self._network.n_frozen:
            wanted = []
        found: dict[int, LabelledImages] = {}               # training and validation images can be parts of one tensor
        for pixels in {id(part.pixels): part.pixels for part in wanted}.values():
            parts = [part for part in wanted if part.pixels is pixels]
            features = self._frozen_features(parts)
            if features is not None:
                found |= {id(part): part.with_pixels(features) for part in parts}
        return found.get(id(train), train), None if valid is None else found.get(id(valid), valid)

    def _frozen_features(self, parts: list[LabelledImages]) -> Tensor | None:
        """Output of the frozen blocks for the pixels that the parts share: (n, features), None if too large to keep.

        Each distinct image is computed once, in an order that depends on the content alone: an output can depend on the
        image's batch by a rounding error, but must not depend on repetitions and the order of the data.
        """
        pixels, codes = parts[0].pixels, parts[0].codes
        rows = torch.cat([part.row_numbers for part in parts])
        _, inverse = torch.unique(content_hashes(pixels, codes)[rows], return_inverse=True)
        distinct = rows.new_empty(int(inverse.max()) + 1).scatter_(0, inverse, rows)
        self._set_training(False)
        features = pixels.new_empty(0)                  # of all pixels, 0 where they are in no part
        for start in range(0, len(distinct), self.batch_size):
            x = pixels[distinct[start:start + self.batch_size]].float().contiguous(memory_format=torch.channels_last)
            with torch.no_grad(), autocast(compute_dtype(self.precision, self.device_), self.device_):
                x = self._network.frozen(self.module_.scaled(x))
            if start == 0:
                if x[0].numel() * x.element_size() * len(pixels) > MAX_CACHE_BYTES:
                    return None
                self._frozen_shape = x.shape[1:]
                features = x.new_zeros(len(pixels), x[0].numel())
            features[distinct[start:start + len(x)]] = x.flatten(1)
        for copies, first in zip(rows.split(CHUNK), distinct[inverse].split(CHUNK), strict=True):
            features[copies] = features[first]
        return features

    def load_params(self, f_params=None, f_optimizer=None, f_criterion=None, f_history=None, checkpoint=None,
                    use_safetensors=False, **kwargs):
        """As skorch's, but an optimizer state from the other phase is skipped with a warning."""
        try:
            super().load_params(f_params, f_optimizer, f_criterion, f_history, checkpoint, use_safetensors, **kwargs)
        except ValueError as error:
            if "parameter group" not in str(error):
                raise
            warn("The optimizer's state was not loaded: it is from the other phase of training.")
            checkpoint = copy.copy(checkpoint)
            if checkpoint is not None:
                checkpoint.f_optimizer = None
            super().load_params(f_params, None, f_criterion, f_history, checkpoint, use_safetensors, **kwargs)

    def infer(self, x, **fit_params) -> Tensor:
        """Logits of a batch of images, or of the frozen blocks' output for them."""
        pixels = x["x"] if isinstance(x, Mapping) else x
        if pixels.ndim > 2:
            return super().infer(x)
        features = pixels.unflatten(1, self._frozen_shape).contiguous(memory_format=torch.channels_last)
        with autocast(compute_dtype(self.precision, self.device_), self.device_), \
                self._generators.around(self.module_, self._encoder.network_shape):
            return self._network.trainable(features).float()
