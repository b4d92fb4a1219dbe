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
from sklearn.linear_model import LogisticRegression, RidgeClassifier
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
    ImageScaler,
    MistakesDisplay,
    RandomHorizontalFlip,
    ReliabilityDisplay,
    grad_cam,
    summary,
)
from fmnist_sk.plotting._base import pictures, style

NAMES = ["bag", "coat", "shirt"]
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


@pytest.fixture(autouse=True)
def no_window(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("a picture was shown"))
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def data():
    from conftest import make_images
    return make_images(NAMES)


@pytest.fixture(scope="module")
def fitted(data):
    return small("ConvNetClassifier", max_epochs=2, lr=1e-3).fit(*data)


def contents(display):
    """Everything that a figure shows: numbers of lines, images and texts."""
    found = []
    for axis in display.figure_.axes:
        found += [line.get_xydata().tolist() for line in axis.get_lines()]
        found += [np.asarray(image.get_array()).tolist() for image in axis.get_images()]
        found += [text.get_text() for text in [*axis.texts, axis.title, axis.xaxis.label, axis.yaxis.label]]
    return found


# ---------------------------------------------------------------------- all of them

@of(OF_CLASSIFIERS | OF_NETWORKS)
def test_draws_into_a_new_figure_or_the_place_of_an_axes(draw, fitted, data):
    X, y = data
    display = draw(fitted, X, y)
    assert display.figure_.axes
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
def test_refuses_axes_that_do_not_fit(draw, fitted, data):
    with pytest.raises(ValueError, match=r"ax must be .* of matplotlib, got ax='here'"):
        draw(fitted, *data, ax="here")
    with pytest.raises(ValueError, match=r"ax must be .* of matplotlib, got ax="):
        draw(fitted, *data, ax=plt.subplots(1, 7)[1])


@of(OF_CLASSIFIERS | OF_NETWORKS)
def test_needs_a_fit(draw, data):
    if draw is OF_NETWORKS[AugmentationDisplay]:
        assert draw(small("ConvNetClassifier"), *data)
        return
    with pytest.raises(NotFittedError):
        draw(small("ConvNetClassifier"), *data)


@of(OF_CLASSIFIERS | OF_NETWORKS)
def test_without_matplotlib_the_error_names_the_extra(draw, fitted, data, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'fmnist_sk\[plot\]'"):
        draw(fitted, *data)


@of(OF_CLASSIFIERS)
def test_takes_any_classifier_and_any_form_of_images(draw, data):
    X, y = data
    flat = X.reshape(len(X), -1)
    model = LogisticRegression(max_iter=200).fit(flat[::2], y[::2])
    expected = contents(draw(model, flat, y))
    assert contents(draw(model, pd.DataFrame(flat).set_axis(range(100, 160)), pd.Series(y))) == expected
    with pytest.raises(TypeError, match="estimator must be a classifier, got estimator=ImageScaler"):
        draw(ImageScaler().fit(X), X, y)


@of(OF_CLASSIFIERS | OF_NETWORKS)
def test_takes_tensors_and_pipelines(draw, fitted, data):
    X, y = data
    codes = np.searchsorted(NAMES, y)
    model = make_pipeline(ImageScaler(), small("ConvNetClassifier", max_epochs=1)).fit(X, codes)
    model[-1].set_params(augment="light")
    assert draw(model, torch.from_numpy(X), torch.from_numpy(codes))
    assert draw(model, X[:, None], codes)


@of(OF_NETWORKS)
def test_refuses_what_is_no_network(draw, data):
    X, y = data
    with pytest.raises(TypeError, match="classifier must be an ImageClassifier"):
        draw(LogisticRegression().fit(X.reshape(len(X), -1), y), X, y)


# ---------------------------------------------------------------------- evaluation

def test_class_accuracies_have_intervals():
    y_true = np.repeat(["a", "b"], [10, 30])
    y_pred = np.array(["a"] * 8 + ["b"] * 2 + ["b"] * 30)
    display = ClassAccuracyDisplay.from_predictions(y_true, y_pred, class_names=["first", "second"])
    np.testing.assert_allclose(display.accuracy_, [0.8, 1.0])
    np.testing.assert_allclose([display.low_, display.high_], [[0.4902, 0.8865], [0.9433, 1.0]], atol=1e-4)
    assert [text.get_text() for text in display.ax_.get_yticklabels()] == ["first", "second"]
    assert "95.00%" in display.ax_.get_title()
    only = ClassAccuracyDisplay.from_predictions(["a", "a"], ["a", "b"])         # no image of b, no row for it
    assert list(only.class_names) == ["a"]


def test_reliability_is_that_of_the_predicted_class():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1.0, 20000)
    right = rng.random(20000) < confidence
    proba = np.where(right[:, None], np.c_[confidence, 1 - confidence], np.c_[1 - confidence, confidence])
    display = ReliabilityDisplay.from_predictions(np.zeros(20000), proba, classes=[0, 1], n_bins=10)
    assert display.ece_ < 0.02
    np.testing.assert_allclose(display.accuracy, display.confidence, atol=0.03)
    assert display.count.sum() == 20000
    sure = ReliabilityDisplay.from_predictions([0, 1, 0, 0], [[1, 0]] * 4, classes=[0, 1])
    assert sure.ece_ == pytest.approx(0.25)
    for truth, ece in ([0, 0], 0.1), ([1, 1], 0.9):                         # all right, and all wrong
        display = ReliabilityDisplay.from_predictions(truth, [[0.9, 0.1]] * 2, classes=[0, 1])
        assert display.ece_ == pytest.approx(ece)
    assert sure.count.tolist() == [4]


