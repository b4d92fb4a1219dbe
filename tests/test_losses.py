"""The losses: formulae, limiting cases, probabilities, soft targets and weights."""
import inspect
import math

import numpy as np
import pytest
import torch
from estimators import small
from torch import nn
from torch.nn import functional as F

from fmnist_sk import CrossEntropy, FocalLoss, MixUp, SigmoidLoss, SquaredError, TripletLoss
from fmnist_sk._data.checks import check_probabilities
from fmnist_sk.losses import LOSSES

every_loss = pytest.mark.parametrize("name", LOSSES)


def some(n=40, n_classes=5, seed=0):
    """Logits (n, n_classes), codes (n,), soft targets (n, n_classes)."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, n_classes, generator=generator)
    codes = torch.randint(0, n_classes, (n,), generator=generator)
    return logits, codes, torch.rand(n, n_classes, generator=generator).softmax(1)


def by_hand(name, z, t, gamma=2.0):
    """Loss of one image from logits z and shares t, number by number."""
    p = [math.exp(value) / sum(math.exp(v) for v in z) for value in z]
    s = [1 / (1 + math.exp(-value)) for value in z]
    return {
        "cross_entropy": lambda: -sum(ti * math.log(pi) for ti, pi in zip(t, p, strict=True)),
        "focal": lambda: -sum(ti * (1 - pi) ** gamma * math.log(pi) for ti, pi in zip(t, p, strict=True)),
        "sigmoid": lambda: -sum(ti * math.log(si) + (1 - ti) * math.log(1 - si) for ti, si in zip(t, s, strict=True)),
        "softmax_of_sigmoid": lambda: -sum(ti * math.log(math.exp(si) / sum(map(math.exp, s)))
                                           for ti, si in zip(t, s, strict=True)),
        "mse": lambda: sum((zi - ti) ** 2 for zi, ti in zip(z, t, strict=True)) / len(z),
    }[name]()


@every_loss
def test_formula(name):
    logits, codes, soft = some()
    one_hot = F.one_hot(codes, 5).float()
    for targets, shares in ((codes, one_hot), (soft, soft)):
        expected = torch.tensor([by_hand(name, z, t) for z, t in zip(logits.tolist(), shares.tolist(), strict=True)])
        torch.testing.assert_close(LOSSES[name](reduction="none")(logits, targets), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(LOSSES[name]()(logits, targets), expected.mean(), rtol=1e-4, atol=1e-5)


def test_the_mean_over_classes_is_pytorchs_and_the_sum_as_many_times_as_large():
    logits, codes, _ = some()
    mean = F.binary_cross_entropy_with_logits(logits, F.one_hot(codes, 5).float())
    torch.testing.assert_close(SigmoidLoss(over_classes="mean")(logits, codes), mean)
    torch.testing.assert_close(SigmoidLoss()(logits, codes), 5 * mean)
    with pytest.raises(ValueError, match=r'over_classes must be "sum" or "mean", got over_classes=\'max\''):
        SigmoidLoss(over_classes="max")


@every_loss
def test_label_smoothing_spreads_a_share_over_all_classes(name):
    logits, codes, soft = some()
    smoothed = 0.8 * F.one_hot(codes, 5) + 0.2 / 5
    torch.testing.assert_close(LOSSES[name](label_smoothing=0.2)(logits, codes), LOSSES[name]()(logits, smoothed))
    torch.testing.assert_close(LOSSES[name](label_smoothing=0.2)(logits, soft),
                               LOSSES[name]()(logits, 0.8 * soft + 0.2 / 5))


def test_focal_loss_without_gamma_is_cross_entropy_and_alpha_is_a_factor_of_the_class():
    logits, codes, soft = some()
    for targets in (codes, soft):
        torch.testing.assert_close(FocalLoss(gamma=0)(logits, targets), CrossEntropy()(logits, targets))
    alpha = (0.5, 1.0, 2.0, 0.0, 3.0)
    expected = FocalLoss(reduction="none")(logits, codes) * torch.tensor(alpha)[codes]
    torch.testing.assert_close(FocalLoss(alpha=alpha, reduction="none")(logits, codes), expected)
    torch.testing.assert_close(FocalLoss(alpha=2.0)(logits, codes), 2 * FocalLoss()(logits, codes))
    assert FocalLoss(gamma=5)(logits, codes) < FocalLoss(gamma=1)(logits, codes)


@every_loss
def test_gradients_are_right_and_stay_finite_where_the_network_is_certain(name):
    logits, codes, soft = some(6)
    for targets in (codes, soft.double()):
        assert torch.autograd.gradcheck(lambda z, t=targets: LOSSES[name]()(z, t), logits.double().requires_grad_())
    for gamma in ({"gamma": 0.5}, {"gamma": 2.0}) if name == "focal" else ({},):
        extreme = torch.tensor([[200.0, -200.0], [-200.0, 200.0], [0.0, 0.0]], requires_grad=True)
        loss = LOSSES[name](**gamma)(extreme, torch.tensor([0, 0, 1]))
        assert torch.autograd.grad(loss, extreme)[0].isfinite().all()


@every_loss
def test_probabilities_sum_to_one_and_keep_the_order_of_the_logits(name):
    logits = torch.cat([some(500)[0], torch.tensor([[90.0, -90, -90, -90, -90], [-200.0] * 5, [0.0] * 5])])
    p = LOSSES[name]().probabilities(logits)
    torch.testing.assert_close(p.sum(1), torch.ones(503))
    assert p.min() >= 0
    assert torch.equal(p[:500].argmax(1), logits[:500].argmax(1))
    torch.testing.assert_close(p[-1], torch.full((5,), 0.2))
    ordered = p.gather(1, logits.argsort(1))
    assert (ordered.diff(dim=1) >= -1e-6).all()


def test_probabilities_of_sigmoid_are_normalised_and_those_of_squared_error_the_nearest():
    logits = some(200)[0]
    s = logits.sigmoid()
    torch.testing.assert_close(SigmoidLoss().probabilities(logits), s / s.sum(1, keepdim=True))
    targets = some(200)[2]
    torch.testing.assert_close(SquaredError().probabilities(targets), targets)         # already probabilities
    p = SquaredError().probabilities(logits)
    others = torch.distributions.Dirichlet(torch.ones(5)).sample((2000,))
    distance = (others[:, None] - logits).square().sum(2).amin(0)
    assert ((p - logits).square().sum(1) <= distance + 1e-5).all()


@pytest.mark.parametrize(("kind", "params", "message"), [
    (FocalLoss, {"gamma": -1}, "gamma must be a number from 0 to below inf, got gamma=-1"),
    (FocalLoss, {"gamma": 10**400}, "gamma must be a number from 0 to below inf, got gamma=1000"),
    (FocalLoss, {"alpha": "abc"}, "alpha must be a number from 0 to below inf, got alpha='abc'"),
    (FocalLoss, {"gamma": True}, "gamma must be a number from 0 to below inf, got gamma=True"),
    (SigmoidLoss, {"over_classes": np.array(["sum", "mean"])}, 'over_classes must be "sum" or "mean", got over_class'),
    (SigmoidLoss, {"reduction": np.array(["none", "mean"])}, 'reduction must be "mean" or "none", got reduction=arr'),
    (FocalLoss, {"alpha": None}, "alpha must be a number from 0 to below inf, got alpha=None"),
    (FocalLoss, {"alpha": (1, -1)}, "alpha must be a number from 0 to below inf, got alpha=-1"),
    (CrossEntropy, {"label_smoothing": 1.0}, "label_smoothing must be a number from 0 to below 1, got label_smooth"),
    (SigmoidLoss, {"reduction": "sum"}, "reduction must be \"mean\" or \"none\", got reduction='sum'"),
    (CrossEntropy, {"reduction": None}, 'reduction must be "mean" or "none", got reduction=None'),
    (TripletLoss, {"margin": -1}, "margin must be a number"),
])
def test_bad_settings_are_refused(kind, params, message):
    with pytest.raises(ValueError, match=message):
        kind(**params)


# ---------------------------------------------------------------------- triplets

def triplets_by_hand(features, codes, margin):
    features = [[v / max(math.dist(f, [0] * len(f)), 1e-12) for v in f] for f in features]
    losses = []
    for i, anchor in enumerate(features):
        same = [math.dist(anchor, f) for j, f in enumerate(features) if codes[j] == codes[i] and j != i]
        other = [math.dist(anchor, f) for j, f in enumerate(features) if codes[j] != codes[i]]
        losses.append(max(0, margin + max(same) - min(other)) if same and other else 0)
    return losses


def test_triplet_loss_takes_the_hardest_of_both_kinds():
    features = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    codes = torch.tensor([0, 1, 2] * 6 + [3, 0])                       # one image is alone in its class
    for margin in (0.0, 0.2, 1.5):
        expected = torch.tensor(triplets_by_hand(features.tolist(), codes.tolist(), margin))
        torch.testing.assert_close(TripletLoss(margin)(features, codes), expected, atol=1e-4, rtol=1e-4)
    part = torch.arange(20) < 9
    expected = torch.tensor(triplets_by_hand(features[:9].tolist(), codes[:9].tolist(), 0.5))
    found = TripletLoss(0.5)(features, codes, part)
    torch.testing.assert_close(found[:9], expected, atol=1e-4, rtol=1e-4)
    assert (found[9:] == 0).all()


def test_triplet_loss_has_finite_gradients_where_there_is_nothing_to_learn():
    loss = TripletLoss(0.2)
    for features, codes in ((torch.ones(4, 3), [0, 0, 1, 1]), (torch.zeros(4, 3), [0, 0, 1, 1]),
                            (torch.eye(3), [0, 0, 0]), (torch.eye(3), [0, 1, 2]), (torch.ones(1, 3), [0])):
        features.requires_grad_()
        value = loss(features, torch.tensor(codes)).mean()
        assert value.isfinite()
        assert torch.autograd.grad(value, features)[0].isfinite().all()


def test_triplet_term_is_weighted(tiny_images):
    from fmnist_sk import FeatureExtractor

    X, y = tiny_images()
    weights = np.random.default_rng(0).random(60) + 0.1
    params = {"lr": 1e-12, "optimizer": "sgd", "max_epochs": 1, "batch_size": 60, "dropout": 0.0, "precision": "fp32",
              "batch_norm": False}

    def loss(sample_weight, **more):
        return small("ConvNetClassifier", **params, **more).fit(X, y, sample_weight).history_[-1, "train_loss"]

    net = small("ConvNetClassifier", **params)
    features = torch.from_numpy(FeatureExtractor(net).fit(X, y).transform(X))
    each = TripletLoss(0.7)(features, torch.from_numpy(y)).numpy()
    term = {"triplet_weight": 2.0, "triplet_margin": 0.7}
    assert loss(None, **term) - loss(None) == pytest.approx(2 * each.mean(), rel=1e-3)
    assert loss(weights, **term) - loss(weights) == pytest.approx(2 * np.average(each, weights=weights), rel=1e-3)


class KeepsFeatures(nn.Module):
    """Remembers its penultimate features of the last training batch."""

    def __init__(self, n_classes):
        super().__init__()
        self.first, self.last = nn.Linear(64, 8), nn.Linear(8, n_classes)

    def forward(self, x):
        features = self.first(x.flatten(1)).relu()
        if self.training:
            self.features = features.detach()
        return self.last(features)


class KeepsTargets(nn.CrossEntropyLoss):
    """Remembers the targets that it was given last."""

    def forward(self, logits, targets):
        self.targets = targets
        return super().forward(logits, targets)


def test_triplet_term_leaves_mixed_images_out(tiny_images):
    X, y = tiny_images()
    plain, net = (small("ImageClassifier", module=KeepsFeatures, criterion=KeepsTargets, augment=MixUp(alpha=1.0),
                        triplet_weight=weight, triplet_margin=0.7, max_epochs=1, batch_size=60, lr=1e-12,
                        precision="fp32").fit(X, y) for weight in (0.0, 2.0))
    features, targets = net.module_.network.features, net.criterion_.targets
    whole = targets.amax(1) == 1
    assert whole.float().mean() == pytest.approx(1 / 3, abs=0.15)          # those whose partner is of their class
    each = TripletLoss(0.7)(features[whole], targets[whole].argmax(1))
    assert each.mean() > 0
    term = net.history_[-1, "train_loss"] - plain.history_[-1, "train_loss"]
    assert term == pytest.approx(2 * each.sum().item() / 60, rel=1e-3)


def test_triplet_term_separates_the_penultimate_features(tiny_images):
    from fmnist_sk import FeatureExtractor

    X, y = tiny_images(n=90)

    def spread(weight):
        net = small("ConvNetClassifier", triplet_weight=weight, triplet_margin=1.0, lr=1e-3, max_epochs=20)
        features = torch.from_numpy(FeatureExtractor(net).fit(X, y).transform(X))
        return TripletLoss(1.0)(features, torch.from_numpy(y)).mean().item()

    assert spread(5.0) < 0.8 * spread(0.0)
    one, two = (small("ConvNetClassifier", triplet_weight=weight, max_epochs=1, lr=1e-9, validation_fraction=0.3)
                .fit(X, y).history_[-1] for weight in (0.0, 1.0))
    assert two["train_loss"] > one["train_loss"] + 0.05
    assert two["valid_loss"] == pytest.approx(one["valid_loss"], rel=1e-3)


# ---------------------------------------------------------------------- in a classifier

@every_loss
@pytest.mark.parametrize("kind", ["ConvNetClassifier", "ResNetClassifier"])
def test_every_loss_learns_and_its_probabilities_sum_to_one(name, kind, tiny_images):
    X, y = tiny_images()
    classifier = small(kind, criterion=name, lr=3e-3).fit(X, y)
    assert classifier.score(X, y) > 0.9
    np.testing.assert_allclose(classifier.predict_proba(X).sum(1), 1, atol=1e-5)


@every_loss
def test_every_loss_takes_weights_and_soft_targets_together(name, tiny_images):
    X, y = tiny_images([0, 1])
    wrong = np.where(np.arange(60) < 30, 1 - y, y)
    weights = np.where(np.arange(60) < 30, 0.01, 1.3)
    classifier = small("ConvNetClassifier", criterion=name, augment=MixUp(), label_smoothing=0.1, triplet_weight=0.1,
                       lr=3e-3)
    assert (classifier.fit(X, wrong, weights).predict(X) == y).mean() > 0.9
    assert classifier.history_[-1, "train_loss"] < 10


@every_loss
def test_weights_scale_the_loss_of_each_image(name, tiny_images):
    X, y = tiny_images()
    weights = np.random.default_rng(0).random(60)
    params = {"criterion": name, "lr": 1e-12, "optimizer": "sgd", "max_epochs": 1, "batch_size": 60, "dropout": 0.0,
              "precision": "fp32", "label_smoothing": 0.0, "batch_norm": False}
    classifier = small("ConvNetClassifier", **params).fit(X, y, weights)
    logits = torch.cat(list(classifier.forward_iter(X)))
    each = LOSSES[name](reduction="none")(logits, torch.from_numpy(y)).numpy()
    assert classifier.history_[-1, "train_loss"] == pytest.approx(np.average(each, weights=weights), rel=1e-4)


def test_settings_reach_the_loss(tiny_images):
    X, y = tiny_images()
    net = small("ImageClassifier", criterion="focal", max_epochs=1, label_smoothing=0.05).set_params(criterion__gamma=1)
    assert net.get_params()["criterion__gamma"] == 1
    criterion = net.fit(X, y).criterion_
    assert (criterion.gamma, criterion.label_smoothing) == (1.0, 0.05)
    net = small("ImageClassifier", criterion="sigmoid").set_params(criterion__label_smoothing=0.3)
    assert net.set_params(max_epochs=1).fit(X, y).criterion_.label_smoothing == 0.3
    with pytest.raises(TypeError, match=r"^criterion has no argument gamma: \w+ takes "):
        net.set_params(criterion__gamma=3).fit(X, y)


def test_an_instance_keeps_its_settings_but_for_those_that_are_set(tiny_images):
    X, y = tiny_images()
    net = small("ImageClassifier", criterion=FocalLoss(3.0, (1, 2, 3), label_smoothing=0.2), max_epochs=1)
    criterion = net.set_params(criterion__gamma=1).fit(X, y).criterion_
    assert (criterion.gamma, criterion.alpha, criterion.label_smoothing) == (1, (1, 2, 3), 0.2)


def test_validation_images_have_the_weights_of_their_classes_however_they_are_given(tiny_images):
    X, y = tiny_images()
    for class_weight in ({0: 50.0}, "balanced"):
        given = np.concatenate([np.arange(60), np.arange(0, 60, 3)])           # twice as many of class 0
        net = small("ConvNetClassifier", class_weight=class_weight, max_epochs=1, validation_data=(X[:20], y[:20]),
                    precision="fp32").fit(X[given], y[given])
        each = -np.log(net.predict_proba(X[:20])[np.arange(20), y[:20]])
        factors = np.array([50.0, 1, 1]) if class_weight != "balanced" else np.array([0.5, 1, 1])
        factors = factors / factors[y[given]].mean()
        assert net.history_[-1, "valid_loss"] == pytest.approx((factors[y[:20]] * each).mean(), rel=1e-4)


def test_further_training_takes_another_loss(tiny_images):
    X, y = tiny_images()
    net = small("ImageClassifier", max_epochs=1).fit(X, y)
    expected = net.predict_proba(X)
    net.set_params(criterion="mse", label_smoothing=0.1)
    np.testing.assert_array_equal(net.predict_proba(X), expected)
    net.partial_fit(X, y)
    assert isinstance(net.criterion_, SquaredError)
    assert net.criterion_.label_smoothing == 0.1


class Hinge(nn.Module):
    """A user's own loss."""

    def __init__(self, margin=1.0):
        super().__init__()
        self.margin, self.reduction = margin, "mean"

    def forward(self, logits, codes):
        return F.multi_margin_loss(logits, codes, margin=self.margin, reduction=self.reduction)


