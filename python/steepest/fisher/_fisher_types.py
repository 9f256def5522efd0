"""The kinds of a Fisher matrix: over which observations its expectation is taken."""

from __future__ import annotations

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import array_namespace, to_device, to_host
from steepest.nn import Loss

from ._likelihoods import Likelihood


def output_rows(
    loss: Loss,
    likelihood: Likelihood,
    output: Array,
    y: Array | None,
    kind: str,
    n_samples: int,
    seeds: tuple[int, int],
    shares: Float64Array,
) -> Array:
    """Return rows q with ``sum q q^T`` the Fisher matrix of the outputs of a batch, weighted and scaled as the loss.

    Parameters
    ----------
    loss : Loss
        For the empirical kind.
    likelihood : Likelihood
        Of the outputs.
    output : ndarray of shape (n, c)
        Of the network.
    y : ndarray or None
        Observations, as the loss takes them, for the empirical kind.
    kind : {"exact", "monte_carlo", "empirical"}
        See `FisherMatrix`.
    n_samples : int
        Observations that are drawn for each row.
    seeds : tuple of int
        Of what draws them, and the number of the batch, each of which has draws of its own.
    shares : ndarray of shape (n,)
        Weights of the rows, which add up to 1.

    Returns
    -------
    ndarray of shape (n * r, c)
        Of the output's dtype and device; r in sequence for each row.
    """
    roots = np.sqrt(likelihood.scale * shares)
    device, xp = device_of(output), array_namespace(output)

    def on_device(factors: Float64Array) -> Array:
        return to_device(factors.astype(output.dtype), device)

    if kind == "empirical":
        # The loss's gradient is the score times the share and the scale.
        assert y is not None
        _, d = loss(output, y, on_device(shares))
        kept = np.divide(1.0, roots, out=np.zeros_like(roots), where=roots > 0)
        rows: Array = xp.ascontiguousarray(d * on_device(kept)[:, None])
        return rows
    if kind == "monte_carlo":
        seed, batch = seeds
        streams = range(batch * n_samples, (batch + 1) * n_samples)
        drawn = [K.sampled_score(output, likelihood.name, seed=seed, stream=stream) for stream in streams]
        rows = drawn[0][:, None, :] if n_samples == 1 else xp.stack(drawn, axis=1)
        rows *= on_device(roots / np.sqrt(n_samples))[:, None, None]
    else:
        exact = likelihood.roots(to_host(output).astype(np.float64))
        exact *= roots[:, None, None]
        rows = to_device(np.ascontiguousarray(exact, dtype=output.dtype), device)
    return rows.reshape(-1, output.shape[1])
