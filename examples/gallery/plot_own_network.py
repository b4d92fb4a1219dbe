"""
A network of your own, and its filters
======================================

Any PyTorch module that returns logits can be a classifier. ``FiltersDisplay`` draws the filters of its first
convolution.
"""
import matplotlib.pyplot as plt
from torch import nn

from fmnist_sk import FiltersDisplay, ImageClassifier, load_fashion_mnist


class Net(nn.Sequential):
    def __init__(self, in_channels, n_classes):
        super().__init__(nn.Conv2d(in_channels, 16, 7, stride=2), nn.BatchNorm2d(16), nn.ReLU(),
                         nn.Conv2d(16, 32, 3, stride=2), nn.BatchNorm2d(32), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, n_classes))


X, y = load_fashion_mnist(return_X_y=True)
classifier = ImageClassifier(module=Net, max_epochs=6, lr=5e-3, random_state=0).fit(X[:6000], y[:6000])
print(classifier.score(X[6000:8000], y[6000:8000]))
FiltersDisplay.from_estimator(classifier)
plt.show()
