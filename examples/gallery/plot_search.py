"""
A grid search as a heat map
===========================

This heat map shows the mean accuracy over two folds for each learning rate and dropout of a small network.
"""
import matplotlib.pyplot as plt
from sklearn.model_selection import GridSearchCV

from fmnist_sk import ConvNetClassifier, load_fashion_mnist

X, y = load_fashion_mnist(return_X_y=True)
rates, dropouts = [1e-3, 4e-3, 1.6e-2], [0.0, 0.3, 0.6]
search = GridSearchCV(ConvNetClassifier(architecture="8C3-MP2-16C3-MP2-32N", max_epochs=4, random_state=0),
                      {"lr": rates, "dropout": dropouts}, cv=2, refit=False)
search.fit(X[:1200], y[:1200])

scores = search.cv_results_["mean_test_score"].reshape(len(dropouts), len(rates))   # grid order: dropout, then lr
figure, ax = plt.subplots(layout="constrained")
ax.imshow(scores)
ax.set(xticks=range(3), xticklabels=rates, xlabel="lr", yticks=range(3), yticklabels=dropouts, ylabel="dropout")
for (row, column), score in zip(((i, j) for i in range(3) for j in range(3)), scores.flat, strict=True):
    ax.text(column, row, f"{score:.2f}", ha="center", va="center", color="white" if score < scores.mean() else "black")
plt.show()
