"""A classifier is a true skorch net: hooks, recorded values, helpers and callbacks work as skorch documents them."""
import copy
import traceback
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
import torch
from estimators import net, small
from sklearn.metrics import f1_score, make_scorer
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    EpochTimer,
    Freezer,
    GradientNormClipping,
    Initializer,
    InputShapeSetter,
    LoadInitState,
    LRScheduler,
    MlflowLogger,
    PassthroughScoring,
    PrintLog,
    ProgressBar,
    SacredLogger,
    TensorBoard,
    TrainEndCheckpoint,
    Unfreezer,
    WandbLogger,
)
from skorch.helper import SkorchDoctor, SliceDataset
from torch import nn
from torch.utils.data import TensorDataset

from fmnist_sk import ConvNetClassifier, ImageClassifier, RandomCrop, ResNetClassifier, save
from fmnist_sk.networks.convnet import ConvNet

SMALL = {"architecture": "4C3-8N", "batch_size": 16, "max_epochs": 2, "random_state": 0, "precision": "fp32"}
N_BATCHES = 4                       # of 60 images
BATCH_HOOKS = "on_batch_begin", "on_batch_end", "on_grad_computed"


def conv(kind=ConvNetClassifier, **params):
    return kind(**{**SMALL, **params})


# ---------------------------------------------------------------------- hooks

@pytest.mark.parametrize("where", ["class of the net", "net", "class of a callback", "callback"])
@pytest.mark.parametrize("hook", BATCH_HOOKS)
def test_a_hook_of_batches_is_called_wherever_it_is(where, hook, tiny_images):
    X, y = tiny_images()
    seen = []

    def called(*args, **kwargs):
        seen.append(kwargs["training"])

    callback, kind = Callback(), type("Hooked", (ConvNetClassifier,), {})
    if where == "class of the net":
        original = getattr(ConvNetClassifier, hook)
        setattr(kind, hook, lambda self, *args, **kwargs: (called(**kwargs), original(self, *args, **kwargs))[1])
    elif where == "class of a callback":
        callback = type("Hooked", (Callback,), {hook: called})()
    elif where == "callback":
        setattr(callback, hook, called)
    hooked = conv(kind, callbacks=[callback], validation_fraction=0.2)
    if where == "net":
        original = getattr(hooked, hook)
        setattr(hooked, hook, lambda *args, **kwargs: (called(**kwargs), original(*args, **kwargs))[1])
    hooked.fit(X, y)
    assert (seen.count(True), seen.count(False)) == (2 * 3, 0 if hook == "on_grad_computed" else 2)


@pytest.mark.parametrize("hook", ["train_step", "train_step_single", "validation_step", "get_loss", "infer",
                                  "run_single_epoch", "fit_loop", "get_iterator", "get_split_datasets", "on_epoch_end",
                                  "on_train_begin", "initialize_module", "initialize_optimizer", "evaluation_step"])
def test_what_a_net_overrides_is_called_and_changes_nothing_by_itself(hook, tiny_images):
    X, y = tiny_images()
    calls = []

    def counted(self, *args, **kwargs):
        calls.append(hook)
        return getattr(super(kind, self), hook)(*args, **kwargs)

    kind = type("Own", (ConvNetClassifier,), {hook: counted})
    own, plain = (conv(one, validation_fraction=0.2).fit(X, y) for one in (kind, ConvNetClassifier))
    np.testing.assert_array_equal(own.predict_proba(X), plain.predict_proba(X))
    assert own.history[:, "train_loss"] == plain.history[:, "train_loss"]
    assert calls


