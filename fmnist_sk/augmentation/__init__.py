"""Random transformers: new training images from old ones, a whole batch at a time, on the device.

Two uses of the same object:

- ``ResNetClassifier(augment=RandomCrop(padding=2))`` (or a list of them, a Pipeline, or the name of a preset): every
  image of every batch is drawn afresh, in training only, from a generator that the classifier seeds.
- as a step of a Pipeline before any classifier: ``fit_transform`` (training) gives one draw, ``transform``
  (prediction) leaves the images alone.

Presets, by name: "light" shifts by up to one pixel, "fashion" also mirrors, "strong" shifts by two pixels, mirrors,
erases and pastes; "report_1", "report_2" and "report_3" are those of the published reports that `fmnist_sk.reference`
introduces. `Preset` is any of these with another probability.
"""
from fmnist_sk._data.ranges import PixelRange, learn_pixels
from fmnist_sk.augmentation._base import RandomTransformer
from fmnist_sk.augmentation.copies import AugmentedCopies
from fmnist_sk.augmentation.geometry import RandomAffine, RandomCrop, RandomHorizontalFlip
from fmnist_sk.augmentation.mixing import CutMix, MixUp
from fmnist_sk.augmentation.pixels import GaussianNoise, RandomBrightness, RandomErasing
from fmnist_sk.augmentation.presets import PRESETS, Augmentation, Preset, as_transformers, compile_augmentation

__all__ = [
    "RandomHorizontalFlip",
    "RandomCrop",
    "RandomAffine",
    "RandomErasing",
    "GaussianNoise",
    "RandomBrightness",
    "MixUp",
    "CutMix",
    "AugmentedCopies",
    "Preset",
]
