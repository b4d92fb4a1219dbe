"""The systems of five published reports on Fashion-MNIST, as configured estimators.

Report 0 compares two small networks on plain and on extended data, with the mean squared error of one-hot targets and
with cross-entropy. Report 1 compares five networks with softmax and sigmoid outputs. Report 2 is a set of notebooks: a
network of four convolutions, a residual network, and transfer learning that was planned but never run. Report 3
compares five networks, augmentations and losses. Report 4 is one network of dense layers on patches.

The estimators do what a report states of its network, loss, optimizer, learning rate and its schedule, weight decay,
augmentation, batch size, validation share, number of epochs and range of pixels. What it leaves open is our choice.
Where it does not say how long it trains, the best of 50 validated epochs counts, report 0's number for its extended
data. Each variant that a report tried has a name, a *setting*: ``reference_system("cnn_2", "sigmoid, augmented")``. For
most settings the report prints a figure, for some it does not. The setting "our recipe" is the same architecture
trained as well as we can; report 0's has batch normalisation of all layers but the last, which that report adds for its
second figure of second_cnn. That of simple_model_2 first trains a larger network, from which it learns.

Our choices and readings where a report leaves something open:

- report 0: its figure of the architectures is lost. Maps and units, the optimizer (Adam), batch size, validation share
  and the learning rate of all but its longest training are ours. It does not say which "parameters changed" besides
  batch normalisation, so none do here, nor which layers are normalised: here all but the last; "batch norm of the
  convolutions" is another reading, with which its largest network learns less.
- report 1: images are cropped after padding by one pixel, which costs cnn_4 about as much accuracy as the report lost.
  So do two pixels; four cost more ("softmax, augmented, padding 2" and "padding 4"). Its L2 penalty is that of
  PyTorch's Adam, on all parameters. Its "sigmoid" is the mean of the classes' binary cross-entropies; "sigmoid, summed"
  and "cross-entropy of sigmoids" are other readings.
- report 2: filters, the dense layer of 256 units, the residual network's sizes and learning rate, the strength of
  augmentation, batch sizes, and the factor and patience of "reduce on plateau", which here lowers the residual
  network's rate too. Where sizes change, that network's shortcuts take the mean of 2 x 2 pixels before they are
  projected. Of inception_v3, planned but never run, all numbers but the size of the images are ours.
- report 3: branch widths of its two Inception networks, the focal loss's gamma, its weight decay of 1e-4 (2e-4 with p =
  0.5), on all parameters, the scaling of pixels to mean 0 and deviation 1, and the strengths of noise, brightness and
  erasing. All its networks are trained for the 250,000 steps that it states for its final one; the learning rate goes
  through 25 values within the epochs run. Its validation figures are compared with those of the best epoch, which are
  slightly too high. Its simple_model_1 is said to have 114,000 parameters, but the layers it lists have 82,090 without
  batch normalisation.
- report 4: activations, biases that begin at zero, which of the printed layers stands where, and the learning rates of
  SGD (with Nesterov's momentum of 0.9) and ASGD. Its learning rate falls after epoch 23, as PyTorch's ReduceLROnPlateau
  with patience 20 does if it is given accuracies where it expects losses and the second epoch's is the lowest;
  "constant learning rate" and "pixels standardised" are other readings. 1,000 training images are held out to monitor
  training, so it learns from 59,000, in the fastest arithmetic of the hardware; "all training images, float32" tells
  what these two change. Its "best test epoch" is chosen by the test images, which is not done here.
"""
from __future__ import annotations

import copy
from typing import Any, NamedTuple

from fmnist_sk.augmentation import AugmentedCopies, CutMix, Preset, RandomCrop, RandomHorizontalFlip
from fmnist_sk.classifier import ImageClassifier
from fmnist_sk.datasets import CLASS_NAMES
from fmnist_sk.networks import (
    ConvNetClassifier,
    InceptionClassifier,
    InceptionResNetClassifier,
    InceptionV3Classifier,
    MLPMixerClassifier,
    ResNetClassifier,
)
from fmnist_sk.recipes import recipe
from fmnist_sk.schedules import Exponential, MultiStep, ReduceOnPlateau

