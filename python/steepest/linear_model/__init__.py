"""Linear models with scikit-learn's interface: least squares, logistic regression, stochastic gradient descent."""

from ._linear_regression import LinearRegression
from ._logistic_regression import LogisticRegression
from ._perceptron import Perceptron
from ._sgd_classifier import SGDClassifier
from ._sgd_regressor import SGDRegressor

__all__ = ["LinearRegression", "LogisticRegression", "Perceptron", "SGDClassifier", "SGDRegressor"]
