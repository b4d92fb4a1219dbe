"""Ensembles: members that differ by chance, trained together or in turn, with the same outcome."""
import copy
import pickle
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from estimators import CLASSIFIERS, small
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from skorch.callbacks import Callback
from skorch.utils import to_numpy
from torch import nn

from fmnist_sk import (
    ConvNetClassifier,
    CutMix,
    DeepEnsembleClassifier,
    ImageClassifier,
    ImageScaler,
    RandomCrop,
    load,
    save,
)

TOGETHER = [name for name in CLASSIFIERS if name not in ("InceptionV3Classifier", "MLPMixerClassifier")]


def net(name="ConvNetClassifier", **params):
    """In double precision there would be no difference; in float32 it is rounding, which small rates keep small."""
    return small(name, **{"max_epochs": 2, "lr": 1e-4, "precision": "fp32", **params})


def both(estimator, X, y, sample_weight=None, **params):
    """Trained together, and in turn."""
    found = [DeepEnsembleClassifier(clone(estimator), 3, together=together, random_state=0, **params).fit(
        X, y, sample_weight) for together in (True, False)]
    assert not found[1].trained_together_
    return found


class Keeps(Callback):
    """Keeps the images and codes that steps are given."""

    def on_train_begin(self, net, **kwargs):
        self.batches = []

    def on_batch_end(self, net, batch, training, **kwargs):
        self.batches += [to_numpy(batch[0]["x"]), to_numpy(batch[1])] if training else []


def next_batches(member, X, y):
    """What a member would be trained on next: which images in which order, and how they are shifted."""
    keeps = Keeps()
    member = copy.deepcopy(member).set_params(callbacks=[keeps], augment=RandomCrop(padding=1))
    member.initialize_callbacks().partial_fit(X, y)
    return keeps.batches


def check_same(together, alone, X, y):
    for member, other in zip(together.estimators_, alone.estimators_, strict=True):
        np.testing.assert_allclose(member.predict_proba(X), other.predict_proba(X), atol=2e-3)
        assert member.n_iter_ == other.n_iter_
        assert getattr(member, "best_epoch_", 0) == getattr(other, "best_epoch_", 0)
        for name in ("train_loss", "valid_loss"):
            if name in member.history_[0]:
                np.testing.assert_allclose(member.history_[:, name], other.history_[:, name], rtol=5e-3)
        batches = next_batches(member, X, y), next_batches(other, X, y)             # all draws so far were the same
        assert len(batches[0]) > 1
        assert all(np.array_equal(*pair) for pair in zip(*batches, strict=True))