def test_reliability_of_few_images_is_drawn_faintly():
    confidence = np.repeat([0.55, 0.95], [9, 10])
    display = ReliabilityDisplay.from_predictions(np.zeros(19), np.c_[confidence, 1 - confidence], classes=[0, 1])
    drawn = {bars.get_label(): bars for bars in display.ax_[0].containers}
    assert [bars.lines[0].get_xdata().round(2).tolist() for bars in drawn.values()] == [[0.95], [0.55]]
    assert drawn["fewer than 10 images"].lines[0].get_alpha() < 0.5
    texts = [text.get_text() for text in display.ax_[0].get_legend().get_texts()]
    assert texts == ["perfectly calibrated", "this classifier", "fewer than 10 images"]


@pytest.mark.parametrize(("arguments", "options", "error", "message"), [
    (([0, 1], [[0.5, 0.5]]), {}, ValueError, "y_true must hold a label for each of the 1 images, got 2"),
    (([0, 1], [[0.5, 0.5, 0]] * 2), {}, ValueError, r"y_proba must hold probabilities .* \(2, 2\), got"),
    (([0, 1], [[1.5, -0.5]] * 2), {}, ValueError, r"values of shape \(2, 2\) from -0.5 to 1.5"),
    (([0, 5], [[0.5, 0.5]] * 2), {"classes": [0, 1]}, ValueError, r"y_true must hold labels of \[0, 1\], got \[5\]"),
    (([0, 1], [[0.5, 0.5]] * 2), {"n_bins": 1}, ValueError, "n_bins must be a whole number >= 2, got n_bins=1"),
])
def test_reliability_names_what_is_wrong(arguments, options, error, message):
    with pytest.raises(error, match=message):
        ReliabilityDisplay.from_predictions(*arguments, **options)


def test_classifiers_without_probabilities_are_refused_where_they_are_needed(data):
    X, y = data
    flat = X.reshape(len(X), -1)
    ridge = RidgeClassifier().fit(flat, y)
    assert ConfusionDisplay.from_estimator(ridge, flat, y)
    for draw in (MistakesDisplay.from_estimator, ReliabilityDisplay.from_estimator):
        with pytest.raises(TypeError, match="estimator must have predict_proba, got estimator=RidgeClassifier"):
            draw(ridge, flat, y)


