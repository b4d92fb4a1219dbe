"""Summaries, feature maps, features for other estimators."""
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from estimators import CLASSIFIERS, small
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC
from torch import nn

import fmnist_sk
from fmnist_sk import ConvNetClassifier, FeatureExtractor, ImageClassifier, ImageScaler, feature_maps, summary

every_classifier = pytest.mark.parametrize("name", CLASSIFIERS)


@pytest.fixture
def fitted(tiny_images):
    X, y = tiny_images()
    return small("ConvNetClassifier", precision="fp32").fit(X, y)


# ---------------------------------------------------------------------- summary

def test_summary_counts_by_hand():
    table = summary(ConvNetClassifier(architecture="8C3-MP2-16N"))
    assert table.index.tolist() == [*(f"features.{i}" for i in range(4)), *(f"head.{i}" for i in range(4)), "total"]
    assert table.output_shape.tolist() == [*[(8, 28, 28)] * 3, (8, 14, 14), (16,), (16,), (16,), (10,), (10,)]
    assert table.parameters.tolist() == [80, 16, 0, 0, 25104, 0, 0, 170, 25370]
    assert table.multiply_adds.tolist() == [9 * 8 * 28 * 28, 0, 0, 0, 1568 * 16, 0, 0, 160, 56448 + 25088 + 160]
    assert table.type.tolist() == ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d", "Linear", "ReLU", "Dropout", "Linear",
                                   "ConvNet"]


@every_classifier
def test_summary_before_and_after_fit(name, tiny_images):
    X, y = tiny_images(channels=3)
    state = torch.get_rng_state()
    classifier = small(name, image_shape=(3, 8, 8), max_epochs=1)
    before = summary(classifier)
    assert not hasattr(classifier, "module_")
    assert torch.equal(state, torch.get_rng_state())
    after = summary(classifier.fit(X, y))
    assert before.index.equals(after.index)
    assert (before.output_shape.iloc[:-3] == after.output_shape.iloc[:-3]).all()
    parameters = list(classifier.module_.network.parameters())
    assert after.loc["total", "parameters"] == sum(p.numel() for p in parameters)
    assert after.parameters[:-1].sum() == after.loc["total", "parameters"]
    assert after.multiply_adds[:-1].sum() == after.loc["total", "multiply_adds"] > 0
    assert after.loc["total", "output_shape"] == (3,)


def test_summary_needs_no_pretrained_weights():
    assert summary(fmnist_sk.InceptionV3Classifier()).loc["base.Conv2d_1a_3x3.conv", "output_shape"] == (32, 74, 74)


def test_published_multiply_adds():
    """WRN-28-10 takes 5.2 G multiply-adds, DenseNet-BC-100-12 0.3 G for a CIFAR image, by their authors' counts."""
    for classifier, published in ((fmnist_sk.WideResNetClassifier(depth=28, widen_factor=10), 5.2e9),
                                  (fmnist_sk.DenseNetClassifier(depth=100), 0.29e9)):
        counted = summary(classifier.set_params(image_shape=(3, 32, 32))).loc["total", "multiply_adds"]
        assert abs(counted / published - 1) < 0.03


@pytest.mark.parametrize("look", [summary, lambda wrong: FeatureExtractor(wrong).fit([[0.0], [1.0]], [0, 1])])
@pytest.mark.parametrize("wrong", [SVC(), "ResNetClassifier", make_pipeline(ImageScaler())])
def test_what_is_no_network_is_refused(look, wrong):
    with pytest.raises(TypeError, match=r"(estimator|classifier) must be an ImageClassifier such as"):
        look(wrong)


# ---------------------------------------------------------------------- feature maps

def test_feature_maps_are_those_of_the_network(fitted, tiny_images):
    X, _ = tiny_images(n=70)
    maps = feature_maps(fitted, X)
    assert list(maps) == ["features.0", "features.3"]
    assert [values.shape for values in maps.values()] == [(70, 8, 8, 8), (70, 16, 8, 8)]
    module = fitted.module_.eval()
    with torch.no_grad():
        first = module.network.features[0](module.standardize(torch.from_numpy(X).float()[:, None]))
    np.testing.assert_allclose(maps["features.0"], first, atol=1e-5)
    assert all(values.dtype == np.float32 for values in maps.values())


def test_every_convolution_and_pooling_has_feature_maps(tiny_images):
    X, y = tiny_images(size=14)
    maps = feature_maps(small("ConvNetClassifier", architecture="4C3-MP2-6C3-MP2-8N", max_epochs=1).fit(X, y), X[:3])
    assert [values.shape for values in maps.values()] == [
        (3, 4, 14, 14), (3, 4, 7, 7), (3, 6, 7, 7), (3, 6, 3, 3)]


def test_feature_maps_of_named_layers(fitted, tiny_images):
    X, _ = tiny_images(n=9)
    maps = feature_maps(fitted, X, ["head.0", "features"])
    assert {name: values.shape for name, values in maps.items()} == {"features": (9, 16, 8, 8), "head.0": (9, 16)}
    logits = feature_maps(fitted, X, ["head.3"])["head.3"]
    np.testing.assert_allclose(torch.from_numpy(logits).softmax(1), fitted.predict_proba(X), atol=1e-6)


