"""The estimators and settings that a saved file may hold without being trusted: one declaration for each.

A file holds an estimator's name in this table, its parameters, and its fitted attributes. `Form.build` creates it
through the constructor, with parameters that pass scikit-learn's rules, and sets attributes that pass the rules below.
Nothing is called or imported by a name in a file; where scikit-learn calls a method by its name, the name is one of a
closed list. To add an estimator, add its `Form`.
"""
from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from sklearn import calibration, ensemble, model_selection, svm
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import check_scoring, get_scorer
from sklearn.model_selection import _search_successive_halving as halving
from sklearn.model_selection import _split as splits
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, LabelBinarizer, LabelEncoder, MinMaxScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier
from sklearn.utils import Bunch

from fmnist_sk import augmentation, losses, schedules
from fmnist_sk._data.pictures import check_size
from fmnist_sk._network.tracing import layers_by_name
from fmnist_sk._saving import trees
from fmnist_sk._saving.fields import (
    array,
    either,
    estimator,
    floats,
    integer,
    integers,
    labels,
    many,
    mapping,
    n_features,
    number,
    one_of,
)
from fmnist_sk._saving.form import Form
from fmnist_sk.ensemble import DeepEnsembleClassifier
from fmnist_sk.inspection import FeatureExtractor, classifier_of
from fmnist_sk.photos import PhotoToFashion
from fmnist_sk.preprocessing import HOGTransformer, ImageScaler, ImageStandardizer
from fmnist_sk.reader import ImageReader

FUNCTIONS = {f"numpy.{function.__name__}": function for function in (
    np.abs, np.ascontiguousarray, np.cbrt, np.exp, np.expm1, np.log, np.log10, np.log1p, np.log2, np.negative, np.sqrt,
    np.square, np.tanh)}                                            # that a FunctionTransformer may apply
METHODS = one_of("predict_proba", "decision_function", "predict")   # that a StackingClassifier may ask for
LARGEST_PICTURE = 2**20         # pixels of an ImageReader's images at most
METRICS = one_of("minkowski", "euclidean", "manhattan", "chebyshev", "cosine")
classifier, anything = estimator("predict"), estimator()
classes = {"classes_": labels("k")}
linear = {**classes, "n_features_in_": n_features, "coef_": floats("rows", "p"),
          "intercept_": either(floats("rows"), number())}
searched = {
    "best_estimator_": classifier, "best_params_": mapping, "best_index_": integer(), "cv_results_": mapping,
    "n_splits_": integer(1), "multimetric_": one_of(True, False)}
search_optional = {"best_score_": number(), "refit_time_": number(0)}
search_unsaved: dict[str, Any] = {"param_grid": {}, "param_distributions": {}, "scoring": None, "cv": None,
                                  "refit": True}
halved = {name: either(integer(), many(integer(), "steps")) for name in (
    "n_resources_", "n_candidates_", "n_remaining_candidates_", "n_required_iterations_", "n_possible_iterations_",
    "n_iterations_", "min_resources_", "max_resources_")}


def _pairs(value: Any, sizes: Any) -> bool:
    """Pairs of a name and an estimator, as in a Pipeline."""
    return isinstance(value, list) and all(
        isinstance(pair, (tuple, list)) and len(pair) == 2 and isinstance(pair[0], str) for pair in value)


def _reads_what_is_needed(part: Pipeline) -> bool:
    """Whether photos become images of the size that the next step was fitted on, not larger ones."""
    for (_, reader), (_, following) in pairwise(part.steps):
        n_values = getattr(following, "n_features_in_", None)
        if isinstance(reader, ImageReader):
            height, width = check_size(reader.size)
            is_known = n_values is not None and not isinstance(following, FunctionTransformer)
            if height * width > LARGEST_PICTURE or (is_known and n_values != height * width * (
                    1 if reader.color == "gray" else 3)):
                return False
    return True


def _features(value: Any, sizes: Any) -> bool:
    """Numbers of features, not more than there are; repetitions are allowed."""
    return integers("f", below="p")(value, sizes) and len(value) <= sizes["p"]


def _rows_fit(part: Any, fitted: dict) -> bool:
    n_classes = len(fitted["classes_"])
    return len(fitted["coef_"]) == (1 if n_classes == 2 else n_classes)


