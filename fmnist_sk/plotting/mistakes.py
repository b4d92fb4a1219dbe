"""Plots of a classifier's mistakes: the confusion matrix, and misclassified images."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix
from sklearn.utils.multiclass import unique_labels
from torch import Tensor

from fmnist_sk._data.labels import names_of, one_each
from fmnist_sk._runtime.parameters import check_count
from fmnist_sk.plotting._base import (
    WRONG,
    as_array,
    as_labels,
    as_probabilities,
    as_written,
    check_classifier,
    class_codes,
    panels,
    pictures,
    probabilities_of,
    pyplot,
    shape_of,
    show_image,
    take,
)


class Confusion(NamedTuple):
    """Images of one class that are predicted as another."""

    true: int                   # codes of the classes
    predicted: int
    n_images: int
    pictures: np.ndarray        # (up to n_images, H, W) or (..., 3), from 0 to 1


@dataclass(eq=False, repr=False)
class ConfusionDisplay:
    """The confusion matrix, and images of the most frequent confusions.

    Parameters
    ----------
    matrix : array of shape (n_classes, n_classes)
        Counts; rows are true classes, columns predicted ones.
    class_names : sequence of n_classes strings
        Names of the classes.
    confusions : list of Confusion
        The most frequent first.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure that was drawn.
    ax_ : matplotlib Axes
        The axes of the matrix.
    image_axes_ : array of Axes, of shape (n_confusions, n_images)
        One for each image.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8), np.arange(40) % 2
    >>> from fmnist_sk import ConfusionDisplay
    >>> ConfusionDisplay.from_predictions([0, 0, 1], [0, 1, 1], X[:3]).matrix.tolist()
    [[1, 1], [0, 1]]
    """

    matrix: np.ndarray
    class_names: Sequence[str]
    confusions: Sequence[Confusion] = ()

    @classmethod
    def from_estimator(cls, estimator, X: ArrayLike | Tensor, y: ArrayLike | Tensor, *,
                       class_names: Sequence[str] | None = None, image_shape: Sequence[int] | None = None,
                       n_confusions: int = 6, n_images: int = 6, ax=None) -> ConfusionDisplay:
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
        image_shape : (H, W) or (C, H, W), optional
            Shape of the images that flat rows hold; needed if they are not square.
        n_confusions : int
            Number of pairs of a true and a predicted class to show images of; 0 for the matrix alone.
        n_images : int
            Largest number of images to show of each pair.
        ax : matplotlib axes, optional
            One, whose area is divided.

        Raises
        ------
        TypeError
            If `estimator` is not a classifier.
        ValueError
            For labels, names or numbers that do not fit.
        """
        check_classifier(estimator)
        images = as_array(X)
        y_true, y_pred = as_labels(y, "y", len(images)), as_labels(estimator.predict(images), "y_pred")
        return cls._from(y_true, y_pred, images, estimator.classes_, class_names, image_shape or shape_of(estimator),
                         n_confusions, n_images, ax)

    @classmethod
    def from_predictions(cls, y_true: ArrayLike | Tensor, y_pred: ArrayLike | Tensor, X: ArrayLike | Tensor, *,
                         class_names: Sequence[str] | None = None, image_shape: Sequence[int] | None = None,
                         n_confusions: int = 6, n_images: int = 6, ax=None) -> ConfusionDisplay:
        """True and predicted labels of images.

        Parameters
        ----------
        y_true : array-like or tensor of shape (n,)
            True labels.
        y_pred : array-like or tensor of shape (n,)
            Predicted labels.
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            The images.
        class_names : sequence of n_classes strings, optional
            Names in the order of the sorted labels. Default: the labels.
        image_shape : (H, W) or (C, H, W), optional
            Shape of the images that flat rows hold; needed if they are not square.
        n_confusions : int
            Number of pairs of a true and a predicted class to show images of; 0 for the matrix alone.
        n_images : int
            Largest number of images to show of each pair.
        ax : matplotlib axes, optional
            One, whose area is divided. Default: a new figure.

        Raises
        ------
        ValueError
            For labels, names or numbers that do not fit.
        """
        images = as_array(X)
        y_true, y_pred = as_labels(y_true, "y_true", len(images)), as_labels(y_pred, "y_pred", len(images))
        return cls._from(y_true, y_pred, images, unique_labels(y_true, y_pred), class_names, image_shape, n_confusions,
                         n_images, ax)

    @classmethod
    def _from(cls, y_true, y_pred, X, classes, class_names, image_shape, n_confusions, n_images, ax):
        check_count(n_confusions, "n_confusions", 0)
        check_count(n_images, "n_images")
        true, predicted = class_codes(y_true, classes, "y_true"), class_codes(y_pred, classes, "y_pred")
        matrix = confusion_matrix(true, predicted, labels=range(len(classes)))
        wrong = matrix - np.diag(matrix.diagonal())
        most = np.argsort(-wrong, axis=None, kind="stable")[:n_confusions]
        cells = [cell for cell in (divmod(int(index), len(classes)) for index in most) if wrong[cell]]
        rows = [np.flatnonzero((true == i) & (predicted == j))[:n_images] for i, j in cells]
        shown = pictures(take(X, np.concatenate(rows)), image_shape) if cells else np.empty(0)      # in one gray scale
        parts = np.split(shown, np.cumsum([len(part) for part in rows])[:-1])
        confusions = [Confusion(*cell, int(wrong[cell]), part) for cell, part in zip(cells, parts, strict=False)]
        return cls(matrix, names_of(classes, class_names), confusions).plot(ax)

    @as_written
    def plot(self, ax=None) -> ConfusionDisplay:
        """Draw into the area of `ax` or a new figure."""
        n, k = len(self.class_names), len(self.confusions)
        columns = max((len(confusion.pictures) for confusion in self.confusions), default=0)
        size = 2.5 + 0.55 * n
        self.figure_, grid = panels(ax, 1, 2 if k else 1, (size + (1.6 + 0.75 * columns) * bool(k), size),
                                    **({"width_ratios": (size, 1.6 + 0.75 * columns)} if k else {}))
        self.ax_ = grid[0, 0]
        shares = self.matrix / np.maximum(self.matrix.sum(1, keepdims=True), 1)
        display = ConfusionMatrixDisplay(self.matrix, display_labels=self.class_names)
        display.plot(ax=self.ax_, cmap="Blues", colorbar=False, include_values=False)
        display.im_.set_data(np.sqrt(shares))               # square roots, so that rare confusions are visible too
        display.im_.set_clim(0, 1)
        for (row, column), count in np.ndenumerate(self.matrix):
            color = "white" if shares[row, column] > 0.36 else "black" if count else "lightgray"
            self.ax_.text(column, row, f"{count}", ha="center", va="center", color=color, fontsize=9)
        pyplot().setp(self.ax_.get_xticklabels(), rotation=40, ha="right", rotation_mode="anchor")
        right, total = self.matrix.trace(), self.matrix.sum()
        self.ax_.set(title=f"{right / total:.2%} of {total:,} images correct", xlabel="predicted", ylabel="true")
        self.image_axes_ = np.empty((0, 0), dtype=object)
        if k:
            _, self.image_axes_ = panels(grid[0, 1], k, columns)
            for axes, confusion in zip(self.image_axes_, self.confusions, strict=True):
                share = confusion.n_images / max(1, self.matrix[confusion.true].sum())
                for axis in axes:
                    axis.set_axis_off()
                for axis, picture in zip(axes, confusion.pictures, strict=False):
                    axis.set_axis_on()
                    show_image(axis, picture)
                axes[0].set_ylabel(f"{self.class_names[confusion.true]}\npredicted as\n"
                                   f"{self.class_names[confusion.predicted]}\n{confusion.n_images} ({share:.1%})",
                                   rotation=0, ha="right", va="center", fontsize=9)
        return self


