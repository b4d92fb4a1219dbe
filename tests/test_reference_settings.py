"""What the reports say, written down once more: every figure, and every setting with which it was reached."""
import math

import pytest
from torch import nn

from fmnist_sk import (
    AugmentedCopies,
    ConvNetClassifier,
    Exponential,
    InceptionClassifier,
    InceptionResNetClassifier,
    InceptionV3Classifier,
    MLPMixerClassifier,
    MultiStep,
    Preset,
    RandomCrop,
    RandomHorizontalFlip,
    ReduceOnPlateau,
    ResNetClassifier,
    SigmoidLoss,
    SoftmaxOfSigmoid,
    reference_system,
    reference_systems,
)
from fmnist_sk.datasets import CLASS_NAMES
from fmnist_sk.reference import OUR_RECIPE

CELLS = "softmax", "softmax, augmented", "sigmoid", "sigmoid, augmented"
VALIDATION = "validation", "validation, T-shirt/top", "validation, Trouser", "validation, Shirt"
FINAL = "focal loss, all training images"
FIGURES = {
    "simple_cnn": {"mean squared error": 91.42},
    "second_cnn": {"mean squared error": 92.2, "batch norm, parameters changed": 92.97,
                   "extended dataset, 50 epochs": 93.5, "extended dataset, normalised": 92.02},
    "second_cnn_48_96": {"extended dataset, a quarter of the learning rate after 50 epochs": 94.79},
    "cnn_1": dict(zip(CELLS, (89.16, 89.13, 84.11, 83.38), strict=True)),
    "cnn_2": {**dict(zip(CELLS, (90.25, 89.43, 85.85, 86.61), strict=True)), "softmax, augmented, tuned": 92.91},
    "cnn_3": dict(zip(CELLS, (88.50, 88.37, 81.56, 84.72), strict=True)),
    "cnn_4": dict(zip(CELLS, (86.95, 85.59, 81.20, 79.39), strict=True)),
    "cnn_5": dict(zip(CELLS, (88.23, 88.01, 85.93, 84.98), strict=True)),
    "four_layer_cnn": {"augmented": 91.35, "augmented, Shirt": 77.0, "augmented, Shirt, precision": 75.0},
    "resnet_no_max_pool": {"not augmented": 90.99},
    "inception_v3": {},
    "simple_model_1": dict(zip(VALIDATION, (92.15, 89.6, 98.5, 74.75), strict=True)),
    "simple_model_2": dict(zip(VALIDATION, (93.7, 91.0, 98.85, 81.0), strict=True)),
    "inception": dict(zip(VALIDATION, (94.5, 90.8, 99.0, 83.0), strict=True)),
    "resnet": {**dict(zip(VALIDATION, (95.0, 91.0, 99.15, 83.5), strict=True)),
               "validation, class weight 2": 94.85, "validation, focal loss": 95.05, FINAL: 94.23,
               **{f"{FINAL}, {name}": figure for name, figure in zip(
                   CLASS_NAMES, (91.0, 99.2, 93.4, 93.9, 94.1, 98.6, 78.2, 98.0, 99.5, 96.4), strict=True)}},
    "inception_resnet": dict(zip(VALIDATION, (94.8, 90.75, 99.25, 83.75), strict=True)),
    "patch_mlp": {"last epoch": 89.19, "best test epoch": 89.84},
}

ADAM = {"optimizer": "adam", "label_smoothing": 0, "keep_best": True, "ema": None, "sam_rho": 0, "tta": None}
REPORT_0 = {**ADAM, "criterion": "mse", "lr": 1e-3, "weight_decay": 0, "schedule": "constant", "batch_size": 64,
            "max_epochs": 50, "augment": None, "standardize": "min_max", "validation_fraction": 0.1, "padding": "same",
            "batch_norm": False, "dropout": 0}
REPORT_1 = {**ADAM, "criterion": "cross_entropy", "lr": 4e-3, "weight_decay": 1e-3, "decay_biases": True,
            "schedule": "constant", "batch_size": 128, "max_epochs": 10, "augment": None, "standardize": "min_max",
            "validation_fraction": 1 / 6, "padding": "valid", "rounding": "ceil", "batch_norm": True, "dropout": 0}
