"""The distributions whose negative log-likelihoods are the losses, as functions of a network's output z.

Each distribution gives a square-root factor of the Fisher matrix of z, ``H = E[score score^T]``. Kernels compute
products with H, divergences and sampled scores: `steepest.kernels.output_fisher`, `output_divergence`, `sampled_score`.
Several outputs stand side by side in z, and are independent given z.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import scipy.special

from steepest import kernels as K
from steepest import nn
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.memory import array_namespace
from steepest.kernels.distribution import Distribution

from ._joint_loss import JointLoss


class Likelihood(ABC):
    """A distribution with the parameters z of shape (n, c).

    Parameters
    ----------
    scale : float
        Factor between the loss and the negative log-likelihood: the loss is `scale` times it, up to a constant.

    Attributes
    ----------
    name : str
        Name of the distribution, as kernels take it.
    """

    name: ClassVar[Distribution]

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    @abstractmethod
    def roots(self, z: Float64Array) -> Float64Array:
        """Return square-root factors q of shape (n, r, c), ``sum_r q_r q_r^T = H`` for each row of z; on the host."""

    def times_fisher(self, z: Array, v: Array, shares: Array | None, out: Array | None) -> Array:
        """Return ``scale H v`` for v of shape (n, c), with the weights of the rows; see `K.output_fisher`."""
        return K.output_fisher(z, v, self.name, shares, scale=self.scale, out=out)

    def sampled_score(self, z: Array, seed: int, stream: int) -> Array:
        """Return the scores of shape (n, c) of targets that are sampled from the distribution."""
        return K.sampled_score(z, self.name, seed=seed, stream=stream)

    def divergence(self, z: Array, others: Array, shares: Array | None) -> Array:
        """Return the mean divergence of the distributions with other parameters; see `K.output_divergence`."""
        return K.output_divergence(z, others, self.name, shares)


class Categorical(Likelihood):
    """Categorical distribution with the probabilities p = softmax(z); H is ``diag(p) - p p^T``."""

    name: ClassVar[Distribution] = "categorical"

    def roots(self, z: Float64Array) -> Float64Array:
        # The score of each class, times the square root of its probability.
        p = scipy.special.softmax(z, axis=1)
        scores = p[:, None, :] - np.eye(z.shape[1])
        rooted: Float64Array = np.sqrt(p)[:, :, None] * scores
        return rooted


class Independent(Likelihood):
    """Base of distributions whose targets are independent given z, so that H is diagonal."""

    @abstractmethod
    def variances(self, z: Float64Array) -> Float64Array:
        """Return the diagonal of H, of z's shape."""

    def roots(self, z: Float64Array) -> Float64Array:
        diagonal: Float64Array = np.sqrt(self.variances(z))[:, None, :] * np.eye(z.shape[1])
        return diagonal


class Bernoulli(Independent):
    """Bernoulli distributions with the probabilities p = sigmoid(z); H is ``p (1 - p)``."""

    name: ClassVar[Distribution] = "bernoulli"

    def variances(self, z: Float64Array) -> Float64Array:
        product: Float64Array = scipy.special.expit(z) * scipy.special.expit(-z)
        return product


class UnitGaussian(Independent):
    """Gaussian distributions with mean z and variance 1; H is 1."""

    name: ClassVar[Distribution] = "gaussian"

    def variances(self, z: Float64Array) -> Float64Array:
        return np.ones_like(z)


class GaussianOfLearnedVariance(Independent):
    """Gaussian distributions with mean mu and variance exp(s), z = (mu, s); H is exp(-s) for mu and 1/2 for s."""

    name: ClassVar[Distribution] = "gaussian_learned_variance"

    def variances(self, z: Float64Array) -> Float64Array:
        s = z[:, z.shape[1] // 2 :]
        return np.hstack([np.exp(-s), np.full_like(s, 0.5)])


class PoissonCounts(Independent):
    """Poisson distributions with mean exp(z); H is exp(z)."""

    name: ClassVar[Distribution] = "poisson"

    def variances(self, z: Float64Array) -> Float64Array:
        return np.exp(z)


class Joint(Likelihood):
    """Several distributions that are independent given z, each with some columns of z; H has a block for each.

    Parameters
    ----------
    parts : list of Likelihood
        The distributions, of one scale.
    widths : list of int
        The number of columns of each.
    """

    def __init__(self, parts: list[Likelihood], widths: list[int]) -> None:
        super().__init__(parts[0].scale)
        ends = np.cumsum(widths).tolist()
        columns = [slice(end - width, end) for end, width in zip(ends, widths, strict=True)]
        self._parts = list(zip(columns, parts, strict=True))

    def roots(self, z: Float64Array) -> Float64Array:
        n, c = z.shape
        roots = np.zeros((n, c, c))
        for columns, part in self._parts:
            roots[:, columns, columns] = part.roots(z[:, columns])
        return roots

    def times_fisher(self, z: Array, v: Array, shares: Array | None, out: Array | None) -> Array:
        out = array_namespace(z).empty_like(z) if out is None else out
        for columns, part in self._parts:
            part.times_fisher(z[:, columns], v[:, columns], shares, out[:, columns])
        return out

    def sampled_score(self, z: Array, seed: int, stream: int) -> Array:
        # Each output draws from a stream of its own.
        first = stream * len(self._parts)
        scores = [
            part.sampled_score(z[:, columns], seed, first + i)
            for i, (columns, part) in enumerate(self._parts)
        ]
        joined: Array = array_namespace(z).concatenate(scores, axis=1)
        return joined

    def divergence(self, z: Array, others: Array, shares: Array | None) -> Array:
        parts = [part.divergence(z[:, columns], others[:, columns], shares) for columns, part in self._parts]
        total: Array = sum(parts[1:], parts[0])
        return total


_OF_LOSS: dict[type, type[Likelihood]] = {
    nn.BinaryCrossEntropy: Bernoulli,
    nn.MeanSquaredError: UnitGaussian,
    nn.Gaussian: GaussianOfLearnedVariance,
    nn.Poisson: PoissonCounts,
}


def likelihood_of(loss: Any, n_outputs: int) -> Likelihood:
    """Return the distribution whose negative log-likelihood is a loss, with the factor between the two.

    Parameters
    ----------
    loss : Loss or JointLoss
        A loss of `steepest.nn`, or those of several outputs.
    n_outputs : int
        Number of columns of the network's outputs.

    Raises
    ------
    ValueError
        If the loss is no negative log-likelihood, the number of outputs does not suit it, or several losses differ in
        their factors.
    """
    if isinstance(loss, JointLoss):
        parts = [likelihood_of(one, width) for one, width in zip(loss.losses, loss.widths, strict=True)]
        factors = [part.scale for part in parts]
        if max(factors) != min(factors):
            raise ValueError(
                f"[FisherMatrix] the losses of the outputs are {', '.join(f'{factor:g}' for factor in factors)} times "
                "negative log-likelihoods, so that their sum is that of no distribution: take reduction='sum', and "
                "half=True for the squared error, which make each factor 1"
            )
        return Joint(parts, list(loss.widths))
    if isinstance(loss, type):
        raise ValueError(f"[FisherMatrix] a loss must be an object, got a class: pass {loss.__name__}()")
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
    # The negative log-likelihood of a Gaussian with variance 1 is half the squared error.
    return kind(scale * (1.0 if kind is not UnitGaussian or loss.half else 2.0))
