"""ImageClassifier's own behaviour: validation settings, further training, ranges, shapes, modules, errors."""
import pickle
import re

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from estimators import PatchNet, small
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from torch import nn

from fmnist_sk import ConvNetClassifier, ImageClassifier, RandomCrop
from fmnist_sk._batches import Batches, Images
from fmnist_sk._validation import stratified_split


def net(**params):
    return small("ImageClassifier", **params)


# ---------------------------------------------------------------------- validation

def test_a_fraction_or_a_number_is_held_out_in_the_proportions_of_the_classes(tiny_images):
    X, y = tiny_images(["a", "b", "c"], n=90)
    y[:30] = "a"
    sizes = {}

    class Spy(ImageClassifier):
        def fit_loop(self, X, **kwargs):
            train, valid = self.get_split_datasets(X)
            sizes["train"], sizes["valid"] = (torch.bincount(part.y).tolist() for part in (train, valid))
            rows = torch.cat([train.rows, valid.rows]).sort().values
            assert torch.equal(rows, torch.arange(90))
            return super().fit_loop(X, **kwargs)

    for size in (0.2, 18):
        Spy(**net(validation_fraction=size, max_epochs=1).get_params(deep=False)).fit(X, y)
        assert sum(sizes["valid"]) == 18
        counts = np.unique(y, return_counts=True)[1]
        np.testing.assert_allclose(sizes["valid"], counts * 0.2, atol=1)
        np.testing.assert_array_equal(np.add(sizes["train"], sizes["valid"]), counts)


def test_stratified_split_keeps_the_last_image_of_a_class_for_training():
    codes = torch.tensor([0] * 10 + [1])
    held_out = stratified_split(codes, 5, torch.Generator().manual_seed(0))
    assert held_out.shape == (11,)
    assert not held_out[10]
    assert 4 <= held_out.sum() <= 5


