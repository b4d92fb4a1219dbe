"""The pictures of results, networks and data show what they say."""
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from estimators import small
from matplotlib.offsetbox import AnnotationBbox
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from fmnist_sk import (
    AugmentationDisplay,
    ClassAccuracyDisplay,
    ComparisonDisplay,
    ConfusionDisplay,
    EmbeddingDisplay,
    FeatureMapsDisplay,
    FiltersDisplay,
    GradCAMDisplay,
    HistoryDisplay,
    ImageReader,
    ImageScaler,
    MistakesDisplay,
    RandomHorizontalFlip,
    ReliabilityDisplay,
)
from fmnist_sk.plotting._base import pictures, style

NAMES = ["bag", "coat", "shirt"]
pytestmark = pytest.mark.usefixtures("no_window")
OF_CLASSIFIERS = {
    ClassAccuracyDisplay: ClassAccuracyDisplay.from_estimator,
    ConfusionDisplay: ConfusionDisplay.from_estimator,
    MistakesDisplay: MistakesDisplay.from_estimator,
    ReliabilityDisplay: ReliabilityDisplay.from_estimator,
    ComparisonDisplay: lambda model, X, y, **options: ComparisonDisplay.from_estimators({"a": model}, X, y, **options),
}
OF_NETWORKS = {
    EmbeddingDisplay: lambda model, X, y, **options: EmbeddingDisplay.from_estimator(model, X, y, method="pca",
                                                                                    **options),
    AugmentationDisplay: lambda model, X, y, **options: AugmentationDisplay.from_estimator(model, X[:4], y[:4],
                                                                                           n_draws=2, **options),
    FeatureMapsDisplay: lambda model, X, y, **options: FeatureMapsDisplay.from_estimator(model, X[:1], n_channels=3,
                                                                                        **options),
    FiltersDisplay: lambda model, X, y, **options: FiltersDisplay.from_estimator(model, **options),
    GradCAMDisplay: lambda model, X, y, **options: GradCAMDisplay.from_estimator(model, X[:3], y[:3], **options),
}


def of(displays):
    return pytest.mark.parametrize("draw", displays.values(), ids=[display.__name__ for display in displays])


@pytest.fixture(scope="module")
def fitted(named_images):
    return small("ConvNetClassifier", max_epochs=2, lr=1e-3).fit(*named_images)


def contents(display):
    """Everything that a figure shows: numbers of lines, images and texts."""
    found = []
    for axis in display.figure_.axes:
        found += [line.get_xydata().tolist() for line in axis.get_lines()]
        found += [np.asarray(image.get_array()).tolist() for image in axis.get_images()]
        found += [text.get_text() for text in [*axis.texts, axis.title, axis.xaxis.label, axis.yaxis.label]]
    return found


@of(OF_CLASSIFIERS | OF_NETWORKS)
def test_draws_into_a_new_figure_or_the_place_of_an_axes(draw, fitted, named_images):
    X, y = named_images
    display = draw(fitted, X, y)
    assert display.figure_.axes
    assert len(repr(display)) < 100                 # what a notebook prints below a cell's picture
    figure, axes = plt.subplots(1, 2, figsize=(12, 6))
    before = plt.get_fignums()
    again = draw(fitted, X, y, ax=axes[0])
    assert again.figure_ is figure
    assert plt.get_fignums() == before
    assert not axes[1].has_data()
    figure.canvas.draw()
    shown = [text for text in contents(display) if not isinstance(text, str)]
    assert shown == [text for text in contents(again) if not isinstance(text, str)]
    assert display.plot().figure_ is not display
    for axis in np.ravel(again.ax_):
        box = axis.get_position()
        assert box.x1 <= axes[1].get_position().x0          # nothing spreads over the neighbour


@of(OF_CLASSIFIERS | OF_NETWORKS)
def test_refuses_axes_that_do_not_fit(draw, fitted, named_images):
    with pytest.raises(ValueError, match=r"ax must be .* of matplotlib, got ax='here'"):
        draw(fitted, *named_images, ax="here")
    with pytest.raises(ValueError, match=r"ax must be .* of matplotlib, got ax="):
        draw(fitted, *named_images, ax=plt.subplots(1, 7)[1])


@of(OF_CLASSIFIERS | OF_NETWORKS)
def test_needs_a_fit(draw, named_images):
    if draw is OF_NETWORKS[AugmentationDisplay]:
        assert draw(small("ConvNetClassifier"), *named_images)
        return
    with pytest.raises(NotFittedError):
        draw(small("ConvNetClassifier"), *named_images)