def test_a_net_may_run_its_epochs_all_by_itself(tiny_images):
    class Own(ConvNetClassifier):
        def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):     # as skorch's, but for notify
            for batch in iterator or ():
                self.history.new_batch()
                step = step_fn(batch, **fit_params)
                self.history.record_batch(prefix + "_loss", step["loss"].item())
                self.history.record_batch(prefix + "_batch_size", len(batch[1]))

    X, y = tiny_images()
    params = {"validation_fraction": 0.2, "monitor": "valid_loss", "schedule": "one_cycle", "ema": 0.9}
    own, usual = (conv(kind, **params).fit(X, y) for kind in (Own, ConvNetClassifier))
    np.testing.assert_array_equal(own.predict_proba(X), usual.predict_proba(X))
    for name in ("train_loss", "valid_loss"):
        assert own.history[:, name] == pytest.approx(usual.history[:, name])
    with pytest.raises(ValueError, match="monitor must be a score in the history of every epoch, got"):
        conv(Own, validation_fraction=0.2).fit(X, y)


def test_gradients_of_two_batches_are_accumulated_as_in_skorchs_faq(tiny_images):
    X, y = tiny_images(n=64)

    class Accumulating(ConvNetClassifier):
        def get_loss(self, *args, **kwargs):
            return super().get_loss(*args, **kwargs) / 2

        def train_step(self, batch, **fit_params):
            n_batches = len(self.history[-1, "batches"])
            step = self.train_step_single(batch, **fit_params)
            if n_batches % 2 == 0:
                self.optimizer_.step()
                self.optimizer_.zero_grad()
            return step

    params = {"batch_norm": False, "optimizer": "sgd", "lr": 0.01}
    halves = conv(Accumulating, batch_size=16, **params).fit(X, y)
    whole = conv(batch_size=32, **params).fit(X, y)
    np.testing.assert_allclose(halves.predict_proba(X), whole.predict_proba(X), atol=1e-5)
    assert 2 * np.array(halves.history[:, "train_loss"]) == pytest.approx(whole.history[:, "train_loss"], rel=1e-4)


@pytest.mark.parametrize("moment", ["on_train_begin", "on_epoch_begin"])
def test_what_is_replaced_within_a_fit_counts_from_then_on(moment, tiny_images):
    X, y = tiny_images()
    losses, steps = [], []

    class Loss(nn.CrossEntropyLoss):
        def forward(self, logits, targets):
            losses.append(1)
            return super().forward(logits, targets)

    def replace(net, **kwargs):
        if not isinstance(net.criterion_, Loss):
            vars(net)["criterion_"] = Loss()
            original = net.train_step
            net.train_step = lambda batch, **params: (steps.append(1), original(batch, **params))[1]

    callback = Callback()
    setattr(callback, moment, replace)
    conv(callbacks=[callback]).fit(X, y)
    assert len(losses) == len(steps) == 2 * N_BATCHES


def test_modules_that_a_user_adds_are_switched_between_training_and_evaluation(tiny_images):
    class Dropped(ConvNetClassifier):
        def initialize_module(self):
            super().initialize_module()
            self.extra_ = nn.Dropout(0.9)
            return self

        def infer(self, x, **fit_params):
            return self.extra_(super().infer(x, **fit_params))

    X, y = tiny_images()
    fitted = conv(Dropped, validation_fraction=0.2).fit(X, y)
    np.testing.assert_array_equal(fitted.predict_proba(X), fitted.predict_proba(X))
    assert not fitted.extra_.training


def test_a_fit_that_cannot_begin_leaves_nothing_behind(tiny_images):
    X, y = tiny_images()

    class Fails(Callback):
        def on_train_begin(self, net, **kwargs):
            raise RuntimeError("power cut")

    failing = conv(callbacks=[Fails()])
    with pytest.raises(RuntimeError, match="power cut"):
        failing.fit(X, y)
    assert failing._fit is None
    trimmed = conv().fit(X, y)
    before = trimmed.predict_proba(X)
    trimmed.trim_for_prediction()
    with pytest.raises(Exception, match="trimmed"):
        trimmed.fit(X, y)
    np.testing.assert_array_equal(trimmed.predict_proba(X), before)


def test_a_callback_that_is_switched_off_is_not_called_again(tiny_images):
    X, y = tiny_images()
    fitted = conv(validation_fraction=0.3, warm_start=True, callbacks=[("stop", EarlyStopping())]).fit(X, y)
    assert fitted.set_params(callbacks__stop=None).fit(X, y).n_iter_ == 4


