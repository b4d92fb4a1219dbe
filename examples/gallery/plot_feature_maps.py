"""
What the layers see
===================

What each convolution and pooling of a network makes of an image.
"""
from fmnist_sk import FeatureMapsDisplay, load_fashion_mnist, load_pretrained

test, model = load_fashion_mnist("test"), load_pretrained()
FeatureMapsDisplay.from_estimator(model, test.images[:1], n_channels=8)
