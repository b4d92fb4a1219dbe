"""To how many rows few images are padded, so that their predictions do not depend on their number."""
import gc

import numpy as np
import pytest
import torch
from estimators import small
from torch import nn

from fmnist_sk import FeatureExtractor, ImageClassifier, feature_maps
from fmnist_sk._network import rows


class Counts(nn.Linear):
    """A linear layer that remembers how many rows it was given."""

    def forward(self, x):
        self.__dict__.setdefault("seen", []).append(len(x))
        return super().forward(x)


class DependsOnItsBatch(Counts):
    """Other bits for fewer than `needs` rows, as of a kernel that adds in another order."""

    needs = 4

    def forward(self, x):
        out = super().forward(x)
        return out if len(x) >= self.needs else out * (1 + 1e-6)


class Squeezes(Counts):
    def forward(self, x):
        return super().forward(x).squeeze()


def fitted(layer, tiny_images):
    X, y = tiny_images()
    net = ImageClassifier(module=nn.Sequential(nn.Flatten(), layer(64, 3)), max_epochs=2, precision="fp32",
                          random_state=0).fit(X, y)
    counts = net.module_.network[1]
    return net, X, counts


def rows_of(net, counts, X):
    net.predict(X)              # tries it
    counts.seen = []
    net.predict(X)
    return counts.seen.copy()


@pytest.mark.parametrize(("layer", "expected"), [
    (DependsOnItsBatch, {1: 4, 3: 4, 4: 4, 5: 8, 9: 16, 16: 16, 17: 17}),
    (Squeezes, {1: 2, 2: 2, 15: 16}),                               # which are no logits for a single row
])
def test_few_images_get_the_fewest_rows_that_give_the_same_bits(layer, expected, tiny_images):
    net, X, counts = fitted(layer, tiny_images)
    assert {n: rows_of(net, counts, X[:n]) for n in expected} == {n: [rows] for n, rows in expected.items()}
    proba = net.predict_proba(X)
    for n in expected:
        np.testing.assert_array_equal(net.predict_proba(X[:n]), proba[:n])


def test_a_network_is_tried_once_for_each_number_of_threads_and_precision(tiny_images):
    net, X, counts = fitted(Counts, tiny_images)
    for params in ({}, {"precision": "bf16"}, {"n_threads": 1}):
        net.set_params(**params)
        counts.seen = []
        net.predict(X[:1])
        tried, counts.seen = counts.seen, []
        if "n_threads" in params:                       # there was one before
            assert len(tried) == 1
        else:
            assert tried[:17] == [16] + 16 * [1]
        net.predict(X[:1])
        assert counts.seen == tried[-1:]


class HidesItInside(nn.Sequential):
    """Few rows give other bits inside, but not in the logits, which are rounded."""

    def __init__(self, n_inputs, n_classes):
        super().__init__(DependsOnItsBatch(n_inputs, n_classes), Rounds())


class Rounds(nn.Identity):
    def forward(self, x):
        return x.bfloat16().float()


def test_a_difference_inside_counts_although_rounding_hides_it(tiny_images):
    net, X, counts = fitted(HidesItInside, tiny_images)
    assert rows_of(net, counts[0], X[:1]) == [4]


def test_logits_that_say_nothing_decide_nothing(tiny_images):
    net, X, counts = fitted(DependsOnItsBatch, tiny_images)
    weight = counts.weight.detach().clone()
    with torch.no_grad():
        counts.weight.zero_()
        assert rows_of(net, counts, X[:1])[-1] == 16
        counts.weight.copy_(weight)
        assert rows_of(net, counts, X[:1]) == [4]


def test_features_and_maps_of_few_images_are_those_of_many(tiny_images):
    X, y = tiny_images()
    net = small("ResNetClassifier").fit(X, y)
    for few in (1, 3, 9):
        for name, maps in feature_maps(net, X[:few]).items():
            np.testing.assert_array_equal(maps, feature_maps(net, X)[name][:few])
    features = FeatureExtractor(small("ConvNetClassifier")).fit(X, y)
    np.testing.assert_array_equal(features.transform(X[:1]), features.transform(X)[:1])


def test_what_was_tried_is_forgotten_with_the_network(tiny_images):
    gc.collect()
    before = len(rows._known)
    net, X, _ = fitted(Counts, tiny_images)
    net.predict(X[:1])
    assert len(rows._known) == before + 1
    del net, _
    gc.collect()
    assert len(rows._known) == before
