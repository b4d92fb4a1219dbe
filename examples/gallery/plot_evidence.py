"""
Where a network looks
=====================

Gradient-weighted class activation maps (Grad-CAM) show the evidence for a prediction: it lies in the bright regions,
which may be in the empty background.
"""
import matplotlib.pyplot as plt

from fmnist_sk import GradCAMDisplay, load_fashion_mnist, load_pretrained

test, model = load_fashion_mnist("test"), load_pretrained()
GradCAMDisplay.from_estimator(model, test.images[:8], test.target[:8], class_names=test.target_names)
plt.show()
