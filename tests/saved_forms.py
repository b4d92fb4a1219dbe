"""Fitted estimators of every kind that a saved file may hold without being trusted, each around or beside a network."""
import functools
import warnings

import numpy as np
import torch
from conftest import make_images
from sklearn import calibration, ensemble, model_selection, svm
from sklearn.decomposition import PCA
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

from fmnist_sk import (
    ConvNetClassifier,
    DeepEnsembleClassifier,
    FeatureExtractor,
    FocalLoss,
    HOGTransformer,
    ImageScaler,
    ImageStandardizer,
    RandomCrop,
    augmentation,
)

TWO = "threshold", "tuned threshold"            # for two classes only


def conv(**params):
    return ConvNetClassifier(architecture="4C3-8N", max_epochs=1, random_state=0, device="cpu", n_threads=1, **params)


@functools.cache
def fitted_network():
    return conv().fit(*images("voting"))


def forms():
    linear, tree = LogisticRegression(max_iter=50), DecisionTreeClassifier(max_depth=3, random_state=0)
    search = {"estimator": conv(), "cv": 2}
    changes = [getattr(augmentation, name)(random_state=0) for name in augmentation.__all__
               if issubclass(getattr(augmentation, name), augmentation.RandomTransformer)]
    after = functools.partial(make_pipeline, FeatureExtractor(conv()))
    return {
        "network": conv(augment=RandomCrop(padding=1), criterion="focal"),
        "pipeline": make_pipeline(ImageScaler(), conv()),
        "standardizer": make_pipeline(ImageStandardizer(), PCA(36), conv()),
        "scalers": make_pipeline(StandardScaler(), MinMaxScaler(), FunctionTransformer(np.sqrt), conv()),
        "changed images": make_pipeline(*changes, conv()),
        "named columns": make_pipeline(StandardScaler(), conv()).set_output(transform="pandas"),
        "random components": make_pipeline(PCA(9, svd_solver="randomized", random_state=0), linear),
        "few components": make_pipeline(PCA(9, svd_solver="arpack", random_state=0), linear),
        "components in reverse": make_pipeline(FunctionTransformer(np.sqrt), PCA(5, svd_solver="arpack"),
                                               StandardScaler(), svm.SVC(probability=True, random_state=0)),
        "nothing to scale": make_pipeline(PCA(3, whiten=True), StandardScaler(), conv()),
        "searched classes": model_selection.GridSearchCV(**search, param_grid={
            "optimizer": [torch.optim.SGD, torch.optim.AdamW], "criterion": [torch.nn.CrossEntropyLoss, FocalLoss],
            "schedule": [torch.optim.lr_scheduler.ConstantLR]}),
        "bags and what is left out": ensemble.BaggingClassifier(linear, 12, oob_score=True, random_state=0),
        "histograms": make_pipeline(HOGTransformer(cell=2), linear),
        "linear": after(linear), "linear machine": after(svm.LinearSVC()), "machine": after(svm.SVC()),
        "machine with probabilities": after(svm.SVC(kernel="poly", probability=True, random_state=0)),
        "Bayes": after(GaussianNB()), "neighbours": after(KNeighborsClassifier(3)),
        "neighbours in a tree": after(KNeighborsClassifier(3, algorithm="ball_tree", weights="distance")),
        "perceptron": after(MLPClassifier((5, 4), max_iter=5, random_state=0)),
        "tree": after(tree), "random tree": after(ExtraTreeClassifier(random_state=0)),
        "forest": after(ensemble.RandomForestClassifier(4, random_state=0)),
        "extra trees": after(ensemble.ExtraTreesClassifier(4, random_state=0)),
        "voting": ensemble.VotingClassifier([("net", make_pipeline(ImageScaler(), conv())), ("linear", linear),
                                             ("none", "drop")], voting="soft", weights=[2, 1, 1]),
        "stacking": ensemble.StackingClassifier([("net", conv()), ("machine", svm.LinearSVC())], linear, cv=2,
                                                passthrough=True),
        "bagging": ensemble.BaggingClassifier(linear, 2, max_features=0.5, random_state=0),
        "bagging of networks": ensemble.BaggingClassifier(conv(), 2, random_state=0),
        "boosting": ensemble.AdaBoostClassifier(conv().set_params(max_epochs=12), n_estimators=2, random_state=0),
        "boosted trees": ensemble.AdaBoostClassifier(n_estimators=3, random_state=0),
        "one against the rest": OneVsRestClassifier(conv()),
        "calibrated": calibration.CalibratedClassifierCV(conv(), cv=2),
        "isotonic": calibration.CalibratedClassifierCV(conv(), cv=2, method="isotonic"),
        "temperature": calibration.CalibratedClassifierCV(conv(), cv=2, method="temperature"),
        "frozen": calibration.CalibratedClassifierCV(FrozenEstimator(fitted_network())),
        "threshold": model_selection.FixedThresholdClassifier(conv(), threshold=0.4),
        "tuned threshold": model_selection.TunedThresholdClassifierCV(conv(), cv=2, store_cv_results=True),
        "grid search": model_selection.GridSearchCV(**search, param_grid={"lr": [1e-3, 1e-2],
                                                                          "augment": ["light", RandomCrop()]}),
        "scores": model_selection.GridSearchCV(**search, param_grid={"lr": [1e-3]}, scoring=["accuracy", "f1_macro"],
                                               refit="f1_macro"),
        "random search": model_selection.RandomizedSearchCV(
            conv(), {"lr": [1e-3, 1e-2]}, n_iter=2, cv=model_selection.RepeatedStratifiedKFold(n_splits=2, n_repeats=1),
            scoring="f1_macro", random_state=0),
        "halving": model_selection.HalvingGridSearchCV(**search, param_grid={"lr": [1e-3, 1e-2]}, factor=2,
                                                       resource="max_epochs", max_resources=2, min_resources=1),
        "halving, random": model_selection.HalvingRandomSearchCV(
            **search, param_distributions={"lr": [1e-3, 1e-2]}, n_candidates=2, factor=2, min_resources=30,
            random_state=0),
        "deep ensemble": DeepEnsembleClassifier(conv(), n_members=2, random_state=0),
    }


def images(name):
    """Rows X (60, 64) and labels of three classes, of two where there must be."""
    X, y = make_images(["bag", "coat", "shirt"])
    return X.reshape(len(X), -1), y if name not in TWO else (y == "bag").astype(int)


@functools.cache
def fitted(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return forms()[name].fit(*images(name))


NAMES = list(forms())
