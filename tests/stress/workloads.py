"""Pieces of work for the stress programs: kernels, captured steps, fits.

Each piece returns the same bytes every time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import steepest
from steepest import _cpu
from steepest import kernels as K
from steepest.decomposition import PCA
from steepest.discriminant_analysis import LinearDiscriminantAnalysis
from steepest.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from steepest.neural_network import MLPClassifier

_rng = np.random.default_rng(0)
_X = _rng.standard_normal((2000, 40)).astype(np.float32)
_labels = (_X[:, 0] + _X[:, 1] > 0).astype(int) + (_X[:, 2] > 1)
_square = _rng.standard_normal((500, 500))
_strided = _rng.standard_normal((300_000, 4)).astype(np.float32).T  # rows are copied into scratch memory


def matmul() -> bytes:
    """A matrix product."""
    return K.matmul(_square, _square).tobytes()


def softmax() -> bytes:
    """Softmax of strided rows, which needs scratch memory."""
    return K.softmax(_strided).tobytes()


def capture() -> bytes:
    """A series of captures of small steps."""
    for _ in range(50):
        with steepest.capture() as graph:
            y = K.relu(_X)
    graph.replay()
    return y.tobytes()


def replay() -> bytes:
    """Many replays of a captured step."""
    step, total = np.array(0), np.zeros((), np.float32)
    with steepest.capture() as graph:
        K.increment(step)
        y = K.matmul(_X, _X[:40])
        K.sum(y, out=total)
    graph.replay(200)
    return step.tobytes() + total.tobytes()


def profile() -> bytes:
    """Replays that measure the time of each operation."""
    with steepest.capture() as graph:
        y = K.matmul(_X, _X[:40])
    graph.profile(200)
    return y.tobytes()


def perceptron() -> bytes:
    """A fit of a perceptron by captured steps; Ctrl-C ends it with a warning."""
    model = MLPClassifier((16,), max_iter=8, random_state=0).fit(_X, _labels)
    return model.predict_proba(_X[:20]).tobytes()


def discriminants() -> bytes:
    """A discriminant analysis: class statistics and eigenvectors."""
    return LinearDiscriminantAnalysis().fit(_X, _labels).decision_function(_X[:20]).tobytes()


def components() -> bytes:
    """Principal components: a covariance and its eigenvectors."""
    return PCA(3).fit_transform(_X).tobytes()


def logistic() -> bytes:
    """Logistic regression by L-BFGS on a captured gradient."""
    return LogisticRegression().fit(_X, _labels).coef_.tobytes()


def least_squares() -> bytes:
    """Linear regression in closed form."""
    return LinearRegression().fit(_X, _labels).coef_.tobytes()


def stochastic() -> bytes:
    """Stochastic gradient descent on single samples."""
    return SGDClassifier(max_iter=5, random_state=0).fit(_X, _labels).coef_.tobytes()


WORK: dict[str, Callable[[], bytes]] = {
    f.__name__: f
    for f in (
        matmul,
        softmax,
        capture,
        replay,
        profile,
        perceptron,
        discriminants,
        components,
        logistic,
        least_squares,
        stochastic,
    )
}

# These call numpy.unique, in which a daemon thread aborts an exiting process (NumPy 2.4): Python ends the thread by
# unwinding its stack, which NumPy's C++ code does not allow.
LABELLED = (perceptron, discriminants, logistic, stochastic)


def expected_results() -> dict[str, bytes]:
    """Return the result of each piece of work; the first run also imports everything that the work needs."""
    return {name: work() for name, work in WORK.items()}


def faults_of(results: dict[str, bytes]) -> list[str]:
    """List the pieces of work whose result has changed."""
    faults = ["a capture has not ended"] if _cpu.is_capturing() else []
    return faults + [f"{name} gives another result" for name, work in WORK.items() if work() != results[name]]
