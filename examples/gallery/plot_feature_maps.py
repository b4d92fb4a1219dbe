"""
What the layers see
===================

``FeatureMapsDisplay`` draws the output of each convolution and pooling layer of a network for one image.
"""
import matplotlib.pyplot as plt

from fmnist_sk import FeatureMapsDisplay, load_fashion_mnist, load_pretrained

test, model = load_fashion_mnist("test"), load_pretrained()
FeatureMapsDisplay.from_estimator(model, test.images[:1], n_channels=8)
plt.show()
