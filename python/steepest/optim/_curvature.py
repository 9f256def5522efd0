"""The Fisher matrix that steps are solved with: averaged over batches, and inverted now and then."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from steepest.fisher import FisherMatrix
from steepest.fisher._layout import dot
from steepest.fisher._solvers import NotPositiveDefiniteError
from steepest.fisher._structures import Operator

Array = npt.NDArray[Any]

# By which a matrix that cannot be factorised raises the damping, and how often.
_RAISE, _MOST_RAISES = 4.0, 20
# Damping of 0 would stay there.
LEAST_DAMPING = 1e-8


class Curvature:
    """The average of the batches' matrices, and the inverse that was last made of it.

    Parameters
    ----------
    structure : str
        Of the matrices.
    split : {"pi", "even"} or None
        Of the damping onto the factors of K-FAC.
    decay : float
        Of the average; 0 for the last batch alone.
    factor_period, inverse_period : int
        Steps from one batch that joins to the next, and from one inverse to the next; the first `inverse_period` steps
        of an average have an inverse each.

    Attributes
    ----------
    matrix : FisherMatrix or None
        The average.
    damping, tikhonov : float
        What was added to the diagonal before it was inverted, with the penalty's and without.
    joined : int
        Batches in the average.
    """

    def __init__(
        self, structure: str, split: str | None, decay: float, factor_period: int, inverse_period: int
    ) -> None:
        self.structure, self.split, self.decay = structure, split, decay
        self.factor_period, self.inverse_period = factor_period, inverse_period
        self.matrix: FisherMatrix | None = None
        self.damping = self.tikhonov = math.nan
        self._inverse: Operator | None = None
        self.joined = 0
        self._steps = self._age = 0
        self._saved: list[Array] = []

    def join(self, whole: FisherMatrix) -> None:
        """Let the batch of a dense matrix join the average, if it is its turn."""
        due = self.matrix is None or self._steps % self.factor_period == 0
        self._steps += 1
        if not due:
            return
        if self.matrix is None or not self.decay:
            # What is averaged must be its own matrix, since others may hold the batch's.
            same = self.structure == whole.structure and not self.decay
            self.matrix = whole if same else whole.with_structure(self.structure)
            if not self._saved:
                self.joined = 1
                return
            self.matrix._structure.restore(self._saved)
            self._saved = []
        self.joined += 1
        self.matrix._average(whole._batch, min(1.0 - 1.0 / self.joined, self.decay))

    def invert(self, damping: float, l2: float) -> tuple[float, int]:
        """Make the inverse anew, if it is time; return the damping, raised until there is one, and how often it was.

        Raises
        ------
        NotPositiveDefiniteError
            There is none with any damping.
        """
        assert self.matrix is not None
        self._age += 1
        # An average of few batches changes much with the next.
        settled = not self.decay or self._steps > self.inverse_period
        if self._inverse is not None and settled and self._age < self.inverse_period:
            return damping, 0
        self._inverse, self._age = None, 0
        for raises in range(_MOST_RAISES):
            try:
                self._inverse = self.matrix._inverse(damping + l2, self.split)
            except (NotPositiveDefiniteError, np.linalg.LinAlgError):
                damping = max(damping, LEAST_DAMPING) * _RAISE
                continue
            self.damping, self.tikhonov = damping + l2, damping
            return damping, raises
        raise NotPositiveDefiniteError("there is no inverse with any damping")

    def solve(self, right: Array) -> Array:
        """Return the product of the inverse with a vector, of the network's dtype and on its device."""
        assert self._inverse is not None
        assert self.matrix is not None
        return self.matrix._layout.on_device(self._inverse(right))

    def residual(self, right: Array, solution: Array) -> float:
        """Return ``|(F + damping I) x - right| / |right|`` with the average as it is now."""
        assert self.matrix is not None
        error = self.matrix._layout.on_device(self.matrix._multiply(solution))
        error = error + self.damping * solution - right
        size = dot(right, right)
        return math.sqrt(dot(error, error) / size) if size else 0.0

    def reject(self) -> None:
        """Make the next step have an inverse of its own."""
        self._inverse = None

    def restart(self) -> None:
        """Forget the average: what is not finite would stay in it."""
        self.matrix = self._inverse = None
        self._saved = []

    def state(self) -> list[Array]:
        """Return copies of what is averaged, none before the first batch or without an average."""
        if self.matrix is None or not self.decay:
            return self._saved
        return self.matrix._structure.state()

    def restore(self, state: list[Array], joined: int) -> None:
        """Go on from what `state` returned, with the next batch."""
        self.restart()
        self._saved, self.joined = list(state), joined