@pytest.mark.parametrize("criterion", [Hinge, Hinge(0.5), nn.MultiMarginLoss, nn.CrossEntropyLoss(label_smoothing=0.1)],
                         ids=["class", "instance", "PyTorch's", "PyTorch's instance"])
def test_a_module_may_be_the_loss(criterion, tiny_images):
    X, y = tiny_images()
    net = small("ConvNetClassifier", criterion=criterion)
    assert net.fit(X, y, np.random.default_rng(0).random(60) + 0.1).score(X, y) > 0.9
    np.testing.assert_allclose(net.predict_proba(X).sum(1), 1, atol=1e-5)
    assert net.criterion_ is not criterion
    repr(net)


def test_nllloss_gets_log_probabilities(tiny_images):
    X, y = tiny_images()
    usual, other = (small("ConvNetClassifier", criterion=kind, max_epochs=2).fit(X, y)
                    for kind in (nn.CrossEntropyLoss, nn.NLLLoss))
    np.testing.assert_allclose(other.history_[:, "train_loss"], usual.history_[:, "train_loss"], rtol=1e-5)
    np.testing.assert_allclose(other.predict_proba(X), usual.predict_proba(X), atol=1e-5)


def test_a_loss_without_reduction_takes_no_weights(tiny_images):
    class Plain(nn.Module):
        def forward(self, logits, codes):
            return F.cross_entropy(logits, codes)

    X, y = tiny_images()
    assert small("ConvNetClassifier", criterion=Plain()).fit(X, y).score(X, y) > 0.9
    with pytest.raises(ValueError, match="criterion must have an attribute `reduction`"):
        small("ConvNetClassifier", criterion=Plain()).fit(X, y, np.random.default_rng(0).random(60))


def test_every_loss_documents_its_formula():
    for kind in [*LOSSES.values(), TripletLoss]:
        assert "``" in inspect.getdoc(kind), kind


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_probabilities_are_numbers_from_zero_on_that_sum_to_one(kind):
    check_probabilities(kind([[0.25, 0.75], [0.0, 1.0]]), (2, 2), "p must be")
    for wrong, message in (([[0.5, 0.5], [-0.5, 1.5]], "p must be, got numbers >= -0.5 with the sum 1"),
                           ([[0.5, 0.5], [0.5, 0.75]], "p must be, got numbers >= 0.5 with the sum 1.25"),
                           ([[0.5, 0.5]], r"p must be, got \(1, 2\) instead of \(2, 2\)"),
                           ([[0.5, 0.5], [float("nan"), 1.0]], "p must be, got numbers >= nan")):
        with pytest.raises(ValueError, match=message):
            check_probabilities(kind(wrong), (2, 2), "p must be")
    check_probabilities(kind([[0.5, 0.5], [float("nan"), 1.0]]), (2, 2), "p must be", finite=False)
