"""Plots of a classifier's accuracy: for each class, at each confidence, beside other classifiers."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import confusion_matrix
from sklearn.utils.multiclass import unique_labels
from torch import Tensor

from fmnist_sk._data.labels import names_of
from fmnist_sk._runtime.parameters import check_count
from fmnist_sk.plotting._base import (
    FEW,
    NEUTRAL,
    RIGHT,
    as_array,
    as_labels,
    as_probabilities,
    as_written,
    check_classifier,
    class_codes,
    panels,
    probabilities_of,
    style,
    wilson,
)


@dataclass(eq=False, repr=False)
class ClassAccuracyDisplay:
    """Accuracy of each class with 95 % confidence intervals (Wilson, 1927), the least accurate class at the bottom.

    Parameters
    ----------
    n_right : array of shape (n_classes,)
        Number of correctly classified images of each class.
    n_images : array of shape (n_classes,)
        Number of images of each class.
    class_names : sequence of n_classes strings
        Names of the classes.

    Attributes
    ----------
    figure_, ax_ : matplotlib Figure and Axes
        What was drawn.
    accuracy_, low_, high_ : arrays of shape (n_classes,)
        Shares from 0 to 1 and their intervals, in the order of `class_names`.
    interval_ : tuple of 2 floats
        95 % confidence interval of the overall accuracy.

    Examples
    --------
    >>> from fmnist_sk import ClassAccuracyDisplay
    >>> ClassAccuracyDisplay.from_predictions([0, 0, 1, 1], [0, 1, 1, 1]).accuracy_.tolist()
    [0.5, 1.0]
    """

    n_right: np.ndarray
    n_images: np.ndarray
    class_names: Sequence[str]

    @classmethod
    def from_estimator(cls, estimator, X: ArrayLike | Tensor, y: ArrayLike | Tensor, *,
                       class_names: Sequence[str] | None = None, ax=None) -> ClassAccuracyDisplay:
        """Predictions of a fitted classifier for images X (n, ...) with labels y (n,).

        Parameters
        ----------
        estimator : any fitted classifier
            Its predictions are shown.
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            Images in any form that it accepts.
        y : array-like or tensor of shape (n,)
            Their true labels.
        class_names : sequence of n_classes strings, optional
            Names in the order of ``estimator.classes_``. Default: the labels.
        ax : matplotlib axes, optional
            Where to draw. Default: a new figure.

        Raises
        ------
        TypeError
            If `estimator` is not a classifier.
        ValueError
            For labels or names that do not fit.
        NotFittedError
            If the classifier is not fitted.
        """
        check_classifier(estimator)
        images = as_array(X)
        y_true, y_pred = as_labels(y, "y", len(images)), as_labels(estimator.predict(images), "y_pred")
        return cls._from(y_true, y_pred, estimator.classes_, class_names, ax)

    @classmethod
    def from_predictions(cls, y_true: ArrayLike | Tensor, y_pred: ArrayLike | Tensor, *,
                         class_names: Sequence[str] | None = None, ax=None) -> ClassAccuracyDisplay:
        """True and predicted labels.

        Parameters
        ----------
        y_true : array-like or tensor of shape (n,)
            True labels.
        y_pred : array-like or tensor of shape (n,)
            Predicted labels.
        class_names : sequence of n_classes strings, optional
            Names in the order of the sorted labels. Default: the labels.
        ax : matplotlib axes, optional
            Where to draw. Default: a new figure.

        Raises
        ------
        ValueError
            For labels or names that do not fit.
        """
        y_true = as_labels(y_true, "y_true")
        y_pred = as_labels(y_pred, "y_pred", len(y_true))
        return cls._from(y_true, y_pred, unique_labels(y_true, y_pred), class_names, ax)

    @classmethod
    def _from(cls, y_true, y_pred, classes, class_names, ax):
        matrix = confusion_matrix(class_codes(y_true, classes, "y_true"), class_codes(y_pred, classes, "y_pred"),
                                  labels=range(len(classes)))
        names, counts = names_of(classes, class_names), matrix.sum(1)
        present = counts > 0
        return cls(matrix.diagonal()[present], counts[present],
                   [name for name, here in zip(names, present, strict=True) if here]).plot(ax)

    @as_written
    def plot(self, ax=None) -> ClassAccuracyDisplay:
        """Draw into `ax` or a new figure."""
        self.figure_, ((self.ax_,),) = panels(ax, size=(7, 1 + 0.36 * len(self.class_names)))
        self.accuracy_ = self.n_right / self.n_images
        self.low_, self.high_ = np.transpose([wilson(*pair) for pair in zip(self.n_right, self.n_images, strict=True)])
        overall = self.n_right.sum() / self.n_images.sum()
        low, high = self.interval_ = wilson(self.n_right.sum(), self.n_images.sum())
        order = np.argsort(self.accuracy_, kind="stable")
        rows = np.arange(len(order))
        self.ax_.axvspan(low, high, color=NEUTRAL, alpha=0.2, linewidth=0)
        self.ax_.axvline(overall, color=NEUTRAL, linestyle="--")
        self.ax_.errorbar(self.accuracy_[order], rows, fmt="o", color=RIGHT, capsize=3, xerr=np.maximum(0, [
            (self.accuracy_ - self.low_)[order], (self.high_ - self.accuracy_)[order]]))
        for row, i in zip(rows, order, strict=True):
            self.ax_.annotate(f"{self.accuracy_[i]:.1%}", (1.01, row), xycoords=("axes fraction", "data"), va="center",
                              fontsize=9)
        self.ax_.set_yticks(rows, [self.class_names[i] for i in order])
        self.ax_.set(xlabel="accuracy on the images of a class, with 95 % interval",
                     title=f"Accuracy of each class; overall {overall:.2%} [{low:.2%}, {high:.2%}]")
        self.ax_.xaxis.set_major_formatter("{x:.0%}")
        self.ax_.grid(axis="x", alpha=0.3)
        return self


@dataclass(eq=False, repr=False)
class ReliabilityDisplay:
    """Reliability diagram, which shows whether predictions with a confidence of 90 % are right in 90 % of cases.

    The confidence is the probability of the predicted class. ``ece`` is the expected calibration error: the mean over
    images of the gap between confidence and accuracy in the image's bin (Guo et al., 2017,
    https://arxiv.org/abs/1706.04599); 0 is perfect.

    Parameters
    ----------
    confidence, accuracy : arrays of shape (n_bins,)
        Means within the bins that hold images, from 0 to 1.
    count : array of shape (n_bins,)
        Number of images in each of these bins.
    n_bins : int
        Number of bins of equal width from 0 to 1.
    bins : array of shape (n_bins,)
        Indices of the bins that hold images, from 0 to `n_bins` - 1.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure that was drawn.
    ax_ : array of 2 Axes
        The diagram, and the histogram of confidences.
    ece_ : float
        The expected calibration error, from 0 to 1.

    Examples
    --------
    >>> from fmnist_sk import ReliabilityDisplay
    >>> display = ReliabilityDisplay.from_predictions([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    >>> round(display.ece_, 3)
    0.333
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray
    n_bins: int
    bins: np.ndarray

    @classmethod
    def from_estimator(cls, estimator, X: ArrayLike | Tensor, y: ArrayLike | Tensor, *, n_bins: int = 15, ax=None
                       ) -> ReliabilityDisplay:
        """Predictions of a fitted classifier with predict_proba for images X (n, ...) with labels y (n,).

        Parameters
        ----------
        estimator : any fitted classifier with predict_proba
            Its predictions are shown.
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            Images in any form that it accepts.
        y : array-like or tensor of shape (n,)
            Their true labels.
        n_bins : int
            Number of bins of equal width from 0 to 1.
        ax : matplotlib axes, optional
            One, whose area is divided, or two.

        Raises
        ------
        TypeError
            For other estimators.
        ValueError
            For labels that the classifier does not know.
        """
        return cls.from_predictions(y, probabilities_of(estimator, as_array(X)), classes=estimator.classes_,
                                    n_bins=n_bins, ax=ax)

    @classmethod
    def from_predictions(cls, y_true: ArrayLike | Tensor, y_proba: ArrayLike, *, classes: ArrayLike | None = None,
                         n_bins: int = 15, ax=None) -> ReliabilityDisplay:
        """True labels and predicted probabilities.

        Parameters
        ----------
        y_true : array-like or tensor of shape (n,)
            True labels.
        y_proba : array-like of shape (n, n_classes)
            Predicted probabilities, in the order of `classes`.
        classes : array-like of shape (n_classes,), optional
            All labels, in the order of the columns of `y_proba`. Default: the sorted labels of `y_true`.
        n_bins : int
            Number of bins of equal width from 0 to 1.
        ax : matplotlib axes, optional
            One, whose area is divided, or two. Default: a new figure.

        Raises
        ------
        ValueError
            For labels, probabilities or numbers that do not fit.
        """
        check_count(n_bins, "n_bins", 2)
        y_true = as_labels(y_true, "y_true")
        classes = np.unique(y_true) if classes is None else np.asarray(classes)
        y_proba = as_probabilities(y_proba, len(y_true), len(classes))
        confidence = y_proba.max(1)
        right = class_codes(y_true, classes, "y_true") == y_proba.argmax(1)
        inner_edges = np.linspace(0, 1, n_bins + 1)[1:-1]
        of_images = np.searchsorted(inner_edges, confidence)
        bins, codes, count = np.unique(of_images, return_inverse=True, return_counts=True)
        mean, accuracy = (np.bincount(codes, values) / count for values in (confidence, right))
        return cls(mean, accuracy, count, n_bins, bins).plot(ax)

    @as_written
    def plot(self, ax=None) -> ReliabilityDisplay:
        """Draw into the axes `ax` or a new figure. Bins of fewer than 10 images are drawn faintly."""
        self.figure_, grid = panels(ax, 2, 1, (5, 6), height_ratios=(3, 1))
        self.ax_ = diagram, histogram = grid[:, 0]
        share = self.count / self.count.sum()
        self.ece_ = float(share @ np.abs(self.accuracy - self.confidence))
        intervals = np.transpose([wilson(round(a * n), n) for a, n in zip(self.accuracy, self.count, strict=True)])
        diagram.plot([0, 1], [0, 1], "--", color=NEUTRAL, label="perfectly calibrated")
        yerr, firm = np.maximum(0, np.abs(intervals - self.accuracy)), self.count >= FEW
        for shown, label, alpha in ((firm, "this classifier", 1), (~firm, f"fewer than {FEW} images", 0.3)):
            if shown.any():
                diagram.errorbar(self.confidence[shown], self.accuracy[shown], yerr[:, shown], fmt="o", color=RIGHT,
                                 capsize=3, label=label, alpha=alpha)
        diagram.plot(self.confidence[firm], self.accuracy[firm], color=RIGHT)
        diagram.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share of correct predictions, with 95 % interval",
                    title=f"Reliability; expected calibration error {self.ece_:.3f}")
        diagram.legend(loc="upper left" if self.confidence @ share > self.accuracy @ share else "lower right")
        histogram.bar((self.bins + 0.5) / self.n_bins, share, width=0.9 / self.n_bins, color=RIGHT)
        histogram.set(xlim=(0, 1), xlabel="confidence: probability of the predicted class", ylabel="share of images")
        for axis in self.ax_:
            axis.xaxis.set_major_formatter("{x:.0%}")
            axis.yaxis.set_major_formatter("{x:.0%}")
            axis.grid(alpha=0.3)
        return self


@dataclass(eq=False, repr=False)
class ComparisonDisplay:
    """Several classifiers side by side: accuracy with 95 % confidence intervals (Wilson, 1927), overall and by class.

    Parameters
    ----------
    n_right : array of shape (n_models, n_classes)
        Number of images of each class that a model classifies correctly.
    n_images : array of shape (n_classes,)
        Number of images of each class.
    names : sequence of n_models strings
        Names of the models.
    class_names : sequence of n_classes strings
        Names of the classes.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure that was drawn.
    ax_ : array of 2 Axes
        Overall accuracies, and accuracies of each class.
    accuracy_ : array of shape (n_models,)
        Accuracy of each model, from 0 to 1.

    Examples
    --------
    >>> from fmnist_sk import ComparisonDisplay
    >>> display = ComparisonDisplay.from_predictions([0, 0, 1, 1], {"a": [0, 1, 1, 1], "b": [0, 0, 1, 1]})
    >>> type(display.figure_).__name__
    'Figure'
    """

    n_right: np.ndarray
    n_images: np.ndarray
    names: Sequence[str]
    class_names: Sequence[str]

    @classmethod
    def from_estimators(cls, estimators: Mapping[str, Any], X: ArrayLike | Tensor, y: ArrayLike | Tensor, *,
                        class_names: Sequence[str] | None = None, ax=None) -> ComparisonDisplay:
        """Predictions of fitted classifiers.

        Parameters
        ----------
        estimators : dict of str to classifier
            Fitted classifiers by name.
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            The images.
        y : array-like or tensor of shape (n,)
            Their labels.
        class_names : sequence of n_classes strings, optional
            Names in the order of the sorted labels. Default: the labels.
        ax : matplotlib axes, optional
            One, whose area is divided, or two. Default: a new figure.

        Raises
        ------
        TypeError
            Unless all are classifiers.
        ValueError
            For an empty dict, and for labels or names that do not fit.
        """
        if not isinstance(estimators, Mapping):
            raise TypeError(f"estimators must be a dict from name to classifier, got estimators={estimators!r}.")
        for estimator in estimators.values():
            check_classifier(estimator)
        images = as_array(X)
        return cls.from_predictions(y, {name: estimator.predict(images) for name, estimator in estimators.items()},
                                    class_names=class_names, ax=ax)

    @classmethod
    def from_predictions(cls, y_true: ArrayLike | Tensor, y_pred: Mapping[str, ArrayLike | Tensor], *,
                         class_names: Sequence[str] | None = None, ax=None) -> ComparisonDisplay:
        """True labels and those that several classifiers predict.

        Parameters
        ----------
        y_true : array-like or tensor of shape (n,)
            True labels.
        y_pred : dict of str to array-like or tensor of shape (n,)
            Predicted labels by the classifier's name.
        class_names : sequence of n_classes strings, optional
            Names in the order of the sorted labels. Default: the labels.
        ax : matplotlib axes, optional
            One, whose area is divided, or two. Default: a new figure.

        Raises
        ------
        ValueError
            For an empty dict, and for labels or names that do not fit.
        """
        if not isinstance(y_pred, Mapping) or not y_pred:
            raise ValueError(f"y_pred must be a dict from name to predicted labels, got y_pred={y_pred!r}.")
        y_true = as_labels(y_true, "y_true")
        predicted = {name: as_labels(labels, f"y_pred[{name!r}]", len(y_true)) for name, labels in y_pred.items()}
        classes, counts = np.unique(y_true, return_counts=True)
        for name, labels in predicted.items():
            if (labels.dtype.kind in "OU") != (y_true.dtype.kind in "OU"):
                raise ValueError(f"y_pred must hold labels of the same kind as y_true, {classes.tolist()}, got "
                                 f"{np.unique(labels).tolist()} for {name!r}.")
        right = [[np.sum(labels[y_true == label] == label) for label in classes] for labels in predicted.values()]
        return cls(np.array(right), counts, [str(name) for name in predicted], names_of(classes, class_names)).plot(ax)

    @as_written
    def plot(self, ax=None) -> ComparisonDisplay:
        """Draw into the axes `ax` or a new figure; the best model is on top."""
        n_models, n_classes = self.n_right.shape
        wide = max(2.0, 0.6 * n_classes)                # inches, for the title too
        self.figure_, (self.ax_,) = panels(ax, 1, 2, (5 + wide, 1.7 + 0.4 * n_models), width_ratios=(4, wide))
        bars, table = self.ax_
        total = self.n_images.sum()
        self.accuracy_ = self.n_right.sum(1) / total
        order = np.argsort(-self.accuracy_, kind="stable")
        for row, i in enumerate(order):
            low, high = wilson(self.n_right[i].sum(), total)
            bars.errorbar(self.accuracy_[i], row, **style(i), capsize=3,
                          xerr=[[max(0, self.accuracy_[i] - low)], [max(0, high - self.accuracy_[i])]])
            bars.annotate(f"{self.accuracy_[i]:.2%}", (self.accuracy_[i], row), xytext=(0, 6),
                          textcoords="offset points", ha="center", fontsize=9)
        bars.set_title("Accuracy with 95 % interval", fontsize=10)
        bars.set(ylim=(n_models - 0.4, -0.7))
        bars.set_yticks(range(n_models), [self.names[i] for i in order])
        bars.margins(x=0.15)
        bars.locator_params(axis="x", nbins=5)
        bars.xaxis.set_major_formatter("{x:.1%}")
        bars.grid(axis="x", alpha=0.3)
        shares = self.n_right[order] / self.n_images
        table.imshow(shares, cmap="Blues", aspect="auto", vmin=min(0.5, shares.min()), vmax=1)
        for (row, column), share in np.ndenumerate(shares):
            is_best = share == shares[:, column].max() and n_models > 1
            table.text(column, row, f"{100 * share:.1f}", ha="center", va="center", fontsize=9,
                       color="white" if share > 0.8 else "black", fontweight="bold" if is_best else "normal")
        table.set_title("Accuracy of each class, %" + "\n(best in bold)" * (n_models > 1), fontsize=10)
        table.set(yticks=[], ylim=(n_models - 0.4, -0.7))
        table.set_xticks(range(n_classes), self.class_names, rotation=40, ha="right", rotation_mode="anchor")
        return self
