"""Plots of the inside of a network: its filters, its feature maps, and the evidence for its predictions."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from fmnist_sk._data.labels import names_of
from fmnist_sk._network.tracing import layers_by_name
from fmnist_sk._runtime.parameters import check_count
from fmnist_sk.attribution import grad_cam
from fmnist_sk.classifier import ImageClassifier
from fmnist_sk.inspection import classifier_of, feature_maps
from fmnist_sk.plotting._base import (
    RIGHT,
    WRONG,
    as_labels,
    as_written,
    panels,
    probabilities_of,
    received,
    show_image,
)


@dataclass(eq=False, repr=False)
class FeatureMapsDisplay:
    """Outputs of a network's layers for one image, with a row for each layer.

    Parameters
    ----------
    picture : array of shape (H, W) or (H, W, 3)
        The image, from 0 to 1.
    maps : dict of str to array
        The maps of each layer by its name, of shape (channels, height, width), in the order of computation.
    n_channels : int
        Largest number of channels to show per layer: those with the largest variance.
    kinds : dict of str to str, optional
        The class of each layer by its name, such as Conv2d, which is written beside its maps.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure that was drawn.
    ax_ : array of Axes, of shape (n_layers, 1 + n_channels)
        The image in the first column, the channels in the others.

    Examples
    --------
    >>> import numpy as np
    >>> from fmnist_sk import ConvNetClassifier, FeatureMapsDisplay
    >>> X, y = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8), np.arange(40) % 2
    >>> net = ConvNetClassifier(architecture="4C3-8N", max_epochs=2, random_state=0).fit(X, y)
    >>> type(FeatureMapsDisplay.from_estimator(net, X[:1]).figure_).__name__
    'Figure'
    """

    picture: np.ndarray
    maps: dict[str, np.ndarray]
    n_channels: int = 12
    kinds: dict[str, str] | None = None

    @classmethod
    def from_estimator(cls, classifier: ImageClassifier, X: ArrayLike | Tensor, *,
                       layers: Sequence[str] | None = None, n_channels: int = 12, ax=None) -> FeatureMapsDisplay:
        """The maps of every convolution and pooling, or of `layers`.

        Parameters
        ----------
        classifier : fitted ImageClassifier, or Pipeline that ends in one
            The classifier to show.
        X : array-like or tensor of shape (1, ...)
            One image in any form that it accepts; what a Pipeline's other steps make of it is shown.
        layers : sequence of str, optional
            Names of layers, as in `summary`.
        n_channels : int
            Largest number of channels to show per layer.
        ax : matplotlib axes, optional
            One, whose area is divided.

        Raises
        ------
        TypeError
            For other estimators.
        ValueError
            For several images and for layers without maps.
        """
        check_count(n_channels, "n_channels")
        inner, images, shown = received(classifier, X)
        if len(images) != 1:
            raise ValueError(f"X must hold one image, such as images[:1], got {len(images)} images.")
        maps = {name: values[0] for name, values in feature_maps(inner, images, layers).items()}
        if wrong := [name for name, values in maps.items() if values.ndim != 3]:
            raise ValueError(f"layers must give maps (channels, height, width), but {wrong} do not.")
        if not maps:
            raise ValueError("classifier must have convolutions or poolings, or layers must name what to show, got "
                             f"layers={layers!r:.100}.")
        kinds = {name: type(inner.module_.network.get_submodule(name)).__name__ for name in maps}
        return cls(shown[0], maps, n_channels, kinds).plot(ax)

    @as_written
    def plot(self, ax=None) -> FeatureMapsDisplay:
        """Draw into the area of `ax` or a new figure. Each map has its own gray scale; maps of one pixel share one."""
        lines, columns = len(self.maps), 1 + min(self.n_channels, max(len(values) for values in self.maps.values()))
        self.figure_, self.ax_ = panels(ax, lines, columns, (2.1 + 0.85 * columns, 0.4 + 0.95 * lines))
        for axis in self.ax_.flat:
            axis.set_axis_off()
        self.ax_[0, 0].set_axis_on()
        show_image(self.ax_[0, 0], self.picture, "image")
        for axes, (name, values) in zip(self.ax_, self.maps.items(), strict=True):
            strongest = np.sort(np.argsort(-values.var((1, 2)), kind="stable")[:columns - 1])
            for axis, channel in zip(axes[1:], strongest, strict=False):
                axis.set_axis_on()
                limits = {"vmin": values.min(), "vmax": values.max()} if values[channel].size == 1 else {}
                axis.imshow(values[channel], cmap="gray", **limits)
                axis.set(xticks=[], yticks=[])
            n_maps, height, width = values.shape
            n_shown = f"{len(strongest)} of " if len(strongest) < n_maps else ""
            label = [name, *([self.kinds[name]] if self.kinds else []), f"{n_shown}{n_maps} map{'s' * (n_maps > 1)}, "
                     f"{height} x {width}"]
            axes[1].set_ylabel("\n".join(label), rotation=0, ha="right", va="center", fontsize=8)
        if ax is None:
            self.figure_.suptitle("Layer outputs for one image")
        return self


@dataclass(eq=False, repr=False)
class FiltersDisplay:
    """The filters of a convolution whose input is pixels.

    Parameters
    ----------
    filters : array of shape (n_filters, channels, height, width)
        The weights.
    layer : str
        The layer's name.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure that was drawn.
    ax_ : array of Axes, of shape (n_rows, n_columns)
        One for each filter.

    Examples
    --------
    >>> import numpy as np
    >>> from fmnist_sk import ConvNetClassifier, FiltersDisplay
    >>> X, y = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8), np.arange(40) % 2
    >>> net = ConvNetClassifier(architecture="4C3-8N", max_epochs=2, random_state=0).fit(X, y)
    >>> type(FiltersDisplay.from_estimator(net).figure_).__name__
    'Figure'
    """

    filters: np.ndarray
    layer: str

    @classmethod
    def from_estimator(cls, classifier: ImageClassifier, *, layer: str | None = None, ax=None) -> FiltersDisplay:
        """The filters of the first convolution, or of `layer`.

        Parameters
        ----------
        classifier : fitted ImageClassifier, or Pipeline that ends in one
            The classifier to show.
        layer : str, optional
            Name of a convolution with one or three input channels, as in `summary`.
        ax : matplotlib axes, optional
            One, whose area is divided.

        Raises
        ------
        TypeError
            For other estimators.
        ValueError
            If there is no such convolution.
        """
        _, classifier = classifier_of(classifier, "classifier")
        check_is_fitted(classifier)
        network = classifier.module_.network
        if layer is None:
            layer = next((name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)), None)
            if layer is None:
                raise ValueError("classifier must have a convolution, but its network, "
                                 f"{type(network).__name__}, has none.")
        module = layers_by_name(network, [layer], "layer")[layer]
        if not isinstance(module, nn.Conv2d) or module.weight.shape[1] not in (1, 3):
            raise ValueError(f"layer must name a convolution with one or three input channels, got layer={layer!r}: "
                             f"{module!r}.")
        return cls(module.weight.detach().float().cpu().numpy(), layer).plot(ax)

    @as_written
    def plot(self, ax=None) -> FiltersDisplay:
        """Draw into the area of `ax` or a new figure. With one channel, blue is negative and red positive."""
        n, channels = self.filters.shape[:2]
        columns = min(8, n)
        lines = -(-n // columns)
        self.figure_, self.ax_ = panels(ax, lines, columns, (0.9 * columns + 0.9, 0.95 * lines + 0.5))
        limit = np.abs(self.filters).max() or 1.0
        for axis in self.ax_.flat:
            axis.set_axis_off()
        for axis, weights in zip(self.ax_.flat, self.filters, strict=False):
            axis.set_axis_on()
            axis.set(xticks=[], yticks=[])
            if channels == 1:
                image = axis.imshow(weights[0], cmap="RdBu_r", vmin=-limit, vmax=limit)
            else:
                axis.imshow(np.moveaxis(weights, 0, -1) / (2 * limit) + 0.5)
        if channels == 1:
            self.figure_.colorbar(image, ax=self.ax_.ravel().tolist(), label="weight")
        if ax is None:
            self.figure_.suptitle(f"Filters of {self.layer}", fontsize=11)
        return self


@dataclass(eq=False, repr=False)
class GradCAMDisplay:
    """Where the evidence for the predicted classes lies in images, according to `grad_cam`.

    Parameters
    ----------
    pictures : array of shape (n, H, W) or (n, H, W, 3)
        The images, from 0 to 1.
    maps : array of shape (n, H, W)
        The evidence, from 0 to 1.
    titles : sequence of n strings
        Titles of the images.
    colors : sequence of n colours
        Colours of the titles.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure that was drawn.
    ax_ : array of Axes, of shape (n_rows, n_columns)
        Images and, under each, the image with its map.

    Examples
    --------
    >>> import numpy as np
    >>> from fmnist_sk import ConvNetClassifier, GradCAMDisplay
    >>> X, y = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8), np.arange(40) % 2
    >>> net = ConvNetClassifier(architecture="4C3-8N", max_epochs=2, random_state=0).fit(X, y)
    >>> type(GradCAMDisplay.from_estimator(net, X[:2]).figure_).__name__
    'Figure'
    """

    pictures: np.ndarray
    maps: np.ndarray
    titles: Sequence[str]
    colors: Sequence[str]

    @classmethod
    def from_estimator(cls, classifier: ImageClassifier, X: ArrayLike | Tensor, y: ArrayLike | None = None, *,
                       layer: str | None = None, class_names: Sequence[str] | None = None, ax=None) -> GradCAMDisplay:
        """The evidence for the predicted class of each image.

        Parameters
        ----------
        classifier : fitted ImageClassifier, or Pipeline that ends in one
            The classifier to show.
        X : array-like or tensor of shape (n, ...)
            A few images in any form that it accepts; what a Pipeline's other steps make of them is shown.
        y : array-like of shape (n,), optional
            True labels; titles are blue for correct predictions, and red with the true class for wrong ones.
        layer : str, optional
            As in `grad_cam`.
        class_names : sequence of n_classes strings, optional
            Names in the order of ``classes_``. Default: the labels.
        ax : matplotlib axes, optional
            One, whose area is divided.

        Raises
        ------
        TypeError, ValueError, NotFittedError
            As `grad_cam` does.
        """
        inner, images, shown = received(classifier, X)
        maps = grad_cam(inner, images, layer=layer)
        probabilities, names = probabilities_of(inner, images), names_of(inner.classes_, class_names)
        guesses = probabilities.argmax(1)
        titles = [f"{names[guess]} {row[guess]:.0%}" for guess, row in zip(guesses, probabilities, strict=True)]
        colors = [RIGHT] * len(titles) if y is not None else ["black"] * len(titles)
        if y is not None:
            for i, label in enumerate(as_labels(y, "y", len(titles))):
                if label != inner.classes_[guesses[i]]:
                    known = np.flatnonzero(inner.classes_ == label)
                    titles[i] += f"\ntrue: {names[known[0]] if len(known) else label}"
                    colors[i] = WRONG
        return cls(shown, maps, titles, colors).plot(ax)

    @as_written
    def plot(self, ax=None) -> GradCAMDisplay:
        """Draw into the area of `ax` or a new figure. Bright areas are strong evidence."""
        n = len(self.pictures)
        columns = min(8, n)
        lines = -(-n // columns)
        self.figure_, self.ax_ = panels(ax, 2 * lines, columns, (max(6.5, 1.4 * columns + 0.2), 3.1 * lines + 0.3))
        for axis in self.ax_.flat:
            axis.set_axis_off()
        for i, (picture, map_) in enumerate(zip(self.pictures, self.maps, strict=True)):
            line, column = divmod(i, columns)
            above, below = self.ax_[2 * line:2 * line + 2, column]
            show_image(above, picture, self.titles[i], self.colors[i])
            show_image(below, picture)
            below.imshow(map_, cmap="inferno", alpha=0.6, vmin=0, vmax=1)
            if not map_.any():
                below.set_xlabel("no evidence here", fontsize=8)
        if ax is None:
            self.figure_.suptitle("Where the evidence lies: bright is strong; it can lie in empty areas", fontsize=11)
        return self
