"""Saved models whose scikit-learn part was made to run code: they are refused, or cannot."""
import functools
import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io
import torch
from estimators import small
from forging import rewritten
from joblib import Memory
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._unique import attach_unique

from fmnist_sk import ConvNetClassifier, ImageScaler, load, save
from fmnist_sk._saving.encoding import Known
from fmnist_sk._saving.skops import Join, SavedClassifier


class Evil:
    def __init__(self, trap):
        self.trap = trap

    def __reduce__(self):
        return Path.touch, (self.trap,)


def forge(path, estimator, names=()):
    """Put an estimator into a saved file in the place of its scikit-learn part, some names in it exchanged."""
    old, new = zipfile.ZipFile(io.BytesIO(skops.io.dumps(estimator))), io.BytesIO()
    with zipfile.ZipFile(new, "w") as archive:
        for member in old.namelist():
            data = old.read(member)
            for name, other in names if member == "schema.json" else ():
                assert json.dumps(name).encode() in data
                data = data.replace(json.dumps(name).encode(), json.dumps(other).encode())
            archive.writestr(member, data)

    def exchange(content, tensors):
        tensors["scikit-learn"] = torch.frombuffer(bytearray(new.getvalue()), dtype=torch.uint8)

    rewritten(path, exchange)


@pytest.fixture
def saved(tmp_path, tiny_images):
    path = tmp_path / "model.safetensors"
    save(small("ConvNetClassifier", max_epochs=1).fit(*tiny_images()), path)
    return path


def state_that_runs(trap):
    return {"device": "cpu", "__cuda_dependent_attributes__": pickle.dumps(Evil(trap)),
            "torch_load_kwargs": {"weights_only": False}}


def test_functions_in_the_place_of_methods_are_not_called(saved, tmp_path):
    """A score that calls __setstate__ of a classifier, within the pickle's __reduce_ex__ of a scaler."""
    score = make_scorer(accuracy_score)
    score._response_method = "__setstate__"
    root = StandardScaler()
    vars(root)["__reduce_ex__"] = functools.partial(
        attach_unique, score, (SavedClassifier(0), state_that_runs(tmp_path / "trap"), "y"))
    forge(saved, root, [("functools", "sklearn.metrics._ranking"),
                        ("sklearn.utils._unique", "sklearn.metrics._classification")])
    with pytest.raises(ValueError, match=r"sklearn.metrics._ranking.partial in a PartialNode, which may run code"):
        load(saved)
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize(("attribute", "value"), [("__reduce_ex__", 0), ("__sklearn_clone__", 0), ("transform", np.sin),
                                                  ("fit", accuracy_score)])
def test_attributes_in_the_place_of_methods_are_refused(attribute, value, saved):
    root = StandardScaler()
    vars(root)[attribute] = value
    forge(saved, root)
    with pytest.raises(ValueError, match=f"a StandardScaler with an attribute '{attribute}', which no fit makes"):
        load(saved)


def test_functions_are_scores_and_only_named(saved):
    forge(saved, SelectKBest(accuracy_score), [("sklearn.metrics._classification", "sklearn.metrics._ranking"),
                                               ("accuracy_score", "column_or_1d")])
    with pytest.raises(ValueError, match=r"it needs \['sklearn.metrics._ranking.column_or_1d'\], which are not"):
        load(saved)
    forge(saved, SelectKBest(accuracy_score), [("FunctionNode", "ObjectNode")])
    with pytest.raises(ValueError, match="accuracy_score in a ObjectNode, which may run code"):
        load(saved)
    forge(saved, SelectKBest(BaseEstimator().get_params))
    with pytest.raises(ValueError, match="in a MethodNode, which may run code"):
        load(saved)


@pytest.mark.parametrize("method", ["__setstate__", "load_params", ["predict", "save_params"], 3])
def test_scores_ask_for_predictions_only(method, saved):
    score = make_scorer(accuracy_score)
    score._response_method = method
    forge(saved, SelectKBest(score))
    with pytest.raises(ValueError, match=r"it holds a score of .*, which is none of \['decision_function', "):
        load(saved)


def test_classifiers_take_a_state_only_when_they_are_made(tmp_path):
    with pytest.raises(TypeError, match="ConvNetClassifier takes a state only while it is copied or unpickled"):
        ConvNetClassifier().__setstate__(state_that_runs(tmp_path / "trap"))
    assert not (tmp_path / "trap").exists()


def test_what_is_built_of_a_file_is_data_and_parts_of_known_libraries(tmp_path):
    for value in (Evil(tmp_path / "trap"), Path, np.load, functools.partial(int), torch.nn.Linear):
        buffer = io.BytesIO(pickle.dumps(value))
        with pytest.raises(ValueError, match=r"it needs [\w.]+, which is not known here"):
            Join(buffer, [], Known()).load()
    known = [np.arange(3), np.float32(2), np.random.default_rng(0).random(2), {"a": {1}}, StandardScaler, np.sin,
             np.random.RandomState(0).get_state(), accuracy_score, np.ma.masked_array([1, 2], [0, 1])]
    assert len(Join(io.BytesIO(pickle.dumps(known)), [], Known()).load()) == len(known)


@pytest.mark.parametrize("kind", [str, Memory])
def test_folders_of_caches_are_not_gone_on_with(kind, tmp_path, tiny_images):
    """joblib reads pickles out of them, which may be from whoever made the file."""
    X, y = tiny_images()
    net = small("ConvNetClassifier", max_epochs=1)
    cached = make_pipeline(ImageScaler(), net, memory=kind(tmp_path / "cache")).fit(X, y)
    outer = make_pipeline(cached[0], cached)
    save(outer.fit(X, y), tmp_path / "model.safetensors")
    assert load(tmp_path / "model.safetensors")[1].memory is None
    assert outer[1].memory is not None
    forge(tmp_path / "model.safetensors", make_pipeline(StandardScaler(), SelectKBest(f_classif), memory="cache"))
    assert load(tmp_path / "model.safetensors", trusted=[f_classif]).memory is None
