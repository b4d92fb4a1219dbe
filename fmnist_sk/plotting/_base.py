"""What the displays share: axes, colours, class names, images as pictures, confidence intervals."""
from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.stats import binomtest
from sklearn.base import BaseEstimator, is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted, column_or_1d
from torch import Tensor

from fmnist_sk._data.checks import as_tensor, check_pixels, check_probabilities
from fmnist_sk._data.shapes import check_image_shape, shape_of_images
from fmnist_sk._runtime.optional import optional
from fmnist_sk.classifier import ImageClassifier
from fmnist_sk.inspection import classifier_of, through

RIGHT, WRONG, NEUTRAL = "#3f90da", "#bd1f01", "#717581"       # of PALETTE: blue, red, gray
# Ten colours distinguishable with any kind of colour vision (Petroff, 2021, https://arxiv.org/abs/2107.02270).
PALETTE = ("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd")
FEW = 10                    # images: a share of fewer says little
MARKERS = "osD^vP<>X*"


def pyplot():
    return optional("matplotlib.pyplot", "Plots are drawn with", "plot")


OF_PLOT = """

Parameters
----------
ax : matplotlib axes, optional
    Where to draw: one axes, whose area is divided if there are several panels, or one for each panel. Default: a new
    figure.

Returns
-------
display
    The display itself, with `figure_` and the other attributes that are drawn.

Raises
------
ValueError
    For anything but such axes.
"""


def as_written(plot: Callable) -> Callable:
    """Decorator for a display's method `plot`: a "$" in a user's names does not start a formula.

    It completes the docstring with what all of them have in common.
    """
    @wraps(plot)
    def plot_as_written(self, ax=None):
        with pyplot().rc_context({"text.parse_math": False}):
            return plot(self, ax)
    plot_as_written.__doc__ = inspect.cleandoc(plot.__doc__ or "") + OF_PLOT
    return plot_as_written


def panels(ax, rows: int = 1, columns: int = 1, size: tuple[float, float] = (5.0, 4.0), **ratios):
    """A figure and an array (rows, columns) of axes.

    They are new ones in a figure of `size` inches, those in `ax`, or several that share the area of the single subplot
    `ax`, whose figure gets matplotlib's constrained layout if it has none.
    """
    plt = pyplot()
    n = rows * columns
    given = [] if ax is None else np.ravel(np.asarray(ax, dtype=object)).tolist()
    if not all(isinstance(axis, plt.Axes) for axis in given) or len(given) not in ({0} if ax is None else {1, n}):
        raise ValueError(f"ax must be one axes{f' or {n}' * (n > 1)} of matplotlib, got ax={ax!r}.")
    if len(given) == n:
        return given[0].figure, np.array(given, dtype=object).reshape(rows, columns)
    if given:
        place = given[0].get_subplotspec()
        if place is None:
            raise ValueError(f"ax must be a subplot, whose area can be divided, or {n} axes, got ax={ax!r}.")
        given[0].set_axis_off()
        figure, grid = given[0].figure, place.subgridspec(rows, columns, **ratios)
        if figure.get_layout_engine() is None:          # or neighbours' labels would overlap
            figure.set_layout_engine("constrained")
    else:
        figure = plt.figure(figsize=size, layout="constrained")
        grid = figure.add_gridspec(rows, columns, **ratios)
    return figure, np.array([[figure.add_subplot(grid[row, column]) for column in range(columns)]
                             for row in range(rows)], dtype=object)


def show_image(axis, picture: np.ndarray, title: str = "", color: str = "black") -> None:
    """A picture (H, W) or (H, W, 3) from 0 to 1, without ticks, under a small title."""
    axis.imshow(picture, cmap="gray", vmin=0, vmax=1)
    axis.set(xticks=[], yticks=[])
    if title:
        axis.set_title(title, fontsize=8, color=color)


def pictures(X: ArrayLike | Tensor, image_shape: Sequence[int] | None = None) -> np.ndarray:
    """Images in any form that classifiers accept, as (n, H, W) or (n, H, W, 3) float32 from 0 (black) to 1 (white).

    Bytes are divided by 255; for other numbers, the smallest becomes 0 and the largest 1. Images with neither one nor
    three channels are averaged over their channels. `image_shape`, (H, W) or (C, H, W), is that of flat rows.
    """
    checked = check_pixels(BaseEstimator(), as_array(X), reset=True)
    n_features = math.prod(checked.shape[1:])
    if checked.ndim > 2:
        shape = shape_of_images(checked)
    else:
        side = math.isqrt(n_features)
        shape = check_image_shape(image_shape, n_features) or (1, side, side)
        if math.prod(shape) != n_features:
            raise ValueError(f"image_shape must be given, because rows of {n_features} values fill no square image, "
                             "got image_shape=None.")
    images = as_tensor(checked).reshape(-1, *shape)
    is_bytes = images.dtype == torch.uint8
    images = images.float().cpu()
    low, high = (0.0, 255.0) if is_bytes else (value.item() for value in images.aminmax())
    images = (images - low) / (high - low or 1.0)
    if shape[0] not in (1, 3):
        images = images.mean(1, keepdim=True)
    return images.movedim(1, -1).squeeze(-1).numpy()


