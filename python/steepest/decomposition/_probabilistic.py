"""Probabilistic PCA: log-likelihood, covariance and precision of the normal distribution of a fitted PCA."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.memory import to_host
from steepest.estimators.data import in_library_of
from steepest.estimators.device import resolve_device
from steepest.estimators.row_blocks import dense
from steepest.estimators.validation import validate

from ._factors import working_copy


class ProbabilisticModel:
    """Base of `PCA` with its probabilistic model: log-likelihood of samples, covariance and precision.

    M. Tipping, C. Bishop, "Probabilistic principal component analysis", J. R. Stat. Soc. B 61, 1999.
    """

    # Attributes that the subclass sets.
    components_: Array
    explained_variance_: Array
    mean_: Array
    noise_variance_: float
    n_components_: int
    n_features_in_: int
    device: str

    def score_samples(self, X: Any) -> Array:
        """Return the log-likelihood of each sample under probabilistic PCA.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples,)
            Log-densities of the normal distribution with mean `mean_` and covariance `get_covariance()`.

        Raises
        ------
        numpy.linalg.LinAlgError
            If the covariance is singular, so that there is no density.
        """
        check_is_fitted(self)
        checked = validate(self, X, reset=False, accept_sparse=True)
        device = resolve_device(self.device, type(self).__name__, checked)
        variances, noise = self._model_variances()
        axes, mean = (working_copy(a, np.float64, device) for a in (self.components_, self.mean_))
        centred = dense(checked, device).astype(np.float64) - mean
        coordinates = K.matmul(centred, axes.T)
        weights = working_copy(1.0 / variances, np.float64, device)
        squares = (coordinates * coordinates * weights).sum(axis=1)
        left_out = self.n_features_in_ - self.n_components_
        determinant = float(np.log(variances).sum())
        if left_out:
            # |x|² minus the sum of squares of the coordinates would cancel, so the remainder is computed.
            rest = centred - K.matmul(coordinates, axes)
            squares = squares + (rest * rest).sum(axis=1) / noise
            determinant += left_out * float(np.log(noise))
        result = (squares + (determinant + self.n_features_in_ * float(np.log(2.0 * np.pi)))) * -0.5
        return in_library_of(X, result.astype(checked.dtype))

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean log-likelihood of the samples under probabilistic PCA.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Samples.
        y : None
            Ignored.

        Returns
        -------
        float
            Mean of `score_samples`.
        """
        return float(self.score_samples(X).mean(dtype=np.float64))

    def get_covariance(self) -> Array:
        """Return the covariance of the model, ``components_.T @ diag(v - s) @ components_ + s I``.

        Returns
        -------
        ndarray of shape (n_features_in_, n_features_in_)
            The covariance, with the noise variance s and the explained variances v (at least s), in the array library
            of `components_`.
        """
        check_is_fitted(self)
        noise = float(self.noise_variance_)
        variances = np.maximum(to_host(self.explained_variance_), noise)
        return self._on_axes(variances - noise, noise)

    def get_precision(self) -> Array:
        """Return the inverse of `get_covariance`.

        Returns
        -------
        ndarray of shape (n_features_in_, n_features_in_)
            The inverse, in the array library of `components_`.

        Raises
        ------
        numpy.linalg.LinAlgError
            If the covariance is singular.
        """
        check_is_fitted(self)
        variances, noise = self._model_variances()
        if self.n_components_ == self.n_features_in_:
            return self._on_axes(1.0 / variances, 0.0)
        return self._on_axes(1.0 / variances - 1.0 / noise, 1.0 / noise)

    def _model_variances(self) -> tuple[Array, float]:
        """Return the model's variances along the components, and that in all other directions; all are above 0."""
        noise = float(self.noise_variance_)
        variances = np.maximum(to_host(self.explained_variance_).astype(np.float64), noise)
        if not (variances > 0).all() or (noise == 0 and self.n_components_ < self.n_features_in_):
            raise np.linalg.LinAlgError(
                "[PCA] the covariance of the model is singular: the samples vary in fewer directions than they have "
                "features. Fit with a smaller n_components"
            )
        return variances, noise

    def _on_axes(self, along: Array, elsewhere: float) -> Array:
        """Return ``components_.T @ diag(along) @ components_ + elsewhere I``."""
        axes = to_host(self.components_)
        matrix = K.matmul((axes.T * along).astype(axes.dtype), axes)
        matrix[np.diag_indices_from(matrix)] += elsewhere
        return in_library_of(self.components_, matrix)