def test_a_net_with_validation_images_of_its_own_may_be_stopped_early(tiny_images):
    class Own(ConvNetClassifier):
        def get_split_datasets(self, X, y=None, **fit_params):
            return X, X.take(torch.arange(10))

    X, y = tiny_images()
    assert "valid_loss" in conv(Own, callbacks=[EarlyStopping()]).fit(X, y).history[-1]


# ---------------------------------------------------------------------- the history

class Records(Callback):
    """Records a number for every batch, in the hook of this name."""

    def __init__(self, hook):
        setattr(self, hook, lambda net, **kwargs: net.history.record_batch("mine", 1.5))


@pytest.mark.parametrize("recorder", [*BATCH_HOOKS, "get_loss", "train_step_single", "layer"])
def test_what_anybody_records_of_batches_is_in_the_history(recorder, tiny_images):
    X, y = tiny_images()
    current = []

    class Recording(ConvNetClassifier):
        def on_epoch_begin(self, *args, **kwargs):
            current[:] = [self]
            super().on_epoch_begin(*args, **kwargs)

    class RecordingModule(ConvNet):
        def forward(self, x):
            if current and self.training:
                current[0].history.record_batch("mine", 1.5)
            return super().forward(x)

    params = {}
    if recorder in BATCH_HOOKS:
        params["callbacks"] = [Records(recorder)]
    elif recorder == "layer":
        params["module"] = RecordingModule
    else:
        def recording(self, *args, **kwargs):
            self.history.record_batch("mine", 1.5)
            return getattr(super(Recording, self), recorder)(*args, **kwargs)
        setattr(Recording, recorder, recording)
    found = conv(Recording, **params).fit(X, y).history
    assert found[:, "batches", :, "mine"] == [[1.5] * N_BATCHES] * 2
    for losses, mean in zip(found[:, "batches", :, "train_loss"], found[:, "train_loss"], strict=True):
        assert np.average(losses, weights=[16, 16, 16, 12]) == pytest.approx(mean)


def test_callbacks_at_the_end_of_an_epoch_find_its_batches(tiny_images):
    class Reads(Callback):
        def on_epoch_end(self, net, **kwargs):
            self.seen = net.history[-1, "batches", :, ("train_loss", "train_batch_size")]

    X, y = tiny_images()
    reads = Reads()
    conv(callbacks=[reads]).fit(X, y)
    assert [size for _, size in reads.seen] == [16, 16, 16, 12]


@pytest.mark.parametrize("where", ["net", "callback"])
def test_hooks_at_the_end_of_an_epoch_find_its_batches_wherever_they_are(where, tiny_images):
    X, y = tiny_images()
    seen = []

    def reads(net, *args, **kwargs):
        seen.append(len(net.history[-1, "batches", :, "train_loss"]))

    callback = Callback()
    kind = type("Reads", (ConvNetClassifier,), {"on_epoch_end": reads}) if where == "net" else ConvNetClassifier
    if where == "callback":
        callback.on_epoch_end = reads
    conv(kind, callbacks=[callback]).fit(X, y)
    assert seen == [N_BATCHES] * 2


def test_a_net_that_looks_at_every_notice_is_told_of_batches(tiny_images):
    X, y = tiny_images()
    seen = []

    class Told(ConvNetClassifier):
        def notify(self, method_name, **kwargs):
            seen.append(method_name)
            super().notify(method_name, **kwargs)

    conv(Told).fit(X, y)
    assert [seen.count(name) for name in BATCH_HOOKS] == [2 * N_BATCHES] * 3


def test_passthrough_scoring_means_what_get_loss_records(tiny_images):
    class Recording(ConvNetClassifier):
        def get_loss(self, *args, training=False, **kwargs):
            loss = super().get_loss(*args, training=training, **kwargs)
            if training:
                self.history.record_batch("twice", 2 * loss.item())
            return loss

    X, y = tiny_images()
    scores = [PassthroughScoring("twice", on_train=True), PassthroughScoring("valid_loss")]
    row = conv(Recording, callbacks=scores, validation_fraction=0.3).fit(X, y).history[-1]
    assert row["twice"] == pytest.approx(2 * row["train_loss"])


