"""Plots of training: learning rate, loss and accuracy over the epochs."""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from fmnist_sk._data.images import Batches
from fmnist_sk._data.labels import names_of
from fmnist_sk._data.split import n_held_out
from fmnist_sk._runtime.parameters import check_count
from fmnist_sk._training.schedule import check_rows
from fmnist_sk.augmentation import AugmentedCopies, as_transformers
from fmnist_sk.classifier import ImageClassifier
from fmnist_sk.inspection import classifier_of
from fmnist_sk.plotting._base import NEUTRAL, PALETTE, as_written, panels, style
from fmnist_sk.schedules import as_schedule


@dataclass(eq=False, repr=False)
class ScheduleDisplay:
    """The learning rate of every step of a fit.

    Parameters
    ----------
    epochs : array of shape (n_steps,)
        Epochs completed when a step begins: 0.5 is the middle of the first epoch.
    lr : array of shape (n_steps,)
        Learning rate of each step.

    Attributes
    ----------
    figure_, ax_ : matplotlib Figure and Axes
        What was drawn.
    lines_ : list of matplotlib Line2D
        The single line.

    Examples
    --------
    >>> from fmnist_sk import ConvNetClassifier, ScheduleDisplay
    >>> net = ConvNetClassifier(schedule="cosine", max_epochs=3)
    >>> type(ScheduleDisplay.from_estimator(net, n_samples=1000).figure_).__name__
    'Figure'
    """

    epochs: np.ndarray
    lr: np.ndarray

    @classmethod
    def from_estimator(cls, classifier: ImageClassifier, n_samples: int, *, rows: Sequence[dict] = (), ax=None
                       ) -> ScheduleDisplay:
        """The learning rate that ``classifier.fit`` will use; nothing is trained.

        Parameters
        ----------
        classifier : ImageClassifier, or Pipeline that ends in one
            Fitted or not.
        n_samples : int
            Number of images passed to fit, which determines the number of steps per epoch. Those that
            `validation_fraction` holds out are subtracted, and the copies that AugmentedCopies stores are added, as if
            it made copies of all classes.
        rows : sequence of dict
            History rows of a fit, such as ``classifier.history_``, from which schedules that follow a score read it.
        ax : matplotlib axes, optional
            Where to draw. Default: a new figure.

        Raises
        ------
        TypeError or ValueError
            For arguments, parameters or rows that cannot be used.

        Examples
        --------
        >>> from fmnist_sk import ResNetClassifier, ScheduleDisplay
        >>> classifier = ResNetClassifier(max_epochs=4, batch_size=100, schedule="cosine")
        >>> ScheduleDisplay.from_estimator(classifier, 1000).lr.shape
        (40,)
        """
        _, classifier = classifier_of(classifier, "classifier")
        classifier._validate_params()
        check_rows(rows)
        steps, schedule, done = _steps_per_epoch(classifier, n_samples), as_schedule(classifier.schedule), 0
        rates = []
        for plan in classifier._plan_phases(classifier.schedule_epochs or classifier.max_epochs, 0):
            rates.append(schedule.trace(plan.n_epochs, steps, rows[done:done + plan.n_epochs], plan.lr))
            done += plan.n_epochs
        lr = np.concatenate(rates)[:steps * classifier.max_epochs]
        return cls(np.arange(len(lr)) / steps, lr).plot(ax)

    @as_written
    def plot(self, ax=None) -> ScheduleDisplay:
        """Draw into `ax` or a new figure."""
        self.figure_, ((self.ax_,),) = panels(ax)
        self.lines_ = self.ax_.plot(self.epochs, self.lr, color=PALETTE[0])
        _decorate(self.ax_)
        self.ax_.set(xlabel="epoch", ylabel="learning rate", title="Learning rate")
        self.ax_.set_ylim(bottom=0)
        return self


