"""What lies around classifiers in a saved file: the parts of scikit-learn, in the form of skops."""
from __future__ import annotations

import io
import json
import pickle
import warnings
import zipfile
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import sklearn.metrics
from sklearn.base import BaseEstimator
from sklearn.metrics._scorer import _Scorer

from fmnist_sk import augmentation
from fmnist_sk._runtime.optional import optional
from fmnist_sk._saving.encoding import Known, full_name
from fmnist_sk._storage.files import check_stored
from fmnist_sk.classifier import ImageClassifier
from fmnist_sk.ensemble import DeepEnsembleClassifier
from fmnist_sk.inspection import FeatureExtractor
from fmnist_sk.photos import PhotoToFashion
from fmnist_sk.preprocessing import HOGTransformer, ImageScaler, ImageStandardizer
from fmnist_sk.reader import ImageReader

EXTRA = "Models are saved and loaded with", "save"
# What fitted ensembles and searches are made of, beyond the estimators that skops trusts by itself. All hold data only.
PARTS_OF_SKLEARN = (
    "sklearn.calibration._CalibratedClassifier", "sklearn.calibration._SigmoidCalibration",
    "sklearn.calibration._TemperatureScaling", "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.metrics._scorer._Scorer", "sklearn.metrics._scorer._MultimetricScorer",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer", "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
    *(f"sklearn.model_selection._split.{name}" for name in (
        "KFold", "ShuffleSplit", "StratifiedKFold", "StratifiedShuffleSplit", "RepeatedKFold",
        "RepeatedStratifiedKFold")),
)
# Functions that turn labels and predictions into a number, which is what a search's `scoring` holds.
SCORES = frozenset(full_name(score) for score in vars(sklearn.metrics).values() if isinstance(score, FunctionType) and (
    score.__module__.rpartition("._")[2] in ("classification", "ranking", "regression")))
RESPONSES = {"predict", "predict_proba", "decision_function"}           # what a score may ask of an estimator
# Of skops' nodes those that hold data, and name classes and functions without calling them.
NODES = frozenset(f"{name}Node" for name in (
    "Bytearray", "Bytes", "Cached", "ConstructorFromReduce", "DType", "DefaultDict", "Dict", "Function", "Json", "List",
    "Loss", "MaskedArray", "NdArray", "Object", "RandomGenerator", "RandomState", "Set", "Slice", "SparseMatrix",
    "Tree", "Tuple", "Type"))
DATA = frozenset(f"builtins.{name}" for name in (
    "bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object", "range", "set",
    "slice", "str", "tuple")) | {"collections.OrderedDict", "collections.defaultdict"}
REBUILDERS = frozenset((        # of NumPy's arrays, numbers and random generators
    "copyreg._reconstructor", "numpy._core.multiarray._reconstruct", "numpy._core.multiarray.scalar",
    "numpy._core.numeric._frombuffer", "numpy.ma.core._mareconstruct", "numpy.random._pickle.__bit_generator_ctor",
    "numpy.random._pickle.__generator_ctor", "numpy.random._pickle.__randomstate_ctor"))


class SavedClassifier(BaseEstimator):
    """Stands in the part of skops where a classifier of this package was."""

    def __init__(self, index: int):
        self.index = index


class Separate(pickle.Pickler):
    """Copies an estimator within this process, classifiers taken out of it and put into a list."""

    def __init__(self, buffer: io.BytesIO, found: list, kind: type = ImageClassifier):
        super().__init__(buffer)
        self.buffer, self.found, self.kind = buffer, found, kind

    def reducer_override(self, value):
        """joblib reads pickles out of the folder that `memory` names: a copy has none."""
        if not isinstance(value, BaseEstimator) or vars(value).get("memory") is None:
            return NotImplemented
        constructor, arguments, state, *rest = value.__reduce_ex__(pickle.DEFAULT_PROTOCOL)
        return constructor, arguments, {**state, "memory": None}, *rest

    def persistent_id(self, value):
        if self.kind is SavedClassifier:
            _check_attributes(value)
            _check_memory(value)
        if not isinstance(value, self.kind):
            return None
        if isinstance(value, SavedClassifier):
            return value.index
        known = [id(other) for other in self.found]
        if id(value) not in known:
            self.found.append(value)
            return len(known)
        return known.index(id(value))


