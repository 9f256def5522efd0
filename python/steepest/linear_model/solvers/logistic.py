"""Solvers of logistic regression: choice of the method, and initial values from samples of the rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from steepest import nn
from steepest._runtime.arrays import Float64Array

from .batch_modes import Descent, Objective
from .curvature import MOST_PARAMETERS, dense_solve, preconditioner
from .gradient_descent import Descended, descend
from .logistic_objective import LogisticObjective
from .proximal_newton import minimize_fista, minimize_proximal_newton
from .quasi_newton import Minimum, Solve, minimize_lbfgs, minimize_newton

Report = Callable[[int, float, float], None] | None

# Samples: least number of rows, ratio of each size to the one before, and least number of rows per parameter.
_LEAST_SAMPLE, _GROWTH, _ROWS_PER_PARAMETER = 2048, 8, 16
# Most steps on each sample.
_SAMPLE_STEPS = 20
# A decrease of the mean loss below this number times parameters / rows is within the sampling noise.
_RANDOMNESS = 0.05
# Number of parameters up to which Newton's method is faster than L-BFGS on small data.
_FEW_PARAMETERS = 128
# Number of sampled rows per parameter whose Hessian approximates that of all rows.
_HESSIAN_ROWS = 256


def minimize_smooth(
    objective: LogisticObjective,
    start: Float64Array | None,
    *,
    tol: Float64Array,
    max_iter: int,
    seed: int,
    report: Report,
) -> Minimum:
    """Minimise by L-BFGS, preconditioned with the Hessian of a sample of the rows.

    If `start` is None, samples of growing size give the initial values. The objective of each sample is minimised until
    the expected decrease is below its sampling noise (A. Mokhtari and A. Ribeiro, "First-order adaptive sample size
    methods to reduce complexity of empirical risk minimization", 2017). Few passes over all rows then remain.

    Parameters
    ----------
    objective : LogisticObjective
        The objective to minimise.
    start : ndarray or None
        Initial point; None starts at zeros, and first minimises on samples.
    tol : ndarray
        Tolerances of shape (p, 1): largest component of the gradient at which to stop, for each row of theta.
    max_iter : int
        Largest number of steps on all rows.
    seed : int
        Seed of the samples.
    report : callable or None
        Called with the number of steps, the value and the largest component of the gradient.

    Returns
    -------
    Minimum
        The result of the minimisation.
    """
    theta = np.zeros(objective.shape) if start is None else start
    solve: Solve | None = None
    parameters = objective.shape[0] * objective.shape[1]
    sizes, sample = _sample_sizes(objective), None
    if parameters <= _FEW_PARAMETERS and not sizes:
        return minimize_by_newton(objective, start, tol=tol, max_iter=max_iter, seed=seed, report=report)
    for level, size in enumerate(sizes if start is None and max_iter > 0 else []):
        sample = objective.sample(size, seed + level)
        found = minimize_lbfgs(
            sample,
            theta,
            curvature=partial(preconditioner, sample),
            solve=solve,
            tol=tol,
            max_iter=_SAMPLE_STEPS,
            eps=objective.eps,
            rounding=objective.rounding,
            enough=_RANDOMNESS * parameters / size,
        )
        if np.isfinite(found.point).all():
            theta = found.point
        solve = preconditioner(sample, theta)
    if sample is None:
        sample = _representative(objective, seed)
    else:
        # The penalty of the objective over all rows replaces that of the sample.
        sample.penalty = objective.penalty
    return minimize_lbfgs(
        objective,
        theta,
        curvature=partial(preconditioner, sample),
        tol=tol,
        max_iter=max_iter,
        eps=objective.eps,
        rounding=objective.rounding,
        report=report,
    )


def _sample_sizes(objective: LogisticObjective) -> list[int]:
    """Return the sizes of the samples that give the initial values; empty if there are few rows."""
    sizes, size = [], max(_LEAST_SAMPLE, _ROWS_PER_PARAMETER * objective.shape[0])
    while size * _GROWTH // 2 <= objective.n:
        sizes.append(size)
        size *= _GROWTH
    return sizes


def _representative(objective: LogisticObjective, seed: int) -> LogisticObjective:
    """Return the objective of a sample with enough rows to estimate the curvature, or of all rows."""
    size = max(_LEAST_SAMPLE, _HESSIAN_ROWS * objective.shape[0])
    if size * 2 > objective.n:
        return objective
    sample = objective.sample(size, seed)
    sample.penalty = objective.penalty
    return sample


def minimize_by_newton(
    objective: LogisticObjective,
    start: Float64Array | None,
    *,
    tol: Float64Array,
    max_iter: int,
    seed: int,
    report: Report,
) -> Minimum:
    """Minimise by Newton's method with the Hessian of all rows, or by `minimize_smooth` with many parameters.

    If `start` is None, samples of growing size give the initial values, as in `minimize_smooth`.
    """
    parameters = objective.shape[0] * objective.shape[1]
    if parameters > MOST_PARAMETERS:
        return minimize_smooth(objective, start, tol=tol, max_iter=max_iter, seed=seed, report=report)
    theta = np.zeros(objective.shape) if start is None else start
    for level, size in enumerate(_sample_sizes(objective) if start is None and max_iter > 0 else []):
        sample = objective.sample(size, seed + level)
        found = minimize_newton(
            sample,
            theta,
            curvature=partial(dense_solve, sample),
            tol=tol,
            max_iter=_SAMPLE_STEPS,
            eps=objective.eps,
            rounding=objective.rounding,
            enough=_RANDOMNESS * parameters / size,
        )
        if np.isfinite(found.point).all():
            theta = found.point
    return minimize_newton(
        objective,
        theta,
        curvature=partial(dense_solve, objective),
        tol=tol,
        max_iter=max_iter,
        eps=objective.eps,
        rounding=objective.rounding,
        report=report,
    )


def minimize_with_l1(
    objective: LogisticObjective,
    start: Float64Array | None,
    l1: Float64Array,
    *,
    tol: Float64Array,
    max_iter: int,
    seed: int,
    report: Report,
) -> Minimum:
    """Minimise the objective plus ``sum_j l1_j |theta_j|`` by proximal Newton steps; for many parameters by FISTA."""
    theta = np.zeros(objective.shape) if start is None else start
    if objective.shape[0] * objective.shape[1] > MOST_PARAMETERS:
        return minimize_fista(objective, theta, l1, tol=tol, max_iter=max_iter, report=report)
    sample = _representative(objective, seed)
    return minimize_proximal_newton(
        objective,
        theta,
        l1,
        hessian=sample.hessian,
        tol=tol,
        max_iter=max_iter,
        eps=objective.eps,
        rounding=objective.rounding,
        report=report,
    )


def minimize_by_descent(
    objective: LogisticObjective, start: Float64Array | None, l1: float, descent: Descent, name: str
) -> tuple[Minimum, Descended]:
    """Minimise the objective plus an L1 penalty on the features by gradient descent, in one of its batch modes."""
    theta = np.zeros(objective.shape) if start is None else start
    d, (rows, k) = objective.d, objective.shape
    descended = descend(
        Objective(
            objective.X,
            objective.target,
            objective.sample_weight,
            nn.BinaryCrossEntropy(reduction="sum") if k == 1 else nn.SoftmaxCrossEntropy(),
            k,
            rows > d,
            objective.l2,
            l1,
            objective.device,
        ),
        descent,
        (theta[:d], theta[d:].sum(axis=0)),
        name,
    )
    point = np.concatenate([descended.coef, descended.intercept[None]])[:rows]
    value = min(descended.loss_curve, default=0.0)
    return Minimum(point, value, np.zeros(0), descended.n_iter, descended.converged), descended
