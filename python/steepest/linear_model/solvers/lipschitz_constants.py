"""Lipschitz constants of the gradient of a linear model, which bound the learning rate of gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

from steepest import kernels as K
from steepest import nn
from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import to_device, to_host

# Number of sampled rows from which the largest eigenvalue is estimated.
_SAMPLE = 4096
# Number of steps of the power method.
_POWER_STEPS = 30
# Most numbers of X that are converted to float64 at a time.
_BLOCK_ITEMS = 1 << 20
# Safety factor on the estimated eigenvalue, for the errors of sample and power method.
_ALLOWANCE = 1.1


@dataclass(frozen=True)
class LipschitzConstants:
    """Lipschitz constants of the gradient of a mean loss over n rows.

    Attributes
    ----------
    n : int
        Number of rows.
    mean : float
        Largest eigenvalue of the Hessian of the mean loss.
    single : float
        Largest eigenvalue of the Hessian of any single row.
    """

    n: int
    mean: float
    single: float

    @classmethod
    def of(
        cls, X: Any, sample_weight: Array | None, loss: object, fit_intercept: bool, seed: int
    ) -> LipschitzConstants:
        """Return the constants of a linear model; the constant of a row x is ``c |x|^2``.

        Parameters
        ----------
        X : ndarray, cupy.ndarray or CSR of shape (n, d)
            Inputs.
        sample_weight : ndarray of shape (n,) or None
            Weights, on the device of X.
        loss : SoftmaxCrossEntropy, BinaryCrossEntropy or MeanSquaredError
            The loss, whose largest curvature c is 1/2, 1/4 or (for half the squared error) 1, respectively.
        fit_intercept : bool
            Whether every x has an additional constant item 1.
        seed : int
            Seed of the sample of rows and of the power method.
        """
        n, random = X.shape[0], np.random.default_rng(seed)
        weights = None if sample_weight is None else to_host(sample_weight).astype(np.float64)
        # Squares are computed in float64, since squares of float32 overflow from 2e19 on.
        if scipy.sparse.issparse(X):
            items = scipy.sparse.csr_array((X.data.astype(np.float64) ** 2, X.indices, X.indptr), X.shape)
            squares: Array = np.asarray(items.sum(axis=1)).ravel()
        else:
            rows_of_a_block = max(1, _BLOCK_ITEMS // X.shape[1])
            starts = range(0, n, rows_of_a_block)
            blocks = (X[start : start + rows_of_a_block].astype(np.float64) for start in starts)
            squares = np.concatenate([to_host(K.sum(block * block, axis=1)) for block in blocks])
        rows, shares = np.arange(n), np.full(n, 1 / n) if weights is None else weights / weights.sum()
        if n > _SAMPLE:
            rows = np.sort(random.choice(n, _SAMPLE, p=shares))
            shares = np.full(_SAMPLE, 1 / _SAMPLE)
        sample = X[rows] if scipy.sparse.issparse(X) else to_host(X[to_device(rows, device_of(X))])
        curvature = _curvature(loss)
        one = float(fit_intercept)
        counted = squares if weights is None else squares[weights > 0]
        return cls(
            n,
            curvature * _ALLOWANCE * _largest_eigenvalue(sample, shares, one, random),
            curvature * (float(counted.max()) + one),
        )

    def rate(self, batch: int, momentum: float, l2: float) -> float:
        """Return a learning rate for steps on `batch` rows.

        It is the reciprocal of the expected smoothness of batches sampled without replacement (R. Gower et al., "SGD:
        general analysis and improved rates", ICML 2019). Momentum multiplies the noise by 1 / (1 - momentum).

        Parameters
        ----------
        batch : int
            Number of rows in a step.
        momentum : float
            Momentum of the update rule; 0 without momentum.
        l2 : float
            Strength of the L2 penalty.
        """
        noise = 0.0 if batch >= self.n else (self.n - batch) / (batch * (self.n - 1))
        signal = 1.0 if self.n == 1 else self.n * (batch - 1) / (batch * (self.n - 1))
        curvature = signal * self.mean + noise * self.single / (1 - momentum) + l2
        return 1 / curvature if curvature > 0 else 1.0


def _curvature(loss: object) -> float:
    if isinstance(loss, nn.BinaryCrossEntropy):
        return 0.25
    return 0.5 if isinstance(loss, nn.SoftmaxCrossEntropy) else 1.0


def _largest_eigenvalue(X: Any, shares: Array, one: float, random: np.random.Generator) -> float:
    """Return the largest eigenvalue of ``sum_i shares_i [x_i, one] [x_i, one]^T``, by the power method."""
    v, last = random.standard_normal(X.shape[1]), one
    value = 0.0
    for _ in range(_POWER_STEPS):
        length = float(np.sqrt(v @ v + last * last))
        if length == 0:
            break
        v, last = v / length, last / length
        outputs = shares * (X @ v + one * last)
        v, last = X.T @ outputs, one * float(outputs.sum())
        value = float(np.sqrt(v @ v + last * last))
    return value
