"""The kinds of a Fisher matrix: over which observations its expectation is taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from steepest._backends import device_of
from steepest._memory import array_namespace, to_device, to_host
from steepest.nn import Loss

from ._likelihoods import Likelihood

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]


def output_rows(
    loss: Loss,
    likelihood: Likelihood,
    output: Array,
    y: Array | None,
    kind: str,
    n_samples: int,
    seed: tuple[int, int],
    shares: Float64,
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
    seed : tuple of int
        Of what draws them, and the number of the batch.
    shares : ndarray of shape (n,)
        Weights of the rows, which add up to 1.

    Returns
    -------
    ndarray of shape (n * r, c)
        Of the output's dtype and device; r in sequence for each row.
    """
    roots = np.sqrt(likelihood.scale * shares)
    if kind == "empirical":
        device, xp = device_of(output), array_namespace(output)
        weights = to_device(shares.astype(output.dtype), device)
        # The loss's gradient is the score times the share and the scale.
        _, d = loss(output, y, weights)  # type: ignore[arg-type]
        kept = np.divide(1.0, roots, out=np.zeros_like(roots), where=roots > 0)
        rows: Array = xp.ascontiguousarray(d * to_device(kept.astype(output.dtype), device)[:, None])
        return rows
    z = to_host(output).astype(np.float64)
    if kind == "exact":
        drawn = likelihood.roots(z)
    else:
        rng = np.random.default_rng(seed)
        scores = [likelihood.score(z, likelihood.draw(z, rng)) for _ in range(n_samples)]
        drawn = np.stack(scores, axis=1) / np.sqrt(n_samples)
    drawn = drawn * roots[:, None, None]
    flat = np.ascontiguousarray(drawn.reshape(-1, z.shape[1]), dtype=output.dtype)
    return to_device(flat, device_of(output))
