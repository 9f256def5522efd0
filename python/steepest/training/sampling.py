"""Systematic sampling of rows in proportion to their weights."""

from __future__ import annotations

import numpy as np

from steepest._runtime.arrays import Array

# Whole-number weights become repeated rows if the sum of the weights is at most this multiple of the number of rows.
_MOST_REPEATS = 4


def draw_by_weight(weights: Array, random: np.random.Generator, visits: int | None = None) -> Array:
    """Return rows in ascending order, sampled in proportion to their weights.

    A weighted mean over a mini-batch is a biased estimate of that over all rows, and the weight of a single row cancels
    from it. Therefore weights become frequencies by systematic sampling (W. Madow and L. Madow, "On the theory of
    systematic sampling", 1944). Of k samples, row i gets ``k s_i / sum(s)`` in expectation, rounded down or up. If the
    weights are whole numbers and k is their sum, each row is repeated exactly `s_i` times.

    Parameters
    ----------
    weights : ndarray of shape (n,)
        Weights s, at least 0, and not all 0.
    random : Generator
        Random generator of the offset of the sampling.
    visits : int or None, default=None
        Number k of rows to return; None for the number of weights, or for the sum of whole-number weights.

    Returns
    -------
    ndarray of int64
        The sampled row numbers.
    """
    n, weights = len(weights), weights.astype(np.float64)
    total = float(weights.sum())
    whole = bool((weights == np.floor(weights)).all()) and total <= _MOST_REPEATS * n
    if visits is None:
        visits = int(total) if whole else n
    points = (np.arange(visits) + (0.5 if visits == total else random.random())) * (total / visits)
    rows = np.searchsorted(np.cumsum(weights), points, side="right")
    # Rounding errors may put the last point above the last cumulative sum.
    drawn: Array = np.minimum(rows, np.flatnonzero(weights)[-1])
    return drawn
