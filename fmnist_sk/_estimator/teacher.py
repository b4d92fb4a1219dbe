"""Knowledge distillation: what a fitted classifier says of the images of a batch becomes their targets."""
from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.nn import functional as F

from fmnist_sk._data.checks import check_probabilities
from fmnist_sk._data.encoder import ImageEncoder
from fmnist_sk._data.images import Batch, LabelledImages
from fmnist_sk._estimator.skorch import SkorchNet
from fmnist_sk._network.criterion import probabilities_of

N_TRIED = 128           # images by whose probabilities teachers are told apart


class MeanOfMembers:
    """Mixin of classifiers whose probabilities are the mean of those of their `estimators_`."""

    estimators_: list


class Teacher:
    """Targets for batches of images, of which a share are a classifier's probabilities.

    classifier : fitted, with the classes of the fit; networks of this package and ensembles of them compute on tensors,
        without views and checks, others are given arrays
    weight : share of the target that is the classifier's
    encoder : what the fit has learned of its images
    images : training images, some of which are tried
    shape : of the X that they were given as: (n, features), (n, H, W) or (n, C, H, W)
    """

    def __init__(self, classifier: Any, weight: float, encoder: ImageEncoder, images: LabelledImages,
                 shape: tuple[int, ...]):
        self.classifier, self.weight, self.encoder, self.shape = classifier, weight, encoder, shape
        try:
            if isinstance(classifier, (type, BaseEstimator)):
                check_is_fitted(classifier)
        except (NotFittedError, TypeError) as error:            # a class is none either
            raise ValueError(f"teacher must be a fitted classifier, got teacher={classifier!r}. A search clones the "
                             "teachers it compares: wrap each in scikit-learn's FrozenEstimator.") from error
        classes = np.asarray(getattr(classifier, "classes_", ()))
        if not np.array_equal(classes, encoder.classes):
            raise ValueError(f"teacher must know the classes of y, {encoder.classes.tolist()}, got one of "
                             f"{classes.tolist()}.")
        self._nets = _nets_of(classifier)
        if other := {net.image_shape_ for net in self._nets or ()} - {encoder.image_shape}:
            raise ValueError(f"teacher must be fitted on images of shape {encoder.image_shape} (channels, height, "
                             f"width), as in X, got one of {other.pop()}.")
        first = images.take(torch.arange(min(len(images), N_TRIED), device=images.pixels.device))
        try:
            self.tried = self._predict(first.tensor())
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"teacher must be able to predict the training images: {error}") from error
        check_probabilities(self.tried, (len(first), len(classes)), "teacher must predict probabilities (n, n_classes) "
                            "of the training images, numbers >= 0 whose sum is one for each image")

    def __call__(self, batch: Batch) -> Tensor:
        """Targets (n, n_classes) of a batch, after its images were augmented."""
        assert batch.codes is not None
        own = F.one_hot(batch.codes, len(self.encoder.classes)).float() if batch.targets is None else batch.targets
        return torch.lerp(own, self._predict(batch.x), self.weight)

    def _predict(self, x: Tensor) -> Tensor:
        """The classifier's probabilities (n, n_classes) float32 of images as the network takes them."""
        _, height, width = self.encoder.image_shape
        x = x[:, :, :height, :width]                    # without what fills up images that are too small
        with torch.no_grad():
            if self._nets is None:
                if len(self.shape) == 2:                # without what fills up rows that make no square
                    rows = x.flatten(1)[:, :self.shape[1]]
                else:
                    rows = x[:, 0] if len(self.shape) == 3 else x
                found = np.asarray(self.classifier.predict_proba(rows.cpu().numpy()), dtype=np.float32)
                return torch.from_numpy(found).to(x.device)
            for net in self._nets:
                net._set_training(False)                # which one that was loaded is not yet
            each = [probabilities_of(net.criterion_, net.infer(net._encoder.filled_up(x.to(net.device_))))
                    for net in self._nets]
            return torch.stack([found.to(x.device) for found in each]).mean(0)


def _nets_of(classifier: Any) -> list[SkorchNet] | None:
    """The nets whose mean probabilities are the classifier's, or None if it is of another kind."""
    if isinstance(classifier, FrozenEstimator):
        classifier = classifier.estimator
    nets = classifier.estimators_ if isinstance(classifier, MeanOfMembers) else [classifier]
    return nets if all(isinstance(net, SkorchNet) for net in nets) else None
