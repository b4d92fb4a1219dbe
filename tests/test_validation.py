"""Training images that are held out, and what is done by the scores on them."""
import re
import warnings

import numpy as np
import pytest
import torch
from estimators import Looks, net

from fmnist_sk import Cosine, ImageClassifier, MultiStep, RandomCrop
from fmnist_sk._data.statistics import stratified_split


def test_a_fraction_or_a_number_is_held_out_in_the_proportions_of_the_classes(tiny_images):
    X, y = tiny_images(["a", "b", "c"], n=90)
    y[:30] = "a"
    counts = np.unique(y, return_counts=True)[1]
    for size in (0.2, 18):
        looks = Looks()
        net(validation_fraction=size, max_epochs=1, callbacks=[looks]).fit(X, y)
        assert len(looks.valid) == 18
        np.testing.assert_allclose(np.unique(looks.valid.y, return_counts=True)[1], counts * 0.2, atol=1)
        rows = torch.cat([looks.train.rows, looks.valid.rows]).sort().values
        assert torch.equal(rows, torch.arange(90))


def test_stratified_split_keeps_the_last_image_of_a_class_for_training():
    codes = torch.tensor([0] * 10 + [1])
    held_out = stratified_split(codes, 5, torch.Generator().manual_seed(0))
    assert held_out.shape == (11,)
    assert not held_out[10]
    assert 4 <= held_out.sum() <= 5


def test_copies_of_an_image_stay_on_one_side_of_the_split(tiny_images):
    X, y = tiny_images()
    parts, looks = [], Looks()
    classifier = net(validation_fraction=12, max_epochs=1, callbacks=[looks])
    for fit in (lambda: classifier.fit(X, y, sample_weight=np.full(60, 2)),
                lambda: classifier.fit(X.repeat(2, axis=0), y.repeat(2))):
        fit()
        parts.append((looks.train.rows, looks.valid.rows))
    (train, valid), (given_train, given_valid) = parts
    assert set(train.tolist()).isdisjoint(valid.tolist())
    assert (len(train), len(valid)) == (len(given_train), len(given_valid)) == (96, 24)
    assert set((given_train // 2).tolist()).isdisjoint((given_valid // 2).tolist())


def test_a_validation_loss_that_is_no_number_ends_the_fit_with_the_best_weights(tiny_images):
    X, y = tiny_images()

    class NanThird(ImageClassifier):
        def validation_step(self, batch, **kwargs):
            step = super().validation_step(batch, **kwargs)
            return {**step, "loss": step["loss"] * float("nan")} if len(self.history_) == 3 else step

    classifier = NanThird(**net(validation_fraction=0.2, monitor="valid_loss", max_epochs=5).get_params(deep=False))
    with pytest.raises(ValueError, match=r"The validation loss became nan in epoch 3 with lr=0\.01: lower lr"):
        classifier.fit(X, y)
    assert classifier.best_epoch_ == 2
    expected = net(validation_fraction=0.2, monitor="valid_loss", max_epochs=2).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(classifier.predict_proba(X), expected)


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


def test_early_stopping_waits_for_patience_and_says_that_it_ends_the_fit(tiny_images, capsys):
    X, y = tiny_images()
    classifier = net(early_stopping=True, patience=3, validation_fraction=0.3, max_epochs=100, verbose=1).fit(X, y)
    assert len(classifier.history_) == classifier.best_epoch_ + 3 < 100
    assert capsys.readouterr().out.endswith(
        f"early stopping: the best valid_acc was that of epoch {classifier.best_epoch_}\n")


@pytest.mark.parametrize(("schedule", "is_warned_of"), [
    ("one_cycle", True), (Cosine(warmup=0), True), (MultiStep(milestones=(0.9,)), False), ("constant", False),
    ("reduce_on_plateau", False), (torch.optim.lr_scheduler.LinearLR, False)])
def test_early_stopping_while_the_learning_rate_is_high_is_warned_of(schedule, is_warned_of, tiny_images):
    X, y = tiny_images()
    classifier = net(early_stopping=True, patience=2, validation_fraction=0.3, max_epochs=100, schedule=schedule,
                     lr=1e-9)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        classifier.fit(X, y)
    assert len(classifier.history_) < 10
    found = [str(warning.message) for warning in seen if "early_stopping" in str(warning.message)]
    assert len(found) == is_warned_of
    assert not found or re.match(r"early_stopping ended training after epoch \d of 100, with the learning rate at \d+% "
                                 r"of its largest value: \w+\(.*\) lowers it later", found[0])


def test_validation_images_are_never_trained_on_nor_augmented(tiny_images):
    X, y = tiny_images()
    seen = []

    class Recorder(RandomCrop):
        def _apply(self, x, *args):
            seen.append(len(x))
            return super()._apply(x, *args)

    net(augment=Recorder(padding=1), validation_fraction=12, max_epochs=2, batch_size=1000).fit(X, y)
    assert seen == [48, 48]
