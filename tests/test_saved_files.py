"""Files that are not what save() wrote are refused, and nothing in them is run."""
import os
import pickle
import re

import numpy as np
import pytest
import safetensors.torch
import torch
from estimators import small
from forging import rewritten
from sklearn.pipeline import make_pipeline

from fmnist_sk import ImageScaler, load, save


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def saved(path, tiny_images):
    return save(small("ConvNetClassifier", max_epochs=1).fit(*tiny_images()), path)


def set_param(name, value):
    return lambda content, tensors: content["classifiers"][0]["params"].update({name: value})


def set_learned(name, value):
    return lambda content, tensors: content["classifiers"][0]["learned"].update({name: value})


@pytest.mark.parametrize(("change", "message"), [
    (lambda content, tensors: content.update(format=99), r"is of format 99 \(fmnist_sk .*\), this version reads"),
    (lambda content, tensors: content.update(classifiers=3), "is a safetensors file, but not one that save"),
    (lambda content, tensors: content["classifiers"].clear(), "it holds weights of a classifier 0 of 0"),
    (lambda content, tensors: content["classifiers"].extend(content["classifiers"]), "cannot be loaded"),
    (lambda content, tensors: content["classifiers"][0].update({"class": "os.system"}), "the class 'os.system', which"),
    (lambda content, tensors: content["classifiers"][0].update({"class": "torch.nn.modules.linear.Linear"}),
     "the class 'torch.nn.modules.linear.Linear', which is not known"),
    (lambda content, tensors: content["classifiers"][0]["learned"].update(predict=1), r"unknown attributes .'predict'"),
    (lambda content, tensors: content["classifiers"][0].update(statistics=[]), "cannot be loaded"),
    (lambda content, tensors: tensors.popitem(), "cannot be loaded"),
    (lambda content, tensors: tensors.update({name: value.double() for name, value in tensors.items()
                                              if value.is_floating_point()}),
     "must be torch.float32"),
    (set_param("criterion", {"object": "subprocess.Popen", "params": {"args": "true"}}),
     "an object of 'subprocess.Popen', which is not known"),
    (set_param("module", {"class": "builtins.eval"}), "the class 'builtins.eval'"),
    (set_param("lr", -1), "'lr' parameter"),
    (set_param("architecture", "-".join(["1C1"] * 3000)), "it holds a string of 11,999 characters, which no fit makes"),
    (set_param("schedule", {"object": "fmnist_sk.networks.convnet.ConvNet", "params": {
        "in_channels": 1, "image_shape": {"tuple": [1, 8, 8]}, "n_classes": 2, "architecture": "8C3-400000N"}}),
     "it holds an object of 'fmnist_sk.networks.convnet.ConvNet', which is not known"),
    (set_param("lr", {"array": ["a"] * 5000, "shape": [5000], "dtype": "<U4096"}),
     "more objects than a file of its size"),
    (lambda content, tensors: content["classifiers"][0].update(prefixed={"checkpoint": "folder"}),
     r"it sets \['checkpoint'\], which belong to no part of a network"),
    (set_learned("n_features_in_", 70), r"its rows of 70 values are not images of shape \(1, 8, 8\)"),
    (set_param("architecture", "-".join(["1C1"] * 1000)), "a much larger network than the one these weights"),
    (lambda content, tensors: content.update(versions=[1], format=2), "is a safetensors file, but not one that save"),
    (set_learned("classes_inferred_", {"array": [2, 1, 0], "shape": [3], "dtype": "<i8"}), "its classes must"),
    (set_learned("classes_inferred_", {"array": [{"class": "torch.optim.sgd.SGD"}], "shape": [1], "dtype": "O"}),
     "the class 'torch.optim.sgd.SGD', which is not known"),
    (set_learned("value_range_", "bad"), "its range of values must have 1 numbers as low, got 'b'"),
    (set_learned("pixels_", {"dict": []}), "its range of values must have 1 numbers as low, got None"),
    (set_learned("pixels_", {"dict": [[name, {"tuple": [0.0]}] for name in ("low", "high", "background", "usual")]}),
     r"its range of values must have 2 numbers as usual, got \(0.0,\)"),
    (set_learned("pixels_", {"dict": [[name, {"tuple": [1.0]}] for name in ("low", "high", "background", "x")]}),
     "its range of values must have 2 numbers as usual, got None"),
    (set_learned("image_shape_", {"tuple": [1, 100_000, 100_000]}), "its images must have a shape"),
    (set_learned("_seed", "x"), "must be whole numbers"),
    (set_param("wibble", 1), "has no parameter wibble"),
    (set_param("lr", {"what": 1}), "which is not a known value"),
    (set_param("lr", {"array": ["a"], "shape": [1], "dtype": "<U99999999"}), "more objects than a file of its size"),
    (set_param("lr", {"array": [0], "shape": [1], "dtype": "<M8[s]"}), "an array of 1 <M8"),
    (set_param("architecture", "9999999C3-MP2"), "features.0.weight must be torch.float32 .9999999, 1, 3, 3."),
])
def test_changed_files_are_refused(change, message, saved):
    rewritten(saved, change)
    with pytest.raises(ValueError, match=message) as raised:
        load(saved)
    assert str(saved) in str(raised.value)


