"""Fits of linear discriminant analysis, float32, from the arrays to the discriminant functions.

scikit-learn's default solver, and its fastest one that gives the same decisions, which are checked against the
equations in float64.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.peers import Peers

ROUNDS = 5
CHECKED = 1000  # samples whose decisions are compared


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    shapes = [(2000, 20, 4)] if options.quick else [(1_000_000, 50, 5), (100_000, 100, 10), (60_000, 784, 10)]
    for n, d, k in shapes:
        yield discriminant_case(n, d, k, options, peers)


def discriminant_case(n: int, d: int, k: int, options: Options, peers: Peers) -> Case:
    from steepest.discriminant_analysis import LinearDiscriminantAnalysis

    rng = np.random.default_rng(d)
    y = rng.integers(0, k, n)
    means = 0.3 * rng.standard_normal((k, d), dtype=np.float32)
    x = means[y] + rng.standard_normal((n, d), dtype=np.float32)

    def contestant(name, kind, data, **parameters):
        def fit():
            return kind(**parameters).fit(data, y)

        def result():
            scores = np.asarray(fit().decision_function(x[:CHECKED]), np.float64)
            return {"decisions": scores - scores.mean(axis=1, keepdims=True)}

        return Contestant(name, fit, result)

    def build_sklearn(solver):
        def build(name, _):
            from sklearn import discriminant_analysis

            return contestant(name, discriminant_analysis.LinearDiscriminantAnalysis, x, solver=solver)

        return build

    decisions = oracle(x.astype(np.float64), y, k)
    return Case(
        f"LDA, {n:,} × {d}, {k} classes",
        [
            contestant(OURS, LinearDiscriminantAnalysis, options.device.xp.asarray(x)),
            peers.contestant("scikit-learn", "sklearn", build_sklearn("svd")),
            peers.contestant("scikit-learn lsqr", "sklearn", build_sklearn("lsqr")),
        ],
        oracle={"decisions": decisions},
        # The covariance of float32 products, and products of d terms with coefficients of about its inverse.
        tolerance={"decisions": np.full(decisions.shape, 1e-3 * np.abs(decisions).max())},
        flops=float(n) * d * d,
        moved=4.0 * n * d,
        rounds=ROUNDS,
        calls=1,
        params={"n": n, "d": d, "classes": k, "dtype": "float32"},
    )


def oracle(x: np.ndarray, y: np.ndarray, k: int) -> np.ndarray:
    """Decisions of the first samples, less their mean, by solving linear equations."""
    means = np.stack([x[y == c].mean(axis=0) for c in range(k)])
    deviations = x - means[y]
    coef = np.linalg.solve(deviations.T @ deviations / len(x), means.T).T
    scores = x[:CHECKED] @ coef.T - 0.5 * (coef * means).sum(axis=1) + np.log(np.bincount(y) / len(x))
    return scores - scores.mean(axis=1, keepdims=True)
