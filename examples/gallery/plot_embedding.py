"""
Images as a network's last layer sees them
==========================================

The first plot shows the first two principal components of the pixels, the second those of the features of a trained
network, in which most classes lie far apart.
"""
import matplotlib.pyplot as plt

from fmnist_sk import EmbeddingDisplay, load_fashion_mnist, load_pretrained

test, model = load_fashion_mnist("test"), load_pretrained()
X, y = test.images[:2000], test.target[:2000]
EmbeddingDisplay.from_images(X, y, method="pca", class_names=test.target_names)

# %%

EmbeddingDisplay.from_estimator(model, X, y, method="pca", class_names=test.target_names)
plt.show()