class Join(pickle.Unpickler):
    """Reads what `Separate` wrote in this process, with the members of a list in their places.

    With `known`, it builds nothing but data, parts of scikit-learn and what is known.
    """

    def __init__(self, buffer: io.BytesIO, parts: list, known: Known | None = None):
        super().__init__(io.BytesIO(buffer.getvalue()))
        self.parts, self.known = parts, known

    def find_class(self, module, name):
        full, library = f"{module}.{name}", module.partition(".")[0]
        if self.known is None or full in SCORES | REBUILDERS or full in map(full_name, self.known.trusted):
            return super().find_class(module, name)
        if library in ("fmnist_sk", "numpy", "scipy", "sklearn") or full in DATA:
            found = super().find_class(module, name)
            if isinstance(found, (type, np.ufunc)) or name.startswith("__pyx_unpickle_"):
                return found
        raise ValueError(f"it needs {full}, which is not known here.")

    def persistent_load(self, index):
        if not isinstance(index, int) or not 0 <= index < len(self.parts):
            raise ValueError(f"it refers to a classifier {index!r} of {len(self.parts)}.")
        return self.parts[index]


def _check_attributes(part) -> None:
    """Raise ValueError if an attribute shadows a method, because it would be called in its place."""
    if isinstance(part, (type, FunctionType, ModuleType)):
        return
    for name in getattr(part, "__dict__", ()):
        own = getattr(type(part), name, None)
        if name.startswith("__") or (callable(own) and not isinstance(own, type)):
            raise ValueError(f"it holds a {type(part).__name__} with an attribute {name!r}, which no fit makes.")
    if isinstance(part, _Scorer):
        methods = vars(part).get("_response_method", "predict")
        methods = [methods] if isinstance(methods, str) else methods
        if not isinstance(methods, (list, tuple)) or not all(method in RESPONSES for method in methods):
            raise ValueError(f"it holds a score of {methods!r}, which is none of {sorted(RESPONSES)}.")


def _check_memory(part) -> None:
    """Raise ValueError if scikit-learn's compiled code would read beyond its memory: in trees and support vectors."""
    if _is_tree(part):
        _check_tree(part)
    if not isinstance(part, BaseEstimator):
        return
    values = vars(part)
    n_features = values.get("n_features_in_")
    tree: Any = values.get("tree_")
    if _is_tree(tree) and tree.n_features != n_features:
        raise ValueError(f"it holds a decision tree for {tree.n_features} features in an estimator for {n_features}.")
    if hasattr(type(part), "n_features_in_"):           # of votes and stacks, whose members look themselves
        return
    members = np.asarray(values.get("estimators_", ()), dtype=object).ravel()
    given = values.get("estimators_features_")          # of each member, where it is not given all
    for i, member in enumerate(members):
        tree = getattr(member, "tree_", None)
        if _is_tree(tree):
            n_given = n_features if given is None else len(given[i])
            if tree.n_features != n_given:
                raise ValueError(f"it holds a decision tree for {tree.n_features} features, and gives it {n_given}.")
    if "support_vectors_" in values:
        _check_support_vectors(values)


def _check_support_vectors(values: dict) -> None:
    """Raise ValueError unless support vectors, their counts and coefficients have shapes that fit together."""
    vectors, coefficients, counts = (values[name] for name in ("support_vectors_", "_dual_coef_", "_n_support"))
    n, n_classes = len(values["support_"]), len(values.get("classes_", (0, 1)))
    n_pairs = n_classes * (n_classes - 1) // 2
    expected = (0, 0) if values["kernel"] == "precomputed" else (n, values["n_features_in_"])
    if vectors.shape != expected or coefficients.shape != (n_classes - 1, n) or len(counts) != n_classes or (
            (counts < 0).any() or (counts.sum() if "classes_" in values else counts[0]) != n
            or not all(0 <= row < values["shape_fit_"][0] for row in values["support_"])
            or len(values["_intercept_"]) != n_pairs
            or not {len(values["_probA"]), len(values["_probB"])} <= {0, n_pairs}):
        raise ValueError("it holds support vectors that do not fit together.")


