"""Plots of data: images as points in a plane, and images before and after augmentation."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from fmnist_sk._data.images import Batch
from fmnist_sk._data.labels import encode_labels, names_of
from fmnist_sk._data.ranges import learn_pixels
from fmnist_sk._runtime.parameters import check_count
from fmnist_sk.augmentation import compile_augmentation
from fmnist_sk.classifier import ImageClassifier
from fmnist_sk.inspection import FeatureExtractor, classifier_of, through
from fmnist_sk.plotting._base import (
    as_array,
    as_labels,
    as_written,
    check_images,
    class_codes,
    panels,
    pictures,
    pyplot,
    received,
    show_image,
    style,
    take,
)


@dataclass(eq=False, repr=False)
class EmbeddingDisplay:
    """Images as points in a plane, with similar images close together; some are drawn as thumbnails.

    Parameters
    ----------
    points : array of shape (n, 2)
        Where each image is.
    codes : array of shape (n,)
        Index of each image's class in `class_names`.
    class_names : sequence of n_classes strings
        Names of the classes.
    pictures : array of shape (n, H, W) or (n, H, W, 3)
        The images, from 0 to 1.
    title : str
        Title of the plot.
    n_thumbnails : int
        Largest number of images to draw; they never overlap.

    Attributes
    ----------
    figure_, ax_ : matplotlib Figure and Axes
        What was drawn.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8), np.arange(40) % 2
    >>> from fmnist_sk import EmbeddingDisplay
    >>> type(EmbeddingDisplay.from_images(X, y, method="pca").figure_).__name__
    'Figure'
    """

    points: np.ndarray
    codes: np.ndarray
    class_names: Sequence[str]
    pictures: np.ndarray
    title: str = ""
    n_thumbnails: int = 60

    @classmethod
    def from_images(cls, X: ArrayLike | Tensor, y: ArrayLike | Tensor, *, method: str = "tsne", max_images: int = 2000,
                    class_names: Sequence[str] | None = None, image_shape: Sequence[int] | None = None,
                    n_thumbnails: int = 60, random_state=0, ax=None) -> EmbeddingDisplay:
        """The pixels of images.

        Parameters
        ----------
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            The images.
        y : array-like or tensor of shape (n,)
            Their labels.
        method : {"tsne", "pca"}
            scikit-learn's t-SNE (van der Maaten and Hinton, 2008) of the first 50 principal components, or the first
            two principal components.
        max_images : int
            If there are more images, a random subset of this size is drawn, stratified where that is possible.
        class_names : sequence of n_classes strings, optional
            Names in the order of the sorted labels. Default: the labels.
        image_shape : (H, W) or (C, H, W), optional
            Shape of the images that flat rows hold; needed if they are not square.
        n_thumbnails : int
            Largest number of images to draw at their points; they never overlap.
        random_state : int, RandomState or None
            For the subset and for t-SNE.
        ax : matplotlib axes, optional
            Where to draw. Default: a new figure.

        Raises
        ------
        ValueError
            For an unknown method, and for numbers, labels or names that do not fit.
        """
        images = as_array(X)
        rows, labels, names = cls._part(y, images, method, max_images, class_names, random_state, n_thumbnails)
        shown = pictures(take(images, rows), image_shape)
        return cls._from("pixels", shown.reshape(len(shown), -1), shown, labels, names, method, n_thumbnails,
                         random_state, ax)

    @classmethod
    def from_estimator(cls, classifier: ImageClassifier, X: ArrayLike | Tensor, y: ArrayLike | Tensor, *,
                       layer: str | None = None, method: str = "tsne", max_images: int = 2000,
                       class_names: Sequence[str] | None = None, n_thumbnails: int = 60, random_state=0, ax=None
                       ) -> EmbeddingDisplay:
        """The features that a fitted classifier's network computes for images.

        Parameters
        ----------
        classifier : fitted ImageClassifier, or Pipeline that ends in one
            What a Pipeline's other steps make of X is shown.
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            Images in any form that it accepts.
        y : array-like or tensor of shape (n,)
            Their labels.
        layer : str, optional
            As in `FeatureExtractor`. Default: the penultimate features.
        method : {"tsne", "pca"}
            As in `from_images`.
        max_images : int
            If there are more images, a random subset of this size is drawn.
        class_names : sequence of n_classes strings, optional
            Names in the order of the sorted labels. Default: the labels.
        n_thumbnails : int
            Largest number of images to draw at their points; they never overlap.
        random_state : int, RandomState or None
            For the subset and for t-SNE.
        ax : matplotlib axes, optional
            Where to draw. Default: a new figure.

        Raises
        ------
        TypeError
            For other estimators.
        ValueError
            For an unknown method or layer, and for numbers, labels or names that do not fit.
        NotFittedError
            If the classifier is not fitted.
        """
        _, inner = classifier_of(classifier, "classifier")
        check_is_fitted(inner)
        rows, labels, names = cls._part(y, check_images(X), method, max_images, class_names, random_state, n_thumbnails)
        _, part, shown = received(classifier, take(X, rows))
        features = FeatureExtractor(FrozenEstimator(inner), layer=layer).fit(part).transform(part)
        features = np.asarray(features.cpu() if isinstance(features, Tensor) else features)
        return cls._from(f"features of {type(inner).__name__}", features, shown, labels, names, method, n_thumbnails,
                         random_state, ax)

    @staticmethod
    def _part(y, X, method, max_images, class_names, random_state, n_thumbnails):
        if method not in ("tsne", "pca"):
            raise ValueError(f"method must be 'tsne' or 'pca', got method={method!r}.")
        check_count(n_thumbnails, "n_thumbnails", 0)
        check_count(max_images, "max_images", 3)
        labels = as_labels(y, "y", len(X))
        classes, codes = np.unique(labels, return_inverse=True)
        rows = np.arange(len(codes))
        if len(rows) < 3:
            raise ValueError(f"X must hold at least 3 images, got {len(rows)}.")
        if max_images < len(rows):
            from sklearn.model_selection import train_test_split

            fewest = min(max_images, len(rows) - max_images)
            stratify = codes if fewest >= len(classes) and np.bincount(codes).min() > 1 else None
            rows, _ = train_test_split(rows, train_size=max_images, stratify=stratify, random_state=random_state)
        return rows, codes[rows], names_of(classes, class_names)

    @classmethod
    def _from(cls, what, values, shown, codes, names, method, n_thumbnails, random_state, ax):
        from sklearn.decomposition import PCA  # these two take long to import
        from sklearn.manifold import TSNE

        values = values.reshape(len(values), -1)
        if not values.std(0).any():
            raise ValueError("X must hold images that differ, or there is nothing to tell them apart by, got "
                             f"{len(values)} times the same {what}.")
        few = PCA(2 if method == "pca" else min(50, *values.shape), random_state=random_state)
        points, title = few.fit_transform(values), f"Principal components of {what}"
        if method == "pca":
            title += f" ({few.explained_variance_ratio_.sum():.0%} of the variance)"
        else:
            perplexity = min(30.0, (len(points) - 1) / 3)
            points = TSNE(perplexity=perplexity, random_state=random_state).fit_transform(points)
            title = f"t-SNE of {what}"
        return cls(points, codes, names, shown, f"{title}, {len(points):,} images", n_thumbnails).plot(ax)

    @as_written
    def plot(self, ax=None) -> EmbeddingDisplay:
        """Draw into `ax` or a new figure."""
        self.figure_, ((self.ax_,),) = panels(ax, size=(9, 7.5))        # the ImportError names the extra
        from matplotlib.colors import Normalize
        from matplotlib.offsetbox import AnnotationBbox, OffsetImage
        from matplotlib.patheffects import withStroke

        for code, name in enumerate(self.class_names):
            points = self.points[self.codes == code]
            self.ax_.scatter(*points.T, s=20, **style(code), label=name, alpha=0.7, linewidths=0)
        low, high = self.points.min(0), self.points.max(0)
        span = np.where(high > low, high - low, 1)
        places = (self.points - low) / span
        labels = self._label_places(places)
        taken = np.empty((0, 2))
        for i in np.random.default_rng(0).permutation(len(places)):
            if len(taken) == self.n_thumbnails:
                break
            if not ((np.abs(taken - places[i]) < 0.055).all(1).any()
                    or (np.abs(list(labels.values()) - places[i]) < (0.11, 0.045)).all(1).any()):
                taken = np.vstack([taken, places[i]])
                image = OffsetImage(self.pictures[i], cmap="gray", norm=Normalize(0, 1),
                                    zoom=0.8 * 28 / self.pictures.shape[1])
                edge = style(self.codes[i])["color"]
                self.ax_.add_artist(AnnotationBbox(image, self.points[i], pad=0.1, bboxprops={
                    "edgecolor": edge, "linewidth": 1.5}))
        for code, place in labels.items():
            self.ax_.annotate(self.class_names[code], low + place * span, ha="center", va="center", fontsize=11,
                              fontweight="bold", zorder=10, path_effects=[withStroke(linewidth=3, foreground="white")])
        self.ax_.set(title=self.title, xticks=[], yticks=[])
        legend = self.ax_.legend(loc="center left", bbox_to_anchor=(1, 0.5), markerscale=1.6, frameon=False)
        pyplot().setp(legend.get_texts(), fontsize=9)
        return self

    def _label_places(self, places: np.ndarray) -> dict[int, np.ndarray]:
        """Where to write the name of each class: in the middle of its points, or above a name already there."""
        found: dict[int, np.ndarray] = {}
        middles = {code: np.median(places[self.codes == code], axis=0) for code in np.unique(self.codes)}
        for code in sorted(middles, key=lambda code: middles[code][1]):
            place = middles[code]
            while any((np.abs(other - place) < (0.17, 0.035)).all() for other in found.values()):
                place = np.add(place, (0, 0.005))
            found[int(code)] = place
        return found


@dataclass(eq=False, repr=False)
class AugmentationDisplay:
    """Images before and after augmentation, with a row for each kind of augmentation.

    Parameters
    ----------
    pictures : dict of str to array
        The images of each row by its name, of shape (n, H, W) or (n, H, W, 3), from 0 to 1.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure that was drawn.
    ax_ : array of Axes, of shape (n_rows, n)
        One for each image.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8), np.arange(40) % 2
    >>> from fmnist_sk import AugmentationDisplay, RandomCrop
    >>> display = AugmentationDisplay.from_augmenters({"none": None, "crop": RandomCrop()}, X[:3], y[:3])
    >>> type(display.figure_).__name__
    'Figure'
    """

    pictures: Mapping[str, np.ndarray]

    @classmethod
    def from_estimator(cls, classifier: ImageClassifier, X: ArrayLike | Tensor, y: ArrayLike | Tensor, *,
                       n_draws: int = 6, random_state=0, ax=None) -> AugmentationDisplay:
        """A few images, unchanged and in several draws of a classifier's `augment`.

        Stored copies (AugmentedCopies) are not drawn.

        Parameters
        ----------
        classifier : ImageClassifier, or Pipeline that ends in one
            Fitted or not. Until it is fitted, the images must have all classes that `augment` names, and a Pipeline's
            other steps are left out.
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            A few images.
        y : array-like or tensor of shape (n,)
            Their labels.
        n_draws : int
            Number of draws.
        random_state : int, RandomState or None
            An int makes the draws repeatable.
        ax : matplotlib axes, optional
            One, whose area is divided. Default: a new figure.

        Raises
        ------
        TypeError
            For other estimators.
        ValueError
            For images or labels that do not fit.
        """
        steps, classifier = classifier_of(classifier, "classifier")
        check_count(n_draws, "n_draws")
        classes = getattr(classifier, "classes_", None)
        X = X if classes is None else as_array(through(steps, X))
        rows = {"as it is": None, **{f"draw {i}": classifier.augment for i in range(1, n_draws + 1)}}
        shape = classifier.image_shape or getattr(classifier, "image_shape_", None)
        return cls.from_augmenters(rows, X, y, classes=classes, ax=ax, random_state=random_state,
                                   image_shape=shape if np.ndim(X) == 2 else None)

    @classmethod
    def from_augmenters(cls, augmenters: Mapping[str, object], X: ArrayLike | Tensor, y: ArrayLike | Tensor, *,
                        classes: ArrayLike | None = None, image_shape: Sequence[int] | None = None, random_state=0,
                        ax=None) -> AugmentationDisplay:
        """Images under each of several augmentations.

        Parameters
        ----------
        augmenters : dict of str to augmentation
            What `augment=` accepts, by name.
        X : array-like or tensor of shape (n, features), (n, H, W) or (n, C, H, W)
            A few images.
        y : array-like or tensor of shape (n,)
            Their labels.
        classes : array-like of shape (n_classes,), optional
            All labels, of which the images may have only some. Default: those of y.
        image_shape : (H, W) or (C, H, W), optional
            Shape of the images that flat rows hold; needed if they are not square.
        random_state : int, RandomState or None
            An int makes the draws repeatable.
        ax : matplotlib axes, optional
            One, whose area is divided. Default: a new figure.

        Raises
        ------
        TypeError
            For values that are not augmenters.
        ValueError
            For an empty dict, and for images or labels that do not fit.
        """
        if not isinstance(augmenters, Mapping) or not augmenters:
            raise ValueError(f"augmenters must be a dict from name to what augment= accepts, got {augmenters!r}.")
        images = as_array(X)
        shown = pictures(images, image_shape)
        labels = as_labels(y, "y", len(images))
        classes = encode_labels(labels, len(shown))[0] if classes is None else np.asarray(classes)
        codes = torch.from_numpy(class_codes(labels, classes, "y"))
        x = torch.from_numpy(shown * 255)
        x = x[:, None] if x.ndim == 3 else x.movedim(-1, 1)
        seeds, rows = check_random_state(random_state), {}
        for name, augment in augmenters.items():
            generator = torch.Generator().manual_seed(int(seeds.randint(2**31 - 1)))
            batch = Batch(x.clone(), codes)
            change = compile_augmentation(augment, classes, learn_pixels(x).on("cpu"), generator)
            if change is not None:
                change(batch)
            rows[str(name)] = pictures(batch.x.clamp(0, 255).to(torch.uint8))
        return cls(rows).plot(ax)

    @as_written
    def plot(self, ax=None) -> AugmentationDisplay:
        """Draw into the area of `ax` or a new figure."""
        n = len(next(iter(self.pictures.values())))
        longest = max(len(line) for name in self.pictures for line in name.splitlines())
        self.figure_, self.ax_ = panels(ax, len(self.pictures), n, (0.07 * longest + 0.82 * n + 0.3,
                                                                    0.87 * len(self.pictures) + 0.2))
        for axes, (name, row) in zip(self.ax_, self.pictures.items(), strict=True):
            for axis, picture in zip(axes, row, strict=True):
                show_image(axis, picture)
            axes[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        if ax is None:
            self.figure_.suptitle("Images before and after augmentation")
        return self
