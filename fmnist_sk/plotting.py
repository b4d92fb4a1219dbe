"""Pictures of a training, in the manner of scikit-learn's Display classes.

``Display.from_estimator(...)`` draws into `ax`, or a new figure, and returns the display; nothing is shown or saved.
matplotlib is needed only here: the extra ``fmnist_sk[plot]``. Without it drawing raises ImportError.
"""
from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from fmnist_sk._batches import Batches
from fmnist_sk.augmentation import AugmentedCopies, as_transformers
from fmnist_sk.classifier import ImageClassifier
from fmnist_sk.schedules import as_schedule


@dataclass(eq=False)
class ScheduleDisplay:
    """The learning rate of every step of a fit.

    Parameters
    ----------
    epochs : (n_steps,) epochs done when a step begins: 0.5 is the middle of the first one
    lr : (n_steps,) its learning rate

    Attributes
    ----------
    figure_, ax_ : matplotlib's figure and axes
    lines_ : the line, in a list
    """

    epochs: np.ndarray
    lr: np.ndarray

    @classmethod
    def from_estimator(cls, classifier: ImageClassifier, n_samples: int, *, rows: Sequence[Mapping] = (), ax=None
                       ) -> ScheduleDisplay:
        """What the learning rate of ``classifier.fit`` will be; nothing is trained.

        Parameters
        ----------
        classifier : fitted or not
        n_samples : images given to fit. Those that `validation_fraction` holds out make no steps, the copies that
            AugmentedCopies stores do, counted as if it took all classes.
        rows : history rows of a fit, such as ``classifier.history_``, for schedules that follow a score
        ax : matplotlib axes, optional

        Raises TypeError or ValueError for arguments, parameters or rows that cannot be used.

        >>> from fmnist_sk import ResNetClassifier
        >>> classifier = ResNetClassifier(max_epochs=4, batch_size=100, schedule="cosine")
        >>> ScheduleDisplay.from_estimator(classifier, 1000).lr.shape
        (40,)
        """
        _check_classifier(classifier)
        classifier._validate_params()
        if not isinstance(rows, Sequence) or not all(isinstance(row, Mapping) for row in rows):
            raise TypeError(f"rows must be dicts, one for each epoch, such as classifier.history_, got rows={rows!r}.")
        steps, schedule, done, rates = _steps_per_epoch(classifier, n_samples), as_schedule(classifier.schedule), 0, []
        for n_epochs, lr in classifier._plan(classifier.max_epochs):
            rates.append(schedule.trace(n_epochs, steps, rows[done:done + n_epochs], lr))
            done += n_epochs
        lr = np.concatenate(rates)
        return cls(np.arange(len(lr)) / steps, lr).plot(ax)

    def plot(self, ax=None) -> ScheduleDisplay:
        """Draw into `ax` or a new figure."""
        self.figure_, (self.ax_,) = _axes(ax, 1)
        self.lines_ = self.ax_.plot(self.epochs, self.lr)
        self.ax_.set(xlabel="epoch", ylabel="learning rate", title="Learning rate")
        self.ax_.set_ylim(bottom=0)
        return self


@dataclass(eq=False)
class HistoryDisplay:
    """Loss and accuracy over the epochs of a fit, side by side.

    Parameters
    ----------
    epochs : (n_epochs,) numbers of the epochs, from 1
    scores : name of a line to {"loss": (n_epochs,), "acc": (n_epochs,)}
    best_epoch : the epoch to mark, or None

    Attributes
    ----------
    figure_ : matplotlib's figure
    ax_ : (2,) its axes, for loss and accuracy
    lines_ : the lines of the losses, then those of the accuracies
    """

    epochs: np.ndarray
    scores: dict[str, dict[str, np.ndarray]]
    best_epoch: int | None = None

    @classmethod
    def from_estimator(cls, classifier: ImageClassifier, *, ax=None) -> HistoryDisplay:
        """The history of a fitted classifier, of training and, where there were validation images, of these.

        ax : two matplotlib axes, optional

        Raises TypeError for what is no classifier of this package, ValueError for axes that are not two, and
        scikit-learn's NotFittedError.
        """
        rows = _history(classifier)
        parts = {"training (augmented)" if classifier.augment is not None else "training": "train",
                 "validation": "valid"}
        scores = {label: {score: np.array([row.get(f"{part}_{score}", math.nan) for row in rows])
                          for score in ("loss", "acc")}
                  for label, part in parts.items() if any(f"{part}_loss" in row for row in rows)}
        best = getattr(classifier, "best_epoch_", None)         # there are no validation images without it
        return cls(np.array([row["epoch"] for row in rows]), scores, best).plot(ax)

    def plot(self, ax=None) -> HistoryDisplay:
        """Draw into the two axes `ax` or a new figure."""
        self.figure_, self.ax_ = _axes(ax, 2)
        self.lines_ = []
        for axis, score, title in zip(self.ax_, ("loss", "acc"), ("Loss", "Accuracy"), strict=True):
            for (label, values), style in zip(self.scores.items(), ("o--", "s-"), strict=False):
                self.lines_ += axis.plot(self.epochs, values[score], style, markersize=4, label=label)
            if self.best_epoch is not None:
                axis.axvline(self.best_epoch, color="gray", linestyle=":", label=f"best epoch: {self.best_epoch}")
            axis.set(xlabel="epoch", title=title)
            axis.legend()
        return self


