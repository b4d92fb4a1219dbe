"""A fit that was killed or interrupted goes on, and ends as if nothing had happened."""

import numpy as np
import pytest
import torch
from estimators import kinds_of_classifiers, small
from interrupted import Dies, check_goes_on, dying
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from torch import nn

from fmnist_sk import (
    AugmentedCopies,
    Exponential,
    MixUp,
    RandomCrop,
    ReduceOnPlateau,
    TorchSchedule,
)
from fmnist_sk._storage import values


@pytest.mark.parametrize("name", kinds_of_classifiers("InceptionV3Classifier"))
def test_every_classifier_goes_on(name, tiny_images, tmp_path):
    X, y = tiny_images()
    check_goes_on(lambda: small(name, max_epochs=6, validation_fraction=0.2, schedule="one_cycle"), X, y, tmp_path, 8)


SETTINGS = {
    "plain": {},
    "augmented": {"augment": [AugmentedCopies(0.5), RandomCrop(padding=1), MixUp()]},
    "EMA": {"ema": 0.9, "validation_fraction": 0.3},
    "SWA": {"swa": 0.2, "validation_fraction": 0.3},
    "SAM": {"sam_rho": 0.05, "optimizer": "sgd", "gradient_clip": 1.0},
    "plateau": {"schedule": ReduceOnPlateau("valid_loss", patience=0, factor=0.5), "validation_fraction": 0.3},
    "exponential": {"schedule": Exponential(0.9, every=3, per="batch")},
    "scheduler of PyTorch": {"schedule": TorchSchedule(torch.optim.lr_scheduler.OneCycleLR,
                                                       {"max_lr": 0.02, "total_steps": 18}, per="batch"),
                             "optimizer": "sgd"},
    "plateau of PyTorch": {"schedule": TorchSchedule(torch.optim.lr_scheduler.ReduceLROnPlateau, {"patience": 0},
                                                     monitor="train_loss")},
    "early stopping": {"early_stopping": True, "patience": 1, "validation_fraction": 0.3, "lr": 0.05, "max_epochs": 30},
    "weights, focal loss": {"criterion": "focal", "class_weight": {0: 2.0}, "triplet_weight": 0.1},
    "every third epoch": {"checkpoint_every": 3},
    "keep_best=False": {"keep_best": False, "validation_fraction": 0.3},
    "asgd": {"optimizer": "asgd"},
}


@pytest.mark.parametrize("params", SETTINGS.values(), ids=SETTINGS)
def test_every_setting_goes_on(params, tiny_images, tmp_path):
    X, y = tiny_images()
    check_goes_on(lambda: small("ConvNetClassifier", **{"max_epochs": 6, "batch_size": 20, **params}), X, y, tmp_path,
                  10 if "checkpoint_every" in params else 8)


def test_with_verbose_it_says_from_where_it_goes_on(tiny_images, tmp_path, capsys):
    X, y = tiny_images()
    params = {"max_epochs": 3, "checkpoint": tmp_path, "keep_checkpoint": True, "verbose": 1}
    with pytest.raises(Dies):
        dying(small("ConvNetClassifier", **params, batch_size=20), 7).fit(X, y)
    assert str(tmp_path) not in capsys.readouterr().out
    path, = tmp_path.iterdir()
    for said in (f"{path}: resuming after epoch 2\n", f"{path}: this fit is complete, with 3 epochs\n"):
        assert len(small("ConvNetClassifier", **params, batch_size=20).fit(X, y).history_) == 3
        assert said in capsys.readouterr().out
    small("ConvNetClassifier", **params, batch_size=30).fit(X, y)
    assert f"{tmp_path}: no checkpoint of this fit, only of fits with other data or parameters (1); this fit starts " \
        "over\n" in capsys.readouterr().out


def test_sample_weights_and_random_layers_go_on(tiny_images, tmp_path):
    X, y = tiny_images()

    class Net(nn.Sequential):
        def __init__(self, n_classes):
            super().__init__(nn.Conv2d(1, 8, 3), nn.Dropout2d(0.3), nn.Flatten(), nn.Linear(288, n_classes))

    check_goes_on(lambda: small("ImageClassifier", module=Net, max_epochs=4), X, y, tmp_path, 7,
                  np.random.default_rng(0).random(60))


def test_without_a_random_state_the_seed_is_taken_up_too(tiny_images, tmp_path):
    X, y = tiny_images()
    net = small("ConvNetClassifier", random_state=None, max_epochs=4, validation_fraction=0.3, keep_best=False)
    np.random.seed(3)                               # noqa: NPY002
    expected = net.fit(X, y).predict_proba(X)
    assert not np.array_equal(net.fit(X, y).predict_proba(X), expected)
    np.random.seed(3)                               # noqa: NPY002
    net.set_params(checkpoint=tmp_path)
    with pytest.raises(Dies):
        dying(net, 6).fit(X, y)
    np.testing.assert_array_equal(net.fit(X, y).predict_proba(X), expected)