@dataclass(eq=False, repr=False)
class HistoryDisplay:
    """Learning curves: loss, accuracy and learning rate over the epochs of a fit, side by side.

    Parameters
    ----------
    epochs : array of shape (n_epochs,)
        Numbers of the epochs, from 1.
    scores : dict of str to dict
        For each line's name, {"loss": (n_epochs,), "acc": (n_epochs,)}.
    lr : array of shape (n_epochs,)
        Learning rate of the last step of each epoch.
    best_epoch : int, optional
        The epoch to mark.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure that was drawn.
    ax_ : array of 3 Axes
        For loss, accuracy and learning rate.
    lines_ : list of matplotlib Line2D
        The lines of losses, accuracies and learning rate, in this order.

    Examples
    --------
    >>> import numpy as np
    >>> from fmnist_sk import ConvNetClassifier, HistoryDisplay
    >>> X, y = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8), np.arange(40) % 2
    >>> net = ConvNetClassifier(architecture="4C3-8N", max_epochs=2, random_state=0).fit(X, y)
    >>> HistoryDisplay.from_estimator(net).epochs.tolist()
    [1, 2]
    """

    epochs: np.ndarray
    scores: dict[str, dict[str, np.ndarray]]
    lr: np.ndarray
    best_epoch: int | None = None

    @classmethod
    def from_estimator(cls, classifier: ImageClassifier, *, ax=None) -> HistoryDisplay:
        """The history of a fitted classifier, for training images and, if there were any, validation images.

        Parameters
        ----------
        classifier : fitted ImageClassifier, or Pipeline that ends in one
            The classifier to show.
        ax : matplotlib axes, optional
            One, whose area is divided, or three.

        Raises
        ------
        TypeError
            For other estimators.
        ValueError
            Without a complete epoch, and for axes that do not fit.
        NotFittedError
            If the classifier is not fitted.
        """
        classifier, rows = _history(classifier)
        parts = {"training (augmented)" if classifier.augment is not None else "training": "train",
                 "validation": "valid"}
        scores = {label: {score: np.array([row.get(f"{part}_{score}", math.nan) for row in rows])
                          for score in ("loss", "acc")}
                  for label, part in parts.items() if any(f"{part}_loss" in row for row in rows)}
        best = getattr(classifier, "best_epoch_", None)         # there are no validation images without it
        return cls(np.array([row["epoch"] for row in rows]), scores,
                   np.array([row.get("lr", math.nan) for row in rows]), best).plot(ax)

    @as_written
    def plot(self, ax=None) -> HistoryDisplay:
        """Draw into the axes `ax` or a new figure."""
        self.figure_, (self.ax_,) = panels(ax, 1, 3, (13, 4))
        self.lines_ = []
        for axis, score, title in zip(self.ax_, ("loss", "acc"), ("Loss", "Accuracy"), strict=False):
            for (label, values), line, color in zip(self.scores.items(), ("o--", "s-"), PALETTE, strict=False):
                self.lines_ += axis.plot(self.epochs, values[score], line, color=color, markersize=4, label=label)
            axis.set_title(title)
        self.lines_ += self.ax_[2].plot(self.epochs, self.lr, "^-", color=NEUTRAL, markersize=4,
                                        label="at the end of the epoch")
        self.ax_[2].set_title("Learning rate")
        self.ax_[2].set_ylim(bottom=0)
        for axis in self.ax_:
            if self.best_epoch is not None:
                axis.axvline(self.best_epoch, color="black", linestyle=":", label=f"best epoch: {self.best_epoch}")
            axis.set_xlabel("epoch")
            axis.legend()
            _decorate(axis)
        return self


