"""How long a training goes on without an improvement."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Patience:
    """The largest value so far, and the number of epochs in a row that did not improve on it.

    Losses enter with the opposite sign. As in scikit-learn, an epoch counts as an improvement if its value is at least
    `tol` above the largest one before; smaller steps raise that value too.

    Attributes
    ----------
    best : float
        The largest value.
    waited : int
        Epochs in a row without an improvement.
    """

    best: float = -math.inf
    waited: int = 0

    def observe(self, value: float, tol: float) -> bool:
        """Count an epoch, and return whether its value is the largest so far; NaN is no improvement."""
        self.waited = 0 if value >= self.best + tol else self.waited + 1
        is_best = value > self.best
        if is_best:
            self.best = value
        return is_best
