"""Parameters of the multilayer perceptrons: types and constraints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from steepest import kernels as K
from steepest.callbacks import Callback
from steepest.nn.initializers import Initializer
from steepest.optim.schedules import Schedule
from steepest.training.images import Augmentation

# scikit-learn's name of an activation -> name in `kernels.ACTIVATIONS`.
ALIASES = {"logistic": "sigmoid"}
ACTIVATIONS = (*K.ACTIVATIONS, *ALIASES)

# First-order optimizers, which take a step on each mini-batch.
# kept by hand: type checkers take names from the source
Rule: TypeAlias = Literal["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"]
RULES: tuple[str, ...] = get_args(Rule)
STOCHASTIC = (*RULES, "natural")

Solver: TypeAlias = Rule | Literal["natural", "lbfgs"]
LearningRate: TypeAlias = Literal["constant", "invscaling", "adaptive", "cosine", "one_cycle"]
InitialWeights: TypeAlias = Initializer | Literal["auto"]
Device: TypeAlias = Literal["auto", "cpu", "cuda"]
# kept by hand: type checkers take names from the source
Precision: TypeAlias = Literal["float32", "high", "tf32", "bfloat16"]


class PerceptronParameters:
    """Parameters that all multilayer perceptrons have; the estimators' docstrings describe them."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS)), tuple, list],
        "solver": [StrOptions({"lbfgs", *STOCHASTIC})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [
            StrOptions(set(get_args(LearningRate))),
            Schedule,
        ],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "max_norm": [Interval(Real, 0, None, closed="neither"), None],
        "dropout": [Interval(Real, 0, 1, closed="left"), list, tuple],
        "init": [StrOptions({"auto", *get_args(Initializer)})],
        "callbacks": [list, tuple, None],
        "pretrain": [StrOptions({"rbm", "autoencoder"}), None],
        "pretrain_iter": [Interval(Integral, 1, None, closed="left")],
        "device": [StrOptions(set(get_args(Device)))],
        "precision": [StrOptions(set(K.PRECISIONS))],
    }

    _largest_auto_batch: ClassVar[int] = 200  # samples of a mini-batch with batch_size="auto", at most

    # Set by the constructors of the estimators, as scikit-learn's `clone` requires.
    hidden_layer_sizes: int | Iterable[int]
    activation: Any
    loss: Any
    solver: str
    alpha: float
    batch_size: int | str
    learning_rate: str | Schedule
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    random_state: Any
    tol: float
    verbose: bool | int
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_fun: int
    l1_ratio: float
    max_norm: float | None
    dropout: float | Iterable[float]
    init: InitialWeights
    callbacks: Iterable[Callback] | None
    device: str
    precision: str
    pretrain: str | None = None
    pretrain_iter: int = 20


class ConvolutionalParameters(PerceptronParameters):
    """Parameters that estimators of images have in addition; `ConvClassifier` describes them."""

    _layer_constraints: ClassVar[dict[str, list[Any]]] = {
        "blocks": [str, list, tuple],
        "activation": [StrOptions(set(ACTIVATIONS)), tuple],
        "batch_norm": ["boolean"],
        "image_shape": [tuple, list, None],
        "init": [StrOptions(set(get_args(Initializer)))],
    }
    _image_constraints: ClassVar[dict[str, list[Any]]] = {
        **_layer_constraints,
        "hidden_layer_sizes": [
            StrOptions({"auto"}),
            "array-like",
            Interval(Integral, 1, None, closed="left"),
        ],
        "augment": [Augmentation, None],
    }

    hidden_layer_sizes: Any
    blocks: Any
    batch_norm: bool
    image_shape: tuple[int, ...] | None
    augment: Augmentation | None = None


def store_parameters(model: object, arguments: Mapping[str, Any]) -> None:
    """Set the attributes of an estimator to the arguments of its constructor, as scikit-learn's `clone` requires.

    Parameters
    ----------
    model : estimator
        The estimator.
    arguments : mapping
        The local variables of the constructor.
    """
    for name, value in arguments.items():
        if name != "self":
            setattr(model, name, value)


def prefixed(model: object, text: object) -> str:
    """Return an error message that starts with the name of the estimator."""
    return f"[{type(model).__name__}] {text}"


def require_stochastic(model: PerceptronParameters, name: str) -> None:
    """Raise ValueError for L-BFGS with a parameter that makes the loss random or not differentiable."""
    if model.solver == "lbfgs":
        raise ValueError(
            prefixed(model, f"{name} needs a stochastic solver: lbfgs minimises one fixed, smooth function")
        )
