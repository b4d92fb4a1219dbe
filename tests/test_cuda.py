"""What only a CUDA device can show."""
import pickle

import numpy as np
import pytest
import sklearn
import torch
from estimators import AUGMENTERS, CLASSIFIERS, OPTIMIZERS, TRANSFORMERS, small
from interrupted import check_goes_on
from sklearn.base import clone
from skorch.callbacks import Callback
from skorch.exceptions import DeviceWarning
from torch import nn

from fmnist_sk import AugmentedCopies, DeepEnsembleClassifier, ImageClassifier, MixUp, RandomCrop
from fmnist_sk._data.images import Images
from fmnist_sk._runtime.graphs import Recorded
from fmnist_sk.losses import LOSSES
from fmnist_sk.schedules import SCHEDULES

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


@pytest.fixture
def one_gigabyte():
    """All that there is of the device's memory."""
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(2**30 / torch.cuda.get_device_properties(0).total_memory)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


def test_without_memory_the_error_says_what_to_try(one_gigabyte):
    X, y = np.zeros((1_400_000, 28, 28), np.uint8), np.arange(1_400_000) % 2
    net = small("ConvNetClassifier", architecture="64C3-64C3-MP2-4N", precision="fp32", max_epochs=1)
    net.set_params(batch_size=20_000)
    with pytest.raises(ValueError, match=r"batch_size=20000 needs more memory than there is on cuda.*: try "
                                         r"batch_size=10000\."):
        net.fit(X[:20_000], y[:20_000])
    with pytest.raises(ValueError, match=r"X needs 1,047 MiB, more than there is on cuda.*: pass fewer images"):
        net.fit(X, y)
    net.set_params(batch_size=100).fit(X[:1000], y[:1000])
    assert net.predict(X[:1000]).shape == (1000,)


@every_classifier
def test_pixels_are_never_copied_to_the_host(name, tiny_images, monkeypatch):
    X, y = images(tiny_images)
    copy = torch.Tensor.cpu

    def refuse(self, *args, **kwargs):
        assert self.ndim < 3 or self.shape[-2:] != X.shape[-2:], "images came to the host"
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


class Thins(Callback):
    """Lowers the rate of dropout, and of the first augmentation, after every epoch."""

    def on_epoch_end(self, net, **kwargs):
        net.augment[0].p *= 0.7
        for layer in net.module_.modules():
            if isinstance(layer, nn.Dropout):
                layer.p *= 0.7


@pytest.mark.parametrize("make", [
    *(pytest.param(lambda name=name, **params: small(name, **params), id=name) for name in CLASSIFIERS),
    pytest.param(lambda **params: small("ConvNetClassifier", dropout=0.5, callbacks=[Thins()], **params),
                 id="callback"),
    pytest.param(lambda random_state, **params: DeepEnsembleClassifier(
        small("ConvNetClassifier", **params), n_members=3, together=True, random_state=random_state), id="ensemble"),
])
def test_recorded_steps_do_what_steps_do(make, tiny_images, monkeypatch):
    X, y = images(tiny_images)
    weights = np.random.default_rng(0).random(60)

    def fitted():
        return make(max_epochs=4, batch_size=13, augment=[RandomCrop(padding=1), MixUp()], random_state=1).fit(
            X, y, weights)

    replays = []
    replay = torch.cuda.CUDAGraph.replay
    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", lambda graph: replays.append(graph) or replay(graph))
    torch.use_deterministic_algorithms(True)
    try:
        recorded = fitted()
        n_replays = len(replays)
        monkeypatch.setattr(Recorded, "WARM_UP", 10**9)
        expected = fitted()
    finally:
        torch.use_deterministic_algorithms(False)
    assert len(replays) == n_replays > 0
    np.testing.assert_array_equal(recorded.predict_proba(X), expected.predict_proba(X))
    for one, other in zip(*(getattr(net, "estimators_", [net]) for net in (recorded, expected)), strict=True):
        losses = [[batch["train_loss"] for row in part.history_ for batch in row["batches"] if "train_loss" in batch]
                  for part in (one, other)]
        assert losses[0] == losses[1]


class Reads(Callback):
    """Looks at what is in the history, of batches too."""

    def on_epoch_end(self, net, **kwargs):
        self.losses = net.history[-1, "batches", :, "train_loss"]


def test_losses_of_recorded_steps_are_those_of_their_batches(tiny_images):
    X, y = images(tiny_images)
    net = small("ConvNetClassifier", max_epochs=4, batch_size=13, callbacks=[Reads()], random_state=1).fit(X, y)
    batches = net.history_[-1, "batches", :, "train_loss"]
    assert len(set(batches)) == len(batches) > 2


class DrawsOnTheHost(nn.Sequential):
    """Leaves out a layer's share at random, as stochastic depth does, with a number that is drawn on the CPU."""

    def __init__(self, n_classes):
        super().__init__(nn.Flatten(), nn.Linear(64, n_classes))

    def forward(self, x):
        return super().forward(x) * (1.0 if not self.training or torch.rand(1) > 0.5 else 0.5)


