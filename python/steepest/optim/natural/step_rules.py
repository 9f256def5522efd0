"""Length and momentum of natural-gradient steps."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from steepest._runtime.arrays import Array, Float64Array
from steepest.fisher import FisherMatrix
from steepest.fisher._layout import dot
from steepest.fisher._solvers import NotPositiveDefiniteError


@dataclass
class NaturalStep:
    """A step along the natural gradient, with its momentum.

    Attributes
    ----------
    move : ndarray of shape (P,)
        The change of the parameters.
    length : float
        The factor by which the natural gradient was multiplied.
    curvature : float or None
        ``d^T F d`` of the move d with the exact Fisher matrix of the batch, or None if it is not yet computed.
    """

    move: Array
    length: float
    curvature: float | None = None

    def times(self, factor: float) -> NaturalStep:
        """Return the step multiplied by a factor."""
        if factor == 1.0:
            return self
        curvature = None if self.curvature is None else factor**2 * self.curvature
        return NaturalStep(factor * self.move, factor * self.length, curvature)

    def curvature_on(self, whole: FisherMatrix) -> float:
        """Return ``d^T F d`` in the scale of the loss, which is twice the predicted divergence of the step."""
        if self.curvature is None:
            moved = whole.tangent(self.move)
            self.curvature = whole.form(moved, moved)
        return self.curvature


class MomentumRule(ABC):
    """Base of the momentum rules: how earlier steps enter the next one.

    Parameters
    ----------
    lr : float
        Learning rate: the factor of the natural gradient.
    momentum : float
        Strength of the momentum, in [0, 1).
    """

    def __init__(self, lr: float, momentum: float) -> None:
        self.lr, self.momentum = lr, momentum
        self.last: Array | None = None

    def right_side(self, gradient: Array, damping: float) -> Array:
        """Return the right-hand side of the equations, which replaces the gradient."""
        return gradient

    @abstractmethod
    def step(self, gradient: Array, natural: Array, whole: FisherMatrix, damping: float) -> NaturalStep:
        """Return the step for a solution of the equations."""

    def taken(self, natural: Array, step: NaturalStep) -> None:
        """Remember a step that was taken."""
        self.last = step.move

    def rejected(self) -> None:
        """Forget the steps before a rejected one."""
        self.last = None


class LastStep(MomentumRule):
    """Heavy-ball momentum: a fraction of the last step is added, ``d = -lr x + momentum d_last`` (B. Polyak, 1964)."""

    def step(self, gradient: Array, natural: Array, whole: FisherMatrix, damping: float) -> NaturalStep:
        move = -self.lr * natural
        if self.momentum and self.last is not None:
            move += self.momentum * self.last
        return NaturalStep(move, self.lr)


class AveragedGradient(MomentumRule):
    """Natural gradient of an exponential average of gradients, which starts at 0, so that the first steps are short."""

    def right_side(self, gradient: Array, damping: float) -> Array:
        fresh = (1.0 - self.momentum) * gradient
        self.last = fresh if self.last is None else self.momentum * self.last + fresh
        return self.last

    def step(self, gradient: Array, natural: Array, whole: FisherMatrix, damping: float) -> NaturalStep:
        return NaturalStep(-self.lr * natural, self.lr)

    def taken(self, natural: Array, step: NaturalStep) -> None:
        pass

    def rejected(self) -> None:
        pass


class BestOfModel(MomentumRule):
    """The combination of the natural gradient and the last step that minimises the quadratic model of the batch.

    The two coefficients minimise ``g^T d + d^T (F + damping I) d / 2`` with the exact F of the batch (J. Martens, R.
    Grosse, "Optimizing neural networks with Kronecker-factored approximate curvature", 2015, §6.4 and §7).
    """

    def step(self, gradient: Array, natural: Array, whole: FisherMatrix, damping: float) -> NaturalStep:
        along = [natural] if self.last is None else [natural, self.last]
        moved = [whole.tangent(d) for d in along]
        curved = symmetric([[whole.form(a, b) for b in moved[: i + 1]] for i, a in enumerate(moved)])
        damped = damping * symmetric([[dot(d, e) for e in along[: i + 1]] for i, d in enumerate(along)])
        weights = best_combination(np.array([dot(gradient, d) for d in along]), curved + damped)
        # Python numbers keep float32 arrays in float32.
        length, *rest = weights.tolist()
        move = length * natural
        for weight, d in zip(rest, along[1:], strict=True):
            move += weight * d
        return NaturalStep(move, -length, float(weights @ curved @ weights))


class Spring(MomentumRule):
    """SPRING: the equations are damped towards the last natural gradient, ``(F + c I) x = g + c momentum x_last``.

    G. Goldshlager, N. Abrahamsen, L. Lin, "A Kaczmarz-inspired approach to accelerate the optimization of neural
    network wavefunctions", 2024. Without momentum it is the plain natural gradient.
    """

    def right_side(self, gradient: Array, damping: float) -> Array:
        return gradient if self.last is None else gradient + damping * self.momentum * self.last

    def step(self, gradient: Array, natural: Array, whole: FisherMatrix, damping: float) -> NaturalStep:
        return NaturalStep(-self.lr * natural, self.lr)

    def taken(self, natural: Array, step: NaturalStep) -> None:
        self.last = natural


MOMENTUM_RULES: dict[str, type[MomentumRule]] = {
    "step": LastStep,
    "gradient": AveragedGradient,
    "model": BestOfModel,
    "spring": Spring,
}


def symmetric(lower: list[list[float]]) -> Float64Array:
    """Return the symmetric matrix whose lower triangle has these rows."""
    size = len(lower)
    return np.array([[lower[max(i, j)][min(i, j)] for j in range(size)] for i in range(size)])


def best_combination(slopes: Float64Array, curved: Float64Array) -> Float64Array:
    """Return the weights w of ``d = sum_i w_i d_i`` that minimise ``g^T d + d^T (F + damping I) d / 2``.

    If several w minimise it (parallel directions, or directions without curvature), w is the one of minimum norm.

    Parameters
    ----------
    slopes : ndarray of shape (k,)
        The slopes ``g^T d_i``.
    curved : ndarray of shape (k, k)
        The curvatures ``d_i^T (F + damping I) d_j``.

    Raises
    ------
    NotPositiveDefiniteError
        If one of the arguments is not finite.
    """
    if not (np.isfinite(slopes).all() and np.isfinite(curved).all()):
        raise NotPositiveDefiniteError("the quadratic model is not finite")
    # The directions may differ in length by orders of magnitude.
    lengths = np.sqrt(np.maximum(np.diag(curved), np.finfo(np.float64).tiny))
    scaled = curved / np.outer(lengths, lengths)
    weights: Float64Array = np.linalg.lstsq(scaled, -slopes / lengths, rcond=1e-10)[0] / lengths
    return weights


def bounded(step: NaturalStep, whole: FisherMatrix, bound: float, always: bool) -> NaturalStep:
    """Return the step, shortened to a bound on its predicted divergence; with `always`, scaled to the bound.

    With `always` the result is the step to the boundary of the ball ``d^T F d / 2 <= bound`` along the solution x. Its
    Lagrange multiplier is ``1 / length = sqrt(x^T F x / (2 bound))``.

    Parameters
    ----------
    step : NaturalStep
        A step of any length.
    whole : FisherMatrix
        The matrix of the batch, whose exact F predicts the divergence.
    bound : float
        Bound on the divergence, in nats per row.
    always : bool
        Whether shorter steps are lengthened to the bound.
    """
    divergence = 0.5 * step.curvature_on(whole) / whole.scale
    if divergence > bound or (always and divergence > 0):
        return step.times(math.sqrt(bound / divergence))
    return step
