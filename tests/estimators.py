"""A small, fast configuration of every estimator: what the common tests run on."""
import os
from pathlib import Path

import pytest
import torch
from sklearn.base import BaseEstimator, OneToOneFeatureMixin
from sklearn.utils import get_tags
from skorch.callbacks import Callback
from torch import nn

import fmnist_sk
from fmnist_sk.networks._inception_v3 import InceptionV3


class PatchNet(nn.Sequential):
    """A user's own module: takes two of the arguments that are offered."""

    def __init__(self, in_channels, n_classes, hidden=16):
        super().__init__(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * in_channels, hidden), nn.ReLU(),
                         nn.Dropout(0.1), nn.Linear(hidden, n_classes))


def save_narrow_inception(width, folder, size=75):
    """A checkpoint of Inception v3 that knows nothing, but whose normalisation fits small noisy images."""
    generator = torch.Generator().manual_seed(0)
    network = InceptionV3(width)
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter, generator=generator)
        else:
            nn.init.constant_(parameter, float(name.endswith("weight")))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    x = torch.cat([nn.functional.interpolate(torch.rand(24, 3, side, side, generator=generator) * 2 - 1, (size, size),
                                             mode="bilinear") for side in (2, 3, 8)])
    with torch.no_grad():
        for block in network.train().blocks():
            x = block(x)
    path = Path(folder) / f"inception_{width}.pth"
    partial = path.with_suffix(f".{os.getpid()}")
    torch.save(network.state_dict(), partial)
    partial.replace(path)                                        # other test processes may be reading it
    return str(path)


_FAST = {"lr": 0.01, "max_epochs": 20, "batch_size": 32, "random_state": 0}
_PLAIN = {**_FAST, "optimizer": "adamw", "schedule": "constant", "label_smoothing": 0.0, "weight_decay": 1e-4,
          "augment": None}
SMALL = {
    "ImageClassifier": {**_FAST, "module": PatchNet, "max_epochs": 40},
    "ConvNetClassifier": {**_FAST, "architecture": "8C3-16C3-16N", "dropout": 0.1},
    "ResNetClassifier": {**_PLAIN, "width": 8, "n_blocks": (1,), "hidden": 16},
    "WideResNetClassifier": {**_PLAIN, "depth": 10, "widen_factor": 1},
    "DenseNetClassifier": {**_PLAIN, "depth": 10, "growth": 8, "compression": 1.0},
    "InceptionClassifier": {**_PLAIN, "stem": "8C3", "widths": (8,), "n_blocks": (1,), "projection": 16, "hidden": 16,
                            "max_epochs": 30},
    "InceptionResNetClassifier": {**_PLAIN, "stem": "8C3", "widths": (8,), "n_blocks": (1,), "hidden": 16},
    "InceptionV3Classifier": {**_FAST, "weights": save_narrow_inception(0.1, os.environ["FMNIST_SK_TEST_FOLDER"]),
                              "width": 0.1, "resize": 75, "hidden": 32, "dropout": 0.1, "frozen_epochs": 59,
                              "max_epochs": 60, "fine_tune_from": "Mixed_7c", "schedule": "constant"},
    "MLPMixerClassifier": {**_PLAIN, "patch_size": 2, "width": 16, "n_blocks": 1, "patch_hidden": 16,
                           "feature_hidden": 16},
    "ImageScaler": {},
    "ImageStandardizer": {},
    "HOGTransformer": {"cell": 1, "block": 1},
    # scikit-learn asks for the same result twice
    **{name: {"p": 0} for name in ("RandomHorizontalFlip", "RandomCrop", "RandomAffine", "RandomErasing",
                                   "GaussianNoise", "RandomBrightness", "MixUp", "CutMix")},
    "AugmentedCopies": {},
    "ImageReader": {},
    "PhotoToFashion": {},
}
SMALL["DeepEnsembleClassifier"] = {"estimator": fmnist_sk.ConvNetClassifier(**SMALL["ConvNetClassifier"]),
                                   "n_members": 2, "together": True, "random_state": 0}
SMALL["FeatureExtractor"] = {"estimator": fmnist_sk.ConvNetClassifier(**SMALL["ConvNetClassifier"])}


def small(name, **params):
    """The small configuration of the estimator of this name."""
    return getattr(fmnist_sk, name)(**{**SMALL[name], **params})


def net(**params):
    """The small configuration of ImageClassifier itself."""
    return small("ImageClassifier", **params)


class Looks(Callback):
    """Remembers the training and validation images of the last epoch."""

    def on_epoch_begin(self, net, dataset_train, dataset_valid, **kwargs):
        self.train, self.valid = dataset_train, dataset_valid


def held_out_accuracy(name):
    """What the small configuration of a classifier reaches at least on tiny images that it was not trained on."""
    return 0.5 if name == "InceptionV3Classifier" else 0.9         # "pretrained" there means random weights


OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "asgd")
ESTIMATORS = [name for name in fmnist_sk.__all__                 # schedules have parameters too, but nothing to fit
              if isinstance(getattr(fmnist_sk, name), type) and issubclass(getattr(fmnist_sk, name), BaseEstimator)
              and hasattr(getattr(fmnist_sk, name), "fit")]
CLASSIFIERS = [name for name in ESTIMATORS if issubclass(getattr(fmnist_sk, name), fmnist_sk.ImageClassifier)]
TRANSFORMERS = [name for name in ESTIMATORS if hasattr(getattr(fmnist_sk, name), "transform")
                and get_tags(small(name)).input_tags.two_d_array]            # others take photos
# The networks of these are their own, and nothing else: what others show of the common code, they only repeat.
OWN_NETWORK_ONLY = {"WideResNetClassifier", "DenseNetClassifier", "InceptionClassifier", "InceptionResNetClassifier",
                    "InceptionV3Classifier", "MLPMixerClassifier"}
ONE_TO_ONE = [name for name in TRANSFORMERS if isinstance(small(name), OneToOneFeatureMixin)]
AUGMENTERS = [name for name in TRANSFORMERS if "p" in small(name).get_params()]


def kinds_of_classifiers(*also):
    """Parameters of tests about what classifiers inherit: one of each kind, and `also`; the others are exhaustive."""
    return [pytest.param(name, marks=pytest.mark.exhaustive) if name in OWN_NETWORK_ONLY - {*also} else name
            for name in CLASSIFIERS]
