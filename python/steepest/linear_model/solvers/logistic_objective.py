"""The objective of logistic and softmax regression: value, gradient and Hessian by passes over the data."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from steepest import kernels as K
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import to_device, to_host
from steepest.estimators.row_blocks import block_rows, dense

from .column_samples import less_centre


class LogisticObjective:
    """Mean log-loss of a linear model, plus ``1/2 sum_j l2_j |theta_j|^2``, as a function of a table theta.

    theta has one row per feature, and a last row for the intercept if there is one. For two classes it has one column,
    the log-odds of the second class (logistic regression). For more classes it has one column per class (softmax
    regression). Passes over X run on its device and in its dtype; theta and gradients are float64 on the host.

    Parameters
    ----------
    X : ndarray, cupy.ndarray or CSR of shape (n, d)
        Inputs.
    labels : ndarray of shape (n,), int64
        Class ids, on the device of X.
    n_classes : int
        Number of classes, at least two.
    sample_weight : ndarray of shape (n,) or None
        Weights of the samples, in the dtype of X and on its device.
    l2 : float
        Strength of the L2 penalty on the features.
    intercept : float
        Constant by which the last row of theta is multiplied; 0 for a model without an intercept.
    l2_intercept : float, default=0.0
        Strength of the L2 penalty on the last row of theta.
    centre : ndarray of shape (d,) or None, default=None
        Centre that is subtracted from each row of X, for a model with an intercept. `uncentred` translates theta.
    sizes : ndarray of shape (d,) or None, default=None
        Of the numbers in each column, once the centre is subtracted; None for zeros.
    """

    def __init__(
        self,
        X: Any,
        labels: Array,
        n_classes: int,
        sample_weight: Array | None,
        *,
        l2: float,
        intercept: float,
        l2_intercept: float = 0.0,
        centre: Float64Array | None = None,
        sizes: Float64Array | None = None,
    ) -> None:
        self.centre = centre
        self.sizes = np.zeros(X.shape[1]) if sizes is None else sizes
        if centre is not None:
            X = less_centre(X, centre, device_of(labels))
        self.X, self.labels, self.sample_weight = X, labels, sample_weight
        self.n_classes, self.intercept = n_classes, intercept
        self.n, self.d = X.shape
        self.l2, self.l2_intercept = l2, l2_intercept
        self.shape = (self.d + (intercept != 0.0), 1 if n_classes == 2 else n_classes)
        self.penalty = np.full((self.shape[0], 1), l2)
        self.penalty[self.d :] = l2_intercept
        self.dtype, self.eps = X.dtype, float(np.finfo(X.dtype).eps)
        # For two classes the target is the probability of the second.
        self.target = labels.astype(X.dtype) if n_classes == 2 else labels
        self.device = device_of(labels)

    def sample(self, size: int, seed: int) -> LogisticObjective:
        """Return the objective of `size` random rows; penalties keep their strength relative to the loss of one row."""
        rows = to_device(np.sort(np.random.default_rng(seed).integers(self.n, size=size)), self.device)
        larger = self.n / size
        return LogisticObjective(
            self.X[rows] if scipy.sparse.issparse(self.X) else K.take_rows(self.X, rows),
            self.labels[rows],
            self.n_classes,
            None if self.sample_weight is None else self.sample_weight[rows],
            l2=self.l2 * larger,
            intercept=self.intercept,
            l2_intercept=self.l2_intercept * larger,
            sizes=self.sizes,
        )

    def uncentred(self, theta: Float64Array) -> Float64Array:
        """Convert theta for the centred X to theta for X itself."""
        return theta if self.centre is None else self._shifted(theta, -1.0)

    def centred(self, theta: Float64Array) -> Float64Array:
        """Convert theta for X itself to theta for the centred X."""
        return theta if self.centre is None else self._shifted(theta, 1.0)

    def _shifted(self, theta: Float64Array, sign: float) -> Float64Array:
        assert self.centre is not None
        result = theta.copy()
        result[self.d :] += sign / self.intercept * (self.centre @ theta[: self.d])
        return result

    # ---------------------------------------------------------------------------------- value and gradient

    def __call__(self, theta: Float64Array) -> tuple[float, Float64Array]:
        """Return the value and the gradient at theta."""
        gradient = np.empty(self.shape)
        if scipy.sparse.issparse(self.X):
            loss, d_scores = self._loss(self._scores(theta))
            gradient[: self.d] = self.X.T @ d_scores
            d_bias = K.sum(d_scores, axis=0)
        else:
            loss, d_weights, d_bias = self._pass(*self._parameters(theta))
            gradient[: self.d] = to_host(d_weights)
        gradient[self.d :] = self.intercept * to_host(d_bias)
        gradient += self.penalty * theta
        return loss + 0.5 * float((self.penalty * theta * theta).sum()), gradient

    def rounding(self, theta: Float64Array) -> float:
        """Return the rounding of the value at theta: of scores, whose terms may cancel, and of a loss near one."""
        terms = np.append(self.sizes, self.intercept)[: len(theta)] @ np.abs(theta)
        return self.eps * (1.0 + float(terms.max()))

    def _parameters(self, theta: Float64Array) -> tuple[Array, Array]:
        """Return weights and biases in the dtype of X, on its device."""
        weights = theta[: self.d].astype(self.dtype)
        bias = (self.intercept * theta[self.d :].sum(axis=0)).astype(self.dtype)
        return to_device(weights, self.device), to_device(bias, self.device)

    def _pass(self, weights: Array, bias: Array) -> tuple[float, Array, Array]:
        """Return the mean loss and its gradients, in one pass over X."""
        kind = "log_loss" if self.shape[1] == 1 else "softmax_cross_entropy"
        loss, d_weights, d_bias = K.linear_loss(
            self.X, weights, bias, self.target, self.sample_weight, kind=kind
        )
        assert d_weights is not None
        assert d_bias is not None
        return float(loss), d_weights, d_bias

    def _scores(self, theta: Float64Array) -> Array:
        weights, bias = self._parameters(theta)
        if scipy.sparse.issparse(self.X):
            scores: Array = np.asarray(self.X @ weights) + bias
            return scores
        return K.linear(self.X, weights, bias)

    def _loss(self, scores: Array) -> tuple[float, Array]:
        loss: Any
        if self.shape[1] > 1:
            loss, d_scores = K.softmax_cross_entropy(scores, self.labels, self.sample_weight)
        else:
            loss, d_scores = K.log_loss(scores, self.target[:, None], self.sample_weight)
        return float(loss), d_scores

    # --------------------------------------------------------------------------------------------- curvature

    def _probabilities(self, theta: Float64Array) -> Array:
        """Return the class probabilities, one column for two classes."""
        scores = self._scores(theta)
        return K.sigmoid(scores) if self.shape[1] == 1 else K.softmax(scores)

    def _blocks(self, probabilities: Array, precision: np.dtype[Any]) -> Any:
        """Yield blocks of dense rows of X with their probabilities, in a precision, and their normalised weights."""
        rows = min(self.n, block_rows(self.shape[0], self.device))
        total = self.n if self.sample_weight is None else float(self.sample_weight.sum(dtype=np.float64))
        for start in range(0, self.n, rows):
            part = slice(start, start + rows)
            share = 1 / total if self.sample_weight is None else self.sample_weight[part] / total
            X = dense(self.X[part], self.device).astype(precision, copy=False)
            yield X, probabilities[part].astype(precision, copy=False), share

    def _weighted_squares(self, X: Array, weights: Array) -> Float64Array:
        """Return ``sum_i w_i z_i z_i^T`` of dense rows, ``z = [x, intercept]``, for weights of at least 0."""
        total = float(weights.sum(dtype=np.float64))
        squares: Float64Array = to_host(
            K.second_moment(X, weights, ones=self.intercept != 0.0, scale=total)
        ).astype(np.float64)
        squares[self.d :] *= self.intercept
        squares[:, self.d :] *= self.intercept
        return squares

    def hessian(self, theta: Float64Array, precision: np.dtype[Any] | None = None) -> Float64Array:
        """Return the Hessian with respect to ``theta.T.ravel()``, of shape (p k, p k) for theta of shape (p, k).

        It is ``sum_i s_i (diag(p_i) - p_i p_i^T) (x) x_i x_i^T`` plus the penalty; for two classes the terms are
        ``s_i p_i (1 - p_i) x_i x_i^T``. Products are computed in the dtype of X, or in another `precision`.
        """
        rows, k = self.shape
        total = np.zeros((k, rows, k, rows))
        for X, p, share in self._blocks(self._probabilities(theta), precision or self.dtype):
            for a in range(k):
                weighted = p[:, a] * share
                total[a, :, a] += self._weighted_squares(X, weighted * (1.0 - p[:, a]))
                for b in range(a + 1, k):
                    product = self._weighted_squares(X, weighted * p[:, b])
                    total[a, :, b] -= product
                    total[b, :, a] -= product
        result = total.reshape(rows * k, rows * k)
        result.flat[:: rows * k + 1] += np.tile(self.penalty[:, 0], k)
        return result

    def factors(self, theta: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Return A (k, k) and G (p, p), whose Kronecker product ``A (x) G`` approximates the Hessian of the loss.

        A is ``sum_i s_i (diag(p_i) - p_i p_i^T)``. G is the mean of ``x_i x_i^T`` with the traces of A's terms as
        weights.
        """
        rows, k = self.shape
        A, G = np.zeros((k, k)), np.zeros((rows, rows))
        for X, p, share in self._blocks(self._probabilities(theta), self.dtype):
            weighted = p * (share if self.sample_weight is None else share[:, None])
            A -= to_host(K.matmul(weighted.T, p))
            A[np.diag_indices(k)] += to_host(weighted.sum(axis=0))
            G += self._weighted_squares(X, (weighted * (1 - p)).sum(axis=1))
        return A, G / max(float(np.trace(A)), np.finfo(np.float64).tiny)