def test_feature_maps_refuse_what_they_cannot_use(fitted, tiny_images):
    X, _ = tiny_images(n=9)
    with pytest.raises(ValueError, match=r"layers must be named as in the network \(features, .*got \['conv9'\]"):
        feature_maps(fitted, X, ["conv9"])
    for layers in ("head.0", 3):
        with pytest.raises(TypeError, match="must be a list of names, got layers="):
            feature_maps(fitted, X, layers)
    with pytest.raises(TypeError, match="classifier must be an ImageClassifier"):
        feature_maps(None, X)
    with pytest.raises(NotFittedError):
        feature_maps(ConvNetClassifier(), X)


def test_only_the_own_thread_is_seen(fitted, tiny_images):
    X, _ = tiny_images(n=64)
    other = X[::-1].copy()
    expected, stop = feature_maps(fitted, X), threading.Event()

    def disturb():
        while not stop.is_set():
            fitted.predict(other)

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for _ in range(30):
            for name, values in feature_maps(fitted, X).items():
                np.testing.assert_array_equal(values, expected[name])
    finally:
        stop.set()
        thread.join()


# ---------------------------------------------------------------------- FeatureExtractor

@every_classifier
def test_penultimate_features_lead_to_the_probabilities(name, tiny_images):
    X, y = tiny_images()
    classifier = small(name, max_epochs=2, precision="fp32").fit(X, y)
    features = FeatureExtractor(FrozenEstimator(classifier)).fit(X, y).transform(X)
    last = [layer for layer in classifier.module_.modules() if isinstance(layer, nn.Linear)][-1]
    assert features.shape == (60, last.in_features)
    assert features.dtype == np.float32
    with torch.no_grad():
        probabilities = last(torch.from_numpy(features)).softmax(1)
    np.testing.assert_allclose(probabilities, classifier.predict_proba(X), atol=1e-5)


def test_named_layers_are_flattened(fitted, tiny_images):
    X, y = tiny_images()
    extractor = FeatureExtractor(FrozenEstimator(fitted), layer="features.3").fit(X, y)
    np.testing.assert_array_equal(extractor.transform(X), feature_maps(fitted, X)["features.3"].reshape(60, -1))
    assert extractor.get_feature_names_out()[-1] == "featureextractor1023"
    with pytest.raises(ValueError, match=r"named as in the network .* got \['conv9'\]"):
        FeatureExtractor(FrozenEstimator(fitted), layer="conv9").fit(X, y)


def test_order_of_computation_decides_what_is_last(tiny_images):
    class Upside(nn.Module):
        def __init__(self, n_classes):
            super().__init__()
            self.last, self.first = nn.Linear(5, n_classes), nn.Linear(64, 5)

        def forward(self, x):
            return self.last(self.first(x.flatten(1)))

    X, y = tiny_images()
    extractor = FeatureExtractor(ImageClassifier(module=Upside, max_epochs=1)).fit(X, y)
    assert extractor.transform(X).shape == (60, 5)


def test_layers_without_a_tensor_are_refused(tiny_images):
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = nn.Linear(2, 2)

        def forward(self, x):
            return x, x

    class Net(nn.Module):
        def __init__(self, n_classes):
            super().__init__()
            self.pair, self.logits = Pair(), nn.Linear(64, n_classes)

        def forward(self, x):
            return self.logits(input=self.pair(x)[0].flatten(1))

    X, y = tiny_images()
    net = ImageClassifier(module=Net, max_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match=r"whose output is a tensor, got \['pair.unused'\]"):
        feature_maps(net, X, ["pair.unused"])
    with pytest.raises(ValueError, match=r"whose output is a tensor, got layer='pair.unused'"):
        FeatureExtractor(FrozenEstimator(net), layer="pair.unused").fit(X, y)
    assert feature_maps(net, X, (name for name in ["pair"]))["pair"].shape == (60, 1, 8, 8)      # the first of two
    assert FeatureExtractor(FrozenEstimator(net)).fit(X).transform(X).shape == (60, 64)
    assert summary(net).index.tolist() == ["logits", "total"]


