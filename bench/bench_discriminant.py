"""Linear discriminant analysis in float32: fits from arrays to discriminant functions, and leave-one-out predictions.

The other contestants are scikit-learn's default solver, and its fastest solver that gives the same decisions. Decisions
are checked against the formulas in float64.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.peers import Peers

ROUNDS = 5
CHECKED = 1000  # number of samples whose decisions are compared
MANY, WIDE = [(1_000_000, 50, 5), (100_000, 100, 10), (60_000, 784, 10)], (2000, 5000, 10)
LEFT_OUT, SHARE = (500, 5000, 2), 0.1


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    for n, d, k in [(2000, 20, 4)] if options.quick else MANY:
        yield discriminant_case(n, d, k, options, peers)
    yield wide_case(*((40, 90, 3) if options.quick else WIDE), options, peers)
    yield left_out_case(*((40, 90, 2) if options.quick else LEFT_OUT), options, peers)


def discriminant_case(n: int, d: int, k: int, options: Options, peers: Peers) -> Case:
    from steepest.discriminant_analysis import LinearDiscriminantAnalysis

    x, y = data(n, d, k, 0.3)

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
        # Errors of the covariance from float32 products, and of products of d terms with its inverse.
        tolerance={"decisions": np.full(decisions.shape, 1e-3 * np.abs(decisions).max())},
        flops=float(n) * d * d,
        moved=4.0 * n * d,
        rounds=ROUNDS,
        calls=1,
        params={"n": n, "d": d, "classes": k, "dtype": "float32"},
    )


def data(n: int, d: int, k: int, distance: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(d)
    y = rng.integers(0, k, n)
    means = distance * rng.standard_normal((k, d), dtype=np.float32)
    return means[y] + rng.standard_normal((n, d), dtype=np.float32), y


def wide_case(n: int, d: int, k: int, options: Options, peers: Peers) -> Case:
    """More features than samples. scikit-learn's other solvers use a least-squares solution, not the pseudoinverse."""
    from steepest.discriminant_analysis import LinearDiscriminantAnalysis

    x, y = data(n, d, k, 0.1)

    def contestant(name, kind, fitted_to, **rest):
        def fit():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the features are collinear
                return kind().fit(fitted_to, y)

        def result():
            scores = np.asarray(fit().decision_function(x[:CHECKED]), np.float64)
            return {"decisions": scores - scores.mean(axis=1, keepdims=True)}

        return Contestant(name, fit, result, **rest)

    def build_sklearn(name, _):
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis as Theirs

        return contestant(name, Theirs, x, max_rounds=2)

    decisions = wide_oracle(x.astype(np.float64), y, k)
    return Case(
        f"LDA, {n:,} × {d:,}, {k} classes",
        [
            contestant(OURS, LinearDiscriminantAnalysis, options.device.xp.asarray(x)),
            peers.contestant("scikit-learn", "sklearn", build_sklearn),
        ],
        oracle={"decisions": decisions},
        # Error of the pseudoinverse of float32 products: their rounding over the smallest non-zero variance.
        tolerance={"decisions": np.full(decisions.shape, 1e-3 * np.abs(decisions).max())},
        flops=float(n) * n * d,
        moved=4.0 * n * d,
        rounds=ROUNDS,
        calls=1,
        params={"n": n, "d": d, "classes": k, "dtype": "float32"},
    )