SHIRTLIKE_CLASSES = 0, 2, 4, 6      # T-shirt, pullover, coat, shirt: report 3 tried doubling their weight


class ReferenceSystem(NamedTuple):
    """A published system: its estimator's class and parameters, where it comes from, and what it reports.

    reported maps settings to accuracies in percent: on the 10,000 test images unless the setting's name begins with
    "validation", and of one class if it ends in the class's name; or to the class's precision if "precision" follows.
    settings maps every setting, including those without a figure, to its changes of `params`.
    """

    classifier: type[ImageClassifier]
    params: dict
    source: str
    reported: dict[str, float]
    settings: dict[str, dict]


def _system(classifier: type[ImageClassifier], source: str, figures: dict[str, tuple[float | None, dict] | float],
            params: dict) -> ReferenceSystem:
    """figures: setting -> accuracy, or accuracy (None if none was printed) and what the setting changes."""
    pairs = {name: figure if isinstance(figure, tuple) else (figure, {}) for name, figure in figures.items()}
    return ReferenceSystem(classifier, params, source,
                           {name: figure for name, (figure, _) in pairs.items() if figure is not None},
                           {name: changes for name, (_, changes) in pairs.items()})


# Defaults where a report says nothing else, or nothing at all.
_REPORTED = {"optimizer": "adam", "weight_decay": 0.0, "schedule": "constant", "label_smoothing": 0.0, "augment": None,
             "max_epochs": 50}
_UNIT_RANGE = {"standardize": "min_max"}
_REPORT_0 = {**_REPORTED, **_UNIT_RANGE, "criterion": "mse", "lr": 1e-3, "batch_size": 64, "batch_norm": False,
             "padding": "same", "validation_fraction": 0.1}
_REPORT_1 = {**_REPORTED, **_UNIT_RANGE, "lr": 4e-3, "weight_decay": 1e-3, "decay_biases": True, "batch_size": 128,
             "max_epochs": 10, "padding": "valid", "rounding": "ceil", "validation_fraction": 1 / 6}
_REPORT_2 = {**_REPORTED, **_UNIT_RANGE, "validation_fraction": 0.2,
             "schedule": ReduceOnPlateau(patience=2, factor=0.5)}
_REPORT_3 = {**_REPORTED, "lr": 5e-4, "weight_decay": 1e-4, "decay_biases": True, "batch_size": 64,
             "validation_fraction": 1 / 15, "augment": Preset("report_3", p=0.3), "max_epochs": 285,    # 250,000 steps
             "schedule": Exponential(factor=0.9, every=1 / 25, per="batch")}
_AUGMENTED = {"augment": Preset("report_1")}
_SIGMOID = {"criterion": "sigmoid", "criterion__over_classes": "mean"}
_CNN_1 = "32C3-64C3-128C3-MP2-128C3-MP2-1024N-512N"
_EXTENDED = {"augment": AugmentedCopies(fraction=0.5)}
_BATCH_NORM = {"batch_norm": "all"}
_OF_CONVOLUTIONS = {"batch norm of the convolutions": (None, {"batch_norm": True})}


def _of_report_1(architecture: str, figures: tuple[float, ...], more: dict | None = None, **params: Any
                 ) -> ReferenceSystem:
    settings: dict[str, dict] = {"softmax": {}, "softmax, augmented": _AUGMENTED, "sigmoid": _SIGMOID,
                                 "sigmoid, augmented": {**_SIGMOID, **_AUGMENTED}}
    pairs = {name: (figure, changes) for (name, changes), figure in zip(settings.items(), figures, strict=True)}
    readings = {"sigmoid, summed": (None, {"criterion": "sigmoid"}),
                "cross-entropy of sigmoids": (None, {"criterion": "softmax_of_sigmoid"})}
    return _system(ConvNetClassifier, "report 1", {**pairs, **readings, **(more or {})},
                   {**_REPORT_1, "architecture": architecture, **params})


