"""
What augmentation makes of images
=================================

Each row is one value of ``augment=``. Shoes are never mirrored by "report_3": their toes point left.
"""
from fmnist_sk import AugmentationDisplay, CutMix, Preset, RandomErasing, load_fashion_mnist

train = load_fashion_mnist("train")
AugmentationDisplay.from_augmenters(
    {"as it is": None, '"fashion"': "fashion", '"strong"': "strong", '"report_3"': "report_3",
     'Preset("fashion", p=0.2)': Preset("fashion", p=0.2), "erasing": RandomErasing(p=1.0), "CutMix": CutMix(p=1.0)},
    train.images[:10], train.target[:10])