REPORT_2 = {**ADAM, "criterion": "cross_entropy", "weight_decay": 0, "schedule": ReduceOnPlateau(
    monitor="valid_loss", patience=2, factor=0.5), "standardize": "min_max", "validation_fraction": 0.2}
REPORT_3 = {**ADAM, "criterion": "cross_entropy", "lr": 5e-4, "weight_decay": 1e-4, "decay_biases": True,
            "schedule": Exponential(factor=0.9, every=1 / 25, per="batch"), "batch_size": 64, "max_epochs": 285,
            "augment": Preset("report_3", p=0.3), "standardize": True, "validation_fraction": 4_000 / 60_000}
PLAIN = {"padding": "valid", "batch_norm": "all", "dropout": 0}
ARCHITECTURE = "32C3-64C3-128C3-MP2-128C3-MP2-1024N-512N"
SETTINGS = {
    "simple_cnn": (ConvNetClassifier, {**REPORT_0, "architecture": "32C3-MP2-64C3-MP2-128N"}),
    "second_cnn": (ConvNetClassifier, {**REPORT_0, "architecture": "32C3-32C3-MP2-64C3-64C3-MP2-256N"}),
    "second_cnn_48_96": (ConvNetClassifier, {
        **REPORT_0, "architecture": "48C3-48C3-MP2-96C3-96C3-MP2-256N", "batch_norm": "all", "max_epochs": 100,
        "augment": AugmentedCopies(fraction=0.5), "schedule": MultiStep(milestones=(0.5,), factor=0.25)}),
    "cnn_1": (ConvNetClassifier, {**REPORT_1, "architecture": ARCHITECTURE, "batch_norm": False}),
    "cnn_2": (ConvNetClassifier, {**REPORT_1, "architecture": ARCHITECTURE}),
    "cnn_3": (ConvNetClassifier, {**REPORT_1, "architecture": ARCHITECTURE, "dropout": 0.5}),
    "cnn_4": (ConvNetClassifier, {**REPORT_1, "architecture": "32C5-MP2-64C5-MP2-128C1-MP2"}),
    "cnn_5": (ConvNetClassifier, {**REPORT_1, "architecture": "32C3-64C3-128C3-MP2-128C5-256C5-MP2-512N"}),
    "four_layer_cnn": (ConvNetClassifier, {
        **REPORT_2, "architecture": "32C3-MP2-64C3-MP2-128C3-MP2-256C3-MP2-256N", "lr": 0.01, "dropout": 0.5,
        "batch_norm": True, "norm_first": False, "augment": Preset("report_2"), "max_epochs": 50}),
    "resnet_no_max_pool": (ResNetClassifier, {
        **REPORT_2, "stem": "32C3", "n_blocks": (2, 2, 2), "pool": 1, "hidden": 0, "dropout": 0, "lr": 1e-3,
        "augment": None, "max_epochs": 10}),
    "inception_v3": (InceptionV3Classifier, {"weights": "imagenet", "resize": 150, "validation_fraction": 0.2}),
    "simple_model_1": (ConvNetClassifier, {
        **REPORT_3, **PLAIN, "architecture": "8C3-16C3-MP3/2-32C3-MP3/2-32C3same-128N"}),
    "simple_model_2": (ConvNetClassifier, {**REPORT_3, **PLAIN, "architecture": "16C7-32C7-64C7-64C5-128C3-128N"}),
    "inception": (InceptionClassifier, REPORT_3),
    "resnet": (ResNetClassifier, {
        **REPORT_3, "stem": "16C3valid-32C3valid", "width": 64, "n_blocks": (3, 3), "block": "bottleneck",
        "expansion": 1, "downsample": "pool", "hidden": 128, "dropout": 0, "bias": True}),
    "inception_resnet": (InceptionResNetClassifier, REPORT_3),
    "patch_mlp": (MLPMixerClassifier, {
        **ADAM, "criterion": "cross_entropy", "lr": 1e-3, "weight_decay": 5e-4, "decay_biases": True,
        "schedule": MultiStep(milestones=(23 / 40,), factor=0.1), "batch_size": 256, "max_epochs": 40,
        "standardize": "min_max", "validation_fraction": 1_000, "keep_best": False, "block": "plain", "n_blocks": 2,
        "patch_hidden": 128, "feature_hidden": 128, "augment": None}),
}

