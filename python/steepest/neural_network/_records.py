"""Records after each epoch of a fit, for every solver: loss curve, validation, progress line, callbacks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from steepest._estimators.sparse_rows import SparseRows
from steepest._runtime.arrays import Array
from steepest._runtime.memory import array_namespace
from steepest.callbacks import Callback, Epoch, above_bars
from steepest.nn import Network

if TYPE_CHECKING:
    from ._base import BaseMultilayerPerceptron


@dataclass(frozen=True, eq=False)
class NetworkSamples:
    """Samples on the network's device, with targets as the loss takes them."""

    X: Array | SparseRows
    y: Array
    sample_weight: Array | None


def predict(network: Network, X: Array | SparseRows) -> Array:
    """Return the output of a network for all rows."""
    if not isinstance(X, SparseRows):
        return cast("Array", network.predict(X))
    output: Array = array_namespace(network.arena).concatenate([network.predict(x) for _, x in X.blocks()])
    return output


class Recorder:
    """Recorder of the loss and validation curves of a fit.

    Parameters
    ----------
    model : BaseMultilayerPerceptron
        The estimator, whose fitted attributes are kept up to date.
    validation : NetworkSamples or None
        Validation samples for the score after each epoch.
    callbacks : iterable of Callback
        Callbacks that are called after each epoch.
    """

    def __init__(
        self,
        model: BaseMultilayerPerceptron,
        validation: NetworkSamples | None,
        callbacks: Iterable[Callback],
    ) -> None:
        self._model, self._validation, self._callbacks = model, validation, list(callbacks)
        if validation is not None and model.validation_scores_ is None:
            model.validation_scores_, model.validation_loss_curve_ = [], []
        model.n_iter_ = 0

    def record(self, epoch: Epoch) -> Epoch:
        """Record an epoch; return it with its validation loss and score."""
        model = self._model
        model.n_iter_ += 1
        model.loss_ = epoch.loss
        model.loss_curve_.append(epoch.loss)
        if self._validation is not None:
            epoch = self._validate(epoch, self._validation)
        if model.verbose:
            score = (
                "" if epoch.validation_score is None else f", validation score = {epoch.validation_score:.6f}"
            )
            with above_bars():
                print(f"Iteration {model.n_iter_}, loss = {epoch.loss:.8f}{score}")
        return epoch

    def call_back(self, epoch: Epoch) -> bool:
        """Call the callbacks with an epoch; return whether one of them ends the fit."""
        answers = [callback.epoch_done(self._model, epoch) for callback in self._callbacks]
        return any(answers)

    def _validate(self, epoch: Epoch, validation: NetworkSamples) -> Epoch:
        model = self._model
        output = predict(model._network, validation.X)
        loss = float(model._loss_function()(output, validation.y, validation.sample_weight)[0])
        score = model._score_output(output, validation.y, validation.sample_weight)
        assert model.validation_scores_ is not None
        assert model.validation_loss_curve_ is not None
        model.validation_scores_.append(score)
        model.validation_loss_curve_.append(loss)
        return replace(epoch, validation_loss=loss, validation_score=score)
