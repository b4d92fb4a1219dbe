"""What save() writes, load() reads: the same predictions, and nothing that was not asked for."""
import importlib
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
import warnings

import numpy as np
import pytest
import torch
from estimators import CLASSIFIERS, PatchNet, small
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import RobustScaler
from torch import nn

from fmnist_sk import (
    Cosine,
    CutMix,
    Exponential,
    FocalLoss,
    ImageClassifier,
    ImageScaler,
    RandomCrop,
    TorchSchedule,
    load,
    save,
)


class Net(nn.Sequential):
    """A user's own network, with a lazy layer and a buffer that is not saved."""

    def __init__(self, in_channels, n_classes, hidden=8):
        super().__init__(nn.Flatten(), nn.LazyLinear(hidden), nn.BatchNorm1d(hidden), nn.ReLU(),
                         nn.Linear(hidden, n_classes))
        self.register_buffer("scale", torch.tensor(2.0), persistent=False)

    def forward(self, x):
        return super().forward(x) * self.scale


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def again(estimator, path, **options):
    """Saved, with nothing else left beside the file, and loaded."""
    assert save(estimator, path) == path
    assert os.listdir(path.parent) == [path.name]
    return load(path, **options)


# ---------------------------------------------------------------------- classifiers

@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_classifier_comes_back(name, path, tiny_images):
    X, y = tiny_images(["bag", "coat", "shirt"])
    model = small(name, max_epochs=1, validation_fraction=0.2).fit(X, y)
    loaded = again(model, path, trusted=[PatchNet])
    assert type(loaded) is type(model)
    assert repr(loaded) == repr(model)
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    for attribute in ("classes_", "image_shape_", "value_range_", "n_iter_", "best_epoch_", "n_features_in_"):
        np.testing.assert_array_equal(getattr(loaded, attribute), getattr(model, attribute))
    assert [row["valid_acc"] for row in loaded.history_] == [row["valid_acc"] for row in model.history_]


@pytest.mark.parametrize("params", [
    {"augment": make_pipeline(RandomCrop(padding=1, exclude=["bag"]), CutMix(p=0.5))},
    {"augment": [RandomCrop(padding=1), CutMix(alpha=0.3)], "schedule": Cosine(warmup=0.2)},
    {"criterion": FocalLoss(gamma=1.5, alpha=[1, 2, 3])},
    {"architecture": "6W3-MP2-16N"},
    {"criterion": "sigmoid", "class_weight": {"bag": 2.0, "coat": 1}, "tta": ("mirror", "shift")},
    {"optimizer": torch.optim.NAdam, "schedule": TorchSchedule(torch.optim.lr_scheduler.StepLR, {"step_size": 1})},
    {"schedule": Exponential(0.9, every=3, per="batch"), "ema": 0.9, "image_shape": (8, 8)},
    {"optimizer__betas": (0.8, 0.9), "criterion": nn.CrossEntropyLoss, "criterion__label_smoothing": 0.1},
    {"standardize": False, "random_state": None, "device": "cpu"},
], ids=str)
def test_settings_come_back(params, path, tiny_images):
    X, y = tiny_images(["bag", "coat", "shirt"])
    model = small("ConvNetClassifier", max_epochs=1).set_params(**params).fit(X, y)
    loaded = again(model, path)
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    settings, expected = (net.get_params() for net in (loaded.set_params(device=model.device), model))
    assert {name: repr(value) for name, value in settings.items() if not name.startswith("callbacks__")} == {
        name: repr(value) for name, value in expected.items() if not name.startswith("callbacks__")}
    clone(loaded).fit(X, y)


@pytest.mark.parametrize("labels", [
    [3, 7, 9], ["a", "b", "ü"], [False, True], [1.0, 2.0], np.array(["x", "yy"], dtype=object), [-1, 1],
], ids=str)
def test_labels_come_back(labels, path, tiny_images):
    X, y = tiny_images(labels)
    model = small("ConvNetClassifier", max_epochs=1).fit(X, y)
    loaded = again(model, path)
    assert loaded.classes_.dtype == model.classes_.dtype
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


