"""The value network: the expected return of a state."""

from __future__ import annotations

from typing import Any

import numpy as np

from steepest import kernels as K
from steepest import nn, optim
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.graph import Graph, capture
from steepest._runtime.memory import aligned_empty, aligned_zeros, assign, to_host

from ._policy import NetworkOptions
from ._spaces import Observations

_LOSS = nn.MeanSquaredError(half=True)


def make_value_network(observations: Observations, options: NetworkOptions) -> nn.Network:
    """Make the value network: one output behind the hidden layers."""
    body, width = options.body(observations.size)
    return nn.Network(
        [*body, nn.Linear(width, 1)],
        seed=options.seed,
        dtype=options.dtype,
        device=options.device,
    )


class Value:
    """Values of states, by a network whose output is standardised: ``V = deviation * output + mean``.

    Mean and deviation follow the returns of each batch. The last layer changes with them so that values stay as they
    are (H. van Hasselt et al., "Learning values across many orders of magnitude", NIPS 2016). The learning rate then
    suits rewards of any size.

    Parameters
    ----------
    network : Network
        The network.
    learning_rate : float
        Learning rate of Adam.
    max_norm : float or None
        Largest norm of all gradients together.
    mean, deviation : float
        The scale of the output.
    """

    def __init__(
        self,
        network: nn.Network,
        learning_rate: float,
        max_norm: float | None,
        mean: float = 0.0,
        deviation: float = 1.0,
    ) -> None:
        self.network, self.mean, self.deviation = network, mean, deviation
        self.optimizer = optim.Adam(network.parameters(), learning_rate, max_norm=max_norm)
        self._fits: dict[tuple[int, int, int], _Fit] = {}

    def of(self, inputs: Array) -> Float64Array:
        """Return the values of standardised observations, of shape (n,), on the host."""
        outputs = np.asarray(to_host(self.network.predict(inputs)), np.float64)[:, 0]
        values: Float64Array = self.deviation * outputs + self.mean
        return values

    def follow(self, returns: Float64Array) -> None:
        """Standardise the output by the moments of some returns, without a change of the values."""
        mean, deviation = float(returns.mean()), float(returns.std())
        if not deviation > 1e-8 * max(1.0, abs(mean)):
            deviation = 1.0
        weight, bias = (p.value for p in self.network.parameters()[-2:])
        weight *= self.deviation / deviation
        bias[...] = (self.deviation * bias + (self.mean - mean)) / deviation
        self.mean, self.deviation = mean, deviation

    def fit(
        self,
        inputs: Array,
        targets: Float64Array,
        weights: Array,
        *,
        n_epochs: int,
        batch_size: int,
        seed: int,
        stream: int,
    ) -> float:
        """Learn returns in mini-batches; return the mean of the squared errors, in units of the returns.

        Parameters
        ----------
        inputs : ndarray of shape (n, n_in)
            Standardised observations, the same array in each call.
        targets : ndarray of shape (n,)
            Their returns.
        weights : ndarray of shape (n,)
            Weights of the rows, the same array in each call.
        n_epochs, batch_size : int
            Passes over the rows, and rows of a mini-batch; rows that are left over wait for the next pass.
        seed, stream : int
            Random numbers of the shuffles; each pass takes a stream of its own from `stream` on.

        Raises
        ------
        DivergenceError
            If the loss is not finite.
        """
        batch_size = min(batch_size, len(inputs))
        key = id(inputs), id(weights), batch_size
        if key not in self._fits:
            self._fits = {key: _Fit(self, inputs, weights, batch_size)}
        fit = self._fits[key]
        assign(fit.targets, (targets - self.mean) / self.deviation)
        fit.total[...] = 0.0
        for epoch in range(n_epochs):
            fit.epoch(seed, stream + epoch)
        steps = n_epochs * (len(inputs) // batch_size)
        return 2.0 * self.deviation**2 * float(fit.total) / steps

    def state(self) -> dict[str, Any]:
        """Return network, scale and optimizer as plain data."""
        return {
            "network": self.network,
            "mean": self.mean,
            "deviation": self.deviation,
            "optimizer": self.optimizer.state_dict(),
        }


class _Fit:
    """The captured step of a fit to one set of arrays."""

    def __init__(self, value: Value, inputs: Array, weights: Array, batch_size: int) -> None:
        network = value.network
        n, device = len(inputs), network.device
        self.targets = aligned_empty((n,), network.dtype, device)
        self.total = aligned_zeros((), np.float64, device)
        self._indices = aligned_zeros((n,), np.int64, device)
        self._cursor = aligned_zeros((), np.int64, device)
        self._batches = n // batch_size
        x = aligned_empty((batch_size, inputs.shape[1]), network.dtype, device)
        y, w = (aligned_empty((batch_size,), network.dtype, device) for _ in range(2))
        self._graph: Graph
        with capture() as self._graph:
            for source, out in ((inputs, x), (self.targets, y), (weights, w)):
                K.take_rows(source, self._indices, out, start=self._cursor)
            K.increment(self._cursor, batch_size)
            loss = network.loss_gradient(_LOSS, x, y, w, require_finite=True)
            K.accumulate(self.total, loss)
            value.optimizer.step()

    def epoch(self, seed: int, stream: int) -> None:
        """Take a step on each mini-batch of a shuffle."""
        assign(self._indices, K.permutation(len(self._indices), seed=seed, stream=stream))
        self._cursor[...] = 0
        self._graph.replay(self._batches)
