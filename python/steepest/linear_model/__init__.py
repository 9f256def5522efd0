"""Linear models with scikit-learn's interface: least squares, logistic regression, stochastic gradient descent."""

from ._linear_regression import LinearRegression
from ._logistic_regression import LogisticRegression

__all__ = ["LinearRegression", "LogisticRegression"]