SIGMOID, AUGMENTED = {"criterion": "sigmoid", "criterion__over_classes": "mean"}, {"augment": Preset("report_1")}
OF_REPORT_1 = {"softmax": {}, "softmax, augmented": AUGMENTED, "sigmoid": SIGMOID,
               "sigmoid, augmented": {**SIGMOID, **AUGMENTED}, "sigmoid, summed": {"criterion": "sigmoid"},
               "cross-entropy of sigmoids": {"criterion": "softmax_of_sigmoid"}}
OF_REPORT_3 = {**{setting: {} for setting in (*VALIDATION, "validation, p = 0.3")},
               "validation, p = 0.0": {"augment": Preset("report_3", p=0.0)},
               "validation, p = 0.05": {"augment": Preset("report_3", p=0.05)},
               "validation, p = 0.5": {"augment": Preset("report_3", p=0.5), "weight_decay": 2e-4}}
EXTENDED = {"batch_norm": "all", "augment": AugmentedCopies(fraction=0.5)}
FINAL_CHANGES = {"criterion": "focal", "validation_fraction": None, "max_epochs": 267}
CHANGES = {         # what each setting changes
    "simple_cnn": {"mean squared error": {}},
    "second_cnn": {"mean squared error": {}, "batch norm, parameters changed": {"batch_norm": "all"},
                   "batch norm of the convolutions": {"batch_norm": True},
                   "batch norm, cross-entropy": {"batch_norm": "all", "criterion": "cross_entropy"},
                   "extended dataset, 50 epochs": EXTENDED,
                   "extended dataset, normalised": {**EXTENDED, "standardize": True}},
    "second_cnn_48_96": {"extended dataset, a quarter of the learning rate after 50 epochs": {},
                         "batch norm of the convolutions": {"batch_norm": True}},
    **dict.fromkeys(("cnn_1", "cnn_3", "cnn_5"), OF_REPORT_1),
    "cnn_4": {**OF_REPORT_1, **{f"softmax, augmented, padding {n}": {
        "augment": [RandomCrop(padding=n), RandomHorizontalFlip()]} for n in (2, 4)}},
    "cnn_2": {**OF_REPORT_1, "softmax, augmented, tuned": {
        **AUGMENTED, "lr": 3.593e-4, "weight_decay": 3.593e-4, "batch_size": 64}},
    "four_layer_cnn": {"augmented": {}, "augmented, Shirt": {}, "augmented, Shirt, precision": {}},
    "resnet_no_max_pool": {"not augmented": {}, "augmented": {"augment": Preset("report_2")}},
    "inception_v3": {},
    **dict.fromkeys(("simple_model_1", "simple_model_2", "inception", "inception_resnet"), OF_REPORT_3),
    "resnet": {**OF_REPORT_3, "validation, class weight 2": {"class_weight": dict.fromkeys((0, 2, 4, 6), 2.0)},
               "validation, focal loss": {"criterion": "focal"}, FINAL: FINAL_CHANGES,
               **{f"{FINAL}, {name}": FINAL_CHANGES for name in CLASS_NAMES}},
    "patch_mlp": {"last epoch": {}, "best test epoch": {}, "SGD": {"optimizer": "sgd", "lr": 0.01},
                  "ASGD": {"optimizer": "asgd", "lr": 0.1}, "constant learning rate": {"schedule": "constant"},
                  "pixels standardised": {"standardize": True},
                  "all training images, float32": {"validation_fraction": None, "precision": "fp32"}},
}


def texts(params):
    """Parameters that can be compared: objects by what they are made of."""
    return {name: float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else
            f"{type(value).__name__} {sorted(value.get_params().items())}" if hasattr(value, "get_params") else
            repr(value) for name, value in params.items()}


