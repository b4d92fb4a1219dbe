"""
A network compared with scikit-learn's classifiers
==================================================

This compares a convolutional network, a random forest and logistic regression on pixels, each trained on 3,000 images.
"""
import matplotlib.pyplot as plt
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from fmnist_sk import CLASS_NAMES, ComparisonDisplay, ConvNetClassifier, load_fashion_mnist

X, y = load_fashion_mnist(return_X_y=True)
models = {"network": ConvNetClassifier(architecture="16C3-MP2-32C3-MP2-64N", max_epochs=8, random_state=0),
          "forest": RandomForestClassifier(n_estimators=50, random_state=0),
          "logistic regression": make_pipeline(MinMaxScaler(), LogisticRegression(C=0.03, max_iter=200))}
for name, model in models.items():
    print(name, model.fit(X[:3000], y[:3000]).score(X[3000:5000], y[3000:5000]))
ComparisonDisplay.from_estimators(models, X[3000:5000], y[3000:5000], class_names=CLASS_NAMES)
plt.show()
