"""Fits of a Boltzmann machine to scikit-learn's digits, from the array to the weights.

With the same draws, the weights are checked against the steps in NumPy. With Philox's draws, and those of scikit-learn
in the same case, the error of reconstructions is checked against the result of these steps.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.peers import Peers

ROUNDS = 7
RATE, BATCH = 0.1, 10


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    sizes = [(64, 1)] if options.quick else [(64, 5), (256, 5)]
    for hidden, epochs in sizes:
        for draws in ("numpy", "philox"):
            yield fit_case(hidden, epochs, draws, options, peers)


def fit_in_numpy(X: np.ndarray, hidden: int, epochs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Persistent contrastive divergence with the numbers of a RandomState, in scikit-learn's order."""
    random_state = np.random.RandomState(0)
    w = random_state.normal(0, 0.01, (hidden, X.shape[1]))
    c, b, h = np.zeros(hidden), np.zeros(X.shape[1]), np.zeros((BATCH, hidden))
    for _ in range(epochs):
        for start in range(0, len(X), BATCH):
            v = X[start : start + BATCH]
            means = _sigmoid(v @ w.T + c)
            p = _sigmoid(h @ w + b)
            model = (random_state.uniform(size=p.shape) < p).astype(float)
            end = _sigmoid(model @ w.T + c)
            w += RATE / len(v) * (means.T @ v - end.T @ model)
            c += RATE / len(v) * (means.sum(axis=0) - end.sum(axis=0))
            b += RATE / len(v) * (v.sum(axis=0) - model.sum(axis=0))
            h = (random_state.uniform(size=end.shape) < end).astype(float)
    return w, c, b


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-z))


def _error(X: np.ndarray, w: np.ndarray, c: np.ndarray, b: np.ndarray) -> float:
    return float(((_sigmoid(_sigmoid(X @ w.T + c) @ w + b) - X) ** 2).mean())


def fit_case(hidden: int, epochs: int, draws: str, options: Options, peers: Peers) -> Case:
    from sklearn.datasets import load_digits

    from steepest.neural_network import BernoulliRBM

    X = load_digits().data / 16
    parameters = {"learning_rate": RATE, "batch_size": BATCH, "n_iter": epochs, "random_state": 0}
    expected = fit_in_numpy(X, hidden, epochs)
    same = draws == "numpy"

    def contestant(name, kind, data, **own):
        def call():
            return kind(hidden, **parameters, **own).fit(data)

        def outputs():
            model = call()
            found = model.components_, model.intercept_hidden_, model.intercept_visible_
            return {"components": found[0]} if same else {"error": _error(X, *found)}

        return Contestant(name, call, outputs)

    def build_sklearn(name, _):
        from sklearn import neural_network

        return contestant(name, neural_network.BernoulliRBM, X)

    return Case(
        f"RBM, digits, 64-{hidden}, {epochs} epochs, {'same draws' if same else 'Philox draws'}",
        [
            contestant(OURS, BernoulliRBM, options.device.xp.asarray(X), draws=draws),
            peers.contestant("scikit-learn", "sklearn", build_sklearn),
        ],
        oracle={"components": expected[0]} if same else {"error": _error(X, *expected)},
        # The same steps differ by rounding errors, other draws by a tenth of the error.
        tolerance={"components": 1e-9} if same else {"error": 0.1 * _error(X, *expected)},
        flops=8.0 * len(X) * X.shape[1] * hidden * epochs,
        moved=8.0 * X.size * epochs,
        rounds=ROUNDS,
        calls=1,
        params={"hidden": hidden, "epochs": epochs, "batch": BATCH, "draws": draws, "dtype": "float64"},
    )
