"""Images in shared memory, which candidates of a search take without copies."""
import pickle
from typing import ClassVar

import joblib
import numpy as np
import pytest
import torch
from estimators import small
from sklearn.base import clone
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from fmnist_sk import ConvNetClassifier, DeepEnsembleClassifier, SharedImages, grad_cam


@pytest.mark.parametrize("form", ["flat", "3-D", "4-D", "floats", "tensor"])
def test_shared_images_give_what_images_give(form, tiny_images):
    X, y = tiny_images(["bag", "coat", "shirt"], n=90, channels=1)
    X = {"flat": X.reshape(90, -1), "3-D": X[:, 0], "4-D": X, "floats": X / 255, "tensor": torch.from_numpy(X)}[form]
    shared = SharedImages(X, "cpu")
    assert shared.shape == tuple(X.shape)
    net = small("ConvNetClassifier", max_epochs=2, validation_fraction=0.2, class_weight="balanced")
    rows = np.random.default_rng(0).permutation(90)[:70]
    weights = np.where(y == "bag", 2.0, 1.0)
    drawn = X[rows], shared[rows]
    for given, weight in (((X, shared), None), (drawn, None), (drawn, weights[rows]),
                          (drawn, rows % 3 / 3), ((X[y != "bag"], shared[y != "bag"]), None)):
        labels = y if len(given[0]) == 90 else y[rows] if len(given[0]) == 70 else y[y != "bag"]
        plain, other = (clone(net).fit(part, labels, weight) for part in given)
        np.testing.assert_array_equal(other.predict_proba(shared[5:50]), plain.predict_proba(X[5:50]))
        assert other.value_range_ == plain.value_range_
        assert other.n_features_in_ == plain.n_features_in_
        assert other.score(shared, y) == plain.score(X, y)
    repeated = np.repeat(rows, 2)
    plain, other = (clone(net).fit(part, y[repeated]) for part in (X[repeated], shared[repeated]))
    np.testing.assert_array_equal(other.predict_proba(shared), plain.predict_proba(X))


class Remembering(ConvNetClassifier):
    """Remembers where the images of its fits are."""

    addresses: ClassVar = set()

    def get_split_datasets(self, images, *args, **kwargs):
        Remembering.addresses.add(images.pixels.data_ptr())
        return super().get_split_datasets(images, *args, **kwargs)


def test_searches_and_ensembles_take_shared_images_without_copies(tiny_images):
    X, y = tiny_images(n=90)
    shared, addresses = SharedImages(X), Remembering.addresses
    net = Remembering(architecture="4C3-MP2-8N", max_epochs=1, random_state=0, n_threads=1)
    search = GridSearchCV(net, {"lr": [1e-3, 1e-2]}, cv=3)
    expected = clone(search).fit(X, y)
    addresses.clear()
    with joblib.parallel_config("threading", n_jobs=2):
        found = clone(search).fit(shared, y)
    assert addresses == {shared.pixels.data_ptr()}
    np.testing.assert_array_equal(found.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(found.predict_proba(shared), expected.predict_proba(X))
    stack = StackingClassifier([("net", net)], LogisticRegression(), cv=2)
    np.testing.assert_array_equal(clone(stack).fit(shared, y).predict(shared), clone(stack).fit(X, y).predict(X))
    ensemble = DeepEnsembleClassifier(net, 2, together=True, random_state=0)
    np.testing.assert_array_equal(clone(ensemble).fit(shared, y).predict(shared),
                                  clone(ensemble).fit(X, y).predict(X))
    assert np.asarray(shared[:3]).tolist() == X[:3].tolist()


@pytest.mark.parametrize("index", [
    slice(None, None, -2), [], [-1, 0], np.array([2, 0, 1], dtype=np.uint8), np.array([1, 2], dtype=np.int16),
    np.arange(20) % 3 == 0, torch.tensor([3, 4]), torch.arange(20) > 5, [True, False] * 10], ids=str)
def test_parts_of_shared_images_are_those_of_arrays(index):
    X = np.arange(80, dtype=np.uint8).reshape(20, 2, 2)
    expected = X[index if isinstance(index, slice) else np.asarray(index, dtype=None if len(index) else int)]
    part = SharedImages(X)[index]
    np.testing.assert_array_equal(np.asarray(part), expected)
    copied = pickle.loads(pickle.dumps(part))
    np.testing.assert_array_equal(np.asarray(copied), expected)
    assert len(copied.pixels) == len(expected)


@pytest.mark.parametrize("index", [1, "a", None, np.zeros(3, dtype=bool), np.zeros(2), np.zeros((2, 2), dtype=int),
                                   [100]], ids=str)
def test_parts_of_shared_images_are_parts(index):
    with pytest.raises(IndexError, match="index must be a slice, whole numbers"):
        SharedImages(np.zeros((20, 8, 8)))[index]


@pytest.mark.parametrize(("X", "error", "message"), [
    (np.full((5, 4), np.nan), ValueError, "X contains NaN"), ("abc", TypeError, "X must hold pixel values"),
    (np.zeros((0, 4)), ValueError, "0 sample.* required by SharedImages"),
    (np.zeros((2, 3, 4, 5, 6)), ValueError, "X must have 2, 3 or 4 dimensions"),
])
def test_what_cannot_be_shared(X, error, message):
    with pytest.raises(error, match=message):
        SharedImages(X)
    with pytest.raises(ValueError, match="device must name a device of this machine"):
        SharedImages(np.zeros((5, 4)), device="wibble")


@pytest.mark.cuda
def test_candidates_on_cuda_share_one_copy(tiny_images):
    X, y = tiny_images(n=120)
    shared = SharedImages(X, "cuda")
    net = Remembering(architecture="4C3-MP2-8N", max_epochs=1, random_state=0, device="cuda")
    Remembering.addresses.clear()
    with joblib.parallel_config("threading", n_jobs=2):
        found = GridSearchCV(net, {"lr": [1e-3, 1e-2]}, cv=2).fit(shared, y)
    assert found.best_score_ > 0.3
    assert Remembering.addresses == {shared.pixels.data_ptr()}
    assert np.asarray(shared).tolist() == X.tolist()


def test_a_part_has_maps_of_its_own_images(tiny_images):
    X, y = tiny_images()
    net = small("ConvNetClassifier", max_epochs=2).fit(X, y)
    part = SharedImages(X, "cpu")[[40, 3, 12]]
    np.testing.assert_array_equal(grad_cam(net, part), grad_cam(net, X[[40, 3, 12]]))


def test_images_can_be_iterated_over_and_become_arrays_as_copies(tiny_images):
    X, _ = tiny_images()
    part = SharedImages(X, "cpu")[5:9]
    np.testing.assert_array_equal(list(part), X[5:9])
    with pytest.raises(ValueError, match="SharedImages become an array only as a copy, got copy=False"):
        np.array(part, copy=False)
