"""Pipelines, ensembles and searches around classifiers are saved and come back."""
import json
import os
import warnings

import numpy as np
import pytest
import saved_forms
from estimators import small
from joblib import Memory
from safetensors import safe_open
from scipy.stats import loguniform
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import HistGradientBoostingClassifier, StackingClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import f1_score, make_scorer
from sklearn.model_selection import FixedThresholdClassifier, RandomizedSearchCV, TunedThresholdClassifierCV
from sklearn.multioutput import ClassifierChain
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC

from fmnist_sk import FeatureExtractor, ImageScaler, load, save
from fmnist_sk._saving.schema import FORMS


class Doubled(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return np.asarray(X, dtype=np.float32) * 2


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def again(estimator, path, **options):
    """Saved, with nothing else left beside the file, and loaded."""
    assert save(estimator, path) == path
    assert os.listdir(path.parent) == [path.name]
    return load(path, **options)


@pytest.mark.parametrize("name", saved_forms.NAMES)
def test_estimators_around_classifiers_come_back(name, path):
    model, (X, y) = saved_forms.fitted(name), saved_forms.images(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")                          # nothing needs trust, nothing is lost
        loaded = again(model, path, device="cpu")
    for method in ("predict", "predict_proba", "decision_function"):
        if hasattr(model, method):
            np.testing.assert_array_equal(getattr(loaded, method)(X.copy()), getattr(model, method)(X.copy()))
    assert loaded.score(X, y) == model.score(X, y)
    assert repr(loaded) == repr(model)
    if hasattr(model, "cv_results_"):
        assert loaded.cv_results_.keys() == model.cv_results_.keys()
        for key, values in model.cv_results_.items():
            if key != "params" and "param_augment" not in key:
                np.testing.assert_array_equal(loaded.cv_results_[key], values)


def test_every_declared_estimator_is_among_them(path):
    found, parts = set(), []
    for name in saved_forms.NAMES:
        with safe_open(save(saved_forms.fitted(name), path), "pt") as file:
            parts.append(json.loads(file.metadata()["fmnist_sk"]))
    while parts:
        part = parts.pop()
        parts += part if isinstance(part, list) else part.values() if isinstance(part, dict) else []
        found |= {part["object"]} if isinstance(part, dict) and "object" in part else set()
    fitted = {name for name, form in FORMS.items() if form.fitted}
    assert fitted <= found


def test_one_classifier_in_two_places_stays_one(path, tiny_images):
    X, y = tiny_images()
    net = small("ConvNetClassifier", max_epochs=1).fit(X, y)
    shared = FrozenEstimator(net)
    model = StackingClassifier([("a", shared), ("b", make_pipeline(FeatureExtractor(shared), SVC()))],
                               cv="prefit")
    model.estimators[1][1].fit(X, y)
    model.fit(X, y)
    with safe_open(save(model, path), "pt") as file:
        assert len(json.loads(file.metadata()["fmnist_sk"])["classifiers"]) == 1
    loaded = load(path)
    assert loaded.estimators_[0].estimator is loaded.estimators_[1][0].estimator_.estimator
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


def test_others_estimators_need_trust(path, tiny_images):
    X, y = tiny_images()
    model = make_pipeline(Doubled(), small("ConvNetClassifier", max_epochs=1)).fit(X, y)
    with pytest.warns(UserWarning, match=r"only with trusted=\[test_saved_pipelines"):
        loaded = again(model, path, trusted=[Doubled])
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    with pytest.raises(ValueError, match=r"it needs \['test_saved_pipelines.Doubled'\], .* trusted="):
        load(path)


def test_functions_are_not_loaded_unasked(path, tiny_images):
    X, y = tiny_images()
    X = X.reshape(len(X), -1)
    model = make_pipeline(FunctionTransformer(os.system), small("ConvNetClassifier"))
    model[-1].fit(X, y)
    with pytest.warns(UserWarning, match=r"load\(\) will take this file only with trusted=\[(posix|nt|os).system"):
        save(model, path)
    with pytest.raises(ValueError, match=r"it needs \['sklearn.*FunctionTransformer'\], which are not known here"):
        load(path)
    with pytest.raises(ValueError, match=r"it needs \['\w+.system'\], which are not known here"):
        load(path, trusted=[FunctionTransformer])
    with pytest.raises(ValueError, match="FunctionTransformer cannot be saved: "):
        save(make_pipeline(FunctionTransformer(lambda X: X), model[-1]), path)


def test_what_needs_trust_is_what_the_readme_says(path, tiny_images):
    X, y = tiny_images()
    X = X.reshape(len(X), -1)
    for other in (HistGradientBoostingClassifier(max_iter=1), KNeighborsClassifier(metric="mahalanobis", metric_params={
            "VI": np.eye(64)})):
        model = VotingClassifier([("net", small("ConvNetClassifier", max_epochs=1)), ("other", other)]).fit(X, y)
        with pytest.warns(UserWarning, match=type(other).__name__):
            save(model, path)
        with pytest.raises(ValueError, match=rf"it needs \['sklearn.*{type(other).__name__}'\]"):
            load(path)


def test_networks_in_estimators_that_are_not_declared_are_refused(path, tiny_images):
    X, y = tiny_images()
    chain = ClassifierChain(small("ConvNetClassifier", max_epochs=1))
    chain.fit(X.reshape(len(X), -1), np.eye(3, dtype=int)[y])
    with pytest.raises(ValueError, match="ClassifierChain cannot be saved: it holds a ConvNetClassifier, and is not"):
        save(chain, path)


def test_a_positive_label_that_would_be_lost_is_refused(path, tiny_images):
    X, y = tiny_images(["bag", "coat"])
    net = FrozenEstimator(small("ConvNetClassifier", max_epochs=1).fit(X, y))
    options = {"cv": "prefit", "refit": False}
    model = TunedThresholdClassifierCV(net, scoring=make_scorer(f1_score, pos_label="bag"), **options).fit(X, y)
    with pytest.raises(ValueError, match=r"scoring of TunedThresholdClassifierCV cannot be saved: .*pos_label='bag'"):
        save(model, path)
    fixed = FixedThresholdClassifier(FrozenEstimator(model.estimator_), threshold=model.best_threshold_,
                                     pos_label="bag").fit(X, y)         # as the message says
    np.testing.assert_array_equal(again(fixed, path).predict(X), model.predict(X))
    model.set_params(scoring=make_scorer(f1_score, pos_label="coat")).fit(X, y)
    with pytest.warns(UserWarning, match="TunedThresholdClassifierCV: scoring cannot be saved"):
        loaded = again(model, path)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


def test_what_belongs_to_a_machine_or_has_no_form_is_left_out(path, tiny_images, tmp_path):
    X, y = tiny_images()
    net = small("ConvNetClassifier", max_epochs=1)
    cached = make_pipeline(ImageScaler(), net, memory=Memory(tmp_path / "cache", verbose=0)).fit(X, y)
    loaded = load(save(make_pipeline(cached[0], cached).fit(X, y), path))
    assert loaded[1].memory is None                 # joblib reads pickles out of such folders
    search = RandomizedSearchCV(net, {"lr": loguniform(1e-3, 1e-2)}, n_iter=2, cv=2, n_jobs=1,
                                random_state=np.random.RandomState(0)).fit(X, y)
    with pytest.warns(UserWarning, match="RandomizedSearchCV: param_distributions cannot be saved: rv_"), \
            pytest.warns(UserWarning, match="random_state of RandomizedSearchCV is not saved"):
        loaded = load(save(search, path))
    assert loaded.param_distributions == {}
    assert loaded.n_jobs is None
    assert loaded.best_params_ == search.best_params_
    np.testing.assert_array_equal(loaded.predict_proba(X), search.predict_proba(X))
