"""
Where a network looks
=====================

Gradient-weighted class activation maps (Grad-CAM). The evidence for the prediction lies in the bright regions, which
may be in the empty background.
"""
from fmnist_sk import GradCAMDisplay, load_fashion_mnist, load_pretrained

test, model = load_fashion_mnist("test"), load_pretrained()
GradCAMDisplay.from_estimator(model, test.images[:8], test.target[:8], class_names=test.target_names)
