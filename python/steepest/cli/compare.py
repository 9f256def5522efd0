"""`steepest compare`: Adam, the natural gradient and discriminant analysis on the same images, as a table."""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from typing import Literal

from sklearn.exceptions import ConvergenceWarning

from steepest._cpu import DivergenceError
from steepest.discriminant_analysis import LinearDiscriminantAnalysis
from steepest.neural_network import MLPClassifier

from .train import DEFAULT_HIDDEN, Data, load_images, require_device

_PATIENCE, _MOST_EPOCHS = 5, 100
_NETWORKS: dict[str, Literal["adam", "natural"]] = {"Adam": "adam", "natural gradient": "natural"}


def compare_command(arguments: argparse.Namespace) -> int:
    """Train both networks, fit the discriminant analysis, and print the table.

    Parameters
    ----------
    arguments : Namespace
        Command-line arguments, as `steepest.cli` parses them.

    Returns
    -------
    int
        Exit status: 0, or 1 if training diverged.

    Raises
    ------
    CommandError
        If the data cannot be loaded, or CUDA is requested and not available.
    """
    require_device(arguments.device)
    data = load_images(arguments.data, arguments.seed)
    hidden = tuple(arguments.hidden or DEFAULT_HIDDEN)
    print(data.describe(data.layer_sizes(hidden)), flush=True)
    print(f"{'':34}{'test accuracy':>13}{'epochs':>8}{'seconds':>9}", flush=True)
    for name, solver in _NETWORKS.items():
        model = MLPClassifier(
            hidden,
            solver=solver,
            max_iter=_MOST_EPOCHS,
            early_stopping=True,
            n_iter_no_change=_PATIENCE,
            random_state=arguments.seed,
            device=arguments.device,
        )
        try:
            seconds = _fit(model, data)
        except DivergenceError as error:
            print(f"steepest compare: error: {error}", file=sys.stderr)
            return 1
        _print_row(f"network, {name}", model.score(data.X_test, data.y_test), model.n_iter_, seconds)
    # Pixels that are equal in nearly all images have almost no variance; shrinkage limits their weights.
    lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", device=arguments.device)
    start = time.perf_counter()
    lda.fit(data.X_train, data.y_train)
    seconds = time.perf_counter() - start
    _print_row("linear discriminant analysis", lda.score(data.X_test, data.y_test), None, seconds)
    return 0


def _fit(model: MLPClassifier, data: Data) -> float:
    """Train on the images with validation after each epoch; return the duration in seconds."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(data.X_train, data.y_train, eval_set=(data.X_validation, data.y_validation))
    return time.perf_counter() - start


def _print_row(name: str, accuracy: float, epochs: int | None, seconds: float) -> None:
    print(f"{name:34}{accuracy:13.4f}{epochs if epochs is not None else '-':>8}{seconds:9.2f}", flush=True)