def test_numbers_that_a_network_draws_on_the_cpu_are_its_own(tiny_images):
    X, y = images(tiny_images)
    one, two = (ImageClassifier(module=DrawsOnTheHost, max_epochs=3, device="cuda", random_state=0).fit(X, y)
                for _ in range(2))
    assert one.history_[:, "train_loss"] == pytest.approx(two.history_[:, "train_loss"], rel=1e-4)


class Keeps(Callback):
    """Keeps what steps were given."""

    def on_train_begin(self, net, **kwargs):
        self.kept = []

    def on_batch_end(self, net, batch, training, **kwargs):
        self.kept.append(batch[0]["x"])


def test_batches_that_others_see_stay(tiny_images):
    X, y = images(tiny_images)
    keeps = Keeps()
    classifier = small("ConvNetClassifier", max_epochs=2, batch_size=10, augment="light", callbacks=[keeps]).fit(X, y)
    drawn = [batch[0]["x"] for batch in classifier.get_iterator(Images(X[:, None]), training=True)]
    for batches in (keeps.kept, drawn):
        assert len({float(batch.sum()) for batch in batches}) == len(batches) > 5


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


@pytest.mark.parametrize("name", sorted(set(TRANSFORMERS) - {"HOGTransformer"}))       # that one computes on the CPU
def test_transformers_stay_on_the_device(name, tiny_images):
    X, y = images(tiny_images)
    transformer = small(name, **({"p": 1.0} if name in AUGMENTERS else {}))
    with sklearn.config_context(array_api_dispatch=True):
        assert transformer.fit_transform(X, y).is_cuda
        assert transformer.transform(X).is_cuda


def test_copies_stay_on_the_device(tiny_images):
    X, y = images(tiny_images)
    larger, labels = AugmentedCopies(0.5, RandomCrop(padding=1)).fit_resample(X, y)
    assert larger.is_cuda
    assert len(larger) == len(labels) == 90


@pytest.mark.parametrize("p", [0.5, 1.0])
@pytest.mark.parametrize("name", AUGMENTERS)
def test_every_augmentation_trains_and_repeats(name, p, tiny_images):
    X, y = tiny_images(["bag", "coat", "shoe"])
    augment = [AugmentedCopies(), small(name, p=p, exclude=["shoe"])]
    torch.use_deterministic_algorithms(True)
    try:
        one, two = (small("ConvNetClassifier", augment=augment, class_weight={"bag": 2.0}, max_epochs=40).fit(X, y)
                    for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))
    assert one.score(X, y) > 0.6


SETTINGS = [
    *({"criterion": name, "label_smoothing": 0.1, "augment": MixUp()} for name in LOSSES),
    *({"optimizer": name, "lr": {"sgd": 0.05, "asgd": 0.1}.get(name, 3e-3)} for name in OPTIMIZERS),
    *({"schedule": name, "validation_fraction": 0.2} for name in SCHEDULES),
    {"triplet_weight": 0.1}, {"sam_rho": 0.05}, {"gradient_clip": 1.0}, {"ema": 0.9},
    {"swa": 0.5, "validation_fraction": 0.2}, {"class_weight": "balanced"},
]


@pytest.mark.parametrize("params", SETTINGS, ids=str)
def test_every_setting_trains(params, tiny_images):
    X, y = images(tiny_images)
    classifier = small("ConvNetClassifier", **{"lr": 3e-3, **params}).fit(X, y)
    assert classifier.score(X, y) > 0.9
    np.testing.assert_allclose(classifier.set_params(tta=("mirror", "shift")).predict_proba(X).sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_teachers_of_any_device_teach(device, tiny_images):
    X, y = images(tiny_images)
    teacher = small("ConvNetClassifier", device=device).fit(X, y)
    student = small("ConvNetClassifier", teacher=teacher, teacher_weight=1.0, augment=MixUp(), device="cuda").fit(X, y)
    assert (student.predict(X) == teacher.predict(X)).mean() > 0.9
    student.set_params(teacher=clone(teacher)).fit(X, y)            # which is trained first
    assert (student.predict(X) == teacher.predict(X)).mean() > 0.9


@pytest.mark.parametrize("params", [{}, {"ema": 0.9, "optimizer": "sgd"}, {"augment": [AugmentedCopies(), MixUp()]}])
def test_an_interrupted_fit_goes_on(params, tiny_images, tmp_path):
    X, y = tiny_images()
    torch.use_deterministic_algorithms(True)
    try:
        check_goes_on(lambda: small("ConvNetClassifier", max_epochs=6, batch_size=20, validation_fraction=0.2,
                                    **params), X, y, tmp_path, 8)
    finally:
        torch.use_deterministic_algorithms(False)