def test_without_anybody_who_looks_the_device_is_waited_for_once_a_pass(tiny_images, monkeypatch):
    X, y = tiny_images()
    reads = []
    for name in ("item", "tolist", "__float__", "__bool__"):
        original = getattr(torch.Tensor, name)
        monkeypatch.setattr(torch.Tensor, name, lambda self, *args, original=original: (
            reads.append(1), original(self, *args))[1])

    def reads_of_a_fit(**params):
        reads.clear()
        conv(**params).fit(X, y)
        return len(reads)

    # Optimizers read numbers of their own; plain SGD reads none.
    common = {"optimizer": "sgd", "lr": 0.01}
    few, many = (reads_of_a_fit(batch_size=size, **common) for size in (30, 5))
    assert few == many
    assert reads_of_a_fit(max_epochs=4, **common) == few + 2
    assert reads_of_a_fit(batch_size=5, callbacks=[Records("on_batch_end")], **common) > few + 20


def test_rows_hold_numbers_and_texts_only(tiny_images):
    X, y = tiny_images(["a", "b", "c"])
    for row in conv(validation_fraction=0.2, ema=0.9).fit(X, y).history:
        assert all(isinstance(value, (int, float, str, bool)) for name, value in row.items() if name != "batches")


def test_epochs_trained_are_those_of_the_history_that_is_loaded(tiny_images, tmp_path):
    X, y = tiny_images()
    trained = conv(max_epochs=3).fit(X, y)
    trained.save_params(f_params=tmp_path / "p.pt", f_history=tmp_path / "h.json")
    other = conv().fit(X, y)
    other.load_params(f_params=tmp_path / "p.pt", f_history=tmp_path / "h.json")
    assert other.n_iter_ == 3
    assert not hasattr(conv(), "n_iter_")


# ---------------------------------------------------------------------- scores see labels

def test_scores_of_callbacks_see_the_labels_of_the_user(tiny_images):
    X, y = tiny_images(["bag", "shirt"])
    f1 = make_scorer(f1_score, pos_label="shirt")
    scores = [EpochScoring(f1, lower_is_better=False, name="cached"),
              EpochScoring(f1, lower_is_better=False, name="anew", use_caching=False),
              EpochScoring(f1, lower_is_better=False, name="of_training", on_train=True),
              BatchScoring(f1, lower_is_better=False, name="batchwise"),
              BatchScoring("accuracy", lower_is_better=False, name="accuracy")]
    fitted = conv(validation_data=(X[:12], y[:12]), callbacks=scores, keep_best=False, tta="mirror").fit(X[12:], y[12:])
    row = fitted.history[-1]
    expected = f1_score(y[:12], fitted.set_params(tta=None).predict(X[:12]), pos_label="shirt")
    assert (row["cached"], row["anew"], row["batchwise"]) == pytest.approx((expected, expected, expected))
    assert row["accuracy"] == pytest.approx(row["valid_acc"])
    assert 0 <= row["of_training"] <= 1


def test_whole_numbers_that_are_no_codes_are_scored_as_they_are(tiny_images):
    X, y = tiny_images([3, 7])
    score = EpochScoring(make_scorer(f1_score, pos_label=7), lower_is_better=False, name="f1")
    fitted = conv(validation_data=(X[:12], y[:12]), callbacks=[score], keep_best=False).fit(X[12:], y[12:])
    assert fitted.history[-1, "f1"] == pytest.approx(f1_score(y[:12], fitted.predict(X[:12]), pos_label=7))


# ---------------------------------------------------------------------- every callback of skorch

class Service:
    """What a logging service's client would be: it remembers what it is called with."""

    def __init__(self):
        self.logged = []
        self.info = SimpleNamespace(run_id=1)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: self.logged.append((name, args, kwargs))


