"""Knowledge distillation: a network learns what a fitted classifier says of its images."""
import warnings

import numpy as np
import pytest
import torch
from estimators import net, small
from sklearn.base import clone
from sklearn.ensemble import BaggingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from skorch.callbacks import Callback

from fmnist_sk import (
    ConvNetClassifier,
    CutMix,
    DeepEnsembleClassifier,
    RandomHorizontalFlip,
    TripletLoss,
    load,
    save,
)

SMALL = {"architecture": "4C3-MP2-8N", "max_epochs": 2, "batch_size": 16, "random_state": 0}


@pytest.fixture
def data(tiny_images):
    return tiny_images(["a", "b", "c"], n=60)


@pytest.fixture
def teacher(data):
    return net(max_epochs=3).fit(*data)


def targets_of(student, X, y):
    """Inputs and codes of the batches that a fit of the student trains on."""
    seen = []

    class Spy(type(student)):
        def get_loss(self, y_pred, y_true, X=None, training=False):
            if training:
                seen.append(({name: value for name, value in X.items() if value is not None}, y_true))
            return super().get_loss(y_pred, y_true, X=X, training=training)

    spy = Spy(**student.get_params(deep=False)).fit(X, y)
    assert spy.module_ is not None
    return seen


def test_targets_are_the_teachers_probabilities_and_a_share_of_the_labels(teacher, data):
    for weight in (0.0, 0.3, 1.0):
        student = ConvNetClassifier(**SMALL, teacher=teacher, teacher_weight=weight, augment=RandomHorizontalFlip())
        for inputs, codes in targets_of(student, *data):
            said = torch.from_numpy(teacher.predict_proba(inputs["x"]))      # of the images as they were augmented
            expected = weight * said + (1 - weight) * torch.nn.functional.one_hot(codes, 3)
            torch.testing.assert_close(inputs["targets"], expected, atol=2e-3, rtol=0)


def test_a_student_learns_labels_that_only_its_teacher_has(teacher, data):
    X, y = data
    wrong = np.roll(y, 1)
    student = net(max_epochs=30, teacher=teacher, teacher_weight=1.0, lr=0.01).fit(X, wrong)
    assert (student.predict(X) == teacher.predict(X)).mean() > 0.9


def test_images_are_mixed_before_the_teacher_sees_them(teacher, data):
    student = ConvNetClassifier(**SMALL, teacher=teacher, teacher_weight=1.0, augment=CutMix())
    for inputs, _ in targets_of(student, *data):
        said = torch.from_numpy(teacher.predict_proba(inputs["x"]))
        torch.testing.assert_close(inputs["targets"], said, atol=2e-3, rtol=0)


def test_the_training_accuracy_is_that_of_the_labels(teacher, data):
    X, y = data
    student = net(max_epochs=30, teacher=teacher, teacher_weight=1.0, lr=0.01).fit(X, np.roll(y, 1))
    agreement = (teacher.predict(X) == np.roll(y, 1)).mean()
    assert student.history_[-1, "train_acc"] == pytest.approx(agreement, abs=0.1)


@pytest.mark.parametrize("kind", ["ensemble", "frozen", "pipeline", "linear"])
def test_any_classifier_of_the_same_classes_teaches(kind, data, teacher):
    X, y = data
    rows = X.reshape(len(X), -1)
    made = {"ensemble": lambda: DeepEnsembleClassifier(net(max_epochs=2), n_members=2, random_state=0),
            "frozen": lambda: FrozenEstimator(teacher),
            "pipeline": lambda: make_pipeline(MinMaxScaler(), net(max_epochs=2)),
            "linear": lambda: LogisticRegression(max_iter=200)}[kind]().fit(rows, y)
    student = ConvNetClassifier(**SMALL, teacher=made, teacher_weight=1.0)
    for inputs, _ in targets_of(student, rows, y):
        said = torch.from_numpy(np.asarray(made.predict_proba(inputs["x"].flatten(1).numpy()), dtype=np.float32))
        torch.testing.assert_close(inputs["targets"], said, atol=2e-3, rtol=0)


@pytest.mark.parametrize(("kind", "shape"), [
    ("net", (64,)), ("net", (8, 8)), ("net", (1, 8, 8)), ("ensemble", (8, 8)), ("pipeline", (8, 8)), ("linear", (64,))])
