"""The rows whose outer products a Fisher matrix adds up, each from what a layer takes in and what comes back to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from steepest import kernels as K
from steepest._memory import aligned_zeros, to_device, to_host
from steepest.nn import Network

from ._likelihoods import Likelihood
from ._tape import Tape

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]
Parts = list[Array]
"""A vector of the parameters: for each linear layer its weights, and its bias as the last row where it has one."""


@dataclass
class Factors:
    """``F = S^T S``, where row (i, s) of S is made of the outer products of ``inputs[l][i]`` and ``grads[l][i, s]``.

    Attributes
    ----------
    inputs : list of ndarray of shape (n, p_l) or (n, p_l + 1)
        What each linear layer takes in, with a column of ones where it has a bias.
    grads : list of ndarray of shape (n * r, m_l)
        What reaches its output, r times in sequence for each sample, times the root of the sample's share.
    shares : ndarray of shape (n,)
        Weights of the samples, which add up to 1, on the host.
    """

    inputs: list[Array]
    grads: list[Array]
    shares: Float64

    @property
    def repeats(self) -> int:
        """The number of rows for each sample, r."""
        return len(self.grads[0]) // len(self.inputs[0])

    def rows_times(self, parts: Parts) -> Array:
        """Return ``S v``, of shape (n * r,)."""
        total: Array | None = None
        for x, d, part in zip(self.inputs, self.grads, parts, strict=True):
            product = K.matmul(x, part)
            by_sample = d.reshape(len(x), self.repeats, -1) * product[:, None, :]
            of_layer = by_sample.sum(axis=2)
            total = of_layer if total is None else total + of_layer
        assert total is not None
        return total.reshape(-1)

    def combined(self, u: Array) -> Parts:
        """Return ``S^T u`` for u of shape (n * r,)."""
        parts = []
        for x, d in zip(self.inputs, self.grads, strict=True):
            weighted = (d * u[:, None]).reshape(len(x), self.repeats, -1).sum(axis=1)
            parts.append(K.matmul(x.T, weighted))
        return parts

    def gram(self, device: str) -> Float64:
        """Return ``S S^T`` without S, on the host: in each layer the product of two Gram matrices, item by item."""
        m = len(self.grads[0])
        gram = aligned_zeros((m, m), np.float64, device)
        for x, d in zip(self.inputs, self.grads, strict=True):
            K.gradient_gram(x, d, accumulate=True, out=gram)
        result: Float64 = to_host(gram)
        return result

    def rows(self, layers: slice = slice(None)) -> Array:
        """Return S, of the parameters of some layers."""
        r = self.repeats
        blocks = []
        for x, d in zip(self.inputs[layers], self.grads[layers], strict=True):
            outer = x[:, None, :, None] * d.reshape(len(x), r, 1, -1)
            blocks.append(to_host(outer.reshape(len(d), -1)))
        return np.hstack(blocks)


def squares(rows: Array, device: str, weights: Float64 | None = None) -> Float64:
    """Return ``sum_i w_i r_i r_i^T`` of the rows of an array in float64, on the host: one triangle is computed."""
    d = rows.shape[1]
    origin = aligned_zeros((1, d), rows.dtype, device)
    given = None if weights is None else to_device(weights.astype(rows.dtype), device)
    scatter: Float64 = to_host(K.class_scatter(to_device(rows, device), None, origin, given)[2])
    return scatter


def factors_of(
    net: Network,
    tape: Tape,
    likelihood: Likelihood,
    y: Array | None,
    kind: str,
    n_samples: int,
    rng: np.random.Generator,
    shares: Float64,
) -> Factors:
    """Return the factors of a Fisher matrix.

    Parameters
    ----------
    net : Network
        Whose parameters they are of.
    tape : Tape
        Its forward pass.
    likelihood : Likelihood
        Of the network's output.
    y : ndarray or None
        Observations, for ``"empirical"``.
    kind : {"exact", "monte_carlo", "empirical"}
        See `FisherMatrix`.
    n_samples : int
        Observations that are drawn for each row.
    rng : numpy.random.Generator
        What draws them.
    shares : ndarray of shape (n,)
        Weights of the rows, which add up to 1.
    """
    z = to_host(tape.output).astype(np.float64)
    if kind == "exact":
        roots = likelihood.roots(z)
    elif kind == "monte_carlo":
        drawn = [likelihood.score(z, likelihood.draw(z, rng)) for _ in range(n_samples)]
        roots = np.stack(drawn, axis=1) / np.sqrt(n_samples)
    else:
        assert y is not None
        roots = likelihood.score(z, y)[:, None, :]
    roots = roots * np.sqrt(likelihood.scale * shares)[:, None, None]
    flat = np.ascontiguousarray(roots.reshape(-1, z.shape[1]), dtype=net.dtype)
    grads = tape.backward(to_device(flat, net.device))
    return Factors(tape.inputs_with_ones(), grads, shares)