@pytest.mark.parametrize("limit", [values.OBJECTS, 10**6], ids=["as it is", "lower"])
def test_long_fits_go_on_with_what_callbacks_record_of_each_batch_if_it_is_not_too_much(limit, tiny_images, tmp_path,
                                                                                        monkeypatch):
    """27,000 numbers are more than a small network's file may hold as JSON, but not as arrays."""
    X, y = tiny_images(n=60)
    is_enough = limit == values.OBJECTS
    monkeypatch.setattr(values, "OBJECTS", limit)
    epochs = []

    class Records(Callback):
        def on_batch_end(self, net, training, **kwargs):
            for number in range(90):
                net.history.record_batch(f"{training}{number}", number / 3)

        def on_epoch_end(self, net, **kwargs):
            epochs.append(len(net.history))
            if epochs == list(range(1, 21)):        # before its checkpoint is written
                raise Dies

    def net(**params):
        return small("ConvNetClassifier", max_epochs=20, batch_size=4, validation_fraction=4, callbacks=[Records()],
                     checkpoint=tmp_path, **params)

    with pytest.raises(Dies):
        net().fit(X, y)
    again = net().fit(X, y)
    assert epochs == [*range(1, 21), 20]
    found, expected = again.history_, net().fit(X, y).history_
    assert found[:, ("train_loss", "valid_loss", "lr")] == expected[:, ("train_loss", "valid_loss", "lr")]
    if is_enough:
        assert found[:, "batches"] == expected[:, "batches"]
    else:
        assert found[:-1, "batches"] == 19 * [[]]
        assert found[-1, "batches"] == expected[-1, "batches"]


def test_a_fit_with_other_data_or_settings_has_a_file_of_its_own(tiny_images, tmp_path):
    X, y = tiny_images()
    changes = [{}, {"lr": 0.02}, {"random_state": 1}, {"augment": RandomCrop(padding=1)}, {"optimizer": "sgd"},
               {"augment": RandomCrop(padding=2)}, {"validation_data": (X, y)}, {"validation_data": (X[:30], y[:30])},
               {"image_shape": (1, 8, 8)}, {"criterion": nn.CrossEntropyLoss(label_smoothing=0.2)},
               {"criterion": nn.CrossEntropyLoss(label_smoothing=0.3)}]
    for i, change in enumerate(changes):
        with pytest.raises(Dies):
            dying(small("ConvNetClassifier", max_epochs=3, checkpoint=tmp_path, **change), 3).fit(X, y)
        assert len(list(tmp_path.iterdir())) == i + 1, change
    for data in ((X[:50], y[:50]), (X, np.roll(y, 1)), (X, y, np.arange(1, 61) / 7), (X, y.astype(str))):
        with pytest.raises(Dies):
            dying(small("ConvNetClassifier", max_epochs=3, checkpoint=tmp_path), 3).fit(*data)
        i += 1
        assert len(list(tmp_path.iterdir())) == i + 1
    with pytest.raises(Dies):                       # the same one in another order, with another verbosity
        dying(small("ConvNetClassifier", max_epochs=3, checkpoint=str(tmp_path), verbose=0, callbacks=[]), 3).fit(
            X[::-1].copy(), y[::-1])
    assert len(list(tmp_path.iterdir())) == i + 1


def test_parallel_fits_of_a_search_share_a_folder(tiny_images, tmp_path):
    X, y = tiny_images()
    net = small("ConvNetClassifier", max_epochs=3, checkpoint=tmp_path)
    scores = [GridSearchCV(net.set_params(checkpoint=folder), {"lr": [0.01, 0.02]}, cv=2, n_jobs=2,
                           error_score="raise").fit(X, y).cv_results_["mean_test_score"] for folder in (tmp_path, None)]
    np.testing.assert_array_equal(*scores)
    assert list(tmp_path.iterdir()) == []


def test_a_second_warm_fit_goes_on_from_its_own_middle(tiny_images, tmp_path):
    X, y = tiny_images()
    make = lambda: small("ConvNetClassifier", max_epochs=3, warm_start=True)      # noqa: E731
    expected = make().fit(X, y).fit(X, y)
    first = dying(make().set_params(checkpoint=tmp_path), 6 + 5).fit(X, y)
    with pytest.raises(Dies):
        first.fit(X, y)
    again = dying(make().set_params(checkpoint=tmp_path), -1).fit(X, y).fit(X, y)
    assert again.n_steps < 12
    np.testing.assert_array_equal(again.predict_proba(X), expected.predict_proba(X))
