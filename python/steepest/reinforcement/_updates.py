"""Updates of a policy from a rollout: a step of the gradient, a natural step in a ball, and clipped steps."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from steepest import kernels as K
from steepest import optim
from steepest._cpu import DivergenceError
from steepest._runtime.arrays import Array
from steepest._runtime.graph import Graph, capture
from steepest._runtime.memory import aligned_empty, aligned_zeros, assign, to_host
from steepest.fisher import FisherMatrix
from steepest.fisher._layout import dot

from ._policy import Policy
from ._rollout import Rollout

# A natural step is shortened at most so many times: by half, or where its divergence is less than four times the bound,
# to a little less than what the bound allows.
_MOST_TRIES, _SHORTER, _WITHIN = 10, 0.5, 0.95


@dataclass(frozen=True)
class Outcome:
    """What an update has done.

    Attributes
    ----------
    loss : float
        Minus the mean of the advantages, weighted by the ratios of the new probabilities to the old ones.
    divergence : float
        Mean KL(old policy || new policy) over the rows, in nats.
    """

    loss: float
    divergence: float


class Comparison:
    """The policy after an update against the policy before it, over the rows of a rollout; captured once."""

    def __init__(self, policy: Policy, rollout: Rollout) -> None:
        distribution, network = policy.distribution, policy.network
        self._policy, self._rollout = policy, rollout
        self.before = policy.empty(rollout.size, distribution.n_outputs)
        self._log_before = policy.empty(rollout.size)
        self._divergence = aligned_zeros((), np.float64, network.device)
        minus = policy.empty(1)
        minus[...] = -1
        with capture() as self._begin:
            K.copy(network.predict(*policy.inputs(rollout.inputs)), out=self.before)
            log_before = distribution.log_probability(self.before, rollout.coded)
            K.multiply(log_before, minus, out=self._log_before)
        with capture() as self._compare:
            z = network.predict(*policy.inputs(rollout.inputs))
            K.output_divergence(self.before, z, distribution.name, rollout.weights, out=self._divergence)
            ratio = K.add(distribution.log_probability(z, rollout.coded), self._log_before)
            K.multiply(K.exp(ratio, out=ratio), rollout.pull, out=ratio)
            self._gain = K.sum(ratio)

    @property
    def log_before(self) -> Array:
        """Minus the log-probabilities of the actions before the update."""
        return self._log_before

    def begin(self) -> None:
        """Take the present policy as the one before the update."""
        self._begin.replay()

    def outcome(self) -> Outcome:
        """Return what the update has done so far."""
        self._compare.replay()
        return Outcome(-float(self._gain), float(self._divergence))


class Update(ABC):
    """An update of a policy from a rollout."""

    @abstractmethod
    def __call__(self, stream: int) -> Outcome:
        """Change the policy; `stream` numbers the random streams of shuffles.

        Raises
        ------
        DivergenceError
            If the loss or a gradient is not finite.
        """


def _require_finite(outcome: Outcome) -> Outcome:
    if not (math.isfinite(outcome.loss) and math.isfinite(outcome.divergence)):
        raise DivergenceError(f"the loss is {outcome.loss}, and the divergence {outcome.divergence}")
    return outcome


class GradientUpdate(Update):
    """A step of an optimizer along the policy gradient of all rows, captured once."""

    def __init__(self, policy: Policy, rollout: Rollout, optimizer: optim.Optimizer, entropy: float) -> None:
        self._comparison = Comparison(policy, rollout)
        with capture() as self._step:
            policy_gradient(policy, rollout, entropy)
            optimizer.step()

    def __call__(self, stream: int) -> Outcome:
        self._comparison.begin()
        self._step.replay()
        return _require_finite(self._comparison.outcome())


def policy_gradient(policy: Policy, rollout: Rollout, entropy: float) -> Array:
    """Compute minus the policy gradient by operations of a graph, and return the outputs.

    It is the sum over the rows of ``pull * d(-log p(action))``, less `entropy` times the gradient of the mean entropy.
    """
    z: Array = policy.network.forward(*policy.inputs(rollout.inputs))
    _backward(policy, z, rollout.coded, rollout.pull, entropy / rollout.size)
    return z


def _backward(policy: Policy, z: Array, coded: Array, pull: Array, entropy_share: float) -> None:
    """Compute the gradient of ``sum(pull * -log p(action))`` less a share of each row's entropy, from the outputs z."""
    d = policy.distribution.score(z, coded)
    K.multiply(d, pull[:, None], out=d)
    if entropy_share:
        policy.distribution.subtract_entropy_gradient(d, z, entropy_share)
    policy.network.backward(d)


