"""Normalisation layers, whose last axis holds the channels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from steepest.nn.ops.normalization import BatchNormOperation, NormalizationOperation
from steepest.nn.values import Shape
from steepest.nn.windows import numbers_of

from .base import Layer, ParameterSpec

if TYPE_CHECKING:
    from steepest.nn.lowering import Builder


@dataclass(frozen=True)
class _Norm(Layer):
    """What the layers of this module share: a weight and a bias for each channel."""

    has_bias: ClassVar[bool] = True

    num_features: int
    eps: float = 1e-5
    affine: bool = True

    def __post_init__(self) -> None:
        name = type(self).__name__
        numbers_of(name, "num_features", self.num_features, 1)
        if not (math.isfinite(self.eps) and self.eps > 0):
            raise ValueError(f"[{name}] eps must be finite and positive, got {self.eps}")

    def output_shape(self, *shapes: Shape) -> Shape:
        shape = shapes[0]
        if not shape or shape[-1] not in (None, self.num_features):
            found = shape[-1] if shape else "a single number"
            raise ValueError(f"takes {self.num_features} features, the last axis, but {found} come out")
        return shape

    def parameters(self, *shapes: Shape) -> dict[str, ParameterSpec]:
        if not self.affine:
            return {}
        own = {"weight": ParameterSpec((self.num_features,), 1.0)}
        return {**own, "bias": ParameterSpec((self.num_features,))} if self.has_bias else own


@dataclass(frozen=True)
class BatchNorm(_Norm):
    """Normalises each channel over a batch and all places: ``(x - mean) / sqrt(variance + eps) * weight + bias``.

    While training, mean and variance are those of the batch, and running averages of them are kept; a prediction uses
    the averages (S. Ioffe, C. Szegedy, "Batch normalization: accelerating deep network training by reducing internal
    covariate shift", 2015). Penalties act on neither weights nor biases. Fisher matrices and the natural gradient see
    the network as predictions do, with the averages as constants; a step of the natural gradient updates them first.

    Parameters
    ----------
    num_features : int
        Number of channels, the last axis of the input.
    eps : float, default=1e-5
        Is added to the variance.
    affine : bool, default=True
        Whether there is a weight, which starts at one, and a bias, which starts at zero, for each channel.
    momentum : float, default=0.1
        Share of a batch in the running averages of mean and unbiased variance, which start at 0 and 1.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    momentum: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.momentum <= 1:
            raise ValueError(f"[BatchNorm] momentum must be in [0, 1], got {self.momentum}")

    def states(self, *shapes: Shape) -> dict[str, ParameterSpec]:
        shape = (self.num_features,)
        return {"running_mean": ParameterSpec(shape), "running_var": ParameterSpec(shape, 1.0)}

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        return build.node(self, BatchNormOperation(self.eps, self.momentum), inputs)


@dataclass(frozen=True)
class LayerNorm(_Norm):
    """Normalises the last axis of each sample and place: ``(x - mean) / sqrt(variance + eps) * weight + bias``.

    J. Ba, J. Kiros, G. Hinton, "Layer normalization", 2016. Penalties act on neither weights nor biases.

    Parameters
    ----------
    num_features : int
        Length of the last axis.
    eps, affine
        As in `BatchNorm`.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    kind: ClassVar[str] = "layer"

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        return build.node(self, NormalizationOperation(self.kind, self.eps), inputs)


@dataclass(frozen=True)
class RMSNorm(LayerNorm):
    """Divides the last axis by the root of its mean square: ``x / sqrt(mean(x^2) + eps) * weight``.

    B. Zhang, R. Sennrich, "Root mean square layer normalization", 2019. There is no bias.

    Parameters
    ----------
    num_features : int
        Length of the last axis.
    eps, affine
        As in `BatchNorm`.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    kind: ClassVar[str] = "rms"
    has_bias: ClassVar[bool] = False


@dataclass(frozen=True)
class GroupNorm(_Norm):
    """Normalises groups of channels of each sample over all its places.

    Y. Wu, K. He, "Group normalization", 2018. With as many groups as channels it is instance normalisation, with one
    group layer normalisation over the whole sample. Results do not depend on the other samples of a batch.

    Parameters
    ----------
    num_features : int
        Number of channels, the last axis of the input.
    eps, affine
        As in `BatchNorm`.
    num_groups : int, default=1
        Number of groups, which divides the number of channels.

    Raises
    ------
    ValueError
        If a number is out of range, or the groups do not divide the channels.
    """

    num_groups: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        numbers_of("GroupNorm", "num_groups", self.num_groups, 1)
        if self.num_features % self.num_groups:
            raise ValueError(
                f"[GroupNorm] num_groups={self.num_groups} must divide num_features={self.num_features}"
            )

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        return build.node(self, NormalizationOperation("group", self.eps, self.num_groups), inputs)
