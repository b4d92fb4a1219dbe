"""Learning-rate schedules: their curves, in training and without, and taking them up again."""
import functools

import numpy as np
import pytest
import torch
from estimators import small
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from torch.optim import lr_scheduler

from fmnist_sk import (
    Constant,
    Cosine,
    Exponential,
    MultiStep,
    OneCycle,
    ReduceOnPlateau,
    TorchSchedule,
)
from fmnist_sk.schedules import SCHEDULES, as_schedule


def per_epoch(schedule, n_epochs, rows=()):
    return schedule.trace(n_epochs, 3, rows).reshape(n_epochs, 3)


def test_constant():
    assert set(Constant().trace(3, 4)) == {1.0}


def test_one_cycle_rises_for_a_quarter_and_falls_to_zero():
    curve = OneCycle().trace(10, 10)
    assert curve[0] == pytest.approx(0.1)
    assert curve.argmax() == 25
    assert curve.max() == 1
    assert curve[-1] == pytest.approx(1 / 75)
    np.testing.assert_allclose(np.diff(curve, 2)[np.r_[:23, 25:98]], 0, atol=1e-12)       # two straight lines
    assert OneCycle(warmup=0).trace(2, 2)[0] == 1
    assert (np.diff(OneCycle(warmup=1.0).trace(2, 5)) > 0).all()


def test_cosine_with_warm_up():
    curve = Cosine(warmup=0.1, end=0.2).trace(10, 10)
    np.testing.assert_allclose(curve[:10], np.arange(1, 11) / 11)
    assert curve[10] == 1
    assert curve[55] == pytest.approx(0.6)
    assert curve[-1] == pytest.approx(0.2, abs=1e-3)
    plain = Cosine(warmup=0).trace(4, 5)
    np.testing.assert_allclose(plain, (1 + np.cos(np.pi * np.arange(20) / 20)) / 2)


@pytest.mark.parametrize("schedule", [OneCycle(per="epoch"), Cosine(per="epoch"), Exponential(0.5)])
def test_per_epoch_the_rate_stays_within_one(schedule):
    curve = per_epoch(schedule, 8)
    assert (np.ptp(curve, axis=1) == 0).all()
    assert len(set(curve[:, 0])) > 4


def test_multi_step_takes_epochs_and_shares():
    np.testing.assert_allclose(per_epoch(MultiStep((2, 3), 0.1), 4)[:, 0], [1, 1, 0.1, 0.01])
    np.testing.assert_allclose(MultiStep((0.5,), 0.25).trace(2, 5), [1] * 5 + [0.25] * 5)
    np.testing.assert_allclose(MultiStep((0.25,), 0.25).trace(2, 4), [1] * 2 + [0.25] * 6)


