"""Training by Adam or stochastic gradient descent: the optimizer, the validation split, and when to stop."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from steepest import optim
from steepest._estimators.data import resume
from steepest._estimators.training import Epoch, MiniBatchTrainer, Monitor, train
from steepest._memory import to_device, to_host

if TYPE_CHECKING:
    from ._base import BaseMultilayerPerceptron

Array = npt.NDArray[Any]

_SMALLEST_ADAPTIVE_RATE = 1e-6


@dataclass(frozen=True, eq=False)
class _Validation:
    """Held-out samples on the network's device, with the targets as the loss takes them."""

    X: Array
    y: Array
    sample_weight: Array | None


def make_optimizer(model: BaseMultilayerPerceptron) -> optim.Optimizer:
    """Return a new optimizer over the model's network, by the model's parameters."""
    parameters, lr = model._network.parameters(), float(model.learning_rate_init)
    if model.solver == "sgd":
        momentum = float(model.momentum)
        return optim.SGD(parameters, lr, momentum, nesterov=model.nesterovs_momentum and momentum > 0)
    betas = (float(model.beta_1), float(model.beta_2))
    return optim.Adam(parameters, lr, betas=betas, eps=float(model.epsilon))


class StochasticFit:
    """One call of fit or partial_fit.

    Parameters
    ----------
    model : BaseMultilayerPerceptron
        The estimator, with its network; its fitted attributes are kept up to date.
    X, y, sample_weight : ndarray
        All samples, as `MiniBatchTrainer` takes them, on the network's device.
    incremental : bool
        Whether this is partial_fit: one epoch, by the optimizer of the last call.
    random_state : RandomState
        Draws the validation split.
    monitor : Monitor
        Is told of the progress.
    """

    def __init__(
        self,
        model: BaseMultilayerPerceptron,
        X: Array,
        y: Array,
        sample_weight: Array | None,
        incremental: bool,
        random_state: Any,
        monitor: Monitor,
    ) -> None:
        self.model = model
        self.incremental = incremental
        self.monitor = monitor
        rows, self.validation = self._split(X, y, sample_weight, random_state)
        if self.validation is not None and model.validation_scores_ is None:
            model.validation_scores_, model.validation_loss_curve_ = [], []
        self.optimizer = self._prepare_optimizer()
        self.trainer = MiniBatchTrainer(
            model._network,
            model._loss_function(),
            self.optimizer,
            X,
            y,
            sample_weight,
            rows=rows,
            batch_size=self._batch_size(len(X) if rows is None else len(rows)),
            alpha=float(model.alpha),
            shuffle=model.shuffle,
            seed=model._shuffle_seed,
            track_accuracy=monitor.track_accuracy,
        )
        self.best: Array | None = None  # the arena of the best epoch of early stopping
        self.converged = False

    def run(self) -> bool:
        """Train; returns whether the user interrupted it."""
        model = self.model
        model.n_iter_ = 0
        if not self.incremental:
            model._no_improvement_count = 0
        try:
            interrupted = train(
                self.trainer,
                1 if self.incremental else model.max_iter,
                self._after_epoch,
                name=type(model).__name__,
                first_stream=model._epochs_seen,
                on_progress=None if type(self.monitor) is Monitor else self.monitor.steps_done,
            )
        except FloatingPointError:
            # Its moments may not be finite; the next call starts with new ones.
            del model._optimizer
            raise
        if self.best is not None:
            model._network.arena[...] = self.best
        if not (self.incremental or self.converged or interrupted):
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({model.max_iter}) reached "
                "and the optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=4,
            )
        return interrupted

    # ------------------------------------------------------------------------------------------ preparation

    def _prepare_optimizer(self) -> optim.Optimizer:
        """Return the last call's optimizer for partial_fit; a new one with its moments for a warm start."""
        model = self.model
        before: optim.Optimizer | None = model.__dict__.get("_optimizer")
        if before is not None and self.incremental:
            return before
        model._optimizer = make_optimizer(model)
        if before is not None:
            resume(model._optimizer, {**before.state_dict(), "lr": model._optimizer.lr})
        if model.t_:
            self._schedule(model._optimizer)
        return model._optimizer

    def _schedule(self, optimizer: optim.Optimizer) -> None:
        model = self.model
        if model.solver == "sgd" and model.learning_rate == "invscaling":
            optimizer.lr = model.learning_rate_init / (model.t_ + 1) ** model.power_t

    def _split(
        self, X: Array, y: Array, sample_weight: Array | None, random_state: Any
    ) -> tuple[Array | None, _Validation | None]:
        """Return the rows to train on (None for all) and the validation samples, where there are any."""
        model = self.model
        if not model.early_stopping:
            if self.monitor.validation is None:
                return None, None
            X, y = model._check_data(*self.monitor.validation, reset=False)
            y = model._validate_targets(y, X, first_pass=False, incremental=True)
            return None, _Validation(*model._on_device(X, y, None))
        rows, held_out = train_test_split(
            np.arange(len(X)),
            random_state=random_state,
            test_size=model.validation_fraction,
            stratify=to_host(y) if model._stratified_split else None,
        )
        if len(held_out) < 2:
            raise ValueError(
                model._prefix(
                    "The validation set is too small. Increase 'validation_fraction' "
                    "or the size of your dataset."
                )
            )
        device = model._network.device
        rows, held_out = to_device(rows, device), to_device(held_out, device)
        if sample_weight is None:
            return rows, _Validation(X[held_out], y[held_out], None)
        for part, indices in (("training", rows), ("validation", held_out)):
            if not sample_weight[indices].sum(dtype=np.float64) > 0:
                raise ValueError(model._prefix(f"sample_weight is zero for every sample of the {part} set"))
        return rows, _Validation(X[held_out], y[held_out], sample_weight[held_out])

    def _batch_size(self, n: int) -> int:
        batch_size = self.model.batch_size
        if isinstance(batch_size, str):
            return min(200, n)
        if batch_size > n:
            warnings.warn(
                f"Got `batch_size` {batch_size} larger than sample size {n}. It is going to be clipped.",
                stacklevel=6,
            )
        return min(int(batch_size), n)

    # ------------------------------------------------------------------------------------------ every epoch

    def _after_epoch(self, epoch: Epoch) -> bool:
        """Keep the records of an epoch; returns whether to stop."""
        model = self.model
        model.n_iter_ += 1
        model._epochs_seen += 1
        model.t_ += epoch.samples
        model.loss_ = epoch.loss
        model.loss_curve_.append(epoch.loss)
        if self.validation is not None:
            epoch = self._validate(epoch, self.validation)
        self.monitor.epoch_done(epoch)
        if model.verbose:
            score = (
                "" if epoch.validation_score is None else f", validation score = {epoch.validation_score:.6f}"
            )
            print(f"Iteration {model.n_iter_}, loss = {epoch.loss:.8f}{score}")
        if model.early_stopping:
            self._compare_scores(epoch)
        else:
            self._compare_losses(epoch)
        self._schedule(self.optimizer)
        if model._no_improvement_count > model.n_iter_no_change:
            self.converged = self._stop_or_slow_down()
        return self.converged

    def _validate(self, epoch: Epoch, validation: _Validation) -> Epoch:
        model = self.model
        output = model._network.predict(validation.X)
        loss = float(model._loss_function()(output, validation.y, validation.sample_weight)[0])
        score = model._score_output(output, validation.y, validation.sample_weight)
        assert model.validation_scores_ is not None
        assert model.validation_loss_curve_ is not None
        model.validation_scores_.append(score)
        model.validation_loss_curve_.append(loss)
        return replace(epoch, validation_loss=loss, validation_score=score)

    def _compare_scores(self, epoch: Epoch) -> None:
        model, best, score = self.model, self.model.best_validation_score_, epoch.validation_score
        # A model that was fitted without early stopping before this warm start has no best score yet.
        best = -np.inf if best is None else best
        assert score is not None
        model._no_improvement_count = model._no_improvement_count + 1 if score < best + model.tol else 0
        model.best_validation_score_ = best
        if score > best:
            model.best_validation_score_ = score
            self.best = model._network.arena.copy()

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
            print(f"{what} did not improve more than {patience}. {action}")
        return stop
