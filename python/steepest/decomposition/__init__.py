"""Matrix decompositions with scikit-learn's interface: principal component analysis."""

from ._pca import PCA

__all__ = ["PCA"]
