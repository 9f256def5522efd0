"""Minimisation of smooth convex functions in few evaluations: L-BFGS with a preconditioner, and Newton's method."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from steepest._runtime.arrays import Float64Array

Function = Callable[[Float64Array], tuple[float, Float64Array]]
Solve = Callable[[Float64Array], Float64Array]

# Number of earlier steps that L-BFGS keeps.
_MEMORY = 10
# Number of steps after which the approximation of the curvature is recomputed.
_RENEWAL = 8
# Most halvings of a step in a line search.
_HALVINGS = 30
# Constants of the line search: fraction of the expected decrease (Armijo), and of the slope that may remain (Wolfe).
_DECREASE, _SLOPE = 1e-4, 0.9


@dataclass
class Minimum:
    """The result of a minimisation.

    Attributes
    ----------
    point, gradient : ndarray
        The point and the gradient there.
    value : float
        The value there.
    n_iter : int
        Number of steps.
    converged : bool
        Whether the gradient met the tolerance.
    """

    point: Float64Array
    value: float
    gradient: Float64Array
    n_iter: int
    converged: bool


def search_line(
    function: Function, point: Float64Array, value: float, slope: float, direction: Float64Array, noise: float
) -> tuple[Float64Array, float, Float64Array] | None:
    """Return the first of ``point + direction / 2^i`` that decreases the function enough, its value and gradient.

    If the values differ by less than `noise`, the slopes decide instead (W. Hager and H. Zhang, "A new conjugate
    gradient method with guaranteed descent", SIAM J. Optim. 16, 2005: the approximate Wolfe conditions).
    """
    length = 1.0
    for _ in range(_HALVINGS):
        candidate = point + length * direction
        new, gradient = function(candidate)
        if np.isfinite(new) and np.isfinite(gradient).all():
            if new <= value + _DECREASE * length * slope:
                return candidate, new, gradient
            if new <= value + noise and float(np.vdot(gradient, direction)) <= -_SLOPE * slope:
                return candidate, new, gradient
        length /= 2
    return None


def excess(gradient: Float64Array, tol: float | Float64Array) -> float:
    """Return the largest component of a gradient, in units of its tolerance."""
    return float((np.abs(gradient) / tol).max(initial=0.0))


def is_less(after: float, before: float) -> bool:
    """Return whether a step that values cannot tell has lowered the `excess`: by a tenth, or to the tolerance."""
    return after <= max(_SLOPE * before, 1.0)


def _next_point(
    function: Function,
    point: Float64Array,
    value: float,
    gradient: Float64Array,
    direction: Float64Array,
    *,
    tol: float | Float64Array,
    eps: float,
    rounding: Callable[[Float64Array], float],
) -> tuple[Float64Array, float, Float64Array] | None:
    """Return the next point, its value and gradient, or None if no decrease is found above the rounding errors."""
    slope = float(np.vdot(gradient, direction))
    if -slope > eps * max(abs(value), 1.0) / 8:
        noise = eps * abs(value) + rounding(point)
        return search_line(function, point, value, slope, direction, noise)
    # The step gains less than the rounding error of the values, so the gradient decides.
    candidate = point + direction
    new, new_gradient = function(candidate)
    better = np.isfinite(new) and is_less(excess(new_gradient, tol), excess(gradient, tol))
    return (candidate, new, new_gradient) if better else None


def minimize_lbfgs(
    function: Function,
    start: Float64Array,
    *,
    curvature: Callable[[Float64Array], Solve | None],
    solve: Solve | None = None,
    tol: float | Float64Array,
    max_iter: int,
    eps: float,
    rounding: Callable[[Float64Array], float],
    enough: float = 0.0,
    report: Callable[[int, float, float], None] | None = None,
) -> Minimum:
    """Minimise a convex function by L-BFGS (J. Nocedal and S. Wright, "Numerical Optimization", 2006, algorithm 7.4).

    Parameters
    ----------
    function : callable
        Function from a point to its value and gradient.
    start : ndarray
        Initial point.
    curvature : callable
        Function from a point to a function that applies an approximate inverse of the Hessian there, or to None.
    solve : callable, optional
        Initial function that applies an approximate inverse of the Hessian.
    tol : float or ndarray
        Largest component of the gradient at which to stop, for all components or for each; above 0.
    max_iter : int
        Largest number of steps.
    eps : float
        Relative precision of values.
    rounding : callable
        Point -> rounding of the value there by what it is computed from.
    enough : float, default=0.0
        Stop when the decrease that is still expected is smaller than this.
    report : callable, optional
        Called with the number of steps, the value and the largest component of the gradient.

    Returns
    -------
    Minimum
        The result.
    """
    point = start
    value, gradient = function(point)
    solve = curvature(point) if solve is None else solve
    steps: deque[tuple[Float64Array, Float64Array, float]] = deque(maxlen=_MEMORY)
    for n_iter in range(max_iter + 1):
        if report is not None:
            report(n_iter, value, float(np.abs(gradient).max(initial=0.0)))
        if excess(gradient, tol) <= 1.0:
            return Minimum(point, value, gradient, n_iter, True)
        if n_iter == max_iter or not np.isfinite(value):
            break
        if n_iter and n_iter % _RENEWAL == 0:
            solve = curvature(point)
        direction = -_two_loops(gradient, steps, solve)
        if enough and -float(np.vdot(gradient, direction)) <= 2 * enough:
            break
        found = _next_point(function, point, value, gradient, direction, tol=tol, eps=eps, rounding=rounding)
        if found is None:
            break
        new_point, new_value, new_gradient = found
        step, change = new_point - point, new_gradient - gradient
        product = float(np.vdot(step, change))
        if product > 0.0:
            steps.append((step, change, product))
        point, value, gradient = new_point, new_value, new_gradient
    return Minimum(point, value, gradient, n_iter, False)


def _two_loops(
    gradient: Float64Array,
    steps: deque[tuple[Float64Array, Float64Array, float]],
    solve: Solve | None,
) -> Float64Array:
    """Return the L-BFGS approximation of the inverse Hessian times the gradient."""
    q = gradient.copy()
    factors = []
    for step, change, curvature in reversed(steps):
        factors.append(float(np.vdot(step, q)) / curvature)
        q -= factors[-1] * change
    if solve is not None:
        q = solve(q)
    elif steps:
        _, change, curvature = steps[-1]
        q *= curvature / float(np.vdot(change, change))
    else:
        q /= max(1.0, float(np.linalg.norm(q)))
    for (step, change, curvature), factor in zip(steps, reversed(factors), strict=True):
        q += step * (factor - float(np.vdot(change, q)) / curvature)
    return q


def minimize_newton(
    function: Function,
    start: Float64Array,
    *,
    curvature: Callable[[Float64Array], Solve],
    tol: float | Float64Array,
    max_iter: int,
    eps: float,
    rounding: Callable[[Float64Array], float],
    enough: float = 0.0,
    report: Callable[[int, float, float], None] | None = None,
) -> Minimum:
    """Minimise by Newton's method with step halving; for a logistic objective these are Fisher scoring and IRLS.

    Parameters
    ----------
    curvature : callable
        Point -> function that applies the inverse of the Hessian there.
    function, start, tol, max_iter, eps, rounding, enough, report
        As in `minimize_lbfgs`.

    Returns
    -------
    Minimum
        The result.
    """
    point = start
    value, gradient = function(point)
    for n_iter in range(max_iter + 1):
        if report is not None:
            report(n_iter, value, float(np.abs(gradient).max(initial=0.0)))
        if excess(gradient, tol) <= 1.0:
            return Minimum(point, value, gradient, n_iter, True)
        if n_iter == max_iter or not np.isfinite(value):
            break
        direction = -curvature(point)(gradient)
        if enough and -float(np.vdot(gradient, direction)) <= 2 * enough:
            break
        found = _next_point(function, point, value, gradient, direction, tol=tol, eps=eps, rounding=rounding)
        if found is None:
            break
        point, value, gradient = found
    return Minimum(point, value, gradient, n_iter, False)
