"""Layers, as descriptions: a `Network` allocates their parameters and runs them.

A layer holds no arrays, so one layer may stand in several networks, and a network is pickled as its layers
and values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from steepest import kernels as K
from steepest._runtime.arrays import Activation as Function

from .initializers import INITIALIZERS, Initializer

if TYPE_CHECKING:
    from steepest._operations import ActivationName

__all__ = ["Activation", "Dropout", "Linear", "PReLU", "Softmax"]

# Role of a parameter -> its shape.
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Linear:
    """A fully connected layer, ``y = x @ w + b``.

    Parameters
    ----------
    n_in, n_out : int
        Numbers of inputs and outputs; ``w`` has shape (n_in, n_out), as `coefs_` in scikit-learn.
    bias : bool, default=True
        Whether there is a ``b`` of shape (n_out,). It starts at zero.
    init : str or float, default="glorot_uniform"
        Distribution of the initial weights, with mean 0 and the variance 2 / (n_in + n_out) (``"glorot_uniform"``,
        ``"glorot_normal"`` [1]_), 2 / n_in (``"he_uniform"``, ``"he_normal"`` [2]_: for ReLU) or 1 / n_in
        (``"lecun_uniform"``, ``"lecun_normal"`` [3]_); ``"orthogonal"``: with orthonormal rows or columns [4]_; or a
        number a: uniform in [-a, a).
    tied_to : int or None, default=None
        Position in the network of an earlier `Linear` whose weights this one shares, transposed: the decoder of an
        autoencoder with tied weights. `init` is not used then.

    Raises
    ------
    ValueError
        Where a size is not positive or `init` is not known.

    References
    ----------
    .. [1] X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward nets", AISTATS 2010.
    .. [2] K. He et al., "Delving deep into rectifiers", ICCV 2015.
    .. [3] Y. LeCun et al., "Efficient BackProp", in Neural Networks: Tricks of the Trade, 1998.
    .. [4] A. Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks",
       ICLR 2014.
    """

    n_in: int
    n_out: int
    bias: bool = True
    init: Initializer | float = "glorot_uniform"
    tied_to: int | None = None

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
    def shapes(self) -> Shapes:
        """Shapes of the parameters of its own, by role."""
        shapes: Shapes = {} if self.tied_to is not None else {"weight": (self.n_in, self.n_out)}
        return {**shapes, "bias": (self.n_out,)} if self.bias else shapes


@dataclass(frozen=True)
class Activation:
    """An element-wise activation, fused into the `Linear` before it where its output gives its derivative.

    Parameters
    ----------
    name : str
        One of ``steepest.kernels.ACTIVATIONS``.
    parameter : float or None, default=None
        Of the activations that have one (the slope of ``"leaky_relu"``, the alpha of ``"elu"``); None is its default.

    Raises
    ------
    ValueError
        Where the name is not known, or the parameter is negative, not finite, or of an activation that has none.
    """

    name: ActivationName
    parameter: float | None = None

    def __post_init__(self) -> None:
        if self.name not in K.ACTIVATIONS:
            raise ValueError(f"[Activation] {self.name!r} is not one of {', '.join(K.ACTIVATIONS)}")
        if self.parameter is None:
            return
        if self.name not in K.ACTIVATION_PARAMETERS:
            raise ValueError(f"[Activation] {self.name!r} takes no parameter")
        if not (math.isfinite(self.parameter) and self.parameter >= 0):
            what = K.ACTIVATION_PARAMETERS[self.name][0]
            raise ValueError(f"[Activation] {what} must be finite and not negative, got {self.parameter}")

    @property
    def function(self) -> Function:
        """The activation as the kernels take it."""
        return self.name if self.parameter is None else (self.name, float(self.parameter))


@dataclass(frozen=True)
class PReLU:
    """A rectifier with learned slopes: f(x) = x where x > 0, and slope x elsewhere.

    K. He et al., "Delving deep into rectifiers", ICCV 2015. Penalties do not act on the slopes.

    Parameters
    ----------
    n_features : int, default=1
        Number of inputs, for a slope each, or 1 for one slope that all share.
    init : float, default=0.25
        Initial slope.

    Raises
    ------
    ValueError
        Where `n_features` is not positive or `init` is not finite.
    """

    n_features: int = 1
    init: float = 0.25

    def __post_init__(self) -> None:
        if self.n_features < 1:
            raise ValueError(f"[PReLU] n_features must be positive, got {self.n_features}")
        if not math.isfinite(self.init):
            raise ValueError(f"[PReLU] init must be finite, got {self.init}")

    @property
    def shapes(self) -> Shapes:
        """Shapes of its parameters, by role."""
        return {"slope": (self.n_features,)}


@dataclass(frozen=True)
class Softmax:
    """f(x)_j = exp(x_j) / sum_k exp(x_k) in every row.

    In front of a cross-entropy leave it out: `SoftmaxCrossEntropy` takes logits.
    """


@dataclass(frozen=True)
class Dropout:
    """Sets items to zero at random while training, and scales the others by 1 / (1 - rate); `predict` does nothing.

    N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014. The mask
    is a function of the network's seed, the layer's position and the number of the forward pass.

    Parameters
    ----------
    rate : float, default=0.5
        Probability of zero, in [0, 1).

    Raises
    ------
    ValueError
        Where `rate` is outside [0, 1).
    """

    rate: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 <= self.rate < 1.0:
            raise ValueError(f"[Dropout] rate must be in [0, 1), got {self.rate}")


Layer = Linear | Activation | PReLU | Softmax | Dropout


def shapes_of(layer: Layer) -> Shapes:
    """Return the shapes of a layer's parameters, by role."""
    return layer.shapes if isinstance(layer, Linear | PReLU) else {}


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
            if layer.tied_to is not None:
                _check_tie(layers, i, layer, layer.tied_to)
            width = layer.n_out
        elif isinstance(layer, PReLU):
            if width is not None and layer.n_features not in (1, width):
                raise ValueError(
                    f"[Network] layer {i} has {layer.n_features} slopes, but {width} features come out of those before"
                )
        elif not isinstance(layer, Activation | Softmax | Dropout):
            raise TypeError(f"[Network] layer {i} is {_described(layer)}, not a layer of steepest.nn")


def _described(layer: object) -> str:
    return f"the class {layer.__name__}" if isinstance(layer, type) else f"of type {type(layer).__name__}"


def _check_tie(layers: tuple[Layer, ...], i: int, layer: Linear, tied_to: int) -> None:
    other = layers[tied_to] if 0 <= tied_to < i else None
    if not isinstance(other, Linear) or other.tied_to is not None:
        raise ValueError(
            f"[Network] layer {i} is tied to {tied_to}, which is not an earlier Linear with weights of its own"
        )
    if (other.n_in, other.n_out) != (layer.n_out, layer.n_in):
        raise ValueError(
            f"[Network] layer {i} is tied to layer {tied_to}, whose weights have shape ({other.n_in}, {other.n_out}): "
            f"it must have n_in={other.n_out} and n_out={other.n_in}"
        )