def test_mlflow_is_told_numbers_of_epochs_and_batches(tiny_images):
    X, y = tiny_images()
    service = Service()
    logger = MlflowLogger(run=service, client=service, log_on_batch_end=True)
    conv(callbacks=[logger], validation_fraction=0.2).fit(X, y)
    values = {args[1]: args[2] for name, args, _ in service.logged if name == "log_metric"}
    assert {"train_loss_epoch", "valid_acc_epoch", "valid_class_acc_0_epoch", "train_loss_batch"} <= set(values)
    assert all(isinstance(value, (int, float)) for value in values.values())


@pytest.mark.parametrize("make", [
    lambda folder: SacredLogger(Service(), log_on_batch_end=True),
    lambda folder: WandbLogger(Service(), save_model=False),
    lambda folder: TensorBoard(Service()),
    lambda folder: EpochTimer(),
    lambda folder: PrintLog(sink=lambda text: None),
    lambda folder: ProgressBar(),
    lambda folder: LRScheduler("StepLR", step_size=1, gamma=0.5),
    lambda folder: LRScheduler("WarmRestartLR"),
    lambda folder: LRScheduler("ReduceLROnPlateau", monitor="train_loss"),
    lambda folder: LRScheduler("CyclicLR", base_lr=0.001, max_lr=0.01, step_every="batch"),
    lambda folder: GradientNormClipping(0.1),
    lambda folder: Freezer("network.features*"),
    lambda folder: Unfreezer("network.features*", at=2),
    lambda folder: Initializer("*.bias", fn=nn.init.zeros_),
    lambda folder: Checkpoint(dirname=folder, load_best=True),
    lambda folder: Checkpoint(dirname=folder, use_safetensors=True, f_optimizer=None, f_params="p.safetensors"),
    lambda folder: TrainEndCheckpoint(dirname=folder),
    lambda folder: LoadInitState(Checkpoint(dirname=folder)),
    lambda folder: EarlyStopping(patience=1),
], ids=lambda make: "")
def test_callbacks_of_skorch_work(make, tiny_images, tmp_path):
    X, y = tiny_images()
    callback = make(tmp_path)
    fitted = conv(callbacks=[callback], validation_fraction=0.2, max_epochs=3, architecture="4C3-4C3-8N").fit(X, y)
    assert fitted.n_iter_ >= 1
    services = [value for value in vars(callback).values() if isinstance(value, Service)]
    assert all(service.logged for service in services)
    if isinstance(callback, LRScheduler) and callback.policy == "StepLR":
        assert fitted.history[:, "lr"] == pytest.approx([0.002, 0.001, 0.0005], rel=1e-6) or \
            fitted.history[:, "lr"] == pytest.approx([0.001, 0.0005, 0.00025], rel=1e-6)
    if isinstance(callback, Checkpoint) and callback.use_safetensors:
        assert (tmp_path / "p.safetensors").stat().st_size > 1000


def test_safetensors_of_skorch_hold_a_convolutional_network(tiny_images, tmp_path):
    X, y = tiny_images()
    deep = {"architecture": "4C3-4C3-8N"}           # weights of one channel are in both orders of memory at once
    fitted = conv(**deep).fit(X, y)
    before = fitted.predict_proba(X)
    fitted.save_params(f_params=str(tmp_path / "p.safetensors"), use_safetensors=True)
    np.testing.assert_array_equal(fitted.predict_proba(X), before)
    other = conv(random_state=1, **deep).fit(X, y)
    other.load_params(f_params=str(tmp_path / "p.safetensors"), use_safetensors=True)
    np.testing.assert_array_equal(other.predict_proba(X), before)


@pytest.mark.parametrize(("callback", "message"), [
    (EarlyStopping(), "EarlyStopping follows 'valid_loss', which needs validation images: set .*, got neither"),
    (EarlyStopping, "EarlyStopping follows 'valid_loss'"),
    (Checkpoint(), "Checkpoint follows 'valid_loss_best'.*validation_fraction"),
    (("named", Checkpoint(monitor="valid_acc_best")), "Checkpoint follows 'valid_acc_best'"),
    (InputShapeSetter(), "callbacks must not hold InputShapeSetter: a module that names in_channels.*, got <"),
])
def test_callbacks_that_cannot_do_what_they_are_for_say_what_to_do(callback, message, tiny_images):
    with pytest.raises(ValueError, match=message):
        conv(callbacks=[callback]).fit(*tiny_images())


