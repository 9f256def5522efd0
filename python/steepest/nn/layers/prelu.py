"""The rectifier with learned slopes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from steepest.nn.ops import PReLUOperation
from steepest.nn.values import Shape

from .base import Layer, ParameterSpec

if TYPE_CHECKING:
    from steepest.nn.lowering import Builder


@dataclass(frozen=True)
class PReLU(Layer):
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

    def output_shape(self, *shapes: Shape) -> Shape:
        shape = shapes[0]
        width = shape[-1] if shape else 1
        if self.n_features not in (1, width) and width is not None:
            raise ValueError(f"has {self.n_features} slopes, but {width} features come out")
        return shape

    def parameters(self, *shapes: Shape) -> dict[str, ParameterSpec]:
        return {"slope": ParameterSpec((self.n_features,), float(self.init))}

    def lower(self, build: Builder, inputs: tuple[int, ...]) -> int:
        return build.node(self, PReLUOperation(), inputs)
