"""Full-batch training by L-BFGS over the flat arena of a network."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import scipy.optimize
from sklearn.exceptions import ConvergenceWarning

from steepest import kernels as K
from steepest._cpu import DivergenceError
from steepest._estimators.sparse_rows import SparseRows
from steepest._runtime.arrays import Array
from steepest._runtime.graph import capture
from steepest._runtime.memory import assign, to_host
from steepest.callbacks import above_bars
from steepest.nn import Network
from steepest.nn.losses import Loss


class _Objective:
    """Penalised mean loss of all samples and its gradient; a sparse X is processed block by block."""

    def __init__(
        self,
        network: Network,
        loss: Loss,
        X: Array | SparseRows,
        y: Array,
        sample_weight: Array | None,
        alpha: float,
    ) -> None:
        self._network = network
        total_weight = float(len(X)) if sample_weight is None else float(sample_weight.sum(dtype=np.float64))
        self._l2 = alpha / total_weight
        self._X, self._y, self._sample_weight, self._loss = X, y, sample_weight, loss
        self._total_weight = total_weight
        if not isinstance(X, SparseRows):
            with capture() as self._graph:
                self._value, d_output = loss(network.forward(X), y, sample_weight)
                network.backward(d_output, l2=self._l2)

    def evaluate(self) -> tuple[float, Array]:
        network, l2 = self._network, self._l2
        penalty = (
            0.5 * l2 * float(K.sum_squares(network.weight_arena)) if l2 and network.weight_arena.size else 0.0
        )
        if isinstance(self._X, SparseRows):
            value, gradient = self._sum_blocks(self._X)
            return value + penalty, gradient
        self._graph.replay()
        return float(self._value) + penalty, to_host(network.grad_arena).astype(np.float64)

    def _sum_blocks(self, X: SparseRows) -> tuple[float, Array]:
        network, value = self._network, 0.0
        gradient: Array = np.zeros(network.arena.shape)
        for start, x in X.blocks():
            rows = slice(start, start + len(x))
            weights = None if self._sample_weight is None else self._sample_weight[rows]
            block_weight = float(len(x)) if weights is None else float(weights.sum(dtype=np.float64))
            proportion = block_weight / self._total_weight
            block_value, d_output = self._loss(network.forward(x), self._y[rows], weights)
            # The penalty's gradient is in each block's gradient; the proportions of the blocks sum to 1.
            network.backward(d_output, l2=self._l2)
            value += proportion * float(block_value)
            gradient += proportion * to_host(network.grad_arena).astype(np.float64)
        return value, gradient


def fit_network_lbfgs(
    network: Network,
    loss: Loss,
    X: Array | SparseRows,
    y: Array,
    sample_weight: Array | None,
    *,
    alpha: float,
    tol: float,
    max_iter: int,
    max_fun: int,
    name: str,
    after_iteration: Callable[[float], bool] | None = None,
) -> tuple[float, int]:
    """Minimise the penalised mean loss of all samples, ``loss + alpha / 2 * sum(w^2) / sum(sample_weight)``.

    The algorithm is SciPy's L-BFGS-B (R. Byrd et al., "A limited memory algorithm for bound constrained optimization",
    SIAM J. Sci. Comput. 16, 1995), on the host and in float64. The network computes loss and gradient on its own device
    and in its own dtype.

    Parameters
    ----------
    network : Network
        Network with its initial weights; it has the solution afterwards.
    loss : Loss
        The loss to minimise.
    X, y, sample_weight : ndarray, X also SparseRows
        All samples on the network's device, in the form that `MiniBatchTrainer` takes.
    alpha : float
        Strength of the L2 penalty.
    tol : float
        Infinity norm of the gradient at which to stop.
    max_iter, max_fun : int
        Largest numbers of iterations and of evaluations of the loss.
    name : str
        Name that error messages start with.
    after_iteration : callable or None, default=None
        Called with the penalised loss after each iteration, when the network has the new parameters; returns whether
        to stop.

    Returns
    -------
    loss : float
        The penalised loss of the solution.
    n_iter : int
        Number of iterations.

    Raises
    ------
    DivergenceError
        If the solution is not finite; the initial weights are then restored.
    """
    objective = _Objective(network, loss, X, y, sample_weight, alpha)
    start: Array = np.array(to_host(network.arena))

    def evaluate(point: Array) -> tuple[float, Array]:
        assign(network.arena, point)
        return objective.evaluate()

    stopped = False

    def call_back(intermediate_result: scipy.optimize.OptimizeResult) -> None:
        nonlocal stopped
        assign(network.arena, intermediate_result.x)
        stopped = after_iteration is not None and after_iteration(float(intermediate_result.fun))
        if stopped:
            raise StopIteration

    result = scipy.optimize.minimize(
        evaluate,
        start.astype(np.float64),
        method="L-BFGS-B",
        jac=True,
        callback=None if after_iteration is None else call_back,
        options={"maxfun": max_fun, "maxiter": max_iter, "gtol": tol},
    )
    if not (np.isfinite(result.x).all() and np.isfinite(result.fun)):
        assign(network.arena, start)
        error = DivergenceError(
            f"[{name}] L-BFGS diverged in iteration {result.nit}: scale the inputs, for instance with "
            "sklearn.preprocessing.StandardScaler. The initial weights were kept"
        )
        error.step = int(result.nit)
        raise error
    assign(network.arena, result.x)
    if result.status != 0 and not stopped:
        with above_bars():
            warnings.warn(
                f"lbfgs failed to converge after {result.nit} iteration(s) "
                f"(status={result.status}): {result.message}. "
                f"You might also want to scale the data, or to increase max_iter={max_iter} "
                f"or max_fun={max_fun}.",
                ConvergenceWarning,
                stacklevel=4,
            )
    return float(result.fun), min(int(result.nit), max_iter)