class FreezesFeatures(Callback):
    """Freezes the convolutions after the first epoch, and remembers what they were."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 1:
            net.module_.network.features.requires_grad_(False)
            self.weights = [value.clone() for value in net.module_.network.features.parameters()]


def test_layers_that_a_callback_freezes_stay_frozen_in_a_group(tiny_images):
    X, y = tiny_images()
    net = small("ConvNetClassifier", max_epochs=3, callbacks=[FreezesFeatures])
    for ensemble in both(net, X, y):
        for member in ensemble.estimators_:
            frozen = next(callback for _, callback in member.callbacks_ if isinstance(callback, FreezesFeatures))
            for kept, value in zip(frozen.weights, member.module_.network.features.parameters(), strict=True):
                assert torch.equal(kept, value)


@pytest.mark.parametrize("name", TOGETHER)
def test_every_convolutional_network_is_trained_together(name, tiny_images):
    X, y = tiny_images(["bag", "coat", "shirt"])
    params = {"module": CONVOLUTIONS} if name == "ImageClassifier" else {}
    together, alone = both(net(name, **params), X, y)
    assert together.trained_together_
    check_same(together, alone, X, y)
    first, second, _ = (member.predict_proba(X) for member in together.estimators_)
    assert np.abs(first - second).max() > 1e-5                                  # their seeds differ


CONVOLUTIONS = nn.Sequential(nn.Conv2d(1, 8, 3, groups=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=4),
                             nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(32, 3))


@pytest.mark.parametrize("params", [
    {"augment": [RandomCrop(padding=1), CutMix(p=0.5)]}, {"sam_rho": 0.05}, {"gradient_clip": 0.1},
    {"ema": 0.9, "dropout": 0.3}, {"swa": 0.3, "max_epochs": 3}, {"optimizer": "sgd", "lr": 1e-3},
    {"validation_fraction": 0.2, "schedule": "reduce_on_plateau", "max_epochs": 4}, {"batch_size": 59},
    {"criterion": "mse", "class_weight": {"bag": 2.0}}, {"criterion": nn.CrossEntropyLoss()},
], ids=str)
def test_whatever_the_training_is(params, tiny_images):
    X, y = tiny_images(["bag", "coat", "shirt"])
    weights = np.where(y == "bag", 1.5, 0.5)
    together, alone = both(net(**params), X, y, None if params.get("criterion") == "mse" else weights)
    assert together.trained_together_
    check_same(together, alone, X, y)


@pytest.mark.parametrize("estimator", [
    net("MLPMixerClassifier"), small("InceptionV3Classifier", max_epochs=1), net(triplet_weight=0.1),
    make_pipeline(ImageScaler(), net()), RandomForestClassifier(5),
    net("ImageClassifier", module=nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.LayerNorm(8), nn.Linear(8, 3))),
    net("ImageClassifier", module=nn.Sequential(nn.Conv2d(1, 4, 3), nn.Dropout2d(), nn.Flatten(), nn.Linear(144, 3))),
], ids=["mixer", "transfer learning", "triplet", "pipeline", "forest", "layer norm", "Dropout2d"])
def test_others_are_trained_in_turn(estimator, tiny_images):
    X, y = tiny_images()
    X = X.reshape(len(X), -1)
    together, alone = both(estimator, X, y)
    assert not together.trained_together_
    np.testing.assert_array_equal(together.predict_proba(X), alone.predict_proba(X))


class Mixing(nn.Module):
    """Gives wrong answers where several members' channels stand side by side, of which nothing is seen at first."""

    def __init__(self, in_channels, n_classes, how, zeros=True):
        super().__init__()
        self.first, self.last, self.how = nn.Conv2d(in_channels, 8, 3), nn.Linear(8, n_classes), how
        if zeros:
            nn.init.zeros_(self.last.weight)

    def forward(self, x):
        x = self.first(x)
        x = {"shuffle": lambda: x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2),
             "centre": lambda: x - x.mean(1, keepdim=True),
             "centre in training": lambda: x - x.mean(1, keepdim=True) if self.training else x,
             "normalise": lambda: nn.functional.normalize(x, dim=1),
             "local response": lambda: nn.functional.local_response_norm(x, 3)}[self.how]()
        return self.last(x.relu().mean((2, 3)))


@pytest.mark.parametrize("zeros", [True, False])
@pytest.mark.parametrize("how", ["shuffle", "centre", "centre in training", "normalise", "local response"])
def test_networks_that_would_mix_are_trained_in_turn(how, zeros, tiny_images):
    X, y = tiny_images()
    estimator = net("ImageClassifier", module=Mixing, max_epochs=1).set_params(module__how=how, module__zeros=zeros)
    assert not DeepEnsembleClassifier(estimator, 2, together=True, random_state=0).fit(X, y).trained_together_


def test_members_with_callbacks_of_scikit_learn_are_trained_in_turn(tiny_images):
    monitor = pytest.importorskip("sklearn.callback").ScoringMonitor(scoring="accuracy")
    estimator = net(max_epochs=1).set_callbacks(monitor)
    ensemble = DeepEnsembleClassifier(estimator, 2, together=True, random_state=0).fit(*tiny_images())
    assert not ensemble.trained_together_


def test_members_that_stop_early_leave_the_others_alone(tiny_images):
    X, y = tiny_images(n=90)
    y = np.random.default_rng(0).permutation(y)                                 # nothing to learn
    estimator = net(max_epochs=12, lr=0.01, early_stopping=True, patience=2, validation_fraction=0.3)
    ensemble = DeepEnsembleClassifier(estimator, 4, together=True, random_state=1).fit(X, y)
    assert ensemble.trained_together_
    epochs = [member.n_iter_ for member in ensemble.estimators_]
    assert len(set(epochs)) > 1
    for member in ensemble.estimators_:
        assert member.n_iter_ in (12, member.best_epoch_ + 2)
    for value in ensemble.estimators_[0].module_.parameters():
        assert value.untyped_storage().nbytes() == value.numel() * 4            # not a part of something shared