def test_the_best_model_is_on_top():
    y = [0, 0, 1, 1]
    display = ComparisonDisplay.from_predictions(y, {"bad": [0, 1, 0, 1], "good": [0, 0, 1, 1]})
    assert [text.get_text() for text in display.ax_[0].get_yticklabels()] == ["good", "bad"]
    np.testing.assert_allclose(display.accuracy_, [0.5, 1.0])
    assert [text.get_text() for text in display.ax_[1].texts] == ["100.0", "100.0", "50.0", "50.0"]
    for wrong in ({}, None, [1, 2]):
        with pytest.raises(ValueError, match="y_pred must be a dict from name to predicted labels, got y_pred="):
            ComparisonDisplay.from_predictions(y, wrong)
    with pytest.raises(ValueError, match=r"y_pred\['a'\] must hold a label for each of the 4 images, got 1"):
        ComparisonDisplay.from_predictions(y, {"a": [0]})
    with pytest.raises(TypeError, match="estimators must be a dict from name to classifier"):
        ComparisonDisplay.from_estimators([LogisticRegression()], [[0]], [0])


# ---------------------------------------------------------------------- mistakes

def test_confusions_are_shown_most_frequent_first():
    X = np.arange(12, dtype=np.uint8)[:, None, None] * np.ones((12, 4, 4), np.uint8)
    y_true = np.array(["a"] * 6 + ["b"] * 6)
    y_pred = np.array(["a", "b", "c", "c", "c", "a"] + ["b"] * 4 + ["a"] * 2)
    display = ConfusionDisplay.from_predictions(y_true, y_pred, X, n_confusions=2, n_images=2)
    assert display.matrix.tolist() == [[2, 1, 3], [2, 4, 0], [0, 0, 0]]
    assert [tuple(confusion)[:3] for confusion in display.confusions] == [(0, 2, 3), (1, 0, 2)]
    np.testing.assert_allclose(display.confusions[0].pictures[:, 0, 0] * 255, [2, 3])
    assert [axes[0].get_ylabel() for axes in display.image_axes_] == ["a\ntaken for\nc\n3 (50.0%)",
                                                                    "b\ntaken for\na\n2 (33.3%)"]
    assert "50.00% of 12 images right" in display.ax_.get_title()
    numbers = [text.get_text() for text in display.ax_.texts]
    assert numbers == ["2", "1", "3", "2", "4", "0", "0", "0", "0"]
    assert not ConfusionDisplay.from_predictions(y_true, y_true, X).confusions
    assert ConfusionDisplay.from_predictions(y_true, y_pred, X, n_confusions=0).image_axes_.size == 0


def test_mistakes_are_the_most_confident_ones(data):
    X, _ = data
    proba = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7], [0.05, 0.95]])
    display = MistakesDisplay.from_predictions([0, 0, 1, 0, 1], proba, X[:5], class_names=["x", "y"], n_images=2)
    assert display.rows.tolist() == [1, 3]
    assert display.confidence.tolist() == [0.8, 0.7]
    assert [axis.get_title() for axis in display.ax_.flat] == ["x", "x"]
    assert [axis.get_xlabel() for axis in display.ax_.flat] == ["y\n80%", "y\n70%"]
    np.testing.assert_allclose(display.pictures, X[[1, 3]] / np.float32(255))
    none = MistakesDisplay.from_predictions([0, 1], proba[:2], X[:2])
    assert len(none.rows) == 0
    assert none.figure_.get_suptitle() == "No mistakes"


# ---------------------------------------------------------------------- networks

def test_feature_maps_have_a_row_for_each_layer(fitted, data):
    X, _ = data
    display = FeatureMapsDisplay.from_estimator(fitted, X[:1], n_channels=2)
    layers = summary(fitted)
    wanted = layers.index[layers.type.isin(["Conv2d", "MaxPool2d"])]
    assert list(display.maps) == list(wanted)
    assert display.ax_.shape == (len(wanted), 3)
    maps = display.maps[wanted[0]]
    size = f"{len(maps)} maps, {maps.shape[1]} x {maps.shape[2]}"
    assert display.ax_[0, 1].get_ylabel() == f"{wanted[0]}\nConv2d\n2 of {size}"
    everything = FeatureMapsDisplay.from_estimator(fitted, X[:1], n_channels=len(maps))
    assert everything.ax_[0, 1].get_ylabel() == f"{wanted[0]}\nConv2d\n{size}"
    with pytest.raises(ValueError, match=r"X must hold one image, such as images\[:1\], got 60"):
        FeatureMapsDisplay.from_estimator(fitted, X)
    with pytest.raises(ValueError, match=r"layers must give maps \(channels, height, width\), but \['head'\] do not"):
        FeatureMapsDisplay.from_estimator(fitted, X[:1], layers=["head"])


