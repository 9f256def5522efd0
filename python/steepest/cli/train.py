"""`steepest train`: loading of the data, progress on the terminal, and saving of model and learning curve."""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from steepest import datasets, plots
from steepest._cpu import DivergenceError
from steepest._runtime.arrays import Array
from steepest._runtime.backends import cuda_problem
from steepest._saving.files import save
from steepest.callbacks import Epoch, open_bar
from steepest.neural_network import ConvClassifier, MLPClassifier
from steepest.neural_network._blocks import placed_layers
from steepest.training.loop import Monitor

from ._errors import CommandError

# Training has diverged if the last loss exceeds this multiple of the loss of random guessing, log(n_classes), which is
# about the loss of an untrained network.
DIVERGED = 2.0
DEFAULT_HIDDEN = (128, 64)
DEFAULT_EPOCHS = 5
HELD_OUT = 0.2  # proportion of the training images for validation, and of the digits for the test
MODEL_FILE, CURVE_FILE = "model.safetensors", "learning_curve.png"


class Data(NamedTuple):
    """Training, validation and test images of handwritten digits, and the name of the data set."""

    name: str
    X_train: Array
    y_train: Array
    X_validation: Array
    y_validation: Array
    X_test: Array
    y_test: Array

    @property
    def n_classes(self) -> int:
        """The number of classes among the training images."""
        return len(set(self.y_train.tolist()))

    @property
    def side(self) -> int:
        """Height and width of the images, which are squares."""
        return math.isqrt(self.X_train.shape[1])

    def require_batch(self, size: int | None) -> None:
        """Raise a CommandError if a batch size is more than the training images."""
        if size is not None and size > len(self.X_train):
            raise CommandError(f"--batch-size {size} is more than the {len(self.X_train)} training images")

    def describe(self, network: str) -> str:
        """Return a line with the numbers of images, and what network they are for."""
        return (
            f"{self.name}: {len(self.X_train)} training, {len(self.X_validation)} validation, "
            f"{len(self.X_test)} test images; network {network}"
        )

    def layer_sizes(self, hidden: Sequence[int]) -> str:
        """Return the layer sizes of a perceptron for the images."""
        units = [self.X_train.shape[1], *hidden, 1 if self.n_classes == 2 else self.n_classes]
        return "-".join(map(str, units))


def load_images(folder: str | None, seed: int) -> Data:
    """Return MNIST from a folder, or scikit-learn's digits, with a fifth of the training images for validation.

    Raises
    ------
    CommandError
        If the folder does not contain MNIST, or has too few images to split.
    """
    if folder is None:
        name = "digits"
        X, y = datasets.load_digits()
        X, X_test, y, y_test = train_test_split(X, y, test_size=HELD_OUT, stratify=y, random_state=seed)
    else:
        name = str(folder)
        try:
            X, y, X_test, y_test = datasets.load_mnist(folder)
        except (OSError, ValueError) as error:
            raise CommandError(str(error)) from error
    try:
        split = train_test_split(X, y, test_size=HELD_OUT, stratify=y, random_state=seed)
    except ValueError as error:
        raise CommandError(f"{name} cannot be split for validation: {error}") from error
    X_train, X_validation, y_train, y_validation = split
    return Data(name, X_train, y_train, X_validation, y_validation, X_test, y_test)


class _Terminal(Monitor):
    """Monitor that shows a progress bar during an epoch (on a terminal only), and prints a table row after it."""

    track_accuracy = True

    def __init__(self, data: Data, epochs: int) -> None:
        self.accuracies: list[float] = []
        self._epochs = epochs
        print(f"{'':9}{'training':>19}{'validation':>20}")
        print(
            f"{'epoch':>9}{'loss':>9}{'accuracy':>10}{'loss':>10}{'accuracy':>10}{'samples/s':>12}",
            flush=True,
        )
        self._bar = open_bar(total=len(data.X_train), unit=" samples", unit_scale=True, leave=False)

    def steps_done(self, samples: int) -> None:
        self._bar.update(samples)

    def epoch_done(self, model: Any, epoch: Epoch) -> None:
        if epoch.accuracy is not None:
            self.accuracies.append(epoch.accuracy)
        self._bar.clear()
        print(
            f"{f'{epoch.number}/{self._epochs}':>9}{_digits(epoch.loss):>9}{_digits(epoch.accuracy):>10}"
            f"{_digits(epoch.validation_loss):>10}{_digits(epoch.validation_score):>10}"
            f"{epoch.samples / epoch.seconds:12,.0f}",
            flush=True,
        )
        self._bar.reset()

    def fit_done(self, model: Any) -> None:
        self._bar.close()


def _digits(value: float | None) -> str:
    """Return a loss or a score as text; None, such as the training accuracy of two classes, is "-"."""
    if value is None:
        return "-"
    return f"{value:.4f}" if abs(value) < 1e3 else f"{value:.1e}"


def require_device(device: str) -> None:
    """Raise a CommandError with the reason if the device is not available."""
    if device == "cuda" and (problem := cuda_problem()):
        raise CommandError(f"--device cuda is not available: {problem}")


