"""ImageClassifier's own behaviour: further training, weights, modules, interruptions, precision."""
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from estimators import PatchNet, net
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from torch import nn
from torch.optim import lr_scheduler

from fmnist_sk import ImageClassifier, TorchSchedule, grad_cam, load, save

# ---------------------------------------------------------------------- further training

def test_warm_start_and_partial_fit_train_on(tiny_images):
    X, y = tiny_images()
    warm = net(warm_start=True, max_epochs=2).fit(X, y).fit(X, y)
    assert len(warm.history_) == warm.n_iter_ == 4
    cold = net(max_epochs=2).fit(X, y).fit(X, y)
    assert len(cold.history_) == 2
    cold.partial_fit(X, y)
    assert len(cold.history_) == 3
    steps = net()
    for _ in range(30):
        steps.partial_fit(X, y)
    assert steps.score(X, y) > 0.9


def test_partial_fit_begins_with_all_classes_named(tiny_images):
    X, y = tiny_images([0, 1, 2])
    classifier = net().partial_fit(X[y == 0], y[y == 0], classes=[0, 1, 2])
    classifier.partial_fit(X[y > 0], y[y > 0])
    assert classifier.predict_proba(X).shape == (60, 3)
    with pytest.raises(ValueError, match=r"y must hold only labels of the first fit, \[0, 1, 2\], got \[7\]\. To add"):
        classifier.partial_fit(X, np.where(y == 1, 7, y))


def test_a_schedule_ends_low_and_further_training_starts_from_lr_again(tiny_images):
    X, y = tiny_images()
    classifier = net(schedule="one_cycle", max_epochs=10, lr=0.02).fit(X, y)
    rates = classifier.history_[:, "lr"]
    assert max(rates) > 0.015
    assert rates[-1] < 0.003
    assert [group["lr"] for group in classifier.optimizer_.param_groups] == [0.02, 0.02]
    classifier.set_params(lr=0.005).partial_fit(X, y)
    assert classifier.history_[-1, "lr"] == 0.005
    classifier.set_params(optimizer__lr=0.001).partial_fit(X, y)
    assert classifier.history_[-1, "lr"] == 0.001


def test_set_params_on_a_live_net_reaches_the_optimizer(tiny_images):
    X, y = tiny_images()
    classifier = net(max_epochs=1).fit(X, y).set_params(optimizer__betas=(0.5, 0.6))
    assert classifier.optimizer_.param_groups[0]["betas"] == (0.5, 0.6)
    assert classifier.fit(X, y).optimizer_.param_groups[0]["betas"] == (0.5, 0.6)
    assert clone(classifier).get_params()["optimizer__betas"] == (0.5, 0.6)
    classifier.set_params(weight_decay=0.3)
    assert [group["weight_decay"] for group in classifier.optimizer_.param_groups] == [0.3, 0.0]
    before = classifier.predict_proba(X)
    classifier.set_params(module__hidden=5)                 # counts at the next fit
    np.testing.assert_array_equal(classifier.predict_proba(X), before)
    assert classifier.fit(X, y).module_.network[2].out_features == 5


def test_refitting_forgets_the_old_classes_and_shapes(tiny_images):
    X, y = tiny_images(["a", "b"])
    classifier = net(max_epochs=1).fit(X, y)
    X, y = tiny_images([1, 2, 3], size=12)
    assert classifier.fit(X, y).predict_proba(X).shape == (60, 3)
    assert classifier.image_shape_ == (1, 12, 12)


# ---------------------------------------------------------------------- weights

def test_class_weight_moves_predictions(tiny_images):
    X, y = tiny_images(["a", "b"], n=40)
    X[:] = np.random.default_rng(0).integers(0, 255, X.shape)         # nothing to learn but the prior
    heavy = net(class_weight={"a": 100.0, "b": 1.0}, max_epochs=10, lr=0.003).fit(X, y)
    assert (heavy.predict(X) == "a").mean() > 0.8
    with pytest.raises(ValueError, match=r"class_weight must name labels that occur in y .*'a', 'b'.*, got .*'c'"):
        net(class_weight={"c": 1}).fit(X, y)


@pytest.mark.parametrize("unit", ["D", "s", "ns"])
def test_class_weight_takes_dates_in_any_form(unit, tiny_images):
    X, y = tiny_images([0, 1], n=40)
    days = np.array(["2020-01-01", "2020-01-02"], dtype=f"datetime64[{unit}]")
    usual = net(class_weight={1: 5.0}, max_epochs=1).fit(X, y).predict_proba(X)
    for label in (days[1], np.datetime64("2020-01-02"), pd.Timestamp("2020-01-02"), days.tolist()[1]):
        found = net(class_weight={label: 5.0}, max_epochs=1).fit(X, days[y]).predict_proba(X)
        np.testing.assert_array_equal(found, usual)


