"""Logistic regression by the natural gradient against each solver of scikit-learn, at the same objective.

The tolerance of every solver is the largest power of ten with which its objective is within a relative 1e-8 of the
minimum. The search for it is not timed. The minimum comes from Newton's method in float64.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.special
from bench.harness import OURS, Case, Contestant, Options
from bench.peers import Peers, PeerUnavailableError

NEAR = 1e-8
TOLERANCES = tuple(10.0**-k for k in range(2, 13))
MOST_ITERATIONS = 2_000
ROUNDS, SLOW_ROUNDS = 10, 2
# liblinear is missing, since it penalises the intercept and minimises another objective.
STOCHASTIC = ("sag", "saga")
SOLVERS = ("lbfgs", "newton-cg", "newton-cholesky", *STOCHASTIC)
ROWS, QUICK_ROWS, FEATURES = 100_000, 1_000, 100


@dataclass
class Data:
    name: str
    X: np.ndarray
    y: np.ndarray
    solvers: tuple[str, ...] = SOLVERS


def data_sets(quick: bool) -> Iterator[Data]:
    from sklearn.datasets import load_breast_cancer, load_digits

    X, y = load_breast_cancer(return_X_y=True)
    cancer = Data("breast cancer, standardised", (X - X.mean(axis=0)) / X.std(axis=0), y)
    if quick:
        yield Data(cancer.name, cancer.X, cancer.y, ("newton-cholesky",))
        return
    yield cancer
    yield Data("digits", *load_digits(return_X_y=True))
    rng = np.random.default_rng(0)
    X = rng.standard_normal((ROWS, FEATURES))
    p = scipy.special.expit(X @ rng.standard_normal(FEATURES) / 3)
    yield Data(f"{ROWS:,} × {FEATURES}", X, (rng.random(ROWS) < p).astype(np.int64))


def objective(model, data: Data) -> float:
    """The summed loss plus half the squared norm of the coefficients."""
    scores = np.asarray(data.X @ model.coef_.T + model.intercept_)
    if scores.shape[1] == 1:
        losses = np.logaddexp(0, scores[:, 0]) - data.y * scores[:, 0]
    else:
        own = scores[np.arange(len(data.y)), data.y]
        losses = scipy.special.logsumexp(scores, axis=1) - own
    return float(losses.sum() + 0.5 * (model.coef_**2).sum())


def fitted(kind, data: Data, **parameters):
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # the fit may miss its tolerance, but the benchmark compares only the objective
        return kind(**parameters).fit(data.X, data.y)


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    for data in data_sets(options.quick):
        yield solver_case(data, peers)


def solver_case(data: Data, peers: Peers) -> Case:
    from steepest.linear_model import LogisticRegression

    least = objective(fitted(LogisticRegression, data, solver="newton-cholesky", tol=1e-10), data)

    def build(name, kind, solver):
        fit = quickest(kind, data, solver, least)
        models = []

        def call():
            models[:] = [fit()]

        def excess():
            return max(0.0, objective(models[0], data) / least - 1)

        def result():
            call()
            return {"excess": np.asarray(excess())}

        def finish():
            return {"iterations": int(np.max(models[0].n_iter_)), "excess": float(f"{excess():.2g}")}

        slow = SLOW_ROUNDS if solver in STOCHASTIC else 0
        return Contestant(name, call, result, finish=finish, max_rounds=slow)

    def build_sklearn(name, _, solver):
        from sklearn.linear_model import LogisticRegression as Theirs

        return build(name, Theirs, solver)

    return Case(
        f"logistic regression, {data.name}",
        [
            build(OURS, LogisticRegression, "natural"),
            *(
                peers.contestant(
                    f"scikit-learn {solver}", "sklearn", lambda name, _, s=solver: build_sklearn(name, _, s)
                )
                for solver in data.solvers
            ),
        ],
        oracle={"excess": np.zeros(())},
        tolerance={"excess": np.asarray(NEAR)},
        peer_tolerance=1.0,
        rounds=ROUNDS,
        calls=1,
        params={"rows": len(data.X), "features": data.X.shape[1], "classes": int(data.y.max()) + 1},
    )


def quickest(kind, data: Data, solver: str, least: float):
    """Return a fit with the largest tolerance that reaches the minimum; raise PeerUnavailableError if none does."""
    parameters = {"solver": solver, "max_iter": MOST_ITERATIONS, "random_state": 0}
    for tol in TOLERANCES:
        model = fitted(kind, data, tol=tol, **parameters)
        if objective(model, data) / least - 1 <= NEAR:
            return lambda: fitted(kind, data, tol=tol, **parameters)
        if np.max(model.n_iter_) >= MOST_ITERATIONS:
            break
    raise PeerUnavailableError(
        f"not within {NEAR:g} of the minimum after {np.max(model.n_iter_):,} iterations"
    )
