"""Searches: halving that goes on, finished fits that are kept, candidates side by side."""
import importlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import ClassVar

import joblib
import numpy as np
import pytest
import torch
from estimators import small
from interrupted import Counting
from sklearn.base import clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV
from sklearn.pipeline import make_pipeline
from skorch.callbacks import Callback, EarlyStopping, GradientNormClipping

from fmnist_sk import ConvNetClassifier, ImageClassifier, ImageScaler, ResNetClassifier, ScheduleDisplay, SharedImages

TESTS = Path(__file__).parent


class StopInBatch(Callback):
    def on_batch_end(self, net, training=False, **kwargs):
        if len(net.history) == 2:
            raise KeyboardInterrupt                             # as skorch's callbacks end a fit


@pytest.fixture
def net(tmp_path):
    Counting.epochs = 0
    return Counting(architecture="4C3-MP2-8N", lr=0.01, batch_size=20, schedule="one_cycle", schedule_epochs=9,
                    checkpoint=tmp_path / "fits", keep_checkpoint=True, random_state=0)


def same(first, second, X):
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    names = "train_loss", "lr"
    assert first.history_[:, names] == second.history_[:, names]
    assert getattr(first, "best_epoch_", None) == getattr(second, "best_epoch_", None)


# ---------------------------------------------------------------------- a fit that is a part of a longer plan

@pytest.mark.parametrize("params", [
    {}, {"ema": 0.9, "dropout": 0.2}, {"swa": 0.3, "schedule": "constant"}, {"validation_fraction": 0.2},
    {"validation_fraction": 0.2, "schedule": "reduce_on_plateau"}, {"checkpoint_every": 2},
], ids=str)
def test_longer_fits_go_on_from_shorter_ones(params, net, tiny_images, tmp_path):
    X, y = tiny_images()
    net.set_params(**params)
    whole = clone(net).set_params(max_epochs=9, checkpoint=tmp_path / "other").fit(X, y)
    assert Counting.epochs == 9
    short = clone(net).set_params(max_epochs=3).fit(X, y)
    assert short.n_iter_ == 3
    assert [row["lr"] for row in short.history_] == [row["lr"] for row in whole.history_[:3]]
    same(clone(net).set_params(max_epochs=9).fit(X, y), whole, X)
    assert Counting.epochs == 9 + 3 + 6
    same(clone(net).set_params(max_epochs=3).fit(X, y), short, X)           # not overwritten by the longer one
    same(clone(net).set_params(max_epochs=9).fit(X, y), whole, X)
    assert Counting.epochs == 18
    assert len(list((tmp_path / "fits").iterdir())) == 2


def test_both_phases_of_transfer_learning_go_on(tmp_path, tiny_images):
    X, y = tiny_images()
    net = small("InceptionV3Classifier", frozen_epochs=2, schedule_epochs=4, checkpoint=tmp_path / "a",
                keep_checkpoint=True)
    whole = clone(net).set_params(max_epochs=4, checkpoint=tmp_path / "b").fit(X, y)
    for n in (1, 2, 3):
        assert clone(net).set_params(max_epochs=n).fit(X, y).n_iter_ == n
    same(clone(net).set_params(max_epochs=4).fit(X, y), whole, X)


def test_other_data_and_settings_train_anew(net, tiny_images):
    X, y = tiny_images()
    net.set_params(max_epochs=1).fit(X, y)
    for other in (clone(net).set_params(lr=0.02), clone(net).set_params(schedule_epochs=8)):
        other.fit(X, y)
    clone(net).fit(X[1:], y[1:])
    assert Counting.epochs == 4


@pytest.mark.parametrize(("params", "n_epochs"), [
    ({"lr": np.float64(0.01), "weight_decay": np.float32(1e-3), "batch_size": np.int64(20)}, 9),
    ({"callbacks": [EarlyStopping(monitor="train_loss", patience=2, threshold=0.9)]}, 3),
    ({"callbacks": [EarlyStopping(monitor="train_loss", patience=2, threshold=0.9)], "validation_fraction": 0.2}, 3),
    ({"callbacks": [("stop", StopInBatch())], "ema": 0.9}, 2),
    ({"early_stopping": True, "patience": 2, "validation_fraction": 0.2, "checkpoint_every": 5, "lr": 1e-9}, 3),
], ids=["numbers of NumPy", "stopped by a callback", "callback, validation", "stopped in a batch", "early stopping"])
@pytest.mark.parametrize("schedule_epochs", [None, 9])
def test_complete_fits_are_read(params, n_epochs, schedule_epochs, net, tiny_images, recwarn):
    X, y = tiny_images()
    net.set_params(max_epochs=9, schedule_epochs=schedule_epochs, **params)
    first = clone(net).fit(X, y)
    assert Counting.epochs == n_epochs
    for _ in range(2):
        same(clone(net).fit(X, y), first, X)
    assert Counting.epochs == n_epochs
    assert not [warning for warning in recwarn if "checkpoint" in str(warning.message)]