class NaturalUpdate(Update):
    """A step along the natural gradient to the edge of a ball of divergence, and shortened until it is within the ball.

    Parameters
    ----------
    policy, rollout : Policy, Rollout
        The policy, and where its rows lie.
    bound : float
        Largest mean divergence of the new policy from the old one, in nats.
    damping : float
        The number that is added to the diagonal of the Fisher matrix.
    solver : {"cg", "cholesky", "gram", "kfac"}
        How the equations are solved.
    n_iterations : int
        Iterations of conjugate gradients.
    entropy : float
        Factor of the entropy in the objective.
    """

    def __init__(
        self,
        policy: Policy,
        rollout: Rollout,
        *,
        bound: float,
        damping: float,
        solver: str,
        n_iterations: int,
        entropy: float,
    ) -> None:
        self._policy, self._rollout, self._solver = policy, rollout, solver
        self._bound, self._damping, self._n_iterations = bound, damping, n_iterations
        self._comparison = Comparison(policy, rollout)
        network, name = policy.network, policy.distribution.name
        with capture() as self._gradient:
            z = policy_gradient(policy, rollout, entropy)
        self._v = aligned_zeros(network.arena.shape, network.dtype, network.device)
        # The products continue the captured forward pass, whose values the gradient has left in its buffers.
        with capture() as self._product:
            moved = network.jvp(network._arena.views(self._v))
            d = K.output_fisher(z, moved, name, rollout.weights)
            network.backward(d)

    def times_fisher(self, v: Array) -> Array:
        """Return the product of the policy's Fisher matrix at the last gradient with an array like the arena."""
        self._v[...] = v
        self._product.replay()
        return self._policy.network.grad_arena.copy()

    def __call__(self, stream: int) -> Outcome:
        network, comparison = self._policy.network, self._comparison
        comparison.begin()
        self._gradient.replay()
        gradient = network.grad_arena.copy()
        if not math.isfinite(dot(gradient, gradient)):
            raise DivergenceError("the gradient is not finite")
        direction = self._solved(gradient)
        curvature = dot(direction, self.times_fisher(direction))
        slope = dot(direction, gradient)
        unchanged = Outcome(-float(to_host(self._rollout.pull).sum(dtype=np.float64)), 0.0)
        if not (curvature > 0 and slope > 0):
            return unchanged
        step = direction * math.sqrt(2.0 * self._bound / curvature)
        start = network.arena.copy()
        try:
            for _ in range(_MOST_TRIES):
                assign(network.arena, start - step)
                outcome = comparison.outcome()
                if outcome.divergence <= self._bound and outcome.loss < unchanged.loss:
                    return outcome
                step = step * self._shortening(outcome)
        except BaseException:  # Ctrl-C too
            assign(network.arena, start)
            raise
        assign(network.arena, start)
        return unchanged

    def _shortening(self, outcome: Outcome) -> float:
        """Return the factor of a step that was too long: the divergence grows with its square."""
        beyond = self._bound / outcome.divergence if outcome.divergence > self._bound else 0.0
        return _WITHIN * math.sqrt(beyond) if beyond > _SHORTER**2 else _SHORTER

    def _solved(self, gradient: Array) -> Array:
        """Return an approximate solution x of ``(F + damping I) x = gradient``."""
        if self._solver == "cg":
            return self._by_conjugate_gradients(gradient)
        policy, rollout, arena = self._policy, self._rollout, self._policy.network._arena
        matrix = FisherMatrix(
            policy.network,
            policy.distribution.loss,
            policy.inputs(rollout.inputs),
            structure="kfac" if self._solver == "kfac" else "dense",
            solver="auto" if self._solver == "kfac" else self._solver,  # type: ignore[arg-type]
            sample_weight=rollout.weights,
        )
        solution = aligned_zeros(gradient.shape, gradient.dtype, policy.network.device)
        solved = matrix.solve(arena.views(gradient), self._damping)
        for view, part in zip(arena.views(solution), solved, strict=True):
            view[...] = part
        return solution

    def _by_conjugate_gradients(self, gradient: Array) -> Array:
        """Solve by a few iterations of conjugate gradients, each with one product (M. Hestenes, E. Stiefel, 1952)."""
        x = aligned_zeros(gradient.shape, gradient.dtype, self._policy.network.device)
        residual = gradient.copy()
        direction, size = residual, dot(gradient, gradient)
        goal = 1e-10 * size
        for _ in range(self._n_iterations):
            if size <= goal:
                break
            product = self.times_fisher(direction) + self._damping * direction
            length = size / dot(direction, product)
            x = x + length * direction
            residual = residual - length * product
            before, size = size, dot(residual, residual)
            direction = residual + (size / before) * direction
        return x


