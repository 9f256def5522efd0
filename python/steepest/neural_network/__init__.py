"""Multilayer perceptrons with scikit-learn's interface, trained by captured graphs of fused kernels."""

from ._classifier import MLPClassifier
from ._regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