def _is_tree(part: Any) -> bool:
    """Whether this is a decision tree's inner object, whose module takes long to import."""
    return any(full_name(kind) == "sklearn.tree._tree.Tree" for kind in type(part).__mro__)


def _check_tree(tree: Any) -> None:
    """Raise ValueError unless children come after their parent, and features exist, in every node of a tree."""
    nodes = np.arange(tree.node_count)
    inner = tree.children_left >= 0
    for children in (tree.children_left, tree.children_right):
        if len(children) != len(nodes) or (children[inner] <= nodes[inner]).any() or (
                children[inner] >= len(nodes)).any() or (children[~inner] != -1).any():
            raise ValueError("it holds a decision tree that is none.")
    if (tree.feature[inner] < 0).any() or (tree.feature[inner] >= tree.n_features).any():
        raise ValueError("it holds a decision tree that asks for features that there are not.")


def dump_with_skops(estimator) -> bytes:
    skops = optional("skops.io", *EXTRA)
    try:
        data = skops.dumps(estimator)
    except Exception as error:          # skops has no common base of its errors
        raise ValueError(f"{type(estimator).__name__} cannot be saved: {error}") from error
    if unknown := _untrusted(data, _trusted_names(Known())):
        warnings.warn(f"load() will take this file only with trusted=[...] of {', '.join(unknown)}.", UserWarning,
                      stacklevel=3)
    return data


def load_with_skops(data: bytes, known: Known):
    skops = optional("skops.io", *EXTRA)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        check_stored(archive, len(data))
    data = _with_new_names(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        _check_nodes(json.loads(archive.read("schema.json")), known)
    trusted = _trusted_names(known)
    if unknown := _untrusted(data, trusted):
        raise ValueError(f"it needs {unknown}, which are not known here: if the file is from someone you trust, pass "
                         "the classes and functions themselves, trusted=[...].")
    return skops.loads(data, trusted=[*trusted, *SCORES])


def _with_new_names(data: bytes) -> bytes:
    """The same archive with today's module of SavedClassifier, which files of version 0.1.0 name otherwise."""
    new = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(new, "w") as renamed:
        for name in archive.namelist():
            part = archive.read(name)
            if name == "schema.json":
                part = part.replace(b'"fmnist_sk._skops"', f'"{SavedClassifier.__module__}"'.encode())
            renamed.writestr(name, part)
    return new.getvalue()


def _check_nodes(schema, known: Known) -> None:
    """Raise ValueError if a node would call anything but what the user trusts: skops goes by names alone."""
    trusted, parts = {full_name(kind) for kind in known.trusted}, [schema]
    while parts:
        part = parts.pop()
        if isinstance(part, list):
            parts += part
        if isinstance(part, dict):
            parts += part.values()
            kind, name = part.get("__loader__"), f"{part.get('__module__')}.{part.get('__class__')}"
            if kind is not None and name not in trusted and (
                    kind not in NODES or (name in SCORES and kind != "FunctionNode")):
                raise ValueError(f"it holds {name} in a {kind}, which may run code.")


def _trusted_names(known: Known) -> list[str]:
    own = (DeepEnsembleClassifier, FeatureExtractor, HOGTransformer, ImageReader, ImageScaler, ImageStandardizer,
           PhotoToFashion, SavedClassifier, *(getattr(augmentation, name) for name in augmentation.__all__))
    # Never a classifier: its __setstate__ reads pickles.
    return [*PARTS_OF_SKLEARN, *(full_name(kind) for kind in (*own, *known.trusted)
                                 if not (isinstance(kind, type) and issubclass(kind, ImageClassifier)))]


def _types_of(data: bytes) -> list[str]:
    return optional("skops.io", *EXTRA).get_untrusted_types(data=data)


def _untrusted(data: bytes, trusted: list[str]) -> list[str]:
    return sorted(set(_types_of(data)) - {*trusted, *SCORES})