def test_balanced_is_the_inverse_frequency(tiny_images):
    X, y = tiny_images([0, 1], n=40)
    y[:30] = 0
    counts = np.bincount(y)
    explicit = net(class_weight={0: 40 / counts[0], 1: 40 / counts[1]}, max_epochs=2).fit(X, y)
    balanced = net(class_weight="balanced", max_epochs=2).fit(X, y)
    np.testing.assert_allclose(balanced.predict_proba(X), explicit.predict_proba(X), atol=1e-4)


def test_fractional_weights_scale_the_loss(tiny_images):
    X, y = tiny_images([0, 1])
    wrong = np.where(np.arange(60) < 30, 1 - y, y)
    weights = np.where(np.arange(60) < 30, 0.01, 1.3)
    assert (net().fit(X, wrong, sample_weight=weights).predict(X) == y).mean() > 0.9


# ---------------------------------------------------------------------- modules

def test_takes_a_module_instance_and_leaves_it_alone(tiny_images):
    X, y = tiny_images()
    template = PatchNet(1, 3)
    before = {name: value.clone() for name, value in template.state_dict().items()}
    classifier = net(module=template, max_epochs=2).fit(X, y)
    assert all(torch.equal(value, template.state_dict()[name]) for name, value in before.items())
    np.testing.assert_array_equal(classifier.predict_proba(X),
                                  net(module=template, max_epochs=2).fit(X, y).predict_proba(X))


def test_takes_lazy_modules_and_functions_that_make_one(tiny_images):
    X, y = tiny_images()

    def make(n_classes, image_shape):
        assert image_shape == (1, 8, 8)
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(16), nn.ReLU(), nn.LazyLinear(n_classes))

    one, two = (net(module=make).fit(X, y) for _ in range(2))
    assert one.score(X, y) > 0.9
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))


class Viewing(nn.Module):
    """Takes no maps in channels_last order, like many a tutorial's network."""

    def __init__(self, in_channels, n_classes):
        super().__init__()
        self.conv, self.out = nn.Conv2d(in_channels, 4, 3), nn.LazyLinear(n_classes)

    def forward(self, x):
        x = self.conv(x)
        return self.out(x.view(x.size(0), -1))


@pytest.mark.filterwarnings("ignore:.*only with trusted=")
@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_may_view_its_maps_as_rows(channels, tiny_images, tmp_path):
    X, y = tiny_images(channels=channels)
    model = net(module=Viewing, max_epochs=2, validation_fraction=0.2).fit(X, y)
    assert grad_cam(model, X[:2]).shape == (2, 8, 8)
    for other in (pickle.loads(pickle.dumps(model)),
                  load(save(model, tmp_path / "model.safetensors"), trusted=[Viewing])):
        np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))
        other.partial_fit(X, y)


def test_only_arguments_that_a_function_names_are_filled_in(tiny_images):
    def make(n_classes, *, weights=None, **settings):
        assert settings == {"hidden": 4}
        return PatchNet(1, n_classes, **settings)

    X, y = tiny_images()
    model = net(module=make, max_epochs=1).set_params(module__hidden=4).fit(X, y)
    assert model.module_.network[2].out_features == 4


def test_optimizer_may_be_a_class_and_weights_alone_decay(tiny_images):
    X, y = tiny_images()
    classifier = net(optimizer=torch.optim.NAdam, weight_decay=0.1, max_epochs=1).fit(X, y)
    assert isinstance(classifier.optimizer_, torch.optim.NAdam)
    groups = classifier.optimizer_.param_groups
    decay = {parameter.ndim > 1: group["weight_decay"] for group in groups for parameter in group["params"]}
    assert decay == {True: 0.1, False: 0.0}
    sgd = net(optimizer="sgd", max_epochs=1, momentum=0.8).fit(X, y).optimizer_
    assert (sgd.defaults["momentum"], sgd.defaults["nesterov"]) == (0.8, True)


@pytest.mark.parametrize(("decay_biases", "settings", "expected"), [
    (False, {}, [(0.5, 0.1, 2), (0.01, 0.1, 2), (0.5, 0.0, 1), (0.01, 0.0, 1)]),
    (True, {}, [(0.5, 0.1, 2), (0.5, 0.1, 1), (0.01, 0.1, 2), (0.01, 0.1, 1)]),
    (False, {"weight_decay": 0.3}, [(0.5, 0.3, 2), (0.5, 0.3, 1), (0.01, 0.1, 2), (0.01, 0.0, 1)]),
])
def test_biases_of_groups_do_not_decay_either(decay_biases, settings, expected, tiny_images):
    X, y = tiny_images()
    model = net(max_epochs=1, weight_decay=0.1, decay_biases=decay_biases).set_params(
        optimizer__param_groups=[("network.2.*", {"lr": 0.5, **settings})]).fit(X, y)
    assert [(group["lr"], group["weight_decay"], parameter.ndim) for group in model.optimizer_.param_groups
            for parameter in group["params"]] == expected