def _support_vectors_fit(part: svm.SVC, fitted: dict) -> bool:
    n_classes, n = len(fitted["classes_"]), len(fitted["support_"])
    n_pairs = n_classes * (n_classes - 1) // 2
    return (n_classes > 1 and sum(fitted["_n_support"].tolist()) == n and len(fitted["_intercept_"]) == n_pairs
            and len(fitted["_probA"]) == len(fitted["_probB"]) and len(fitted["_probA"]) in (0, n_pairs)
            and fitted["shape_fit_"] == (fitted["shape_fit_"][0], fitted["n_features_in_"])
            and (fitted["support_"] < fitted["shape_fit_"][0]).all())


def _complete_svc(part: svm.SVC) -> None:
    part._sparse, part.fit_status_ = False, 0
    part._effective_probability = len(part._probA) > 0
    sign = -1 if len(part.classes_) == 2 else 1
    part.intercept_, part.dual_coef_ = sign * part._intercept_, sign * part._dual_coef_


def _layers_fit(part: MLPClassifier, fitted: dict) -> bool:
    weights, biases, n_classes = fitted["coefs_"], fitted["intercepts_"], len(fitted["classes_"])
    n_out = 1 if n_classes == 2 else n_classes
    sides = [fitted["n_features_in_"], *(len(bias) for bias in biases)]
    return bool(weights) and len(weights) == len(biases) == fitted["n_layers_"] - 1 and [
        matrix.shape for matrix in weights] == list(pairwise(sides)) and fitted["n_outputs_"] == sides[-1] == n_out


def _pack_mlp(part: MLPClassifier) -> dict:
    if part._label_binarizer.y_type_.startswith("multilabel"):
        raise ValueError("MLPClassifier can be saved for one label per image.")
    return vars(part)


def _complete_mlp(part: MLPClassifier) -> None:
    part._label_binarizer = LabelBinarizer().fit(part.classes_)