LONGEST_NAME = 22       # characters of an image's name that fit above it


@dataclass(eq=False, repr=False)
class MistakesDisplay:
    """A gallery of the most confident mistakes.

    Parameters
    ----------
    pictures : array of shape (n, H, W) or (n, H, W, 3)
        The images, from 0 to 1.
    true, predicted : sequences of n strings
        Names of classes.
    confidence : array of shape (n,)
        Probability of the predicted class.
    rows : array of shape (n,)
        Where the images are in X.
    image_names : sequence of n strings, optional
        Names of the images, such as their files.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure that was drawn.
    ax_ : array of Axes, of shape (n_rows, n_columns)
        One for each image.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8), np.arange(40) % 2
    >>> from fmnist_sk import MistakesDisplay
    >>> display = MistakesDisplay.from_predictions([0, 1, 1], [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]], X[:3])
    >>> display.rows.tolist()
    [1]
    """

    pictures: np.ndarray
    true: Sequence[str]
    predicted: Sequence[str]
    confidence: np.ndarray
    rows: np.ndarray
    image_names: Sequence[str] | None = None

    @classmethod
    def from_estimator(cls, estimator, X: ArrayLike | Tensor, y: ArrayLike | Tensor, *,
                       class_names: Sequence[str] | None = None, image_shape: Sequence[int] | None = None,
                       n_images: int = 24, image_names: Sequence[str] | None = None, ax=None) -> MistakesDisplay:
        """Predictions of a fitted classifier with predict_proba for images X (n, ...) with labels y (n,).

        Parameters
        ----------
        estimator : any fitted classifier with predict_proba
            Its predictions are shown.
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            Images in any form that it accepts.
        y : array-like or tensor of shape (n,)
            Their true labels.
        class_names : sequence of n_classes strings, optional
            Names in the order of ``estimator.classes_``. Default: the labels.
        image_shape : (H, W) or (C, H, W), optional
            Shape of the images that flat rows hold; needed if they are not square.
        n_images : int
            Largest number of mistakes to show.
        image_names : sequence of n strings, optional
            Names of the images, such as their files; long ones are cut at the front.
        ax : matplotlib axes, optional
            One, whose area is divided.

        Raises
        ------
        TypeError
            For other estimators.
        ValueError
            For labels, names or numbers that do not fit.
        """
        images = as_array(X)
        return cls.from_predictions(y, probabilities_of(estimator, images), images, classes=estimator.classes_, ax=ax,
                                    class_names=class_names, image_shape=image_shape or shape_of(estimator),
                                    n_images=n_images, image_names=image_names)

    @classmethod
    def from_predictions(cls, y_true: ArrayLike | Tensor, y_proba: ArrayLike, X: ArrayLike | Tensor, *,
                         classes: ArrayLike | None = None, class_names: Sequence[str] | None = None,
                         image_shape: Sequence[int] | None = None, n_images: int = 24,
                         image_names: Sequence[str] | None = None, ax=None) -> MistakesDisplay:
        """True labels and predicted probabilities of images.

        Parameters
        ----------
        y_true : array-like or tensor of shape (n,)
            True labels.
        y_proba : array-like of shape (n, n_classes)
            Predicted probabilities, in the order of `classes`.
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            The images.
        classes : array-like of shape (n_classes,), optional
            All labels, in the order of the columns of `y_proba`. Default: the sorted labels of `y_true`.
        class_names : sequence of n_classes strings, optional
            Names in the order of `classes`. Default: the labels.
        image_shape : (H, W) or (C, H, W), optional
            Shape of the images that flat rows hold; needed if they are not square.
        n_images : int
            Largest number of mistakes to show.
        image_names : sequence of n strings, optional
            Names of the images, such as their files; long ones are cut at the front.
        ax : matplotlib axes, optional
            One, whose area is divided. Default: a new figure.

        Raises
        ------
        ValueError
            For labels, names or numbers that do not fit.
        """
        check_count(n_images, "n_images")
        images = as_array(X)
        y_true = as_labels(y_true, "y_true", len(images))
        classes = np.unique(y_true) if classes is None else np.asarray(classes)
        y_proba = as_probabilities(y_proba, len(y_true), len(classes))
        codes, guesses, confidence = class_codes(y_true, classes, "y_true"), y_proba.argmax(1), y_proba.max(1)
        wrong = np.flatnonzero(codes != guesses)
        rows = wrong[np.argsort(-confidence[wrong], kind="stable")][:n_images]
        names = np.array(names_of(classes, class_names))
        if image_names is not None:
            image_names = one_each(image_names, len(images), "image_names", "images")
        shown = pictures(take(images, rows), image_shape) if len(rows) else np.empty((0, 1, 1))
        return cls(shown, names[codes[rows]], names[guesses[rows]], confidence[rows], rows,
                   None if image_names is None else [image_names[row] for row in rows]).plot(ax)

    @as_written
    def plot(self, ax=None) -> MistakesDisplay:
        """Draw into the area of `ax` or a new figure."""
        n = len(self.rows)
        columns = min(8, max(1, n))
        lines = max(1, -(-n // columns))
        self.figure_, self.ax_ = panels(ax, lines, columns, (max(6.5, 1.35 * columns + 0.2), 1.95 * lines + 0.5))
        named = [""] * n if self.image_names is None else [
            f"{name if len(name) <= LONGEST_NAME else '…' + name[1 - LONGEST_NAME:]}\n" for name in self.image_names]
        for axis in self.ax_.flat:
            axis.set_axis_off()
        for axis, picture, name, true, predicted, share in zip(self.ax_.flat, self.pictures, named, self.true,
                                                               self.predicted, self.confidence, strict=False):
            axis.set_axis_on()
            show_image(axis, picture)
            axis.set_title(f"{name}{true}", fontsize=8)
            axis.set_xlabel(f"{predicted}\n{share:.0%}", fontsize=8, color=WRONG)
        if ax is None:
            self.figure_.get_layout_engine().set(h_pad=0.1)         # inches: texts belong to the nearer picture
            self.figure_.suptitle("Most confident mistakes: the true class above, the predicted class below" if n else
                                  "No mistakes", fontsize=11)
        return self
