"""Transfer learning: the network and its checkpoints, two phases in one fit."""
import hashlib
import http.server
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from estimators import save_narrow_inception, small
from skorch.callbacks import Callback
from torch import nn

from fmnist_sk import InceptionV3Classifier, RandomCrop, reference_system
from fmnist_sk.networks import _inception_v3, inception_v3
from fmnist_sk.networks._inception_v3 import BLOCKS, InceptionV3, imagenet_checkpoint

LIST = Path(__file__).with_name("inception_v3_state_dict.txt")


def transfer(**params):
    return small("InceptionV3Classifier", **params)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """torch.hub's folder is empty, downloads come from a local server; gives (folder, folder of the server, log)."""
    served, log = tmp_path / "served", []
    served.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(served))

        def log_message(self, *args):
            log.append(str(args[2]))

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("fmnist_sk._storage.download.PAUSE", 0.01)
    monkeypatch.setattr(inception_v3, "IMAGENET_WIDTH", 0.1)

    def publish(path):
        content = Path(path).read_bytes()
        name = f"inception-{hashlib.sha256(content).hexdigest()[:8]}.pth"
        (served / name).write_bytes(content)
        monkeypatch.setattr(_inception_v3, "IMAGENET", name)
        monkeypatch.setattr(_inception_v3, "ADDRESS", f"http://127.0.0.1:{server.server_port}/{name}")
        return name

    yield tmp_path / "home/hub/checkpoints", publish, log
    server.shutdown()
    server.server_close()


# ---------------------------------------------------------------------- the network

def of_torchvision():
    """Name -> shape of what is in a checkpoint. The list was written from torchvision 0.29's inception_v3."""
    shapes = dict(line.split() for line in LIST.read_text().splitlines())
    return {name: () if shape == "scalar" else tuple(map(int, shape.split("x"))) for name, shape in shapes.items()}


def is_of_a_head(name):
    return name.startswith(("AuxLogits.", "fc."))


def test_names_and_shapes_are_those_of_torchvision():
    network = InceptionV3()
    expected = of_torchvision()
    assert len(expected) == 580
    assert [(name, tuple(value.shape)) for name, value in network.state_dict().items()] == [
        (name, shape) for name, shape in expected.items() if not is_of_a_head(name)]
    assert sum(parameter.numel() for parameter in network.parameters()) == 21_785_568


def test_normalisation_is_that_of_the_checkpoint():
    assert {module.eps for module in InceptionV3(width=0.05).modules() if isinstance(module, nn.BatchNorm2d)} == {1e-3}


def test_a_checkpoint_of_full_size_with_heads_loads(tmp_path, tiny_images):
    torch.manual_seed(0)
    state = {**InceptionV3().state_dict(),
             **{name: torch.zeros(shape) for name, shape in of_torchvision().items() if is_of_a_head(name)}}
    state = {name: value for name, value in state.items() if "num_batches_tracked" not in name}
    torch.save(state, tmp_path / "whole.pth")            # the official file has no such counters either
    X, y = tiny_images(n=8)
    classifier = InceptionV3Classifier(weights=tmp_path / "whole.pth", resize=75, max_epochs=1, random_state=0)
    base = classifier.fit(X, y).module_.network.base
    for name, value in base.state_dict().items():
        assert "num_batches_tracked" in name or torch.equal(value, state[name]), name


def test_input_is_scaled_enlarged_and_repeated_in_three_channels(tiny_images):
    X, y = tiny_images()
    seen = []
    for images in (X, X.astype(np.float32) * 2 - 100):
        classifier = transfer(max_epochs=1, precision="fp32").fit(images, y)
        classifier.module_.network.base.Conv2d_1a_3x3.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        classifier.predict(images)
    raw, floats = (torch.cat([x for x in seen if len(x)][i:i + 2]) for i in (0, 2))
    assert raw.shape == floats.shape == (60, 3, 75, 75)
    assert torch.equal(raw[:, 0], raw[:, 1])
    small_image = torch.from_numpy(X).float()[:, None] / 127.5 - 1           # bytes: 0 is -1, 255 is 1
    expected = nn.functional.interpolate(small_image, size=(75, 75), mode="bilinear", antialias=True)
    torch.testing.assert_close(raw[:, :1].contiguous(), expected)
    assert floats.min() >= -1.0001                                           # floats: smallest and largest pixel
    assert floats.max() <= 1.0001
    assert floats.amax() - floats.amin() > 1.9


