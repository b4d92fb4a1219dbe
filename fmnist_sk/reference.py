"""The systems of published reports on Fashion-MNIST, as configured estimators.

Report 0 is a student report that compares two small networks: "SimpleCNN" (two rounds of convolution and pooling,
then dense) and "SecondCNN" (two convolutions a round). Its figure of the architectures is lost; the numbers of maps
and units are our reading. It trains on the mean squared error of one-hot targets and on cross-entropy, and finds no
difference; here it is cross-entropy.
"""
from __future__ import annotations

from typing import NamedTuple

from fmnist_sk.classifier import ImageClassifier
from fmnist_sk.networks import ConvNetClassifier


class ReferenceSystem(NamedTuple):
    """A published system: its estimator's class and parameters, where it comes from, and the accuracy it reports.

    reported_accuracy is in percent, on the 10,000 test images.
    """

    classifier: type[ImageClassifier]
    params: dict
    source: str
    reported_accuracy: float


# Weights of the best epoch on a tenth of the training images, as the report does it.
_REPORT_0 = {"optimizer": "adam", "lr": 1e-3, "weight_decay": 0.0, "batch_size": 64, "batch_norm": False,
             "padding": "same", "validation_fraction": 0.1, "keep_best": True}

_SYSTEMS = {
    "simple_cnn": ReferenceSystem(
        ConvNetClassifier, {**_REPORT_0, "architecture": "32C3-MP2-64C3-MP2-128N"}, "report 0", 91.42),
    "second_cnn": ReferenceSystem(
        ConvNetClassifier, {**_REPORT_0, "architecture": "32C3-32C3-MP2-64C3-64C3-MP2-256N"}, "report 0", 92.2),
}


def reference_systems() -> dict[str, ReferenceSystem]:
    """All published systems by name."""
    return {name: system._replace(params=dict(system.params)) for name, system in _SYSTEMS.items()}


def reference_system(name: str, **params) -> ImageClassifier:
    """A published system as an estimator; `params` override its settings.

    Raises ValueError for an unknown name.

    >>> from fmnist_sk import reference_system
    >>> reference_system("simple_cnn", random_state=0).architecture
    '32C3-MP2-64C3-MP2-128N'
    """
    if name not in _SYSTEMS:
        raise ValueError(f"name must be one of {sorted(_SYSTEMS)}, got name={name!r}.")
    system = _SYSTEMS[name]
    return system.classifier(**{**system.params, **params})
