"""Weights of samples as numbers of visits."""

from __future__ import annotations

import numpy as np

from steepest._runtime.arrays import Array

# Whole-number weights are repeated rows, as long as these are at most so many times the rows.
_MOST_REPEATS = 4


def draw_by_weight(weights: Array, random: np.random.Generator, visits: int | None = None) -> Array:
    """Return rows in ascending order, each as often as its weight says.

    A mean over the weights of a few rows has another gradient than that over all, and of one row none of its weight is
    left. So weights are numbers of visits (systematic sampling; W. Madow and L. Madow, "On the theory of systematic
    sampling", 1944): of k visits, row i gets a whole number beside ``k s_i / sum(s)``, which is its mean. Where k is
    the sum of whole numbers, they are repeated rows, exactly.

    Parameters
    ----------
    weights : ndarray of shape (n,)
        Weights s, not negative, not all zero.
    random : Generator
        Where the sampling begins.
    visits : int or None, default=None
        How many rows to return; None for as many as there are weights, or, for whole numbers, their sum.

    Returns
    -------
    ndarray of int64
        The rows.
    """
    n, weights = len(weights), weights.astype(np.float64)
    total = float(weights.sum())
    whole = bool((weights == np.floor(weights)).all()) and total <= _MOST_REPEATS * n
    if visits is None:
        visits = int(total) if whole else n
    points = (np.arange(visits) + (0.5 if visits == total else random.random())) * (total / visits)
    rows = np.searchsorted(np.cumsum(weights), points, side="right")
    # Rounding of the sums may leave a last point beyond all of them.
    drawn: Array = np.minimum(rows, np.flatnonzero(weights)[-1])
    return drawn
