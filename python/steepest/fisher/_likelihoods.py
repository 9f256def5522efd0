"""The distributions behind the losses, as functions of a network's output z.

Each gives the score of an observation, the gradient of its negative log-likelihood with respect to z, and the Fisher
matrix of z, ``H = E[score score^T]`` over the distribution's own observations. For all but the Gaussian of learned
variance that is also the Hessian of the negative log-likelihood (J. Martens, "New insights and perspectives on the
natural gradient method", 2020, §9.2).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.special

from steepest import nn

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]


class Likelihood(ABC):
    """A distribution with the parameters z of shape (n, c), all on the host in float64.

    Parameters
    ----------
    scale : float
        The loss is this times the negative log-likelihood, but for a constant.
    """

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    @abstractmethod
    def score(self, z: Float64, y: Array) -> Float64:
        """Return the gradient of the negative log-likelihood of observations y, of z's shape."""

    @abstractmethod
    def roots(self, z: Float64) -> Float64:
        """Return q of shape (n, r, c) with ``sum_r q_r q_r^T = H`` of each row."""

    @abstractmethod
    def multiply(self, z: Float64, v: Float64) -> Float64:
        """Return ``H v`` of each row, for v of z's shape."""

    @abstractmethod
    def draw(self, z: Float64, rng: np.random.Generator) -> Array:
        """Return an observation for each row."""

    @abstractmethod
    def divergence(self, z: Float64, w: Float64) -> Float64:
        """Return KL(p(z) || p(w)) of each row, in nats."""


class Categorical(Likelihood):
    """Classes of probabilities softmax(z); H is ``diag(p) - p p^T``."""

    def score(self, z: Float64, y: Array) -> Float64:
        targets = y.astype(np.float64) if y.ndim == 2 else np.eye(z.shape[1])[y]
        p: Float64 = scipy.special.softmax(z, axis=1)
        return p - targets

    def roots(self, z: Float64) -> Float64:
        # The scores of all classes, times the roots of their probabilities.
        p = scipy.special.softmax(z, axis=1)
        scores = p[:, None, :] - np.eye(z.shape[1])
        rooted: Float64 = np.sqrt(p)[:, :, None] * scores
        return rooted

    def multiply(self, z: Float64, v: Float64) -> Float64:
        p = scipy.special.softmax(z, axis=1)
        product: Float64 = p * (v - (p * v).sum(axis=1, keepdims=True))
        return product

    def draw(self, z: Float64, rng: np.random.Generator) -> Array:
        # The largest of the logits with Gumbel noise.
        classes: Array = (z + rng.gumbel(size=z.shape)).argmax(axis=1)
        return classes

    def divergence(self, z: Float64, w: Float64) -> Float64:
        logs, others = (scipy.special.log_softmax(a, axis=1) for a in (z, w))
        total: Float64 = (np.exp(logs) * (logs - others)).sum(axis=1)
        return total


class Independent(Likelihood):
    """Outputs that are independent given z: H is diagonal."""

    @abstractmethod
    def variances(self, z: Float64) -> Float64:
        """Return the diagonal of H, of z's shape."""

    def roots(self, z: Float64) -> Float64:
        diagonal: Float64 = np.sqrt(self.variances(z))[:, None, :] * np.eye(z.shape[1])
        return diagonal

    def multiply(self, z: Float64, v: Float64) -> Float64:
        return self.variances(z) * v


class Bernoulli(Independent):
    """Labels of probabilities sigmoid(z); H is ``p (1 - p)``."""

    def score(self, z: Float64, y: Array) -> Float64:
        p: Float64 = scipy.special.expit(z)
        return p - y

    def variances(self, z: Float64) -> Float64:
        product: Float64 = scipy.special.expit(z) * scipy.special.expit(-z)
        return product

    def draw(self, z: Float64, rng: np.random.Generator) -> Array:
        labels: Array = rng.random(z.shape) < scipy.special.expit(z)
        return labels.astype(np.float64)

    def divergence(self, z: Float64, w: Float64) -> Float64:
        p, log = scipy.special.expit(z), scipy.special.log_expit
        total: Float64 = (p * (log(z) - log(w)) + (1.0 - p) * (log(-z) - log(-w))).sum(axis=1)
        return total