def test_a_teacher_that_is_not_fitted_learns_what_one_fitted_on_the_same_images_knows(kind, shape, data):
    X, y = data[0].reshape(len(data[0]), *shape), data[1]
    made = {"net": lambda: ConvNetClassifier(**SMALL, dropout=0.5),
            "ensemble": lambda: DeepEnsembleClassifier(net(max_epochs=2), n_members=2, random_state=0),
            "pipeline": lambda: make_pipeline(net(max_epochs=2, random_state=0)),
            "linear": lambda: LogisticRegression(max_iter=200)}[kind]()
    student = ConvNetClassifier(**SMALL, dropout=0.5, augment=RandomHorizontalFlip(), teacher=made)
    found = clone(student).fit(X, y).predict_proba(X)
    assert not hasattr(made, "classes_")
    student.teacher = clone(made).fit(X, y)
    np.testing.assert_array_equal(found, student.fit(X, y).predict_proba(X))


def test_a_teacher_does_not_learn_images_that_are_held_out(data):
    seen = []

    class Records(LogisticRegression):
        def fit(self, X, y):
            seen.append((len(X), np.unique(y).tolist()))
            return super().fit(X, y)

    X, y = data[0].reshape(60, -1), data[1]
    student = ConvNetClassifier(**SMALL, teacher=Records(max_iter=200), validation_fraction=0.25)
    search = GridSearchCV(student, {"teacher_weight": [0.1, 0.9]}, cv=2, refit=False).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert seen == 4 * [(22, ["a", "b", "c"])]                  # 30 of a fold, without the quarter of validation


def test_a_fit_whose_teacher_is_trained_first_resumes(data, tmp_path):
    def student(**params):
        return ConvNetClassifier(**{**SMALL, "max_epochs": 3}, teacher=net(max_epochs=2, random_state=0), **params)

    epochs = []

    class Stop(Callback):
        def on_epoch_end(self, net, **kwargs):
            epochs.append(len(net.history))
            if epochs == [1, 2]:            # before its checkpoint is written
                raise RuntimeError

    expected = student().fit(*data).predict_proba(data[0])
    with pytest.raises(RuntimeError):
        student(checkpoint=tmp_path, keep_checkpoint=True, callbacks=[Stop()]).fit(*data)
    again = student(checkpoint=tmp_path, keep_checkpoint=True, callbacks=[Stop()]).fit(*data)
    np.testing.assert_array_equal(again.predict_proba(data[0]), expected)
    assert epochs == [1, 2, 2, 3]


@pytest.mark.parametrize("make", [
    lambda: ConvNetClassifier(**{**SMALL, "random_state": None}, dropout=0.5),
    lambda: DeepEnsembleClassifier(ConvNetClassifier(**{**SMALL, "random_state": None}), n_members=2)])
def test_the_seed_of_a_fit_is_also_that_of_a_teacher_without_one(make, data, tmp_path):
    def said(seed, **params):
        student = ConvNetClassifier(**{**SMALL, "max_epochs": 3, "random_state": seed}, teacher=make(),
                                    teacher_weight=1.0, **params)
        return student.fit(*data).predict_proba(data[0])

    class Stop(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) == 3:
                raise RuntimeError

    expected = said(0)
    np.testing.assert_array_equal(said(0), expected)
    assert not np.array_equal(said(1), expected)
    with pytest.raises(RuntimeError):
        said(0, checkpoint=tmp_path, callbacks=[Stop()])
    np.testing.assert_array_equal(said(0, checkpoint=tmp_path), expected)


def test_a_teacher_does_not_learn_for_a_fit_that_is_read_from_its_file(data, tmp_path):
    fits = []

    class Counts(LogisticRegression):
        def fit(self, X, y):
            fits.append(self)
            return super().fit(X, y)

    X, y = data[0].reshape(60, -1), data[1]
    for _ in range(2):
        student = ConvNetClassifier(**SMALL, teacher=Counts(max_iter=200), checkpoint=tmp_path, keep_checkpoint=True)
        assert len(student.fit(X, y).history_) == 2
    assert len(fits) == 1


def test_members_trained_together_each_have_their_own_teacher(data):
    student = ConvNetClassifier(**SMALL, teacher=net(max_epochs=2, random_state=0))
    ensemble = DeepEnsembleClassifier(student, n_members=2, together=True, random_state=0).fit(*data)
    assert ensemble.trained_together_
    alone = [clone(member).fit(*data) for member in ensemble.estimators_]
    for member, other in zip(ensemble.estimators_, alone, strict=True):
        np.testing.assert_allclose(member.predict_proba(data[0]), other.predict_proba(data[0]), atol=0.02)


@pytest.mark.parametrize("shape", [(64,), (8, 8), (1, 8, 8)])
def test_a_teacher_is_asked_in_the_form_of_X(shape, data):
    class Form(LogisticRegression):
        def predict_proba(self, X):
            assert X.shape[1:] == shape
            return super().predict_proba(X.reshape(len(X), -1))

    X, y = data
    teacher = Form(max_iter=200).fit(X.reshape(len(X), -1), y)
    ConvNetClassifier(**SMALL, teacher=teacher).fit(X.reshape(len(X), *shape), y)


