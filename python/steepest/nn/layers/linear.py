"""The fully connected layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from steepest.nn.initializers import Initializer, check_initializer
from steepest.nn.ops import LinearOperation
from steepest.nn.values import Shape

from .base import Layer, ParameterSpec

if TYPE_CHECKING:
    from steepest.nn.lowering import Builder

    from .embedding import Embedding


@dataclass(frozen=True)
class Linear(Layer):
    """A fully connected layer, ``y = x @ w + b``, along the last axis of its input.

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
    tied_to : int, Linear, Embedding or None, default=None
        An earlier `Linear` whose weights this one shares, transposed, as in the decoder of an autoencoder with tied
        weights, or an `Embedding`, whose table then also gives the scores of its ids [5]_: its position in a chain of
        layers, or the layer itself, if layers are called on values. `init` is not used then.

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
    .. [5] O. Press, L. Wolf, "Using the output embedding to improve language models", EACL 2017.
    """

    n_in: int
    n_out: int
    bias: bool = True
    init: Initializer | float = "glorot_uniform"
    tied_to: int | Linear | Embedding | None = None

    def __post_init__(self) -> None:
        if self.n_in < 1 or self.n_out < 1:
            raise ValueError(f"[Linear] n_in and n_out must be positive, got {self.n_in} and {self.n_out}")
        check_initializer("Linear", self.init)

    def output_shape(self, *shapes: Shape) -> Shape:
        shape = shapes[0]
        if not shape:
            raise ValueError(f"takes {self.n_in} inputs, but a single number comes out")
        if shape[-1] not in (None, self.n_in):
            raise ValueError(f"takes {self.n_in} inputs, but {shape[-1]} come out")
        return (*shape[:-1], self.n_out)

    def parameters(self, *shapes: Shape) -> dict[str, ParameterSpec]:
        own = (
            {}
            if self.tied_to is not None
            else {"weight": ParameterSpec((self.n_in, self.n_out), self.init, decays=True)}
        )
        return {**own, "bias": ParameterSpec((self.n_out,))} if self.bias else own

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        others = {} if self.tied_to is None else {"weight": build.tied_weight(self)}
        return build.node(self, LinearOperation(), inputs, others)
