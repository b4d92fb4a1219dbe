"""The systems of five published reports on Fashion-MNIST, as configured estimators.

Report 0 compares two small networks on plain and on doubled data, with the mean squared error of one-hot targets and
with cross-entropy. Its figure of the architectures is lost; the numbers of maps and units are our reading. Report 1
compares five networks with softmax and sigmoid outputs. Report 2 is a set of notebooks; its filters and its residual
network's sizes are our reading, and its transfer learning was planned but never run. Report 3 compares five networks,
augmentations and losses; branch widths of its two Inception networks are our reading, and its simple_model_1 is said
to have 114,000 parameters, where the layers it lists have 82,090. Report 4 is one network of dense layers on patches,
whose activations are our reading.

The estimators have a report's network, optimizer, learning rate, weight decay, batch size, validation share and number
of epochs where it states them; where it does not say how long it trains, the number of epochs is the estimator's
default. Its learning-rate schedule, augmentation, doubled data and losses other than cross-entropy are not set, and
all standardise pixels (`standardize=True`), where reports 0 to 2 partly train on pixels from 0 to 1.
"""
from __future__ import annotations

from typing import NamedTuple

from fmnist_sk.classifier import ImageClassifier
from fmnist_sk.networks import (
    ConvNetClassifier,
    InceptionClassifier,
    InceptionResNetClassifier,
    InceptionV3Classifier,
    MLPMixerClassifier,
    ResNetClassifier,
)


class ReferenceSystem(NamedTuple):
    """A published system: its estimator's class and parameters, where it comes from, and what it reports.

    reported holds accuracies in percent by what they were measured on and with: on the 10,000 test images unless the
    key begins with "validation".
    """

    classifier: type[ImageClassifier]
    params: dict
    source: str
    reported: dict[str, float]


_ADAM = {"optimizer": "adam", "weight_decay": 0.0, "schedule": "constant", "label_smoothing": 0.0, "augment": None}
_REPORT_0 = {**_ADAM, "lr": 1e-3, "batch_size": 64, "batch_norm": False, "padding": "same",
             "validation_fraction": 0.1}
_REPORT_1 = {**_ADAM, "lr": 4e-3, "weight_decay": 1e-3, "batch_size": 128, "max_epochs": 10, "padding": "valid",
             "rounding": "ceil", "validation_fraction": 1 / 6}
_REPORT_3 = {**_ADAM, "lr": 5e-4, "batch_size": 64, "validation_fraction": 1 / 15}
_CNN_1 = "32C3-64C3-128C3-MP2-128C3-MP2-1024N-512N"


def _of_report_1(architecture: str, figures: tuple[float, ...], **params) -> ReferenceSystem:
    settings = "softmax", "softmax, augmented", "sigmoid", "sigmoid, augmented"
    return ReferenceSystem(ConvNetClassifier, {**_REPORT_1, "architecture": architecture, **params}, "report 1",
                           dict(zip(settings, figures, strict=True)))


def _of_report_3(classifier: type[ImageClassifier], validation: tuple[float, ...], **params) -> ReferenceSystem:
    settings = "validation", "validation, T-shirt", "validation, trouser", "validation, shirt"
    return ReferenceSystem(classifier, {**_REPORT_3, **params}, "report 3",
                           dict(zip(settings, validation, strict=True)))


