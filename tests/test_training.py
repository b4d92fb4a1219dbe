"""Optimizers, sharpness-aware steps, clipping, averages of weights, test-time views."""
import math
import pickle
import re

import numpy as np
import pytest
import torch
from estimators import OPTIMIZERS, kinds_of_classifiers, small
from interrupted import check_goes_on
from sklearn.metrics import log_loss
from skorch.callbacks import Callback
from torch import nn

from fmnist_sk import AugmentedCopies, ImageClassifier, MixUp, TorchSchedule

every_classifier = pytest.mark.parametrize("name", kinds_of_classifiers("InceptionV3Classifier"))


def weights(classifier):
    return {name: value.detach().clone() for name, value in classifier.module_.state_dict().items()}


# ---------------------------------------------------------------------- optimizers

def test_sharpness_aware_steps_count_a_batch_once(tiny_images):
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, momentum=None), nn.Flatten(), nn.Linear(72, 3))
    net = ImageClassifier(module=module, sam_rho=0.1, max_epochs=2, batch_size=20, random_state=0).fit(*tiny_images())
    assert int(weights(net)["network.1.num_batches_tracked"]) == 6


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, torch.optim.NAdam, torch.optim.Adagrad])
def test_every_optimizer_learns(optimizer, tiny_images):
    X, y = tiny_images()
    lr = {"sgd": 0.05, "asgd": 0.1}.get(optimizer, 3e-3)
    assert small("ConvNetClassifier", optimizer=optimizer, lr=lr).fit(X, y).score(X, y) > 0.9


def test_optimizers_have_these_names(tiny_images):
    with pytest.raises(ValueError, match="optimizer") as error:
        small("ConvNetClassifier", optimizer="sgdd").fit(*tiny_images())
    assert set(re.findall(r"'(\w+)'", str(error.value))) - {"optimizer", "type", "sgdd"} == set(OPTIMIZERS)


def test_weight_decay_spares_biases_and_normalisation_unless_asked_not_to(tiny_images):
    X, y = tiny_images()
    for optimizer in OPTIMIZERS:
        for decay_biases in (False, True):
            net = small("ConvNetClassifier", optimizer=optimizer, weight_decay=0.1, decay_biases=decay_biases,
                        max_epochs=1).fit(X, y)
            decays = {parameter.ndim > 1: group["weight_decay"] for group in net.optimizer_.param_groups
                      for parameter in group["params"]}
            assert decays == {True: 0.1, False: 0.1 * decay_biases}
            net.set_params(weight_decay=0.3)
            assert net.optimizer_.param_groups[0]["weight_decay"] == 0.3


def test_gradients_are_clipped_to_a_length(tiny_images):
    X, y = tiny_images()
    net = small("ConvNetClassifier", optimizer="sgd", momentum=0.0, weight_decay=0.0, lr=1.0, gradient_clip=1e-3,
                max_epochs=1, batch_size=60, precision="fp32", dropout=0.0)
    before = weights(net.set_params(lr=1e-30).fit(X, y))
    after = weights(net.set_params(lr=1.0).fit(X, y))
    names = dict(net.module_.named_parameters())
    length = sum((after[name] - before[name]).square().sum() for name in names).sqrt()
    assert length == pytest.approx(1e-3, rel=1e-2)


class Bowl(nn.Module):
    """Logits that are two parameters, whatever the image."""

    def __init__(self):
        super().__init__()
        self.z = nn.Parameter(torch.tensor([[0.5, -0.3]]))

    def forward(self, x):
        return self.z.expand(len(x), 2)


def test_sharpness_aware_steps_use_the_gradient_uphill(tiny_images):
    X, y = tiny_images([0, 1])
    net = ImageClassifier(module=Bowl(), optimizer="sgd", momentum=0.0, weight_decay=0.0, lr=0.3, sam_rho=0.2,
                          max_epochs=1, batch_size=60, random_state=0).fit(X, y)
    loss = nn.CrossEntropyLoss()
    z, codes = torch.tensor([[0.5, -0.3]], requires_grad=True), torch.from_numpy(y)
    up, = torch.autograd.grad(loss(z.expand(60, 2), codes), z)
    above = (z + 0.2 * up / up.norm()).detach().requires_grad_()
    gradient, = torch.autograd.grad(loss(above.expand(60, 2), codes), above)
    torch.testing.assert_close(net.module_.network.z.detach(), (z - 0.3 * gradient).detach())


@every_classifier
def test_sharpness_aware_training_learns_and_repeats(name, tiny_images):
    X, y = tiny_images()
    nets = [small(name, sam_rho=0.05).fit(X, y) for _ in range(2)]
    assert nets[0].score(X, y) > 0.9
    np.testing.assert_array_equal(nets[0].predict_proba(X), nets[1].predict_proba(X))


