"""Models, and what was drawn of them, for the tests of plots."""

from __future__ import annotations

import numpy as np
from perceptrons import blobs

from steepest.decomposition import PCA
from steepest.discriminant_analysis import LinearDiscriminantAnalysis
from steepest.neural_network import MLPClassifier


def halves(n=40):
    """Samples left and right of zero, and a model that knows."""
    X = np.random.default_rng(0).uniform(-1, 1, (n, 2))
    y = np.where(X[:, 0] > 0, "right", "left")
    return X, y, MLPClassifier((8,), solver="lbfgs", max_iter=200, alpha=1e-5, random_state=0).fit(X, y)


def image_of(ax):
    return np.asarray(ax.images[0].get_array())


def draw(ax):
    """Draw, as saving would, and return the axes."""
    ax.figure.draw_without_rendering()
    return ax


def two_normal_classes(n=(150, 90)):
    """Long clouds side by side: what parts their means best does not part them best."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((sum(n), 2)) @ [[1.6, 1.2], [0.0, 0.6]]
    y = np.repeat(["a", "b"], n)
    return X + np.where(y[:, None] == "b", [2.0, 0.0], 0.0), y


def two_models():
    X, y = blobs()
    X = X[:, :4]
    return X, y, [PCA(2).fit(X), LinearDiscriminantAnalysis().fit(X, y)]
