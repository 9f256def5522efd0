"""`steepest train --model gan` and `--model vae`: generators of images, with pictures of what they make."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from steepest import plots
from steepest._cpu import DivergenceError
from steepest.callbacks import Epoch, open_bar
from steepest.neural_network import GAN, VariationalAutoencoder
from steepest.training.loop import Monitor

from ._errors import CommandError
from .train import Data, prepared_images, report_interrupt, require_images, save_results

SAMPLES_FILE = "samples.png"
# Without --epochs there are so many steps, and so many epochs at least.
_STEPS, _FEWEST_EPOCHS = 2500, 5
_COLUMNS = 10  # of the picture: images of each class; without classes there are as many rows
_BATCH = 64
_OF_GAN: dict[str, Any] = {"n_latent": 64, "loss": "relativistic", "r1": 0.5, "beta_1": 0.0}
_OF_VAE: dict[str, Any] = {"n_latent": 16, "likelihood": "bernoulli"}


class _Pictures(Monitor):
    """Monitor that prints a table row after each epoch, and writes a picture of samples."""

    def __init__(self, data: Data, output: Path, epochs: int, seed: int) -> None:
        self._classes, self._path, self._epochs, self._seed = np.unique(data.y_train), output, epochs, seed
        self.problem: str | None = None
        self._bar = open_bar(total=len(data.X_train), unit=" samples", unit_scale=True, leave=False)

    def fit_begun(self, model: Any) -> None:
        names = ("discriminator", "generator") if isinstance(model, GAN) else ("reconstruction", "divergence")
        print(f"{'epoch':>9}{names[0]:>15}{names[1]:>12}{'samples/s':>12}", flush=True)

    def steps_done(self, samples: int) -> None:
        self._bar.update(samples)

    def epoch_done(self, model: Any, epoch: Epoch) -> None:
        first, second = (curve[-1] for curve in curves_of(model).values())
        self._bar.clear()
        print(
            f"{f'{epoch.number}/{self._epochs}':>9}{first:15.4f}{second:12.4f}"
            f"{epoch.samples / epoch.seconds:12,.0f}",
            flush=True,
        )
        self._bar.reset()
        self.draw(model)

    def draw(self, model: Any) -> None:
        """Write a picture of samples, with a row for each class where the model knows them."""
        if self.problem is not None:
            return
        columns = _COLUMNS
        if isinstance(model, GAN):
            y = np.repeat(self._classes, columns)
            images = model.sample(len(y), y, seed=self._seed)
        else:
            images = model.sample(columns**2, seed=self._seed)
        try:
            axes = plots.image_grid(images, columns=columns)
        except ImportError as error:
            self.problem = f"no picture of samples: {error}"
            return
        try:
            whole: Any = axes.figure
            whole.savefig(self._path / SAMPLES_FILE, dpi=120, bbox_inches="tight")
        except OSError as error:
            raise CommandError(f"cannot write to {self._path}: {error.strerror}") from error

    def fit_done(self, model: Any) -> None:
        self._bar.close()


def curves_of(model: Any) -> dict[str, list[float]]:
    """Return the two losses of a model by name, for each epoch."""
    if isinstance(model, GAN):
        return {
            "discriminator loss": model.discriminator_loss_curve_,
            "generator loss": model.generator_loss_curve_,
        }
    return {"reconstruction": model.reconstruction_curve_, "divergence": model.divergence_curve_}


def train_generative(arguments: argparse.Namespace) -> int:
    """Train a generator of images, print its progress, and save it with samples and learning curves.

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
        If an argument is not valid, the data cannot be loaded, the output cannot be written, or CUDA is requested and
        not available.
    """
    require_images(arguments)
    if arguments.solver != "adam":
        raise CommandError(
            f"--solver {arguments.solver} is for classifiers, not for --model {arguments.model}"
        )
    data, output = prepared_images(arguments)
    batch_size = arguments.batch_size or _BATCH
    epochs = arguments.epochs or max(-(-_STEPS // -(-len(data.X_train) // batch_size)), _FEWEST_EPOCHS)
    model = _model(arguments, epochs, batch_size)
    print(data.describe(arguments.model), flush=True)
    monitor = _Pictures(data, output, epochs, arguments.seed)
    images = data.X_train.reshape(-1, data.side, data.side)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Training interrupted by user")
            if isinstance(model, GAN):
                interrupted = model._fit(images, data.y_train, monitor)
            else:
                interrupted = model._fit(images, monitor)
    except DivergenceError as error:
        print(f"steepest train: error: {error}", file=sys.stderr)
        return 1
    if interrupted:
        report_interrupt(model.n_iter_)
    if isinstance(model, VariationalAutoencoder):
        bound = model.score(data.X_test.reshape(-1, data.side, data.side))
        print(f"evidence lower bound of the test images: {bound:.2f} nats")
    monitor.draw(model)
    print(monitor.problem or f"samples written to {output / SAMPLES_FILE}")
    save_results(model, None, output, curves_of(model) if model.loss_curve_ else None)
    return 130 if interrupted else 0


def _model(arguments: argparse.Namespace, epochs: int, batch_size: int) -> GAN | VariationalAutoencoder:
    """Return the model to train: convolutional, or with the given hidden layers."""
    shared: dict[str, Any] = {
        "batch_size": batch_size,
        "max_iter": epochs,
        "learning_rate_init": arguments.lr or 1e-3,
        "random_state": arguments.seed,
        "device": arguments.device,
    }
    hidden = tuple(arguments.hidden) if arguments.hidden else "auto"
    if arguments.model == "gan":
        return GAN(generator=hidden, discriminator=hidden, **_OF_GAN, **shared)
    return VariationalAutoencoder(encoder=hidden, **_OF_VAE, **shared)
