"""Training on mini-batches: optimizer, schedule, and when it stops."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from steepest import nn, optim
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.memory import assign, to_host
from steepest.callbacks import Epoch, above_bars
from steepest.estimators.data import resume
from steepest.estimators.random_states import copied, seed_of
from steepest.nn.losses import Loss
from steepest.optim import schedules
from steepest.optim.schedules import Schedule
from steepest.training.batches import Batches, Samples
from steepest.training.loop import train, warn_of_interrupt
from steepest.training.programs import GradientDescent, NaturalDescent, Program
from steepest.training.trainer import Trainer

from ._optimizers import make_optimizer
from ._parameters import PerceptronParameters, prefixed
from ._progress import Progress
from ._records import Recorder

_SMALLEST_ADAPTIVE_RATE = 1e-6
PLANNED = ("cosine", "one_cycle")  # schedules that end with the last epoch


@dataclass(frozen=True)
class _Rest(Schedule):
    """Rest of a schedule after `done` steps."""

    schedule: Schedule
    done: int

    def _rate(self, t: Float64Array) -> Float64Array:
        return self.schedule(t + self.done)


class StochasticFit:
    """One call of `fit` or `partial_fit` with a mini-batch solver.

    Parameters
    ----------
    model : PerceptronParameters
        The parameters of the estimator.
    network : Network
        The network to train.
    loss : Loss
        The loss to minimise.
    progress : Progress
        The state of the training, which is kept up to date.
    samples : Samples
        All samples, on the network's device.
    rows : ndarray of int64, or None
        The rows to train on; None for all.
    recorder : Recorder
        Records each epoch, and calls the callbacks.
    augmentation : dict
        Arguments of `Batches` that augment the samples.
    incremental : bool
        Whether this is `partial_fit`: one epoch, with the optimizer of the last call.
    track_accuracy : bool
        Whether to count classification errors.
    """

    def __init__(
        self,
        model: PerceptronParameters,
        network: nn.Network,
        loss: Loss,
        progress: Progress,
        samples: Samples,
        rows: Array | None,
        recorder: Recorder,
        *,
        augmentation: dict[str, Any],
        incremental: bool,
        track_accuracy: bool,
    ) -> None:
        self.model, self.network, self.loss, self.progress = model, network, loss, progress
        self.recorder, self.incremental = recorder, incremental
        self._early_stopping = model.early_stopping  # which a callback may change
        batches = Batches(
            samples,
            rows=rows,
            shuffle=model.shuffle,
            random_state=progress.random_state,
            # The state of a copy, so that shuffles are those of fits without augmentation.
            seed=(seed_of(copied(progress.random_state)) + progress.t) % 2**31 if augmentation else 0,
            **augmentation,
        )
        # A mixture has no single class that a prediction could miss.
        track_accuracy = track_accuracy and not batches.mixes
        batch_size = self._batch_size(len(batches))
        self.epochs = 1 if incremental else model.max_iter
        self._steps_per_epoch = -(-len(batches) // batch_size)
        self.optimizer = self._prepare_optimizer()
        natural = isinstance(self.optimizer, optim.NaturalGradient)
        self.trainer = Trainer(
            {"network": self._program(batches, track_accuracy)},
            batches,
            batch_size,
            even=natural,
            grows=natural and model.batch_size == "auto",
        )
        self.stopped = False  # whether the fit has ended before max_iter, by its criteria or by a callback
        best = progress.best_validation_score
        if self._early_stopping and not incremental and best is not None and math.isfinite(best):
            # If a warm start does not improve the score, its initial weights are restored.
            progress.best_parameters = self._parameters()

    def run(self, name: str, on_progress: Callable[[int], None] | None) -> bool:
        """Train the network, and return whether the user interrupted the training.

        Parameters
        ----------
        name : str
            Name that error messages start with.
        on_progress : callable or None
            Called after each part of an epoch with its number of samples.
        """
        model, progress = self.model, self.progress
        if not self.incremental:
            progress.no_improvement_count = 0
            progress.stopped_early = False
        try:
            interrupted = train(
                self.trainer, self.epochs, self._after_epoch, name=name, on_progress=on_progress
            )
        except FloatingPointError:
            # The optimizer's moments may not be finite; the next call makes a new optimizer.
            progress.optimizer = None
            raise
        finally:
            if isinstance(self.optimizer, optim.Optimizer):
                # The schedule ends with this call, since the next one has another number of steps.
                self.optimizer.follow(None)
        if interrupted:
            warn_of_interrupt(stacklevel=5)
        if progress.best_parameters is not None and (progress.stopped_early or not self.incremental):
            self._restore(progress.best_parameters)
            progress.best_parameters = None
        if progress.stopped_early and progress.best_validation_score == -math.inf:
            warnings.warn(
                "Early stopping: no validation score was a number (all were NaN); the last weights were kept",
                ConvergenceWarning,
                stacklevel=5,
            )
        # A schedule that ends with the last epoch has been planned for this number of epochs.
        planned = model.learning_rate in PLANNED
        if not (self.incremental or self.stopped or interrupted or planned):
            with above_bars():
                warnings.warn(
                    f"Stochastic Optimizer: Maximum iterations ({model.max_iter}) reached "
                    "and the optimization hasn't converged yet.",
                    ConvergenceWarning,
                    stacklevel=5,
                )
        return interrupted

    # ------------------------------------------------------------------------------------------ preparation

    def _program(self, batches: Batches, track_accuracy: bool) -> Program:
        model, optimizer = self.model, self.optimizer
        alpha = float(model.alpha) / batches.mean_weight
        if isinstance(optimizer, optim.NaturalGradient):
            return NaturalDescent(optimizer, alpha=alpha, track_accuracy=track_accuracy)
        return GradientDescent(
            self.network,
            self.loss,
            optimizer,
            # AdamW applies alpha as decoupled weight decay instead of a penalty.
            alpha=0.0 if model.solver == "adamw" else alpha * (1.0 - model.l1_ratio),
            l1=alpha * model.l1_ratio,
            track_accuracy=track_accuracy,
        )

    def _prepare_optimizer(self) -> optim.Optimizer | optim.NaturalGradient:
        """Return the last call's optimizer for `partial_fit`; for a warm start, a new optimizer with its moments."""
        progress, before = self.progress, self.progress.optimizer
        if before is None or not self.incremental:
            optimizer = make_optimizer(self.model, self.network, self.loss, progress.random_state)
            if before is not None:
                resume(optimizer, {**before.state_dict(), "lr": optimizer.lr})
            if progress.t:
                self._schedule(optimizer)
            progress.optimizer = optimizer
        else:
            optimizer = before
        steps = self.epochs * self._steps_per_epoch
        schedule = self._schedule_of_steps(steps)
        if schedule and isinstance(optimizer, optim.Optimizer):
            optimizer.follow(schedule, steps)
        return optimizer

    def _schedule_of_steps(self, steps: int) -> Schedule | None:
        """Return the schedule for the steps of this call, or None if the learning rate is not set by step."""
        model, given, rate = self.model, self.model.learning_rate, float(self.model.learning_rate_init)
        if isinstance(given, Schedule):
            return _Rest(given, self.progress.steps_taken)
        if given not in PLANNED:
            return None
        if self.incremental:
            raise ValueError(
                prefixed(
                    model,
                    f"learning_rate={given!r} ends with the last epoch of a fit, which partial_fit does not know: "
                    "pass a schedule of steepest.optim.schedules",
                )
            )
        return schedules.Cosine(rate, steps) if given == "cosine" else schedules.OneCycle(rate, steps)

    def _schedule(self, optimizer: optim.Optimizer | optim.NaturalGradient) -> None:
        model = self.model
        if model.solver == "sgd" and model.learning_rate == "invscaling":
            optimizer.lr = model.learning_rate_init / (self.progress.t + 1) ** model.power_t

    def _batch_size(self, n: int) -> int:
        batch_size = self.model.batch_size
        if isinstance(batch_size, str):
            return min(self.model._largest_auto_batch, n)
        if batch_size > n:
            with above_bars():
                warnings.warn(
                    f"Got `batch_size` {batch_size} larger than sample size {n}. It is going to be clipped.",
                    stacklevel=6,
                )
        return min(int(batch_size), n)

    # ------------------------------------------------------------------------------------------ every epoch

    def _after_epoch(self, epoch: Epoch) -> bool:
        """Record an epoch, and return whether to stop."""
        model, progress = self.model, self.progress
        progress.t += epoch.samples
        progress.steps_taken += self._steps_per_epoch
        epoch = self.recorder.record(epoch)
        self._compare(epoch)
        self._schedule(self.optimizer)
        if progress.no_improvement_count > model.n_iter_no_change:
            self.stopped = self._stop_or_slow_down()
            progress.stopped_early = self.stopped and self._early_stopping
        self.stopped = self.recorder.call_back(epoch) or self.stopped
        return self.stopped

    def _compare(self, epoch: Epoch) -> None:
        """Compare the score of an epoch, or without early stopping its loss, with the best one so far."""
        progress, tol = self.progress, self.model.tol
        if self._early_stopping:
            best, value = progress.best_validation_score, epoch.validation_score
            assert value is not None
        else:
            # Losses count with the opposite sign.
            best, value = None if progress.best_loss is None else -progress.best_loss, -epoch.loss
        if best is None:  # the last fit was the other one of these two
            best = -math.inf
        # As in scikit-learn, smaller steps than tol raise the best value, but are no improvement; nor is NaN.
        improved, is_best = value >= best + tol, value > best
        progress.no_improvement_count = 0 if improved else progress.no_improvement_count + 1
        best = value if is_best else best
        if not self._early_stopping:
            progress.best_loss = -best
            return
        progress.best_validation_score = best
        if is_best:
            progress.best_parameters = self._parameters()

    def _kept(self) -> list[Array]:
        """Return what a prediction depends on: the parameters, and the averages that norms keep."""
        return [self.network.arena, *self.network.states.values()]

    def _parameters(self) -> Array:
        return np.concatenate([np.ravel(to_host(array)) for array in self._kept()])

    def _restore(self, parameters: Array) -> None:
        for array, values in zip(self._kept(), _parts(parameters, self._kept()), strict=True):
            assign(array, values)

    def _stop_or_slow_down(self) -> bool:
        model, optimizer = self.model, self.optimizer
        what = "Validation score" if self._early_stopping else "Training loss"
        adaptive = model.solver == "sgd" and model.learning_rate == "adaptive"
        stop = not (adaptive and optimizer.lr > _SMALLEST_ADAPTIVE_RATE)
        if not stop:
            optimizer.lr /= 5.0
            self.progress.no_improvement_count = 0
        if model.verbose:
            action = "Stopping." if stop else f"Setting learning rate to {optimizer.lr:f}"
            patience = f"tol={model.tol:f} for {model.n_iter_no_change} consecutive epochs"
            with above_bars():
                print(f"{what} did not improve more than {patience}. {action}")
        return stop


def _parts(values: Array, like: list[Array]) -> list[Array]:
    """Return consecutive parts of a flat array with the shapes of other arrays."""
    ends = np.cumsum([array.size for array in like])
    return [part.reshape(array.shape) for part, array in zip(np.split(values, ends[:-1]), like, strict=True)]
