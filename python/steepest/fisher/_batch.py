"""A batch as a Fisher matrix sees it: run through the network, with what comes back from the likelihood."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from steepest import kernels as K
from steepest.nn import Loss

from ._factors import Factors
from ._kinds import output_rows
from ._layout import Layout, dot
from ._likelihoods import Likelihood
from ._tape import Tape

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Expectation:
    """Over which observations a Fisher matrix is an expectation; see `FisherMatrix`."""

    kind: str
    n_samples: int
    seed: int

    def repeats(self, n_outputs: int) -> int:
        """Return the number of rows that each sample has in the factors."""
        return {"exact": n_outputs, "monte_carlo": self.n_samples, "empirical": 1}[self.kind]


@dataclass
class Batch:
    """A batch and its forward pass.

    Attributes
    ----------
    layout : Layout
        Of vectors of the network's parameters.
    loss : Loss
        As given.
    likelihood : Likelihood
        Behind it.
    expectation : Expectation
        Whose rows `factors` has.
    number : int
        Of the batch among those of one matrix: each has draws of its own.
    tape : Tape
        The forward pass.
    y : ndarray or None
        Targets as the loss takes them, on the network's device.
    shares : ndarray of shape (n,)
        Weights of the rows, which add up to 1, on the host.
    is_weighted : bool
        Whether they may differ.
    """

    layout: Layout
    loss: Loss
    likelihood: Likelihood
    expectation: Expectation
    number: int
    tape: Tape
    y: Array | None
    shares: Float64
    is_weighted: bool

    @cached_property
    def factors(self) -> Factors:
        """The factors of the Fisher matrix, with a pass back for the rows of each sample."""
        rows = output_rows(
            self.loss,
            self.likelihood,
            self.tape.output,
            self.y,
            self.expectation.kind,
            self.expectation.n_samples,
            (self.expectation.seed, self.number),
            self.shares,
        )
        grads = self.tape.backward(rows)
        return Factors(self.layout, self.tape.inputs, self.tape.weights, grads, self.device_shares)

    @cached_property
    def device_shares(self) -> Array | None:
        """The shares in the network's dtype and on its device; None where they are all the same."""
        return self.layout.on_device(self.shares) if self.is_weighted else None

    def gradient_of(self, d: Array) -> Array:
        """Return ``J^T d`` for d of the output's shape, flat."""
        flat = self.layout.empty()
        self.tape.pullback(d, self.layout.parts(flat))
        return flat

    def tangent(self, flat: Array) -> Array:
        """Return how the outputs change with the parameters, ``J v`` of shape (n, c).

        Parameters
        ----------
        flat : ndarray of shape (P,)
            v, of the network's dtype and on its device.
        """
        return self.tape.tangent(self.layout.parts(flat))

    def times_exact(self, flat: Array) -> Array:
        """Return ``J^T H J v``: a pass forwards with the tangent, and one back, for any number of outputs."""
        moved = self.tangent(flat)
        return self.gradient_of(self._times_output_fisher(moved, moved))

    def form(self, moved: Array, others: Array) -> float:
        """Return ``u^T J^T H J v``, exactly, from ``J u`` and ``J v``: there is no need to go back."""
        return dot(self._times_output_fisher(moved).ravel(), others.ravel())

    def _times_output_fisher(self, moved: Array, out: Array | None = None) -> Array:
        likelihood = self.likelihood
        return K.output_fisher(
            self.tape.output, moved, likelihood.name, self.device_shares, scale=likelihood.scale, out=out
        )
