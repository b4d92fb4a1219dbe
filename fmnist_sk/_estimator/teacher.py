"""Knowledge distillation: what another classifier says of the images of a batch becomes their targets."""
from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
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
from fmnist_sk._runtime.parameters import named

N_TRIED = 128           # images by whose probabilities teachers are told apart


class MeanOfMembers:
    """Mixin of classifiers whose probabilities are the mean of those of their `estimators_`."""

    estimators_: list


class Teacher:
    """Targets for batches of images, of which a share are a classifier's probabilities.

    classifier : with the classes of the fit, or not fitted, for `learn`; networks of this package and ensembles of them
        compute on tensors, without views and checks, others are given arrays
    weight : share of the target that is the classifier's
    encoder : what the fit has learned of its images
    images : training images, some of which are tried
    shape : of the X that they were given as: (n, features), (n, H, W) or (n, C, H, W)
    """

    def __init__(self, classifier: Any, weight: float, encoder: ImageEncoder, images: LabelledImages,
                 shape: tuple[int, ...]):
        self.classifier, self.weight, self.encoder, self.shape = classifier, weight, encoder, shape
        if isinstance(classifier, type):
            raise ValueError(f"teacher must be a classifier, got the class teacher={classifier!r}.")
        self._learns = isinstance(classifier, BaseEstimator) and not _is_fitted(classifier)
        self.identity = classifier if self._learns else self._try(images)           # tells fits apart

    def learn(self, images: LabelledImages, seed: int | None) -> None:
        """Fit a clone of the classifier on these images, unless it was fitted before.

        seed : from which what has no seed gets one; None leaves it without, free to use fewer threads
        """
        if self._learns:
            self.classifier = clone(self.classifier)
            if seed is not None:
                random, params = np.random.RandomState(seed), self.classifier.get_params()
                self.classifier.set_params(**{name: random.randint(2**31 - 1) for name in named(params, "random_state")
                                              if params[name] is None})
            try:
                self.classifier.fit(self._rows(images.tensor()), images.y)
            except (TypeError, ValueError) as error:
                raise type(error)(f"teacher must be able to learn the training images: {error}") from error
            self._try(images)
            self._learns = False

    def _try(self, images: LabelledImages) -> Tensor:
        """What the classifier says of some images. Raises ValueError if it cannot teach."""
        classes = np.asarray(getattr(self.classifier, "classes_", ()))
        if not np.array_equal(classes, self.encoder.classes):
            raise ValueError(f"teacher must know the classes of y, {self.encoder.classes.tolist()}, got one of "
                             f"{classes.tolist()}.")
        self._nets = _nets_of(self.classifier)
        if other := {net.image_shape_ for net in self._nets or ()} - {self.encoder.image_shape}:
            raise ValueError(f"teacher must be fitted on images of shape {self.encoder.image_shape} (channels, height, "
                             f"width), as in X, got one of {other.pop()}.")
        first = images.take(torch.arange(min(len(images), N_TRIED), device=images.pixels.device))
        try:
            tried = self._predict(first.tensor())
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"teacher must be able to predict the training images: {error}") from error
        check_probabilities(tried, (len(first), len(classes)), "teacher must predict probabilities (n, n_classes) "
                            "of the training images, numbers >= 0 whose sum is one for each image")
        return tried

    def __call__(self, batch: Batch) -> Tensor:
        """Targets (n, n_classes) of a batch, after its images were augmented."""
        assert batch.codes is not None
        own = F.one_hot(batch.codes, len(self.encoder.classes)).float() if batch.targets is None else batch.targets
        return torch.lerp(own, self._predict(batch.x), self.weight)

    def _predict(self, x: Tensor) -> Tensor:
        """The classifier's probabilities (n, n_classes) float32 of images as the network takes them."""
        with torch.no_grad():
            if self._nets is None:
                found = np.asarray(self.classifier.predict_proba(self._rows(x)), dtype=np.float32)
                return torch.from_numpy(found).to(x.device)
            x = self._without_filling(x)
            for net in self._nets:
                net._set_training(False)                # which one that was loaded is not yet
            each = [probabilities_of(net.criterion_, net.infer(net._encoder.filled_up(x.to(net.device_))))
                    for net in self._nets]
            return torch.stack([found.to(x.device) for found in each]).mean(0)

    def _without_filling(self, x: Tensor) -> Tensor:
        """Images without what fills up those that are too small for the network."""
        _, height, width = self.encoder.image_shape
        return x[:, :, :height, :width]

    def _rows(self, x: Tensor) -> np.ndarray:
        """Images as the network takes them in the form of the user's X."""
        x = self._without_filling(x)
        if len(self.shape) == 2:
            x = x.flatten(1)[:, :self.shape[1]]         # without what fills up rows that make no square
        elif len(self.shape) == 3:
            x = x[:, 0]
        return x.cpu().numpy()


def _is_fitted(classifier: BaseEstimator) -> bool:
    try:
        check_is_fitted(classifier)
    except NotFittedError:
        return False
    return True


def _nets_of(classifier: Any) -> list[SkorchNet] | None:
    """The nets whose mean probabilities are the classifier's, or None if it is of another kind."""
    if isinstance(classifier, FrozenEstimator):
        classifier = classifier.estimator
    nets = classifier.estimators_ if isinstance(classifier, MeanOfMembers) else [classifier]
    return nets if all(isinstance(net, SkorchNet) for net in nets) else None