class UnitGaussian(Independent):
    """Numbers of mean z and variance 1; H is 1."""

    def score(self, z: Float64, y: Array) -> Float64:
        return z - y

    def variances(self, z: Float64) -> Float64:
        return np.ones_like(z)

    def draw(self, z: Float64, rng: np.random.Generator) -> Array:
        return z + rng.standard_normal(z.shape)

    def divergence(self, z: Float64, w: Float64) -> Float64:
        total: Float64 = 0.5 * ((z - w) ** 2).sum(axis=1)
        return total


class GaussianOfLearnedVariance(Independent):
    """Numbers of mean mu and variance exp(s), with z = (mu, s); H is exp(-s) and 1/2."""

    def score(self, z: Float64, y: Array) -> Float64:
        mean, s = np.split(z, 2, axis=1)
        error, precision = mean - y, np.exp(-s)
        return np.hstack([error * precision, 0.5 - 0.5 * error**2 * precision])

    def variances(self, z: Float64) -> Float64:
        s = z[:, z.shape[1] // 2 :]
        return np.hstack([np.exp(-s), np.full_like(s, 0.5)])

    def draw(self, z: Float64, rng: np.random.Generator) -> Array:
        mean, s = np.split(z, 2, axis=1)
        drawn: Array = mean + np.exp(0.5 * s) * rng.standard_normal(s.shape)
        return drawn

    def divergence(self, z: Float64, w: Float64) -> Float64:
        (mean, s), (other, t) = np.split(z, 2, axis=1), np.split(w, 2, axis=1)
        total: Float64 = 0.5 * (t - s + np.exp(s - t) + (mean - other) ** 2 * np.exp(-t) - 1.0).sum(axis=1)
        return total


class PoissonCounts(Independent):
    """Counts of mean exp(z); H is exp(z)."""

    def score(self, z: Float64, y: Array) -> Float64:
        return np.exp(z) - y

    def variances(self, z: Float64) -> Float64:
        return np.exp(z)

    def draw(self, z: Float64, rng: np.random.Generator) -> Array:
        return rng.poisson(np.exp(z)).astype(np.float64)

    def divergence(self, z: Float64, w: Float64) -> Float64:
        total: Float64 = (np.exp(z) * (z - w) - np.exp(z) + np.exp(w)).sum(axis=1)
        return total


_OF_LOSS: dict[type, type[Likelihood]] = {
    nn.BinaryCrossEntropy: Bernoulli,
    nn.MeanSquaredError: UnitGaussian,
    nn.Gaussian: GaussianOfLearnedVariance,
    nn.Poisson: PoissonCounts,
}


def likelihood_of(loss: Any, n_outputs: int) -> Likelihood:
    """Return the distribution behind a loss, and its scale in it.

    Parameters
    ----------
    loss : Loss
        Of `steepest.nn`.
    n_outputs : int
        Columns of the network's output.

    Raises
    ------
    ValueError
        The loss is no negative log-likelihood.
    """
    if isinstance(loss, nn.SoftmaxCrossEntropy):
        if loss.ignore_label is not None:
            raise ValueError("[FisherMatrix] a loss with ignore_label has no likelihood for the ignored rows")
        return Categorical()
    kind = _OF_LOSS.get(type(loss))
    if kind is None:
        raise ValueError(
            f"[FisherMatrix] {type(loss).__name__} is not the negative log-likelihood of a distribution here: take one "
            "of SoftmaxCrossEntropy, BinaryCrossEntropy, MeanSquaredError, Gaussian, Poisson"
        )
    if kind is GaussianOfLearnedVariance and n_outputs % 2:
        raise ValueError(
            f"[FisherMatrix] Gaussian takes means and log-variances, but there are {n_outputs} outputs"
        )
    targets = n_outputs // 2 if kind is GaussianOfLearnedVariance else n_outputs
    scale = 1.0 / targets if loss.reduction == "mean" else 1.0
    # The negative log-likelihood of variance 1 is half the square.
    return kind(scale * (1.0 if kind is not UnitGaussian or loss.half else 2.0))
