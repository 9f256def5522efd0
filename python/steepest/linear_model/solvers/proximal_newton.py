"""Minimisation of a smooth convex function plus an L1 penalty: coordinate descent, proximal Newton and FISTA."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.linalg

from steepest._runtime.arrays import Float64Array

from .quasi_newton import Function, Minimum, excess, is_less

# Most halvings of a step.
_HALVINGS = 30
# Most sweeps of coordinate descent.
_SWEEPS = 200
# Coordinate descent skips coordinates whose step would gain less than the square of this fraction of the largest gain.
_WORST = 0.1


def violation(point: Float64Array, gradient: Float64Array, l1: Float64Array) -> Float64Array:
    """Return the absolute values of the smallest subgradient of the penalised function, 0 at the minimum."""
    at_zero = np.maximum(np.abs(gradient) - l1, 0.0)
    result: Float64Array = np.where(point == 0.0, at_zero, np.abs(gradient + l1 * np.sign(point)))
    return result


def minimize_quadratic(
    H: Float64Array, c: Float64Array, l1: Float64Array, start: Float64Array, tol: float | Float64Array
) -> Float64Array:
    """Minimise ``u^T H u / 2 + c^T u + sum_j l1_j |u_j|``.

    Coordinate descent finds signs and zeros (J. Friedman et al., "Pathwise coordinate optimization", 2007). A Newton
    step for the nonzero coordinates, projected so that none changes its sign, then replaces many sweeps. Neither of the
    two ever increases the function.

    Parameters
    ----------
    H : ndarray of shape (p, p)
        Positive semi-definite matrix.
    c, l1, start : ndarray of shape (p,)
        Linear term, L1 penalties, and initial point.
    tol : float or ndarray of shape (p,)
        Largest `violation` of the optimality conditions at which to stop, for all coordinates or for each.

    Returns
    -------
    ndarray of shape (p,)
        The minimiser.
    """
    u = start.copy()
    gradient = H @ u + c
    diagonal = H.diagonal()
    unit = np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    for _ in range(_SWEEPS):
        wrong = np.where(diagonal > 0.0, violation(u, gradient, l1), 0.0)
        if (wrong <= tol).all():
            break
        # A step along one coordinate decreases the function by half the square of this, in any units of the features.
        gain = wrong / unit
        for j in np.flatnonzero(gain > _WORST * gain.max()):
            z = u[j] - gradient[j] / diagonal[j]
            new = np.sign(z) * max(abs(z) - l1[j] / diagonal[j], 0.0)
            if new != u[j]:
                gradient += H[:, j] * (new - u[j])
                u[j] = new
        u = _subspace_step(H, c, l1, u)
        gradient = H @ u + c
    return u


def _subspace_step(H: Float64Array, c: Float64Array, l1: Float64Array, u: Float64Array) -> Float64Array:
    """Return a point of lower value by a Newton step for the nonzero coordinates, which keep their signs."""
    free = np.flatnonzero((u != 0.0) | (l1 == 0.0))
    part, linear, penalty, start = H[np.ix_(free, free)], c[free], l1[free], u[free]
    signs = np.sign(start)

    def value(v: Float64Array) -> float:
        return float(0.5 * v @ (part @ v) + linear @ v + penalty @ np.abs(v))

    gradient = part @ start + linear + penalty * signs
    try:
        # Rounding errors may give a singular matrix negative eigenvalues of this size.
        jitter = len(part) * float(np.finfo(np.float64).eps) * part.diagonal()
        factor = scipy.linalg.cho_factor(part + np.diag(jitter))
    except np.linalg.LinAlgError:
        return u
    step = -scipy.linalg.cho_solve(factor, gradient)
    before, length = value(start), 1.0
    for _ in range(_HALVINGS):
        moved = start + length * step
        moved[(penalty > 0.0) & (moved * signs < 0.0)] = 0.0
        if value(moved) < before:
            result = u.copy()
            result[free] = moved
            return result
        length /= 2
    return u


def minimize_proximal_newton(
    function: Function,
    start: Float64Array,
    l1: Float64Array,
    *,
    hessian: Callable[[Float64Array], Float64Array],
    tol: float | Float64Array,
    max_iter: int,
    eps: float,
    rounding: Callable[[Float64Array], float],
    report: Callable[[int, float, float], None] | None = None,
) -> Minimum:
    """Minimise ``function + sum_j l1_j |u_j|`` by proximal Newton steps.

    J. Lee, Y. Sun and M. Saunders, "Proximal Newton-type methods for minimizing composite functions", SIAM J. Optim.
    24, 2014. glmnet and newGLMNET use the same method.

    Parameters
    ----------
    function : callable
        The smooth part: function from a point to its value and gradient.
    start : ndarray
        Initial point.
    l1 : ndarray
        L1 penalties, in the shape of a point.
    hessian : callable
        Function from a point to the Hessian of the smooth part, or an estimate, with respect to ``point.T.ravel()``.
    tol : float or ndarray
        Largest violation of the conditions of optimality at which to stop, or that of each component; positive.
    max_iter, eps, rounding, report
        As in `minimize_lbfgs`.

    Returns
    -------
    Minimum
        The result of the minimisation.
    """

    def flat(table: Float64Array) -> Float64Array:
        return table.T.ravel()

    def shaped(vector: Float64Array) -> Float64Array:
        return vector.reshape(start.shape[::-1]).T

    penalties = np.broadcast_to(l1, start.shape)
    tolerances = np.broadcast_to(tol, start.shape)
    point = start
    smooth, gradient = function(point)
    for n_iter in range(max_iter + 1):
        wrong = violation(point, gradient, penalties)
        value = smooth + float((penalties * np.abs(point)).sum())
        if report is not None:
            report(n_iter, value, float(wrong.max(initial=0.0)))
        if excess(wrong, tol) <= 1.0:
            return Minimum(point, value, gradient, n_iter, True)
        if n_iter == max_iter or not np.isfinite(value):
            break
        H = hessian(point)
        u = flat(point)
        # The tolerance for the model is 1e-3 of that for the function, which keeps convergence superlinear.
        goal = minimize_quadratic(H, flat(gradient) - H @ u, flat(penalties), u, 1e-3 * flat(tolerances))
        direction = shaped(goal) - point
        slope = float(np.vdot(gradient, direction)) + float(
            (penalties * (np.abs(point + direction) - np.abs(point))).sum()
        )
        noise = eps * abs(value) + rounding(point)
        # A step that gains less than values are rounded by is taken where it lowers the violation.
        hidden = -slope <= eps * max(abs(value), 1.0) / 8
        for halving in range(1 if hidden else _HALVINGS):
            length = 0.5**halving
            candidate = point + length * direction
            new, new_gradient = function(candidate)
            total = new + float((penalties * np.abs(candidate)).sum())
            if hidden:
                after = violation(candidate, new_gradient, penalties)
                better = is_less(excess(after, tol), excess(wrong, tol))
            else:
                better = total <= value + 1e-4 * length * slope + noise
            if np.isfinite(total) and better:
                break
        else:
            break
        point, smooth, gradient = candidate, new, new_gradient
    return Minimum(point, value, gradient, n_iter, False)


def minimize_fista(
    function: Function,
    start: Float64Array,
    l1: Float64Array,
    *,
    tol: float | Float64Array,
    max_iter: int,
    report: Callable[[int, float, float], None] | None = None,
) -> Minimum:
    """Minimise ``function + sum_j l1_j |u_j|`` by accelerated proximal gradient steps, for many parameters.

    A. Beck and M. Teboulle, "A fast iterative shrinkage-thresholding algorithm", SIAM J. Imaging Sci. 2, 2009, with
    backtracking, and restarts when the momentum points uphill (B. O'Donoghue and E. Candès, 2015).

    Parameters
    ----------
    function, start, l1, tol, max_iter, report
        As for `minimize_proximal_newton`.

    Returns
    -------
    Minimum
        The result of the minimisation.
    """
    penalties = np.broadcast_to(l1, start.shape)
    point, ahead, momentum, length = start, start, 1.0, 1.0
    smooth, gradient = function(point)
    value = smooth + float((penalties * np.abs(point)).sum())
    for n_iter in range(max_iter + 1):
        wrong = violation(point, gradient, penalties)
        if report is not None:
            report(n_iter, value, float(wrong.max(initial=0.0)))
        if excess(wrong, tol) <= 1.0:
            return Minimum(point, value, gradient, n_iter, True)
        if n_iter == max_iter or not np.isfinite(value):
            break
        base, slope = (smooth, gradient) if ahead is point else function(ahead)
        for _ in range(_HALVINGS):
            moved = ahead - length * slope
            new = np.sign(moved) * np.maximum(np.abs(moved) - length * penalties, 0.0)
            new_smooth, new_gradient = function(new)
            step = new - ahead
            bound = base + float(np.vdot(slope, step)) + float(np.vdot(step, step)) / (2 * length)
            if np.isfinite(new_smooth) and new_smooth <= bound + 1e-12 * abs(base):
                break
            length /= 2
        if float(np.vdot(ahead - new, new - point)) > 0.0:
            momentum = 1.0
        following = 0.5 * (1 + np.sqrt(1 + 4 * momentum**2))
        ahead = new + (momentum - 1) / following * (new - point)
        point, smooth, gradient, momentum = new, new_smooth, new_gradient, following
        value = smooth + float((penalties * np.abs(point)).sum())
        length *= 1.1
    return Minimum(point, value, gradient, n_iter, False)
