"""
What the layers see
===================

The output of each convolution and pooling layer of a network for one image.
"""
from fmnist_sk import FeatureMapsDisplay, load_fashion_mnist, load_pretrained

test, model = load_fashion_mnist("test"), load_pretrained()
FeatureMapsDisplay.from_estimator(model, test.images[:1], n_channels=8)
