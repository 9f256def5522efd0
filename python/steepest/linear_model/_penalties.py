"""Penalties of logistic regression, from scikit-learn's parameters `C` and `l1_ratio`, or its deprecated `penalty`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .solvers.batch_modes import BATCH_MODES

_TAKES_L1 = ("liblinear", "saga", *BATCH_MODES)
_PENALTY_DEPRECATED = (
    "'penalty' was deprecated in scikit-learn 1.8. Use l1_ratio=0 instead of penalty='l2', l1_ratio=1 instead of "
    "penalty='l1', l1_ratio between 0 and 1 instead of penalty='elasticnet', and C=np.inf instead of penalty=None."
)


@dataclass(frozen=True)
class Penalty:
    """Strengths of the penalties in ``sum of losses + l2 / 2 |w|^2 + l1 |w|_1``."""

    l2: float
    l1: float


class _Parameters(Protocol):
    penalty: str | None
    C: float
    l1_ratio: float | None
    solver: str
    dual: bool


def resolve_penalty(parameters: _Parameters) -> Penalty:
    """Return the strengths of the L1 and L2 penalty for the parameters of an estimator.

    Parameters
    ----------
    parameters : LogisticRegression
        An estimator with validated parameters.

    Returns
    -------
    Penalty
        Strengths of the penalties in the objective.

    Raises
    ------
    ValueError
        If the solver does not support the penalty, with scikit-learn's message.

    Warns
    -----
    FutureWarning
        If the penalty is given in a way that scikit-learn has deprecated.
    """
    name = _name_of_penalty(parameters)
    ratio = parameters.l1_ratio
    prefix = f"[{type(parameters).__name__}] "
    _check_solver(parameters, name, prefix)
    if name == "elasticnet" and ratio is None:
        raise ValueError(f"{prefix}l1_ratio must be specified when penalty is elasticnet.")
    share = 1.0 if name == "l1" else float(ratio or 0.0) if name == "elasticnet" else 0.0
    strength = 0.0 if name is None else 1.0 / parameters.C
    return Penalty((1 - share) * strength, share * strength)


def _name_of_penalty(parameters: _Parameters) -> str | None:
    name, ratio = parameters.penalty, parameters.l1_ratio
    if name == "deprecated":
        if ratio is None:
            text = "'l1_ratio=None' was deprecated in scikit-learn 1.8. Use 0<=l1_ratio<=1 instead."
            warnings.warn(text, FutureWarning, stacklevel=4)
        if np.isinf(parameters.C):
            return None
        return "l2" if not ratio else "l1" if ratio == 1 else "elasticnet"
    warnings.warn(_PENALTY_DEPRECATED, FutureWarning, stacklevel=4)
    if name != "elasticnet" and ratio is not None and 0 < ratio < 1:
        text = f"l1_ratio parameter is only used when penalty is 'elasticnet'. Got (penalty={name})"
        warnings.warn(text, stacklevel=4)
    if (name == "l2" and ratio != 0) or (name == "l1" and ratio != 1):
        text = f"Inconsistent values: penalty={name} with l1_ratio={ratio}. Please use l1_ratio only."
        warnings.warn(text, stacklevel=4)
    if name is None and parameters.C != 1.0:
        warnings.warn("Setting penalty=None will ignore the C and l1_ratio parameters", stacklevel=4)
    return name


def _check_solver(parameters: _Parameters, penalty: str | None, prefix: str) -> None:
    solver, dual = parameters.solver, parameters.dual
    if solver not in _TAKES_L1 and penalty not in ("l2", None):
        raise ValueError(
            f"{prefix}Solver {solver} supports only 'l2' or None penalties, got {penalty} penalty."
        )
    if solver != "liblinear" and dual:
        raise ValueError(f"{prefix}Solver {solver} supports only dual=False, got dual={dual}")
    if penalty == "elasticnet" and solver not in ("saga", *BATCH_MODES):
        raise ValueError(f"{prefix}Only 'saga' solver supports elasticnet penalty, got solver={solver}.")
    if solver == "liblinear" and penalty is None:
        raise ValueError(
            f"{prefix}C=np.inf as well as penalty=None is not supported for the liblinear solver"
        )
    if dual and penalty == "l1":
        raise ValueError(f"{prefix}The combination of penalty='l1' and dual=True is not supported")
