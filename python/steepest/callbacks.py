"""Callbacks: objects that an estimator calls when a fit starts, after each epoch, and when the fit ends."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from dataclasses import dataclass
from typing import Any

__all__ = ["Callback", "Checkpoint", "EarlyStopping", "Epoch", "ProgressBar", "TensorBoard"]

_NO_TENSORBOARD = "TensorBoard needs tensorboardX: pip install tensorboardX"

# Format for tqdm. In 80 columns it leaves room for a long estimator name, thousands of epochs, and losses and score.
_BAR_FORMAT = "{l_bar}{bar}| {n_fmt}/{total_fmt} {remaining}{postfix}"


@dataclass(frozen=True)
class Epoch:
    """Results of one epoch of training; for ``solver="lbfgs"``, of one iteration.

    Attributes
    ----------
    number : int
        Number of the epoch, counted from 1 in each fit.
    loss : float
        Mean training loss over the samples, including the penalty.
    accuracy : float or None
        Proportion of the samples classified correctly during training; None if it is not counted.
    samples : int
        Number of samples.
    seconds : float
        Wall-clock time of the training steps.
    validation_loss, validation_score : float or None
        Loss without the penalty, and score, on the validation samples after the epoch; None without such samples.
    """

    number: int
    loss: float
    accuracy: float | None
    samples: int
    seconds: float
    validation_loss: float | None = None
    validation_score: float | None = None


class Callback:
    """Base class of callbacks; its methods do nothing.

    Estimators take a list of callbacks, ``callbacks=[...]``, and call them in the order of the list, on the thread
    that fits. An exception in a callback ends the fit.

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
        """Receive the estimator when a fit starts.

        Parameters
        ----------
        model : estimator
            The estimator; its parameters are already checked, and its network is built.
        """

    def epoch_done(self, model: Any, epoch: Epoch) -> bool | None:
        """Receive the results of each epoch, and return whether to end the fit.

        Parameters
        ----------
        model : estimator
            The estimator; its fitted attributes are up to date, and it can predict.
        epoch : Epoch
            Results of the epoch.

        Returns
        -------
        bool or None
            True to end the fit; the weights then stay as they are.
        """
        return None

    def fit_done(self, model: Any) -> None:
        """Receive the estimator when the fit has ended: by itself, by a callback, by Ctrl-C or with an error.

        Parameters
        ----------
        model : estimator
            The estimator.
        """


def check_callbacks(name: str, callbacks: Any) -> list[Callback]:
    """Return the callbacks of an estimator of this name as a list; None is an empty one.

    Raises
    ------
    TypeError
        If one is no `Callback`.
    """
    found = list(callbacks or ())
    for callback in found:
        if not isinstance(callback, Callback):
            raise TypeError(
                f"[{name}] callbacks must be objects of steepest.callbacks.Callback, got {callback!r}"
            )
    return found


class ProgressBar(Callback):
    """Progress bar of a fit in terminals and notebooks; in logs, a line at regular intervals.

    The bar shows the number of epochs, the remaining time and the loss. With validation samples it also shows the loss
    (``val``) and the score on them. Without a standard error stream, nothing is shown.

    Parameters
    ----------
    log_seconds : float, default=30.0
        If standard error is neither a terminal nor a notebook, seconds between two lines of the log. A fit that takes
        longer than this also writes a line at its end.

    Examples
    --------
    >>> from steepest.callbacks import ProgressBar
    >>> from steepest.neural_network import MLPClassifier
    >>> model = MLPClassifier(callbacks=[ProgressBar()])
    """

    def __init__(self, log_seconds: float = 30.0) -> None:
        self.log_seconds = log_seconds
        self._bar: Any = None

    def fit_begun(self, model: Any) -> None:
        """Show the bar."""
        self._name, self._total = type(model).__name__, getattr(model, "max_iter", None)
        self._bar = open_bar(total=self._total, desc=self._name, bar_format=_BAR_FORMAT)
        self._begun = self._written = time.monotonic()
        self._epoch: Epoch | None = None

    def epoch_done(self, model: Any, epoch: Epoch) -> None:
        """Move the bar, or write a line if it is time."""
        self._epoch = epoch
        if not self._bar.disable:
            self._bar.set_postfix_str(_summary(epoch, "loss", "val", "score"), refresh=False)
            self._bar.update()
        elif time.monotonic() - self._written >= self.log_seconds:
            self._write()

    def fit_done(self, model: Any) -> None:
        """Leave the bar as it is; write the last line."""
        if self._bar is None:
            return
        if self._bar.disable and time.monotonic() - self._begun >= self.log_seconds:
            self._write()
        self._bar.close()
        self._bar = None

    def _write(self) -> None:
        self._written = time.monotonic()
        if self._epoch is not None:
            seconds = self._written - self._begun
            total = "" if self._total is None else f"/{self._total}"
            line = (
                f"{self._name}: epoch {self._epoch.number}{total}, "
                f"{_summary(self._epoch, 'loss', 'validation loss', 'validation score')}, {seconds:.0f} s"
            )
            # Without standard error, `print` would write to standard output. A closed log must not end the fit.
            if sys.stderr is not None:
                with contextlib.suppress(OSError, ValueError):
                    print(line, file=sys.stderr, flush=True)

    def __getstate__(self) -> dict[str, Any]:
        # A bar is tied to its terminal, and cannot be pickled.
        return {**self.__dict__, "_bar": None}


