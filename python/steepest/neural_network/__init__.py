"""Multilayer perceptrons and autoencoders with scikit-learn's interface, trained by captured graphs of kernels."""

from ._autoencoder import Autoencoder
from ._classifier import MLPClassifier
from ._regressor import MLPRegressor

__all__ = ["Autoencoder", "MLPClassifier", "MLPRegressor"]