def test_filters_are_the_weights(fitted, tiny_images):
    display = FiltersDisplay.from_estimator(fitted)
    weights = next(fitted.module_.parameters()).detach().numpy()
    np.testing.assert_array_equal(display.filters, weights)
    shown = [axis.get_images()[0].get_array() for axis in display.ax_.flat if axis.get_images()]
    np.testing.assert_array_equal(np.array(shown), weights[:, 0])
    X, y = tiny_images(channels=3)
    color = small("ConvNetClassifier", max_epochs=1).fit(X, y)
    image = FiltersDisplay.from_estimator(color).ax_[0, 0].get_images()[0].get_array()
    assert image.shape[2] == 3
    assert image.min() >= 0
    assert image.max() <= 1
    with pytest.raises(ValueError, match="layer must name a convolution that takes in one or three channels, got "
                                         "layer='head'"):
        FiltersDisplay.from_estimator(fitted, layer="head")


def test_grad_cam_sees_the_patch_that_makes_the_class(tiny_images):
    """A class is a bright patch in its own corner: that is where its evidence lies."""
    X, y = tiny_images([0, 1], n=200, size=16)
    model = small("ConvNetClassifier", architecture="8C3-8C3-GAP", max_epochs=15, lr=1e-2).fit(X, y)
    assert model.score(X, y) > 0.9
    maps = grad_cam(model, X, y)
    assert maps.shape == X.shape
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    assert maps.max() == 1
    found = [maps[y == 0].mean(0), maps[y == 1].mean(0)]
    inside = [found[0][:8, :8].mean(), found[1][8:, 8:].mean()]
    outside = [found[0][8:, 8:].mean(), found[1][:8, :8].mean()]
    assert min(np.array(inside) / outside) > 3
    np.testing.assert_array_equal(grad_cam(model, X[:5]), grad_cam(model, X[:5], model.predict(X[:5])))
    np.testing.assert_allclose(grad_cam(model, X[:300], y), maps, atol=1e-6)


def test_grad_cam_is_the_published_formula(tiny_images):
    X, y = tiny_images([0, 1, 2])
    model = small("ConvNetClassifier", architecture="4C3-GAP", max_epochs=2).fit(X, y)
    network, standardize = model.module_.network.eval(), model.module_.standardize
    with torch.no_grad():
        activations = network.features[:-1](standardize(torch.from_numpy(X[:, None]).float()))
    weights = network.head[-1].weight[torch.from_numpy(y)] / activations[0, 0].numel()     # of the mean over pixels
    expected = (weights[:, :, None, None] * activations).sum(1).relu().detach()
    strongest = expected.amax((1, 2), keepdim=True)
    expected = (expected / torch.where(strongest > 0, strongest, 1.0)).numpy()
    np.testing.assert_allclose(grad_cam(model, X, y), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["ResNetClassifier", "DenseNetClassifier", "InceptionClassifier",
                                  "InceptionResNetClassifier", "WideResNetClassifier", "MLPMixerClassifier"])
def test_grad_cam_of_every_network(kind, tiny_images):
    X, y = tiny_images(size=16)
    model = small(kind, max_epochs=1).fit(X, y)
    model.optimizer_.zero_grad(set_to_none=True)
    maps = grad_cam(model, X[:5], y[:5])
    assert maps.shape == (5, 16, 16)
    assert np.isfinite(maps).all()
    assert all(parameter.grad is None for parameter in model.module_.parameters())


@pytest.mark.parametrize(("options", "message"), [
    ({"y": [0, 1]}, "y must hold a label for each of the 3 images, got 2"),
    ({"y": ["bag", "coat", "sock"]}, r"y must hold labels of \['bag', 'coat', 'shirt'\], got \['sock'\]"),
    ({"layer": "head"}, r"layer must give maps \(n, channels, height, width\), but 'head' gives \("),
    ({"layer": "nose"}, r"layer must be named as in the network .* got \['nose'\]"),
])
def test_grad_cam_names_what_is_wrong(fitted, data, options, message):
    with pytest.raises(ValueError, match=message):
        grad_cam(fitted, data[0][:3], **options)