def _of_report_3(classifier: type[ImageClassifier], validation: tuple[float, ...], more: dict | None = None,
                 **params: Any) -> ReferenceSystem:
    names = "validation", *(f"validation, {CLASS_NAMES[code]}" for code in (0, 1, 6))
    changes: dict[str, dict] = {
        "0.0": {"augment": Preset("report_3", p=0.0)}, "0.05": {"augment": Preset("report_3", p=0.05)},
        "0.3": {}, "0.5": {"augment": Preset("report_3", p=0.5), "weight_decay": 2e-4}}
    probabilities = {f"validation, p = {p}": (None, changed) for p, changed in changes.items()}
    return _system(classifier, "report 3", {**dict(zip(names, validation, strict=True)), **(more or {}),
                                            **probabilities}, {**_REPORT_3, **params})


def _of_each_class(setting: str, figures: tuple[float, ...], changes: dict) -> dict[str, tuple[float, dict]]:
    """A setting's accuracy on each class, in the order of the labels."""
    return {f"{setting}, {name}": (figure, changes) for name, figure in zip(CLASS_NAMES, figures, strict=True)}


_FINAL = {"criterion": "focal", "validation_fraction": None, "max_epochs": 267}         # 250,000 steps
_SYSTEMS = {
    "simple_cnn": _system(
        ConvNetClassifier, "report 0", {"mean squared error": 91.42},
        {**_REPORT_0, "architecture": "32C3-MP2-64C3-MP2-128N"}),
    "second_cnn": _system(
        ConvNetClassifier, "report 0",
        {"mean squared error": 92.2, "batch norm, parameters changed": (92.97, _BATCH_NORM),
         **_OF_CONVOLUTIONS, "batch norm, cross-entropy": (None, {**_BATCH_NORM, "criterion": "cross_entropy"}),
         "extended dataset, 50 epochs": (93.5, {**_BATCH_NORM, **_EXTENDED}),
         "extended dataset, normalised": (92.02, {**_BATCH_NORM, **_EXTENDED, "standardize": True})},
        {**_REPORT_0, "architecture": "32C3-32C3-MP2-64C3-64C3-MP2-256N"}),
    "second_cnn_48_96": _system(
        ConvNetClassifier, "report 0",
        {"extended dataset, a quarter of the learning rate after 50 epochs": 94.79, **_OF_CONVOLUTIONS},
        {**_REPORT_0, **_BATCH_NORM, **_EXTENDED, "architecture": "48C3-48C3-MP2-96C3-96C3-MP2-256N",
         "max_epochs": 100, "schedule": MultiStep(milestones=(0.5,), factor=0.25)}),
    "cnn_1": _of_report_1(_CNN_1, (89.16, 89.13, 84.11, 83.38), batch_norm=False),
    "cnn_2": _of_report_1(_CNN_1, (90.25, 89.43, 85.85, 86.61), {"softmax, augmented, tuned": (
        92.91, {**_AUGMENTED, "lr": 3.593e-4, "weight_decay": 3.593e-4, "batch_size": 64})}),
    "cnn_3": _of_report_1(_CNN_1, (88.50, 88.37, 81.56, 84.72), dropout=0.5),
    "cnn_4": _of_report_1("32C5-MP2-64C5-MP2-128C1-MP2", (86.95, 85.59, 81.20, 79.39), {
        f"softmax, augmented, padding {n}": (None, {"augment": [RandomCrop(padding=n), RandomHorizontalFlip()]})
        for n in (2, 4)}),
    "cnn_5": _of_report_1("32C3-64C3-128C3-MP2-128C5-256C5-MP2-512N", (88.23, 88.01, 85.93, 84.98)),
    "four_layer_cnn": _system(
        ConvNetClassifier, "report 2",
        {"augmented": 91.35, "augmented, Shirt": 77.0, "augmented, Shirt, precision": 75.0},
        {**_REPORT_2, "lr": 0.01, "architecture": "32C3-MP2-64C3-MP2-128C3-MP2-256C3-MP2-256N", "dropout": 0.5,
         "norm_first": False, "augment": Preset("report_2")}),
    "resnet_no_max_pool": _system(
        ResNetClassifier, "report 2", {"not augmented": 90.99, "augmented": (None, {"augment": Preset("report_2")})},
        {**_REPORT_2, "lr": 1e-3, "stem": "32C3", "n_blocks": (2, 2, 2), "pool": 1, "hidden": 0, "dropout": 0.0,
         "max_epochs": 10}),
    "inception_v3": _system(
        InceptionV3Classifier, "report 2", {}, {"weights": "imagenet", "resize": 150, "validation_fraction": 0.2}),
    "simple_model_1": _of_report_3(
        ConvNetClassifier, (92.15, 89.6, 98.5, 74.75), padding="valid", batch_norm="all",
        architecture="8C3-16C3-MP3/2-32C3-MP3/2-32C3same-128N"),
    "simple_model_2": _of_report_3(
        ConvNetClassifier, (93.7, 91.0, 98.85, 81.0), padding="valid", batch_norm="all",
        architecture="16C7-32C7-64C7-64C5-128C3-128N"),
    "inception": _of_report_3(InceptionClassifier, (94.5, 90.8, 99.0, 83.0)),
    "resnet": _of_report_3(
        ResNetClassifier, (95.0, 91.0, 99.15, 83.5),
        {"validation, class weight 2": (94.85, {"class_weight": dict.fromkeys(SHIRTLIKE_CLASSES, 2.0)}),
         "validation, focal loss": (95.05, {"criterion": "focal"}),
         "focal loss, all training images": (94.23, _FINAL),
         **_of_each_class("focal loss, all training images",
                          (91.0, 99.2, 93.4, 93.9, 94.1, 98.6, 78.2, 98.0, 99.5, 96.4), _FINAL)},
        stem="16C3valid-32C3valid", width=64, n_blocks=(3, 3), block="bottleneck", expansion=1, downsample="pool",
        hidden=128, dropout=0.0, bias=True),
    "inception_resnet": _of_report_3(InceptionResNetClassifier, (94.8, 90.75, 99.25, 83.75)),
    "patch_mlp": _system(
        MLPMixerClassifier, "report 4",
        {"last epoch": 89.19, "best test epoch": 89.84, "SGD": (None, {"optimizer": "sgd", "lr": 0.01}),
         "ASGD": (None, {"optimizer": "asgd", "lr": 0.1}), "constant learning rate": (None, {"schedule": "constant"}),
         "pixels standardised": (None, {"standardize": True}),
         "all training images, float32": (None, {"validation_fraction": None, "precision": "fp32"})},
        {**_REPORTED, **_UNIT_RANGE, "lr": 1e-3, "weight_decay": 5e-4, "decay_biases": True, "batch_size": 256,
         "max_epochs": 40, "block": "plain", "n_blocks": 2, "patch_hidden": 128, "feature_hidden": 128,
         "validation_fraction": 1_000, "keep_best": False,
         "schedule": MultiStep(milestones=(23 / 40,), factor=0.1)}),
}