def test_a_schedule_and_skorchs_scheduler_are_not_taken_together(tiny_images):
    X, y = tiny_images()
    with pytest.raises(ValueError, match="schedule and skorch's LRScheduler would both set the learning rate"):
        ResNetClassifier(callbacks=[LRScheduler("StepLR", step_size=1)], max_epochs=1).fit(X, y)


# ---------------------------------------------------------------------- helpers of skorch

@pytest.mark.parametrize("fitted_before", [False, True])
def test_skorch_doctor_examines_colour_images_with_text_labels(fitted_before, tiny_images):
    X, y = tiny_images(["bag", "coat", "shirt"], channels=3, size=12)
    examined = conv(max_epochs=3, batch_size=20, precision="auto")
    if fitted_before:
        examined.fit(X, y)
    doctor = SkorchDoctor(examined).fit(X, y)
    assert doctor.num_steps_ == 3 * 3
    assert examined.classes_.tolist() == ["bag", "coat", "shirt"]
    assert examined.image_shape_ == (3, 12, 12)
    assert len(doctor.gradient_recs_["module"]) == 9
    assert set(doctor.get_param_names()["module"]) == {name for name, _ in examined.module_.named_parameters()}
    assert all(np.isfinite(list(row.values())).all() for row in doctor.param_update_recs_["module"])
    examined.partial_fit(X, y)                                  # nobody looks any more: one epoch
    assert examined.n_iter_ == 3 + 1 + 3 * fitted_before
    assert len(doctor.gradient_recs_["module"]) == 9
    assert examined.fit(X, y).score(X, y) > 0.5


@pytest.mark.parametrize("architecture", ["4C3-8N", "18W3-8N"])
def test_a_net_that_was_built_before_its_data_came_is_as_any_other(architecture, tiny_images):
    X, y = tiny_images([3, 7], size=12)
    early, usual = (conv(architecture=architecture, max_epochs=1).initialize(),
                    conv(architecture=architecture, max_epochs=1))
    for each in (early, usual):
        each.partial_fit(X, y)
    np.testing.assert_array_equal(early.predict_proba(X), usual.predict_proba(X))
    loaded = conv(max_epochs=1).initialize()                    # with weights, it is what they are for
    loaded.module_.network.load_state_dict(conv(random_state=1).initialize().module_.network.state_dict())
    with pytest.raises(ValueError, match="y must hold only labels of the first fit"):
        loaded.partial_fit(tiny_images(["bag", "coat"], size=28)[0], ["bag", "coat"] * 30)


def test_partial_fit_trains_for_as_many_epochs_as_asked(tiny_images):
    X, y = tiny_images()
    assert conv().partial_fit(X, y).partial_fit(X, y, epochs=3).n_iter_ == 4
    for epochs in (0, True):
        with pytest.raises(ValueError, match=f"epochs must be a whole number >= 1, got epochs={epochs}"):
            conv().partial_fit(X, y, epochs=epochs)


def test_slice_datasets_are_images_and_labels(tiny_images):
    X, y = tiny_images()
    expected = conv().fit(X.astype(np.float32), y).predict_proba(X)
    for images in (X.reshape(60, -1), X[:, None]):
        data = TensorDataset(torch.from_numpy(images).float(), torch.from_numpy(y))
        part, labels = SliceDataset(data, 0), SliceDataset(data, 1)
        np.testing.assert_allclose(conv().fit(part, labels).predict_proba(part), expected, atol=1e-6)
    search = GridSearchCV(conv(), {"lr": [0.01, 0.001]}, cv=2).fit(part, y)
    assert search.predict(part).shape == (60,)


def test_a_net_that_was_trimmed_predicts_and_is_saved_as_before(tiny_images, tmp_path):
    X, y = tiny_images()
    trimmed = conv(criterion="mse").fit(X, y)
    before = trimmed.predict_proba(X)
    trimmed.trim_for_prediction()
    np.testing.assert_array_equal(trimmed.predict_proba(X), before)
    save(trimmed, tmp_path / "model.safetensors")
    with pytest.raises(Exception, match="trimmed"):
        trimmed.fit(X, y)


