"""What every estimator in ``__all__`` does: scikit-learn's whole suite of checks, and sentences of our own."""
import copy
import io
import pickle
import warnings
from unittest import SkipTest

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from devices import StaysOnDevice
from estimators import (
    AUGMENTERS,
    CLASSIFIERS,
    ESTIMATORS,
    ONE_TO_ONE,
    OWN_NETWORK_ONLY,
    TRANSFORMERS,
    held_out_accuracy,
    kinds_of_classifiers,
    small,
)
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.utils._param_validation import Interval, make_constraint, validate_parameter_constraints
from sklearn.utils.estimator_checks import estimator_checks_generator

import fmnist_sk
from fmnist_sk import ImageScaler, InceptionV3Classifier, RandomCrop, RandomHorizontalFlip

every_classifier = pytest.mark.parametrize("name", CLASSIFIERS)

every_kind_of_classifier = pytest.mark.parametrize("name", kinds_of_classifiers())

OWN_CHECKS = {"check_parameters_default_constructible", "check_no_attributes_set_in_init", "check_set_params",
              "check_do_not_raise_errors_in_init_or_set_params", "check_get_params_invariance",
              "check_estimator_cloneable", "check_transformer_general", "check_transformer_preserve_dtypes",
              "check_fit2d_1sample", "check_classifiers_classes"}


FEWER_EPOCHS = {                                                 # scikit-learn's checks have up to 300 images
    **{name: {"max_epochs": 8} for name in CLASSIFIERS},
    "InceptionV3Classifier": {"max_epochs": 20, "frozen_epochs": 19},
    **{name: {"estimator": small("ConvNetClassifier", max_epochs=8)}
       for name in ("DeepEnsembleClassifier", "FeatureExtractor")},
}


def checks_of_scikit_learn():
    """Every check of every estimator. Where estimators share their code, all but some have exhaustive ones."""
    for name in ESTIMATORS:
        for estimator, check in estimator_checks_generator(small(name, **FEWER_EPOCHS.get(name, {}))):
            title = check.func.__name__
            is_repeated = name in {*AUGMENTERS[1:], *OWN_NETWORK_ONLY} and title not in OWN_CHECKS
            yield pytest.param(estimator, check, id=f"{name}-{title}",
                               marks=pytest.mark.exhaustive if is_repeated else ())


@pytest.mark.parametrize(("estimator", "check"), list(checks_of_scikit_learn()))
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
def test_scikit_learn_check(estimator, check):
    try:
        check(estimator)
    except SkipTest as reason:
        pytest.fail(f"a check was skipped: {reason}")


@pytest.mark.parametrize("name", [name for name in fmnist_sk.__all__
                                  if hasattr(getattr(fmnist_sk, name), "_parameter_constraints")])
def test_a_boolean_is_no_number(name):
    for parameter, constraints in getattr(fmnist_sk, name)._parameter_constraints.items():
        if constraints != "no_validation" and any(isinstance(make_constraint(each), Interval) for each in constraints):
            with pytest.raises(ValueError, match=f"The '{parameter}' parameter of {name} must be .* Got True instead"):
                validate_parameter_constraints({parameter: constraints}, {parameter: True}, name)


# ---------------------------------------------------------------------- labels and images of every kind

LABELS = {
    "integers": [3, 7, -1],
    "text": ["bag", "coat", "sandal"],
    "booleans": [False, True],
    "whole floats": [0.0, 2.0],
    "objects": np.array(["bag", "coat"], dtype=object),
}


@every_kind_of_classifier
@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_predicts_the_labels_it_was_given(name, labels, tiny_images):
    X, y = tiny_images(labels)
    classifier = small(name).fit(X, y)
    assert classifier.predict(X).dtype == y.dtype
    assert set(classifier.predict(X)) <= set(labels)
    assert classifier.classes_.tolist() == sorted(labels)
    assert classifier.score(X, y) > 0.9


@every_kind_of_classifier
def test_takes_labels_as_series_category_list_and_tensor(name, tiny_images):
    X, y = tiny_images([4, 9])
    expected = small(name, max_epochs=2).fit(X, y).predict_proba(X)
    for labels in (pd.Series(y), pd.Series(y).astype("category"), y.tolist(), torch.from_numpy(y)):
        np.testing.assert_array_equal(small(name, max_epochs=2).fit(X, labels).predict_proba(X), expected)