def test_views_of_the_teacher_are_left_out(teacher, data):
    first, second = (ConvNetClassifier(**SMALL, teacher=teacher.set_params(tta=tta)).fit(*data).predict_proba(data[0])
                     for tta in (None, ("mirror", "shift")))
    np.testing.assert_array_equal(first, second)


def test_a_teacher_that_was_loaded_teaches_the_same_and_stays_as_it_is(data, tmp_path):
    teacher = ConvNetClassifier(**SMALL, dropout=0.5).fit(*data)
    loaded = load(save(teacher, tmp_path / "teacher.safetensors"))
    first, second = (ConvNetClassifier(**SMALL, teacher=one).fit(*data).predict_proba(data[0])
                     for one in (teacher, loaded))
    np.testing.assert_array_equal(first, second)
    for name, value in teacher.module_.state_dict().items():
        assert torch.equal(value, loaded.module_.state_dict()[name]), name


def test_clones_searches_and_ensembles_share_the_teacher(teacher, data):
    student = ConvNetClassifier(**SMALL, teacher=teacher)
    assert clone(student).teacher is teacher
    assert clone(make_pipeline(student))[-1].teacher is teacher
    search = GridSearchCV(student, {"teacher_weight": [0.0, 0.5]}, cv=2).fit(*data)
    assert search.best_estimator_.teacher is teacher
    ensemble = DeepEnsembleClassifier(student, n_members=2, together=True, random_state=0).fit(*data)
    assert ensemble.trained_together_
    alone = [clone(member).fit(*data) for member in ensemble.estimators_]
    for member, other in zip(ensemble.estimators_, alone, strict=True):
        np.testing.assert_allclose(member.predict_proba(data[0]), other.predict_proba(data[0]), atol=0.02)


def test_a_saved_student_has_no_teacher(teacher, data, tmp_path):
    student = ConvNetClassifier(**SMALL, teacher=teacher).fit(*data)
    with pytest.warns(UserWarning, match="teacher of ConvNetClassifier is not saved"):
        save(student, tmp_path / "student.safetensors")
    found = load(tmp_path / "student.safetensors")
    assert found.teacher is None
    np.testing.assert_array_equal(found.predict_proba(data[0]), student.predict_proba(data[0]))


def test_a_fit_with_another_teacher_is_another_fit(teacher, data, tmp_path):
    def student(teacher):
        return ConvNetClassifier(**SMALL, teacher=teacher, checkpoint=tmp_path, keep_checkpoint=True).fit(*data)

    other = net(max_epochs=1, random_state=1).fit(*data)
    expected = student(teacher).predict_proba(data[0])
    assert len(list(tmp_path.iterdir())) == 1
    assert not np.array_equal(student(other).predict_proba(data[0]), expected)
    assert len(list(tmp_path.iterdir())) == 2
    np.testing.assert_array_equal(student(clone(teacher).fit(*data)).predict_proba(data[0]), expected)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("augment", [None, CutMix(p=0.5)])
def test_the_triplet_term_leaves_out_images_that_were_mixed_and_no_others(augment, teacher, data, monkeypatch):
    seen = []

    class Spy(TripletLoss):
        def forward(self, features, codes, takes_part=None):
            seen.append(1.0 if takes_part is None else takes_part.float().mean().item())
            return super().forward(features, codes, takes_part)

    monkeypatch.setattr("fmnist_sk._training.steps.TripletLoss", Spy)
    ConvNetClassifier(**SMALL, triplet_weight=1.0, teacher=teacher, augment=augment).fit(*data)
    assert 0.2 < np.mean(seen) < 0.8 if augment else np.mean(seen) == 1


def test_frozen_features_do_not_reach_the_teacher(tiny_images):
    X, y = tiny_images(n=12)
    teacher = net(max_epochs=1).fit(X, y)
    student = small("InceptionV3Classifier", max_epochs=2, frozen_epochs=1, teacher=teacher)
    assert student.fit(X, y).predict(X).shape == (12,)


def test_images_that_are_filled_up_reach_the_teacher_as_they_were(tiny_images):
    X, y = tiny_images(n=40)
    rows = X[:, :5, :5].reshape(40, 25)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")         # of small images
        teacher = LogisticRegression(max_iter=200).fit(rows, y)
        student = ConvNetClassifier(architecture="4C3-MP2-MP2-MP2-8N", max_epochs=1, teacher=teacher).fit(rows, y)
    assert student._encoder.network_shape == (1, 8, 8)