def _histograms_fit(part: HOGTransformer, fitted: dict) -> bool:
    """Whether blocks fit in the image, and give less than two hundred times as many values."""
    _, height, width = fitted["image_shape_"]
    if height * width > LARGEST_PICTURE or fitted.get("n_features_in_", height * width) < height * width:
        return False
    n_blocks = [side // part.cell - part.block + 1 for side in (height, width)]
    return min(n_blocks) > 0 and n_blocks[0] * n_blocks[1] * part.block**2 * part.orientations <= 200 * height * width


def _has_layer(part: FeatureExtractor, fitted: dict) -> bool:
    _, network = classifier_of(fitted["estimator_"], "estimator")
    return network.initialized_ and bool(layers_by_name(network.module_.network, [fitted["_layer"]], "layer"))


def _pack_neighbors(part: KNeighborsClassifier) -> dict:
    if part.outputs_2d_ or not isinstance(part._fit_X, np.ndarray):
        raise ValueError("KNeighborsClassifier can be saved for dense X and one label per image.")
    return {**vars(part), "X": part._fit_X, "codes": part._y}


def _fit_neighbors(part: KNeighborsClassifier, fitted: dict) -> None:
    """Rebuild its search tree, which takes as long as in the fit."""
    part.fit(fitted["X"], fitted["classes_"][fitted["codes"]])
    vars(part).update({name: fitted[name] for name in ("feature_names_in_",) if name in fitted})


def _name_members(part: Any) -> None:
    names = [name for name, member in part.estimators if not isinstance(member, str)]
    part.named_estimators_ = Bunch(**dict(zip(names, part.estimators_, strict=True)))


def _complete_voting(part: ensemble.VotingClassifier) -> None:
    _name_members(part)
    part.le_ = LabelEncoder().fit(part.classes_)


def _complete_stacking(part: ensemble.StackingClassifier) -> None:
    _name_members(part)
    part._label_encoder = LabelEncoder().fit(part.classes_)


def _complete_search(part: Any) -> None:
    scoring = part.scoring
    if isinstance(scoring, (list, tuple)):
        scoring = dict(zip(scoring, scoring, strict=True))
    part.scorer_ = {name: get_scorer(score) for name, score in scoring.items()} if isinstance(scoring, dict) else \
        check_scoring(part.estimator, scoring)


def _pack_threshold(part: model_selection.TunedThresholdClassifierCV) -> dict:
    """Its attributes. A scorer is not saved, without which the second class is the positive one."""
    positive = part._curve_scorer._get_pos_label()
    if not isinstance(part.scoring, str) and positive not in (None, part.classes_[1]):
        raise ValueError(
            "scoring of TunedThresholdClassifierCV cannot be saved: predictions depend on its scorer's "
            f"pos_label={positive!r}, which is not the second of the labels {part.classes_.tolist()}. Save "
            "FixedThresholdClassifier(FrozenEstimator(model.estimator_), threshold=model.best_threshold_, "
            f"pos_label={positive!r}).fit(X, y), which predicts the same.")
    return vars(part)


def _complete_threshold(part: model_selection.TunedThresholdClassifierCV) -> None:
    part._curve_scorer = part._get_curve_scorer()


def _search(kind: type, **more: Any) -> Form:
    return Form(kind, searched, {**search_optional, **more}, unsaved=search_unsaved, complete=_complete_search)


members = {"estimators_": many(classifier, "members"), **classes}
OF_SKLEARN = [
    # Transformers
    Form(StandardScaler, {"n_features_in_": n_features},
         {"mean_": either(one_of(None), floats("p")), "var_": either(one_of(None), floats("p", low=0)),
          "scale_": either(one_of(None), floats("p")),
          "n_samples_seen_": either(number(0), array("iuf", "p", low=0))}),
    Form(MinMaxScaler, {"scale_": floats("p"), "min_": floats("p"), "data_min_": floats("p"), "data_max_": floats("p"),
                        "data_range_": floats("p")}, {"n_samples_seen_": number(0)}),
    Form(PCA, {"components_": floats("c", "p"), "mean_": floats("p"), "explained_variance_": floats("c"),
               "explained_variance_ratio_": floats("c"), "singular_values_": floats("c"), "noise_variance_": number(0),
               "n_components_": integer(0, letter="c")}, {"n_samples_": integer(1)}),
    Form(FunctionTransformer, {"n_features_in_": n_features}, params={
        name: one_of(None, *FUNCTIONS.values()) for name in ("func", "inverse_func")} | {
        name: one_of(None, {}) for name in ("kw_args", "inv_kw_args")}),
    Form(LabelBinarizer, {**classes, "y_type_": one_of("binary", "multiclass"), "sparse_input_": one_of(False)}),
    # Classifiers
    Form(LogisticRegression, linear, {"n_iter_": integers("n")}, is_consistent=_rows_fit),
    Form(svm.LinearSVC, linear, {"n_iter_": integer()}, is_consistent=_rows_fit),
    Form(GaussianNB, {**classes, "theta_": floats("k", "p"), "var_": floats("k", "p"), "class_prior_": floats("k"),
                      "class_count_": floats("k"), "epsilon_": number(0)}),
    Form(svm.SVC, {**classes, "n_features_in_": n_features, "support_": integers("s"),
                   "support_vectors_": floats("s", "p"), "_n_support": integers("k"), "_dual_coef_": floats("k-1", "s"),
                   "_intercept_": floats("i"), "_probA": floats("pairs"), "_probB": floats("pairs"),
                   "_gamma": number(0), "class_weight_": floats("k"), "shape_fit_": many(integer(1), 2, tuple)},
         {"n_iter_": integers("n"), "_num_iter": integers("n")},
         params={"kernel": one_of("linear", "poly", "rbf", "sigmoid")}, is_consistent=_support_vectors_fit,
         complete=_complete_svc),
    Form(KNeighborsClassifier, {**classes, "X": array("iuf", "n", "p"), "codes": integers("n", below="k")}, params={
        "metric": METRICS, "metric_params": one_of(None), "weights": one_of("uniform", "distance", None),
        "leaf_size": integer(10)}, pack=_pack_neighbors, unpack=_fit_neighbors),
    Form(MLPClassifier, {**classes, "n_features_in_": n_features, "coefs_": many(floats("a", "b"), "l"),
                         "intercepts_": many(floats("a"), "l"), "n_layers_": integer(2), "n_outputs_": integer(1),
                         "out_activation_": one_of("softmax", "logistic")},
         {"n_iter_": integer(), "t_": integer(), "loss_": number()}, is_consistent=_layers_fit, pack=_pack_mlp,
         complete=_complete_mlp),
    *(Form(kind, trees.FIELDS, is_consistent=trees.lead_somewhere, pack=trees.pack, unpack=trees.unpack,
           cost=trees.cost) for kind in (
        DecisionTreeClassifier, ExtraTreeClassifier, ensemble.RandomForestClassifier, ensemble.ExtraTreesClassifier)),
    # Around classifiers
    Form(Pipeline, params={"steps": _pairs}, is_right=_reads_what_is_needed),
    Form(FrozenEstimator, params={"estimator": anything}),
    Form(ensemble.VotingClassifier, members, params={"estimators": _pairs}, complete=_complete_voting),
    Form(ensemble.StackingClassifier, {**members, "final_estimator_": anything,
                                       "stack_method_": many(METHODS, "members")},
         {"_n_feature_outs": many(integer(), "members")}, params={"estimators": _pairs}, unsaved={"cv": None},
         complete=_complete_stacking),
    Form(ensemble.BaggingClassifier, {**members, "n_features_in_": n_features, "estimator_": anything,
                                      "estimators_features_": many(_features, "members"),
                                      "n_classes_": integer(1, letter="k")},
         {"_max_features": integer(1), "_max_samples": integer(1), "_n_samples": integer(1), "_seeds": integers("n"),
          "oob_score_": number()}),
    Form(ensemble.AdaBoostClassifier, {**members, "estimator_weights_": floats("w"), "estimator_errors_": floats("w"),
                                       "n_classes_": integer(1, letter="k"), "estimator_": anything},
         is_consistent=lambda part, fitted: len(fitted["estimator_weights_"]) >= len(fitted["estimators_"])),
    Form(OneVsRestClassifier, {"estimators_": many(classifier, "members"), "label_binarizer_": anything},
         {"classes_": labels("k")}),
    Form(calibration.CalibratedClassifierCV, {**classes, "calibrated_classifiers_": many(
        lambda value, sizes: isinstance(value, calibration._CalibratedClassifier), "members")}, unsaved={"cv": None}),
    Form(calibration._CalibratedClassifier, params={
        "estimator": classifier, "calibrators": many(anything, "m"), "classes": labels("k"),
        "method": one_of("sigmoid", "isotonic", "temperature")}),
    Form(calibration._SigmoidCalibration, {"a_": number(), "b_": number()}),
    Form(calibration._TemperatureScaling, {"beta_": number(0)}),
    Form(IsotonicRegression, {"X_min_": number(), "X_max_": number(), "X_thresholds_": floats("n"),
                              "y_thresholds_": floats("n"), "increasing_": one_of(True, False)},
         complete=lambda part: part._build_f(part.X_thresholds_, part.y_thresholds_)),
    Form(model_selection.FixedThresholdClassifier, {"estimator_": classifier}),
    Form(model_selection.TunedThresholdClassifierCV, {"estimator_": classifier, "best_threshold_": number(),
                                                      "best_score_": number()}, {"cv_results_": mapping},
         unsaved={"cv": None, "scoring": "balanced_accuracy"}, pack=_pack_threshold, complete=_complete_threshold),
    _search(model_selection.GridSearchCV), _search(model_selection.RandomizedSearchCV),
    _search(halving.HalvingGridSearchCV, **halved), _search(halving.HalvingRandomSearchCV, **halved),
    *map(Form, (splits.KFold, splits.StratifiedKFold, splits.ShuffleSplit, splits.StratifiedShuffleSplit,
                splits.RepeatedKFold, splits.RepeatedStratifiedKFold)),
]
per_channel = either(floats(1), floats("channels", 1, 1))
OWN = [
    *(Form(kind, {"shift_": per_channel, "scale_": per_channel, "_image_shape": many(integer(1), "sides", tuple)})
      for kind in (ImageScaler, ImageStandardizer)),
    Form(HOGTransformer, {"image_shape_": many(integer(1), 3, tuple)}, is_consistent=_histograms_fit),
    Form(FeatureExtractor, {"estimator_": anything, "_layer": lambda value, sizes: isinstance(value, str),
                            "_part": one_of(0, 1), "_n_features_out": integer(1)},
         params={"estimator": anything}, is_consistent=_has_layer),
    Form(DeepEnsembleClassifier, {"estimators_": many(classifier, "members")},
         {"trained_together_": one_of(True, False)}),
    *map(Form, (ImageReader, PhotoToFashion)),
    *(Form(kind, {"n_features_in_": n_features} if issubclass(kind, augmentation.RandomTransformer) else {})
      for kind in (getattr(augmentation, name) for name in augmentation.__all__) if isinstance(kind, type)),
    *(Form(kind) for kind in vars(schedules).values()
      if isinstance(kind, type) and issubclass(kind, schedules.Schedule)),
    *(Form(kind) for kind in losses.LOSSES.values() if issubclass(kind, losses.Loss)),
]
FORMS = {form.kind.__name__: form for form in (*OF_SKLEARN, *OWN)}
