"""Training of a perceptron by the natural gradient (K-FAC)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from steepest import kernels as K
from steepest import nn, optim
from steepest._cpu import DivergenceError
from steepest._estimators.training import ShuffledRows
from steepest._runtime.arrays import Array
from steepest.fisher._likelihoods import likelihood_of

from ._records import NetworkSamples

if TYPE_CHECKING:
    from ._base import BaseMultilayerPerceptron


# Largest number of outputs for which the exact Fisher matrix costs little more than a Monte Carlo estimate.
_MOST_EXACT_OUTPUTS = 3
# Damping of the inverses, in nats: about the Monte Carlo noise of the factors. Smaller curvature is mostly noise, and
# inverting it gives the largest steps.
_INVERSE_DAMPING = 1e-2
# The batch size doubles unless an epoch brings the loss below this fraction of the lowest loss so far.
_GOOD_EPOCH = 0.95
# Losses of the estimators that are negative log-likelihoods.
_WITH_LIKELIHOOD = ("log_loss", "squared_error", "poisson", "gaussian")
# Parameters that this solver does not support, with their neutral values.
_OF_OTHER_SOLVERS = {"learning_rate": "constant", "max_norm": None}


def make_natural_gradient(model: BaseMultilayerPerceptron) -> optim.NaturalGradient:
    """Return a natural-gradient optimizer for a model's network, which adapts its step sizes and its damping.

    The method is close to K-FAC by J. Martens and R. Grosse: the Kronecker factors are averaged over the batches, and
    the damping is split between them. The quadratic model of each batch sets learning rate and momentum, and the
    reduction ratio sets the damping.

    Parameters
    ----------
    model : BaseMultilayerPerceptron
        The estimator, whose network is built.

    Raises
    ------
    ValueError
        If the loss is not a negative log-likelihood, the network has a layer without a Fisher matrix, or a parameter
        is not for this solver.
    """
    for name, nothing in _OF_OTHER_SOLVERS.items():
        if getattr(model, name) != nothing:
            raise ValueError(
                model._prefix(
                    f"{name} is not supported by solver='natural', which chooses its step sizes itself"
                )
            )
    if model.alpha and model.l1_ratio:
        raise ValueError(
            model._prefix("solver='natural' does not support l1_ratio: its model of the loss is smooth")
        )
    network, loss = model._network, model._loss_function()
    n_outputs = next(layer.n_out for layer in reversed(network.layers) if isinstance(layer, nn.Linear))
    try:
        likelihood = likelihood_of(loss, n_outputs)
    except ValueError as error:
        known = model._parameter_constraints["loss"][0].options
        names = ", ".join(name for name in _WITH_LIKELIHOOD if name in known)
        raise ValueError(
            model._prefix(
                f"loss={model.loss!r} is not the negative log-likelihood of a distribution, which solver='natural' "
                f"needs: take one of {names}"
            )
        ) from error
    try:
        return optim.NaturalGradient(
            network,
            loss,
            damping=1.0,
            split="pi",
            kind="exact" if n_outputs <= _MOST_EXACT_OUTPUTS else "monte_carlo",
            adapt_damping=True,
            inverse_damping=_INVERSE_DAMPING * likelihood.scale,
            momentum_rule="model",
            factor_decay=0.95,
            inverse_period=5,
            seed=int(copy.deepcopy(model._random_state).randint(np.iinfo(np.int32).max)),
        )
    except ValueError as error:
        text = str(error).removeprefix("[FisherMatrix] ")
        raise ValueError(model._prefix(f"solver='natural': {text}")) from error


class NaturalTrainer(ShuffledRows):
    """Trainer by the natural gradient; the batch sizes of an epoch differ by at most one sample.

    Parameters
    ----------
    optimizer : NaturalGradient
        Optimizer of the network.
    samples : NetworkSamples
        All samples, including those that are not in `rows`.
    rows : ndarray of shape (k,), int64, or None
        The rows to train on; None for all.
    batch_size : int
        Samples in a mini-batch, at most k.
    grows : bool
        Whether the batch size doubles after an epoch whose loss is above 95 % of the lowest loss so far. Each step
        minimises the quadratic model of its batch; only larger batches reduce the noise of this model.
    alpha : float
        Strength of the L2 penalty ``alpha / 2 * sum(w^2)`` on the summed loss of a batch.
    shuffle : bool
        Whether to shuffle the rows in each epoch.
    random_state : RandomState
        Generator of the shuffles.
    track_accuracy : bool
        Whether to count classification errors while training.
    """

    def __init__(
        self,
        optimizer: optim.NaturalGradient,
        samples: NetworkSamples,
        *,
        rows: Array | None,
        batch_size: int,
        grows: bool,
        alpha: float,
        shuffle: bool,
        random_state: np.random.RandomState,
        track_accuracy: bool,
    ) -> None:
        super().__init__(
            optimizer.net,
            samples.X,
            samples.y,
            samples.sample_weight,
            rows=rows,
            shuffle=shuffle,
            random_state=random_state,
        )
        self.optimizer = optimizer
        self.track_accuracy = track_accuracy
        self._grows, self._lowest = grows, math.inf
        self._set_batch_size(batch_size)
        self._alpha = alpha / self._mean_weight

    @property
    def remedy(self) -> str:
        """Advice for the error message after divergence."""
        return "Take a larger batch_size"

    def run_epoch(self, stream: int, on_progress: Callable[[int], None] | None = None) -> tuple[float, float]:
        """Train on every row once; see `MiniBatchTrainer.run_epoch`.

        Raises
        ------
        DivergenceError
            If the loss of a batch is not finite; the parameters stay as they were before this batch.
        """
        self._draw_order(stream)
        loss = errors = 0.0
        steps = self.steps
        ends = [self.samples * (step + 1) // steps for step in range(steps)]
        for step, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            length = end - start
            self._cursor[...] = start
            x, y = self._take_inputs(length), self._take(self._y, length)
            self.optimizer.l2 = self._alpha / length
            try:
                done = self.optimizer.step(x, y, self._take_weights(length))
            except DivergenceError as error:
                error.step = step
                raise
            loss += length * done.loss
            if self.track_accuracy and self.optimizer.output is not None:
                errors += length * float(K.zero_one_loss(self.optimizer.output, y))
            if on_progress is not None:
                on_progress(length)
        loss /= self.samples
        if self._grows and loss > _GOOD_EPOCH * self._lowest:
            self._set_batch_size(min(2 * self._batch_size, self.samples))
        self._lowest = min(loss, self._lowest)
        return loss, 1.0 - errors / self.samples

    def _set_batch_size(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self.steps = -(-self.samples // batch_size)
