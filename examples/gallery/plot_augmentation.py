"""
Images before and after augmentation
====================================

Each row is one value of ``augment=``. "report_3" never mirrors shoes, which all point left.
"""
import matplotlib.pyplot as plt

from fmnist_sk import AugmentationDisplay, CutMix, Preset, RandomErasing, load_fashion_mnist

train = load_fashion_mnist("train")
AugmentationDisplay.from_augmenters(
    {"original": None, '"fashion"': "fashion", '"strong"': "strong", '"report_3"': "report_3",
     'Preset("fashion", p=0.2)': Preset("fashion", p=0.2), "erasing": RandomErasing(p=1.0), "CutMix": CutMix(p=1.0)},
    train.images[:10], train.target[:10])
plt.show()
