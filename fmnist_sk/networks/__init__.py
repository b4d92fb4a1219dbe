"""The networks, one file per family. ``__all__`` is the registry: what is listed here is exported and tested."""
from fmnist_sk.networks.convnet import ConvNetClassifier
from fmnist_sk.networks.resnet import ResNetClassifier

__all__ = ["ConvNetClassifier", "ResNetClassifier"]