def test_is_the_mean_of_its_members_and_learns(tiny_images):
    X, y = tiny_images(["bag", "coat", "shirt"], n=120)
    ensemble = DeepEnsembleClassifier(small("ConvNetClassifier"), 3, together=True, random_state=0).fit(X[:60], y[:60])
    mean = np.mean([member.predict_proba(X) for member in ensemble.estimators_], axis=0)
    np.testing.assert_allclose(ensemble.predict_proba(X), mean, atol=1e-6)
    assert ensemble.predict(X).tolist() == ensemble.classes_[mean.argmax(1)].tolist()
    assert ensemble.score(X[60:], y[60:]) > 0.9
    again = clone(ensemble).fit(X[:60], y[:60])
    np.testing.assert_array_equal(again.predict_proba(X), ensemble.predict_proba(X))


def test_learning_rates(tiny_images):
    X, y = tiny_images()
    rates = [1e-4, 1e-3, 1e-2]
    for estimator in (net(), make_pipeline(ImageScaler(), net())):
        ensemble = DeepEnsembleClassifier(estimator, 3, learning_rates=rates, together=True).fit(X.reshape(60, -1), y)
        members = [member if isinstance(member, ImageClassifier) else member[-1] for member in ensemble.estimators_]
        assert [member.lr for member in members] == rates
        losses = [member.history_[-1, "train_loss"] for member in members]
        assert losses[2] < losses[1] < losses[0]


def test_killed_it_goes_on(tmp_path, tiny_images):
    X, y = tiny_images()
    make = lambda **params: DeepEnsembleClassifier(net(max_epochs=3, **params), 2, together=True, random_state=0)   # noqa: E731
    expected = make().fit(X, y)
    make(checkpoint=tmp_path, schedule_epochs=3, keep_checkpoint=True).set_params(estimator__max_epochs=1).fit(X, y)
    going_on = make(checkpoint=tmp_path, schedule_epochs=3, keep_checkpoint=True).fit(X, y)
    np.testing.assert_allclose(going_on.predict_proba(X), expected.predict_proba(X), atol=1e-5)
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 4
    with pytest.raises(ValueError, match=r"random_state must be set for members with checkpoint, .* got random_state="):
        make(checkpoint=tmp_path).set_params(random_state=None).fit(X, y)
    alone = net(max_epochs=1, checkpoint=tmp_path / "alone", keep_checkpoint=True).fit(X, y)
    assert max(sizes) < 1.5 * next((tmp_path / "alone").iterdir()).stat().st_size
    assert alone.n_iter_ == 1
    again = make(checkpoint=tmp_path, schedule_epochs=3, keep_checkpoint=True).fit(X, y)
    assert again.trained_together_
    np.testing.assert_array_equal(again.predict_proba(X), going_on.predict_proba(X))


