"""The pictures of results show what they say."""
import re

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression, RidgeClassifier

from fmnist_sk import (
    ClassAccuracyDisplay,
    ComparisonDisplay,
    ConfusionDisplay,
    MistakesDisplay,
    ReliabilityDisplay,
)

pytestmark = pytest.mark.usefixtures("no_window")


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


def test_reliability_has_a_bar_for_each_bin():
    confidence = np.repeat([0.9, 1.0], 10)
    display = ReliabilityDisplay.from_predictions(np.zeros(20), np.c_[confidence, 1 - confidence], classes=[0, 1],
                                                  n_bins=10)
    bars = display.ax_[1].patches
    np.testing.assert_allclose([bar.get_x() + bar.get_width() / 2 for bar in bars], [0.85, 0.95])
    assert [bar.get_height() for bar in bars] == [0.5, 0.5]


def test_reliability_of_few_images_is_drawn_faintly():
    confidence = np.repeat([0.55, 0.95], [9, 10])
    display = ReliabilityDisplay.from_predictions(np.zeros(19), np.c_[confidence, 1 - confidence], classes=[0, 1])
    drawn = {bars.get_label(): bars for bars in display.ax_[0].containers}
    assert [bars.lines[0].get_xdata().round(2).tolist() for bars in drawn.values()] == [[0.95], [0.55]]
    assert drawn["fewer than 10 images"].lines[0].get_alpha() < 0.5
    texts = [text.get_text() for text in display.ax_[0].get_legend().get_texts()]
    assert texts == ["perfectly calibrated", "this classifier", "fewer than 10 images"]


@pytest.mark.parametrize(("arguments", "options", "error", "message"), [
    (([0, 1], [[0.5, 0.5]]), {}, ValueError, r"y_proba must hold .*, got \(1, 2\) instead of \(2, 2\)"),
    *((([0, 1], value), {}, ValueError, f"y_proba must hold probabilities .*, got {got}") for value, got in (
        (None, r"\(\) instead"), ("half", "y_proba='half': could not convert"), ([["a", "b"]] * 2, "y_proba="),
        ([[0.5], [0.5, 0.5]], "y_proba=.*inhomogeneous"), ({0: 1}, "y_proba={0: 1}"))),
    (([0, 1], [[0.5, 0.5, 0]] * 2), {}, ValueError, r"y_proba must hold .*, got \(2, 3\) instead of \(2, 2\)"),
    (([0, 1], [[1.5, -0.5]] * 2), {}, ValueError, "got numbers >= -0.5 with the sum 1"),
    (([0, 5], [[0.5, 0.5]] * 2), {"classes": [0, 1]}, ValueError, r"y_true must hold labels of \[0, 1\], got \[5\]"),
    (([0, 1], [[0.5, 0.5]] * 2), {"n_bins": 1}, ValueError, "n_bins must be a whole number >= 2, got n_bins=1"),
])
def test_reliability_names_what_is_wrong(arguments, options, error, message):
    with pytest.raises(error, match=message):
        ReliabilityDisplay.from_predictions(*arguments, **options)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_probabilities_may_be_a_tensor_that_needs_gradients(dtype):
    proba = torch.tensor([[0.75, 0.25], [0.25, 0.75]], dtype=dtype, requires_grad=True)
    display = ReliabilityDisplay.from_predictions(torch.tensor([0.0, 1.0], requires_grad=True), proba)
    assert display.confidence.tolist() == [0.75]


def test_classifiers_without_probabilities_are_refused_where_they_are_needed(named_images):
    X, y = named_images
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


def test_confusions_are_shown_most_frequent_first():
    X = np.arange(12, dtype=np.uint8)[:, None, None] * np.ones((12, 4, 4), np.uint8)
    y_true = np.array(["a"] * 6 + ["b"] * 6)
    y_pred = np.array(["a", "b", "c", "c", "c", "a"] + ["b"] * 4 + ["a"] * 2)
    display = ConfusionDisplay.from_predictions(y_true, y_pred, X, n_confusions=2, n_images=2)
    assert display.matrix.tolist() == [[2, 1, 3], [2, 4, 0], [0, 0, 0]]
    assert [tuple(confusion)[:3] for confusion in display.confusions] == [(0, 2, 3), (1, 0, 2)]
    np.testing.assert_allclose(display.confusions[0].pictures[:, 0, 0] * 255, [2, 3])
    assert [axes[0].get_ylabel() for axes in display.image_axes_] == ["a\npredicted as\nc\n3 (50.0%)",
                                                                    "b\npredicted as\na\n2 (33.3%)"]
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("predicted", "true")
    assert "50.00% of 12 images correct" in display.ax_.get_title()
    numbers = [text.get_text() for text in display.ax_.texts]
    assert numbers == ["2", "1", "3", "2", "4", "0", "0", "0", "0"]
    assert not ConfusionDisplay.from_predictions(y_true, y_true, X).confusions
    assert ConfusionDisplay.from_predictions(y_true, y_pred, X, n_confusions=0).image_axes_.size == 0


def test_confusions_have_one_gray_scale():
    X = np.arange(4.0)[:, None, None] * np.ones((4, 4, 4))
    display = ConfusionDisplay.from_predictions(["a", "a", "b", "c"], ["b", "b", "a", "a"], X)
    shown = [confusion.pictures[:, 0, 0].tolist() for confusion in display.confusions]
    assert shown == [[0, pytest.approx(1 / 3)], [pytest.approx(2 / 3)], [1]]


def test_mistakes_are_the_most_confident_ones(named_images):
    X, _ = named_images
    proba = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7], [0.05, 0.95]])
    display = MistakesDisplay.from_predictions([0, 0, 1, 0, 1], proba, X[:5], class_names=["x", "y"], n_images=2)
    assert display.rows.tolist() == [1, 3]
    assert display.confidence.tolist() == [0.8, 0.7]
    assert [axis.get_title() for axis in display.ax_.flat] == ["x", "x"]
    assert [axis.get_xlabel() for axis in display.ax_.flat] == ["y\n80%", "y\n70%"]
    np.testing.assert_allclose(display.pictures, X[[1, 3]] / np.float32(255))
    for names in (5, "ab", ["a"], {"a": 1, "b": 2}):
        with pytest.raises(ValueError, match=re.escape(f"each of the 2 images, got image_names={names!r}")):
            MistakesDisplay.from_predictions([0, 0], proba[:2], X[:2], classes=[0, 1], image_names=names)
    named = MistakesDisplay.from_predictions([0, 0], proba[:2], X[:2], classes=[0, 1],
                                             image_names=pd.Series(["a", "b"], index=[7, 8]))
    assert named.image_names == ["b"]
    none = MistakesDisplay.from_predictions([0, 1], proba[:2], X[:2])
    assert len(none.rows) == 0
    assert none.figure_.get_suptitle() == "No mistakes"
