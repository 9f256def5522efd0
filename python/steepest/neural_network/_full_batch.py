"""Training of an estimator by L-BFGS, with records and callbacks after each iteration."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

from steepest.callbacks import Callback, Epoch, above_bars

from ._lbfgs import fit_network_lbfgs
from ._records import NetworkSamples, Recorder

if TYPE_CHECKING:
    from ._base import BaseMultilayerPerceptron


def fit_lbfgs(
    model: BaseMultilayerPerceptron,
    samples: NetworkSamples,
    validation: NetworkSamples | None,
    callbacks: Iterable[Callback],
) -> bool:
    """Minimise the loss of all samples by L-BFGS, and return whether the user interrupted it.

    Parameters
    ----------
    model : BaseMultilayerPerceptron
        The estimator, with its network; its fitted attributes are kept up to date.
    samples : NetworkSamples
        Samples to train on.
    validation : NetworkSamples or None
        Validation samples for the score after each iteration.
    callbacks : iterable of Callback
        Callbacks that are called after each iteration.
    """
    recorder = Recorder(model, validation, callbacks)
    begun = time.perf_counter()

    def after_iteration(loss: float) -> bool:
        nonlocal begun
        now = time.perf_counter()
        epoch = Epoch(model.n_iter_ + 1, loss, None, len(samples.X), now - begun)
        stop = recorder.call_back(recorder.record(epoch))
        begun = time.perf_counter()
        return stop

    try:
        model.loss_, model.n_iter_ = fit_network_lbfgs(
            model._network,
            model._loss_function(),
            samples.X,
            samples.y,
            samples.sample_weight,
            alpha=model.alpha,
            tol=model.tol,
            max_iter=model.max_iter,
            max_fun=model.max_fun,
            name=type(model).__name__,
            after_iteration=after_iteration,
        )
    except KeyboardInterrupt:
        with above_bars():
            warnings.warn("Training interrupted by user.", stacklevel=4)
        return True
    return False