def as_array(X: Any) -> Any:
    """Lists as arrays, other containers unchanged. Raise TypeError for anything else, ValueError if X is empty."""
    return check_images(np.asarray(X) if isinstance(X, (list, tuple)) else X)


def check_images(X: Any) -> Any:
    """X itself. Raise TypeError unless it is a container, ValueError if it is empty."""
    if isinstance(X, (type, Mapping)) or not hasattr(X, "__len__") or getattr(X, "ndim", 2) == 0:
        raise TypeError(f"X must hold images, got X={X!r:.100}.")
    if len(X) == 0:
        raise ValueError("X must hold at least one image, got none.")
    return X


def received(classifier: Any, X: Any) -> tuple[ImageClassifier, Any, np.ndarray]:
    """A fitted classifier without the steps before it in a Pipeline, what it receives for X, and that as pictures."""
    steps, inner = classifier_of(classifier, "classifier")
    check_is_fitted(inner)
    images = as_array(through(steps, X))
    return inner, images, pictures(images, inner.image_shape_ if np.ndim(images) == 2 else None)


def shape_of(estimator) -> tuple[int, int, int] | None:
    """The image shape of a classifier of this package, alone or at the end of a Pipeline; None for other estimators."""
    estimator = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    return getattr(estimator, "image_shape_", None)


def take(X, rows):
    """These rows (an array of indices) of images in any container."""
    if isinstance(X, (list, tuple)):
        return [X[row] for row in rows]
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows if not isinstance(X, Tensor) else torch.as_tensor(rows)]


def as_labels(y: ArrayLike | Tensor, parameter: str, n: int | None = None) -> np.ndarray:
    """Labels (n,) as an array. Raise ValueError naming `parameter` if there are none, or not `n` of them."""
    labels = np.asarray(y.detach().cpu() if isinstance(y, Tensor) else y)
    if labels.ndim == 0 or len(labels) == 0:
        raise ValueError(f"{parameter} must hold labels (n,), got {parameter}={y!r:.100}.")
    labels = column_or_1d(labels)
    if n is not None and len(labels) != n:
        raise ValueError(f"{parameter} must hold a label for each of the {n} images, got {len(labels)}.")
    return labels


def check_classifier(estimator: Any) -> None:
    """Raise TypeError unless `estimator` is a classifier, NotFittedError unless it is fitted."""
    if isinstance(estimator, type) or not hasattr(estimator, "predict") or not is_classifier(estimator):
        raise TypeError(f"estimator must be a classifier, got estimator={estimator!r}.")
    check_is_fitted(estimator)


def class_codes(labels: np.ndarray, classes: np.ndarray, parameter: str) -> np.ndarray:
    """Index of each label in `classes`, which can be in any order. Raise ValueError for labels that it lacks."""
    if len(set(classes.tolist())) < len(classes):
        raise ValueError(f"classes must differ, got {classes.tolist()}.")
    if unknown := sorted(set(labels.tolist()) - set(classes.tolist()), key=str):
        raise ValueError(f"{parameter} must hold labels of {classes.tolist()}, got {unknown}.")
    order = np.argsort(classes)
    return order[np.searchsorted(classes, labels, sorter=order)]


def as_probabilities(y_proba: ArrayLike | Tensor, n: int, n_classes: int) -> np.ndarray:
    """A user's probabilities as an array (n, n_classes). Raise ValueError for anything else."""
    rule = "y_proba must hold probabilities (n, n_classes), which sum to one for each image"
    try:
        values = _as_floats(y_proba)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{rule}, got y_proba={y_proba!r:.100}: {error}") from error
    check_probabilities(values, (n, n_classes), rule)
    return np.minimum(values, 1.0)


def _as_floats(values: ArrayLike | Tensor) -> np.ndarray:
    return np.asarray(values.detach().cpu().double() if isinstance(values, Tensor) else values, dtype=np.float64)


def probabilities_of(estimator: Any, X: Any) -> np.ndarray:
    """Probabilities (n, n_classes) from a fitted classifier. Raise TypeError if it has no predict_proba."""
    check_classifier(estimator)
    if not hasattr(estimator, "predict_proba"):
        raise TypeError(f"estimator must have predict_proba, got estimator={estimator!r}.")
    return _as_floats(estimator.predict_proba(X))


def style(i: int) -> dict[str, str]:
    """Colour and marker of the i-th series; the first hundred differ."""
    return {"color": PALETTE[i % 10], "marker": MARKERS[(i + i // 10) % 10]}


def wilson(right: int, n: int) -> tuple[float, float]:
    """Low and high end of the 95 % confidence interval of the share `right` / `n` (Wilson, 1927)."""
    return binomtest(int(right), int(n)).proportion_ci(method="wilson")
