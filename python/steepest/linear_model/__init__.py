"""Linear models with scikit-learn's interface: least squares, logistic regression, stochastic gradient descent."""

from ._linear_regression import LinearRegression

__all__ = ["LinearRegression"]
