"""skorch's callbacks and history, scikit-learn's callbacks, and the progress display."""
import importlib.util
import re
import signal
import time
import warnings

import numpy as np
import pytest
import sklearn
import skorch
import torch
from estimators import kinds_of_classifiers, small
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.fixes import parse_version
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    Freezer,
    GradientNormClipping,
    LRScheduler,
    ParamMapper,
)

from fmnist_sk import AugmentedCopies, HOGTransformer, ImageScaler, ImageStandardizer, RandomCrop
from fmnist_sk.callbacks import format_seconds

every_classifier = pytest.mark.parametrize("name", kinds_of_classifiers("InceptionV3Classifier"))


# ---------------------------------------------------------------------- skorch's

@every_classifier
def test_checkpoint_writes_the_best_epoch_and_loads_it(name, tiny_images, tmp_path):
    X, y = tiny_images()
    checkpoint = Checkpoint(dirname=tmp_path, monitor="valid_loss_best", load_best=True)
    classifier = small(name, callbacks=[checkpoint], validation_fraction=0.2, keep_best=False).fit(X, y)
    assert (tmp_path / "params.pt").exists()
    other = small(name).fit(X, y)
    other.load_params(checkpoint=checkpoint)
    np.testing.assert_array_equal(other.predict_proba(X), classifier.predict_proba(X))


@every_classifier
@pytest.mark.parametrize("use_caching", [True, False])
def test_epoch_scoring_compares_like_with_like(name, use_caching, tiny_images):
    X, y = tiny_images(["bag", "coat"])
    scores = [EpochScoring("accuracy", name="acc", lower_is_better=False, use_caching=use_caching),
              EpochScoring("accuracy", name="train", lower_is_better=False, on_train=True, use_caching=use_caching),
              EpochScoring("roc_auc", name="auc", lower_is_better=False, use_caching=use_caching),
              EpochScoring("neg_log_loss", name="nll", lower_is_better=False, use_caching=use_caching)]
    classifier = small(name, callbacks=scores, validation_data=(X[:20], y[:20]), keep_best=False).fit(X[20:], y[20:])
    row = classifier.history_[-1]
    assert row["acc"] == pytest.approx(row["valid_acc"])
    assert row["acc"] == pytest.approx(classifier.score(X[:20], y[:20]))
    assert row["train"] > 0.9
    assert 0.9 < row["auc"] <= 1
    assert row["nll"] < 0


