"""Distributions of actions, whose parameters are a policy's outputs: sampling, log-probabilities and their gradients.

Methods that take an output z only call kernels, so that a graph can capture them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from scipy.special import log_softmax

from steepest import kernels as K
from steepest import nn
from steepest._runtime.arrays import Array, Float64Array, Int64Array
from steepest._runtime.memory import aligned_empty, aligned_zeros, to_host
from steepest.kernels.distribution import Distribution

from ._spaces import Actions


class ActionDistribution(ABC):
    """A distribution of actions.

    Samples are *coded* as rows of numbers: a class as one-hot, a vector as it is.

    Parameters
    ----------
    actions : Actions
        The space of the actions.
    dtype : dtype
        Dtype of the policy.
    device : {"cpu", "cuda"}
        Its device.

    Attributes
    ----------
    name : str
        Name of the distribution, as kernels take it.
    loss : Loss
        Its negative log-likelihood.
    n_outputs : int
        Number of the policy's outputs.
    width : int
        Length of a coded action.
    """

    name: ClassVar[Distribution]
    loss: Any
    n_outputs: int

    def __init__(self, actions: Actions, dtype: np.dtype[Any], device: str) -> None:
        self.width = actions.size
        self._dtype, self._device = dtype, device

    def _filled(self, value: float) -> Array:
        array = aligned_zeros((1,), self._dtype, self._device)
        array[...] = value
        return array

    def _like(self, z: Array, width: int) -> Array:
        return aligned_empty((len(z), width), self._dtype, self._device)

    @abstractmethod
    def sample(self, z: Array, seed: int, stream: Int64Array) -> Array:
        """Return coded actions drawn for the rows of z."""

    @abstractmethod
    def mode(self, z: Array) -> Array:
        """Return what `actions` takes for the most probable action of each row of z."""

    @abstractmethod
    def actions(self, coded: Array) -> Array:
        """Return actions from coded ones: class ids, or vectors."""

    @abstractmethod
    def log_probability(self, z: Array, coded: Array) -> Array:
        """Return log p(action) for each row, of shape (n,), up to a constant."""

    @abstractmethod
    def score(self, z: Array, coded: Array) -> Array:
        """Return the gradient of -log p(action) with respect to z."""

    @abstractmethod
    def subtract_entropy_gradient(self, d: Array, z: Array, share: float) -> None:
        """Subtract `share` times the gradient of each row's entropy with respect to z from d."""

    @abstractmethod
    def entropy(self, z: Array) -> Float64Array:
        """Return the entropy of each row's distribution, in nats, on the host; this is no operation of a graph."""


class Categorical(ActionDistribution):
    """One of k actions, with the probabilities softmax(z)."""

    name: ClassVar[Distribution] = "categorical"

    def __init__(self, actions: Actions, dtype: np.dtype[Any], device: str) -> None:
        super().__init__(actions, dtype, device)
        self.loss = nn.SoftmaxCrossEntropy()
        self.n_outputs = actions.size
        self._minus = self._filled(-1.0)

    def sample(self, z: Array, seed: int, stream: Int64Array) -> Array:
        # The kernel returns softmax(z) - one-hot.
        score = K.sampled_score(z, self.name, seed=seed, stream=stream)
        K.multiply(score, self._minus, out=score)
        return K.add(score, K.softmax(z), out=score)

    def mode(self, z: Array) -> Array:
        return z

    def actions(self, coded: Array) -> Array:
        return K.argmax(coded)

    def log_probability(self, z: Array, coded: Array) -> Array:
        log_p = K.log_softmax(z)
        return K.sum(K.multiply(log_p, coded, out=log_p), axis=1)

    def score(self, z: Array, coded: Array) -> Array:
        minus = K.multiply(coded, self._minus)
        return K.add(minus, K.softmax(z), out=minus)

    def subtract_entropy_gradient(self, d: Array, z: Array, share: float) -> None:
        # The gradient of the entropy is -p (log p - sum p log p), which is minus that of log p through the softmax.
        through = K.softmax_backward(K.log_softmax(z), K.softmax(z))
        K.multiply(through, self._filled(share), out=d, accumulate=True)

    def entropy(self, z: Array) -> Float64Array:
        log_p = log_softmax(np.asarray(to_host(z), np.float64), axis=1)
        entropies: Float64Array = -(np.exp(log_p) * log_p).sum(axis=1)
        return entropies


class Gaussian(ActionDistribution):
    """A vector of independent normal numbers: z holds the means, then the logarithms of the variances."""

    name: ClassVar[Distribution] = "gaussian_learned_variance"

    def __init__(self, actions: Actions, dtype: np.dtype[Any], device: str) -> None:
        super().__init__(actions, dtype, device)
        self.loss = nn.Gaussian(reduction="sum")
        self.n_outputs = 2 * actions.size
        self._minus, self._half, self._minus_half = map(self._filled, (-1.0, 0.5, -0.5))

    def sample(self, z: Array, seed: int, stream: Int64Array) -> Array:
        # The kernel returns (mean - number) / variance beside the score of the log-variance.
        score = K.sampled_score(z, self.name, seed=seed, stream=stream)
        sampled = K.exp(z[:, self.width :])
        K.multiply(sampled, score[:, : self.width], out=sampled)
        K.multiply(sampled, self._minus, out=sampled)
        return K.add(sampled, z[:, : self.width], out=sampled)

    def mode(self, z: Array) -> Array:
        return z[:, : self.width]

    def actions(self, coded: Array) -> Array:
        return K.copy(coded)

    def _parts(self, z: Array, coded: Array) -> tuple[Array, Array]:
        """Return (mean - number) / variance, and the square of mean - number over the variance."""
        error = K.multiply(coded, self._minus)
        K.add(error, z[:, : self.width], out=error)
        scaled = K.multiply(z[:, self.width :], self._minus)
        K.multiply(K.exp(scaled, out=scaled), error, out=scaled)
        return scaled, K.multiply(scaled, error, out=error)

    def log_probability(self, z: Array, coded: Array) -> Array:
        _, square = self._parts(z, coded)
        K.add(square, z[:, self.width :], out=square)
        return K.sum(K.multiply(square, self._minus_half, out=square), axis=1)

    def score(self, z: Array, coded: Array) -> Array:
        scaled, square = self._parts(z, coded)
        d = self._like(z, self.n_outputs)
        K.copy(scaled, out=d[:, : self.width])
        K.multiply(square, self._minus_half, out=square)
        K.add(square, self._half, out=d[:, self.width :])
        return d

    def subtract_entropy_gradient(self, d: Array, z: Array, share: float) -> None:
        of_variances = d[:, self.width :]
        K.add(of_variances, self._filled(-0.5 * share), out=of_variances)

    def entropy(self, z: Array) -> Float64Array:
        log_variances = np.asarray(to_host(z), np.float64)[:, self.width :]
        entropies: Float64Array = 0.5 * (log_variances + math.log(2 * math.pi * math.e)).sum(axis=1)
        return entropies


def distribution_of(actions: Actions, dtype: np.dtype[Any], device: str) -> ActionDistribution:
    """Return the distribution for a space of actions."""
    kind = Categorical if actions.is_discrete else Gaussian
    return kind(actions, dtype, device)