def _forms(X):
    flat = X.reshape(len(X), -1)
    read_only = X.copy()
    read_only.flags.writeable = False
    return {
        "3-D": X, "flat": flat, "4-D": X[:, None], "DataFrame": pd.DataFrame(flat), "lists": flat.tolist(),
        "Fortran order": np.asfortranarray(flat), "read-only": read_only, "strided": np.repeat(X, 2, axis=0)[::2],
        "float32": X.astype(np.float32), "float64": X.astype(np.float64), "int64": X.astype(np.int64),
        "float16": X.astype(np.float16), "big-endian": X.astype(">f4"), "nullable": pd.DataFrame(flat).astype("UInt8"),
        "tensor": torch.from_numpy(X), "flat tensor": torch.from_numpy(flat), "int tensor": torch.from_numpy(X).long(),
        "half tensor": torch.from_numpy(X).half(), "tensor with gradient": torch.from_numpy(X).float().requires_grad_(),
    }


@every_kind_of_classifier
def test_takes_images_in_every_form(name, tiny_images):
    X, y = tiny_images()
    expected = small(name, max_epochs=2).fit(X, y).predict_proba(X)
    for form, images in _forms(X).items():
        classifier = small(name, max_epochs=2).fit(images, y)
        # Whole numbers are the same in every type, so that fits agree to rounding (bytes and floats sort differently).
        assert classifier.image_shape_ == (1, 8, 8), form
        assert classifier.predict_proba(images).shape == expected.shape, form
        np.testing.assert_array_equal(classifier.predict_proba(images), classifier.predict_proba(X), err_msg=form)


@every_kind_of_classifier
def test_takes_images_of_three_channels(name, tiny_images):
    X, y = tiny_images(channels=3)
    classifier = small(name).fit(X, y)
    assert classifier.image_shape_ == (3, 8, 8)
    assert classifier.score(X, y) > 0.9
    flat = small(name, image_shape=(3, 8, 8)).fit(X.reshape(len(X), -1), y)
    np.testing.assert_array_equal(flat.predict_proba(X), classifier.predict_proba(X))


@every_kind_of_classifier
def test_leaves_inputs_and_parameters_alone(name, tiny_images):
    X, y = tiny_images()
    weights = np.ones(len(y))
    before, classifier = copy.deepcopy((X, y, weights)), small(name, augment=[RandomCrop(padding=1)], max_epochs=2)
    params = {key: repr(value) for key, value in classifier.get_params().items() if "callbacks__" not in key}
    classifier.fit(X, y, weights).predict(X)
    for array, copied in zip((X, y, weights), before, strict=True):
        np.testing.assert_array_equal(array, copied)
    assert params == {key: repr(classifier.get_params()[key]) for key in params}


# ---------------------------------------------------------------------- repeatable

@pytest.mark.parametrize("name", kinds_of_classifiers("InceptionV3Classifier"))
def test_same_seed_gives_the_same_result_also_under_threads(name, tiny_images):
    X, y = tiny_images()

    def probabilities(seed):
        torch.set_num_threads(1)               # PyTorch counts threads for each Python thread
        torch.manual_seed(seed * 7)            # what others do with the global generator
        return small(name, max_epochs=3, random_state=seed, augment=[RandomCrop(padding=1)]).fit(X, y).predict_proba(X)

    serial = [probabilities(seed) for seed in (0, 1, 0, 1)]
    np.testing.assert_array_equal(serial[0], serial[2])
    assert not np.array_equal(serial[0], serial[1])
    threaded = joblib.Parallel(n_jobs=4, backend="threading")(
        joblib.delayed(probabilities)(seed) for seed in (0, 1, 0, 1))
    np.testing.assert_array_equal(serial, threaded)


@every_kind_of_classifier
def test_does_not_touch_the_global_generators(name, tiny_images):
    X, y = tiny_images()
    states = torch.get_rng_state(), str(np.random.get_state())      # noqa: NPY002
    small(name, max_epochs=2, random_state=1).fit(X, y).predict(X)
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == str(np.random.get_state())      # noqa: NPY002


@every_kind_of_classifier
@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_prediction_of_a_row_does_not_depend_on_its_batch(name, precision, tiny_images):
    X, y = tiny_images(n=75)
    classifier = small(name, max_epochs=3, precision=precision).fit(X, y)
    whole = classifier.predict_proba(X)
    # Inception v3's hundred layers carry a rounding error further than others' few.
    tolerance = 1e-5 if name == "InceptionV3Classifier" else 1e-6
    for size in (1, 2, 7, 33):
        parts = np.concatenate([classifier.predict_proba(X[i:i + size]) for i in range(0, len(X), size)])
        np.testing.assert_allclose(parts, whole, atol=tolerance)