_SYSTEMS = {
    "simple_cnn": ReferenceSystem(
        ConvNetClassifier, {**_REPORT_0, "architecture": "32C3-MP2-64C3-MP2-128N"}, "report 0",
        {"cross-entropy": 91.42}),
    "second_cnn": ReferenceSystem(
        ConvNetClassifier, {**_REPORT_0, "architecture": "32C3-32C3-MP2-64C3-64C3-MP2-256N"}, "report 0",
        {"as it is": 92.2, "batch norm, tuned": 92.97, "doubled data, 50 epochs": 93.5,
         "doubled data, not standardised": 92.02}),
    "second_cnn_48_96": ReferenceSystem(
        ConvNetClassifier, {**_REPORT_0, "architecture": "48C3-48C3-MP2-96C3-96C3-MP2-256N", "max_epochs": 100},
        "report 0", {"doubled data, a quarter of the learning rate after 50 epochs": 94.79}),
    "cnn_1": _of_report_1(_CNN_1, (89.16, 89.13, 84.11, 83.38), batch_norm=False),
    "cnn_2": _of_report_1(_CNN_1, (90.25, 89.43, 85.85, 86.61)),
    "cnn_3": _of_report_1(_CNN_1, (88.50, 88.37, 81.56, 84.72), dropout=0.5),
    "cnn_4": _of_report_1("32C5-MP2-64C5-MP2-128C1-MP2", (86.95, 85.59, 81.20, 79.39)),
    "cnn_5": _of_report_1("32C3-64C3-128C3-MP2-128C5-256C5-MP2-512N", (88.23, 88.01, 85.93, 84.98)),
    "four_layer_cnn": ReferenceSystem(
        ConvNetClassifier, {**_ADAM, "lr": 0.01, "architecture": "32C3-MP2-64C3-MP2-128C3-MP2-256C3-MP2-256N",
                            "dropout": 0.5, "validation_fraction": 0.2}, "report 2", {"augmented": 91.35}),
    "resnet_no_max_pool": ReferenceSystem(
        ResNetClassifier, {**_ADAM, "lr": 1e-3, "stem": "32C3", "n_blocks": (2, 2, 2), "pool": 1, "hidden": 0,
                           "dropout": 0.0, "max_epochs": 10, "validation_fraction": 0.2}, "report 2",
        {"not augmented": 90.99}),
    "inception_v3": ReferenceSystem(
        InceptionV3Classifier, {"weights": "imagenet", "resize": 150, "validation_fraction": 0.2}, "report 2", {}),
    "simple_model_1": _of_report_3(
        ConvNetClassifier, (92.15, 89.6, 98.5, 74.75), padding="valid",
        architecture="8C3-16C3-MP3/2-32C3-MP3/2-32C3same-128N"),
    "simple_model_2": _of_report_3(
        ConvNetClassifier, (93.7, 91.0, 98.85, 81.0), padding="valid", architecture="16C7-32C7-64C7-64C5-128C3-128N"),
    "inception": _of_report_3(InceptionClassifier, (94.5, 90.8, 99.0, 83.0)),
    "resnet": _of_report_3(
        ResNetClassifier, (95.0, 91.0, 99.15, 83.5), stem="16C3valid-32C3valid", width=64, n_blocks=(3, 3),
        block="bottleneck", expansion=1, downsample="pool", hidden=128, dropout=0.0, bias=True),
    "inception_resnet": _of_report_3(InceptionResNetClassifier, (94.8, 90.75, 99.25, 83.75)),
    "patch_mlp": ReferenceSystem(
        MLPMixerClassifier, {**_ADAM, "lr": 1e-3, "weight_decay": 5e-4, "batch_size": 256, "max_epochs": 40,
                             "block": "plain", "n_blocks": 2, "patch_hidden": 128, "feature_hidden": 128},
        "report 4", {"last epoch": 89.19, "best test epoch": 89.84}),
}
_SYSTEMS["resnet"].reported.update({
    "validation, class weight 2": 94.85, "validation, focal loss": 95.05, "focal loss, all training images": 94.23})
_SYSTEMS["cnn_2"].reported["softmax, augmented, tuned"] = 92.91


def reference_systems() -> dict[str, ReferenceSystem]:
    """All published systems by name."""
    return {name: system._replace(params=dict(system.params), reported=dict(system.reported))
            for name, system in _SYSTEMS.items()}


def reference_system(name: str, **params) -> ImageClassifier:
    """A published system as an estimator; `params` override its settings.

    Raises ValueError for an unknown name.

    >>> from fmnist_sk import reference_system
    >>> reference_system("simple_cnn", random_state=0).architecture
    '32C3-MP2-64C3-MP2-128N'
    """
    if not isinstance(name, str) or name not in _SYSTEMS:
        raise ValueError(f"name must be one of {sorted(_SYSTEMS)}, got name={name!r}.")
    system = _SYSTEMS[name]
    return system.classifier(**{**system.params, **params})
