"""Models and the contents of their plots, for the tests of plots."""

from __future__ import annotations

import numpy as np
from perceptrons import blobs

from steepest import nn
from steepest.decomposition import PCA
from steepest.discriminant_analysis import LinearDiscriminantAnalysis
from steepest.neural_network import MLPClassifier


def halves(n=40):
    """Two classes, left and right of zero, and a classifier fitted to them."""
    X = np.random.default_rng(0).uniform(-1, 1, (n, 2))
    y = np.where(X[:, 0] > 0, "right", "left")
    return X, y, MLPClassifier((8,), solver="lbfgs", max_iter=200, alpha=1e-5, random_state=0).fit(X, y)


def image_of(ax):
    return np.asarray(ax.images[0].get_array())


def draw(ax):
    """Draw the figure, as saving it would, and return the axes."""
    ax.figure.draw_without_rendering()
    return ax


def two_normal_classes(n=(150, 90)):
    """Elongated classes side by side, which the direction between their means does not separate best."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((sum(n), 2)) @ [[1.6, 1.2], [0.0, 0.6]]
    y = np.repeat(["a", "b"], n)
    return X + np.where(y[:, None] == "b", [2.0, 0.0], 0.0), y


def two_models():
    X, y = blobs()
    X = X[:, :4]
    return X, y, [PCA(2).fit(X), LinearDiscriminantAnalysis().fit(X, y)]


def convolutional():
    """A small network of images of 6 x 6 pixels in one channel, with three classes."""
    layers = [
        nn.Conv2d(1, 4, 3),
        nn.ReLU(),
        nn.Residual(nn.Conv2d(4, 4, 3, padding="same"), nn.Tanh()),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(16, 3),
    ]
    return nn.Network([nn.Input((6, 6, 1)), *layers], seed=2)