def test_grad_cam_display_names_wrong_predictions(fitted, data):
    X, _ = data
    predicted = fitted.predict(X[:2])
    wrong = np.array([predicted[0], next(name for name in NAMES if name != predicted[1])])
    display = GradCAMDisplay.from_estimator(fitted, X[:2], wrong, class_names=["Tasche", "Mantel", "Hemd"])
    german = dict(zip(NAMES, ["Tasche", "Mantel", "Hemd"], strict=True))
    assert display.titles[0].startswith(german[predicted[0]])
    assert "really" not in display.titles[0]
    assert display.titles[1].endswith(f"really {german[wrong[1]]}")


# ---------------------------------------------------------------------- data

def test_embedding_shows_every_image_once_in_its_colour(data):
    X, y = data
    display = EmbeddingDisplay.from_images(X, y, method="pca", n_thumbnails=5)
    clouds = display.ax_.collections
    assert [cloud.get_label() for cloud in clouds] == NAMES
    for cloud, name in zip(clouds, NAMES, strict=True):
        assert len(cloud.get_offsets()) == np.sum(y == name)
    flat = X.reshape(len(X), -1) / 255
    centred = flat - flat.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
    np.testing.assert_allclose(np.abs(display.points), np.abs(centred @ axes.T), atol=1e-4)
    assert 0 < sum(isinstance(artist, AnnotationBbox) for artist in display.ax_.artists) <= 5


def test_a_hundred_classes_look_different():
    assert len({tuple(style(i).items()) for i in range(100)}) == 100


def test_embedding_takes_a_part_in_the_proportions_of_the_classes(data):
    X, y = data
    display = EmbeddingDisplay.from_images(X, y, max_images=30)
    assert np.bincount(display.codes).tolist() == [10, 10, 10]
    again = EmbeddingDisplay.from_images(X, y, max_images=30)
    np.testing.assert_array_equal(display.points, again.points)


@pytest.mark.parametrize(("options", "message"), [
    ({"method": "umap"}, "method must be 'tsne' or 'pca', got method='umap'"),
    ({"max_images": 0}, "max_images must be a whole number >= 3, got max_images=0"),
    ({"class_names": ["a"]}, "class_names must name each of the 3 classes"),
    ({"n_thumbnails": -1}, "n_thumbnails must be a whole number >= 0, got n_thumbnails=-1"),
])
def test_embedding_names_what_is_wrong(data, options, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingDisplay.from_images(*data, **options)


def test_augmentation_shows_what_training_sees(data):
    X, y = data
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
    with pytest.raises(ValueError, match="image_shape must be given, because rows of 6 values fill no square image"):
        pictures(np.zeros((1, 6)))


def test_history_takes_a_pipeline(data):
    X, y = data
    model = make_pipeline(ImageScaler(), small("ConvNetClassifier", max_epochs=2)).fit(X, y)
    assert len(HistoryDisplay.from_estimator(model).epochs) == 2


@pytest.mark.parametrize(("draw", "error", "message"), [
    (lambda X, y: ConfusionDisplay.from_estimator(None, X, y), TypeError, "estimator must be a classifier, got"),
    (lambda X, y: ClassAccuracyDisplay.from_estimator({"a": 3}, X, y), TypeError, "estimator must be a classifier"),
    (lambda X, y: ClassAccuracyDisplay.from_predictions(y, y, class_names=3), ValueError, "class_names must name each"),
    (lambda X, y: ClassAccuracyDisplay.from_predictions(None, y), ValueError, r"y_true must hold labels \(n,\), got"),
    (lambda X, y: ComparisonDisplay.from_predictions([], {"a": []}), ValueError, r"y_true must hold labels \(n,\)"),
    (lambda X, y: ComparisonDisplay.from_predictions(y, {"a": y == "bag"}), ValueError,
     "y_pred must hold labels as y_true has them"),
    (lambda X, y: EmbeddingDisplay.from_images(None, y), TypeError, "X must hold images, got X=None"),
])
def test_wrong_arguments_are_named(draw, error, message, data):
    X, y = data
    with pytest.raises(error, match=message):
        draw(X, np.where(y == y[0], "bag", "coat"))
