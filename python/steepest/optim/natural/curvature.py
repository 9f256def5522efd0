"""The Fisher matrix of natural-gradient steps: averaged over batches, and inverted every few steps."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from steepest._runtime.arrays import Array
from steepest.fisher import FisherMatrix
from steepest.fisher._layout import dot
from steepest.fisher._options import Split, StructureName
from steepest.fisher._solvers import NotPositiveDefiniteError
from steepest.fisher._structures import Operator

# Factor by which a failed factorisation raises the damping, and the most times that it does.
_RAISE, _MOST_RAISES = 4.0, 20
# Smallest damping that adapts: multiplying a damping of 0 would leave it at 0.
LEAST_DAMPING = 1e-8


class Curvature:
    """The average of the Fisher matrices of batches, and its latest inverse.

    Parameters
    ----------
    structure : str
        Structure of the matrices.
    split : {"pi", "even"} or None
        How the damping is split between the factors of K-FAC.
    decay : float
        Decay of the average, in [0, 1); with 0 it is the matrix of the last batch.
    factor_period, inverse_period : int
        Number of steps from one batch that joins to the next, and from one inverse to the next. Each of the first
        `inverse_period` steps of an average computes the inverse.

    Attributes
    ----------
    matrix : FisherMatrix or None
        The average.
    damping, tikhonov : float
        The number that was added to the diagonal before the inversion, with the L2 penalty and without it.
    joined : int
        Batches in the average.
    """

    def __init__(
        self,
        structure: StructureName,
        split: Split | None,
        decay: float,
        factor_period: int,
        inverse_period: int,
    ) -> None:
        self.structure, self.split, self.decay = structure, split, decay
        self.factor_period, self.inverse_period = factor_period, inverse_period
        self.matrix: FisherMatrix | None = None
        self.damping = self.tikhonov = math.nan
        self._inverse: Operator | None = None
        self.joined = 0
        self._steps = self._age = 0
        # Averages that the inverse was computed from, if it serves several steps; averages that `restore` received.
        self._inverted: list[Array] = []
        self._saved: list[Array] = []
        self._inverted_is_saved = False

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the constructor in their order, by the names that `NaturalGradient` gives them."""
        return {
            "structure": self.structure,
            "split": self.split,
            "factor_decay": self.decay,
            "factor_period": self.factor_period,
            "inverse_period": self.inverse_period,
        }

    @property
    def is_of_one_batch(self) -> bool:
        """Whether each step is solved with the dense matrix of its own batch."""
        return self.structure == "dense" and not self.decay and self.factor_period == self.inverse_period == 1

    def join(self, whole: FisherMatrix) -> None:
        """Add the batch of a dense matrix to the average, if `factor_period` steps have passed."""
        due = self._steps % self.factor_period == 0
        self._steps += 1
        if self._saved or self._inverted_is_saved:
            self._revive(whole)
        if self.matrix is None or (due and not self.decay):
            # An average needs a matrix of its own, since other objects may hold the matrix of the batch.
            same = self.structure == whole.structure and not self.decay
            self.matrix = whole if same else whole.with_structure(self.structure)
            if self.decay:
                self.matrix.begin_average()
            self.joined = 1
            return
        if due:
            self.joined += 1
            self.matrix.average_with(whole, min(1.0 - 1.0 / self.joined, self.decay))

    def _revive(self, whole: FisherMatrix) -> None:
        """Rebuild the average and its inverse from the saved state."""
        if self._saved:
            self.matrix = whole.with_structure(self.structure)
            self.matrix.restore(self._saved)
        if self._inverted:
            inverted = whole.with_structure(self.structure)
            inverted.restore(self._inverted)
            self._inverse = inverted.inverse_for_steps(self.damping, self.split)
        self._saved, self._inverted_is_saved = [], False

    @property
    def _outlives_its_batch(self) -> bool:
        """Whether later steps use the matrix of this one, and `state` can keep it.

        Without averages, the dense structure need not form its matrix: then the batch itself would have to be kept.
        """
        if self.decay:
            return True
        if self.matrix is None or self.factor_period == self.inverse_period == 1:
            return False
        return self.matrix.is_formed_for(self.damping)

    def invert(self, damping: float, l2: float) -> tuple[float, int]:
        """Recompute the inverse if it is due; return the damping that it needed, and how often the damping was raised.

        Raises
        ------
        NotPositiveDefiniteError
            If no damping that was tried makes the matrix positive definite.
        """
        assert self.matrix is not None
        self._age += 1
        # While the average holds few batches, each new batch changes it much.
        settled = not self.decay or self._steps > self.inverse_period
        if self._inverse is not None and settled and self._age < self.inverse_period:
            return damping, 0
        self._inverse, self._age = None, 0
        for raises in range(_MOST_RAISES):
            try:
                self._inverse = self.matrix.inverse_for_steps(damping + l2, self.split)
            except (NotPositiveDefiniteError, np.linalg.LinAlgError):
                damping = max(damping, LEAST_DAMPING) * _RAISE
                continue
            self.damping, self.tikhonov = damping + l2, damping
            if self.inverse_period > 1 and self._outlives_its_batch:
                self._inverted = self.matrix.state()
            return damping, raises
        raise NotPositiveDefiniteError("there is no inverse with any damping")

    def solve(self, right: Array) -> Array:
        """Return the product of the inverse with a vector, of the network's dtype and on its device."""
        assert self._inverse is not None
        assert self.matrix is not None
        return self._inverse(right)

    def residual(self, right: Array, solution: Array) -> float:
        """Return ``|(F + damping I) x - right| / |right|`` with the present average F."""
        assert self.matrix is not None
        error = self.matrix.multiply(solution)
        error = error + self.damping * solution - right
        size = dot(right, right)
        return math.sqrt(dot(error, error) / size) if size else 0.0

    def reject(self) -> None:
        """Discard the inverse, so that the next step recomputes it."""
        self._inverse, self._inverted, self._inverted_is_saved = None, [], False

    def restart(self) -> None:
        """Discard the average, which would keep infinite or NaN entries."""
        self.matrix = self._inverse = None
        self._inverted, self._saved, self._inverted_is_saved = [], [], False

    def state(self) -> dict[str, Any]:
        """Return copies of the average, and of the average that the inverse was computed from."""
        averages = self._saved
        if self.matrix is not None and self._outlives_its_batch:
            averages = self.matrix.state()
        return {
            "averages": averages,
            "inverted": [array.copy() for array in self._inverted],
            "inverse": [self.damping, self.tikhonov, self._age],
            "batches": [self.joined, self._steps],
        }

    def checked_state(self, state: Mapping[str, Any]) -> Callable[[], None]:
        """Check a state that `state` returned, and return a function that restores it for the next batch.

        Raises
        ------
        KeyError, TypeError, ValueError
            If an entry is missing, or is not a number.
        """
        saved, inverted = list(state["averages"]), list(state["inverted"])
        for array in (*saved, *inverted):
            if np.asarray(array).dtype.kind not in "fiu":
                raise TypeError(f"an average must be numeric, got the dtype {np.asarray(array).dtype}")
        damping, tikhonov, age = state["inverse"]
        values = float(damping), float(tikhonov), operator.index(age)
        joined, steps = map(operator.index, state["batches"])

        def restore() -> None:
            self.restart()
            self._saved, self._inverted, self._inverted_is_saved = saved, inverted, bool(inverted)
            self.damping, self.tikhonov, self._age = values
            self.joined, self._steps = joined, steps

        return restore
