"""Running mean and variance of columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from steepest._runtime.arrays import Float64Array


class Moments:
    """Mean and variance of the columns of all batches so far.

    T. Chan, G. Golub, R. LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.

    Parameters
    ----------
    size : int
        Number of columns.
    state : dict or None
        What `state` returned.

    Attributes
    ----------
    count : int
        Number of rows.
    mean, variance : ndarray of shape (size,)
        The moments; 0 and 1 before the first row.
    """

    def __init__(self, size: int, state: dict[str, Any] | None = None) -> None:
        self.count = 0
        self.mean: Float64Array = np.zeros(size)
        self.variance: Float64Array = np.ones(size)
        if state is not None:
            self.count = int(state["count"])
            self.mean, self.variance = np.array(state["mean"]), np.array(state["variance"])

    @property
    def deviation(self) -> Float64Array:
        """Standard deviations; 1 for a column that has not varied."""
        deviation: Float64Array = np.sqrt(self.variance)
        # What rounding leaves of a constant is no deviation.
        constant = deviation <= 1e-8 * np.maximum(1.0, np.abs(self.mean))
        return np.where(constant, 1.0, deviation)

    def add(self, rows: Float64Array) -> None:
        """Add a batch of shape (n, size)."""
        n = len(rows)
        if not n:
            return
        mean, variance = rows.mean(axis=0), rows.var(axis=0)
        if not self.count:
            self.count, self.mean, self.variance = n, mean, variance
            return
        total = self.count + n
        apart = mean - self.mean
        squares = self.variance * self.count + variance * n + apart**2 * (self.count * n / total)
        self.mean = self.mean + apart * (n / total)
        self.variance, self.count = squares / total, total

    def state(self) -> dict[str, Any]:
        """Return copies of the moments as plain data."""
        return {"count": self.count, "mean": self.mean.copy(), "variance": self.variance.copy()}
