"""Saved models that no fit makes: they are refused with a sentence, and nothing in them is run."""
import io
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import saved_forms
import torch
from forging import rewritten
from sklearn.ensemble import StackingClassifier
from sklearn.preprocessing import StandardScaler

from fmnist_sk import ConvNetClassifier, load, save


class Evil:
    def __init__(self, trap):
        self.trap = trap

    def __reduce__(self):
        return Path.touch, (self.trap,)


def found(content, kind):
    """The description of the first object of a kind in a file's content."""
    parts = [content]
    while parts:
        part = parts.pop(0)
        if isinstance(part, dict) and part.get("object") == kind:
            return part
        parts += part if isinstance(part, list) else part.values() if isinstance(part, dict) else []
    raise AssertionError(kind)


def fitted_value(kind, name, value):
    return lambda content, tensors: found(content, kind)["fitted"].update({name: value})


def param(kind, name, value):
    return lambda content, tensors: found(content, kind)["params"].update({name: value})


def array(kind, name, change):
    """Exchanges an array of an estimator for another."""
    def forge(content, tensors):
        described = found(content, kind)["fitted"][name]
        key = described.get("values") or described["columns"]
        tensors[key] = torch.from_numpy(np.ascontiguousarray(change(tensors[key].numpy().copy())))
    return forge


def put(place, value):
    def change(values):
        values[place] = value
        return values
    return change


def array_of_each(kind, name):
    def forge(content, tensors):
        for described in found(content, kind)["fitted"][name]:
            tensors[described["values"]] = torch.zeros(10_000, dtype=torch.int64)
    return forge


def circle(content, tensors):
    content["classifiers"][0]["params"]["augment"] = {"classifier": 0}


def many_times(content, tensors):
    key = found(content, "StandardScaler")["fitted"]["mean_"]["values"]
    content["estimator"]["params"]["steps"] += [{"tuple": ["a", {"values": key}]} for _ in range(3000)]


def masked(kind, name, change):
    """Exchanges an array for a masked one, of which compiled code would read the masked numbers."""
    def forge(content, tensors):
        fitted = found(content, kind)["fitted"]
        key = fitted[name]["values"]
        tensors["mask"] = torch.arange(len(tensors[key])) == 0
        tensors[key] = torch.from_numpy(change(tensors[key].numpy().copy()))
        fitted[name] = {"masked": {"values": key}, "mask": {"values": "mask"}}
    return forge


def counts_beyond_numbers(content, tensors):
    key = found(content, "RandomForestClassifier")["fitted"]["counts"]["values"]
    tensors[key] = torch.tensor([2**62] * 3 + [2**62 + int(tensors[key].sum())])


def in_each_other(content, tensors):
    unfitted = {key: content["classifiers"][0][key] for key in ("class", "params", "prefixed")}
    content["classifiers"] += [{**unfitted, "params": {**unfitted["params"], "augment": {"classifier": i},
                                                       "schedule": {"classifier": i}}} for i in range(3)]


def set_of_network(name, value, **prefixed):
    def forge(content, tensors):
        described = next(one for one in content["classifiers"] if "learned" in one)
        described["params"][name] = value
        described["prefixed"] |= prefixed
    return forge


def many_epochs(content, tensors):
    """A history that is a hundred times as large as Python's objects."""
    tensors |= {f"h{i}": torch.zeros(50_000, dtype=torch.int8) for i in range(99)}
    tensors["kinds"] = torch.zeros(50_000, dtype=torch.int8)
    content["classifiers"][0]["history"] = {"dict": [["kinds", {"values": "kinds"}], ["tables", [{"dict": [
        ["n", 50_000], ["columns", {"dict": [[f"h{i}", {"values": f"h{i}"}] for i in range(99)]}],
        ["lists", {"dict": []}], ["rows", []]]}]]]}


def many_trees(content, tensors):
    fitted = found(content, "RandomForestClassifier")["fitted"]
    n = 20_000
    for name in fitted:
        if name.startswith(("node_", "values", "counts")):
            key = fitted[name]["values"]
            tensors[key] = torch.full((n, *tensors[key].shape[1:]), -1 if name.endswith("child") else 1,
                                      dtype=tensors[key].dtype)


def unused(content, tensors):
    tensors["more"] = torch.zeros(3)