@every_classifier
def test_lr_scheduler_changes_the_rate(name, tiny_images):
    X, y = tiny_images()
    scheduler = LRScheduler(policy=torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
    classifier = small(name, callbacks=[scheduler], max_epochs=3, schedule="constant").fit(X, y)
    np.testing.assert_allclose(classifier.history_[:, "lr"], [0.01, 0.005, 0.0025])
    batchwise = LRScheduler(policy="CyclicLR", base_lr=1e-4, max_lr=1e-2, step_every="batch", cycle_momentum=False)
    assert len(small(name, callbacks=[batchwise], max_epochs=2, schedule="constant").fit(X, y).history_) == 2


@every_classifier
def test_early_stopping_of_skorch_ends_the_fit_quietly(name, tiny_images):
    X, y = tiny_images()
    stopping = EarlyStopping(patience=2, monitor="valid_acc", lower_is_better=False, load_best=True, sink=lambda *_: 0)
    classifier = small(name, callbacks=[stopping], validation_fraction=0.3, max_epochs=200).fit(X, y)
    assert len(classifier.history_) < 200
    assert stopping.best_epoch_ >= 1                     # the instance itself, for the user to read


@every_classifier
def test_freezer_freezes(name, tiny_images):
    X, y = tiny_images()
    reference = small(name, max_epochs=1, lr=1e-9).fit(X, y)
    first = next(iter(dict(reference.module_.named_parameters())))
    frozen = small(name, max_epochs=5, callbacks=[Freezer(first)]).fit(X, y)
    before, after = (dict(net.module_.named_parameters()) for net in (reference, frozen))
    np.testing.assert_allclose(before[first].detach(), after[first].detach(), atol=1e-6)
    assert any(not torch.allclose(before[key], after[key], atol=1e-4) for key in before if key != first)


@every_classifier
def test_gradients_and_batches_reach_callbacks(name, tiny_images):
    X, y = tiny_images()
    calls = []

    class Spy(Callback):
        def on_batch_end(self, net, batch=None, training=None, loss=None, y_pred=None, **kwargs):
            calls.append(("batch", training, len(batch[1]), y_pred.shape))

        def on_grad_computed(self, net, named_parameters=None, **kwargs):
            calls.append(("gradient", len(dict(named_parameters))))

        def on_train_begin(self, net, X=None, **kwargs):
            calls.append(("begin", len(X)))

    spies = [Spy, GradientNormClipping(1.0), ParamMapper("*", fn=lambda p: p),
             BatchScoring(lambda net, X, y: 1.0, name="one")]
    classifier = small(name, callbacks=spies, max_epochs=1, validation_fraction=12).fit(X, y)
    assert calls[0] == ("begin", 60)
    assert [call for call in calls if call[0] == "batch"] == [
        ("batch", True, 32, (32, 3)), ("batch", True, 16, (16, 3)), ("batch", False, 12, (12, 3))]
    assert len([call for call in calls if call[0] == "gradient"]) == 2
    assert len(classifier.history_[-1, "batches"]) == 3
    batches = classifier.history_[-1, "batches"]
    mean = np.average([b["train_loss"] for b in batches[:2]], weights=[b["train_batch_size"] for b in batches[:2]])
    assert classifier.history_[-1, "train_loss"] == pytest.approx(mean, rel=1e-5)


def test_interrupts_in_a_callback(tiny_images):
    X, y = tiny_images()

    class Interrupt(Callback):
        def __init__(self, where):
            self.where = where

        def on_train_begin(self, net, **kwargs):
            if self.where == "begin":
                raise KeyboardInterrupt

        def on_epoch_end(self, net, **kwargs):
            if self.where == "epoch":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small("ImageClassifier", callbacks=[Interrupt("begin")]).fit(X, y)
    assert small("ImageClassifier", callbacks=[Interrupt("epoch")]).fit(X, y).n_iter_ == 1


@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_batch_end", "on_grad_computed", "on_epoch_end"])
def test_ctrl_c_within_a_callback_is_no_stop_that_the_callback_asked_for(hook, tiny_images, tmp_path, heeds_ctrl_c):
    X, y = tiny_images()

    def strike(self, net, **kwargs):
        if len(net.history) == 3:
            signal.raise_signal(signal.SIGINT)
            time.sleep(1)

    callback = type("Slow", (Callback,), {hook: strike})()
    classifier = small("ImageClassifier", callbacks=[callback], checkpoint=tmp_path, validation_fraction=0.2)
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(X, y)
    assert len(list(tmp_path.iterdir())) == 1
    assert classifier.predict(X).shape == (60,)


def test_progress_bar_of_skorch(tiny_images, capsys):
    X, y = tiny_images()
    small("ImageClassifier", max_epochs=1, callbacks=[skorch.callbacks.ProgressBar()]).fit(X, y)
    assert "0/2" in capsys.readouterr().err


def test_callbacks_can_be_named_changed_and_disabled(tiny_images, capsys):
    X, y = tiny_images()
    classifier = small("ImageClassifier", max_epochs=1, verbose=1).set_params(callbacks__print_log=None).fit(X, y)
    assert capsys.readouterr().out == ""
    assert "callbacks__epoch_timer" in classifier.get_params()
    assert small("ImageClassifier", max_epochs=1, callbacks="disable").fit(X, y).callbacks_ == []


# ---------------------------------------------------------------------- the progress display

def test_verbose_prints_a_line_an_epoch(tiny_images, capsys):
    X, y = tiny_images()
    small("ImageClassifier", max_epochs=3, verbose=1, validation_fraction=0.2).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["epoch", "train_loss", "train_acc", "valid_loss", "valid_acc", "lr", "dur", "remaining"]
    assert [line.split()[0] for line in lines[2:]] == ["1", "2", "3"]
    assert re.fullmatch(r"\d+\.\ds", lines[2].split()[-1])
    assert lines[-1].split()[-1] == "0.0s"
    small("ImageClassifier", max_epochs=1).fit(X, y)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("is_terminal", "no_color", "coloured"), [
    (True, "", True), (True, "1", False), (False, "", False)])