def test_what_makes_another_fit(net, tiny_images, tmp_path):
    X, y = tiny_images()
    net.set_params(max_epochs=1)
    given = [(clone(net).set_params(callbacks=[GradientNormClipping(value)]), X) for value in (0.1, 0.2)]
    given += [(clone(net).set_params(validation_data=(SharedImages(part), y)), X) for part in (X, X[::-1])]
    given += [(clone(net), X), (clone(net), X.reshape(-1, 4, 16))]
    for estimator, images in given * 2:
        estimator.fit(images, y)
    assert Counting.epochs == len(given)
    (tmp_path / "fits" / f"{next((tmp_path / 'fits').iterdir()).stem} copy.safetensors").write_text("by hand")
    for estimator, images in given:
        estimator.fit(images, y)
    assert Counting.epochs == len(given)


def test_other_code_of_a_network_makes_another_fit(tmp_path, tiny_images, monkeypatch):
    X, y = tiny_images()
    for i, activation in enumerate(("relu", "sigmoid", "relu")):
        (tmp_path / str(i)).mkdir()
        (tmp_path / str(i) / "mine.py").write_text(textwrap.dedent(f"""
            from torch import nn

            class Block(nn.Linear):
                def forward(self, x):
                    return super().forward(x).{activation}()

            class Net(nn.Sequential):
                def __init__(self, in_channels, n_classes):
                    super().__init__(nn.Flatten(), Block(64, 8), nn.Linear(8, n_classes))
            """))
        monkeypatch.syspath_prepend(str(tmp_path / str(i)))
        monkeypatch.delitem(sys.modules, "mine", raising=False)
        module = importlib.import_module("mine")
        ImageClassifier(module=module.Net, max_epochs=1, checkpoint=tmp_path / "fits", keep_checkpoint=True,
                        random_state=0).fit(X, y)
    assert len(list((tmp_path / "fits").iterdir())) == 2


def test_the_picture_of_the_schedule_ends_with_the_fit(tmp_path):
    whole = ResNetClassifier(max_epochs=6, batch_size=100)
    part = ResNetClassifier(max_epochs=2, schedule_epochs=6, batch_size=100)
    found = [ScheduleDisplay.from_estimator(net, 1000).lr for net in (part, whole)]
    np.testing.assert_array_equal(found[0], found[1][:20])


@pytest.mark.parametrize(("params", "message"), [
    ({"schedule_epochs": 2, "max_epochs": 3}, "schedule_epochs must be at least max_epochs=3, got schedule_epochs=2"),
    ({"schedule_epochs": 0}, "'schedule_epochs' parameter"),
    ({"keep_checkpoint": True}, "keep_checkpoint=True needs a folder to keep files in, got checkpoint=None"),
    ({"keep_checkpoint": True, "checkpoint": "fits", "random_state": None}, "keep_checkpoint=True needs a seed"),
])
def test_settings_that_do_not_fit(params, message, tiny_images):
    with pytest.raises(ValueError, match=message):
        small("ConvNetClassifier", **params).fit(*tiny_images())


# ---------------------------------------------------------------------- searches

def halving(net, resource="max_epochs", **params):
    prefix = resource.removesuffix("max_epochs")
    return HalvingGridSearchCV(net, {f"{prefix}lr": [0.003, 0.01, 0.03]}, resource=resource, max_resources=9,
                               min_resources=3, factor=3, cv=2, random_state=0, **params)


@pytest.mark.parametrize("in_pipeline", [False, True])
def test_halving_goes_on_with_its_candidates(in_pipeline, net, tiny_images):
    X, y = tiny_images()
    X = X.reshape(len(X), -1)
    resource = "counting__max_epochs" if in_pipeline else "max_epochs"
    estimator = make_pipeline(ImageScaler(), net) if in_pipeline else net
    found = halving(estimator, resource).fit(X, y)
    assert Counting.epochs == 2 * (3 * 3 + 1 * 6) + 9                   # candidates of two splits, and the refit
    Counting.epochs = 0
    anew = halving(clone(estimator).set_params(**{resource.replace("max_epochs", name): value for name, value in {
        "keep_checkpoint": False, "checkpoint": None}.items()}), resource).fit(X, y)
    assert Counting.epochs == 2 * (3 * 3 + 1 * 9) + 9
    np.testing.assert_array_equal(found.cv_results_["mean_test_score"], anew.cv_results_["mean_test_score"])
    assert found.best_params_ == anew.best_params_
    Counting.epochs = 0
    again = halving(clone(estimator), resource).fit(X, y)
    assert Counting.epochs == 0
    np.testing.assert_array_equal(again.predict_proba(X), anew.predict_proba(X))


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
import conftest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from fmnist_sk import ConvNetClassifier

