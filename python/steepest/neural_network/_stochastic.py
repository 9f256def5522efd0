"""Training on mini-batches: optimizer, validation split and stopping criteria."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from steepest import optim
from steepest._estimators.data import resume
from steepest._estimators.training import MiniBatchTrainer, Monitor, Trainer, train
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.memory import assign, to_device, to_host
from steepest.callbacks import Callback, Epoch, above_bars
from steepest.optim import schedules
from steepest.optim.schedules import Schedule

from ._natural import NaturalTrainer, make_natural_gradient
from ._records import NetworkSamples, Recorder

if TYPE_CHECKING:
    from ._base import BaseMultilayerPerceptron


_SMALLEST_ADAPTIVE_RATE = 1e-6


def make_optimizer(model: BaseMultilayerPerceptron) -> optim.Optimizer | optim.NaturalGradient:
    """Return a new optimizer for the model's network, as the model's parameters define it."""
    return make_natural_gradient(model) if model.solver == "natural" else _make_rule(model)


def _make_rule(model: BaseMultilayerPerceptron) -> optim.Optimizer:
    parameters, lr = model._network.parameters(), float(model.learning_rate_init)
    options: dict[str, Any] = {"max_norm": model.max_norm}
    momentum, solver = float(model.momentum), model.solver
    if solver == "sgd":
        return optim.SGD(parameters, lr, momentum, model.nesterovs_momentum and momentum > 0, **options)
    if solver in ("momentum", "nesterov"):
        rule = optim.Momentum if solver == "momentum" else optim.Nesterov
        return rule(parameters, lr, momentum, **options)
    eps = float(model.epsilon)
    if solver == "adagrad":
        return optim.AdaGrad(parameters, lr, eps, **options)
    if solver == "rmsprop":
        return optim.RMSprop(parameters, lr, float(model.beta_2), eps, **options)
    betas = (float(model.beta_1), float(model.beta_2))
    if solver == "adamw":
        return optim.AdamW(parameters, lr, betas, eps, weight_decay=float(model.alpha), **options)
    return optim.Adam(parameters, lr, betas, eps, **options)


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
    model : BaseMultilayerPerceptron
        The estimator, with its network; its fitted attributes are kept up to date.
    samples : NetworkSamples
        All samples.
    validation : NetworkSamples or None
        Validation samples for the score after each epoch. With None, early stopping holds out a part of `samples`.
    incremental : bool
        Whether this is `partial_fit`: one epoch, with the optimizer of the last call.
    callbacks : list of Callback
        Callbacks that are called after each epoch.
    """

    def __init__(
        self,
        model: BaseMultilayerPerceptron,
        samples: NetworkSamples,
        validation: NetworkSamples | None,
        incremental: bool,
        callbacks: list[Callback],
    ) -> None:
        self.model = model
        self.incremental = incremental
        self.monitors = [callback for callback in callbacks if isinstance(callback, Monitor)]
        rows = None
        if model.early_stopping and validation is None:
            rows, validation = self._split(samples)
        self.recorder = Recorder(model, validation, callbacks)
        n_rows = len(samples.X) if rows is None else len(rows)
        batch_size = self._batch_size(n_rows)
        self.optimizer = self._prepare_optimizer(-(-n_rows // batch_size))
        self.trainer = self._make_trainer(samples, rows, batch_size)
        self.stopped = False  # whether the fit has ended before max_iter, by its criteria or by a callback
        if model.early_stopping and not incremental and np.isfinite(model.best_validation_score_ or np.nan):
            # If a warm start does not improve the score, its initial weights are restored.
            model._best_parameters = self._parameters()

    def run(self) -> bool:
        """Train the network, and return whether the user interrupted the training."""
        model = self.model
        if not self.incremental:
            model._no_improvement_count = 0
            model.stopped_early_ = False
        try:
            interrupted = train(
                self.trainer,
                1 if self.incremental else model.max_iter,
                self._after_epoch,
                name=type(model).__name__,
                on_progress=self._tell_monitors if self.monitors else None,
            )
        except FloatingPointError:
            # The optimizer's moments may not be finite; the next call makes a new optimizer.
            del model._optimizer
            raise
        finally:
            if isinstance(self.optimizer, optim.Optimizer):
                # The schedule ends with this call, since the next one has another number of steps.
                self.optimizer.follow(None)
        if model._best_parameters is not None and (model.stopped_early_ or not self.incremental):
            assign(model._network.arena, model._best_parameters)
            model._best_parameters = None
        if model.stopped_early_ and model.best_validation_score_ == -np.inf:
            warnings.warn(
                "Early stopping: no validation score was a number (all were NaN); the last weights were kept",
                ConvergenceWarning,
                stacklevel=4,
            )
        if not (self.incremental or self.stopped or interrupted):
            with above_bars():
                warnings.warn(
                    f"Stochastic Optimizer: Maximum iterations ({model.max_iter}) reached "
                    "and the optimization hasn't converged yet.",
                    ConvergenceWarning,
                    stacklevel=4,
                )
        return interrupted

    def _tell_monitors(self, samples: int) -> None:
        for monitor in self.monitors:
            monitor.steps_done(samples)

    # ------------------------------------------------------------------------------------------ preparation

    def _make_trainer(self, samples: NetworkSamples, rows: Array | None, batch_size: int) -> Trainer:
        model, optimizer = self.model, self.optimizer
        # The trainer counts errors by the largest of several outputs, which a single output does not have.
        tracked = model.out_activation_ == "softmax" and any(m.track_accuracy for m in self.monitors)
        if isinstance(optimizer, optim.NaturalGradient):
            return NaturalTrainer(
                optimizer,
                samples,
                rows=rows,
                batch_size=batch_size,
                grows=model.batch_size == "auto",
                alpha=float(model.alpha),
                shuffle=model.shuffle,
                random_state=model._random_state,
                track_accuracy=tracked,
            )
        return MiniBatchTrainer(
            model._network,
            model._loss_function(),
            optimizer,
            samples.X,
            samples.y,
            samples.sample_weight,
            rows=rows,
            batch_size=batch_size,
            # AdamW applies alpha as decoupled weight decay instead of a penalty.
            alpha=0.0 if model.solver == "adamw" else float(model.alpha) * (1.0 - model.l1_ratio),
            l1=float(model.alpha) * model.l1_ratio,
            shuffle=model.shuffle,
            random_state=model._random_state,
            track_accuracy=tracked,
        )

    def _prepare_optimizer(self, steps_per_epoch: int) -> optim.Optimizer | optim.NaturalGradient:
        """Return the last call's optimizer for `partial_fit`; for a warm start, a new optimizer with its moments."""
        model = self.model
        before: optim.Optimizer | optim.NaturalGradient | None = model.__dict__.get("_optimizer")
        if before is None or not self.incremental:
            model._optimizer = make_optimizer(model)
            if before is not None:
                resume(model._optimizer, {**before.state_dict(), "lr": model._optimizer.lr})
            if model.t_:
                self._schedule(model._optimizer)
        epochs = 1 if self.incremental else model.max_iter
        optimizer: optim.Optimizer | optim.NaturalGradient = model._optimizer
        schedule = self._schedule_of_steps(epochs * steps_per_epoch)
        if schedule and isinstance(optimizer, optim.Optimizer):
            optimizer.follow(schedule, epochs * steps_per_epoch)
        self._steps_per_epoch = steps_per_epoch
        return optimizer

    def _schedule_of_steps(self, steps: int) -> Schedule | None:
        """Return the schedule for the steps of this call, or None if the learning rate is not set by step."""
        model, given, rate = self.model, self.model.learning_rate, float(self.model.learning_rate_init)
        if isinstance(given, Schedule):
            return _Rest(given, model._steps_taken)
        if given not in ("cosine", "one_cycle"):
            return None
        if self.incremental:
            raise ValueError(
                model._prefix(
                    f"learning_rate={given!r} ends with the last epoch of a fit, which partial_fit does not know: "
                    "pass a schedule of steepest.optim.schedules"
                )
            )
        return schedules.Cosine(rate, steps) if given == "cosine" else schedules.OneCycle(rate, steps)

    def _schedule(self, optimizer: optim.Optimizer | optim.NaturalGradient) -> None:
        model = self.model
        if model.solver == "sgd" and model.learning_rate == "invscaling":
            optimizer.lr = model.learning_rate_init / (model.t_ + 1) ** model.power_t

    def _split(self, samples: NetworkSamples) -> tuple[Array, NetworkSamples]:
        """Return the training rows and the validation samples, split as in scikit-learn, alike in every warm start."""
        model = self.model
        rows, held_out = train_test_split(
            np.arange(len(samples.X)),
            random_state=copy.deepcopy(model._split_state) if model.t_ else model._random_state,
            test_size=model.validation_fraction,
            stratify=model._strata(to_host(samples.y)),
        )
        if len(held_out) < 2:
            raise ValueError(
                model._prefix(
                    "The validation set is too small. Increase 'validation_fraction' "
                    "or the size of your dataset."
                )
            )
        rows, held_out = (to_device(indices, model._network.device) for indices in (rows, held_out))
        weights = samples.sample_weight
        if weights is None:
            return rows, NetworkSamples(samples.X[held_out], samples.y[held_out], None)
        for name, indices in (("training", rows), ("validation", held_out)):
            if not weights[indices].sum(dtype=np.float64) > 0:
                raise ValueError(model._prefix(f"sample_weight is zero for every sample of the {name} set"))
        return rows, NetworkSamples(samples.X[held_out], samples.y[held_out], weights[held_out])

    def _batch_size(self, n: int) -> int:
        batch_size = self.model.batch_size
        if isinstance(batch_size, str):
            return min(200, n)
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
        model = self.model
        model.t_ += epoch.samples
        model._steps_taken += self._steps_per_epoch
        epoch = self.recorder.record(epoch)
        if model.early_stopping:
            self._compare_scores(epoch)
        else:
            self._compare_losses(epoch)
        self._schedule(self.optimizer)
        if model._no_improvement_count > model.n_iter_no_change:
            self.stopped = self._stop_or_slow_down()
            model.stopped_early_ = self.stopped and model.early_stopping
        self.stopped = self.recorder.call_back(epoch) or self.stopped
        return self.stopped

    def _compare_scores(self, epoch: Epoch) -> None:
        model, best, score = self.model, self.model.best_validation_score_, epoch.validation_score
        # A model whose last fit was without early stopping has no best score yet.
        best = -np.inf if best is None else best
        assert score is not None
        # A score of NaN counts as no improvement.
        model._no_improvement_count = 0 if score >= best + model.tol else model._no_improvement_count + 1
        model.best_validation_score_ = best
        if score > best:
            model.best_validation_score_ = score
            model._best_parameters = self._parameters()

    def _parameters(self) -> Array:
        return np.array(to_host(self.model._network.arena))

    def _compare_losses(self, epoch: Epoch) -> None:
        model = self.model
        best = np.inf if model.best_loss_ is None else model.best_loss_
        model._no_improvement_count = model._no_improvement_count + 1 if epoch.loss > best - model.tol else 0
        model.best_loss_ = min(best, epoch.loss)

    def _stop_or_slow_down(self) -> bool:
        model, optimizer = self.model, self.optimizer
        what = "Validation score" if model.early_stopping else "Training loss"
        adaptive = model.solver == "sgd" and model.learning_rate == "adaptive"
        stop = not (adaptive and optimizer.lr > _SMALLEST_ADAPTIVE_RATE)
        if not stop:
            optimizer.lr /= 5.0
            model._no_improvement_count = 0
        if model.verbose:
            action = "Stopping." if stop else f"Setting learning rate to {optimizer.lr:f}"
            patience = f"tol={model.tol:f} for {model.n_iter_no_change} consecutive epochs"
            with above_bars():
                print(f"{what} did not improve more than {patience}. {action}")
        return stop