def test_the_head_is_that_of_the_report():
    network = transfer().initialize().module_.network
    assert [type(layer).__name__ for layer in network.head] == ["Linear", "ReLU", "Dropout", "Linear"]
    assert reference_system("inception_v3").resize == 150


def test_two_channels_are_refused():
    with pytest.raises(ValueError, match="1 or 3 channels for Inception v3, got 2"):
        transfer().fit(np.zeros((4, 2, 8, 8)), [0, 1, 0, 1])


# ---------------------------------------------------------------------- two phases

def weights_of(classifier):
    return {name: value.clone() for name, value in classifier.module_.network.base.state_dict().items()}


def changed(before, after):
    return {name.split(".")[0] for name in before
            if "num_batches" not in name and not torch.equal(before[name], after[name])}


def test_first_the_head_learns_then_the_upper_blocks(tiny_images):
    X, y = tiny_images()
    classifier = transfer(frozen_epochs=4, max_epochs=4, fine_tune_from="Mixed_7c").fit(X, y)
    start = torch.load(classifier.weights, weights_only=True)
    assert changed(start, weights_of(classifier)) == set()
    assert isinstance(classifier.optimizer_, torch.optim.AdamW)
    classifier = transfer(frozen_epochs=4, max_epochs=6, fine_tune_from="Mixed_7c", fine_tune_lr=0.003).fit(X, y)
    assert changed(start, weights_of(classifier)) == {"Mixed_7c"}
    assert isinstance(classifier.optimizer_, torch.optim.SGD)
    assert {name.split(".")[0] for name, value in classifier.module_.network.base.named_parameters()
            if value.requires_grad} == {"Mixed_7c"}
    assert classifier.history_[:, "lr"] == [0.01] * 4 + [0.003] * 2
    assert classifier.n_iter_ == 6
    classifier = transfer(frozen_epochs=0, max_epochs=1, fine_tune_from="Mixed_6e").fit(X, y)
    assert changed(start, weights_of(classifier)) == {"Mixed_6e", "Mixed_7a", "Mixed_7b", "Mixed_7c"}


def test_each_phase_has_the_whole_schedule(tiny_images):
    X, y = tiny_images()
    rates = transfer(frozen_epochs=3, max_epochs=6, schedule="one_cycle", fine_tune_lr=0.01).fit(X, y).history_[:, "lr"]
    assert rates[:3] == rates[3:]
    assert rates[2] < rates[0]


class CountImages(Callback):
    """How many images each block sees from the start of training on."""

    def on_train_begin(self, net, **kwargs):
        self.seen = dict.fromkeys(BLOCKS, 0)
        for name, block in zip(BLOCKS, net.module_.network.base.blocks(), strict=True):
            block.register_forward_hook(self.count(name))

    def count(self, name):
        def hook(module, inputs, output):
            self.seen[name] += len(output)
        return hook


@pytest.mark.parametrize("fine_tune_from", ["Mixed_7b", "Conv2d_1a_3x3"])
def test_frozen_features_are_computed_once(fine_tune_from, monkeypatch, tiny_images):
    X, y = tiny_images()

    def fit():
        counter = CountImages()
        classifier = transfer(frozen_epochs=5, max_epochs=8, fine_tune_from=fine_tune_from, precision="fp32",
                              callbacks=[counter])
        return classifier.fit(X, y), list(counter.seen.values())

    classifier, seen = fit()
    cut = BLOCKS.index(fine_tune_from)
    last = 16                                                # images that the last step is checked with
    assert seen == [60 + 60 + last] * cut + [60 + 3 * 60 + last] * (len(BLOCKS) - cut)
    monkeypatch.setattr(inception_v3, "MAX_CACHE_BYTES", 0)
    uncached, seen = fit()
    tried = 32 * ((cut > 0) + 1)                             # a batch for each phase, to see how large features are
    assert seen == [8 * 60 + tried + last] * cut + [8 * 60 + 32 + last] * (len(BLOCKS) - cut)
    np.testing.assert_allclose(uncached.predict_proba(X), classifier.predict_proba(X), atol=1e-4)


def test_augmented_images_pass_through_the_frozen_blocks_every_epoch(tiny_images):
    X, y = tiny_images()
    counter = CountImages()
    transfer(frozen_epochs=5, max_epochs=5, augment=[RandomCrop(padding=1)], validation_data=(X[:20], y[:20]),
             callbacks=[counter]).fit(X, y)
    assert counter.seen["Mixed_5b"] == 5 * 60 + 20           # validation images are never augmented