def test_names_of_features_come_back(path, tiny_images):
    import pandas as pd
    X, y = tiny_images()
    X = pd.DataFrame(X.reshape(len(X), -1)).add_prefix("pixel")
    loaded = again(small("ConvNetClassifier", max_epochs=1).fit(X, y), path)
    assert list(loaded.feature_names_in_) == list(X.columns)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded.predict(X)


def test_loaded_models_train_on(path, tiny_images):
    X, y = tiny_images()
    model = small("ResNetClassifier", max_epochs=2, warm_start=True).fit(X, y)
    loaded = again(model, path)
    assert "optimizer_" not in vars(loaded)
    loaded.set_params(lr=1e-4, weight_decay=0.25)
    before = loaded.predict_proba(X)
    loaded.fit(X, y)
    assert loaded.n_iter_ == 4
    assert loaded.optimizer_.param_groups[0]["weight_decay"] == 0.25
    assert not np.array_equal(loaded.predict_proba(X), before)
    np.testing.assert_array_equal(load(path).predict_proba(X), model.predict_proba(X))
    assert load(path).partial_fit(X, y).n_iter_ == 3
    copied = pickle.loads(pickle.dumps(load(path)))
    np.testing.assert_array_equal(copied.predict_proba(X), before)


def test_loading_draws_no_random_numbers(path, tiny_images):
    X, y = tiny_images()
    save(small("ResNetClassifier", max_epochs=1).fit(X, y), path)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    load(path)
    assert torch.equal(torch.get_rng_state(), state)


def test_transfer_learning_loads_without_its_checkpoint(path, tiny_images, tmp_path):
    X, y = tiny_images()
    model = small("InceptionV3Classifier", max_epochs=1).fit(X, y)
    checkpoint = tmp_path / "checkpoint.pth"
    torch.save(model.module_.network.base.state_dict(), checkpoint)
    model = small("InceptionV3Classifier", weights=str(checkpoint), max_epochs=2, frozen_epochs=1).fit(X, y)
    checkpoint.unlink()
    loaded = again(model, path)
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert loaded.weights == str(checkpoint)
    loaded.partial_fit(X, y)


def test_own_networks_need_trust(path, tiny_images):
    X, y = tiny_images()
    model = ImageClassifier(module=Net, max_epochs=1, random_state=0).set_params(module__hidden=6).fit(X, y)
    with pytest.warns(UserWarning, match=r"only with trusted=\[test_persistence.Net\]"):
        loaded = again(model, path, trusted=[Net])
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    with pytest.raises(ValueError, match=r"it needs the class 'test_persistence.Net', .* pass the class itself"):
        load(path)
    with pytest.raises(TypeError, match=r"trusted must hold classes or functions, such as .*, got \['Net'\]"):
        load(path, trusted=["Net"])


def test_a_trusted_class_may_have_moved(path, tiny_images, monkeypatch):
    """Such as from a script, where its module is __main__, to a module."""
    X, y = tiny_images()
    model = ImageClassifier(module=Net, max_epochs=1, random_state=0).fit(X, y)
    monkeypatch.setattr(Net, "__module__", "__main__")
    with pytest.warns(UserWarning, match=r"only with trusted=\[__main__.Net\]"):
        save(model, path)
    monkeypatch.undo()
    np.testing.assert_array_equal(load(path, trusted=[Net]).predict_proba(X), model.predict_proba(X))
    two = type("Net", (Net,), {"__module__": "elsewhere"})
    two.__qualname__ = "Net"
    with pytest.raises(ValueError, match=r"it needs the class '__main__\.Net'"):
        load(path, trusted=[Net, two])


@pytest.mark.parametrize("params", [
    {}, {"early_stopping": True}, {"schedule": "reduce_on_plateau"}, {"keep_checkpoint": True, "random_state": 0},
], ids=str)
def test_what_belongs_to_the_training_is_not_saved(params, path, tiny_images, tmp_path):
    from skorch.callbacks import EpochScoring
    X, y = tiny_images()
    model = small("ConvNetClassifier", max_epochs=1, validation_data=(X, y), checkpoint=tmp_path / "c",
                  callbacks=[EpochScoring("accuracy")], **params).fit(X, y)
    with pytest.warns(UserWarning, match="validation_data and callbacks of ConvNetClassifier are not saved"):
        save(model, path)
    loaded = load(path)
    assert loaded.validation_data is loaded.callbacks is loaded.checkpoint is None
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