# The same architectures trained our way: a common recipe, and each system's changes to it, chosen on held-out images
# (examples/benchmarks/choose_reference_recipes.py) or, where that has not compared any yet, by hand. Epochs are limited
# to about half an hour on two CPU cores that multiply bfloat16, except of simple_model_2, resnet and inception_resnet.
OUR_RECIPE = "our recipe"
COMMON_RECIPE = {"standardize": True, "criterion": "cross_entropy", "optimizer": "sgd", "lr": 0.1, "weight_decay": 5e-4,
                 "decay_biases": False, "schedule": "one_cycle", "label_smoothing": 0.1, "augment": "fashion",
                 "batch_size": 128, "validation_fraction": None, "keep_best": True, "tta": ("mirror", "shift"),
                 "max_epochs": 18}
_ADAMW = {"optimizer": "adamw", "lr": 2e-3, "weight_decay": 0.05}
_TAUGHT = {"label_smoothing": 0.0, "teacher_weight": 0.9, "teacher": ResNetClassifier(
    **recipe("accurate", label_smoothing=0.0, max_epochs=16), random_state=0)}
_CHANGES: dict[str, dict] = {
    "simple_cnn": {"batch_norm": "all", "max_epochs": 30},
    "second_cnn": {"batch_norm": "all", "max_epochs": 30},
    "second_cnn_48_96": {"max_epochs": 30},
    "cnn_1": {**_ADAMW, "max_epochs": 14},
    "cnn_2": {**_ADAMW, "max_epochs": 14},
    "cnn_3": {"max_epochs": 14},
    "cnn_4": {"max_epochs": 30},
    "cnn_5": {**_ADAMW, "max_epochs": 12},
    "four_layer_cnn": {"max_epochs": 30},
    "resnet_no_max_pool": {"max_epochs": 10},
    "simple_model_1": {"max_epochs": 60},
    "simple_model_2": {"lr": 0.04, "augment": [RandomCrop(padding=1), RandomHorizontalFlip(), CutMix(p=0.5)], **_TAUGHT,
                       "max_epochs": 120},
    "inception": {"max_epochs": 25},
    "resnet": {},
    "inception_resnet": {},
    "patch_mlp": {"max_epochs": 40},
}
for _name, _changes in _CHANGES.items():
    _SYSTEMS[_name].settings[OUR_RECIPE] = {**COMMON_RECIPE, **_changes}