def test_validation_images_share_the_features(tiny_images):
    X, y = tiny_images()
    counter = CountImages()
    classifier = transfer(frozen_epochs=5, max_epochs=5, validation_fraction=0.25, callbacks=[counter]).fit(X, y)
    assert counter.seen["Mixed_7c"] == 60
    assert classifier.best_epoch_ <= 5
    held_out = transfer(max_epochs=1, validation_fraction=0.25)
    assert len(classifier.history_) == 5
    assert held_out.fit(X, y).history_[0, "valid_batch_count"] == 1


def test_the_second_phase_begins_with_the_best_epoch_of_the_first(tiny_images):
    """Fine-tuning at no speed to speak of shows what it began with."""
    X, y = tiny_images()
    shuffled = np.random.default_rng(0).permutation(y)
    settings = {"validation_data": (X, shuffled), "dropout": 0.0, "frozen_epochs": 12, "monitor": "valid_loss",
                "fine_tune_lr": 1e-12, "fine_tune_from": "Mixed_7c"}
    first = transfer(**settings, max_epochs=12).fit(X, y)
    assert first.best_epoch_ < 12                            # it learns y, so that `shuffled` soon gets worse
    losses = transfer(**settings, max_epochs=13).fit(X, y).history_[:, "valid_loss"]
    assert losses[12] == pytest.approx(losses[first.best_epoch_ - 1], rel=1e-3)
    assert losses[12] < losses[11]


def test_early_stopping_ends_a_phase_not_the_fit(tiny_images):
    X, y = tiny_images()
    shuffled = np.random.default_rng(0).permutation(y)
    classifier = transfer(validation_data=(X, shuffled), monitor="valid_loss", early_stopping=True, patience=2,
                          frozen_epochs=20, max_epochs=24).fit(X, y)
    rates = classifier.history_[:, "lr"]
    assert 1 < rates.count(0.01) < 20
    assert rates.count(classifier.fine_tune_lr) > 2              # its own patience


def test_partial_fit_and_warm_starts_go_on_counting(tiny_images):
    X, y = tiny_images()
    classifier = transfer(frozen_epochs=2, max_epochs=3, fine_tune_lr=0.003)
    rates = [classifier.partial_fit(X, y).history_[-1, "lr"] for _ in range(4)]
    assert rates == [0.01, 0.01, 0.003, 0.003]
    warm = transfer(frozen_epochs=2, max_epochs=3, fine_tune_lr=0.003, warm_start=True).fit(X, y).fit(X, y)
    assert warm.history_[:, "lr"] == [0.01] * 2 + [0.003] * 4
    copied = pickle.loads(pickle.dumps(warm))
    copied.set_params(fine_tune_lr=0.004)
    assert copied.partial_fit(X, y).history_[-1, "lr"] == 0.004
    assert warm.set_params(warm_start=False).fit(X, y).history_[:, "lr"] == [0.01] * 2 + [0.003]


def test_without_weights_everything_learns_from_the_first_epoch_on(tiny_images):
    X, y = tiny_images()
    classifier = transfer(weights=None, width=0.05, frozen_epochs=5, max_epochs=1).fit(X, y)
    assert all(parameter.requires_grad for parameter in classifier.module_.parameters())
    assert all(parameter.grad.abs().sum() > 0 for parameter in classifier.module_.parameters())
    longer = transfer(weights=None, width=0.05, max_epochs=20, dropout=0.0).fit(X, y)
    assert longer.history_[-1, "train_acc"] > 0.9


def test_fits_are_repeatable_and_augmented_ones_too(tiny_images):
    X, y = tiny_images()
    for augment in (None, [RandomCrop(padding=1)]):
        one, two = (transfer(frozen_epochs=2, max_epochs=3, augment=augment, random_state=3).fit(X, y).predict_proba(X)
                    for _ in range(2))
        np.testing.assert_array_equal(one, two)


# ---------------------------------------------------------------------- where weights come from