def left_out_case(n: int, d: int, k: int, options: Options, peers: Peers) -> Case:
    """Leave-one-out predictions; a unit is one sample, and contestants that refit predict only a few samples."""
    from steepest.discriminant_analysis import LinearDiscriminantAnalysis, cross_val_predict

    x, y = data(n, d, k, 0.03)
    on_device = options.device.xp.asarray(x)

    def at_once():
        model = LinearDiscriminantAnalysis(shrinkage=SHARE)
        return cross_val_predict(model, on_device, y, cv="leave-one-out", method="decision_function")

    def again(name, kind, samples, units, **parameters):
        def left_out(i):
            rest = np.delete(np.arange(n), i)
            model = kind(shrinkage=SHARE, **parameters).fit(samples[rest], y[rest])
            return model.decision_function(samples[i : i + 1])

        def refit():
            for i in range(units):
                left_out(i)

        # The fits take so long that only one is checked.
        return Contestant(
            name, refit, lambda: {"decision": np.asarray(left_out(0), np.float64)}, units=units, max_rounds=2
        )

    def build_sklearn(name, _):
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis as Theirs

        return again(name, Theirs, x, 1, solver="lsqr")

    expected = left_out_oracle(x.astype(np.float64), y, 0)
    return Case(
        f"LDA, {n:,} × {d:,}, {k} classes, shrunk, a sample left out",
        [
            Contestant(OURS, at_once, lambda: {"decision": np.asarray(at_once()[:1], np.float64)}, units=n),
            again("steepest, fitted again", LinearDiscriminantAnalysis, on_device, min(n, 10)),
            peers.contestant("scikit-learn lsqr, fitted again", "sklearn", build_sklearn),
        ],
        oracle={"decision": expected},
        tolerance={"decision": np.full(1, 1e-3 * np.abs(expected).max())},
        rounds=ROUNDS,
        calls=1,
        params={"n": n, "d": d, "classes": k, "dtype": "float32", "shrinkage": SHARE},
    )


def wide_oracle(x: np.ndarray, y: np.ndarray, k: int) -> np.ndarray:
    """Centred decisions of the first samples, from the pseudoinverse of the standardised covariance."""
    means = np.stack([x[y == c].mean(axis=0) for c in range(k)])
    priors = np.bincount(y) / len(x)
    centre = priors @ means
    deviations = x - means[y]
    units = deviations.std(axis=0)
    rows = deviations / units
    # D^T D has the pseudoinverse D^T (D D^T)^+2 D.
    variances, directions = np.linalg.eigh(rows @ rows.T)
    empty = variances < 1e-9 * variances[-1]
    inverse = np.where(empty, 0.0, 1.0 / np.where(empty, 1.0, variances))
    half = (directions * inverse) @ directions.T @ rows
    seen = half @ ((means - centre) / units).T
    coef = len(x) * (half.T @ seen).T / units
    scores = (x[:CHECKED] - centre) @ coef.T - 0.5 * (coef * (means - centre)).sum(axis=1) + np.log(priors)
    return scores - scores.mean(axis=1, keepdims=True)


def left_out_oracle(x: np.ndarray, y: np.ndarray, i: int) -> np.ndarray:
    """The decision value of sample i between two classes, from a fit without sample i."""
    rest, labels = np.delete(x, i, axis=0), np.delete(y, i)
    means = np.stack([rest[labels == c].mean(axis=0) for c in range(2)])
    deviations = rest - means[labels]
    covariance = (1 - SHARE) * (deviations.T @ deviations) / len(rest)
    covariance[np.diag_indices_from(covariance)] += SHARE * (deviations**2).sum() / deviations.size
    coef = np.linalg.solve(covariance, means[1] - means[0])
    counts = np.bincount(labels)
    return np.atleast_1d((x[i] - means.mean(axis=0)) @ coef + np.log(counts[1] / counts[0]))


def oracle(x: np.ndarray, y: np.ndarray, k: int) -> np.ndarray:
    """Centred decisions of the first samples, by solving linear equations."""
    means = np.stack([x[y == c].mean(axis=0) for c in range(k)])
    deviations = x - means[y]
    coef = np.linalg.solve(deviations.T @ deviations / len(x), means.T).T
    scores = x[:CHECKED] @ coef.T - 0.5 * (coef * means).sum(axis=1) + np.log(np.bincount(y) / len(x))
    return scores - scores.mean(axis=1, keepdims=True)