class ClippedUpdate(Update):
    """Epochs of mini-batch steps on the clipped objective of proximal policy optimisation; a step is captured once.

    The objective of a row is ``min(r A, clip(r, 1 - clip, 1 + clip) A)``, with the ratio r of the new probability of
    the action to the old one. Its gradient is that of ``r A`` where ``r <= 1 + clip`` (for A > 0) or ``r >= 1 - clip``
    (for A < 0), and 0 elsewhere.

    Parameters
    ----------
    policy, rollout : Policy, Rollout
        The policy, and where its rows lie.
    optimizer : Optimizer
        Optimizer of the policy's parameters.
    clip : float
        Half-width of the interval around 1 in which a ratio counts.
    n_epochs, batch_size : int
        Passes over the rows, and rows of a mini-batch.
    entropy : float
        Factor of the entropy in the objective.
    bound : float or None
        Divergence beyond which no further pass begins.
    seed : int
        Seed of the shuffles.
    """

    def __init__(
        self,
        policy: Policy,
        rollout: Rollout,
        optimizer: optim.Optimizer,
        *,
        clip: float,
        n_epochs: int,
        batch_size: int,
        entropy: float,
        bound: float | None,
        seed: int,
    ) -> None:
        network, distribution = policy.network, policy.distribution
        dtype, device, n = network.dtype, network.device, rollout.size
        self._comparison = Comparison(policy, rollout)
        self._rollout, self._n_epochs, self._bound, self._seed = rollout, n_epochs, bound, seed
        batch_size = min(batch_size, n)
        self._batches = n // batch_size
        self._indices = aligned_zeros((n,), np.int64, device)
        self._cursor = aligned_zeros((), np.int64, device)
        self._pull, self._sign = policy.empty(n), policy.empty(n)
        x = policy.empty(batch_size, rollout.inputs.shape[1])
        coded = policy.empty(batch_size, distribution.width)
        log_before, pull, sign = (policy.empty(batch_size) for _ in range(3))
        taken: list[tuple[Array, Array]] = [
            (rollout.inputs, x),
            (rollout.coded, coded),
            (self._comparison.log_before, log_before),
            (self._pull, pull),
            (self._sign, sign),
        ]
        one, edge = aligned_empty((1,), dtype, device), aligned_empty((1,), dtype, device)
        one[...], edge[...] = 1, clip
        minus = aligned_empty((1,), dtype, device)
        minus[...] = -1
        self._graph: Graph
        with capture() as self._graph:
            for source, out in taken:
                K.take_rows(source, self._indices, out, start=self._cursor)
            K.increment(self._cursor, batch_size)
            z = network.forward(*policy.inputs(x))
            ratio = K.add(distribution.log_probability(z, coded), log_before)
            K.exp(ratio, out=ratio)
            # Positive where the ratio counts: clip - sign(A) (r - 1).
            room = K.multiply(ratio, minus)
            K.add(room, one, out=room)
            K.multiply(room, sign, out=room)
            K.add(room, edge, out=room)
            K.multiply(ratio, pull, out=ratio)
            K.activation_backward(ratio, room, "relu", out=ratio)
            _backward(policy, z, coded, ratio, entropy / batch_size)
            optimizer.step()

    def __call__(self, stream: int) -> Outcome:
        comparison, pull = self._comparison, np.asarray(to_host(self._rollout.pull))
        comparison.begin()
        # The pulls are shares of all rows; a mini-batch has its own mean.
        assign(self._pull, pull * self._batches)
        assign(self._sign, np.sign(pull))
        outcome = Outcome(-float(pull.sum(dtype=np.float64)), 0.0)
        for epoch in range(self._n_epochs):
            assign(self._indices, K.permutation(self._rollout.size, seed=self._seed, stream=stream + epoch))
            self._cursor[...] = 0
            self._graph.replay(self._batches)
            outcome = _require_finite(comparison.outcome())
            if self._bound is not None and outcome.divergence > self._bound:
                break
        return outcome


def parameters_are_finite(policy: Policy) -> bool:
    """Return whether all parameters of a policy are finite numbers."""
    arena: Any = to_host(policy.network.arena)
    return bool(np.isfinite(arena).all())
