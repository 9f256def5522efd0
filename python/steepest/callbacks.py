"""Callbacks: objects that an estimator tells of the progress of its fit, and that may end it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Epoch:
    """What one epoch of training came to; for ``solver="lbfgs"``, one iteration.

    Attributes
    ----------
    number : int
        Counted from 1 in each fit.
    loss : float
        Mean loss over the samples, while training, with the penalty.
    accuracy : float or None
        Share of the samples classified correctly while training, where it was asked for.
    samples : int
        Number of samples.
    seconds : float
        Wall-clock time of the training steps.
    validation_loss, validation_score : float or None
        Loss without the penalty, and score, on the validation samples after the epoch, where there are any.
    """

    number: int
    loss: float
    accuracy: float | None
    samples: int
    seconds: float
    validation_loss: float | None = None
    validation_score: float | None = None


class Callback:
    """Base class of callbacks, whose methods do nothing.

    Estimators take a list of them as ``callbacks=[...]`` and call them in its order, on the thread that fits. An
    exception of a callback ends the fit.

    Examples
    --------
    >>> from steepest.callbacks import Callback
    >>> class StopAtLoss(Callback):
    ...     def __init__(self, loss):
    ...         self.loss = loss
    ...
    ...     def epoch_done(self, model, epoch):
    ...         return epoch.loss < self.loss
    """

    def fit_begun(self, model: Any) -> None:
        """Hear that a fit begins.

        Parameters
        ----------
        model : estimator
            The estimator; its parameters are checked, and its network is made.
        """

    def epoch_done(self, model: Any, epoch: Epoch) -> bool | None:
        """Hear that an epoch has ended.

        Parameters
        ----------
        model : estimator
            The estimator, with its fitted attributes as they are after the epoch: it can predict.
        epoch : Epoch
            What the epoch came to.

        Returns
        -------
        bool or None
            True to end the fit; its weights then stay as they are.
        """
        return None

    def fit_done(self, model: Any) -> None:
        """Hear that the fit has ended: by itself, by a callback, by Ctrl-C or with an error.

        Parameters
        ----------
        model : estimator
            The estimator.
        """