def test_copies_of_an_image_stay_on_one_side_of_the_split(tiny_images):
    X, y = tiny_images()
    parts = []

    class Spy(ImageClassifier):
        def fit_loop(self, X, **kwargs):
            parts.append([part.rows for part in self.get_split_datasets(X)])
            return super().fit_loop(X, **kwargs)

    spy = Spy(**net(validation_fraction=12, max_epochs=1).get_params(deep=False))
    spy.fit(X, y, sample_weight=np.full(60, 2))
    spy.fit(X.repeat(2, axis=0), y.repeat(2))
    (train, valid), (given_train, given_valid) = parts
    assert set(train.tolist()).isdisjoint(valid.tolist())
    assert (len(train), len(valid)) == (len(given_train), len(given_valid)) == (96, 24)
    assert set((given_train // 2).tolist()).isdisjoint((given_valid // 2).tolist())


def test_a_score_that_is_no_number_is_never_the_best(tiny_images):
    X, y = tiny_images()

    class NanFirst(ImageClassifier):
        def validation_step(self, batch, **kwargs):
            step = super().validation_step(batch, **kwargs)
            return {**step, "loss": step["loss"] * float("nan")} if len(self.history_) == 1 else step

    classifier = NanFirst(**net(validation_fraction=0.2, monitor="valid_loss", max_epochs=3).get_params(deep=False))
    classifier.fit(X, y)
    assert classifier.best_epoch_ > 1
    assert classifier.history_[:, "valid_loss_best"][:2] == [False, True]


def test_history_holds_what_a_user_plots(tiny_images):
    X, y = tiny_images()
    classifier = net(max_epochs=3, validation_fraction=0.2).fit(X, y)
    assert len(classifier.history_) == classifier.n_iter_ == 3
    for row in classifier.history_:
        assert {"epoch", "train_loss", "train_acc", "valid_loss", "valid_acc", "lr", "dur"} <= set(row)
    assert classifier.history_[:, "epoch"] == [1, 2, 3]


def test_keep_best_restores_the_best_epoch(tiny_images):
    X, y = tiny_images(n=90)
    rng = np.random.default_rng(0)
    y = np.where(rng.random(90) < 0.3, rng.permutation(y), y)
    settings = {"validation_data": (X[60:], y[60:]), "monitor": "valid_loss", "max_epochs": 30, "lr": 0.03}
    best, last = (net(keep_best=keep, **settings).fit(X[:60], y[:60]) for keep in (True, False))
    losses = best.history_[:, "valid_loss"]
    assert best.best_epoch_ == last.best_epoch_ == 1 + int(np.argmin(losses)) < 30
    loss = {name: -np.log(model.predict_proba(X[60:])[np.arange(30), y[60:]]).mean()
            for name, model in (("best", best), ("last", last))}
    assert loss["best"] == pytest.approx(min(losses), rel=1e-4)
    assert loss["last"] == pytest.approx(losses[-1], rel=1e-4)


def test_early_stopping_waits_for_patience(tiny_images):
    X, y = tiny_images()
    classifier = net(early_stopping=True, patience=3, validation_fraction=0.3, max_epochs=100).fit(X, y)
    assert len(classifier.history_) == classifier.best_epoch_ + 3 < 100


def test_validation_images_are_never_trained_on_nor_augmented(tiny_images):
    X, y = tiny_images()
    seen = []

    class Recorder(RandomCrop):
        def _apply(self, x, *args):
            seen.append(len(x))
            return super()._apply(x, *args)

    net(augment=Recorder(padding=1), validation_fraction=12, max_epochs=2, batch_size=1000).fit(X, y)
    assert seen == [48, 48]


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
    with pytest.raises(ValueError, match=r"y must hold labels known from the first fit \(\[0, 1, 2\]\), got \[7\]"):
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
    classifier.set_params(module__hidden=5)
    assert classifier.module_.network[2].out_features == 5
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


# ---------------------------------------------------------------------- images

def test_flat_rows_become_the_square_they_fill(tiny_images):
    X, y = tiny_images()
    flat = X.reshape(60, -1)
    with pytest.warns(UserWarning, match="rows of 60 values, which fill no square image: .* 8 x 8"):
        classifier = net(max_epochs=1).fit(flat[:, :60], y)
    assert classifier.image_shape_ == (1, 8, 8)
    oblong = net(max_epochs=1, image_shape=(4, 16)).fit(flat, y)
    assert oblong.image_shape_ == (1, 4, 16)
    assert oblong.predict(X.reshape(60, 4, 16)).shape == (60,)


def test_small_flat_rows_are_padded_small_images_raise():
    rng = np.random.default_rng(0)
    deep = ConvNetClassifier(architecture="4C3-MP2-4C3-MP2-4C3", padding="valid", max_epochs=1)
    y = np.arange(20) % 2
    with pytest.raises(ValueError, match="needs images of at least 18 x 18 pixels, got 9 x 20"):
        deep.fit(rng.random((20, 9, 20)), y)
    assert deep.fit(rng.random((20, 81)), y).predict(rng.random((20, 81))).shape == (20,)
    assert deep.fit(rng.random((20, 18, 18)), y).image_shape_ == (1, 18, 18)


def test_warns_when_asked_about_another_range_of_values(tiny_images, recwarn):
    X, y = tiny_images()
    raw, scaled = net(max_epochs=1).fit(X, y), net(max_epochs=1).fit(X / 255.0, y)
    raw.predict(X[:1])
    raw.predict(np.zeros_like(X))
    scaled.predict(X[:1] / 255.0)
    assert not [warning for warning in recwarn if issubclass(warning.category, UserWarning)]
    with pytest.warns(UserWarning, match="values from 0 to .*was fitted on values from 0 to .*: scale X"):
        raw.predict(X / 255.0)
    with pytest.warns(UserWarning, match="scale X"):
        scaled.predict(X)
    with pytest.warns(UserWarning, match="scale X"):
        raw.partial_fit(X / 255.0, y)
    with pytest.warns(UserWarning, match="scale X"):
        net(max_epochs=1, validation_data=(X / 255.0, y)).fit(X, y)


def test_standardize_makes_training_independent_of_scale_and_travels_with_the_module(tiny_images):
    X, y = tiny_images()
    raw = net(max_epochs=3, precision="fp32").fit(X, y)
    layer = raw.module_.standardize
    np.testing.assert_allclose([layer.mean.item(), layer.std.item()], [X.mean(), X.std()], rtol=1e-5)
    assert {"standardize.mean", "standardize.std"} <= set(raw.module_.state_dict())
    assert "standardize" not in dict(net(max_epochs=1, standardize=False).fit(X, y).module_.named_children())
    colour, y = tiny_images(channels=3)
    colour[:, 1] //= 3
    layer = net(max_epochs=1).fit(colour, y).module_.standardize
    np.testing.assert_allclose(layer.mean.flatten(), colour.mean((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(layer.std.flatten(), colour.std((0, 2, 3)), rtol=1e-4)


def test_data_stay_bytes_and_are_not_copied(tiny_images):
    X, y = tiny_images()
    kept = {}

    class Spy(ImageClassifier):
        def fit_loop(self, X, **kwargs):
            kept["pixels"] = X.pixels
            return super().fit_loop(X, **kwargs)

    Spy(**net(max_epochs=1, device="cpu").get_params(deep=False)).fit(X, y, sample_weight=np.arange(60) % 3)
    assert kept["pixels"].dtype == torch.uint8
    assert np.shares_memory(kept["pixels"].numpy(), X)


def test_row_order_does_not_matter(tiny_images):
    X, y = tiny_images()
    order = np.random.default_rng(0).permutation(60)
    a, b = net(max_epochs=2).fit(X, y), net(max_epochs=2).fit(X[order], y[order])
    np.testing.assert_array_equal(a.predict_proba(X), b.predict_proba(X))


def test_duplicates_are_kept():
    class Count(ImageClassifier):
        def fit_loop(self, X, **kwargs):
            self.n_trained_ = len(X)
            return super().fit_loop(X, **kwargs)

    X, y = np.tile(np.arange(128, dtype=np.uint8).reshape(2, 64), (10, 1)), np.arange(20) % 2
    assert Count(**net(max_epochs=1).get_params(deep=False)).fit(X, y).n_trained_ == 20


def test_a_last_batch_of_one_joins_the_one_before():
    data = Images(torch.zeros(9, 1, 2, 2), torch.zeros(9, dtype=torch.long))
    sizes = [len(codes) for _, codes in Batches(data, 4, torch.Generator())]
    assert sizes == [4, 5]
    assert [len(codes) for _, codes in Batches(data, 4)] == [4, 4, 1]


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


def test_optimizer_may_be_a_class_and_weights_alone_decay(tiny_images):
    X, y = tiny_images()
    classifier = net(optimizer=torch.optim.NAdam, weight_decay=0.1, max_epochs=1).fit(X, y)
    assert isinstance(classifier.optimizer_, torch.optim.NAdam)
    groups = classifier.optimizer_.param_groups
    decay = {parameter.ndim > 1: group["weight_decay"] for group in groups for parameter in group["params"]}
    assert decay == {True: 0.1, False: 0.0}
    sgd = net(optimizer="sgd", max_epochs=1, momentum=0.8).fit(X, y).optimizer_
    assert (sgd.defaults["momentum"], sgd.defaults["nesterov"]) == (0.8, True)
    grouped = net(max_epochs=1).set_params(optimizer__param_groups=[("network.2.*", {"lr": 0.5})]).fit(X, y)
    assert [group["lr"] for group in grouped.optimizer_.param_groups] == [0.5, 0.01]


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
    with pytest.raises(ValueError, match="The 'optimizer' parameter"):
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


# ---------------------------------------------------------------------- bad input

BAD_DATA = {
    "NaN": (lambda X, y: (np.where(np.arange(64) == 3, np.nan, X.reshape(60, -1)), y), ValueError, "NaN or infinity"),
    "infinity": (lambda X, y: (X * np.inf, y), ValueError, "NaN or infinity"),
    "too large": (lambda X, y: (X * 1e300, y), ValueError, "NaN or infinity"),
    "NaN tensor": (lambda X, y: (torch.from_numpy(X / 0.0 * 0), y), ValueError, "NaN or infinity"),
    "sparse": (lambda X, y: (scipy.sparse.csr_array(X.reshape(60, -1)), y), TypeError, "Sparse data.*toarray"),
    "sparse tensor": (lambda X, y: (torch.from_numpy(X).reshape(60, -1).to_sparse(), y), TypeError, "to_dense"),
    "empty": (lambda X, y: (X[:0], y[:0]), ValueError, "0 sample"),
    "empty tensor": (lambda X, y: (torch.from_numpy(X[:0]), y[:0]), ValueError, "0 sample"),
    "one class": (lambda X, y: (X, np.zeros(60)), ValueError, "at least 2 classes with a positive weight, got 1"),
    "y too long": (lambda X, y: (X, np.append(y, 1)), ValueError, "inconsistent numbers of samples"),
    "y too long tensor": (lambda X, y: (X, torch.zeros(61)), ValueError, "one label for each of the 60 images"),
    "no y": (lambda X, y: (X, None), ValueError, "y"),
    "y with NaN": (lambda X, y: (X, np.where(y == 1, np.nan, y)), ValueError, "NaN"),
    "continuous y": (lambda X, y: (X, y + 0.5), ValueError, "Unknown label type"),
    "text": (lambda X, y: (np.full((60, 4), "7"), y), ValueError, "X must hold pixel values.*dtype=<U1"),
    "dates": (lambda X, y: (X.reshape(60, -1).astype("M8[s]"), y), ValueError, "X must hold pixel values"),
    "no pixels tensor": (lambda X, y: (torch.zeros(60, 0), y), ValueError, "0 feature"),
    "meta tensor": (lambda X, y: (torch.zeros(60, 4, device="meta"), y), TypeError, "device meta"),
    "missing labels": (lambda X, y: (X, [None, "a"] * 30), ValueError, "y contains NaN, None or infinity"),
    "complex labels": (lambda X, y: (X, torch.zeros(60) * 1j), ValueError, "y must hold labels"),
    "words": (lambda X, y: ([["a", "b"]] * 60, y), ValueError, "X must hold pixel values, which are numbers"),
    "1-D": (lambda X, y: (X[:, 0, 0], y), ValueError, "1D array"),
    "1-D tensor": (lambda X, y: (torch.zeros(60), y), ValueError, "2, 3 or 4 dimensions, got 1"),
    "5-D": (lambda X, y: (X[:, None, None], y), ValueError, "2, 3 or 4 dimensions, got 5"),
    "channels last": (lambda X, y: (np.stack([X] * 3, axis=-1), y), ValueError, r"transpose\(0, 3, 1, 2\)"),
    "complex": (lambda X, y: (X * 1j, y), ValueError, "Complex data not supported"),
    "complex tensor": (lambda X, y: (torch.from_numpy(X) * 1j, y), ValueError, "Complex data not supported"),
    "data set": (lambda X, y: (torch.utils.data.TensorDataset(torch.from_numpy(X)), y), TypeError, "TensorDataset"),
}


@pytest.mark.parametrize("case", BAD_DATA)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:divide by zero:RuntimeWarning")
def test_bad_data_are_refused_in_a_sentence(case, tiny_images):
    make, kind, message = BAD_DATA[case]
    with pytest.raises(kind, match=message):
        net(max_epochs=1).fit(*make(*tiny_images()))


BAD_PARAMETERS = [
    ({"optimizer": "sdg"}, ValueError, "The 'optimizer' parameter of ImageClassifier must be"),
    ({"optimizer": int}, TypeError, "optimizer must be one of .* or a torch.optim.Optimizer class, got"),
    ({"lr": -1}, ValueError, "The 'lr' parameter"),
    ({"max_epochs": 0}, ValueError, "The 'max_epochs' parameter"),
    ({"precision": "fp8"}, ValueError, "The 'precision' parameter"),
    ({"module": None}, TypeError, "module must be an nn.Module class or instance, .*got module=None"),
    ({"module": nn.Linear(64, 5)}, ValueError, "module"),
    ({"module": lambda: 3}, TypeError, "module must be an nn.Module class or instance"),
    ({"module": nn.LSTM(8, 3)}, ValueError, "module"),
    ({"module": int}, TypeError, "module must be"),
    ({"callbacks": [3]}, TypeError, "callbacks must be skorch callbacks or pairs .*, got 3"),
    ({"device": "meta"}, ValueError, "device must name a device of this machine"),
    ({"optimizer": torch.optim.LBFGS}, ValueError, "optimizer must take steps without a closure"),
    ({"class_weight": {0: float("nan")}}, ValueError, "class_weight must hold finite numbers >= 0, got 0: nan"),
    ({"class_weight": {0: -1.0}}, ValueError, "class_weight must hold finite numbers >= 0, got 0: -1.0"),
    ({"class_weight": {0: "a"}}, ValueError, "class_weight must hold finite numbers"),
    ({"class_weight": {0: 0, 1: 0, 2: 0}}, ValueError, "class_weight must leave images with a positive"),
    ({"module": nn.Flatten()}, ValueError, r"module must return logits of shape \(n, n_classes\), here \(8, 3\)"),
    ({"device": "nonsense"}, ValueError, "device must name a device of this machine.*got device='nonsense'"),
    ({"image_shape": (4, 16)}, ValueError, "image_shape must be that of the images in X"),
    ({"image_shape": (5, 5)}, ValueError, "image_shape must hold as many values as a row of X, 64"),
    ({"image_shape": (8,)}, ValueError, r"image_shape must be \(height, width\) or"),
    ({"early_stopping": True}, ValueError, "early_stopping=True needs validation images"),
    ({"validation_fraction": 60}, ValueError, "validation_fraction must leave images to train on"),
    ({"validation_fraction": 1.5}, ValueError, "The 'validation_fraction' parameter"),
    ({"validation_data": (np.zeros((3, 8, 8)),)}, ValueError, r"validation_data must be a pair \(X, y\), got 1"),
    ({"validation_data": (np.zeros((3, 9, 9)), [0, 1, 2])}, ValueError, "validation_data must be like .* 81 features"),
    ({"validation_data": (np.zeros((2, 8, 8)), [0, 9])}, ValueError, "validation_data must be .*y must hold labels"),
    ({"augment": "stong"}, TypeError, r"augment must be None, one of \['fashion', 'light'\]"),
    ({"augment": [RandomCrop(padding=-1)]}, ValueError, "The 'padding' parameter of RandomCrop"),
    ({"augment": RandomCrop(only=[9])}, ValueError, r"only must name labels that occur in y \(\[0, 1, 2\]\)"),
]


@pytest.mark.parametrize(("params", "kind", "message"), BAD_PARAMETERS)
def test_bad_parameters_are_refused_with_name_rule_and_value(params, kind, message, tiny_images):
    X, y = tiny_images()
    with pytest.raises(kind, match=message):
        net(**{"max_epochs": 1, **params}).fit(X, y)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_cuda(tiny_images):
    with pytest.raises(ValueError, match=r"device must name a device of this machine.*got device='cuda'"):
        net(device="cuda").fit(*tiny_images())


def test_a_subclass_cannot_lose_its_defaults():
    with pytest.raises(TypeError, match=r"Faster must annotate its new defaults \(lr\)"):
        class Faster(ImageClassifier):
            lr = 0.1

    class Annotated(ConvNetClassifier):
        lr: float = 0.5
        width: int = 3

    assert Annotated().lr == 0.5
    assert {"width", "architecture"} <= set(Annotated().get_params())
    assert repr(Annotated(lr=0.1)) == "Annotated(lr=0.1)"


def test_a_subclass_may_have_a_constructor_of_its_own(tiny_images):
    class Mine(ConvNetClassifier):
        def __init__(self, *, max_epochs=1, lr=0.01):
            super().__init__(max_epochs=max_epochs, lr=lr, architecture="4C3")

    X, y = tiny_images()
    assert clone(Mine(lr=0.02)).fit(X, y).predict(X).shape == (60,)


def test_unknown_names_are_refused(tiny_images):
    with pytest.raises(TypeError, match="unexpected keyword"):
        ImageClassifier(hidden=3)
    with pytest.raises(ValueError, match="Invalid parameter 'hidden'"):
        net().set_params(hidden=3)
    for name in ("criterion", "train_split"):
        with pytest.raises(ValueError, match=f"Invalid parameter '{name}'"):
            net().set_params(**{name: None})
    with pytest.raises(ValueError, match="Invalid parameter 'iterator_train'"):
        net().set_params(iterator_train__shuffle=False)
    with pytest.raises(ValueError, match="optimizer_betas"):
        net().set_params(optimizer_betas=3).fit(*tiny_images())


def test_a_loss_that_is_no_number_ends_the_fit_and_leaves_the_best_weights(tiny_images):
    X, y = tiny_images()

    class Diverges(ImageClassifier):
        def get_loss(self, *args, **kwargs):
            return super().get_loss(*args, **kwargs) * (float("nan") if len(self.history_) == 4 else 1.0)

    classifier = Diverges(**net(validation_fraction=0.3).get_params(deep=False))
    with pytest.raises(ValueError, match=r"training loss became nan in epoch 4 with lr=0.01: lower lr"):
        classifier.fit(X, y)
    assert classifier.n_iter_ == 4
    assert np.isfinite(classifier.predict_proba(X)).all()


def test_batch_normalisation_needs_two_images(tiny_images):
    X, y = tiny_images()
    with pytest.raises(ValueError, match=r"raise batch_size \(batch_size=1\)"):
        small("ResNetClassifier", batch_size=1).fit(X, y)


def test_classes_of_partial_fit_are_checked(tiny_images):
    X, y = tiny_images()
    with pytest.raises(ValueError, match="classes must name at least 2 classes"):
        net().partial_fit(X[y == 0], y[y == 0], classes=[0])
    with pytest.raises(ValueError, match="1d array"):
        net().partial_fit(X, y, classes=np.zeros((3, 2)))


def test_bad_weights_are_refused(tiny_images):
    X, y = tiny_images()
    for weights, message in ((-np.ones(60), "Negative values"), (np.ones(59), "sample_weight.shape"),
                             (-torch.ones(60), "non-negative"), (torch.ones(59), "one weight for each"),
                             (np.full(60, 1e308), "finite sum"),
                             ((y == 0).astype(float), "at least 2 classes"), (np.zeros(60), "non-zero")):
        with pytest.raises(ValueError, match=message):
            net(max_epochs=1).fit(X, y, sample_weight=weights)


def test_prediction_errors(tiny_images):
    X, y = tiny_images()
    with pytest.raises(NotFittedError):
        net().predict(X)
    classifier = net(max_epochs=1).fit(X, y)
    with pytest.raises(TypeError, match="X must be an array, a DataFrame or a tensor, got a TensorDataset"):
        classifier.predict(torch.utils.data.TensorDataset(torch.from_numpy(X)))
    with pytest.raises(ValueError, match=re.escape("images of shape (1, 8, 8) (channels, height, width) as in fit")):
        classifier.predict(X.reshape(60, 4, 16))
    with pytest.raises(ValueError, match="49 features"):
        classifier.predict(X[:, :7, :7])
    frame = pd.DataFrame(X.reshape(60, -1)).add_prefix("p")
    classifier.fit(frame, y)
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(frame[frame.columns[::-1]])


def test_a_failed_fit_leaves_no_half_fitted_net(tiny_images):
    X, y = tiny_images()
    classifier = net(max_epochs=1)
    with pytest.raises(ValueError, match="at least 2 classes"):
        classifier.fit(X, np.zeros(60))
    with pytest.raises(NotFittedError):
        classifier.predict(X)
    pickle.loads(pickle.dumps(classifier)).fit(X, y)
    with pytest.raises(ValueError, match="at least 2 classes"):
        classifier.fit(X, y).fit(X, np.zeros(60))
    with pytest.raises(NotFittedError):
        pickle.loads(pickle.dumps(classifier)).predict(X)
    with pytest.raises(ValueError, match="inconsistent"):
        classifier.fit(X, y).fit(X[:, :4, :4], y[:30])
    with pytest.raises(NotFittedError):
        classifier.predict(X[:, :4, :4])