# ---------------------------------------------------------------------- an estimator without surprises

@pytest.mark.parametrize("params", [{"criterion": "mse"}, {"architecture": "8C3-8N"}, {"activation": "gelu"},
                                    {"standardize": False}, {"padding": "valid"}])
def test_parameters_that_were_set_after_the_fit_are_not_saved_with_it(params, tiny_images, tmp_path):
    X, y = tiny_images()
    fitted = conv().fit(X, y).set_params(**params)
    with pytest.raises(ValueError, match="cannot be saved: parameters were set after its fit"):
        save(fitted, tmp_path / "model.safetensors")
    fitted.set_params(lr=0.5, max_epochs=7, **{name: getattr(conv(), name) for name in params})
    save(fitted, tmp_path / "model.safetensors")


def test_rates_of_groups_of_parameters_stay_the_users(tiny_images):
    X, y = tiny_images()
    fitted = conv().set_params(optimizer__param_groups=[("*bias", {"lr": 0.1})]).fit(X, y)
    fitted.set_params(**fitted.get_params(deep=False))
    assert [group["lr"] for group in fitted.optimizer_.param_groups] == [0.1, fitted.lr, fitted.lr]

class Hidden(nn.Sequential):
    def __init__(self, in_channels, n_classes, hidden=8):
        super().__init__(nn.Flatten(), nn.LazyLinear(hidden), nn.ReLU(), nn.Linear(hidden, n_classes))


@pytest.mark.parametrize("params", [{"module__hidden": 16}, {"criterion__gamma": 3.0}, {"criterion": "mse"},
                                    {"lr": 1.0}, {"module": Hidden}, {"label_smoothing": 0.5},
                                    {"optimizer__betas": (0.5, 0.5)}, {"standardize": False},
                                    {"image_shape": (4, 16)}, {"image_shape": True}, {"augment": "strong"}, "all"])
def test_set_params_never_changes_what_a_fitted_net_predicts(params, tiny_images):
    X, y = tiny_images()
    fitted = ImageClassifier(module=Hidden, criterion="focal", max_epochs=2, random_state=0).set_params(
        module__hidden=32).fit(X, y)
    before = fitted.predict_proba(X)
    fitted.set_params(**(fitted.get_params() if params == "all" else params))
    np.testing.assert_array_equal(fitted.predict_proba(X), before)
    for name, value in ({} if params == "all" else params).items():
        setattr(fitted, name, value)
    np.testing.assert_array_equal(fitted.predict_proba(X), before)
    if params == {"module__hidden": 16}:
        assert fitted.fit(X, y).module_.network[1].out_features == 16


def test_attributes_count_as_set_params_does(tiny_images):
    X, y = tiny_images()
    one, other = (conv(warm_start=True, max_epochs=1).fit(X, y) for _ in range(2))
    one.lr, one.weight_decay, one.optimizer__betas = 1e-6, 0.5, (0.5, 0.5)
    other.set_params(lr=1e-6, weight_decay=0.5, optimizer__betas=(0.5, 0.5))
    assert one.optimizer_.param_groups[0]["betas"] == (0.5, 0.5)
    assert one.fit(X, y).history[-1, "lr"] == 1e-6
    np.testing.assert_array_equal(one.predict_proba(X), other.fit(X, y).predict_proba(X))


def test_attributes_of_nested_objects_are_set_as_by_set_params():
    classifier = conv(augment=RandomCrop(padding=1))
    classifier.augment__padding = 3
    assert classifier.augment.padding == 3
    assert "augment__padding" not in vars(classifier)
    with pytest.raises(ValueError, match="augment__p needs an object with parameters, got augment='light'"):
        conv(augment="light").augment__p = 0.5


def test_a_fitted_net_has_one_joblib_hash(tiny_images):
    X, y = tiny_images()
    fitted = conv(dropout=0.3).fit(X, y)
    assert joblib.hash(fitted) == joblib.hash(fitted)