class Telling(ConvNetClassifier):
    def run_single_epoch(self, iterator, training, *args, **kwargs):
        if training:
            print("epoch", flush=True)
        return super().run_single_epoch(iterator, training, *args, **kwargs)

X, y = conftest.make_images(n=200)
net = Telling(architecture="8C3-MP2-8N", batch_size=10, max_epochs=4, checkpoint=sys.argv[1], keep_checkpoint=True,
              random_state=0)
search = GridSearchCV(net, {{"lr": [0.001, 0.003, 0.01, 0.03]}}, cv=2).fit(X, y)
print(search.cv_results_["mean_test_score"].tolist(), search.predict_proba(X).tobytes().hex(), flush=True)
"""


def test_a_killed_search_repeats_no_finished_fit(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT).format(tests=str(TESTS)))

    def start(folder):
        return subprocess.Popen([sys.executable, script, tmp_path / folder], stdout=subprocess.PIPE, text=True)

    expected = start("never").communicate()[0].splitlines()
    assert expected[:-1] == ["epoch"] * 36                                   # 8 fits and the refit, of 4 epochs
    process = start("killed")
    for _ in range(13):
        assert process.stdout.readline() == "epoch\n"
    process.send_signal(signal.SIGKILL)
    n_before = 13 + len(process.communicate()[0].splitlines())
    *again, outcome = start("killed").communicate()[0].splitlines()
    assert outcome == expected[-1]
    assert 0 <= n_before + len(again) - 36 <= 1                             # the epoch in which it was killed
    assert start("killed").communicate()[0].splitlines() == expected[-1:]


# ---------------------------------------------------------------------- candidates side by side

class Threads(ConvNetClassifier):
    """Remembers how many threads PyTorch had in its steps."""

    seen: ClassVar = set()

    def train_step(self, batch, **kwargs):
        Threads.seen.add(torch.get_num_threads())
        return super().train_step(batch, **kwargs)


@pytest.mark.parametrize("in_pipeline", [False, True])
def test_threads_give_the_same_as_serial(in_pipeline, tiny_images):
    X, y = tiny_images(n=120)
    net = small("ResNetClassifier", max_epochs=2, n_threads=1, dropout=0.3, augment="strong")
    model, name = (make_pipeline(ImageScaler(), net), "resnetclassifier__lr") if in_pipeline else (net, "lr")
    search = GridSearchCV(model, {name: [1e-3, 3e-3, 1e-2]}, cv=2)
    serial = clone(search).fit(X.reshape(120, -1), y)
    with joblib.parallel_config("threading", n_jobs=3):
        parallel = clone(search).fit(X.reshape(120, -1), y)
    for column in ("split0_test_score", "split1_test_score"):
        np.testing.assert_array_equal(parallel.cv_results_[column], serial.cv_results_[column])
    np.testing.assert_array_equal(parallel.predict_proba(X.reshape(120, -1)), serial.predict_proba(X.reshape(120, -1)))


def test_threads_of_pytorch_are_set_inside_the_worker(tiny_images):
    X, y = tiny_images()
    before = torch.get_num_threads()
    net = Threads(architecture="4C3-MP2-8N", max_epochs=1, n_threads=2)
    Threads.seen.clear()
    with joblib.parallel_config("threading", n_jobs=2):
        GridSearchCV(net, {"lr": [1e-3, 1e-2]}, cv=2).fit(X, y)
    assert Threads.seen == {2}
    assert torch.get_num_threads() == before
    Threads.seen.clear()
    net.set_params(n_threads=None).fit(X, y)
    assert Threads.seen == {before}


def test_threads_of_pytorch_come_back_however_fits_overlap(tiny_images):
    X, y = tiny_images()
    inside, leave, before = threading.Event(), threading.Event(), torch.get_num_threads()

    class Waiting(ConvNetClassifier):
        def train_step(self, batch, **kwargs):
            inside.set()
            leave.wait(20)
            return super().train_step(batch, **kwargs)

    other = threading.Thread(target=Waiting(architecture="4C3-8N", max_epochs=1, n_threads=before + 1).fit, args=(X, y))
    other.start()
    inside.wait(20)
    net = ConvNetClassifier(architecture="4C3-8N", max_epochs=1, n_threads=before + 1).fit(X, y)
    leave.set()
    other.join()
    net.set_params(n_threads=None).predict(X)
    assert torch.get_num_threads() == before


def test_processes_of_joblib_share_the_cores():
    environment = {**os.environ}
    environment.pop("OMP_NUM_THREADS")
    code = """
import joblib, os
def threads(_):
    import fmnist_sk, torch
    return torch.get_num_threads()
print(max(joblib.Parallel(2)(joblib.delayed(threads)(i) for i in range(2))) <= max(1, os.cpu_count() // 2))
"""
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert out.stdout == "True\n"
