"""The pictures of a training show what the history holds and what a fit does."""
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from estimators import small
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from skorch.callbacks import Callback

from fmnist_sk import (
    AugmentedCopies,
    Exponential,
    InceptionV3Classifier,
    MultiStep,
    RandomCrop,
    ReduceOnPlateau,
    TorchSchedule,
)
from fmnist_sk.plotting import ClassHistoryDisplay, HistoryDisplay, ScheduleDisplay

DISPLAYS = {
    ScheduleDisplay: lambda classifier, **options: ScheduleDisplay.from_estimator(classifier, 60, **options),
    HistoryDisplay: HistoryDisplay.from_estimator,
    ClassHistoryDisplay: ClassHistoryDisplay.from_estimator,
}
every_display = pytest.mark.parametrize("draw", DISPLAYS.values(), ids=[display.__name__ for display in DISPLAYS])


@pytest.fixture(autouse=True)
def no_window(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("a picture was shown"))
    yield
    plt.close("all")


@pytest.fixture
def fitted(tiny_images):
    X, y = tiny_images(["bag", "coat", "shirt"])
    return small("ConvNetClassifier", max_epochs=4, validation_fraction=0.2, lr=1e-3).fit(X, y)


# ---------------------------------------------------------------------- all of them

@every_display
def test_draws_into_given_axes_or_a_new_figure(draw, fitted):
    display = draw(fitted)
    assert display.lines_
    assert len(repr(display)) < 100                 # what a notebook prints below a cell's picture
    assert all(line.axes in np.ravel(display.ax_) for line in display.lines_)
    figure, axes = plt.subplots(1, np.size(display.ax_))
    before = plt.get_fignums()
    again = draw(fitted, ax=axes)
    assert again.figure_ is figure
    assert np.ravel(again.ax_).tolist() == np.ravel(axes).tolist()
    assert plt.get_fignums() == before
    for old, new in zip(display.lines_, again.lines_, strict=True):
        np.testing.assert_array_equal(old.get_xydata(), new.get_xydata())
    assert display.plot().figure_ is not figure


@every_display
def test_refuses_what_it_cannot_draw(draw, fitted):
    with pytest.raises(TypeError, match=r"classifier must be an ImageClassifier .*, got LogisticRegression"):
        draw(LogisticRegression())
    with pytest.raises(ValueError, match=r"ax must be .* of matplotlib, got ax="):
        draw(fitted, ax=plt.subplots(1, 4)[1])
    with pytest.raises(ValueError, match=r"ax must be .* of matplotlib, got ax='here'"):
        draw(fitted, ax="here")


