"""Checkpoints and what goes wrong: damaged files, full disks, other code, Ctrl-C and kills at any moment."""
import contextlib
import importlib
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from estimators import small
from interrupted import Dies, dying
from sklearn.base import clone
from skorch.callbacks import Callback

from fmnist_sk import ImageClassifier
from fmnist_sk._storage.fingerprint import fingerprint

TESTS = Path(__file__).parent


def test_a_file_that_cannot_be_read_is_named_and_the_fit_begins_anew(tiny_images, tmp_path):
    X, y = tiny_images()
    net = small("ConvNetClassifier", max_epochs=3, checkpoint=tmp_path)
    with pytest.raises(Dies):
        dying(net, 5).fit(X, y)
    file, = tmp_path.iterdir()
    expected = small("ConvNetClassifier", max_epochs=3).fit(X, y).predict_proba(X)
    whole = file.read_bytes()
    torch.save({"seed": 3}, tmp_path / "other")
    for content in (b"", b"junk", whole[:1000], whole[:-100], (tmp_path / "other").read_bytes()):
        file.write_bytes(content)
        with pytest.warns(UserWarning, match=rf"The checkpoint {file} cannot be read .*: the fit starts over"):
            np.testing.assert_array_equal(net.fit(X, y).predict_proba(X), expected)


@pytest.mark.parametrize("error", [OSError("No space left"), PermissionError(13, "Permission denied", "file")], ids=str)
def test_what_cannot_be_written_is_warned_of_once_and_the_fit_goes_on(error, tiny_images, tmp_path, monkeypatch):
    X, y = tiny_images()
    net = small("ConvNetClassifier", max_epochs=3, checkpoint=tmp_path)

    def fails(source, target):
        raise error

    monkeypatch.setattr(os, "replace", fails)
    reason = error.strerror or error
    with pytest.warns(UserWarning, match=rf"nothing can be written to the folder {tmp_path} \({reason}\)") as found:
        net.fit(X, y)
    assert len(found) == 1
    assert list(tmp_path.iterdir()) == []
    np.testing.assert_array_equal(net.predict_proba(X),
                                  small("ConvNetClassifier", max_epochs=3).fit(X, y).predict_proba(X))


def test_a_folder_that_is_removed_meanwhile_is_made_again(tiny_images, tmp_path):
    X, y = tiny_images()
    folder = tmp_path / "a" / "b"

    def remove(self, net, **kwargs):
        if len(net.history) == 2:
            shutil.rmtree(folder)

    removes = type("Removes", (Callback,), {"on_epoch_begin": remove})()
    net = small("ConvNetClassifier", max_epochs=3, checkpoint=folder, callbacks=[removes])
    with pytest.raises(Dies):
        dying(net, 6).fit(X, y)
    assert len(list(folder.iterdir())) == 1


def test_equal_fits_at_the_same_time_do_each_other_no_harm(tiny_images, tmp_path):
    X, y = tiny_images()
    expected = small("ConvNetClassifier", max_epochs=8).fit(X, y).predict_proba(X)
    found = joblib.Parallel(n_jobs=4, backend="threading")(
        joblib.delayed(small("ConvNetClassifier", max_epochs=8, checkpoint=tmp_path).fit)(X, y) for _ in range(8))
    for net in found:
        np.testing.assert_array_equal(net.predict_proba(X), expected)
    assert list(tmp_path.glob("*.safetensors")) == []


def test_changed_code_is_another_fit(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module, found = None, set()
    for layer in ("ReLU", "LeakyReLU"):
        (tmp_path / "users_net.py").write_text("from torch import nn\nclass Net(nn.Sequential):\n"
                                               f"    def __init__(self):\n        super().__init__(nn.{layer}())\n")
        module = importlib.reload(module) if module else importlib.import_module("users_net")
        found |= {fingerprint(module.Net), fingerprint(module.Net)}
    assert len(found) == 2


def test_a_file_of_another_fit_is_named(tiny_images, tmp_path):
    X, y = tiny_images()
    net = small("ConvNetClassifier", max_epochs=3, checkpoint=tmp_path)
    for architecture in ("8C3-16N", "8C3-16C3-16N"):
        with pytest.raises(Dies):
            dying(net.set_params(architecture=architecture), 3).fit(X, y)
    one, two = tmp_path.iterdir()
    content = one.read_bytes(), two.read_bytes()
    one.write_bytes(content[1])
    two.write_bytes(content[0])
    with pytest.raises(ValueError, match=rf"checkpoint: {tmp_path}/\w+\.\w+ is of another fit, and was originally"):
        net.fit(X, y)


def test_leftovers_of_killed_processes_are_removed_also_where_another_is_at_the_same_fit(tiny_images, tmp_path,
                                                                                         monkeypatch):
    X, y = tiny_images()
    net = small("ConvNetClassifier", max_epochs=3, checkpoint=tmp_path)
    with pytest.raises(Dies):
        dying(net, 3).fit(X, y)
    name = next(tmp_path.iterdir()).name
    (tmp_path / f".{name}.{'0' * 32}.part").touch()
    replace, twins = os.replace, []

    def twin_ends_first(source, target):
        if not twins:
            twins.append(clone(net))
            twins[0].fit(X, y)
        replace(source, target)

    monkeypatch.setattr(os, "replace", twin_ends_first)
    np.testing.assert_array_equal(net.fit(X, y).predict_proba(X), twins[0].predict_proba(X))
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_keeps_the_best_weights_and_the_checkpoint(tiny_images, tmp_path):
    X, y = tiny_images()

    class Interrupted(ImageClassifier):
        def train_step(self, batch, **kwargs):
            if len(self.history_) == 4:
                raise KeyboardInterrupt
            return super().train_step(batch, **kwargs)

    Interrupted.__qualname__, Interrupted.__module__ = ImageClassifier.__qualname__, ImageClassifier.__module__
    params = small("ImageClassifier", validation_fraction=0.3, checkpoint=tmp_path, max_epochs=6).get_params(deep=False)
    net = Interrupted(**params)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y)
    assert np.isfinite(net.predict_proba(X)).all()
    assert len(list(tmp_path.iterdir())) == 1
    np.testing.assert_array_equal(
        ImageClassifier(**params).fit(X, y).predict_proba(X),
        ImageClassifier(**{**params, "checkpoint": None}).fit(X, y).predict_proba(X))


