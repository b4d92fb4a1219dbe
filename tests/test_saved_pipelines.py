"""Pipelines, ensembles and searches around classifiers are saved and come back."""
import contextlib
import json
import os

import numpy as np
import pytest
from estimators import small
from safetensors import safe_open
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, RepeatedStratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC

from fmnist_sk import FeatureExtractor, ImageScaler, ImageStandardizer, RandomCrop, load, save


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


def around(net):
    return {
        "Pipeline": make_pipeline(ImageScaler(), net),
        "standardizer": make_pipeline(ImageStandardizer(), PCA(36), net),
        "features": make_pipeline(FeatureExtractor(net), SVC()),
        "stacking": StackingClassifier([("net", net), ("linear", LogisticRegression(max_iter=20))], cv=2),
        "voting": VotingClassifier([("net", make_pipeline(ImageScaler(), net)), ("linear", LogisticRegression())],
                                   voting="soft"),
        "search": GridSearchCV(net, {"lr": [1e-3, 1e-2], "augment": ["light", RandomCrop(padding=1)]}, cv=2),
        "calibrated": CalibratedClassifierCV(net, cv=2),
        "temperature": CalibratedClassifierCV(net, cv=2, method="temperature"),
        "bagging": BaggingClassifier(net, 2),
        "forest": StackingClassifier([("net", net), ("forest", RandomForestClassifier(5, max_depth=3))], cv=2),
        "scores": GridSearchCV(net, {"lr": [1e-3]}, cv=RepeatedStratifiedKFold(n_splits=2, n_repeats=1),
                               scoring=["accuracy", "f1_macro"], refit="accuracy"),
        "boosting": AdaBoostClassifier(net, n_estimators=2),
    }


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", around(None))
def test_estimators_around_classifiers_come_back(name, path, tiny_images):
    X, y = tiny_images(["bag", "coat", "shirt"])
    X = X.reshape(len(X), -1)
    model = around(small("ConvNetClassifier", max_epochs=1))[name].fit(X, y)
    loaded = again(model, path)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    if hasattr(model, "predict_proba"):
        np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert repr(loaded) == repr(model)


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
    np.testing.assert_array_equal(load(path).predict(X), model.predict(X))


def test_others_estimators_need_trust(path, tiny_images):
    X, y = tiny_images()
    model = make_pipeline(Doubled(), small("ConvNetClassifier", max_epochs=1)).fit(X, y)
    with pytest.warns(UserWarning, match=r"only with trusted=\[...\] of test_saved_pipelines"):
        loaded = again(model, path, trusted=[Doubled])
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    with pytest.raises(ValueError, match=r"it needs \['test_saved_pipelines.Doubled'\], .* trusted="):
        load(path)


def test_functions_are_not_loaded_unasked(path, tiny_images):
    X, y = tiny_images()
    X = X.reshape(len(X), -1)
    model = make_pipeline(FunctionTransformer(os.system), small("ConvNetClassifier"))
    model[-1].fit(X, y)
    with pytest.warns(UserWarning, match=r"load\(\) will take this file only with trusted=.* of (posix|nt|os).system"):
        save(model, path)
    with pytest.raises(ValueError, match=r"it needs \['\w+.system'\], which are not known here"):
        load(path)
    with pytest.raises(ValueError, match="Pipeline cannot be saved: "):
        save(make_pipeline(FunctionTransformer(lambda X: X), model[-1]), path)


@pytest.mark.parametrize(("other", "refused"), [
    (KNeighborsClassifier(), ""), (KNeighborsClassifier(algorithm="kd_tree"), "KDTree"),
    (KNeighborsClassifier(algorithm="ball_tree"), "BallTree"),
    (HistGradientBoostingClassifier(max_iter=1), "TreePredictor"),
], ids=str)
def test_what_needs_trust_is_what_the_readme_says(other, refused, path, tiny_images):
    X, y = tiny_images()
    X = X.reshape(len(X), -1)
    model = VotingClassifier([("net", small("ConvNetClassifier", max_epochs=1)), ("other", other)]).fit(X, y)
    with pytest.warns(UserWarning, match=refused) if refused else contextlib.nullcontext():
        save(model, path)
    with pytest.raises(ValueError, match=rf"it needs \[.*{refused}") if refused else contextlib.nullcontext():
        np.testing.assert_array_equal(load(path).predict(X), model.predict(X))
