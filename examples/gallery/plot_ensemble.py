"""
Where an ensemble disagrees, it is more often wrong
===================================================

The ensemble averages three networks that differ only in their seed. The more they disagree about an image, the more
often their average is wrong.
"""
import matplotlib.pyplot as plt
import numpy as np

from fmnist_sk import ConvNetClassifier, DeepEnsembleClassifier, load_fashion_mnist

X, y = load_fashion_mnist(return_X_y=True)
network = ConvNetClassifier(architecture="16C3-MP2-32C3-MP2-64N", max_epochs=6)
ensemble = DeepEnsembleClassifier(network, n_members=3, random_state=0).fit(X[:2000], y[:2000])
X_new, y_new = X[2000:5000], y[2000:5000]
answers = np.stack([member.predict(X_new) for member in ensemble.estimators_])
n_answers = np.array([len(set(column)) for column in answers.T])
wrong = ensemble.predict(X_new) != y_new

figure, ax = plt.subplots(layout="constrained")
ax.bar(["all agree", "two agree", "none agree"], [wrong[n_answers == n].mean() for n in (1, 2, 3)])
ax.set_ylabel("error rate of the ensemble")
print(f"members {[round(member.score(X_new, y_new), 3) for member in ensemble.estimators_]}, "
      f"ensemble {1 - wrong.mean():.3f}")
plt.show()