def test_only_terminals_get_colours(is_terminal, no_color, coloured, tiny_images, capsys, monkeypatch):
    X, y = tiny_images()
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr("sys.stdout.isatty", lambda: is_terminal)
    small("ImageClassifier", max_epochs=2, verbose=1).fit(X, y)
    assert ("\x1b[" in capsys.readouterr().out) == coloured


def test_a_sink_gets_no_colours(tiny_images, monkeypatch):
    X, y = tiny_images()
    lines = []
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    small("ImageClassifier", max_epochs=2).set_params(callbacks__print_log__sink=lines.append).fit(X, y)
    assert len(lines) == 4
    assert "\x1b[" not in "".join(lines)


def test_progress_reaches_streams_that_do_not_say_what_they_are(tiny_images, monkeypatch):
    class Stream:
        text = ""

        def write(self, text):
            self.text += text

        def flush(self):
            pass

    X, y = tiny_images()
    stream = Stream()
    monkeypatch.setattr("sys.stdout", stream)
    small("ImageClassifier", max_epochs=2, verbose=1).fit(X, y)
    assert len(stream.text.splitlines()) == 4
    assert "\x1b[" not in stream.text


def test_seconds_are_readable():
    assert [format_seconds(s) for s in (0, 3.14159, 65, 7440)] == ["0.0s", "3.1s", "1m05s", "2h04m"]


# ---------------------------------------------------------------------- scikit-learn's

def test_scikit_learn_has_callbacks_since_1_9():
    """Or the tests below are left out, and fits tell no callbacks, without a word."""
    has_callbacks = importlib.util.find_spec("sklearn.callback") is not None
    assert has_callbacks == (parse_version(sklearn.__version__) >= parse_version("1.9"))


def _estimators(X, y):
    net = small("ImageClassifier", max_epochs=3)
    pipeline = make_pipeline(ImageScaler(), small("ImageClassifier", max_epochs=3))
    return {
        "alone": (net, None),
        "in a pipeline": (pipeline, 1),
        "in a grid search over pipelines": (GridSearchCV(pipeline, {"imageclassifier__lr": [0.1, 0.01]}, cv=2), None),
    }


@pytest.mark.parametrize("case", ["alone", "in a pipeline", "in a grid search over pipelines"])
def test_progress_bar_shows_epochs(case, tiny_images, capsys):
    callback = pytest.importorskip("sklearn.callback")
    X, y = tiny_images()
    X = X.reshape(len(X), -1)
    estimator, depth = _estimators(X, y)[case]
    estimator.set_callbacks(callback.ProgressBar(max_propagation_depth=depth)).fit(X, y)
    out = capsys.readouterr().out
    assert "ImageClassifier - fit" in out
    assert "100%" in out


class Tasks:
    """A callback that meta-estimators hand on: the tasks of each fit that begin and end."""

    max_propagation_depth = None

    def __init__(self):
        self.begun, self.ended, self.open = [], [], 0

    def setup(self, estimator, context):
        self.open += 1

    def teardown(self, estimator, context):
        self.open -= 1

    def on_fit_task_begin(self, estimator, context, **_):
        self.begun.append((context.estimator_name, context.task_name))

    def on_fit_task_end(self, estimator, context, **_):
        self.ended.append((context.estimator_name, context.task_name))