def params_of(name, setting=None):
    return texts(reference_system(name, setting).get_params())


def test_figures_are_those_of_the_reports():
    assert {name: system.reported for name, system in reference_systems().items()} == FIGURES


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_those_of_the_reports(name):
    kind, expected = SETTINGS[name]
    assert reference_systems()[name].classifier is kind
    found = params_of(name)
    assert {parameter: found[parameter] for parameter in expected} == texts(expected)


@pytest.mark.parametrize("name", SETTINGS)
def test_each_setting_changes_what_the_report_changed(name):
    settings = reference_systems()[name].settings
    assert list(FIGURES[name]) == [setting for setting in settings if setting in FIGURES[name]]
    assert settings.keys() - {OUR_RECIPE} == CHANGES[name].keys()
    plain = params_of(name)
    for setting, changes in CHANGES[name].items():
        changed = {parameter: value for parameter, value in params_of(name, setting).items()
                   if plain.get(parameter) != value and not parameter.startswith(("augment__", "schedule__"))}
        assert changed == texts(changes), setting
        reference_system(name, setting)._validate_params()


@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "inception_v3"])
def test_our_recipe_is_the_common_one_but_for_what_suits_the_network(name):
    ours = reference_system(name, OUR_RECIPE)
    ours._validate_params()
    assert (ours.standardize, ours.decay_biases, ours.validation_fraction) == (True, False, None)


def test_losses_are_those_of_the_readings():
    losses = {setting: reference_system("cnn_4", setting).initialize().criterion_ for setting in OF_REPORT_1}
    assert [type(loss) for loss in losses.values()][2:] == [SigmoidLoss] * 3 + [SoftmaxOfSigmoid]
    assert [losses[setting].over_classes for setting in ("sigmoid", "sigmoid, augmented", "sigmoid, summed")] == [
        "mean", "mean", "sum"]


def test_networks_of_report_3_take_250_000_steps():
    fits = [(reference_system("resnet", FINAL), 60_000)]
    fits += [(reference_system(name), 56_000) for name, system in reference_systems().items()
             if system.source == "report 3"]
    assert len(fits) == 6
    for network, n_images in fits:
        assert math.ceil(n_images / network.batch_size) * network.max_epochs == pytest.approx(250_000, rel=0.003)


def test_dense_layers_are_those_of_report_2():
    four_layers = reference_system("four_layer_cnn").initialize().module_.network.head
    assert [(layer.in_features, layer.out_features) for layer in four_layers if isinstance(layer, nn.Linear)] == [
        (256, 256), (256, 10)]


def test_a_parameter_overrides_a_setting_with_all_that_belonged_to_it():
    assert reference_system("cnn_3", "sigmoid, augmented", max_epochs=3).max_epochs == 3
    for name, setting in (("resnet", None), ("four_layer_cnn", None), ("cnn_4", "softmax, augmented")):
        assert reference_system(name, setting).set_params(augment__p=0.1).augment.p == 0.1
    again = reference_system("cnn_4", "sigmoid", criterion="sigmoid")           # the same part keeps its settings
    assert again.criterion__over_classes == "mean"
    for changes in ({"criterion": "cross_entropy"}, {"criterion": "focal", "criterion__gamma": 1.0}):
        changed = reference_system("cnn_4", "sigmoid", **changes)
        params = changed.get_params()
        assert {name: params[name] for name in changes} == changes
        assert "criterion__over_classes" not in params
        changed.initialize()
    summed = reference_system("cnn_4", "sigmoid", criterion__over_classes="sum").initialize()
    assert summed.criterion_.over_classes == "sum"


@pytest.mark.parametrize("setting", ["tanh", ["softmax"], 3, {}])
def test_an_unknown_setting_lists_the_known_ones(setting):
    with pytest.raises(ValueError, match=r"setting must be None or one of \['softmax', .* got setting="):
        reference_system("cnn_1", setting)
    with pytest.raises(ValueError, match="setting must be None, the only training planned, for 'inception_v3', got"):
        reference_system("inception_v3", setting)