@of(OF_CLASSIFIERS | OF_NETWORKS)
def test_without_matplotlib_the_error_names_the_extra(draw, fitted, named_images, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'fmnist_sk\[plot\]'"):
        draw(fitted, *named_images)


@of(OF_CLASSIFIERS)
def test_takes_any_classifier_and_any_form_of_images(draw, named_images):
    X, y = named_images
    flat = X.reshape(len(X), -1)
    model = LogisticRegression(max_iter=200).fit(flat[::2], y[::2])
    expected = contents(draw(model, flat, y))
    assert contents(draw(model, pd.DataFrame(flat).set_axis(range(100, 160)), pd.Series(y))) == expected
    with pytest.raises(TypeError, match="estimator must be a classifier, got estimator=ImageScaler"):
        draw(ImageScaler().fit(X), X, y)


@of(OF_CLASSIFIERS | OF_NETWORKS)
def test_takes_tensors_and_pipelines(draw, fitted, named_images):
    X, y = named_images
    codes = np.searchsorted(NAMES, y)
    model = make_pipeline(ImageScaler(), small("ConvNetClassifier", max_epochs=1)).fit(X, codes)
    model[-1].set_params(augment="light")
    assert draw(model, torch.from_numpy(X), torch.from_numpy(codes))
    assert draw(model, X[:, None], codes)


def test_what_a_network_receives_is_shown(named_images):
    X, y = named_images
    photos = [np.kron(image, np.ones((n, n), np.uint8)) for image, n in zip(X, np.arange(len(X)) % 2 + 2, strict=True)]
    reader = ImageReader(10)
    model = make_pipeline(reader, small("ConvNetClassifier", max_epochs=1)).fit(photos, y)
    expected = reader.transform(photos)[:, 0] / 255
    evidence = GradCAMDisplay.from_estimator(model, photos[:3])
    assert evidence.maps.shape == evidence.pictures.shape
    np.testing.assert_allclose(evidence.pictures, expected[:3], atol=1e-6)
    np.testing.assert_allclose(FeatureMapsDisplay.from_estimator(model, photos[:1]).picture, expected[0], atol=1e-6)
    drawn = AugmentationDisplay.from_estimator(model, photos[:3], y[:3]).pictures["as it is"]
    np.testing.assert_allclose(drawn, expected[:3], atol=1e-6)
    embedded = EmbeddingDisplay.from_estimator(model, photos, y, method="pca")
    np.testing.assert_allclose(embedded.pictures, expected, atol=1e-6)
    assert len(EmbeddingDisplay.from_estimator(model, photos, y, method="pca", max_images=9).points) == 9


@of(OF_NETWORKS)
def test_refuses_what_is_no_network(draw, named_images):
    X, y = named_images
    with pytest.raises(TypeError, match="classifier must be an ImageClassifier"):
        draw(LogisticRegression().fit(X.reshape(len(X), -1), y), X, y)


# ---------------------------------------------------------------------- data

def test_embedding_shows_every_image_once_in_its_colour(named_images):
    X, y = named_images
    display = EmbeddingDisplay.from_images(X, y, method="pca", n_thumbnails=5)
    clouds = display.ax_.collections
    assert [cloud.get_label() for cloud in clouds] == NAMES
    for cloud, name in zip(clouds, NAMES, strict=True):
        assert len(cloud.get_offsets()) == np.sum(y == name)
    flat = X.reshape(len(X), -1) / 255
    centred = flat - flat.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
    np.testing.assert_allclose(np.abs(display.points), np.abs(centred @ axes.T), atol=1e-4)
    thumbnails = [artist for artist in display.ax_.artists if isinstance(artist, AnnotationBbox)]
    assert 0 < len(thumbnails) <= 5
    display.figure_.canvas.draw()
    assert {thumbnail.offsetbox.image.get_clim() for thumbnail in thumbnails} == {(0, 1)}       # one gray scale


def test_a_hundred_classes_look_different():
    assert len({tuple(style(i).items()) for i in range(100)}) == 100


def test_embedding_takes_a_part_in_the_proportions_of_the_classes(named_images):
    X, y = named_images
    display = EmbeddingDisplay.from_images(X, y, max_images=30)
    assert np.bincount(display.codes).tolist() == [10, 10, 10]
    again = EmbeddingDisplay.from_images(X, y, max_images=30)
    np.testing.assert_array_equal(display.points, again.points)
    assert len(EmbeddingDisplay.from_images(X, y, max_images=59, method="pca").points) == 59    # one left for 3 classes


@pytest.mark.parametrize(("options", "message"), [
    ({"method": "umap"}, "method must be 'tsne' or 'pca', got method='umap'"),
    ({"max_images": 0}, "max_images must be a whole number >= 3, got max_images=0"),
    ({"class_names": ["a"]}, "class_names must name each of the 3 classes"),
    ({"n_thumbnails": -1}, "n_thumbnails must be a whole number >= 0, got n_thumbnails=-1"),
])
def test_embedding_names_what_is_wrong(named_images, options, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingDisplay.from_images(*named_images, **options)


def test_augmentation_shows_what_training_sees(named_images):
    X, y = named_images
    display = AugmentationDisplay.from_augmenters(
        {"before": None, "mirrored": RandomHorizontalFlip(p=1.0), "but bags": RandomHorizontalFlip(p=1, exclude=["bag"])
         }, X[:3], y[:3])
    np.testing.assert_allclose(display.pictures["before"] * 255, X[:3], atol=1e-4)
    np.testing.assert_allclose(display.pictures["mirrored"] * 255, X[:3, :, ::-1], atol=1e-4)
    for image, label, shown in zip(X, y, display.pictures["but bags"], strict=False):
        np.testing.assert_allclose(shown * 255, image if label == "bag" else image[:, ::-1], atol=1e-4)
    model = small("ConvNetClassifier", augment="strong")
    draws = AugmentationDisplay.from_estimator(model, X[:3], y[:3], n_draws=2).pictures
    assert list(draws) == ["as it is", "draw 1", "draw 2"]
    assert not np.array_equal(draws["draw 1"], draws["draw 2"])
    coats = RandomHorizontalFlip(p=1, exclude=["coat"])
    fitted = small("ConvNetClassifier", max_epochs=1, augment=coats).fit(X, y)
    bag, coat = X[y == "bag"][:1], X[y == "coat"][:1]
    shown = AugmentationDisplay.from_estimator(fitted, bag, ["bag"]).pictures["draw 1"]
    np.testing.assert_allclose(shown * 255, bag[:, :, ::-1], atol=1e-4)         # the coats are not among the images
    shown = AugmentationDisplay.from_augmenters({"mirrored": coats}, coat, ["coat"], classes=NAMES).pictures
    np.testing.assert_allclose(shown["mirrored"] * 255, coat, atol=1e-4)
    with pytest.raises(ValueError, match=r"y must hold labels of \['bag', 'coat', 'shirt'\], got \['sock'\]"):
        AugmentationDisplay.from_estimator(fitted, bag, ["sock"])
    with pytest.raises(ValueError, match="augmenters must be a dict"):
        AugmentationDisplay.from_augmenters({}, X, y)
    with pytest.raises(TypeError, match="augment must be None, one of"):
        AugmentationDisplay.from_augmenters({"x": 3}, X, y)


@pytest.mark.parametrize(("X", "shape"), [
    (np.full((2, 16), 255, np.uint8), (2, 4, 4)),
    (np.full((2, 4, 5), 255, np.uint8), (2, 4, 5)),
    (np.full((2, 1, 4, 5), 255, np.uint8), (2, 4, 5)),
    (np.full((2, 3, 4, 5), 255, np.uint8), (2, 4, 5, 3)),
    (np.full((2, 2, 4, 5), 255, np.uint8), (2, 4, 5)),
    (torch.full((2, 16), 255, dtype=torch.uint8), (2, 4, 4)),
    (pd.DataFrame(np.full((2, 16), 255, np.uint8)), (2, 4, 4)),
])
def test_images_of_any_form_become_pictures(X, shape):
    found = pictures(X)
    assert found.shape == shape
    assert (found == 1).all()


def test_numbers_of_any_range_become_pictures():
    X = np.random.default_rng(0).normal(size=(3, 4, 4))
    found = pictures(X)
    assert found.min() == 0
    assert found.max() == 1
    assert pictures(np.zeros((1, 4, 4))).max() == 0
    assert pictures(np.zeros((1, 6)), (2, 3)).shape == (1, 2, 3)
    with pytest.raises(ValueError, match="rows of 6 values fill no square image, got image_shape=None"):
        pictures(np.zeros((1, 6)))


def test_history_takes_a_pipeline(named_images):
    X, y = named_images
    model = make_pipeline(ImageScaler(), small("ConvNetClassifier", max_epochs=2)).fit(X, y)
    assert len(HistoryDisplay.from_estimator(model).epochs) == 2


@pytest.mark.parametrize(("draw", "error", "message"), [
    (lambda X, y: ConfusionDisplay.from_estimator(None, X, y), TypeError, "estimator must be a classifier, got"),
    (lambda X, y: ClassAccuracyDisplay.from_estimator({"a": 3}, X, y), TypeError, "estimator must be a classifier"),
    (lambda X, y: ClassAccuracyDisplay.from_predictions(y, y, class_names=3), ValueError, "class_names must name each"),
    (lambda X, y: ClassAccuracyDisplay.from_predictions(None, y), ValueError, r"y_true must hold labels \(n,\), got"),
    (lambda X, y: ComparisonDisplay.from_predictions([], {"a": []}), ValueError, r"y_true must hold labels \(n,\)"),
    (lambda X, y: ComparisonDisplay.from_predictions(y, {"a": y == "bag"}), ValueError,
     "y_pred must hold labels of the same kind as y_true"),
    (lambda X, y: EmbeddingDisplay.from_images(None, y), TypeError, "X must hold images, got X=None"),
    (lambda X, y: EmbeddingDisplay.from_images({"images": X}, y), TypeError, "X must hold images, got X={'images'"),
    (lambda X, y: EmbeddingDisplay.from_images(np.ndarray, y), TypeError, "X must hold images, got X=<class"),
    (lambda X, y: EmbeddingDisplay.from_images(X * 0, y), ValueError, "images that differ, .*, got .* times the same"),
])
def test_wrong_arguments_are_named(draw, error, message, named_images):
    X, y = named_images
    with pytest.raises(error, match=message):
        draw(X, np.where(y == y[0], "bag", "coat"))
