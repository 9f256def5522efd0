"""Training on all samples at once by L-BFGS, over the flat array of a network's parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.optimize

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.graph import capture
from steepest._runtime.memory import assign, to_host
from steepest.nn import Network
from steepest.nn.losses import Loss

from .batches import Samples
from .programs import divergence
from .sequences import Sequences
from .sparse_rows import SparseRows


class _Objective:
    """Penalised mean loss of all samples and its gradient; a sparse X is processed block by block."""

    def __init__(self, network: Network, loss: Loss, samples: Samples, alpha: float) -> None:
        self._network, self._loss, self._samples = network, loss, samples
        self._total_weight = samples.total_weight
        self._l2 = alpha / self._total_weight
        assert not isinstance(samples.X, Sequences)  # whose estimators have first-order solvers alone
        if not isinstance(samples.X, SparseRows):
            with capture() as self._graph:
                self._value, d_output = loss(network.forward(samples.X), samples.y, samples.sample_weight)
                network.backward(d_output, l2=self._l2)

    def evaluate(self) -> tuple[float, Array]:
        network, l2 = self._network, self._l2
        penalty = (
            0.5 * l2 * float(K.sum_squares(network.weight_arena)) if l2 and network.weight_arena.size else 0.0
        )
        if isinstance(self._samples.X, SparseRows):
            value, gradient = self._sum_blocks(self._samples.X)
            return value + penalty, gradient
        self._graph.replay()
        return float(self._value) + penalty, to_host(network.grad_arena).astype(np.float64)

    def _sum_blocks(self, X: SparseRows) -> tuple[float, Array]:
        network, value = self._network, 0.0
        gradient: Array = np.zeros(network.arena.shape)
        for start, x in X.blocks():
            rows, weight = slice(start, start + len(x)), self._samples.sample_weight
            block = Samples(x, self._samples.y[rows], None if weight is None else weight[rows])
            proportion = block.total_weight / self._total_weight
            block_value, d_output = self._loss(network.forward(x), block.y, block.sample_weight)
            # The penalty's gradient is in each block's gradient; the proportions of the blocks sum to 1.
            network.backward(d_output, l2=self._l2)
            value += proportion * float(block_value)
            gradient += proportion * to_host(network.grad_arena).astype(np.float64)
        return value, gradient


@dataclass(frozen=True)
class Minimum:
    """What L-BFGS has found.

    Attributes
    ----------
    loss : float
        The penalised loss of the solution.
    n_iter : int
        Number of iterations.
    problem : str
        Why it stopped before the tolerance was met, or "".
    """

    loss: float
    n_iter: int
    problem: str


def minimize_lbfgs(
    network: Network,
    loss: Loss,
    samples: Samples,
    *,
    alpha: float,
    tol: float,
    max_iter: int,
    max_fun: int,
    name: str,
    after_iteration: Callable[[float], bool],
) -> Minimum:
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
    samples : Samples
        All samples, on the network's device.
    alpha : float
        Strength of the L2 penalty.
    tol : float
        Infinity norm of the gradient at which to stop.
    max_iter, max_fun : int
        Largest numbers of iterations and of evaluations of the loss.
    name : str
        Name that error messages start with.
    after_iteration : callable
        Called with the penalised loss after each iteration, when the network has the new parameters; returns whether
        to stop.

    Returns
    -------
    Minimum
        Loss, iterations, and why they ended.

    Raises
    ------
    DivergenceError
        If the solution is not finite; the initial weights are then restored.
    """
    objective = _Objective(network, loss, samples, alpha)
    start: Array = np.array(to_host(network.arena))

    def evaluate(point: Array) -> tuple[float, Array]:
        assign(network.arena, point)
        return objective.evaluate()

    stopped = False

    def call_back(intermediate_result: scipy.optimize.OptimizeResult) -> None:
        nonlocal stopped
        assign(network.arena, intermediate_result.x)
        stopped = after_iteration(float(intermediate_result.fun))
        if stopped:
            raise StopIteration

    result = scipy.optimize.minimize(
        evaluate,
        start.astype(np.float64),
        method="L-BFGS-B",
        jac=True,
        callback=call_back,
        options={"maxfun": max_fun, "maxiter": max_iter, "gtol": tol},
    )
    if not (np.isfinite(result.x).all() and np.isfinite(result.fun)):
        assign(network.arena, start)
        raise divergence(
            f"[{name}] L-BFGS diverged in iteration {result.nit}: scale the inputs, for instance with "
            "sklearn.preprocessing.StandardScaler. The initial weights were kept",
            int(result.nit),
        )
    assign(network.arena, result.x)
    problem = "" if result.status == 0 or stopped else f"(status={result.status}): {result.message}"
    return Minimum(float(result.fun), min(int(result.nit), max_iter), problem)