def test_trimmed_for_prediction_it_still_predicts(tiny_images):
    X, y = tiny_images()
    classifier = net(max_epochs=1).fit(X, y)
    expected = classifier.predict_proba(X)
    classifier.trim_for_prediction()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(classifier)).predict_proba(X), expected)


def test_initialize_gives_a_net_of_the_default_size_to_load_weights_into(tmp_path, recwarn):
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (40, 28, 28), dtype=np.uint8), np.arange(40) % 10
    fitted = net(max_epochs=1).fit(X, y)
    fitted.save_params(f_params=tmp_path / "weights.pt")
    classifier = net().initialize()
    classifier.load_params(f_params=tmp_path / "weights.pt")
    np.testing.assert_array_equal(classifier.predict_proba(X), fitted.predict_proba(X))
    assert not [str(warning.message) for warning in recwarn]
    assert classifier.device is None
    classifier.partial_fit(X, y)
    assert classifier.value_range_ == (X.min(), X.max())
    with pytest.raises(ValueError, match="optimizer must be one of"):
        net(optimizer="x").initialize()
    fresh = net().initialize().partial_fit(X, y)           # without loaded weights: standardised by these images
    for part in (classifier, fresh):
        np.testing.assert_allclose(part.module_.standardize.mean.item(), X.mean(), rtol=1e-4)


def test_ctrl_c_raises_and_keeps_the_best_weights(tiny_images):
    X, y = tiny_images()

    class Interrupted(ImageClassifier):
        def train_step(self, batch, **kwargs):
            if len(self.history_) == 4:
                raise KeyboardInterrupt
            return super().train_step(batch, **kwargs)

    classifier = Interrupted(**net(validation_fraction=0.3).get_params(deep=False))
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(X, y)
    assert classifier.n_iter_ == len(classifier.history_) == 3
    reference = net(validation_fraction=0.3, max_epochs=20).set_params(
        max_epochs=classifier.best_epoch_, schedule="constant").fit(X, y)
    np.testing.assert_array_equal(classifier.predict_proba(X), reference.predict_proba(X))


@pytest.mark.parametrize("layer", [nn.Dropout2d(0.5), nn.RReLU(), nn.AlphaDropout(0.5), nn.Dropout(0.5)])
def test_random_layers_of_any_kind_repeat_and_leave_the_global_generator_alone(layer, tiny_images):
    X, y = tiny_images()

    class Twice(nn.Module):
        def __init__(self, n_classes):
            super().__init__()
            self.a = self.b = layer
            self.conv, self.out = nn.Conv2d(1, 4, 3), nn.Linear(4 * 36, n_classes)

        def forward(self, x):
            x = self.b(self.a(self.conv(x)))
            return self.out(nn.functional.dropout(x.flatten(1), 0.2, self.training))

    state = torch.get_rng_state()
    one, two = (net(module=Twice, max_epochs=2).fit(X, y).predict_proba(X) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert torch.equal(state, torch.get_rng_state())


# ---------------------------------------------------------------------- precision

def test_precision_is_what_was_asked_for(tiny_images):
    X, y = tiny_images()
    seen = []

    class Spy(PatchNet):
        def forward(self, x):
            x = super().forward(x)
            seen.append(x.dtype)
            return x

    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        classifier = net(module=Spy, precision=precision, max_epochs=5).fit(X, y)
        assert seen[-1] == dtype
        assert classifier.predict_proba(X).dtype == np.float32
        assert all(p.dtype == torch.float32 for p in classifier.module_.parameters())
        np.testing.assert_allclose(classifier.predict_proba(X).sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("params", [
    {"validation_data": (np.zeros((3, 5)), [0, 1, 2])}, {"schedule": TorchSchedule(lr_scheduler.StepLR, {"wrong": 1})}])
def test_what_failed_before_its_first_epoch_is_not_fitted(params, tiny_images):
    X, y = tiny_images()
    classifier = net(**params)
    with pytest.raises((TypeError, ValueError)):
        classifier.fit(X, y)
    with pytest.raises(NotFittedError):
        classifier.predict(X)
    params = dict.fromkeys(params) | {"schedule": "constant"}
    assert classifier.set_params(**params).fit(X, y).score(X, y) > 0.5
