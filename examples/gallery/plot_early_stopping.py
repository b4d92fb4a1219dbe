"""
Early stopping and its learning curves
======================================

A fifth of the training images is held out. The fit ends after three epochs without a better validation accuracy, and
keeps the weights of the best epoch.
"""
import matplotlib.pyplot as plt

from fmnist_sk import ConvNetClassifier, HistoryDisplay, load_fashion_mnist

X, y = load_fashion_mnist(return_X_y=True)
classifier = ConvNetClassifier(architecture="16C3-MP2-32C3-MP2-64N", max_epochs=30, validation_fraction=0.2,
                               early_stopping=True, patience=3, schedule="constant", random_state=0)
classifier.fit(X[:2000], y[:2000])
print(f"{len(classifier.history_)} epochs, the best was {classifier.best_epoch_}")
HistoryDisplay.from_estimator(classifier)
plt.show()
