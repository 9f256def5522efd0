"""Records after each epoch of a fit, for every solver: loss curve, validation, progress line, callbacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from steepest.callbacks import Epoch, above_bars

from ._progress import Progress


class Recorder:
    """Recorder of the loss and validation curves of a fit.

    Parameters
    ----------
    progress : Progress
        The state of the training, whose curves grow.
    validate : callable or None
        Returns loss and score on the validation samples; None without such samples.
    call_back : callable
        Calls the callbacks with an epoch, and returns whether one of them ends the fit.
    verbose : bool
        Whether to print a line for each epoch.
    """

    def __init__(
        self,
        progress: Progress,
        validate: Callable[[], tuple[float, float]] | None,
        call_back: Callable[[Epoch], bool],
        verbose: bool,
    ) -> None:
        self.call_back = call_back
        self._progress, self._validate, self._verbose = progress, validate, verbose
        if validate is not None and progress.validation_scores is None:
            progress.validation_scores, progress.validation_loss_curve = [], []
        progress.n_iter = 0

    def record(self, epoch: Epoch) -> Epoch:
        """Record an epoch; return it with its validation loss and score."""
        progress = self._progress
        progress.n_iter += 1
        progress.loss = epoch.loss
        progress.loss_curve.append(epoch.loss)
        if self._validate is not None:
            loss, score = self._validate()
            assert progress.validation_scores is not None
            assert progress.validation_loss_curve is not None
            progress.validation_scores.append(score)
            progress.validation_loss_curve.append(loss)
            epoch = replace(epoch, validation_loss=loss, validation_score=score)
        if self._verbose:
            score_text = (
                "" if epoch.validation_score is None else f", validation score = {epoch.validation_score:.6f}"
            )
            with above_bars():
                print(f"Iteration {progress.n_iter}, loss = {epoch.loss:.8f}{score_text}")
        return epoch