class Attention(nn.Module):
    """Parameters of its own, a layer that is called twice, layers of odd calls and shapes."""

    def __init__(self, n_classes):
        super().__init__()
        self.position = nn.Parameter(torch.zeros(8, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.constant = Constant()
        self.rows = nn.Linear(8, 8)
        self.squeeze, self.logits = nn.Linear(64, 5), nn.Linear(5, n_classes)

    def forward(self, x):
        self.logits(x.new_zeros(len(x), 5))              # its last call counts
        x = x[:, 0] + self.position
        x = self.attention(x, x, x)[0] + self.constant()
        x = self.rows(x.reshape(-1, 8)).reshape(len(x), 64)
        return self.logits(torch.tanh(self.squeeze(x)))


class Constant(nn.Module):
    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(8))

    def forward(self):
        return self.value


def test_unusual_networks(tiny_images):
    X, y = tiny_images()
    unfitted = ImageClassifier(module=Attention, max_epochs=1, precision="fp32")
    net = ImageClassifier(module=Attention, max_epochs=1, precision="fp32").fit(X, y)
    features = FeatureExtractor(FrozenEstimator(net)).fit(X).transform(X)
    with torch.no_grad():
        expected = net.module_.network.logits(torch.from_numpy(features)).softmax(1)
    np.testing.assert_allclose(expected, net.predict_proba(X), atol=1e-6)
    table = summary(net)
    assert table.loc["attention", "parameters"] == 4 * 8 * 8 + 4 * 8
    assert table.loc["total", "parameters"] - table.parameters[:-1].sum() == 64            # the position
    shapes = summary(unfitted.set_params(image_shape=(8, 8)))
    assert shapes.loc["attention", "multiply_adds"] == table.loc["attention", "multiply_adds"] > 0
    for name in ("rows", "constant"):
        with pytest.raises(ValueError, match=f"layers must give one row for each image, but '{name}' gives"):
            feature_maps(net, X, [name])


def test_a_fitted_extractor_keeps_its_layer(tiny_images):
    X, y = tiny_images()
    extractor = FeatureExtractor(small("ConvNetClassifier")).fit(X, y)
    before = extractor.transform(X)
    np.testing.assert_array_equal(extractor.set_params(layer="features.0").transform(X), before)
    assert extractor.fit(X, y).transform(X).shape == (60, 8 * 8 * 8)


@pytest.mark.parametrize("layer", [3, ["features.0"], {}])
def test_a_layer_is_a_name(layer, tiny_images):
    with pytest.raises(TypeError, match="layer must be the name of a layer or None, got layer="):
        FeatureExtractor(small("ConvNetClassifier"), layer=layer).fit(*tiny_images())


def test_feeds_another_estimator_and_is_trained_in_the_fold(tiny_images):
    X, y = tiny_images(["bag", "coat"])
    X = X.reshape(len(X), -1)
    fits = []

    class Counted(ConvNetClassifier):
        def fit(self, X, y, sample_weight=None):
            fits.append(len(X))
            return super().fit(X, y, sample_weight)

    net = Counted(architecture="8C3-16N", lr=0.01, max_epochs=10, random_state=0)
    pipeline = make_pipeline(FeatureExtractor(net), SVC())
    assert cross_val_score(pipeline, X, y, cv=3).mean() > 0.9
    assert fits == [40, 40, 40]
    frozen = make_pipeline(FeatureExtractor(FrozenEstimator(clone(net).fit(X, y))), SVC())
    assert cross_val_score(frozen, X, y, cv=3).mean() > 0.9
    assert len(fits) == 4
    grid = {"featureextractor__estimator__lr": [0.01, 0.02], "featureextractor__layer": [None, "features.0"]}
    assert GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, y).score(X, y) > 0.9


def test_takes_a_pipeline_that_ends_in_a_network(tiny_images):
    X, y = tiny_images()
    X = X.reshape(len(X), -1)
    pipeline = make_pipeline(ImageScaler(), small("ConvNetClassifier"))
    extractor = FeatureExtractor(pipeline).fit(X, y)
    assert extractor.transform(X).shape == (60, 16)
    fitted = extractor.estimator_
    scaled = fitted[0].transform(X)
    np.testing.assert_array_equal(
        extractor.transform(X), FeatureExtractor(FrozenEstimator(fitted[-1])).fit(scaled, y).transform(scaled))
    assert list(feature_maps(fitted, X)) == list(feature_maps(fitted[-1], scaled))
    nested = make_pipeline(ImageScaler(), FrozenEstimator(fitted))
    frozen = FrozenEstimator(clone(nested).fit(scaled, y))
    np.testing.assert_array_equal(FeatureExtractor(frozen).fit(scaled).transform(scaled),
                                  FeatureExtractor(nested).fit(scaled, y).transform(scaled))
    assert LogisticRegression().fit(extractor.transform(X), y).score(extractor.transform(X), y) > 0.9


def test_passes_weights_on_and_gives_frames(tiny_images):
    X, y = tiny_images([0, 1])
    X = X.reshape(len(X), -1)
    wrong = np.where(np.arange(60) < 30, 1 - y, y)
    extractor = FeatureExtractor(small("ConvNetClassifier")).set_output(transform="pandas")
    frame = extractor.fit(X, wrong, sample_weight=(np.arange(60) >= 30).astype(float)).transform(X)
    assert isinstance(frame, pd.DataFrame)
    assert frame.columns[0] == "featureextractor0"
    named = pd.DataFrame(X, columns=[f"p{i}" for i in range(64)])
    assert FeatureExtractor(small("ConvNetClassifier")).fit(named, y).feature_names_in_[3] == "p3"
    assert (extractor.estimator_.predict(X) == y).mean() > 0.9