@pytest.mark.parametrize("name", ["ConvNetClassifier", "ResNetClassifier", "WideResNetClassifier", "DenseNetClassifier",
                                  "InceptionClassifier", "InceptionResNetClassifier"])
def test_normalisation_learns_nothing_from_the_passes_uphill(name, tiny_images):
    X, y = tiny_images()
    plain, aware = (weights(small(name, max_epochs=1, batch_size=60, lr=1e-12, sam_rho=rho).fit(X, y))
                    for rho in (0.0, 0.5))
    keys = [key for key in plain if "running_" in key]
    assert keys
    for key in keys:
        torch.testing.assert_close(aware[key], plain[key])
        assert (plain[key] != float(key.endswith("var"))).all(), f"{key} is as it was before the fit"


class Interrupts(Bowl):
    """Is interrupted in the pass of this number."""

    last = None

    def forward(self, x):
        self.passes = getattr(self, "passes", 0) + self.training
        if self.passes == self.last:
            raise KeyboardInterrupt
        return super().forward(x)


def test_interrupted_uphill_the_weights_are_those_of_before(tiny_images):
    X, y = tiny_images([0, 1])
    left = []
    for Interrupts.last in (3, 4):                  # in the first and in the second pass of the second step
        net = ImageClassifier(module=Interrupts(), optimizer="sgd", sam_rho=2.0, batch_size=30, random_state=0)
        with pytest.raises(KeyboardInterrupt):
            net.fit(X, y)
        left.append(net.module_.network.z.detach().clone())
    assert torch.equal(*left)


# ---------------------------------------------------------------------- averages

class Recorder(ImageClassifier):
    """Keeps the weights after every step."""

    def train_step(self, batch, **kwargs):
        step = super().train_step(batch, **kwargs)
        vars(self).setdefault("steps", []).append(weights(self))
        return step


def recorded(**params):
    return Recorder(**small("ImageClassifier", max_epochs=6, precision="fp32", **params).get_params(deep=False))


def test_ema_is_what_predicts(tiny_images):
    X, y = tiny_images()
    net = recorded(ema=0.8)
    net.fit(X, y)
    start = small("ImageClassifier", max_epochs=1, lr=1e-30, weight_decay=0.0, precision="fp32").fit(X, y)
    average = weights(start)
    for i, step in enumerate(net.steps):
        share = max(0.2, 9 / (10 + i))
        average = {key: (1 - share) * average[key] + share * step[key] for key in average}
    for key, value in weights(net).items():
        torch.testing.assert_close(value, average[key], rtol=1e-4, atol=1e-5)
    assert not torch.equal(weights(net)["network.2.weight"], net.steps[-1]["network.2.weight"])


