"""
Where a network looks
=====================

Gradient-weighted class activation maps: bright is where the evidence for the answer lies, which may be where nothing
is.
"""
from fmnist_sk import GradCAMDisplay, load_fashion_mnist, load_pretrained

test, model = load_fashion_mnist("test"), load_pretrained()
GradCAMDisplay.from_estimator(model, test.images[:8], test.target[:8], class_names=test.target_names)