@every_kind_of_classifier
def test_whole_weights_are_repetitions(name, tiny_images):
    X, y = tiny_images()
    weights = np.random.default_rng(0).integers(0, 4, len(y))
    weighted = small(name, max_epochs=3).fit(X, y, sample_weight=weights)
    repeated = small(name, max_epochs=3).fit(X.repeat(weights, axis=0), y.repeat(weights))
    np.testing.assert_array_equal(weighted.predict_proba(X), repeated.predict_proba(X))


@every_classifier
def test_every_parameter_gets_a_gradient(name, tiny_images):
    X, y = tiny_images()
    classifier = small(name, max_epochs=1).fit(X, y)
    learning = {key: value for key, value in classifier.module_.named_parameters() if value.requires_grad}
    assert learning
    assert len(learning) == len(list(classifier.module_.parameters())) or isinstance(classifier, InceptionV3Classifier)
    for key, parameter in learning.items():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().sum() > 0, key


# ---------------------------------------------------------------------- copies

@pytest.mark.parametrize("name", ESTIMATORS)
def test_survives_pickle_joblib_and_deepcopy(name, tiny_images):
    X, y = tiny_images()
    X = X.reshape(len(X), -1)
    estimator = small(name, **({"max_epochs": 1} if name in CLASSIFIERS else {})).fit(X, y)
    method = "predict_proba" if is_classifier(estimator) else "transform" if name in TRANSFORMERS else "get_params"
    arguments = () if method == "get_params" else (X,)
    expected = getattr(estimator, method)(*arguments)
    file = io.BytesIO()
    joblib.dump(estimator, file)
    file.seek(0)
    for copied in (pickle.loads(pickle.dumps(estimator)), joblib.load(file), copy.deepcopy(estimator)):
        np.testing.assert_equal(getattr(copied, method)(*arguments), expected)


@every_kind_of_classifier
def test_a_copy_trains_on_as_the_original_does(name, tiny_images):
    X, y = tiny_images()
    original = small(name, max_epochs=2, warm_start=True, augment=[RandomCrop(padding=1)]).fit(X, y)
    copied = pickle.loads(pickle.dumps(original))
    np.testing.assert_array_equal(original.fit(X, y).predict_proba(X), copied.fit(X, y).predict_proba(X))


@every_kind_of_classifier
def test_clone_keeps_parameters_and_nothing_learned(name, tiny_images):
    X, y = tiny_images()
    original = small(name, max_epochs=1).set_params(optimizer__betas=(0.8, 0.9)).fit(X, y)
    copied = clone(original)
    assert copied.get_params()["optimizer__betas"] == (0.8, 0.9)
    with pytest.raises(sklearn.exceptions.NotFittedError):
        copied.predict(X)
    np.testing.assert_array_equal(copied.fit(X, y).predict_proba(X), original.predict_proba(X))


# ---------------------------------------------------------------------- scikit-learn's meta-estimators

@every_kind_of_classifier
def test_grid_search_over_nested_names(name, tiny_images):
    X, y = tiny_images(["bag", "coat"])
    augment = make_pipeline(RandomCrop(padding=1), RandomHorizontalFlip(p=0.1))
    grid = [{"augment__randomcrop__padding": [padding], "optimizer__betas": [(0.9, 0.99)], "lr": [lr],
             "optimizer__eps": [1e-8]} for padding, lr in ((1, 0.01), (0, 1e-8))]
    search = GridSearchCV(small(name, augment=augment), grid, cv=2, error_score="raise").fit(X, y)
    assert search.best_params_["lr"] == 0.01
    assert search.best_estimator_.augment[0].padding == 1
    assert search.best_estimator_.get_params()["optimizer__betas"] == (0.9, 0.99)
    if name != "InceptionV3Classifier":         # whose second phase has an optimizer of its own
        assert search.best_estimator_.optimizer_.defaults["betas"] == (0.9, 0.99)
    assert search.score(X, y) > 0.9


META_ESTIMATORS = {
    "stacking": lambda net: StackingClassifier([("net", net), ("linear", LogisticRegression())], cv=2),
    "soft voting": lambda net: VotingClassifier([("a", net), ("b", clone(net).set_params(random_state=1))],
                                                voting="soft"),
    "calibration": lambda net: CalibratedClassifierCV(net, cv=2),
    "temperature": lambda net: CalibratedClassifierCV(net, cv=2, method="temperature"),
    "bagging": lambda net: BaggingClassifier(net, n_estimators=2, max_samples=0.8, random_state=0),
    "AdaBoost": lambda net: AdaBoostClassifier(net, n_estimators=2, random_state=0),
    "pipeline": lambda net: make_pipeline(ImageScaler(), net),
}