def test_swa_is_the_mean_of_the_later_epochs(tiny_images):
    X, y = tiny_images()
    net = recorded(swa=0.5).fit(X, y)
    ends = net.steps[1::2][3:]
    assert len(ends) == 3
    for key, value in weights(net).items():
        torch.testing.assert_close(value, sum(step[key] for step in ends) / 3, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("params", [{"ema": 0.9}, {"swa": 0.3}])
def test_averages_are_validated_kept_and_do_not_disturb_training(params, tiny_images):
    X, y = tiny_images(n=90)
    rng = np.random.default_rng(0)
    y = np.where(rng.random(90) < 0.3, rng.permutation(y), y)
    settings = {"validation_data": (X[60:], y[60:]), "monitor": "valid_loss", "max_epochs": 12, "lr": 0.03,
                "precision": "fp32"}
    net, plain = (small("ConvNetClassifier", **settings, **extra).fit(X[:60], y[:60]) for extra in (params, {}))
    losses = net.history_[:, "valid_loss"]
    probabilities = net.predict_proba(X[60:])
    loss = -np.log(probabilities[np.arange(30), y[60:]]).mean()
    assert loss == pytest.approx(min(losses), rel=1e-4)
    assert losses[4:] != pytest.approx(plain.history_[:, "valid_loss"][4:], rel=1e-3)
    if "ema" in params:       # while the network trains, it has the weights it would have without an average
        np.testing.assert_allclose(net.history_[:, "train_loss"], plain.history_[:, "train_loss"], rtol=1e-6)


def test_callbacks_of_scikit_learn_see_the_average(tiny_images):
    X, _ = tiny_images()
    y = np.random.default_rng(0).integers(0, 3, 60)
    monitor = pytest.importorskip("sklearn.callback").ScoringMonitor(scoring="neg_log_loss")
    net = small("ConvNetClassifier", ema=0.9, max_epochs=3, precision="fp32").set_callbacks(monitor).fit(X, y)
    scores = [row["neg_log_loss"] for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert scores[-1] == pytest.approx(-log_loss(y, net.predict_proba(X)), rel=1e-6)


def test_a_fit_leaves_nothing_behind_but_what_it_learned(tiny_images, tmp_path):
    X, y = tiny_images()
    plain = small("ConvNetClassifier", max_epochs=3).fit(X, y)
    schedule = TorchSchedule(torch.optim.lr_scheduler.LambdaLR, {"lr_lambda": max_of_one})
    net = small("ConvNetClassifier", max_epochs=3, ema=0.9, schedule=schedule, class_weight="balanced",
                validation_fraction=0.2, checkpoint=tmp_path, augment=[AugmentedCopies(), MixUp()]).fit(X, y)
    assert set(vars(net)) - set(vars(plain)) == {"best_epoch_"}
    assert len(pickle.dumps(net)) == pytest.approx(len(pickle.dumps(plain)), rel=0.1)


def max_of_one(step):
    return 1.0


def test_swa_renews_the_statistics_of_normalisation(tiny_images):
    X, y = tiny_images()
    net = small("ConvNetClassifier", swa=0.5, max_epochs=4, precision="fp32", lr=0.03, dropout=0.0,
                batch_size=60).fit(X, y)
    first = next(m for m in net.module_.modules() if isinstance(m, nn.BatchNorm2d))
    seen = []
    layers = list(net.module_.network.features)
    handle = first.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    net.predict(X)
    handle.remove()
    assert isinstance(layers[0], nn.Conv2d)
    torch.testing.assert_close(first.running_mean, torch.cat(seen).mean((0, 2, 3)), rtol=0.02, atol=0.02)
    assert first.momentum == 0.1


def test_the_network_of_a_fit_that_a_callback_ends_is_the_one_that_was_validated(tiny_images):
    X, y = tiny_images()
    seen = {}

    class Ends(Callback):
        def on_epoch_end(self, net, **kwargs):
            seen[len(net.history)] = weights(net)
            if len(net.history) == 4:
                raise KeyboardInterrupt

    for keep_best in (False, True):
        net = small("ConvNetClassifier", swa=0.1, max_epochs=8, validation_fraction=0.3, keep_best=keep_best,
                    lr=1e-3, callbacks=[Ends()]).fit(X, y)
        assert net.n_iter_ == 4
        for name, value in weights(net).items():
            assert torch.equal(value, seen[net.best_epoch_ if keep_best else 4][name]), name


def test_further_training_starts_from_the_average(tiny_images):
    X, y = tiny_images()
    net = small("ConvNetClassifier", ema=0.9, max_epochs=3, warm_start=True, precision="fp32").fit(X, y)
    before = weights(net)
    net.set_params(lr=1e-30, weight_decay=0.0).fit(X, y)
    for key, parameter in net.module_.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[key])
    assert net.partial_fit(X, y).score(X, y) > 0.5


class Struck(nn.Sequential):
    """Is interrupted after its second step: in validation, or in the pass in which normalisation renews itself."""

    def __init__(self, n_classes, in_training):
        super().__init__(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, n_classes))
        self.in_training, self.n_steps = in_training, 0

    def forward(self, x):
        self.n_steps += self.training and torch.is_grad_enabled()
        if self.n_steps == 2 and not torch.is_grad_enabled() and self.training == self.in_training:
            raise KeyboardInterrupt
        return super().forward(x)


@pytest.mark.parametrize("in_training", [False, True], ids=["validation", "statistics"])
def test_interrupted_in_validation_the_average_remains(in_training, tiny_images):
    X, y = tiny_images()
    net = recorded(swa=0.0, validation_fraction=0.2, keep_best=False, batch_size=60, module=Struck).set_params(
        module__in_training=in_training)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y)
    first, second = net.steps
    for key, parameter in net.module_.named_parameters():
        torch.testing.assert_close(parameter.detach(), (first[key] + second[key]) / 2)
    assert (weights(net)["network.2.running_mean"] != 0).all()


def test_interrupted_the_average_remains(tiny_images):
    X, y = tiny_images()

    class Interrupted(Recorder):
        def train_step(self, batch, **kwargs):
            if len(self.history_) == 4:
                raise KeyboardInterrupt
            return super().train_step(batch, **kwargs)

    net = Interrupted(**small("ImageClassifier", ema=0.9, precision="fp32").get_params(deep=False))
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y)
    expected = recorded(ema=0.9).set_params(max_epochs=3).fit(X, y)
    np.testing.assert_array_equal(net.predict_proba(X), expected.predict_proba(X))


# ---------------------------------------------------------------------- test-time views

def _background(X):
    edges = np.concatenate([part.ravel() for part in (X[:, 0], X[:, -1], X[:, 1:-1, 0], X[:, 1:-1, -1])])
    return int(np.quantile(edges, 0.5, method="inverted_cdf"))