def test_saved_pickled_and_used_by_threads(tmp_path, tiny_images):
    X, y = tiny_images(["bag", "coat", "shirt"])
    ensemble = DeepEnsembleClassifier(net(), 2, together=True, random_state=0).fit(X, y)
    expected = ensemble.predict_proba(X)
    save(ensemble, tmp_path / "ensemble.safetensors")
    for copied in (load(tmp_path / "ensemble.safetensors"), pickle.loads(pickle.dumps(ensemble))):
        np.testing.assert_array_equal(copied.predict_proba(X), expected)
        assert copied.trained_together_
    found = []
    threads = [threading.Thread(target=lambda: found.append(clone(ensemble).fit(X, y).predict_proba(X)))
               for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for probabilities in found:
        np.testing.assert_allclose(probabilities, expected, atol=1e-6)


def test_frames_and_tensors(tiny_images):
    X, y = tiny_images()
    frame = pd.DataFrame(X.reshape(60, -1)).add_prefix("pixel")
    ensemble = DeepEnsembleClassifier(net(), 2, together=True, random_state=0).fit(frame, y)
    assert list(ensemble.feature_names_in_) == list(frame.columns)
    assert ensemble.n_features_in_ == 64
    tensor = DeepEnsembleClassifier(net(), 2, together=True, random_state=0).fit(torch.from_numpy(X), y)
    np.testing.assert_allclose(tensor.predict_proba(torch.from_numpy(X)), ensemble.predict_proba(frame), atol=1e-6)


def test_members_are_trained_together_only_where_that_is_asked_for(tiny_images):
    for params in ({}, {"together": False}, {"together": "auto"}):          # "auto" is in files of version 0.1.0
        assert not DeepEnsembleClassifier(net(), 2, **params).fit(*tiny_images()).trained_together_
    assert DeepEnsembleClassifier(net(), 2, together=True).fit(*tiny_images()).trained_together_


@pytest.mark.parametrize(("params", "error", "message"), [
    ({"n_members": 0}, ValueError, "'n_members' parameter"),
    ({"n_members": True}, ValueError, r"'n_members' parameter .* must be an int in the range \[1, 10000\]\. Got True"),
    ({"n_members": 10_001}, ValueError, r"'n_members' parameter .* in the range \[1, 10000\]\. Got 10001"),
    ({"estimator": ConvNetClassifier}, TypeError, r"estimator must be an instance, such as ConvNetClassifier\(\)"),
    ({"estimator": LinearRegression()}, ValueError, "'estimator' parameter"),
    ({"estimator": LinearSVC()}, ValueError, "'estimator' parameter"),
    ({"together": "maybe"}, ValueError, "'together' parameter"),
    ({"learning_rates": [0.1]}, ValueError, "learning_rates must hold a number above 0 for each of the n_members=2"),
    ({"learning_rates": [0.1, -1]}, ValueError, "learning_rates must hold a number above 0"),
    ({"learning_rates": [True, True]}, ValueError, "learning_rates must hold a number above 0"),
    ({"learning_rates": [0.1, float("inf")]}, ValueError, "learning_rates must hold a number above 0"),
    ({"learning_rates": ["a", "b"]}, ValueError, "learning_rates must hold a number above 0"),
    ({"estimator": RandomForestClassifier(), "learning_rates": [0.1, 0.2]}, ValueError,
     "estimator must have a parameter 'lr', in which members differ"),
    ({"estimator": net(lr=-1.0)}, ValueError, "'lr' parameter"),
])
def test_bad_parameters(params, error, message, tiny_images):
    with pytest.raises(error, match=message):
        DeepEnsembleClassifier(**{"estimator": net(), "n_members": 2, "together": True, **params}).fit(*tiny_images())


def test_a_failed_fit_leaves_nothing_to_predict_with(tiny_images):
    X, y = tiny_images()
    ensemble = DeepEnsembleClassifier(net(), 2, together=True).fit(X, y)
    with pytest.raises(ValueError, match="Input y contains NaN"):
        ensemble.fit(X, np.full(60, np.nan))
    with pytest.raises(NotFittedError):
        ensemble.predict(X)
    diverging = net(lr=1e30, optimizer="sgd", schedule="constant", max_epochs=3, label_smoothing=0.0)
    with pytest.raises(ValueError, match="The training loss became"):
        ensemble.set_params(estimator=diverging).fit(X.astype(np.float32) * 100, y)


@pytest.mark.cuda
@pytest.mark.parametrize("name", TOGETHER)
def test_together_on_cuda(name, tiny_images):
    X, y = tiny_images()
    params = {"module": CONVOLUTIONS} if name == "ImageClassifier" else {}
    together, alone = both(net(name, device="cuda", **params), X, y)
    assert together.trained_together_
    for member, other in zip(together.estimators_, alone.estimators_, strict=True):
        np.testing.assert_allclose(member.predict_proba(X), other.predict_proba(X), atol=1e-2)


class Tied(nn.Module):
    """One convolution in two places."""

    def __init__(self, in_channels, n_classes):
        super().__init__()
        self.first, self.twice = nn.Conv2d(in_channels, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.again, self.last = self.twice, nn.Linear(8, n_classes)

    def forward(self, x):
        return self.last(self.again(self.twice(self.first(x)).relu()).mean((2, 3)))


def test_layers_that_stand_in_two_places_stay_one(tiny_images):
    X, y = tiny_images()
    together, alone = both(net("ImageClassifier", module=Tied), X, y)
    assert together.trained_together_
    check_same(together, alone, X, y)