def test_weights_are_downloaded_once_and_verified(hub, tmp_path, tiny_images):
    X, y = tiny_images()
    folder, publish, log = hub
    name = publish(save_narrow_inception(0.1, tmp_path))
    settings = {"weights": "imagenet", "max_epochs": 1}
    proba = [transfer(**settings).fit(X, y).predict_proba(X) for _ in range(2)]
    assert log == ["200"]
    assert {path.name for path in folder.iterdir()} == {name, name + ".lock"}
    np.testing.assert_array_equal(proba[0], proba[1])
    np.testing.assert_array_equal(proba[0], transfer(weights=folder / name, max_epochs=1).fit(X, y).predict_proba(X))
    (folder / name).write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"is not the published .* delete it to have it downloaded again"):
        transfer(**settings).fit(X, y)


def test_what_is_served_wrongly_is_refused(hub, tmp_path, monkeypatch):
    folder, publish, _ = hub
    name = publish(save_narrow_inception(0.1, tmp_path))
    monkeypatch.setattr(_inception_v3, "IMAGENET", "inception-00000000.pth")
    with pytest.raises(FileNotFoundError, match=f"{name}.*is not the published inception-00000000.pth"):
        imagenet_checkpoint()
    assert not list(folder.glob("*.pth"))


def test_without_weights_at_hand_the_error_says_where_to_put_them(hub, monkeypatch, tiny_images):
    folder, _, _ = hub
    monkeypatch.setattr(_inception_v3, "ADDRESS", "http://127.0.0.1:9/nothing.pth")
    with pytest.raises(FileNotFoundError) as error:
        reference_system("inception_v3", width=0.1, max_epochs=1).fit(*tiny_images())
    for text in ("weights='imagenet' needs the file inception_v3_google-0cc3c7bd.pth", str(folder), "weights=None",
                 "weights='path/to/checkpoint.pth'", "http://127.0.0.1:9/nothing.pth"):
        assert text in str(error.value)


def test_files_that_are_no_checkpoint_are_refused(tmp_path, tiny_images):
    X, y = tiny_images()
    with pytest.raises(FileNotFoundError, match=r"weights must be 'imagenet', None or the path .*nowhere.pth"):
        transfer(weights="nowhere.pth").fit(X, y)
    for path in (tmp_path, "a" * 5000, ""):
        with pytest.raises(FileNotFoundError, match=r"weights must be .* no file at weights="):
            transfer(weights=path).fit(X, y)
    with pytest.raises(ValueError, match="weights must be in the home folder of an existing user, got weights="):
        transfer(weights="~nosuchuser/x").fit(X, y)
    good = torch.load(save_narrow_inception(0.1, tmp_path), weights_only=True)
    path = tmp_path / "bad.pth"

    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "touched",)

    whole = Path(save_narrow_inception(0.1, tmp_path)).read_bytes()
    for content in (b"", b"text", whole[:-1000], pickle.dumps(good["Conv2d_1a_3x3.bn.bias"].tolist())):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"weights must name a .*bad.pth"):
            transfer(weights=path).fit(X, y)
    name = "Mixed_7c.branch1x1.bn.running_var"
    for state, message in (({**good, name: good[name] * torch.nan}, f"must be finite .* {name}"),
                           ({**good, name: -good[name]}, f"variances >= 0: {name}"),
                           ({**good, name: good[name].to_sparse()}, "_rebuild_sparse_tensor, which is not part of"),
                           ({**good, name: good[name].to(torch.int64)}, f"{name} is something else"),
                           ([1], "holds a list"), ({}, "missing"), ({"a": Evil()}, "cannot be read"),
                           ({**good, "Mixed_7c.branch1x1.conv.weight": torch.zeros(3)},
                            r"Mixed_7c.branch1x1.conv.weight has shape .* it is \(3,\)")):
        torch.save(state, path)
        with pytest.raises(ValueError, match=message):
            transfer(weights=path).fit(X, y)
    assert not (tmp_path / "touched").exists()
    with pytest.raises(ValueError, match=r"Conv2d_1a_3x3.conv.weight has shape \(2, 3, 3, 3\) with this width"):
        transfer(width=0.05).fit(X, y)


@pytest.mark.parametrize(("params", "name"), [({"resize": 74}, "resize"), ({"fine_tune_from": "Mixed_9"}, "fine_tune"),
                                              ({"frozen_epochs": -1}, "frozen_epochs"), ({"width": 0}, "width"),
                                              ({"weights": 3}, "weights"), ({"fine_tune_lr": 0.0}, "fine_tune_lr"),
                                              ({"weights": "imagenet", "width": 0.5}, "width must be 1 with weights")])
def test_bad_parameters_are_named(params, name, tiny_images):
    with pytest.raises(ValueError, match=name):
        transfer(**params).fit(*tiny_images())
