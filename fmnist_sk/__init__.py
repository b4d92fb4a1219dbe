"""Neural networks for small images such as Fashion-MNIST, as scikit-learn classifiers."""
from fmnist_sk import augmentation, networks, plotting
from fmnist_sk._runtime.version import __version__
from fmnist_sk.attribution import grad_cam
from fmnist_sk.augmentation import *
from fmnist_sk.classifier import ImageClassifier
from fmnist_sk.datasets import CLASS_NAMES, load_fashion_mnist
from fmnist_sk.ensemble import DeepEnsembleClassifier
from fmnist_sk.inspection import FeatureExtractor, feature_maps, summary
from fmnist_sk.loaders import load_csv, load_idx, load_image_folder
from fmnist_sk.losses import CrossEntropy, FocalLoss, SigmoidLoss, SoftmaxOfSigmoid, SquaredError, TripletLoss
from fmnist_sk.networks import *
from fmnist_sk.persistence import load, load_pretrained, save
from fmnist_sk.photos import PhotoToFashion
from fmnist_sk.plotting import *
from fmnist_sk.preprocessing import HOGTransformer, ImageScaler, ImageStandardizer
from fmnist_sk.reader import ImageReader
from fmnist_sk.recipes import recipe
from fmnist_sk.reference import reference_system, reference_systems
from fmnist_sk.schedules import (
    Constant,
    Cosine,
    Exponential,
    MultiStep,
    OneCycle,
    ReduceOnPlateau,
    TorchSchedule,
)
from fmnist_sk.shared import SharedImages

__all__ = [
    "ImageClassifier",
    *networks.__all__,
    "DeepEnsembleClassifier",
    "ImageScaler",
    "ImageStandardizer",
    "HOGTransformer",
    "ImageReader",
    "PhotoToFashion",
    *augmentation.__all__,
    "CrossEntropy",
    "FocalLoss",
    "SigmoidLoss",
    "SoftmaxOfSigmoid",
    "SquaredError",
    "TripletLoss",
    "Constant",
    "Cosine",
    "Exponential",
    "MultiStep",
    "OneCycle",
    "ReduceOnPlateau",
    "TorchSchedule",
    *plotting.__all__,
    "FeatureExtractor",
    "feature_maps",
    "grad_cam",
    "summary",
    "save",
    "load",
    "load_pretrained",
    "CLASS_NAMES",
    "load_csv",
    "load_idx",
    "load_image_folder",
    "load_fashion_mnist",
    "SharedImages",
    "recipe",
    "reference_system",
    "reference_systems",
]
