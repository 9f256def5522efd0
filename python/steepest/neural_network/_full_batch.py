"""Training of a perceptron by L-BFGS, with records and callbacks after each iteration."""

from __future__ import annotations

import time
import warnings
from dataclasses import replace

from sklearn.exceptions import ConvergenceWarning

from steepest import nn
from steepest.callbacks import Epoch, above_bars
from steepest.nn.losses import Loss
from steepest.training.batches import Samples
from steepest.training.full_batch import minimize_lbfgs
from steepest.training.images import as_floats
from steepest.training.loop import warn_of_interrupt

from ._parameters import PerceptronParameters
from ._progress import Progress
from ._records import Recorder


def fit_lbfgs(
    model: PerceptronParameters,
    network: nn.Network,
    loss: Loss,
    progress: Progress,
    samples: Samples,
    recorder: Recorder,
    name: str,
) -> bool:
    """Minimise the loss of all samples by L-BFGS, and return whether the user interrupted it.

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
        Samples to train on.
    recorder : Recorder
        Records each iteration, and calls the callbacks.
    name : str
        Name that error messages start with.
    """
    begun = time.perf_counter()

    def after_iteration(value: float) -> bool:
        nonlocal begun
        now = time.perf_counter()
        epoch = Epoch(progress.n_iter + 1, value, None, len(samples), now - begun)
        stop = recorder.call_back(recorder.record(epoch))
        begun = time.perf_counter()
        return stop

    try:
        minimum = minimize_lbfgs(
            network,
            loss,
            replace(samples, X=as_floats(samples.X)),
            alpha=model.alpha,
            tol=model.tol,
            max_iter=model.max_iter,
            max_fun=model.max_fun,
            name=name,
            after_iteration=after_iteration,
        )
    except KeyboardInterrupt:
        warn_of_interrupt(stacklevel=5)
        return True
    progress.loss, progress.n_iter = minimum.loss, minimum.n_iter
    if minimum.problem:
        with above_bars():
            warnings.warn(
                f"lbfgs failed to converge after {minimum.n_iter} iteration(s) {minimum.problem}. "
                f"You might also want to scale the data, or to increase max_iter={model.max_iter} "
                f"or max_fun={model.max_fun}.",
                ConvergenceWarning,
                stacklevel=5,
            )
    return False
