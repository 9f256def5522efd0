"""
A deep regression and its residuals
===================================

Friedman's function [#friedman]_ depends on five of ten features, through a sine, a square and two linear terms, and is
observed with normal noise of standard deviation 1. Residuals show whether a model fits: on test samples they should
look like the noise, with the same variance everywhere and without a pattern.

.. [#friedman] J. H. Friedman, "Multivariate adaptive regression splines", The Annals of Statistics 19, 1991.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats
from sklearn.datasets import make_friedman1
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from steepest.neural_network import MLPRegressor

plt.style.use("petroff10")

X, y = make_friedman1(6000, noise=1.0, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=1000, random_state=0)

models = {
    "linear model": LinearRegression(),
    "three hidden layers": make_pipeline(
        StandardScaler(),
        MLPRegressor(
            hidden_layer_sizes=(64, 64, 64), activation="tanh", alpha=0.1, early_stopping=True, random_state=0
        ),
    ),
}


def means_of_tenths(order, values):
    """Means of ten equal groups of the samples in the given order, which reveal a pattern."""
    return np.array([group.mean() for group in np.array_split(values[order.argsort()], 10)])


figure, axes = plt.subplots(2, 3, figsize=(10, 6), sharey=True, layout="constrained")
for (name, model), panels, color in zip(models.items(), axes, ("C0", "C2"), strict=True):
    predicted = model.fit(X_train, y_train).predict(X_test)
    residuals = y_test - predicted
    pattern = means_of_tenths(X_test[:, 2], residuals)
    print(
        f"{name:>19}: R² {model.score(X_test, y_test):.3f}, residuals' standard deviation {residuals.std():.2f} "
        f"(the noise's is 1), means along the third feature from {pattern.min():+.2f} to {pattern.max():+.2f}"
    )
    against = {"predicted": predicted, "third feature": X_test[:, 2]}
    for panel, (label, values) in zip(panels, against.items(), strict=False):
        panel.plot(values, residuals, ".", color=color, markersize=3, alpha=0.5)
        means = means_of_tenths(values, values), means_of_tenths(values, residuals)
        panel.plot(*means, "ko-", markersize=4, label="means of tenths")
        panel.axhline(0, color="0.5", linewidth=0.8)
        panel.set(title=name, xlabel=label, ylim=(-12, 10))
        panel.legend(loc="upper right")
    normal, ordered = stats.probplot(residuals, fit=False)
    panels[2].plot(normal, ordered, ".", color=color, markersize=4, label="quantiles of the residuals")
    panels[2].plot(normal, normal, "k--", linewidth=1, label="quantiles of the noise")
    panels[2].set(title=name, xlabel="standard normal quantile")
    panels[2].legend(loc="upper left")
    panels[0].set_ylabel("residual")
figure.savefig("deep_regression.png", dpi=150)
