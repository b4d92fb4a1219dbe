"""Ensembles of networks that differ only by their random seeds."""
from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.utils import check_random_state, get_tags
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from fmnist_sk._estimator.fitting import fitting, plan_of
from fmnist_sk._estimator.skorch import own_hooks
from fmnist_sk._estimator.teacher import MeanOfMembers
from fmnist_sk._runtime.cpu import use_cpu
from fmnist_sk._runtime.device import choose_device
from fmnist_sk._runtime.parameters import Estimator, named, real, whole
from fmnist_sk._training.group import train_together
from fmnist_sk.classifier import ImageClassifier
from fmnist_sk.networks.resnet import ResNetClassifier


class DeepEnsembleClassifier(MeanOfMembers, MetaEstimatorMixin, ClassifierMixin, Estimator):
    """Several networks that differ only by their random seeds; probabilities are averaged over them.

    Deep ensembles (Lakshminarayanan et al., 2017, https://arxiv.org/abs/1612.01474) are usually more accurate than one
    network, at `n_members` times the cost. Members with label smoothing, such as the default, become more
    underconfident by averaging: calibrate the ensemble.

    Parameters
    ----------
    estimator : classifier with a parameter `random_state`, or None
        What each member is a clone of: a classifier of this package or any other scikit-learn classifier, such as a
        Pipeline that ends in one. None: ``ResNetClassifier()``.
    n_members : int
        Number of networks, 10,000 at most.
    learning_rates : (n_members,) floats, optional
        A learning rate for each member, in place of the estimator's `lr`.
    together : bool
        Experimental: train the members as one network of grouped convolutions, which takes the steps of all of them at
        once. Apart from rounding, results are those of training the members one by one; the data are on the device only
        once. On a CPU this gains nothing, and on a GPU it has not been measured. It works for classifiers of this
        package whose networks consist of convolutions, dense layers, batch normalisation, dropout, poolings,
        activations and sums, without a triplet term and without scikit-learn's callbacks. All others are trained in
        turn, whatever `together` says. With ``verbose=1``, each epoch prints a line for each member, in their order.
        The old value "auto" is treated as False.
    random_state : int, RandomState or None
        Source of the members' seeds. None: members have none, so that each fit draws its own.

    Attributes
    ----------
    estimators_ : list of classifiers
        The fitted members.
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    trained_together_ : bool
        Whether the members were trained as one network.
    n_features_in_, feature_names_in_ : as in scikit-learn
        Number of values per image, and the column names if X was a DataFrame with names.

    Examples
    --------
    >>> from fmnist_sk import ConvNetClassifier, DeepEnsembleClassifier
    >>> import numpy as np
    >>> X, y = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8), np.arange(60) % 3
    >>> net = ConvNetClassifier(architecture="8C3-16N", max_epochs=1)
    >>> ensemble = DeepEnsembleClassifier(net, n_members=3, random_state=0)
    >>> ensemble.fit(X, y).predict_proba(X).shape
    (60, 3)
    """

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "predict_proba"]), None],
        "n_members": [whole(1, 10_000)],
        "learning_rates": ["array-like", None],
        "together": [StrOptions({"auto"}), "boolean"],
        "random_state": ["random_state"],
    }

    def __init__(self, estimator=None, n_members: int = 5, *, learning_rates: Sequence[float] | None = None,
                 together: bool | str = False, random_state=None):
        self.estimator = estimator
        self.n_members = n_members
        self.learning_rates = learning_rates
        self.together = together
        self.random_state = random_state

    def fit(self, X: ArrayLike | Tensor, y: ArrayLike | Tensor, sample_weight: ArrayLike | None = None) -> Self:
        """Train the members.

        Parameters
        ----------
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            The training images.
        y : array-like or tensor of shape (n,)
            Their labels.
        sample_weight : array-like of shape (n,), optional
            As in `ImageClassifier`.

        Returns
        -------
        DeepEnsembleClassifier
            The ensemble itself.

        Raises
        ------
        TypeError or ValueError
            For parameters that cannot be used, and as the members do.
        """
        self._validate_params()
        if isinstance(self.estimator, type):
            raise TypeError(f"estimator must be an instance, such as {self.estimator.__name__}(), got the class "
                            f"{self.estimator.__name__}.")
        members = self._members()
        self.__dict__.pop("estimators_", None)
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        self.trained_together_ = False
        if self._tries_together(members[0]):
            self.trained_together_ = self._fit_together(members, X, y, sample_weight)
        else:
            for member in members:
                member.fit(X, y, **weights)
        self.estimators_ = members
        return self

    def _members(self) -> list:
        estimator = ResNetClassifier() if self.estimator is None else self.estimator
        members = [clone(estimator) for _ in range(self.n_members)]
        params = members[0].get_params()
        if self.random_state is None and any(params[key] is not None for key in named(params, "checkpoint")):
            raise ValueError("random_state must be set for members with checkpoint, because without it every fit draws "
                             "other ones: set random_state=0, got random_state=None.")
        seeds: Sequence[int | None] = [None] * self.n_members       # each fit draws its own
        if self.random_state is not None:
            seeds = check_random_state(self.random_state).randint(2**31 - 1, size=self.n_members).tolist()
        for name, values in (("random_state", seeds), ("lr", self._rates())):
            if values is None:
                continue
            found = named(params, name)
            if not found:
                raise ValueError(f"estimator must have a parameter {name!r}, in which members differ, got "
                                 f"{estimator!r}.")
            for member, value in zip(members, values, strict=True):
                member.set_params(**dict.fromkeys(found, value))
        return members

    def _rates(self) -> list[float] | None:
        if self.learning_rates is None:
            return None
        given, number = self.learning_rates, real(0, closed="neither")
        rates = given.tolist() if hasattr(given, "tolist") else list(given)
        if len(rates) != self.n_members or not all(map(number.is_satisfied_by, rates)):
            raise ValueError(f"learning_rates must hold a number above 0 for each of the n_members={self.n_members} "
                             f"members, got learning_rates={self.learning_rates!r}.")
        return rates

    def _tries_together(self, member) -> bool:
        return (self.together not in (False, "auto") and isinstance(member, ImageClassifier) and self.n_members > 1
                and not hasattr(member, "_skl_callbacks") and not own_hooks(member))

    @staticmethod
    def _fit_together(members: list[ImageClassifier], X, y, sample_weight) -> bool:
        for member in members:
            member._validate_params()
        device = choose_device(members[0].device, X)
        if device.type != "cpu" and isinstance(X, np.ndarray) and X.ndim > 1 and X.dtype.kind in "uif":
            X = torch.as_tensor(X, device=device)                  # once, for all of them
        with use_cpu(members[0].n_threads), ExitStack() as stack:
            return train_together([stack.enter_context(fitting(member, X, y, sample_weight, plan_of(member)))
                                   for member in members])

    def predict_proba(self, X: ArrayLike | Tensor) -> np.ndarray | Tensor:
        """The mean of the members' probabilities of each class for each image.

        Parameters
        ----------
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            Images like those in `fit`.

        Returns
        -------
        ndarray or tensor of shape (n, n_classes)
            In the order of ``classes_``. A tensor where the members' predictions are tensors.
        """
        check_is_fitted(self)
        return sum(member.predict_proba(X) for member in self.estimators_) / len(self.estimators_)

    def predict(self, X: ArrayLike | Tensor) -> np.ndarray | Tensor:
        """The most probable label of each image.

        Parameters
        ----------
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            Images like those in `fit`.

        Returns
        -------
        ndarray or tensor of shape (n,)
            Labels of ``classes_``. A tensor where the members' predictions are tensors.
        """
        probabilities = self.predict_proba(X)
        if isinstance(probabilities, Tensor) and self.classes_.dtype.kind in "biuf":
            return torch.from_numpy(self.classes_).to(probabilities.device)[probabilities.argmax(1)]
        return self.classes_[np.asarray(probabilities.argmax(1).cpu() if isinstance(probabilities, Tensor)
                                        else probabilities.argmax(1))]

    @property
    def classes_(self) -> np.ndarray:
        check_is_fitted(self, "estimators_")
        return self.estimators_[0].classes_

    @property
    def n_features_in_(self) -> int:
        return self._of_member("n_features_in_")

    @property
    def feature_names_in_(self) -> np.ndarray:
        return self._of_member("feature_names_in_")

    def _of_member(self, name: str):
        if "estimators_" not in vars(self):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.estimators_[0], name)

    def __sklearn_is_fitted__(self) -> bool:
        return "estimators_" in vars(self)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        member = ResNetClassifier() if self.estimator is None else self.estimator
        if hasattr(member, "__sklearn_tags__") and not isinstance(member, type):
            tags.input_tags = get_tags(member).input_tags
        return tags