class Strikes(io.FileIO):
    """A file in which Ctrl-C strikes at some point of writing or reading."""

    left = 0

    def _count(self):
        Strikes.left -= 1
        if Strikes.left == 0:
            raise KeyboardInterrupt

    def write(self, data):
        self._count()
        return super().write(data)

    def readinto(self, buffer):
        self._count()
        return super().readinto(buffer)


def test_ctrl_c_while_a_checkpoint_is_written_or_read_is_never_lost(tiny_images, tmp_path, monkeypatch):
    X, y = tiny_images()
    net = small("ConvNetClassifier", max_epochs=3, checkpoint=tmp_path)
    expected = small("ConvNetClassifier", max_epochs=3).fit(X, y).predict_proba(X)
    monkeypatch.setattr("fmnist_sk._storage.files.open", Strikes, raising=False)
    interrupts = 0
    for moment in (1, 2, 3, 4, 5, 6):
        Strikes.left = moment
        with contextlib.suppress(KeyboardInterrupt):
            net.fit(X, y)
            break
        interrupts += 1
        assert all(path.suffix == ".safetensors" for path in tmp_path.iterdir())
    assert interrupts >= 2
    Strikes.left = 0
    np.testing.assert_array_equal(net.fit(X, y).predict_proba(X), expected)


def test_fingerprints_are_the_same_in_another_process_and_tell_functions_apart():
    code = """
import numpy as np, torch
from fmnist_sk import RandomCrop
from fmnist_sk._storage.fingerprint import fingerprint
print(fingerprint({"b": RandomCrop(padding=1), "a": torch.nn.Linear, "c": np.arange(3)}, (1, 2.5, None, "x"),
                  torch.arange(4), np.random.RandomState(3), len, torch.optim.SGD,
                  lambda x: x in {"a", "b", "c"}, {"a", "b"}))
"""
    found = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                            env={**os.environ, "PYTHONHASHSEED": str(seed)}).stdout for seed in (1, 2)}
    assert len(found) == 1
    class Factory:
        def __init__(self, width):
            self.width = width

    assert fingerprint(Factory(1)) == fingerprint(Factory(1)) != fingerprint(Factory(2))
    assert fingerprint(lambda x: x + 1) != fingerprint(lambda x: x + 2)
    assert fingerprint([1, 2]) != fingerprint([12])
    assert fingerprint([[1], [2]]) != fingerprint([[1, [2]]])
    assert fingerprint({"a": 1}) != fingerprint({"a": True})


SCRIPT = """
import sys, time
sys.path.insert(0, {tests!r})
import conftest
from estimators import small
from fmnist_sk import *
from torch.optim.lr_scheduler import StepLR
X, y = conftest.make_images(n=300, size=12)
net = small("ConvNetClassifier", max_epochs=15, batch_size=20, validation_fraction=0.2, dropout=0.3,
            checkpoint=sys.argv[1]).set_params({params})
print("begin", flush=True)
net.fit(X, y)
print(net.predict_proba(X).tobytes().hex() + repr(net.history_[:, ("train_loss", "valid_loss", "lr")]), flush=True)
"""


@pytest.mark.parametrize("params", [
    pytest.param('ema=0.99, schedule="one_cycle", augment=[RandomCrop(padding=1), MixUp()]', id="EMA",
                 marks=pytest.mark.exhaustive),
    pytest.param('swa=0.3, sam_rho=0.05, schedule=TorchSchedule(StepLR, dict(step_size=3)), '
                 'augment=AugmentedCopies(0.5)', id="SWA, SAM"),
])
def test_killed_at_random_moments_it_ends_as_if_never_interrupted(params, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT).format(tests=str(TESTS), params=params))

    def start(folder):
        process = subprocess.Popen([sys.executable, script, folder], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "begin\n"
        return process

    expected = start(tmp_path / "never").communicate()[0]
    assert expected
    folder, rng = tmp_path / "killed", random.Random()
    for _ in range(2):
        process, seen = start(folder), {0}
        for _ in range(rng.randint(1, 3)):                  # some epochs later, and somewhere within one or in writing
            began = time.perf_counter()
            while (time_ := max((path.stat().st_mtime_ns for path in folder.glob("*.safetensors")), default=0)) in seen:
                assert process.poll() is None
                time.sleep(0.001)
            seen.add(time_)
            duration = time.perf_counter() - began
        time.sleep(rng.uniform(0, min(duration, 0.2)))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert any(folder.iterdir())
    assert start(folder).communicate()[0] == expected
    assert list(folder.iterdir()) == []