@every_kind_of_classifier
@pytest.mark.parametrize("meta", META_ESTIMATORS.values(), ids=META_ESTIMATORS)
def test_works_inside(name, meta, tiny_images):
    X, y = tiny_images(["bag", "coat", "shirt"])
    X = X.reshape(len(X), -1) / 255.0
    estimator = meta(small(name)).fit(X, y)
    assert estimator.score(X, y) > held_out_accuracy(name)
    np.testing.assert_allclose(estimator.predict_proba(X).sum(1), 1, atol=1e-5)


@every_kind_of_classifier
def test_cross_val_predict(name, tiny_images):
    X, y = tiny_images()
    assert (cross_val_predict(small(name), X, y, cv=2) == y).mean() > held_out_accuracy(name)
    assert cross_val_predict(small(name), X, y, cv=2, method="predict_proba").shape == (60, 3)


@every_kind_of_classifier
def test_sample_weight_is_routed(name, tiny_images):
    X, y = tiny_images([0, 1])
    wrong = np.where(np.random.default_rng(0).random(len(y)) < 0.6, 1 - y, y)
    weights = (wrong == y).astype(float)
    with sklearn.config_context(enable_metadata_routing=True):
        net = small(name).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        search = GridSearchCV(make_pipeline(ImageScaler(), net), {f"{name.lower()}__lr": [0.01]}, cv=2,
                              error_score="raise")
        search.fit(X.reshape(len(X), -1), wrong, sample_weight=weights)
    assert search.score(X.reshape(len(X), -1), y) > held_out_accuracy(name)


@every_kind_of_classifier
def test_array_api_dispatch_returns_tensors(name, tiny_images):
    X, y = tiny_images([2, 5])
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    classifier = small(name).fit(X, y)
    with sklearn.config_context(array_api_dispatch=True):
        assert isinstance(classifier.predict_proba(X), torch.Tensor)
        assert set(classifier.predict(X).tolist()) <= {2, 5}
        assert isinstance(classifier.predict(X.numpy()), np.ndarray)
        assert classifier.score(X, y) > 0.9
    assert isinstance(classifier.predict(X), np.ndarray)
    assert classifier.score(X, y) > 0.9


@pytest.mark.parametrize("name", kinds_of_classifiers("InceptionV3Classifier"))
def test_tensors_never_leave_their_device(name, tiny_images):
    X, y = tiny_images(n=90)
    guarded = torch.from_numpy(X).as_subclass(StaysOnDevice)
    with pytest.raises(AssertionError, match="to the host"):
        np.asarray(guarded)
    params = {"max_epochs": 2, "augment": [RandomCrop(padding=1)]}
    classifier = small(name, **params, validation_data=(guarded, y)).fit(guarded, torch.from_numpy(y))
    assert classifier.predict_proba(guarded).shape == (90, 3)
    small(name, **params, validation_fraction=0.2).fit(guarded, y, np.arange(90) / 7)
    classifier.partial_fit(guarded, y)
    expected = small(name, **params, validation_data=(X, y)).fit(X, y)
    np.testing.assert_array_equal(classifier.fit(guarded, y).predict_proba(guarded), expected.predict_proba(X))


# ---------------------------------------------------------------------- transformers

@pytest.mark.parametrize("name", ONE_TO_ONE)
def test_transformers_give_back_the_kind_they_were_given(name, tiny_images):
    X, y = tiny_images()
    flat = X.reshape(len(X), -1)
    frame = pd.DataFrame(flat, index=np.arange(len(X)) + 5, columns=[f"p{i}" for i in range(64)])
    for images in (X, flat, X[:, None], X.astype(np.float64), frame, torch.from_numpy(X), torch.from_numpy(X).double()):
        transformer = small(name, **({"p": 1.0} if "p" in small(name).get_params() else {}))
        for result in (transformer.fit_transform(images, y), transformer.transform(images)):
            assert type(result) is type(images)
            assert result.shape == images.shape
            if isinstance(images, pd.DataFrame):
                assert result.index.equals(frame.index)
                assert result.columns.equals(frame.columns)


def test_the_suite_turns_unexpected_warnings_of_a_fit_into_errors(tiny_images):
    X, y = tiny_images()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in CLASSIFIERS:
            small(name, max_epochs=1).fit(X, y).predict(X)
