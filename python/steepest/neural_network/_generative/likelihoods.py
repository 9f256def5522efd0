"""Distributions of the features of a sample, given its code."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from steepest import kernels as K
from steepest import nn
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import array_namespace
from steepest.nn.layers import Layer
from steepest.nn.ops.sample_gaussian import gaussian_deviation

from .diagnosis import total_variance
from .layers import behind

LIKELIHOODS = ("gaussian", "bernoulli")
_SMALLEST_VARIANCE = 1e-6  # initial variance for data that are constant


@dataclass(frozen=True)
class Likelihood:
    """A distribution of features; a decoder gives its parameters.

    Attributes
    ----------
    name : {"gaussian", "bernoulli"}
        Gaussian with the mean and the log-variance of each feature, or Bernoulli with logits.
    variance : float
        Initial variance of the Gaussian.
    fixed : bool
        Whether the variance stays as it is.
    """

    name: str
    variance: float = 1.0
    fixed: bool = False

    @classmethod
    def of(cls, model: Any, X: Array) -> Likelihood:
        """Return the likelihood that the parameters of a model ask for.

        Without a given variance, that of the data is the initial one.
        """
        given = model.noise_variance
        if given != "learned":
            return cls(model.likelihood, float(given), fixed=True)
        if model.likelihood == "bernoulli":
            return cls(model.likelihood)
        return cls(model.likelihood, max(total_variance(X) / X.shape[1], _SMALLEST_VARIANCE))

    def network(self, n_latent: int, layers: list[Layer], **options: Any) -> nn.Network:
        """Return the decoder of layers that make means or logits."""
        if self.name == "bernoulli":
            return nn.Network(behind(n_latent, layers), **options)
        variance = nn.LogVariance(shared=True, init=math.log(self.variance))
        network = nn.Network(behind(n_latent, [*layers, variance]), **options)
        if self.fixed:
            network.freeze(len(network.layers) - 1)
        return network

    def loss(self, parameters: Array, x: Array) -> tuple[Float64Array, Array]:
        """Return the mean negative log-likelihood of rows without its constant, and its gradient."""
        if self.name == "bernoulli":
            return K.log_loss(parameters, x, reduction="sum")
        return K.gaussian(parameters, x, reduction="sum")

    def constant(self, n_features: int) -> float:
        """Return what the negative log-likelihood of a row has beside `loss`."""
        return 0.0 if self.name == "bernoulli" else 0.5 * n_features * math.log(2 * math.pi)

    def log_likelihoods(self, x: Array, parameters: Array) -> Array:
        """Return the log-likelihood of each row in float64."""
        xp, x = array_namespace(x), x.astype(np.float64)
        z = parameters.astype(np.float64)
        if self.name == "bernoulli":
            found: Array = (x * z - K.activation(z, "softplus")).sum(axis=1)
            return found
        d = x.shape[1]
        mean, s = z[:, :d], z[:, d:]
        found = (s + (x - mean) ** 2 * xp.exp(-s) + math.log(2 * math.pi)).sum(axis=1)
        found *= -0.5
        return found

    def mean(self, parameters: Array) -> Array:
        """Return the means of the features."""
        if self.name == "bernoulli":
            return K.activation(parameters, "sigmoid")
        return parameters[:, : parameters.shape[1] // 2]

    def drawn(self, parameters: Array, seed: int) -> Array:
        """Return features that are drawn from the distribution; draws of codes have stream 0 of the seed."""
        if self.name == "bernoulli":
            xp, p = array_namespace(parameters), self.mean(parameters)
            uniform = K.random_uniform(
                p.shape, seed=seed, stream=1, dtype=p.dtype, device=device_of(parameters)
            )
            drawn: Array = xp.less(uniform, p).astype(p.dtype)
            return drawn
        return K.add(self.mean(parameters), gaussian_deviation(parameters, seed, 1))