@pytest.mark.parametrize("step", [ImageScaler(), ImageStandardizer(), HOGTransformer(), RandomCrop(),
                                  AugmentedCopies(random_state=0)], ids=lambda step: type(step).__name__)
def test_callbacks_are_told_of_the_fits_of_transformers(step, tiny_images):
    pytest.importorskip("sklearn.callback")
    X, y = tiny_images()
    for method in {"fit", "fit_transform", "fit_resample"} & set(dir(step)):
        tasks = Tasks()
        getattr(clone(step).set_callbacks(tasks), method)(X, y)
        assert tasks.begun == tasks.ended == [(type(step).__name__, "fit")]
        assert tasks.open == 0


@pytest.mark.parametrize("step", [ImageScaler(), ImageStandardizer(), RandomCrop(padding=1)],
                         ids=lambda step: type(step).__name__)
def test_callbacks_of_a_pipeline_reach_every_step_without_a_warning(step, tiny_images):
    callback = pytest.importorskip("sklearn.callback")
    X, y = tiny_images()
    tasks, pipeline = Tasks(), make_pipeline(step, small("ConvNetClassifier", max_epochs=2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipeline.set_callbacks(tasks, callback.ProgressBar(max_propagation_depth=None)).fit(X, y)
    assert {(type(step).__name__, "fit"), ("ConvNetClassifier", "fit"), ("Pipeline", "fit")} < set(tasks.begun)
    assert sorted(tasks.begun) == sorted(tasks.ended)


def test_a_transformer_that_fails_lets_go_of_its_callbacks(tiny_images):
    pytest.importorskip("sklearn.callback")
    tasks = Tasks()
    with pytest.raises(ValueError, match="feature_range must be two finite numbers"):
        ImageScaler(feature_range=(1, 0)).set_callbacks(tasks).fit(tiny_images()[0])
    assert tasks.open == 0


def test_every_epoch_is_a_task_and_a_callback_may_stop(tiny_images):
    pytest.importorskip("sklearn.callback")
    X, y = tiny_images()

    class Stop:
        epochs = 0

        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
            if context.task_name == "epoch":
                self.epochs += 1
                assert fitted_estimator.predict(X).shape == (60,)
                return self.epochs == 2

    stop = Stop()
    classifier = small("ImageClassifier", max_epochs=10).set_callbacks(stop).fit(X, y)
    assert stop.epochs == len(classifier.history_) == 2


def test_scoring_monitor_scores_every_epoch(tiny_images):
    X, y = tiny_images(["bag", "coat"])
    monitor = pytest.importorskip("sklearn.callback").ScoringMonitor(scoring="accuracy")
    classifier = small("ImageClassifier", max_epochs=4).set_callbacks(monitor).fit(X, y)
    epochs = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(epochs) == 4
    assert epochs[-1]["accuracy"] == classifier.score(X, y)


def test_scoring_monitor_scores_the_epoch_that_ends_the_fit(tiny_images):
    monitor = pytest.importorskip("sklearn.callback").ScoringMonitor(scoring="accuracy")
    stop = EarlyStopping(monitor="train_loss", patience=2, threshold=10, threshold_mode="abs")
    classifier = small("ImageClassifier", max_epochs=9, callbacks=[stop]).set_callbacks(monitor).fit(*tiny_images())
    assert [row["task_name"] for row in monitor.get_logs().data].count("epoch") == classifier.n_iter_ == 3


@pytest.mark.parametrize("train", ["fit", "partial_fit"])
def test_further_training_uses_new_callbacks(train, tiny_images):
    X, y = tiny_images()
    seen = []

    class Looks(Callback):
        def on_epoch_end(self, net, **kwargs):
            seen.append(len(net.history))

    classifier = small("ImageClassifier", max_epochs=1, warm_start=True).fit(X, y)
    getattr(classifier.set_params(callbacks=[Looks()]), train)(X, y)
    assert seen == [2]