@dataclass(eq=False, repr=False)
class ClassHistoryDisplay:
    """Validation accuracy of each class over the epochs of a fit.

    Parameters
    ----------
    epochs : array of shape (n_epochs,)
        Numbers of the epochs, from 1.
    accuracy : array of shape (n_epochs, n_classes)
        Share of a class's images that are classified correctly, from 0 to 1.
    class_names : sequence of n_classes strings
        Names of the classes.

    Attributes
    ----------
    figure_, ax_ : matplotlib Figure and Axes
        What was drawn.
    lines_ : list of matplotlib Line2D
        One for each class.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8), np.arange(40) % 2
    >>> from fmnist_sk import ClassHistoryDisplay, ConvNetClassifier
    >>> net = ConvNetClassifier(architecture="4C3-8N", max_epochs=2, validation_fraction=0.5).fit(X, y)
    >>> type(ClassHistoryDisplay.from_estimator(net, class_names=["bag", "coat"]).figure_).__name__
    'Figure'
    """

    epochs: np.ndarray
    accuracy: np.ndarray
    class_names: Sequence[str]

    @classmethod
    def from_estimator(cls, classifier: ImageClassifier, *, class_names: Sequence[str] | None = None, ax=None
                       ) -> ClassHistoryDisplay:
        """The history of a classifier that was fitted with validation images.

        Parameters
        ----------
        classifier : fitted ImageClassifier, or Pipeline that ends in one
            The classifier to show.
        class_names : sequence of n_classes strings, optional
            Names in the order of ``classes_``. Default: the labels.
        ax : matplotlib axes, optional
            Where to draw. Default: a new figure.

        Raises
        ------
        TypeError
            For other estimators.
        ValueError
            Without validation images, or for names that do not fit.
        NotFittedError
            If the classifier is not fitted.
        """
        classifier, rows = _history(classifier)
        rows = [row for row in rows if "valid_class_acc_0" in row]
        if not rows:
            raise ValueError("classifier must have been fitted with validation images (validation_fraction or "
                             "validation_data) to have class accuracies, got a history without valid_class_acc_0.")
        columns = [f"valid_class_acc_{code}" for code in range(len(classifier.classes_))]
        accuracy = np.array([[row[name] for name in columns] for row in rows])
        return cls(np.array([row["epoch"] for row in rows]), accuracy,
                   names_of(classifier.classes_, class_names)).plot(ax)

    @as_written
    def plot(self, ax=None) -> ClassHistoryDisplay:
        """Draw into `ax` or a new figure."""
        self.figure_, ((self.ax_,),) = panels(ax, size=(8, 4))
        self.lines_ = [self.ax_.plot(self.epochs, values, **style(i), markersize=4, label=name)[0]
                       for i, (name, values) in enumerate(zip(self.class_names, self.accuracy.T, strict=True))]
        self.ax_.set(xlabel="epoch", ylabel="validation accuracy", title="Accuracy of each class")
        self.ax_.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        _decorate(self.ax_)
        return self


def _decorate(axis) -> None:
    first, last = axis.dataLim.intervalx
    if last - first < 0.01:                 # a single epoch, shown in the middle
        axis.set_xlim(first - 1, last + 1)
        axis.margins(y=0.5)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(alpha=0.3)


def _history(classifier) -> tuple[ImageClassifier, list[dict]]:
    """A fitted classifier without the steps of a Pipeline, and the rows of its completed epochs."""
    _, classifier = classifier_of(classifier, "classifier")
    check_is_fitted(classifier)
    rows = [row for row in classifier.history_ if "train_loss" in row]
    if not rows:
        raise ValueError("classifier must have been fitted for at least one epoch to have a history, got none.")
    return classifier, rows


def _steps_per_epoch(classifier: ImageClassifier, n_samples: int) -> int:
    """Number of batches from `n_samples` images, without those held out and with stored copies."""
    check_count(n_samples, "n_samples")
    n = n_samples - n_held_out(classifier.validation_fraction, n_samples)
    if n < 1:
        raise ValueError(f"n_samples must leave images to train on, got n_samples={n_samples} with "
                         f"validation_fraction={classifier.validation_fraction}.")
    for step in as_transformers(classifier.augment):
        n += round(step.fraction * n) if isinstance(step, AugmentedCopies) else 0
    images: Any = range(n)              # only their number counts
    return len(Batches(images, classifier.batch_size, torch.Generator()))
