"""Fisher types (exact, Monte Carlo, empirical): square-root factors of the Fisher matrix of a network's outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import array_namespace, to_device, to_host

from ._joint_loss import Targets
from ._likelihoods import Likelihood


def output_rows(
    loss: Any,
    likelihood: Likelihood,
    output: Array,
    y: Targets | None,
    kind: str,
    n_samples: int,
    seeds: tuple[int, int],
    shares: Float64Array,
) -> Array:
    """Return rows q whose sum ``sum q q^T`` is the Fisher matrix of a batch's outputs, weighted and scaled as the loss.

    Parameters
    ----------
    loss : Loss or JointLoss
        Loss of the network; only the empirical kind uses it.
    likelihood : Likelihood
        Distribution of the targets given the outputs.
    output : ndarray of shape (n, c)
        Outputs of the network, side by side.
    y : ndarray, tuple of ndarray, or None
        Targets, as the loss takes them; only the empirical kind uses them.
    kind : {"exact", "monte_carlo", "empirical"}
        See `FisherMatrix`.
    n_samples : int
        Number of targets that the kind ``"monte_carlo"`` samples for each row.
    seeds : tuple of int
        Seed of the sampled targets, and the index of the batch: each batch uses random streams of its own.
    shares : ndarray of shape (n,)
        Normalised weights of the rows (sum 1).

    Returns
    -------
    ndarray of shape (n * r, c)
        The rows q in the output's dtype and on its device, r consecutive ones for each row of the output.
    """
    roots = np.sqrt(likelihood.scale * shares)
    device, xp = device_of(output), array_namespace(output)

    def on_device(factors: Float64Array) -> Array:
        return to_device(factors.astype(output.dtype), device)

    if kind == "empirical":
        # The gradient of the loss is the score times the normalised weight and the scale.
        assert y is not None
        _, d = loss(output, y, on_device(shares))
        kept = np.divide(1.0, roots, out=np.zeros_like(roots), where=roots > 0)
        rows: Array = xp.ascontiguousarray(d * on_device(kept)[:, None])
        return rows
    if kind == "monte_carlo":
        seed, batch = seeds
        streams = range(batch * n_samples, (batch + 1) * n_samples)
        drawn = [likelihood.sampled_score(output, seed, stream) for stream in streams]
        rows = drawn[0][:, None, :] if n_samples == 1 else xp.stack(drawn, axis=1)
        rows *= on_device(roots / np.sqrt(n_samples))[:, None, None]
    else:
        exact = likelihood.roots(to_host(output).astype(np.float64))
        exact *= roots[:, None, None]
        rows = to_device(np.ascontiguousarray(exact, dtype=output.dtype), device)
    return rows.reshape(-1, output.shape[1])
