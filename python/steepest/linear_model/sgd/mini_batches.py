"""Mini-batch stochastic gradient descent for linear models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse

from steepest import nn, optim
from steepest._cpu import DivergenceError
from steepest._runtime.arrays import Array, Float64Array, Int64Array
from steepest._runtime.memory import assign, to_host
from steepest.nn.losses import Loss
from steepest.optim.schedules import Schedule
from steepest.training.batches import Batches, Samples
from steepest.training.programs import GradientDescent
from steepest.training.sampling import draw_by_weight
from steepest.training.sparse_rows import SparseRows
from steepest.training.trainer import Trainer

from .steps import Rule, State, TrainingSet
from .training import Training


def _parameter(rule: Rule) -> float:
    assert rule.parameter is not None
    return rule.parameter


# kept by hand: the constructors of the losses in nn take other arguments than the kernels.
_LOSSES: dict[str, Callable[[Rule], Loss]] = {
    # The perceptron steps at scores of 0, where it starts; a tiny margin includes them.
    "hinge": lambda rule: nn.Hinge(max(_parameter(rule), float(np.finfo(np.float32).tiny))),
    "squared_hinge": lambda rule: nn.SquaredHinge(),
    "log_loss": lambda rule: nn.BinaryCrossEntropy(),
    "exponential": lambda rule: nn.Exponential(),
    "squared_error": lambda rule: nn.MeanSquaredError(half=rule.half),
    "absolute_error": lambda rule: nn.MeanAbsoluteError(),
    "huber": lambda rule: nn.Huber(_parameter(rule)),
    "modified_huber": lambda rule: nn.ModifiedHuber(),
    "epsilon_insensitive": lambda rule: nn.EpsilonInsensitive(_parameter(rule)),
    "squared_epsilon_insensitive": lambda rule: nn.SquaredEpsilonInsensitive(_parameter(rule)),
}


@dataclass(frozen=True)
class _Decay(Schedule):
    """Learning rates ``lr / (t0 + done + t)^power`` of steps t = 1, 2, ..., after `done` earlier steps."""

    lr: float
    t0: float
    power: float
    done: int

    def _rate(self, t: Float64Array) -> Float64Array:
        return self.lr / (self.t0 + self.done + t + 1.0) ** self.power


class MiniBatchTraining(Training):
    """Training of one output by mini-batch steps, which are captured and replayed.

    Parameters
    ----------
    batch_size : int
        Number of samples in a step; the last step of an epoch may have fewer.
    name : str
        Name that error messages start with.
    samples, state, outputs, rule, average_start
        As for `Training`, with one output; averages and passive-aggressive steps are not supported.
    """

    def __init__(
        self,
        samples: TrainingSet,
        state: State,
        outputs: Int64Array,
        rule: Rule,
        average_start: int,
        *,
        batch_size: int,
        name: str,
    ) -> None:
        super().__init__(samples, state, outputs, rule, average_start)
        self._weights = self._visits_of_rows()
        # Rows are sampled in proportion to their weights. The mean weight scales the rate of the loss alone.
        self._scale = (
            1.0 if self._weights is None else float(self._weights[samples.rows].mean(dtype=np.float64))
        )
        if not self._scale > 0:
            raise ValueError(
                f"[{name}] the weights of all samples are zero: there is nothing to draw batches from"
            )
        self._random = np.random.default_rng(state.seen)
        dtype, d = samples.X.dtype, samples.X.shape[1]
        self._network = nn.Network(
            [nn.Linear(d, 1, bias=state.intercept is not None, init=0.0)], dtype=dtype, device=samples.device
        )
        self._parameters = [parameter.value for parameter in self._network.parameters()]
        assign(self._parameters[0], state.coef.T)
        if state.intercept is not None:
            assign(self._parameters[1], state.intercept)
        l1, l2 = rule.l1 / self._scale, rule.l2 / self._scale
        self._optimizer = optim.SGD(self._network.parameters(), l1=l1, l2=l2)
        self._seen, self._steps_of_an_epoch = state.seen, -(-len(samples.rows) // batch_size)
        self._follow()
        X = SparseRows(samples.X, samples.device) if scipy.sparse.issparse(samples.X) else samples.X
        batches = Batches(Samples(X, self._values_of_target()), rows=samples.rows, shuffle=False)
        program = GradientDescent(self._network, _LOSSES[rule.kind](rule), self._optimizer)
        self._trainer = Trainer({"network": program}, batches, min(batch_size, len(samples.rows)))

    def _values_of_target(self) -> Array:
        """Return the targets as the loss takes them; classes become 0 and 1 for the log loss, else -1 and 1."""
        target = self.target
        if target.dtype.kind == "i":
            positive = target > 0
            target = positive if self.rule.kind == "log_loss" else 2 * positive.astype(np.int8) - 1
        return target.astype(self.samples.X.dtype)

    def _visits_of_rows(self) -> Array | None:
        """Return the product of sample weights and class weights, or None if there are neither."""
        samples = self.samples
        weights = None if samples.sample_weight is None else to_host(samples.sample_weight)
        if self._class_weight is None:
            return weights
        positive = (to_host(self.target) > 0).astype(np.int64)
        of_classes: Array = to_host(self._class_weight)[positive, 0]
        return of_classes if weights is None else of_classes * weights

    def _follow(self) -> None:
        rule = self.rule
        self._optimizer.follow(
            _Decay(self.lr * self._scale, rule.t0, rule.power, self._seen), self._steps_of_an_epoch
        )

    def _epoch(self, order: Int64Array) -> Float64Array:
        self._follow()
        self._trainer.batches.visit(self._visits(order))
        try:
            loss, _ = self._trainer.run_epoch(0)
        except DivergenceError:
            return np.full(1, np.nan)
        self._seen += self._steps_of_an_epoch
        coef = self._parameters[0]
        assign(self.state.coef, coef.T)
        if self.state.intercept is not None:
            assign(self.state.intercept, self._parameters[1])
        w = to_host(coef).astype(np.float64)
        penalty = 0.5 * self.rule.l2 * float((w * w).sum()) + self.rule.l1 * float(np.abs(w).sum())
        return np.full(1, (loss * self._scale + penalty) * len(order))

    def _visits(self, order: Int64Array) -> Int64Array:
        """Return as many rows as `order` has, sampled in proportion to their weights."""
        if self._weights is None:
            return order
        drawn = order[draw_by_weight(self._weights[order], self._random, len(order))]
        # Repeated rows are adjacent in the sample, so it is shuffled.
        self._random.shuffle(drawn)
        return drawn