def open_bar(**options: Any) -> Any:
    """Return a tqdm progress bar, disabled where the output can neither overwrite a line nor show a widget."""
    from tqdm.auto import tqdm

    # In a notebook, standard error is not a terminal, but tqdm shows a widget.
    in_notebook = any(cls.__module__ == "tqdm.notebook" for cls in tqdm.__mro__)
    return tqdm(**options, disable=not (in_notebook or _is_terminal(sys.stderr)))


def _is_terminal(stream: Any) -> bool:
    """Whether a stream is a terminal; the stream may be None, as in a service, or any object that replaces it."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def above_bars() -> contextlib.AbstractContextManager[None]:
    """Return a context in which printed lines and warnings appear above the open progress bars."""
    tqdm = sys.modules.get("tqdm")
    # Any open bar has imported tqdm; without the import there is no bar.
    return contextlib.nullcontext() if tqdm is None else tqdm.tqdm.external_write_mode()


def _summary(epoch: Epoch, loss: str, validation_loss: str, validation_score: str) -> str:
    """Return losses and score of an epoch as text, each after its name."""
    items = {
        loss: epoch.loss,
        validation_loss: epoch.validation_loss,
        validation_score: epoch.validation_score,
    }
    return ", ".join(f"{name} {_as_text(value)}" for name, value in items.items() if value is not None)


def _as_text(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:.3e}"


class Checkpoint(Callback):
    """Saves the model during training with `steepest.save`; the file is complete at any time.

    `steepest.load` returns the model as it was after the saved epoch, with the state of its optimizer. `partial_fit`,
    and `fit` with ``warm_start=True``, continue from there.

    Parameters
    ----------
    path : path
        The file, which is replaced each time.
    every : int, default=1
        Save after each so many epochs, and at the end of the fit, however it ends; without effect with `save_best`.
    save_best : bool, default=False
        Save each epoch that is better than all before, and no other: by the validation score where there is one, else
        by the validation loss, else by the loss.

    Raises
    ------
    ValueError
        If `every` is not positive.

    Examples
    --------
    >>> from steepest.callbacks import Checkpoint
    >>> from steepest.neural_network import MLPClassifier
    >>> model = MLPClassifier(callbacks=[Checkpoint("model.safetensors", every=10)])
    """

    def __init__(self, path: str | os.PathLike[str], every: int = 1, save_best: bool = False) -> None:
        if every < 1:
            raise ValueError(f"[Checkpoint] every must be positive, got {every}")
        self.path = path
        self.every = every
        self.save_best = save_best
        self._unsaved = False

    def fit_begun(self, model: Any) -> None:
        """Reset the best value of the last fit."""
        self._best = -math.inf
        self._unsaved = False

    def epoch_done(self, model: Any, epoch: Epoch) -> None:
        """Save the model if this epoch is the best so far, or a multiple of `every`."""
        self._unsaved = True
        if self.save_best:
            value = _goodness(epoch)
            if value > self._best:
                self._best = value
                self._save(model)
        elif epoch.number % self.every == 0:
            self._save(model)

    def fit_done(self, model: Any) -> None:
        """Save the model if it was trained since the last save, unless `save_best` is set."""
        if self._unsaved and not self.save_best:
            self._save(model)

    def _save(self, model: Any) -> None:
        from steepest._saving.files import save

        save(model, self.path)
        self._unsaved = False


def _goodness(epoch: Epoch) -> float:
    """Return a number that is larger for a better model: the validation score, or a negative loss."""
    if epoch.validation_score is not None:
        return epoch.validation_score
    return -(epoch.loss if epoch.validation_loss is None else epoch.validation_loss)


class EarlyStopping(Callback):
    """Ends a fit when a loss or score no longer improves; the last weights remain.

    The parameter `early_stopping` of the estimators restores the best weights instead. This callback can watch any
    quantity, such as the training loss or the validation loss on an `eval_set`.

    Parameters
    ----------
    quantity : {"validation_loss", "validation_score", "loss", "accuracy"}, default="validation_loss"
        The attribute of `Epoch` to watch. A loss improves when it falls, a score or accuracy when it rises.
    patience : int, default=10
        Number of consecutive epochs without an improvement after which to stop.
    min_improvement : float, default=0.0
        What counts as one must be larger than this, from the last one on: small steps add up.

    Raises
    ------
    ValueError
        If a parameter is not as described, or an epoch does not have the quantity.
    """

    _SIGNS = {"validation_loss": -1.0, "validation_score": 1.0, "loss": -1.0, "accuracy": 1.0}  # noqa: RUF012

    def __init__(
        self, quantity: str = "validation_loss", patience: int = 10, min_improvement: float = 0.0
    ) -> None:
        if quantity not in self._SIGNS:
            raise ValueError(f"[EarlyStopping] quantity {quantity!r} is not one of {', '.join(self._SIGNS)}")
        if patience < 1:
            raise ValueError(f"[EarlyStopping] patience must be positive, got {patience}")
        self.quantity = quantity
        self.patience = patience
        self.min_improvement = min_improvement

    def fit_begun(self, model: Any) -> None:
        """Reset the best value and the count of epochs without an improvement."""
        self._best, self._waited = -math.inf, 0

    def epoch_done(self, model: Any, epoch: Epoch) -> bool:
        """Compare the quantity with its best value, and return whether to stop."""
        value = getattr(epoch, self.quantity)
        if value is None:
            raise ValueError(
                f"[EarlyStopping] the epochs of this fit have no {self.quantity}: pass eval_set to fit, or use "
                "early_stopping=True, or quantity='loss'"
            )
        value *= self._SIGNS[self.quantity]
        if value > self._best + self.min_improvement:
            self._best, self._waited = value, 0
        else:
            self._waited += 1
        return self._waited >= self.patience


class TensorBoard(Callback):
    """Writes losses, scores and histograms of the weights as TensorBoard event files.

    The writer is tensorboardX, which needs neither TensorFlow nor PyTorch. To see the curves, run
    ``tensorboard --logdir DIR``.

    Parameters
    ----------
    log_dir : path
        Folder for the event files; created if it does not exist. To compare runs, give each run its own folder inside
        a common one.
    weights_every : int, default=0
        Number of epochs between two histograms of weights and biases; 0 writes none.

    Raises
    ------
    ImportError
        If tensorboardX is not installed.
    """

    def __init__(self, log_dir: str | os.PathLike[str], weights_every: int = 0) -> None:
        try:
            import tensorboardX  # noqa: F401
        except ImportError as error:
            raise ImportError(_NO_TENSORBOARD) from error
        self.log_dir = log_dir
        self.weights_every = weights_every
        self._step = 0
        self._writer: Any = None

    def fit_begun(self, model: Any) -> None:
        """Open an event file."""
        from tensorboardX import SummaryWriter

        # tensorboardX names files by the second; without the suffix, two fits in one second would share a file.
        suffix = f".{os.getpid()}.{self._step}"
        self._writer = SummaryWriter(os.fspath(self.log_dir), filename_suffix=suffix)

    def epoch_done(self, model: Any, epoch: Epoch) -> None:
        """Write the results of the epoch. Steps are counted over all fits and calls of `partial_fit`."""
        self._step += 1
        scalars = {
            "loss/training": epoch.loss,
            "loss/validation": epoch.validation_loss,
            "score/training": epoch.accuracy,
            "score/validation": epoch.validation_score,
            "samples_per_second": epoch.samples / epoch.seconds if epoch.seconds > 0 else None,
        }
        for name, value in scalars.items():
            if value is not None:
                self._writer.add_scalar(name, value, self._step)
        if self.weights_every and self._step % self.weights_every == 0:
            self._write_weights(model)

    def _write_weights(self, model: Any) -> None:
        from steepest._runtime.memory import to_host

        for kind, attribute in (("weights", "coefs_"), ("biases", "intercepts_")):
            for i, array in enumerate(getattr(model, attribute, [])):
                self._writer.add_histogram(f"{kind}/layer_{i}", to_host(array), self._step)

    def fit_done(self, model: Any) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __getstate__(self) -> dict[str, Any]:
        # A writer has a thread and an open file; a copy opens its own.
        return {**self.__dict__, "_writer": None}
