"""`steepest train --text`: a model of the characters of a file, which writes while it learns."""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from steepest._cpu import DivergenceError
from steepest.callbacks import Epoch
from steepest.neural_network import LanguageModel
from steepest.training.loop import Monitor

from ._errors import CommandError
from ._models import TEXT_MODELS
from .train import made_folder, require_device, save_results

_SAMPLES = 4  # times that the model writes while it learns
_WRITTEN = 160  # characters each time


class _Writing(Monitor):
    """Monitor that prints a table row a few times in a fit, and now and then what the model writes."""

    def __init__(self, seed: int, parts: int) -> None:
        self._seed, self._every = seed, max(parts // _SAMPLES, 1)
        print(f"{'step':>9}{'loss':>9}{'validation':>12}{'tokens/s':>12}", flush=True)

    def epoch_done(self, model: Any, epoch: Epoch) -> None:
        held_out = "-" if epoch.validation_loss is None else f"{epoch.validation_loss:.4f}"
        speed = epoch.samples * model.context / epoch.seconds
        print(f"{model.n_steps_:9d}{epoch.loss:9.4f}{held_out:>12}{speed:12,.0f}", flush=True)
        if epoch.number % self._every == 0:
            text = model.sample(_WRITTEN, seed=self._seed)
            print("\n" + "\n".join(f"    {line}" for line in text.strip().splitlines()) + "\n", flush=True)


def train_on_text(arguments: argparse.Namespace) -> int:
    """Train a model of text, print its progress and what it writes, and save it with the learning curve.

    Parameters
    ----------
    arguments : Namespace
        Command-line arguments, as `steepest.cli` parses them.

    Returns
    -------
    int
        Exit status: 0, 1 if training diverged (nothing is saved then), or 130 after Ctrl-C.

    Raises
    ------
    CommandError
        If an argument is not valid, the text cannot be read, the output cannot be written, or CUDA is requested and not
        available.
    """
    require_device(arguments.device)
    models = ", ".join(TEXT_MODELS)
    if arguments.text is None:
        raise CommandError(f"--model {arguments.model} needs a text: pass --text with a file")
    if arguments.model is not None and arguments.model not in TEXT_MODELS:
        raise CommandError(f"--model {arguments.model} is for images; --text takes one of {models}")
    for option in ("data", "hidden", "epochs"):
        if getattr(arguments, option) is not None:
            raise CommandError(f"--{option} is for images, not for --text")
    if arguments.solver != "adam":
        raise CommandError(f"--solver {arguments.solver} is for images, not for --text")
    text = _read(Path(arguments.text))
    output = made_folder(arguments.output)
    model = LanguageModel(
        arguments.model or "transformer",
        max_steps=arguments.steps or 2000,
        batch_size=arguments.batch_size or 12,
        learning_rate_init=arguments.lr or 1e-3,
        random_state=arguments.seed,
        device=arguments.device,
    )
    print(
        f"{arguments.text}: {len(text)} characters, {len(set(text))} different ones; {model.body}", flush=True
    )
    begun = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Training interrupted by user")
            interrupted = model._fit(text, _Writing(arguments.seed, min(model.max_steps, 20)))
    except DivergenceError as error:
        print(f"steepest train: error: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        raise CommandError(str(error)) from error
    if interrupted:
        print(f"steepest train: interrupted after {model.n_steps_} steps", file=sys.stderr)
    print(f"{model.n_parameters_} parameters, {time.perf_counter() - begun:.1f} s", flush=True)
    save_results(model, None, output)
    return 130 if interrupted else 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CommandError(f"{path} is not a text in UTF-8: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from error
