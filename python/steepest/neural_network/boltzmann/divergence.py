"""Contrastive divergence: a step of a Boltzmann machine on a mini-batch, made of operations that a graph replays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_empty, aligned_zeros, assign, to_device

from .draws import Draws
from .machine import Machine, parts_of


@dataclass(frozen=True)
class StepOptions:
    """How a step moves the parameters; `BernoulliRBM` describes the fields."""

    learning_rate: float
    n_gibbs: int = 1
    persistent: bool = True
    momentum: float = 0.0
    l1: float = 0.0
    l2: float = 0.0
    sparsity: float | None = None
    sparsity_strength: float = 0.1


class ContrastiveDivergence:
    """Steps on mini-batches by the difference of statistics under the data and at the end of Gibbs chains.

    The chains begin at the data (G. E. Hinton, 2002) or, if persistent, where they ended in the step before (T.
    Tieleman, "Training restricted Boltzmann machines using approximations to the likelihood gradient", ICML 2008). The
    update takes the means of the hidden units at both ends, the chain takes draws.

    Parameters
    ----------
    machine : Machine
        The machine to train.
    arena : ndarray
        The flat array of all of its parameters.
    options : StepOptions
        How a step moves the parameters.
    chain : ndarray of shape (n_chains, n_hidden)
        States of the hidden units of the persistent chains, which steps change.
    largest : int
        Largest number of samples in a batch.
    velocity : ndarray or None
        Accumulated steps with momentum, in the layout of the arena.
    weights_chains : bool
        Whether the chains count as much as the batch if their numbers differ. scikit-learn does not weight them.

    Attributes
    ----------
    batch : ndarray of shape (largest, n_visible)
        Receives the samples before a step, in its first rows.
    """

    def __init__(
        self,
        machine: Machine,
        arena: Array,
        options: StepOptions,
        chain: Array,
        largest: int,
        velocity: Array | None = None,
        *,
        weights_chains: bool = True,
    ) -> None:
        self.machine, self.options, self.chain = machine, options, chain
        self._arena, self._velocity, self._weights_chains = arena, velocity, weights_chains
        n_visible, n_hidden = machine.weights.shape
        dtype, device = arena.dtype, device_of(arena)
        self._chains = len(chain) if options.persistent else largest
        rows = self._chains + largest
        # The ends of the chains come before the samples, so that a smaller batch takes fewer rows at the end.
        self._visible = aligned_empty((rows, n_visible), dtype, device)
        self._means = aligned_empty((rows, n_hidden), dtype, device)
        self._signed = aligned_empty((rows, n_hidden), dtype, device)
        self._draws = aligned_empty((rows, n_hidden), dtype, device)
        self._gradient = aligned_zeros(arena.shape, dtype, device)
        self._signs: dict[int, Array] = {}
        self.batch = self._visible[self._chains :]

    def numbers_of_step(self, n: int) -> int:
        """Return how many uniform numbers a step on n samples of a binary machine takes."""
        chains = self._chains if self.options.persistent else n
        return self.options.n_gibbs * chains * sum(self.machine.weights.shape)

    def ends(self, n: int) -> Array:
        """Return the visible units at the ends of the chains of a step on n samples."""
        return self._visible[self._chains - (self._chains if self.options.persistent else n) : self._chains]

    def step(self, n: int, draws: Draws) -> None:
        """Take a step on the first n rows of `batch`."""
        options, machine = self.options, self.machine
        chains = self._chains if options.persistent else n
        first = self._chains - chains
        ends = slice(first, self._chains)
        samples, rows = slice(self._chains, self._chains + n), slice(first, self._chains + n)
        draws.begin()
        h = self.chain
        if not options.persistent:
            h = self._draws[ends]
            draw = draws.next(n, machine.weights.shape[1])
            machine.draw_hidden(self.batch[:n], draw, self._means[samples], h)
        for k in range(options.n_gibbs):
            machine.draw_visible(h, draws.next, self._visible[ends])
            last = k + 1 == options.n_gibbs
            if last and not options.persistent:
                machine.hidden_means(self._visible[ends], out=self._means[ends])
            else:
                draw = draws.next(chains, machine.weights.shape[1])
                machine.draw_hidden(self._visible[ends], draw, self._means[ends], h)
        if options.persistent:
            machine.hidden_means(self.batch[:n], out=self._means[samples])
        draws.end()
        self._update(n, chains, rows)

    def _update(self, n: int, chains: int, rows: slice) -> None:
        """Move the parameters against the gradient of the negative log-likelihood, summed over the batch."""
        options, machine = self.options, self.machine
        signs = self._signs_of(n, chains)
        weights, hidden, visible = parts_of(self._gradient, *machine.weights.shape)
        K.multiply(self._means[rows], signs, out=self._signed[rows])
        K.linear_backward(
            self._signed[rows],
            self._visible[rows],
            machine.weights,
            l2=options.l2 * n,
            input_grad=False,
            d_w=weights,
            d_b=hidden,
        )
        K.matmul(signs.T, self._visible[rows], out=visible[None])
        if options.sparsity is not None:
            self._add_sparsity(n, hidden)
        K.sgd_update(
            [machine.weights, self._arena[machine.weights.size :]],
            [weights, self._gradient[machine.weights.size :]],
            None if self._velocity is None else self._velocities(),
            lr=options.learning_rate / n,
            momentum=options.momentum,
            l1=options.l1 * n,
            penalised=[True, False],
        )

    def _velocities(self) -> list[Array]:
        assert self._velocity is not None
        size = self.machine.weights.size
        return [self._velocity[:size].reshape(self.machine.weights.shape), self._velocity[size:]]

    def _add_sparsity(self, n: int, hidden: Array) -> None:
        """Add the difference of the batch's mean activity and the target to the gradient of the hidden biases."""
        options = self.options
        assert options.sparsity is not None
        ones = np.full((1, n), options.sparsity_strength, self._arena.dtype)
        target = np.full(len(hidden), -options.sparsity * options.sparsity_strength * n, self._arena.dtype)
        device = device_of(self._arena)
        means = self._means[self._chains : self._chains + n]
        K.add(hidden, K.linear(to_device(ones, device), means, to_device(target, device))[0], out=hidden)

    def _signs_of(self, n: int, chains: int) -> Array:
        """Return the weights of the chains, and -1 for each sample."""
        if n not in self._signs:
            signs = np.full((chains + n, 1), -1.0, self._arena.dtype)
            signs[:chains] = n / chains if self._weights_chains else 1.0
            self._signs[n] = aligned_empty(signs.shape, signs.dtype, device_of(self._arena))
            assign(self._signs[n], signs)
        return self._signs[n]
