"""Discriminant analysis with scikit-learn's interface."""

from ._lda import LinearDiscriminantAnalysis

__all__ = ["LinearDiscriminantAnalysis"]