@pytest.mark.parametrize("damage", [
    lambda data: b"", lambda data: b"hello", lambda data: data[:-1], lambda data: data[:100], lambda data: data[1:],
    lambda data: (2**60).to_bytes(8, "little") + data[8:], lambda data: data + b"x",
    lambda data: pickle.dumps({"a": 1}),
], ids=["empty", "text", "cut", "header", "shifted", "huge header", "longer", "pickle"])
def test_damaged_files_are_refused(damage, saved):
    saved.write_bytes(damage(saved.read_bytes()))
    with pytest.raises(ValueError, match="is damaged, or not a file that save"):
        load(saved)


def test_any_flipped_bit_is_noticed(path, tiny_images):
    save(make_pipeline(ImageScaler(), small("ConvNetClassifier", max_epochs=1)).fit(*tiny_images()), path)
    data = path.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(data), 200):
        changed = bytearray(data)
        changed[place] ^= 1
        path.write_bytes(changed)
        if data[place:place + 1] != b" ":                   # between the parts of the header it means nothing
            with pytest.raises(ValueError, match=re.escape(str(path))):
                load(path)


def test_other_files_are_refused(path, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"path must name a file that save.. wrote, but there is none at"):
        load(path)
    for other in (tmp_path, "/dev/zero"):
        with pytest.raises(ValueError, match=r"path must name a file, but .* is a folder, a pipe or a device"):
            load(other)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match=r"path must name a file, but .* is a folder, a pipe or a device"):
        load(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError, match="path must name a file"):
        load("x" * 5000)
    path.write_bytes(safetensors.torch.save({"x": torch.zeros(3)}))
    with pytest.raises(ValueError, match=r"is a safetensors file, but not one that save.. wrote"):
        load(path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="warns only where there is no CUDA")
def test_warns_that_the_cpu_is_slower(saved):
    rewritten(saved, lambda content, tensors: content["classifiers"][0].update(device="cuda"))
    with pytest.warns(UserWarning, match="was fitted on cuda, which is not available: it is on the CPU now, and"):
        load(saved)


@pytest.mark.parametrize("label", ["x" * 5_000, "x" * 20_000, np.longdouble(3)])
def test_what_is_saved_can_be_loaded(label, path, tiny_images):
    X, y = tiny_images([label, label * 2])
    classifier = small("ConvNetClassifier", max_epochs=1).fit(X, y)
    if len(str(label)) == 5_000:
        assert load(save(classifier, path)).predict(X).tolist() == classifier.predict(X).tolist()
    else:
        with pytest.raises(ValueError, match="classes_inferred_ cannot be saved"):
            save(classifier, path)
        assert not path.exists()
