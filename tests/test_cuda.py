"""What only a CUDA device can show."""
import pickle

import numpy as np
import pytest
import sklearn
import torch
from estimators import CLASSIFIERS, small
from skorch.exceptions import DeviceWarning
from torch import nn

from fmnist_sk import ImageScaler, ImageStandardizer, RandomCrop, RandomHorizontalFlip

pytestmark = pytest.mark.cuda
every_classifier = pytest.mark.parametrize("name", CLASSIFIERS)


def images(make):
    X, y = make(["bag", "coat"])
    return torch.from_numpy(X).cuda(), y


@every_classifier
@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_fits_and_predicts_on_the_device(name, precision, tiny_images):
    X, y = images(tiny_images)
    classifier = small(name, precision=precision, validation_fraction=0.2, augment=[RandomCrop(padding=1)]).fit(X, y)
    assert classifier.device_.type == "cuda"
    assert all(p.is_cuda for p in classifier.module_.parameters())
    assert classifier.score(X, y) > 0.9
    with sklearn.config_context(array_api_dispatch=True):
        assert classifier.predict_proba(X).is_cuda


@every_classifier
def test_arrays_go_to_the_device_by_default_and_labels_may_be_there(name, tiny_images):
    X, y = tiny_images([3, 4])
    assert small(name, max_epochs=1).fit(X, y).device_.type == "cuda"
    assert small(name, max_epochs=1, device="cpu").fit(X, y).device_.type == "cpu"
    on_device = small(name).fit(torch.from_numpy(X).cuda(), torch.from_numpy(y).cuda())
    assert on_device.score(X, torch.from_numpy(y).cuda()) > 0.9


@every_classifier
def test_pixels_are_never_copied_to_the_host(name, tiny_images, monkeypatch):
    X, y = images(tiny_images)
    copy = torch.Tensor.cpu

    def refuse(self, *args, **kwargs):
        assert self.ndim < 3, "images came to the host"
        return copy(self, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "cpu", refuse)
    classifier = small(name, validation_fraction=0.2, max_epochs=2).fit(X, y, np.arange(60) / 7)
    classifier.partial_fit(X, y).predict(X)


@every_classifier
def test_pickles_move_between_devices(name, tiny_images, monkeypatch):
    X, y = tiny_images(["bag", "coat"])
    classifier = small(name, device="cuda").fit(X, y)
    expected = classifier.predict_proba(X)
    stored = pickle.dumps(classifier)
    np.testing.assert_array_equal(pickle.loads(stored).predict_proba(X), expected)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.warns(DeviceWarning, match="not available|no CUDA"):
        moved = pickle.loads(stored)
    assert moved.device_.type == "cpu"
    np.testing.assert_allclose(moved.predict_proba(X), expected, atol=0.05)
    moved.partial_fit(X, y)


@every_classifier
def test_same_seed_gives_the_same_result_in_deterministic_mode(name, tiny_images):
    X, y = tiny_images()
    torch.use_deterministic_algorithms(True)
    try:
        one, two = (small(name, max_epochs=3, augment=[RandomCrop(padding=1)]).fit(X, y).predict_proba(X)
                    for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    np.testing.assert_array_equal(one, two)


def test_lazy_layers_weights_and_large_images(tiny_images):
    X, y = tiny_images(size=40)

    def make(n_classes):
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(16), nn.ReLU(), nn.Dropout(0.1), nn.LazyLinear(n_classes))

    weights = np.random.default_rng(0).random(60)
    torch.use_deterministic_algorithms(True)
    try:
        for params in ({"module": make}, {}):
            name = "ImageClassifier" if params else "ResNetClassifier"
            classifier = small(name, class_weight="balanced", **params).fit(X, y, weights)
            assert classifier.score(X, y) > 0.9
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("transformer", [ImageScaler(), ImageStandardizer(), RandomCrop(padding=1),
                                         RandomHorizontalFlip()])
def test_transformers_stay_on_the_device(transformer, tiny_images):
    X, y = images(tiny_images)
    assert transformer.fit_transform(X, y).is_cuda
    assert transformer.transform(X).is_cuda