@every_classifier
def test_views_are_averaged_in_predictions(name, tiny_images):
    X, y = tiny_images()
    X = np.maximum(X, 5)
    net = small(name, max_epochs=3, validation_data=(X, y)).fit(X, y)
    plain = net.predict_proba(X)
    mirror = (plain + net.predict_proba(X[:, :, ::-1].copy())) / 2
    np.testing.assert_allclose(net.set_params(tta="mirror").predict_proba(X), mirror, atol=2e-6)
    np.testing.assert_array_equal(net.predict(X), net.classes_[mirror.argmax(1)])
    padded = np.pad(X, ((0, 0), (1, 1), (1, 1)), constant_values=_background(X))
    shifted = [padded[:, 1 + down:9 + down, 1 + right:9 + right].copy()
               for down, right in ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))]
    net.set_params(tta=None)
    expected = np.mean([net.predict_proba(view) for view in shifted], axis=0)
    np.testing.assert_allclose(net.set_params(tta="shift").predict_proba(X), expected, atol=2e-6)
    both = np.mean([net.set_params(tta="mirror").predict_proba(view) for view in shifted], axis=0)
    if name != "InceptionV3Classifier":            # a shifted image is mirrored, or a mirrored one shifted: the same
        np.testing.assert_allclose(net.set_params(tta=("mirror", "shift")).predict_proba(X), both, atol=2e-6)


@pytest.mark.parametrize("tta", ["mirror", ("mirror", "shift")])
def test_only_images_that_the_network_is_not_sure_of_are_viewed(tta, tiny_images):
    X, y = tiny_images()
    net = small("ConvNetClassifier", max_epochs=3).fit(X, y)
    plain, viewed = net.predict_proba(X), net.set_params(tta=tta).predict_proba(X)
    sure = np.sort(plain.max(1))
    for below in (None, 1.0, 0.0, sure[len(X) // 2], sure[-1]):
        found = net.set_params(tta_below=below).predict_proba(X)
        is_unsure = plain.max(1) < (2 if below is None else below)
        np.testing.assert_array_equal(found, np.where(is_unsure[:, None], viewed, plain))
        np.testing.assert_array_equal(found[:3], net.predict_proba(X[:3]))
    assert 0 < is_unsure.sum() < len(X)
    np.testing.assert_array_equal(net.predict_proba(torch.from_numpy(X)), found)


def test_views_do_not_take_part_in_validation(tiny_images):
    X, y = tiny_images()
    one, two = (small("ConvNetClassifier", validation_fraction=0.3, max_epochs=3, tta=tta).fit(X, y)
                for tta in (None, "mirror"))
    assert one.history_[:, "valid_loss"] == two.history_[:, "valid_loss"]


def test_accuracy_of_each_class_is_in_the_history(tiny_images):
    X, y = tiny_images(["a", "b", "c"])
    net = small("ConvNetClassifier", max_epochs=3, validation_data=(X[:20], y[:20])).fit(X[20:], y[20:])
    for row in net.history_:
        counts = [(y[:20] == label).sum() for label in "abc"]
        of_classes = [row[f"valid_class_acc_{code}"] for code in range(3)]
        assert np.average(of_classes, weights=counts) == pytest.approx(row["valid_acc"])
    net.set_params(keep_best=False).fit(X[20:], y[20:])
    expected = [(net.predict(X[:20])[y[:20] == label] == label).mean() for label in "abc"]
    assert [net.history_[-1, f"valid_class_acc_{code}"] for code in range(3)] == pytest.approx(expected)
    alone = small("ConvNetClassifier", max_epochs=1, validation_data=(X[y == "a"], y[y == "a"])).fit(X, y)
    assert [math.isnan(alone.history_[-1, f"valid_class_acc_{code}"]) for code in range(3)] == [False, True, True]


class Tempered(torch.nn.CrossEntropyLoss):
    """A loss that learns the temperature of the probabilities."""

    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.ones(()))

    def forward(self, logits, codes):
        return super().forward(logits * self.factor, codes)

    def probabilities(self, logits):
        return (logits * self.factor).softmax(1)


def test_what_a_loss_learns_goes_on_after_an_interruption(tiny_images, tmp_path):
    X, y = tiny_images()
    check_goes_on(lambda: small("ConvNetClassifier", max_epochs=6, criterion=Tempered, lr=0.01), X, y, tmp_path, 8)


def test_the_best_epoch_is_that_of_the_loss_too(tiny_images):
    X, y = tiny_images()
    seen = []

    class Looks(Callback):
        def on_epoch_end(self, net, **kwargs):
            seen.append(net.criterion_.factor.item())

    classifier = small("ConvNetClassifier", max_epochs=20, criterion=Tempered, validation_fraction=0.3,
                       callbacks=[Looks()]).fit(X, y)
    assert classifier.best_epoch_ < 20 == len(set(seen))
    assert classifier.criterion_.factor.item() == seen[classifier.best_epoch_ - 1]
