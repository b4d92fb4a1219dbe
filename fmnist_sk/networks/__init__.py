"""The networks, one file per family. ``__all__`` is the registry: whatever it lists is exported and tested."""
from fmnist_sk.networks.convnet import ConvNetClassifier
from fmnist_sk.networks.densenet import DenseNetClassifier
from fmnist_sk.networks.inception import InceptionClassifier
from fmnist_sk.networks.inception_resnet import InceptionResNetClassifier
from fmnist_sk.networks.inception_v3 import InceptionV3Classifier
from fmnist_sk.networks.mlp_mixer import MLPMixerClassifier
from fmnist_sk.networks.resnet import ResNetClassifier
from fmnist_sk.networks.wide_resnet import WideResNetClassifier

__all__ = ["ConvNetClassifier", "ResNetClassifier", "WideResNetClassifier", "DenseNetClassifier",
           "InceptionClassifier", "InceptionResNetClassifier", "InceptionV3Classifier", "MLPMixerClassifier"]
