"""The loop over the epochs of a training: divergence, interrupts, and what is told of it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Protocol

from steepest._cpu import DivergenceError
from steepest._runtime.memory import array_namespace
from steepest.callbacks import Callback, Epoch, above_bars
from steepest.nn import Network

from .programs import divergence


class Monitor(Callback):
    """Internal callback that is also called during an epoch, after each part of it."""

    track_accuracy = False

    def steps_done(self, samples: int) -> None:
        """Receive the number of samples of the part of an epoch that has just been trained on."""


class Epochs(Protocol):
    """What `train` runs; `Trainer` is one.

    Attributes
    ----------
    networks : list of Network
        The networks that are trained.
    samples, steps : int
        Samples and steps of an epoch.
    remedy : str
        Advice for the error message after divergence.
    """

    networks: list[Network]
    samples: int
    steps: int

    @property
    def remedy(self) -> str: ...  # noqa: D102

    def run_epoch(
        self, stream: int, on_progress: Callable[[int], None] | None = None
    ) -> tuple[float, float | None]:
        """Train on every row once; return the loss, and the accuracy if it is counted. See `Trainer.run_epoch`."""


def train(
    epochs: Epochs,
    max_epochs: int,
    after_epoch: Callable[[Epoch], bool],
    *,
    name: str,
    on_progress: Callable[[int], None] | None = None,
) -> bool:
    """Train until `after_epoch` stops the loop, the epochs are done, training diverges, or the user interrupts it.

    Parameters
    ----------
    epochs : Epochs
        The trainer of the networks.
    max_epochs : int
        Largest number of epochs.
    after_epoch : callable
        Called with the `Epoch` after each epoch; returns whether to stop.
    name : str
        Name that error messages start with.
    on_progress : callable or None, default=None
        Called after each part of an epoch with its number of samples.

    Returns
    -------
    bool
        Whether the user interrupted the training. The networks are then usable; the caller warns of it.

    Raises
    ------
    DivergenceError
        If training diverged. The error has the epoch (`epoch`, from 1) and the step (`step`, from 0); its message says
        what to try. The last finite parameters remain: those after the previous step, or from the start of the epoch.
    """
    arenas = [network.arena for network in epochs.networks]
    snapshots = [arena.copy() for arena in arenas]
    number = 0
    try:
        for number in range(1, max_epochs + 1):
            for arena, snapshot in zip(arenas, snapshots, strict=True):
                snapshot[...] = arena
            start = time.perf_counter()
            loss, accuracy = epochs.run_epoch(number - 1, on_progress)
            seconds = time.perf_counter() - start
            if after_epoch(Epoch(number, loss, accuracy, epochs.samples, seconds)):
                break
    except DivergenceError as error:
        if not all(array_namespace(arena).isfinite(arena).all() for arena in arenas):
            for arena, snapshot in zip(arenas, snapshots, strict=True):
                arena[...] = snapshot
        message = (
            f"[{name}] training diverged in epoch {number}, "
            f"step {error.step + 1} of {epochs.steps}: {error}. "
            f"{epochs.remedy}, or scale the inputs, for instance with sklearn.preprocessing.StandardScaler. "
            "The last finite weights were kept"
        )
        described = divergence(message, error.step)
        described.epoch = number  # type: ignore[attr-defined]
        raise described from error
    except KeyboardInterrupt:
        return True
    return False


def warn_of_interrupt(stacklevel: int) -> None:
    """Warn that the user has ended a training; `stacklevel` counts from the caller, as that of `warnings.warn`."""
    with above_bars():
        warnings.warn("Training interrupted by user.", stacklevel=stacklevel + 1)