def test_exponential_counts_batches_or_epochs():
    np.testing.assert_allclose(Exponential(0.9, every=4, per="batch").trace(2, 5), 0.9 ** (np.arange(10) // 4))
    np.testing.assert_allclose(Exponential(0.9, every=1 / 3, per="batch").trace(3, 7), 0.9 ** (np.arange(21) // 7))
    np.testing.assert_allclose(per_epoch(Exponential(0.5, every=2), 5)[:, 0], [1, 1, 0.5, 0.5, 0.25])


SCORES = [0.9, 0.7, 0.8, 0.75, 0.71, 0.69995, 0.6, 0.65, float("nan"), 0.66, 0.67, 0.68, 0.69, 0.7]


@pytest.mark.parametrize("params", [{}, {"patience": 2, "factor": 0.5}, {"patience": 1, "threshold": 0.0},
                                    {"patience": 0, "factor": 0.3, "end": 0.05}])
@pytest.mark.parametrize("monitor", ["valid_loss", "valid_acc"])
def test_plateau_counts_as_pytorch_does(params, monitor):
    sign = 1 if monitor == "valid_loss" else -1
    ours = ReduceOnPlateau(monitor, **params)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = lr_scheduler.ReduceLROnPlateau(optimizer, mode="min" if sign == 1 else "max", patience=ours.patience,
                                            factor=ours.factor, threshold=ours.threshold, min_lr=ours.end, eps=0)
    expected = []
    for score in SCORES:
        expected.append(optimizer.param_groups[0]["lr"])
        theirs.step(score if sign == 1 else 1 - score)
    rows = [{monitor: score if sign == 1 else 1 - score} for score in SCORES]
    np.testing.assert_allclose(per_epoch(ours, len(SCORES), rows)[:, 0], expected)


TORCH = {
    "StepLR": (TorchSchedule(lr_scheduler.StepLR, {"step_size": 2, "gamma": 0.5}), Exponential(0.5, every=2)),
    "OneCycleLR": (TorchSchedule(lr_scheduler.OneCycleLR, {"max_lr": 1.0, "total_steps": 18}, per="batch"), None),
    "LambdaLR": (TorchSchedule(lr_scheduler.LambdaLR, {"lr_lambda": lambda i: 0.9 ** i}, per="batch"),
                 Exponential(0.9, per="batch")),
    "partial": (as_schedule(functools.partial(lr_scheduler.ExponentialLR, gamma=0.5)), Exponential(0.5)),
    "class": (as_schedule(lr_scheduler.ConstantLR), None),
}


@pytest.mark.parametrize(("torchs", "ours"), TORCH.values(), ids=TORCH)
def test_takes_pytorchs_schedulers(torchs, ours):
    curve = torchs.trace(6, 3)
    assert curve.shape == (18,)
    if ours is not None:
        np.testing.assert_allclose(curve, ours.trace(6, 3))
    else:
        assert np.ptp(curve) > 0.1


def test_schedulers_of_pytorch_with_absolute_rates_are_drawn_as_they_are():
    schedule = TorchSchedule(lr_scheduler.CosineAnnealingLR, {"T_max": 4, "eta_min": 5e-3})
    np.testing.assert_allclose(schedule.trace(5, 1, lr=0.01)[[0, 2, 4]], [0.01, 0.0075, 0.005])


@pytest.mark.parametrize("make", [lr_scheduler.ReduceLROnPlateau, lambda optimizer, **settings:
                                  lr_scheduler.ReduceLROnPlateau(optimizer, **settings)], ids=["class", "function"])
def test_pytorchs_plateau_is_told_the_score(make):
    rows = [{"valid_loss": score} for score in SCORES]
    torchs = TorchSchedule(make, {"patience": 2, "factor": 0.5})
    np.testing.assert_allclose(torchs.trace(len(SCORES), 3, rows),
                               ReduceOnPlateau(patience=2, factor=0.5).trace(len(SCORES), 3, rows))


def test_report_4s_rate_falls_after_epoch_23_if_the_second_accuracy_is_the_lowest():
    """PyTorch's scheduler with patience 20, which is given accuracies and waits for them to fall."""
    plateau = TorchSchedule(lr_scheduler.ReduceLROnPlateau, {"mode": "min", "patience": 20, "factor": 0.1},
                            monitor="train_acc")
    accuracies = [0.8, 0.79, *np.linspace(0.81, 0.96, 38)]
    rates = plateau.trace(40, 1, [{"train_acc": accuracy} for accuracy in accuracies])
    np.testing.assert_allclose(rates, MultiStep((23 / 40,), factor=0.1).trace(40, 1))
    rising = plateau.trace(40, 1, [{"train_acc": accuracy} for accuracy in sorted(accuracies)])
    assert list(rising).index(0.1) == 22


# ---------------------------------------------------------------------- in training

@pytest.mark.parametrize("schedule", [*SCHEDULES.values(), *(pair[0] for pair in TORCH.values())],
                         ids=[*SCHEDULES, *TORCH])
def test_training_follows_the_curve(schedule, tiny_images):
    schedule = schedule() if isinstance(schedule, type) else schedule
    X, y = tiny_images()
    rates = []

    class Spy(type(small("ImageClassifier"))):
        def train_step(self, batch, **kwargs):
            rates.append([group["lr"] for group in self.optimizer_.param_groups])
            return super().train_step(batch, **kwargs)

    net = Spy(**small("ImageClassifier", max_epochs=6, batch_size=20, validation_fraction=15, optimizer="sgd",
                      lr=0.1).get_params(deep=False)).set_params(schedule=schedule)
    if isinstance(schedule, TorchSchedule) and schedule.scheduler is lr_scheduler.OneCycleLR:
        net.set_params(schedule__settings={"max_lr": 0.1, "total_steps": 18})
    net.fit(X, y)
    expected = net.lr * schedule.trace(6, 3, net.history_[:])
    if schedule.get_params().get("scheduler") is lr_scheduler.OneCycleLR:
        expected = np.array(rates)[:, 0]
        assert expected.argmax() == pytest.approx(5, abs=1)
    np.testing.assert_allclose(rates, np.stack([expected, expected], 1), rtol=1e-6)
    assert net.history_[:, "lr"] == pytest.approx(expected[2::3].tolist())
    settings = [{key: value for key, value in group.items() if key != "params"}
                for group in net.optimizer_.param_groups]
    assert settings == [{**net.optimizer_.defaults, "weight_decay": decay} for decay in (net.weight_decay, 0.0)]


def test_one_schedule_is_one_fit_and_the_next_begins_anew(tiny_images):
    X, y = tiny_images()
    net = small("ImageClassifier", schedule=MultiStep((1,), 0.1), max_epochs=2, warm_start=True).fit(X, y).fit(X, y)
    np.testing.assert_allclose(net.history_[:, "lr"], [0.01, 0.001, 0.01, 0.001])
    np.testing.assert_allclose(net.partial_fit(X, y).history_[-1, "lr"], 0.01)


def test_plateau_lowers_the_rate_in_training(tiny_images):
    X, _ = tiny_images()
    y = np.random.default_rng(0).integers(0, 3, 60)                    # nothing to learn
    net = small("ImageClassifier", schedule=ReduceOnPlateau(patience=1, factor=0.5), validation_fraction=0.3,
                max_epochs=15).fit(X, y)
    assert net.history_[-1, "lr"] < 0.01 / 3


@pytest.mark.parametrize("schedule", ["one_cycle", "constant", Exponential(0.5)])
def test_what_a_callback_sets_within_a_fit_stays(schedule, tiny_images):
    class Sets(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 2:
                net.set_params(lr=1e-5, weight_decay=0.25, optimizer__momentum=0.5)

    net = small("ImageClassifier", optimizer="sgd", schedule=schedule, lr=0.1, max_epochs=4, callbacks=[Sets()])
    net.fit(*tiny_images())
    assert max(net.history_[2:, "lr"]) <= 1e-5
    group = net.optimizer_.param_groups[0]
    assert (group["lr"], group["weight_decay"], group["momentum"]) == (1e-5, 0.25, 0.5)
    net.partial_fit(*tiny_images())
    assert net.history_[-1, "lr"] <= 1e-5


def test_settings_can_be_searched_and_cloned(tiny_images):
    X, y = tiny_images()
    net = small("ImageClassifier", schedule=Exponential(), max_epochs=2)
    assert clone(net).set_params(schedule__factor=0.5).schedule.factor == 0.5
    assert net.schedule.factor == 0.9
    search = GridSearchCV(net, {"schedule": ["cosine", OneCycle(), lr_scheduler.ConstantLR]}, cv=2,
                          error_score="raise").fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    search = GridSearchCV(net, {"schedule__every": [1, 2]}, cv=2, error_score="raise").fit(X, y)
    assert search.best_params_["schedule__every"] in (1, 2)


@pytest.mark.parametrize(("schedule", "message"), [
    (Exponential(factor=5), "'factor' parameter"),
    (Exponential(every=0), "'every' parameter"),
    (MultiStep((1.5,)), "milestones must be epochs"),
    (MultiStep("abc"), "'milestones' parameter"),
    (MultiStep(0.5), "'milestones' parameter"),
    *((ReduceOnPlateau(monitor), f"monitor must be a score .* got monitor='{monitor}'") for monitor in (
        "dur", "lr", "epoch", "valid_loss_best")),
])
def test_parameters_that_cannot_be_used_are_refused(schedule, message, tiny_images):
    with pytest.raises(ValueError, match=message):
        schedule.trace(3, 2)
    with pytest.raises(ValueError, match=message):
        small("ConvNetClassifier", schedule=schedule, validation_fraction=0.3).fit(*tiny_images())


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"n_epochs": True}, ValueError, "n_epochs must be a whole number >= 1, got n_epochs=True"),
    ({"steps_per_epoch": 0}, ValueError, "steps_per_epoch must be a whole number >= 1, got steps_per_epoch=0"),
    *(({"lr": value}, ValueError, f"lr must be a number above 0, got lr={value!r}")
      for value in ("a", 0, -1.0, float("inf"), float("nan"))),
    *(({"rows": value}, TypeError, rf"rows must be dicts, one for each epoch, .*got rows={value!r}")
      for value in (5, None)),
])
def test_a_trace_names_what_is_wrong(arguments, error, message):
    with pytest.raises(error, match=message):
        Constant().trace(**{"n_epochs": 2, "steps_per_epoch": 1, **arguments})


def test_changes_may_be_as_frequent_as_anybody_wants():
    assert Exponential(0.5, every=5e-324, per="batch").trace(1, 3).tolist() == [1, 0, 0]
    np.testing.assert_array_equal(Exponential(0.5, every=np.float32(0.5)).trace(2, 1), [1, 0.5])


def test_scores_that_are_missing_are_named():
    with pytest.raises(ValueError, match=r"monitor must be a score in the history \(train_loss; .* got monitor='auc'"):
        ReduceOnPlateau("auc").trace(2, 1, [{"train_loss": 1.0}])
    with pytest.raises(ValueError, match="monitor must be a score in the history of every epoch, got monitor='auc'"):
        TorchSchedule(lr_scheduler.ReduceLROnPlateau, monitor="auc").trace(2, 1, [{"train_loss": 1.0}])
    with pytest.raises(TypeError, match=r"schedule cannot be created with settings=None: .*step_size"):
        TorchSchedule(lr_scheduler.StepLR).trace(2, 1)
