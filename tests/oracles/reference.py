"""The float64 oracles of all kernels, collected from the modules of `by_kernel`."""

from __future__ import annotations

from by_kernel import public
from by_kernel.activations import ACTIVATIONS
from by_kernel.distribution import DISTRIBUTIONS
from by_kernel.losses import POINTWISE_LOSSES
from by_kernel.unary import UNARY_FUNCTIONS
from by_kernel.update_rules import UPDATE_RULES

__all__ = ["ACTIVATIONS", "DISTRIBUTIONS", "POINTWISE_LOSSES", "UNARY_FUNCTIONS", "UPDATE_RULES"]

globals().update({name: value for name, value in public() if not name.endswith("_tolerance")})