@dataclass(eq=False)
class ClassAccuracyDisplay:
    """Validation accuracy of each class over the epochs of a fit.

    Parameters
    ----------
    epochs : (n_epochs,) numbers of the epochs, from 1
    accuracy : (n_epochs, n_classes) share of the images of a class that is recognised
    class_names : (n_classes,) texts

    Attributes
    ----------
    figure_, ax_ : matplotlib's figure and axes
    lines_ : a line for each class
    """

    epochs: np.ndarray
    accuracy: np.ndarray
    class_names: Sequence[str]

    @classmethod
    def from_estimator(cls, classifier: ImageClassifier, *, class_names: Sequence[str] | None = None, ax=None
                       ) -> ClassAccuracyDisplay:
        """The history of a classifier that was fitted with validation images.

        class_names : (n_classes,) names in the order of ``classes_``; default: the labels themselves
        ax : matplotlib axes, optional

        Raises TypeError for what is no classifier of this package, ValueError without validation images or for names
        that do not fit, and scikit-learn's NotFittedError.
        """
        rows = [row for row in _history(classifier) if "valid_class_acc" in row]
        if not rows:
            raise ValueError("classifier must have been fitted with validation images (validation_fraction or "
                             "validation_data) to have accuracies of classes, got a history without valid_class_acc.")
        names = [str(name) for name in (classifier.classes_ if class_names is None else class_names)]
        if len(names) != len(classifier.classes_):
            raise ValueError(f"class_names must name each of the {len(classifier.classes_)} classes, got "
                             f"class_names={class_names!r}.")
        return cls(np.array([row["epoch"] for row in rows]), np.array([row["valid_class_acc"] for row in rows]),
                   names).plot(ax)

    def plot(self, ax=None) -> ClassAccuracyDisplay:
        """Draw into `ax` or a new figure."""
        self.figure_, (self.ax_,) = _axes(ax, 1, width=8)
        self.lines_ = [self.ax_.plot(self.epochs, values, "os^Dv"[i % 5] + ("-" if i % 2 else "--"), markersize=4,
                                     label=name)[0]
                       for i, (name, values) in enumerate(zip(self.class_names, self.accuracy.T, strict=True))]
        self.ax_.set(xlabel="epoch", ylabel="validation accuracy", title="Accuracy of each class")
        self.ax_.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        return self


def _axes(ax, n: int, width: float = 5):
    """A figure and an array of its n axes: those in `ax`, or new ones."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("Pictures are drawn with matplotlib: pip install 'fmnist_sk[plot]'.") from error
    if ax is None:
        _, ax = plt.subplots(1, n, figsize=(n * width, 4), layout="constrained")
    axes = np.ravel(ax)
    if len(axes) != n or not all(isinstance(axis, plt.Axes) for axis in axes):
        raise ValueError(f"ax must be {'one axes' if n == 1 else f'{n} axes'} of matplotlib, got ax={ax!r}.")
    for axis in axes:
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    return axes[0].figure, axes


def _check_classifier(classifier) -> None:
    if not isinstance(classifier, ImageClassifier):
        raise TypeError(f"classifier must be an ImageClassifier, got classifier={classifier!r}.")


def _history(classifier) -> list[dict]:
    """Rows of the epochs that were completed."""
    _check_classifier(classifier)
    check_is_fitted(classifier)
    return [row for row in classifier.history_ if "train_loss" in row]


def _steps_per_epoch(classifier: ImageClassifier, n_samples: int) -> int:
    if not isinstance(n_samples, numbers.Integral):
        raise TypeError(f"n_samples must be a whole number, got n_samples={n_samples!r}.")
    n = n_samples - classifier._n_held_out(n_samples)
    if n < 1:
        raise ValueError(f"n_samples must leave images to train on, got n_samples={n_samples} with "
                         f"validation_fraction={classifier.validation_fraction}.")
    for step in as_transformers(classifier.augment):
        n += round(step.fraction * n) if isinstance(step, AugmentedCopies) else 0
    return len(Batches(range(n), classifier.batch_size, torch.Generator()))