@every_display
def test_without_matplotlib_the_error_names_the_extra(draw, fitted, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'fmnist_sk\[plot\]'"):
        draw(fitted)


@pytest.mark.parametrize("display", [HistoryDisplay, ClassHistoryDisplay])
def test_a_history_needs_a_fit(display):
    with pytest.raises(NotFittedError):
        display.from_estimator(small("ConvNetClassifier"))
    with pytest.raises(ValueError, match="classifier must have been fitted for at least one epoch to have a history"):
        display.from_estimator(small("ConvNetClassifier").initialize())


# ---------------------------------------------------------------------- learning rate

@pytest.mark.parametrize("params", [
    {"schedule": "constant"},
    {"schedule": "cosine"},
    {"schedule": "one_cycle", "batch_size": 59},              # the last batch would be a single image
    {"schedule": "one_cycle", "validation_fraction": 0.25},
    {"schedule": "cosine", "validation_fraction": 28},
    {"schedule": MultiStep((1, 2), factor=0.5)},
    {"schedule": Exponential(0.9, every=3, per="batch"), "augment": [RandomCrop(), AugmentedCopies(0.5)]},
    {"schedule": ReduceOnPlateau("train_loss", patience=0, threshold=0.99, factor=0.5)},
], ids=str)
def test_schedule_is_the_one_of_a_fit(params, tiny_images):
    X, y = tiny_images()
    classifier = small("ConvNetClassifier", **{"max_epochs": 4, "batch_size": 8, **params}).fit(X, y)
    history = classifier.history_
    display = ScheduleDisplay.from_estimator(classifier, len(X), rows=history)
    steps = history[-1, "train_batch_count"]
    epochs, lr = display.lines_[0].get_xydata().T
    np.testing.assert_allclose(epochs, np.arange(4 * steps) / steps)
    np.testing.assert_allclose(lr[steps - 1::steps], history[:, "lr"])


def test_schedule_needs_no_fit_and_does_none():
    classifier = small("ConvNetClassifier", lr=0.3, max_epochs=3, schedule="reduce_on_plateau", validation_fraction=0.1)
    display = ScheduleDisplay.from_estimator(classifier, 100)
    assert set(display.lr) == {0.3}                                 # without scores no plateau is seen
    assert not classifier.initialized_
    assert not hasattr(classifier, "classes_")


def test_schedule_of_two_phases_begins_anew_in_the_second():
    classifier = InceptionV3Classifier(max_epochs=5, frozen_epochs=2, lr=1.0, fine_tune_lr=0.1, batch_size=10,
                                       schedule=MultiStep((1,), factor=0.5))
    lr = ScheduleDisplay.from_estimator(classifier, 10).lr
    np.testing.assert_allclose(lr, [1.0, 0.5, 0.1, 0.05, 0.05])
    lr = ScheduleDisplay.from_estimator(classifier.set_params(weights=None), 10).lr
    np.testing.assert_allclose(lr, [1.0, 0.5, 0.5, 0.5, 0.5])


@pytest.mark.parametrize(("arguments", "options", "params", "error", "message"), [
    *(((value,), {}, {}, ValueError, f"n_samples must be a whole number >= 1, got n_samples={value}")
      for value in (10.5, 0, True)),
    ((20,), {}, {"validation_fraction": 20}, ValueError, "n_samples=20 with validation_fraction=20"),
    ((20,), {"rows": 3}, {}, TypeError, "rows must be dicts, one for each epoch, .* got rows=3"),
    ((20,), {"rows": [1]}, {}, TypeError, r"rows must be dicts, .* got rows=\[1\]"),
    ((20,), {}, {"schedule": "cosin"}, TypeError, "schedule must be one of"),
    ((20,), {}, {"max_epochs": 0}, ValueError, "'max_epochs' parameter"),
])
def test_schedule_names_what_is_wrong(arguments, options, params, error, message):
    with pytest.raises(error, match=message):
        ScheduleDisplay.from_estimator(small("ConvNetClassifier", **params), *arguments, **options)


def test_schedule_of_pytorch_that_follows_a_score_needs_the_rows():
    from torch.optim.lr_scheduler import ReduceLROnPlateau
    classifier = small("ConvNetClassifier", max_epochs=3, validation_fraction=0.1,
                       schedule=TorchSchedule(ReduceLROnPlateau, {"patience": 0}))
    with pytest.raises(ValueError, match=r"monitor must be a score in the history of every epoch"):
        ScheduleDisplay.from_estimator(classifier, 10)
    rows = [{"valid_loss": 1.0}, {"valid_loss": 2.0}]
    lr = ScheduleDisplay.from_estimator(classifier, 10, rows=rows).lr
    np.testing.assert_allclose(lr, [0.01, 0.01, 0.001])


# ---------------------------------------------------------------------- history

def test_history_shows_both_parts_and_the_best_epoch(fitted):
    display = HistoryDisplay.from_estimator(fitted)
    names = "train_loss", "valid_loss", "train_acc", "valid_acc", "lr"
    for line, name in zip(display.lines_, names, strict=True):
        np.testing.assert_array_equal(line.get_xydata(), np.array(fitted.history_[:, ("epoch", name)]))
    parts = display.lines_[:2], display.lines_[2:4], display.lines_[4:]
    labels = ["training", "validation"], ["training", "validation"], ["at the end of the epoch"]
    for axis, lines, expected in zip(display.ax_, parts, labels, strict=True):
        assert {line.axes for line in lines} == {axis}
        mark, = (line for line in axis.get_lines() if line not in lines)
        assert set(mark.get_xdata()) == {fitted.best_epoch_}
        texts = [text.get_text() for text in axis.get_legend().get_texts()]
        assert texts == [*expected, f"best epoch: {fitted.best_epoch_}"]


def test_history_of_training_alone(tiny_images):
    X, y = tiny_images()
    display = HistoryDisplay.from_estimator(small("ConvNetClassifier", max_epochs=2, augment="light").fit(X, y))
    assert [line.get_label() for line in display.lines_[:2]] == ["training (augmented)"] * 2
    assert [len(axis.get_lines()) for axis in display.ax_] == [1, 1, 1]


def test_history_of_a_fit_that_broke_off(tiny_images):
    class Fails(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) == 3:
                raise RuntimeError("power cut")

    X, y = tiny_images()
    classifier = small("ConvNetClassifier", callbacks=[Fails()], validation_fraction=0.2)
    with pytest.raises(RuntimeError, match="power cut"):
        classifier.fit(X, y)
    assert HistoryDisplay.from_estimator(classifier).epochs.tolist() == [1, 2]
    assert ClassHistoryDisplay.from_estimator(classifier).epochs.tolist() == [1, 2]


# ---------------------------------------------------------------------- classes

def test_each_class_has_a_line(fitted):
    accuracy = np.random.default_rng(0).random((4, 3))
    for row, values in zip(fitted.history_, accuracy.tolist(), strict=True):
        row.update({f"valid_class_acc_{code}": value for code, value in enumerate(values)})
    display = ClassHistoryDisplay.from_estimator(fitted)
    assert [line.get_label() for line in display.lines_] == ["bag", "coat", "shirt"]
    for code, line in enumerate(display.lines_):
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4])
        np.testing.assert_array_equal(line.get_ydata(), accuracy[:, code])
    named = ClassHistoryDisplay.from_estimator(fitted, class_names=("Tasche", "Mantel", "Hemd"))
    assert [text.get_text() for text in named.ax_.get_legend().get_texts()] == ["Tasche", "Mantel", "Hemd"]


