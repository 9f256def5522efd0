"""Discriminant analysis with scikit-learn's interface."""

from ._cross_validation import cross_val_predict
from ._lda import LinearDiscriminantAnalysis
from ._shrinkage_path import ShrinkagePath, shrinkage_path

__all__ = ["LinearDiscriminantAnalysis", "ShrinkagePath", "cross_val_predict", "shrinkage_path"]
