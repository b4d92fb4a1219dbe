"""
Are predictions with 90 % confidence right in 90 % of cases?
============================================================

A network that was trained with label smoothing is underconfident. A temperature, learned from images that it has not
seen, corrects this without changing any prediction.
"""
import matplotlib.pyplot as plt
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from fmnist_sk import ReliabilityDisplay, load_fashion_mnist, load_pretrained

test, model = load_fashion_mnist("test"), load_pretrained()
calibrated = CalibratedClassifierCV(FrozenEstimator(model), method="temperature")
calibrated.fit(test.images[:5000], test.target[:5000])

for estimator in (model, calibrated):
    ReliabilityDisplay.from_estimator(estimator, test.images[5000:], test.target[5000:])
plt.show()