def test_classes_need_validation_images_and_as_many_names(fitted, tiny_images):
    with pytest.raises(ValueError, match=r"class_names must be in the order of the classes, which are \["):
        ClassHistoryDisplay.from_estimator(fitted, class_names=["coat", "bag", "shirt"])
    with pytest.raises(ValueError, match="class_names must be in the order of the classes"):
        ClassHistoryDisplay.from_estimator(fitted, class_names=["coat", "other", "shirt"])
    with pytest.raises(ValueError, match=r"class_names must name each of the 3 classes, got class_names=\['a'\]"):
        ClassHistoryDisplay.from_estimator(fitted, class_names=["a"])
    X, y = tiny_images()
    with pytest.raises(ValueError, match="classifier must have been fitted with validation images"):
        ClassHistoryDisplay.from_estimator(small("ConvNetClassifier", max_epochs=1).fit(X, y))


def test_a_single_epoch_stands_in_the_middle(tiny_images):
    X, y = tiny_images()
    display = HistoryDisplay.from_estimator(small("ConvNetClassifier", max_epochs=1, validation_fraction=0.3).fit(X, y))
    for axis in display.ax_:
        np.testing.assert_allclose(axis.get_xlim(), (0, 2), atol=1e-6)
        assert all(tick == round(tick) for tick in axis.get_xticks())
    low, high = display.ax_[0].get_ylim()
    for line in display.ax_[0].lines[:2]:
        assert low < line.get_ydata()[0] < high
