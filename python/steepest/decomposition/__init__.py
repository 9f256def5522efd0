"""Decompositions of data matrices, under scikit-learn's names."""

from ._pca import PCA

__all__ = ["PCA"]
