"""A small, fast configuration of every estimator: what the common tests run on."""
from sklearn.base import BaseEstimator, is_classifier
from torch import nn

import fmnist_sk


class PatchNet(nn.Sequential):
    """A user's own module: takes two of the arguments that are offered."""

    def __init__(self, in_channels, n_classes, hidden=16):
        super().__init__(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * in_channels, hidden), nn.ReLU(),
                         nn.Dropout(0.1), nn.Linear(hidden, n_classes))


_FAST = {"lr": 0.01, "max_epochs": 20, "batch_size": 32, "random_state": 0}
SMALL = {
    "ImageClassifier": {**_FAST, "module": PatchNet, "max_epochs": 40},
    "ConvNetClassifier": {**_FAST, "architecture": "8C3-16C3-16N", "dropout": 0.1},
    "ResNetClassifier": {**_FAST, "width": 8, "n_blocks": (1,), "hidden": 16, "augment": None, "optimizer": "adamw",
                         "schedule": "constant", "label_smoothing": 0.0, "weight_decay": 1e-4},
    "ImageScaler": {},
    "ImageStandardizer": {},
    "RandomCrop": {"p": 0},              # scikit-learn asks for the same result twice
    "RandomHorizontalFlip": {"p": 0},
}


def small(name, **params):
    """The small configuration of the estimator of this name."""
    return getattr(fmnist_sk, name)(**{**SMALL[name], **params})


ESTIMATORS = [name for name in fmnist_sk.__all__
              if isinstance(getattr(fmnist_sk, name), type) and issubclass(getattr(fmnist_sk, name), BaseEstimator)]
CLASSIFIERS = [name for name in ESTIMATORS if is_classifier(small(name))]
TRANSFORMERS = [name for name in ESTIMATORS if name not in CLASSIFIERS]
AUGMENTERS = [name for name in TRANSFORMERS if "p" in small(name).get_params()]
