"""A batch of samples for a Fisher matrix: its forward pass, and the square-root factors of the matrix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from steepest._runtime.arrays import Array, Float64Array

from ._factors import Factors
from ._fisher_types import output_rows
from ._joint_loss import Targets
from ._layout import Layout, dot
from ._likelihoods import Likelihood
from ._tape import Tape
from .blocks import block_of

# Most bytes of factors and their intermediate arrays that are in memory at a time.
_BLOCK_BYTES = 64 << 20


@dataclass(frozen=True)
class Expectation:
    """Type of a Fisher matrix: the distribution of targets that its expectation runs over; see `FisherMatrix`."""

    kind: str
    n_samples: int
    seed: int

    def repeats(self, n_outputs: int) -> int:
        """Return how many rows of the factors belong to each sample."""
        return {"exact": n_outputs, "monte_carlo": self.n_samples, "empirical": 1}[self.kind]


@dataclass
class Batch:
    """A batch and its forward pass.

    Attributes
    ----------
    layout : Layout
        Layout of flat vectors of the network's parameters.
    loss : Loss or JointLoss
        Loss of the network.
    likelihood : Likelihood
        Distribution whose negative log-likelihood is the loss.
    expectation : Expectation
        Type of the Fisher matrix that `factors` belongs to.
    number : int
        Index of the batch among those of one matrix; each batch samples from random streams of its own.
    tape : Tape
        The forward pass.
    y : ndarray, tuple of ndarray, or None
        Targets as the loss takes them, on the network's device.
    shares : ndarray of shape (n,)
        Normalised weights of the rows (sum 1), on the host.
    is_weighted : bool
        Whether the caller passed sample weights, so that the rows may differ in weight.
    """

    layout: Layout
    loss: Any
    likelihood: Likelihood
    expectation: Expectation
    number: int
    tape: Tape
    y: Targets | None
    shares: Float64Array
    is_weighted: bool

    @cached_property
    def factors(self) -> Factors:
        """The square-root factors of the Fisher matrix, from one backward pass for all rows of all samples."""
        return self._factors_of(slice(0, len(self.shares)))

    def factors_by_blocks(self, more: int = 0) -> Iterator[Factors]:
        """Yield the factors block by block, with as many samples in a block as fit into 64 MiB.

        Parameters
        ----------
        more : int
            How many float64 numbers the caller needs for each row of the factors.
        """
        n, n_outputs = len(self.shares), self.tape.output.shape[1]
        explicit = sum(part.size for part in self.layout.blocks if part.holds_rows)
        numbers = self.tape.numbers_of_a_row + explicit + 2 * n_outputs + more
        size = _BLOCK_BYTES // (8 * self.expectation.repeats(n_outputs) * numbers)
        if "factors" in self.__dict__ or size >= n:
            yield self.factors
            return
        for start in range(0, n, max(size, 1)):
            yield self._factors_of(slice(start, min(start + max(size, 1), n)))

    def _factors_of(self, samples: slice) -> Factors:
        tape = self.tape.of_rows(samples)
        rows = self._output_rows(samples)
        grads = tape.backward(rows)
        return Factors(self.layout, [block_of(part, tape, grads) for part in self.layout.blocks], len(rows))

    def _output_rows(self, samples: slice) -> Array:
        """Return `output_rows` of some samples; the many rows of the exact kind are computed block by block."""
        repeats = self.expectation.repeats(self.tape.output.shape[1])
        if self.expectation.kind == "exact":
            return self._rows_of(self.tape.output[samples], self.shares[samples])
        return self._all_output_rows[samples.start * repeats : samples.stop * repeats]

    @cached_property
    def _all_output_rows(self) -> Array:
        return self._rows_of(self.tape.output, self.shares)

    def _rows_of(self, output: Array, shares: Float64Array) -> Array:
        return output_rows(
            self.loss,
            self.likelihood,
            output,
            self.y,
            self.expectation.kind,
            self.expectation.n_samples,
            (self.expectation.seed, self.number),
            shares,
        )

    @cached_property
    def in_float64(self) -> Batch:
        """The same forward pass in float64, for products with float64 vectors."""
        if self.layout.dtype == np.float64:
            return self
        double = replace(self, layout=self.layout.in_float64(), tape=self.tape.in_float64())
        if self.expectation.kind != "exact":
            # The float64 factors use the same targets, sampled or given.
            double.__dict__["factors"] = self.factors.in_float64()
        return double

    @cached_property
    def device_shares(self) -> Array | None:
        """The normalised weights in the network's dtype and on its device; None if no weights were passed."""
        return self.layout.on_device(self.shares) if self.is_weighted else None

    def gradient_of(self, d: Array) -> Array:
        """Return ``J^T d`` as a flat vector, for d of the output's shape."""
        flat = self.layout.empty()
        self.tape.pullback(d, self.layout.named(flat))
        return flat

    def tangent(self, flat: Array) -> Array:
        """Return ``J v`` of shape (n, c): the change of the outputs with the parameters (forward-mode derivative).

        Parameters
        ----------
        flat : ndarray of shape (P,)
            The change v of the parameters, in the network's dtype and on its device.
        """
        return self.tape.tangent(self.layout.named(flat))

    def times_exact(self, flat: Array) -> Array:
        """Return ``J^T H J v`` from one forward-mode and one backward pass, for any number of outputs."""
        moved = self.tangent(flat)
        return self.gradient_of(self._times_output_fisher(moved, moved))

    def form(self, moved: Array, others: Array) -> float:
        """Return ``u^T J^T H J v`` from ``J u`` and ``J v``, without a backward pass."""
        return dot(self._times_output_fisher(moved).ravel(), others.ravel())

    def _times_output_fisher(self, moved: Array, out: Array | None = None) -> Array:
        return self.likelihood.times_fisher(self.tape.output, moved, self.device_shares, out)