def made_folder(name: str) -> Path:
    """Return the folder to write to, which is made if it is not there."""
    output = Path(name)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"cannot make the folder {output}: {error.strerror}") from error
    return output


def prepared_images(arguments: argparse.Namespace) -> tuple[Data, Path]:
    """Return the images to train on, and the folder to write to, as the arguments ask."""
    data = load_images(arguments.data, arguments.seed)
    data.require_batch(arguments.batch_size)
    return data, made_folder(arguments.output)


def require_images(arguments: argparse.Namespace) -> None:
    """Raise a CommandError for a device that is missing, or an option of models of text."""
    require_device(arguments.device)
    if arguments.steps is not None:
        raise CommandError("--steps is for models of text, with --text; images have --epochs")


def report_interrupt(n_epochs: int) -> None:
    """Print after how many epochs the user has interrupted a training."""
    epochs = "1 epoch" if n_epochs == 1 else f"{n_epochs} epochs"
    print(f"steepest train: interrupted after {epochs}", file=sys.stderr)


def train_command(arguments: argparse.Namespace) -> int:
    """Train a classifier, report its progress, and save the model and the learning curve.

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
    natural = arguments.solver == "natural"
    arguments.model = arguments.model or "mlp"
    arguments.epochs = arguments.epochs or DEFAULT_EPOCHS
    if natural and arguments.lr is not None:
        raise CommandError("--lr is not for --solver natural, which chooses its step sizes itself")
    data, output = prepared_images(arguments)
    model = _model(arguments, data)
    terminal = _Terminal(data, arguments.epochs)
    try:
        with warnings.catch_warnings():
            # The user has set the number of epochs, and an interrupt is reported below.
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.filterwarnings("ignore", "Training interrupted by user")
            interrupted = model._fit(
                data.X_train,
                data.y_train,
                None,
                incremental=False,
                eval_set=(data.X_validation, data.y_validation),
                monitor=terminal,
            )
    except DivergenceError as error:
        print(f"steepest train: error: {error}", file=sys.stderr)
        return 1
    if interrupted:
        report_interrupt(model.n_iter_)
    guessing = math.log(data.n_classes)
    if model.loss_curve_ and model.loss_curve_[-1] > DIVERGED * guessing:
        print(
            f"steepest train: error: training diverged: the loss is {_digits(model.loss_curve_[-1])}, but guessing has "
            f"{guessing:.2f}" + ("" if natural else f"; lower --lr (it was {model.learning_rate_init:g})"),
            file=sys.stderr,
        )
        return 1
    print(f"test accuracy {model.score(data.X_test, data.y_test):.4f}")
    scores = {"training accuracy": terminal.accuracies} if terminal.accuracies else {}
    scores["validation accuracy"] = model.validation_scores_ or []
    save_results(model, scores, output)
    return 130 if interrupted else 0


def _model(arguments: argparse.Namespace, data: Data) -> MLPClassifier:
    """Return the classifier to train, and print what it is and what it is trained on."""
    natural, convolutional = arguments.solver == "natural", arguments.model != "mlp"
    shared: dict[str, Any] = {
        "solver": arguments.solver,
        "alpha": 0.0,
        "batch_size": arguments.batch_size or ("auto" if natural else 128 if convolutional else 32),
        "learning_rate_init": arguments.lr or (5e-3 if convolutional else 1e-3),
        "max_iter": arguments.epochs,
        "n_iter_no_change": arguments.epochs,
        "random_state": arguments.seed,
        "device": arguments.device,
    }
    if not convolutional:
        hidden = tuple(arguments.hidden or DEFAULT_HIDDEN)
        print(data.describe(data.layer_sizes(hidden)), flush=True)
        return MLPClassifier(hidden, **shared)
    model = ConvClassifier(
        arguments.model,
        tuple(arguments.hidden) if arguments.hidden else "auto",
        image_shape=(data.side, data.side),
        learning_rate="constant" if natural else "one_cycle",
        **shared,
    )
    try:
        placed_layers(model, (data.side, data.side, 1))
    except ValueError as error:
        raise CommandError(
            f"--model {arguments.model} takes larger images than {data.side} x {data.side}: pass --data "
            "with a folder of MNIST, or take --model resnet8"
        ) from error
    print(data.describe(arguments.model), flush=True)
    return model


def save_results(
    model: Any,
    scores: dict[str, list[float]] | None,
    output: Path,
    losses: dict[str, list[float]] | None = None,
) -> None:
    """Write the model and its learning curve to a folder.

    Parameters
    ----------
    model : estimator
        The model.
    scores : dict of str to list of float, or None
        Curves beside those of the losses.
    output : Path
        The folder.
    losses : dict of str to list of float, or None
        Losses by name; None for those of the model.

    Raises
    ------
    CommandError
        If they cannot be written.
    """
    try:
        save(model, output / MODEL_FILE)
        print(f"model written to {output / MODEL_FILE} (steepest.load reads it)")
        if not model.loss_curve_:
            return
        plots.learning_curve(losses or model, output / CURVE_FILE, scores=scores)
        print(f"learning curve written to {output / CURVE_FILE}")
    except ImportError as error:
        print(f"no learning curve: {error}")
    except OSError as error:
        raise CommandError(f"cannot write to {output}: {error.strerror}") from error