def test_a_random_state_that_is_an_object_is_not_saved(path, tiny_images):
    X, y = tiny_images()
    net = small("ConvNetClassifier", max_epochs=1).set_params(random_state=np.random.RandomState(0)).fit(X, y)
    forest = RandomForestClassifier(2, random_state=np.random.RandomState(0))
    for model in (net, make_pipeline(ImageScaler(), forest).fit(X.reshape(len(X), -1), y)):
        last = model if model is net else model[-1]
        with pytest.warns(UserWarning, match=f"random_state of {type(last).__name__} is not saved"):
            loaded = again(model, path)
        assert (loaded if model is net else loaded[-1]).random_state is None
        flat = X.reshape(len(X), -1)
        np.testing.assert_array_equal(loaded.predict_proba(flat), model.predict_proba(flat))


def test_labels_that_have_no_form_are_named(path, tiny_images):
    X, y = tiny_images()
    dates = np.array(["2026-01-01", "2026-01-02", "2026-01-03"], dtype="M8[D]")[y]
    net = small("ConvNetClassifier", max_epochs=1).fit(X, dates)
    for model in (net, VotingClassifier([("net", FrozenEstimator(net))]).fit(X.reshape(len(X), -1), dates)):
        with pytest.raises(ValueError, match=r"y must have held strings, bools or numbers .* got datetime64\[D\]"):
            save(model, path)


def test_what_could_not_be_loaded_is_not_saved(path, tiny_images):
    model = small("ConvNetClassifier", max_epochs=1).fit(*tiny_images()).set_params(lr=-1.0)
    with pytest.raises(ValueError, match=r"'lr' parameter of ConvNetClassifier must be .* Got -1.0"):
        save(model, path)
    assert not path.exists()


