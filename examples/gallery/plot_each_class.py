"""
Accuracy of each class during training
======================================

Trousers are learned within one epoch, shirts never completely.
"""
import matplotlib.pyplot as plt

from fmnist_sk import CLASS_NAMES, ClassAccuracyDisplay, ClassHistoryDisplay, ConvNetClassifier, load_fashion_mnist

X, y = load_fashion_mnist(return_X_y=True)
classifier = ConvNetClassifier(architecture="16C3-MP2-32C3-MP2-64N", max_epochs=8, validation_fraction=0.3,
                               random_state=0)
classifier.fit(X[:4000], y[:4000])
ClassHistoryDisplay.from_estimator(classifier, class_names=CLASS_NAMES)

# %%
# Accuracy on images that were not used in training, with 95 % confidence intervals:

ClassAccuracyDisplay.from_estimator(classifier, X[4000:6000], y[4000:6000], class_names=CLASS_NAMES)
plt.show()
