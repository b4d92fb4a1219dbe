"""
What a network confuses
=======================

These plots show the confusion matrix of the bundled network, with images of its most frequent confusions, and its most
confident mistakes.
"""
import matplotlib.pyplot as plt

from fmnist_sk import ConfusionDisplay, MistakesDisplay, load_fashion_mnist, load_pretrained

test, model = load_fashion_mnist("test"), load_pretrained()
ConfusionDisplay.from_estimator(model, test.images, test.target, class_names=test.target_names)

# %%
# Shirts are the hardest class: they look like T-shirts, pullovers and coats.

MistakesDisplay.from_estimator(model, test.images, test.target, class_names=test.target_names)
plt.show()