def test_a_teacher_stays_as_it_was_fitted(data):
    X, y = data[0].reshape(60, -1), np.unique(data[1], return_inverse=True)[1]
    teacher = net(max_epochs=1).fit(X, y)
    student = ConvNetClassifier(**SMALL, teacher=teacher)
    before = repr(teacher), teacher.optimizer_.param_groups[0]["lr"]
    student.set_params(image_shape=(8, 8))
    assert not any(name.startswith("teacher__") for name in student.get_params())
    for ensemble in (DeepEnsembleClassifier(student, n_members=2, learning_rates=[0.1, 0.2], random_state=0),
                     BaggingClassifier(student, n_estimators=2, random_state=0)):
        ensemble.fit(X, y)
    assert (repr(teacher), teacher.optimizer_.param_groups[0]["lr"]) == before
    for change in (lambda: student.set_params(teacher__lr=1.0), lambda: setattr(student, "teacher__lr", 1.0)):
        with pytest.raises(ValueError, match="teacher__lr cannot be set: the teacher stays as it is; give another"):
            change()


def test_rows_that_make_no_square_reach_the_teacher_as_they_are(data):
    rows, y = data[0].reshape(60, -1)[:, :50], data[1]
    teacher = LogisticRegression(max_iter=500).fit(rows, y)
    assert ConvNetClassifier(**SMALL, teacher=teacher).fit(rows, y).predict(rows).shape == (60,)


def test_any_object_that_predicts_probabilities_teaches(data):
    class Says:
        classes_ = np.array(["a", "b", "c"])

        def predict_proba(self, X):
            return np.tile([0.0, 0.0, 1.0], (len(X), 1))

    student = ConvNetClassifier(**{**SMALL, "max_epochs": 8}, lr=0.01, teacher=Says(), teacher_weight=1.0).fit(*data)
    assert set(student.predict(data[0])) == {"c"}


def test_a_search_compares_frozen_teachers(teacher, data):
    student = ConvNetClassifier(**SMALL)
    search = GridSearchCV(student, {"teacher": [None, FrozenEstimator(teacher)]}, cv=2).fit(*data)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert all(found is None or found.estimator is teacher for found in search.cv_results_["param_teacher"])
    again = GridSearchCV(student, {"teacher": [teacher]}, cv=2, error_score="raise").fit(*data).best_estimator_
    assert not hasattr(again.teacher, "classes_")           # a clone, from which each fit trains its own


@pytest.mark.parametrize(("change", "error", "message"), [
    (lambda X, y: {"teacher": ConvNetClassifier}, ValueError, "teacher must be a classifier, got the class teacher=<c"),
    (lambda X, y: {"teacher": net(lr=-1)}, ValueError, "teacher must be able to learn the training images: The 'lr'"),
    (lambda X, y: {"teacher": FrozenEstimator(net())}, ValueError, "learn the training images: .* not fitted yet"),
    (lambda X, y: {"teacher": "resnet"}, ValueError, "'teacher' parameter of .* must be an object implementing"),
    (lambda X, y: {"teacher": net(max_epochs=1).fit(X, y == "a")}, ValueError,
     r"teacher must know the classes of y, \['a', 'b', 'c'\], got one of \[False, True\]"),
    (lambda X, y: {"teacher": net(max_epochs=1).fit(X[:, :, :7], y)}, ValueError,
     r"teacher must be fitted on images of shape \(1, 8, 8\) .*, got one of \(1, 8, 7\)"),
    (lambda X, y: {"teacher": DeepEnsembleClassifier(net(max_epochs=1), n_members=2).fit(X.reshape(60, 4, 16), y)},
     ValueError, r"teacher must be fitted on images of shape \(1, 8, 8\) .*, got one of \(1, 4, 16\)"),
    (lambda X, y: {"teacher": LogisticRegression(max_iter=500).fit(X.reshape(60, -1)[:, :9], y)}, ValueError,
     "teacher must be able to predict the training images: "),
    (lambda X, y: {"teacher_weight": 1.5}, ValueError, "'teacher_weight' parameter of"),
], ids=["a class", "cannot learn", "frozen", "a text", "other classes", "another shape",
        "another of the same size", "other features", "a share above one"])
def test_wrong_teachers_are_named(change, error, message, data):
    with pytest.raises(error, match=message):
        ConvNetClassifier(**SMALL).set_params(**change(*data)).fit(*data)


def test_is_asked_about_each_batch_once(teacher, data):
    asked = []
    teacher.module_.register_forward_hook(lambda _, inputs, logits: asked.append(len(logits)))
    ConvNetClassifier(**SMALL, teacher=teacher).fit(*data)
    plain = sum(asked)
    asked.clear()
    ConvNetClassifier(**SMALL, teacher=teacher, swa=0.0, schedule="constant").fit(*data)
    assert sum(asked) == plain >= 2 * 60