def reference_systems() -> dict[str, ReferenceSystem]:
    """All published systems by name.

    Returns
    -------
    dict of str to ReferenceSystem
        A copy: changing it does no harm.

    Examples
    --------
    >>> from fmnist_sk import reference_systems
    >>> reference_systems()["cnn_4"].reported["softmax"]
    86.95
    """
    return {name: copy.deepcopy(system) for name, system in _SYSTEMS.items()}


def reference_system(name: str, setting: str | None = None, **params: Any) -> ImageClassifier:
    """A published system as an estimator.

    Parameters
    ----------
    name : str
        One of ``reference_systems()``.
    setting : str, optional
        One of ``reference_systems()[name].settings``: a variant that the report tried, with or without a figure,
        another reading of the report, or "our recipe". Default: the first of them. Figures of one training, such as
        those of single classes, are settings with the same parameters.
    **params
        Parameters of the estimator that override those of the setting; a new part, such as ``criterion="mse"``, drops
        the settings of the old one.

    Returns
    -------
    ImageClassifier
        Not fitted yet.

    Raises
    ------
    ValueError
        For an unknown name or setting.

    Examples
    --------
    >>> from fmnist_sk import reference_system
    >>> reference_system("simple_cnn", random_state=0).architecture
    '32C3-MP2-64C3-MP2-128N'
    >>> reference_system("cnn_1", "sigmoid, augmented").criterion
    'sigmoid'
    """
    if not isinstance(name, str) or name not in _SYSTEMS:
        raise ValueError(f"name must be one of {sorted(_SYSTEMS)}, got name={name!r}.")
    system = copy.deepcopy(_SYSTEMS[name])
    if setting is not None and (not isinstance(setting, str) or setting not in system.settings):
        known = f"None or one of {list(system.settings)}" if system.settings else "None, the only training planned,"
        raise ValueError(f"setting must be {known} for {name!r}, got setting={setting!r}.")
    changes = {} if setting is None else system.settings[setting]
    return system.classifier().set_params(**without_old_parts({**system.params, **changes}, params), **params)


def without_old_parts(params: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """`params` without those that `new` replaces, directly or with their part ("criterion" for "criterion__gamma").

    A part that has the same name in both keeps its settings.
    """
    same = {name for name, value in new.items() if isinstance(value, str) and params.get(name) == value}
    return {name: value for name, value in params.items()
            if name not in new and name.partition("__")[0] not in new.keys() - same}