REFUSED = r"model\.safetensors (cannot be loaded: (its?|the network's) |is damaged, .*: its (header|settings) )"
FORGERIES = {
    # methods by name, members that are none, attributes in the place of methods
    "a method that writes": ("stacking", fitted_value("StackingClassifier", "stack_method_", 2 * ["save_params"])),
    "a method of arrays": ("stacking", fitted_value("StackingClassifier", "stack_method_", ["tofile", "predict"])),
    "a member that is a text": ("stacking", fitted_value("StackingClassifier", "estimators_", ["a", "b"])),
    "a member that is an object": ("stacking", fitted_value("StackingClassifier", "final_estimator_", {
        "object": "KFold", "params": {}})),
    "an attribute for a method": ("pipeline", fitted_value("ImageScaler", "transform", 1)),
    "an attribute for a special method": ("pipeline", fitted_value("ImageScaler", "__reduce_ex__", 1)),
    "a step without a name": ("pipeline", param("Pipeline", "steps", [3])),
    "steps that are a text": ("pipeline", param("Pipeline", "steps", "ab")),
    "a function by name": ("scalers", param("FunctionTransformer", "func", {"function": "os.system"})),
    "a class for a function": ("scalers", param("FunctionTransformer", "func", {"class": "builtins.eval"})),
    "a kernel that is no name": ("machine", param("SVC", "kernel", "precomputed")),
    "a score that is none": ("random search", param("RandomizedSearchCV", "scoring", "os.system")),
    "an unknown parameter": ("scalers", param("StandardScaler", "wibble", 1)),
    "a parameter out of range": ("forest", param("RandomForestClassifier", "n_estimators", -1)),
    "an object of another library": ("pipeline", lambda content, tensors: found(content, "ImageScaler").update(
        object="subprocess.Popen")),
    "what needs trust": ("scalers", lambda content, tensors: content["estimator"]["params"]["steps"].append(
        {"tuple": ["a", {"foreign": "os.system", "data": 3}]})),
    # references
    "a classifier in itself": ("pipeline", circle),
    "a classifier that there is not": ("pipeline", lambda content, tensors: found(content, "Pipeline")["params"][
        "steps"].append({"tuple": ["a", {"classifier": 7}]})),
    "one array thousands of times": ("scalers", many_times),
    "an array that nothing needs": ("pipeline", unused),
    "weights of no classifier": ("pipeline", lambda content, tensors: tensors.update({"9.module.a": torch.zeros(1)})),
    # shapes, types and ranges
    "means for other features": ("scalers", array("StandardScaler", "mean_", lambda values: values[:3])),
    "means that are numbers": ("scalers", fitted_value("StandardScaler", "mean_", 3.0)),
    "components of another shape": ("standardizer", array("PCA", "components_", lambda values: values[:, :5])),
    "coefficients of one class too few": ("linear", array("LogisticRegression", "coef_", lambda values: values[:2])),
    "classes in another order": ("linear", fitted_value("LogisticRegression", "classes_", {
        "array": ["shirt", "bag", "coat"], "shape": [3], "dtype": "<U5"})),
    "classes without end": ("linear", fitted_value("LogisticRegression", "classes_", {
        "array": ["a"], "shape": [1], "dtype": "<U99999999"})),
    "an absurd shape": ("linear", fitted_value("LogisticRegression", "classes_", {
        "array": ["a"], "shape": [10**9, 10**9], "dtype": "<U1"})),
    "wide texts a thousand times": ("linear", fitted_value("LogisticRegression", "classes_", {"tuple": 1000 * [{
        "array": ["a"], "shape": [1], "dtype": "<U1000000"}]})),
    "sides without end": ("linear", fitted_value("LogisticRegression", "classes_", {
        "array": [], "shape": 100_000 * [10**15], "dtype": "<U1"})),
    "an endless history": ("pipeline", many_epochs),
    "an absurd number of features": ("scalers", fitted_value("FunctionTransformer", "n_features_in_", 10**9)),
    "masked features": ("tree", masked("DecisionTreeClassifier", "node_feature", put(0, 2**40))),
    "masked children": ("forest", masked("RandomForestClassifier", "node_left_child", put(0, -2**33))),
    "masked vectors": ("machine", masked("SVC", "_n_support", put(0, 2**30))),
    "masked classes": ("linear", fitted_value("LogisticRegression", "classes_", {
        "masked": {"array": ["a"], "shape": [1], "dtype": "<U1"}, "mask": None})),
    "counts beyond numbers": ("forest", counts_beyond_numbers),
    "a loss that is a layer": ("pipeline", set_of_network("criterion", {"class": "torch.nn.modules.linear.Linear"},
                                                          criterion__in_features=20_000)),
    "a module that is a function": ("pipeline", set_of_network("module", {"function": "numpy.ascontiguousarray"},
                                                               module__dtype="S1000000000")),
    "a module that is a loss": ("pipeline", set_of_network("module", {"object": "FocalLoss", "params": {}})),
    "networks in each other": ("pipeline", in_each_other),
    "histograms of a large image": ("histograms", fitted_value("HOGTransformer", "image_shape_", {
        "tuple": [1, 8000, 8000]})),
    "features of a bag again and again": ("bagging", array_of_each("BaggingClassifier", "estimators_features_")),
    "a device of many lines": ("pipeline", lambda content, tensors: [
        one.update(device="a\n" * 9_000) for one in content["classifiers"]]),
    "layers that do not meet": ("perceptron", lambda content, tensors: found(content, "MLPClassifier")["fitted"][
        "coefs_"].reverse()),
    "features that a bag has not": ("bagging", lambda content, tensors: [
        tensors[value["values"]].fill_(64) for value in found(content, "BaggingClassifier")["fitted"][
            "estimators_features_"]]),
    "histograms of an endless image": ("histograms", param("HOGTransformer", "orientations", 10**6)),
    "pixels' means that are truth values": ("machine", lambda content, tensors: tensors.update({
        name: value.bool() for name, value in tensors.items() if name.endswith("standardize.mean")})),
    # what compiled code would read outside of its memory
    "a child outside of the tree": ("tree", array("DecisionTreeClassifier", "node_left_child", put(0, 10**6))),
    "a child that is its parent": ("tree", array("DecisionTreeClassifier", "node_right_child", put(0, 0))),
    "a leaf with one child": ("tree", array("DecisionTreeClassifier", "node_left_child", put(-1, 1))),
    "a feature that there is not": ("tree", array("DecisionTreeClassifier", "node_feature", put(0, 10**6))),
    "a negative feature": ("forest", array("RandomForestClassifier", "node_feature", put(0, -5))),
    "fewer nodes than counted": ("forest", array("RandomForestClassifier", "counts", put(0, 1000))),
    "values for other classes": ("extra trees", array("ExtraTreesClassifier", "values", lambda v: v[..., :1])),
    "twenty thousand trees": ("forest", many_trees),
    "a tree without nodes": ("forest", array("RandomForestClassifier", "counts", lambda values: np.append(values, 0))),
    "a tree for more features": ("tree", fitted_value("DecisionTreeClassifier", "n_features_in_", 0)),
    **{f"support vectors with other {name}": ("machine", array("SVC", name, change)) for name, change in [
        ("_n_support", lambda values: values + 1000), ("support_vectors_", lambda values: values[:, :3]),
        ("_dual_coef_", lambda values: values[:, :2]), ("_intercept_", lambda values: values[:0]),
        ("_probA", lambda values: np.zeros(7)), ("support_", lambda values: values - 60)]},
    "neighbours of no class": ("neighbours", array("KNeighborsClassifier", "codes", lambda values: values + 3)),
    "a metric by name": ("neighbours", param("KNeighborsClassifier", "metric", "seuclidean")),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("forgery", FORGERIES)
def test_what_no_fit_makes_is_refused(forgery, path):
    name, forge = FORGERIES[forgery]
    save(saved_forms.fitted(name), path)
    load(path)
    rewritten(path, forge)
    tracemalloc.start()
    with pytest.raises(ValueError, match=REFUSED) as raised:
        load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(str(raised.value)) < 600
    assert peak < 64 * 2**20


def test_nested_without_end_is_refused(path):
    save(saved_forms.fitted("pipeline"), path)

    def nest(content, tensors):
        for _ in range(400):
            content["estimator"] = {"object": "FrozenEstimator", "params": {"estimator": content["estimator"]}}

    rewritten(path, nest)
    with pytest.raises(ValueError, match="cannot be loaded"):
        load(path)


def test_what_is_trusted_is_not_opened_before(path, tiny_images):
    """An archive that would grow, for an estimator whose class is not trusted."""
    save(saved_forms.fitted("scalers"), path)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b" " * 200_000_000)

    def forge(content, tensors):
        tensors["bomb"] = torch.frombuffer(bytearray(bomb.getvalue()), dtype=torch.uint8)
        content["estimator"] = {"foreign": "sklearn.dummy.DummyClassifier", "data": {"values": "bomb"}}

    rewritten(path, forge)
    with pytest.raises(ValueError, match=r"it needs \['sklearn.dummy.DummyClassifier'\], which are not known here"):
        load(path, trusted=[StandardScaler])


def test_old_files_with_parts_of_scikit_learn_need_trust():
    old = Path(__file__).parent / "saved" / "0.1.0" / "stacking.safetensors"
    with pytest.raises(ValueError, match=r"it is of version 0.1.0 .*: if it is from someone you trust, load"):
        load(old)
    assert isinstance(load(old, trusted=[StackingClassifier]), StackingClassifier)


def test_classifiers_take_a_state_only_when_they_are_made(tmp_path):
    state = {"device": "cpu", "__cuda_dependent_attributes__": pickle.dumps(Evil(tmp_path / "trap")),
             "torch_load_kwargs": {"weights_only": False}}
    with pytest.raises(TypeError, match="ConvNetClassifier accepts a state only while it is copied or unpickled"):
        ConvNetClassifier().__setstate__(state)
    assert not (tmp_path / "trap").exists()
