"""Layers, as descriptions: a `Network` allocates their parameters and runs them.

A layer holds no arrays, so one layer may stand in several networks, and a network is pickled as its layers
and values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from steepest import kernels as K


def _glorot_uniform(n_in: int, n_out: int) -> float:
    """X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward nets", 2010."""
    return math.sqrt(6.0 / (n_in + n_out))


def _he_uniform(n_in: int, n_out: int) -> float:
    """K. He et al., "Delving deep into rectifiers", ICCV 2015."""
    return math.sqrt(6.0 / n_in)


# Name -> half-width of the uniform distribution of the initial weights.
INITIALIZERS = {"glorot_uniform": _glorot_uniform, "he_uniform": _he_uniform}


@dataclass(frozen=True)
class Linear:
    """A fully connected layer, ``y = x @ w + b``.

    Parameters
    ----------
    n_in, n_out : int
        Numbers of inputs and outputs; ``w`` has shape (n_in, n_out), as `coefs_` in scikit-learn.
    bias : bool, default=True
        Whether there is a ``b`` of shape (n_out,). It starts at zero.
    init : {"glorot_uniform", "he_uniform"} or float, default="glorot_uniform"
        Initial weights are uniform in [-a, a) with a = sqrt(6 / (n_in + n_out)) (Glorot), sqrt(6 / n_in)
        (He), or the number given.

    Raises
    ------
    ValueError
        Where a size is not positive or `init` is not known.
    """

    n_in: int
    n_out: int
    bias: bool = True
    init: str | float = "glorot_uniform"

    def __post_init__(self) -> None:
        if self.n_in < 1 or self.n_out < 1:
            raise ValueError(f"[Linear] n_in and n_out must be positive, got {self.n_in} and {self.n_out}")
        if isinstance(self.init, str):
            if self.init not in INITIALIZERS:
                raise ValueError(
                    f"[Linear] init {self.init!r} is not one of {', '.join(INITIALIZERS)}, nor a number"
                )
        elif not (math.isfinite(self.init) and self.init >= 0):
            raise ValueError(f"[Linear] init must be finite and not negative, got {self.init}")

    @property
    def bound(self) -> float:
        """Half-width of the uniform distribution of the initial weights."""
        if isinstance(self.init, str):
            return INITIALIZERS[self.init](self.n_in, self.n_out)
        return float(self.init)


@dataclass(frozen=True)
class Activation:
    """An element-wise activation; behind a `Linear` it is fused into the same pass.

    Parameters
    ----------
    name : str
        One of ``steepest.kernels.ACTIVATIONS``.

    Raises
    ------
    ValueError
        Where the name is not known.
    """

    name: str

    def __post_init__(self) -> None:
        if self.name not in K.ACTIVATIONS:
            raise ValueError(f"[Activation] {self.name!r} is not one of {', '.join(K.ACTIVATIONS)}")


class Identity(Activation):
    """f(x) = x."""

    def __init__(self) -> None:
        super().__init__("identity")


class ReLU(Activation):
    """f(x) = max(x, 0)."""

    def __init__(self) -> None:
        super().__init__("relu")


class Sigmoid(Activation):
    """f(x) = 1 / (1 + exp(-x))."""

    def __init__(self) -> None:
        super().__init__("sigmoid")


class Tanh(Activation):
    """f(x) = tanh(x)."""

    def __init__(self) -> None:
        super().__init__("tanh")


Layer = Linear | Activation


def check_layers(layers: tuple[Layer, ...]) -> None:
    """Raise ValueError or TypeError unless these are the layers of a network, each of which takes what comes before."""
    if not layers:
        raise ValueError("[Network] there must be at least one layer")
    width: int | None = None
    for i, layer in enumerate(layers):
        if isinstance(layer, Linear):
            if width is not None and layer.n_in != width:
                raise ValueError(
                    f"[Network] layer {i} takes {layer.n_in} inputs, but {width} come out of those before it"
                )
            width = layer.n_out
        elif not isinstance(layer, Activation):
            raise TypeError(f"[Network] layer {i} is a {type(layer).__name__}, not a layer of steepest.nn")