def test_the_same_pixels_in_another_type_train_the_same_network(tiny_images):
    X, y = tiny_images()
    expected = conv(augment="light", validation_fraction=0.2).fit(X, y).predict_proba(X)
    for kind in (np.float32, np.float64, np.int64):
        found = conv(augment="light", validation_fraction=0.2).fit(X.astype(kind), y).predict_proba(X)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    thirds = np.where(X < 30, 0, X / 3).astype(np.float32)
    negative_zeros = np.where(thirds == 0, -0.0, thirds)
    np.testing.assert_array_equal(conv().fit(negative_zeros, y).predict_proba(thirds),
                                  conv().fit(thirds[::-1], y[::-1]).predict_proba(thirds))


@pytest.mark.parametrize("criterion", ["cross_entropy", nn.NLLLoss])
def test_a_network_that_ends_in_a_softmax_is_warned_of(criterion, tiny_images):
    class Soft(nn.Sequential):
        def __init__(self, n_classes):
            super().__init__(nn.Flatten(), nn.LazyLinear(n_classes), nn.Softmax(1))

    X, y = tiny_images()
    with pytest.warns(UserWarning, match="module must return logits, but it returns probabilities"):
        net(module=Soft, criterion=criterion, max_epochs=1).fit(X, y)


def test_the_picture_of_a_fitted_net_shows_its_own_attributes_only(tiny_images):
    X, y = tiny_images()
    picture = conv().fit(X, y)._repr_html_()
    assert "classes_" in picture
    assert "history_" in picture
    for name in ("virtual_params_", "prefixes_", "cuda_dependent_attributes_", "callbacks__print_log", "init_context_"):
        assert name not in picture


def test_settings_of_parts_are_shown():
    classifier = conv(augment=RandomCrop()).set_params(optimizer__betas=(0.5, 0.9), augment__padding=3)
    assert repr(classifier).endswith(").set_params(optimizer__betas=(0.5, 0.9))")
    assert eval(repr(classifier)).get_params()["optimizer__betas"] == (0.5, 0.9)
    assert ".set_params" not in repr(conv())
    shown = classifier._get_params_html()
    assert "optimizer__betas" in shown.non_default
    assert shown["optimizer__betas"] == (0.5, 0.9)
    assert "augment__padding" not in shown                          # which is shown in `augment`


def test_a_loss_is_a_few_calls_below_fit(tiny_images):
    X, y = tiny_images()
    depths = []

    class Loss(nn.CrossEntropyLoss):
        def forward(self, logits, targets):
            if torch.is_grad_enabled():
                frames = [frame.filename for frame in traceback.extract_stack()]
                depths.append(sum("/fmnist_sk/" in name and "/tests/" not in name for name in frames))
            return super().forward(logits, targets)

    conv(criterion=Loss()).fit(X, y)
    assert 4 < max(depths) <= 8


def test_nothing_of_a_fit_stays_on_the_net(tiny_images):
    X, y = tiny_images()
    running = []

    class Looks(Callback):
        def on_epoch_end(self, net, **kwargs):
            running.append({name for name in vars(net) if name.startswith("_")
                            and not name.startswith(("_callback", "_skl"))})          # of scikit-learn

    fitted = conv(validation_fraction=0.2, ema=0.9, callbacks=[Looks()]).fit(X, y)
    kept = {name for name in vars(fitted) if name.startswith("_")}
    assert running[0] - kept == {"_fit"}
    assert kept <= {"_encoder", "_generators", "_params_to_validate"}


def test_forward_in_training_sees_the_images_alone(tiny_images):
    X, y = tiny_images()
    net = small("ConvNetClassifier", max_epochs=1, dropout=0.0, precision="fp32", augment="strong").fit(X, y)
    other = copy.deepcopy(net)
    found = torch.cat(list(net.forward_iter(net.get_dataset(X[:4]), training=True)))
    other.module_.train()
    with torch.no_grad():
        expected = other.module_(torch.from_numpy(X[:4]).float()[:, None])
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(net.module_.state_dict(), other.module_.state_dict())