def test_refuses_what_has_no_form_and_leaves_the_old_file(path, tiny_images):
    X, y = tiny_images()
    path.write_bytes(b"old")
    model = ImageClassifier(module=Net(1, 3), max_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match=r"module must be a class to be saved, .* got an instance of Net"):
        save(model, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == [path.name]


def test_needs_a_fit(path):
    for model in (small("ConvNetClassifier"), make_pipeline(ImageScaler(), small("ConvNetClassifier"))):
        with pytest.raises(NotFittedError):
            save(model, path)
    for model in (5, None, ImageScaler, "model"):
        with pytest.raises(TypeError, match=f"estimator must be a fitted estimator, got estimator={model!r}"):
            save(model, path)


def test_saves_over_the_file_it_was_loaded_from(path, tiny_images):
    X, y = tiny_images()
    loaded = again(small("ConvNetClassifier", max_epochs=1).fit(X, y), path)
    expected = loaded.predict_proba(X)
    path.write_bytes(path.read_bytes()[:100])                           # nothing of it is still in use
    np.testing.assert_array_equal(loaded.predict_proba(X), expected)
    np.testing.assert_array_equal(again(loaded, path).predict_proba(X), expected)


@pytest.mark.parametrize(("target", "error", "message"), [
    ("", IsADirectoryError, "path must name a file, but '.*' is a folder"),
    ("nowhere/model.safetensors", FileNotFoundError, "path must be in an existing folder, got '.*nowhere"),
])
def test_paths_that_cannot_be_written(target, error, message, tmp_path, tiny_images):
    model = small("ConvNetClassifier", max_epochs=1).fit(*tiny_images())
    with pytest.raises(error, match=message):
        save(model, tmp_path / target)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", [None, 3, b"model.safetensors"], ids=str)
def test_what_is_no_path_is_named(path, tiny_images):
    model = small("ConvNetClassifier", max_epochs=1).fit(*tiny_images())
    for call in (lambda: load(path), lambda: save(model, path), lambda: model.to_onnx(path)):
        with pytest.raises(TypeError, match=r"path must be a string or a pathlib\.Path, got path="):
            call()


@pytest.mark.parametrize("path", ["a\0b", "\ud800"], ids=ascii)
def test_what_no_file_is_called_is_named(path, tiny_images):
    model = small("ConvNetClassifier", max_epochs=1).fit(*tiny_images())
    for call in (lambda: load(path), lambda: save(model, path), lambda: model.to_onnx(path)):
        with pytest.raises(ValueError, match=r"path must be a valid file name, got path="):
            call()


def test_paths_may_begin_in_the_home_folder(path, tiny_images, monkeypatch):
    monkeypatch.setenv("HOME", str(path.parent))
    model = small("ConvNetClassifier", max_epochs=1).fit(*tiny_images())
    assert save(model, f"~/{path.name}") == path
    assert load(f"~/{path.name}").classes_.tolist() == model.classes_.tolist()


def test_names_may_be_long(tmp_path, tiny_images):
    model = small("ConvNetClassifier", max_epochs=1).fit(*tiny_images())
    again(model, tmp_path / ("m" * 255))
    with pytest.raises(OSError, match=r"File name too long: '[^.]*m{256}'"):
        save(model, tmp_path / ("m" * 256))


# ---------------------------------------------------------------------- devices, extras, accidents

def test_loads_on_the_device_that_is_asked_for(path, tiny_images):
    save(small("ConvNetClassifier", max_epochs=1).fit(*tiny_images()), path)
    assert load(path, device="cpu").device == "cpu"
    assert load(path).device is None
    with pytest.raises(ValueError, match="device must name a device of this machine"):
        load(path, device="wibble")
    with pytest.raises(TypeError, match=r"device must be a string or a torch\.device, got device=\[\]"):
        load(path, device=[])


@pytest.mark.parametrize("package", ["safetensors", "skops"])
def test_without_the_extra_the_error_names_it(package, path, tiny_images, monkeypatch):
    X, y = tiny_images()
    model = make_pipeline(RobustScaler(), small("ConvNetClassifier", max_epochs=1)).fit(X.reshape(len(X), -1), y)
    with pytest.warns(UserWarning, match=r"only with trusted=\[sklearn.*RobustScaler"):
        save(model, path)
    original = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", lambda name, *args: original(name, *args)
                        if not name.startswith(package) else (_ for _ in ()).throw(ImportError(name)))
    for call in (lambda: save(model, path), lambda: load(path, trusted=[RobustScaler])):
        with pytest.raises(ImportError, match=rf"with {package}: pip install 'fmnist_sk\[save\]'"):
            call()


def test_a_killed_save_leaves_the_old_file_or_the_new_one(path, tiny_images, tmp_path):
    X, y = tiny_images()
    old, new = (small("ResNetClassifier", max_epochs=1, width=32, random_state=seed).fit(X, y) for seed in (0, 1))
    expected = [model.predict_proba(X).tolist() for model in (old, new)]
    models = tmp_path / "models.pickle"
    models.write_bytes(pickle.dumps([old, new]))
    script = textwrap.dedent(f"""
        import pickle
        from fmnist_sk import save
        models = pickle.loads(open({str(models)!r}, "rb").read())
        save(models[0], {str(path)!r})
        print("ready", flush=True)
        while True:
            for model in models[::-1]:
                save(model, {str(path)!r})
        """)
    for i in range(3):
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.05 + 0.07 * i)
            process.send_signal(signal.SIGKILL)
        assert load(path).predict_proba(X).tolist() in expected


@pytest.mark.cuda
def test_moves_between_devices(path, tiny_images):
    X, y = tiny_images()
    model = small("ResNetClassifier", max_epochs=1, device="cuda").fit(X, y)
    expected = model.predict_proba(X)
    on_cpu = again(model, path, device="cpu")
    assert on_cpu.device_.type == "cpu"
    np.testing.assert_allclose(on_cpu.predict_proba(X), expected, atol=0.02)
    back = again(on_cpu.set_params(device=None), path)
    assert back.device_.type == "cuda"
    np.testing.assert_allclose(back.predict_proba(X), expected, atol=1e-3)
