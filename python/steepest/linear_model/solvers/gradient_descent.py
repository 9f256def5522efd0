"""Gradient descent on linear models: full-batch, mini-batch or stochastic steps, captured and replayed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

from steepest import kernels as K
from steepest import nn, optim
from steepest._cpu import DivergenceError
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.graph import Graph, capture
from steepest._runtime.memory import aligned_zeros, array_namespace, assign, to_host
from steepest.callbacks import Epoch
from steepest.optim.schedules import Adaptive
from steepest.training.batches import Batches, Samples
from steepest.training.loop import train, warn_of_interrupt
from steepest.training.programs import divergence, lower_rate
from steepest.training.sampling import draw_by_weight
from steepest.training.sparse_rows import SparseRows
from steepest.training.trainer import Trainer

from .batch_modes import Descent, Objective
from .column_samples import ColumnSample
from .lipschitz_constants import LipschitzConstants
from .proximal_newton import violation
from .quasi_newton import excess
from .svrg import VarianceReducedDescent
from .tolerance import ROUNDING, gradient_tolerance

_MOMENTA: dict[str, type[optim.SGD]] = {"momentum": optim.Momentum, "nesterov": optim.Nesterov}
_SCALING: dict[str, Callable[..., optim.Optimizer]] = {
    "adagrad": optim.AdaGrad,
    "rmsprop": optim.RMSprop,
    "adam": optim.Adam,
}
# Default learning rate of rules that scale the gradient, which is the size of their steps in units of y or 1.
_RATE_OF_SCALING_RULES = 0.05
# Smallest learning rate on plateaus, as a fraction of the initial one.
_SMALLEST_RATE = 1e-4
# Number of steps over which the objective may oscillate; epochs of fewer steps count together in `n_iter_no_change`.
_STEPS_OF_A_CYCLE = 10


@dataclass(frozen=True)
class Descended:
    """The result of gradient descent.

    Attributes
    ----------
    coef, intercept : float64 ndarray of shape (d, k) and (k,)
        The weights that met the tolerance, or else those with the smallest objective of all epochs; after a divergence,
        the last finite weights.
    n_iter : int
        Number of epochs.
    loss_curve : list of float
        The objective over all rows after each epoch.
    converged : bool
        Whether the tolerance was met.
    error : DivergenceError or None
        The error to raise once the weights are stored; None if the descent did not diverge.
    """

    coef: Float64Array
    intercept: Float64Array
    n_iter: int
    loss_curve: list[float]
    converged: bool
    error: DivergenceError | None


class _Epochs:
    """What `train` runs: an epoch of steps, then the objective over all rows and its gradient."""

    def __init__(
        self, objective: Objective, descent: Descent, start: tuple[Float64Array, Float64Array]
    ) -> None:
        self.objective, self.descent = objective, descent
        n, d = objective.X.shape
        layer = nn.Linear(d, objective.n_outputs, bias=objective.fit_intercept, init=0.0)
        self.network = nn.Network([layer], dtype=objective.X.dtype, device=objective.device)
        self.networks = [self.network]
        self._parameters = self.network.parameters()
        for parameter, value in zip(self._parameters, start, strict=False):
            assign(parameter.value, value.astype(self.network.dtype))
        self._batch = descent.rows_of_a_step(n)
        self._value = aligned_zeros((), np.float64, objective.device)
        self.evaluate()
        # For least squares, gradients and coefficients scale with y; the unit is the initial root mean square error.
        squared = isinstance(objective.loss, nn.MeanSquaredError)
        loss = float(self._value)
        self.unit = float(np.sqrt(2 * loss)) if squared and loss > 0 else 1.0
        columns = ColumnSample.of(objective.X, objective.sample_weight)
        self._tol = self.unit * gradient_tolerance(descent.tol, columns, objective.X.dtype)[:, None]
        self._intercept_tol = self.unit * max(descent.tol, ROUNDING * float(np.finfo(objective.X.dtype).eps))
        self.optimizer = self._make_optimizer()
        self._random = np.random.default_rng(descent.seed)
        self._graph: Graph | None = None
        self._trainer: Trainer | None = None
        self.samples, self.steps = n, 1
        if descent.batch_mode != "batch":
            self._program = VarianceReducedDescent(self.network, objective.loss, self.optimizer)
            self._trainer = self._make_trainer()
            self.samples, self.steps = self._trainer.samples, self._trainer.steps
        if self._trainer is None and not scipy.sparse.issparse(objective.X):
            with capture() as self._graph:
                self._step_on_all_rows()

    @property
    def remedy(self) -> str:
        """Advice for the error message of a divergence."""
        return lower_rate(self.optimizer)

    def _make_optimizer(self) -> optim.Optimizer:
        objective, descent = self.objective, self.descent
        parameters, rate = self._parameters, descent.learning_rate_init
        momentum = descent.momentum if descent.rule in _MOMENTA else 0.0
        if rate is None and descent.rule in _SCALING:
            rate = _RATE_OF_SCALING_RULES * self.unit
        elif rate is None:
            smoothness = LipschitzConstants.of(
                objective.X, objective.sample_weight, objective.loss, objective.fit_intercept, descent.seed
            )
            rate = smoothness.rate(self._batch, momentum, objective.l2)
        # Momentum scales gradients by 1 / (1 - momentum), but not the proximal step, so l1 is scaled alike.
        options: dict[str, Any] = {"l2": objective.l2, "l1": objective.l1 / (1 - momentum)}
        if descent.rule in _MOMENTA:
            return _MOMENTA[descent.rule](parameters, float(rate), momentum, **options)
        rule = _SCALING.get(descent.rule, optim.SGD)
        return rule(parameters, float(rate), **options)

    def _make_trainer(self) -> Trainer:
        objective, rows = self.objective, self._draw_rows()
        sparse = scipy.sparse.issparse(objective.X)
        batches = Batches(
            Samples(SparseRows(objective.X, objective.device) if sparse else objective.X, objective.target),
            rows=rows,
            shuffle=self.descent.shuffle,
            seed=self.descent.seed,
        )
        return Trainer({"network": self._program}, batches, min(self._batch, len(rows)))

    def _draw_rows(self) -> Array:
        """Return the rows of an epoch, sampled in proportion to their weights."""
        weights = self.objective.sample_weight
        if weights is None:
            return np.arange(self.objective.X.shape[0])
        return draw_by_weight(to_host(weights), self._random)

    # ----------------------------------------------------------------------------------------------- epochs

    def run_epoch(self, stream: int, on_progress: Callable[[int], None] | None = None) -> tuple[float, None]:
        """Take the steps of an epoch, and return the objective."""
        if self._trainer is not None:
            if stream and self.objective.sample_weight is not None:
                self._trainer.batches.visit(self._draw_rows())
            self._program.anchor()
            self._trainer.run_epoch(stream, on_progress)
            self.evaluate()
        elif self._graph is not None:
            self._graph.replay()
        else:
            self._step_on_all_rows()
        value, arena = self.value(), self.network.arena
        if not (np.isfinite(value) and array_namespace(arena).isfinite(arena).all()):
            raise divergence("the objective is not finite", self.steps - 1)
        return value, None

    def _step_on_all_rows(self) -> None:
        self.optimizer.step()
        self.evaluate()

    def evaluate(self) -> None:
        """Compute the mean loss over all rows and its gradient."""
        objective, loss = self.objective, self.objective.loss
        weight, bias = self._parameters[0], self._parameters[1] if objective.fit_intercept else None
        if scipy.sparse.issparse(objective.X):
            scores = np.asarray(objective.X @ weight.value) + (0 if bias is None else bias.value)
            value, d_scores = loss(scores, objective.target, objective.sample_weight)
            self._value[...] = value
            assign(weight.grad, objective.X.T @ d_scores)
            if bias is not None:
                assign(bias.grad, K.sum(d_scores, axis=0))
            return
        pointwise = not isinstance(loss, nn.SoftmaxCrossEntropy)
        K.linear_loss(
            objective.X,
            weight.value,
            None if bias is None else bias.value,
            objective.target,
            objective.sample_weight,
            kind=loss.kernel,
            half=isinstance(loss, nn.MeanSquaredError),
            reduction="sum" if pointwise else "mean",
            loss=self._value,
            d_w=weight.grad,
            d_b=None if bias is None else bias.grad,
        )

    def value(self) -> float:
        """Return the objective at the last evaluation."""
        weights = self._weights()
        penalty = 0.5 * self.objective.l2 * float((weights**2).sum())
        return float(self._value) + penalty + self.objective.l1 * float(np.abs(weights).sum())

    def gradient_norm(self) -> tuple[float, float]:
        """Return the infinity norm of the smallest subgradient, and the same norm in units of the tolerances."""
        weights = self._weights()
        gradient = to_host(self._parameters[0].grad) + self.objective.l2 * weights
        wrong = violation(weights, gradient, np.asarray(self.objective.l1))
        largest, relative = float(wrong.max()), excess(wrong, self._tol)
        if self.objective.fit_intercept:
            of_intercept = float(np.abs(to_host(self._parameters[1].grad)).max())
            largest, relative = max(largest, of_intercept), max(relative, of_intercept / self._intercept_tol)
        return largest, relative

    def _weights(self) -> Float64Array:
        weights: Float64Array = to_host(self._parameters[0].value).astype(np.float64)
        return weights

    def parameters(self) -> tuple[Float64Array, Float64Array]:
        """Return copies of coefficients and intercepts."""
        coef, intercept = self._weights(), np.zeros(self.objective.n_outputs)
        if self.objective.fit_intercept:
            intercept[...] = to_host(self._parameters[1].value)
        return coef, intercept


def descend(
    objective: Objective, descent: Descent, start: tuple[Float64Array, Float64Array], name: str
) -> Descended:
    """Minimise an objective by gradient descent.

    In every batch mode, descent stops when the infinity norm of the gradient is within the tolerance. Mini-batch and
    stochastic steps use the gradient of `VarianceReducedDescent`. Their rate is divided by 5 when the objective has not
    fallen for `n_iter_no_change` epochs, or more if epochs have few steps.

    Parameters
    ----------
    objective : Objective
        The objective to minimise.
    descent : Descent
        Batch mode, update rule and stopping.
    start : tuple of float64 ndarrays of shape (d, k) and (k,)
        Initial coefficients and intercepts.
    name : str
        Name that error messages start with.

    Returns
    -------
    Descended
        The result.

    Raises
    ------
    ValueError
        If there is an L1 penalty, and the rule scales gradients.
    """
    if objective.l1 and descent.rule in _SCALING:
        raise ValueError(
            f"[{name}] an L1 penalty requires a rule that does not scale the gradient: use rule='sgd', "
            f"'momentum' or 'nesterov', got {descent.rule!r}"
        )
    epochs = _Epochs(objective, descent, start)
    first, best = epochs.value(), epochs.parameters()
    batch, scaling = descent.batch_mode == "batch", descent.rule in _SCALING
    rate = epochs.optimizer.lr
    # With momentum the objective oscillates over several steps, but an epoch may have only one step.
    patience = descent.n_iter_no_change * -(-_STEPS_OF_A_CYCLE // min(epochs.steps, _STEPS_OF_A_CYCLE))
    rates = Adaptive(rate, tol=0.0, patience=patience, smallest=rate * _SMALLEST_RATE)
    curve: list[float] = []
    converged = epochs.gradient_norm()[1] <= 1.0
    lowest = first

    def after_epoch(epoch: Epoch) -> bool:
        nonlocal converged, lowest, best
        curve.append(epoch.loss)
        if epoch.loss <= lowest:
            lowest, best = epoch.loss, epochs.parameters()
        # With full batches, only rules that scale the gradient oscillate around the minimum at a constant rate.
        if scaling or not batch:
            epochs.optimizer.lr = rates(epoch.loss)
        gradient_norm, relative = epochs.gradient_norm()
        if descent.verbose:
            text = f"Epoch {epoch.number}, objective = {epoch.loss:.8f}"
            print(f"{text}, largest component of the gradient = {gradient_norm:.2e}")
        converged = relative <= 1.0
        if converged:
            best = epochs.parameters()
        return converged

    error = None
    try:
        if descent.max_iter:
            # A DivergenceError reports overflows.
            with np.errstate(over="ignore", invalid="ignore"):
                interrupted = train(epochs, descent.max_iter, after_epoch, name=name)
            if interrupted:
                warn_of_interrupt(stacklevel=2)
    except DivergenceError as diverged:
        error, best = diverged, epochs.parameters()
    return Descended(*best, len(curve), curve, converged, error)
