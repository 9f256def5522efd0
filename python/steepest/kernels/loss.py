"""The names of the losses, from the registry in ``csrc/common/losses.h``, and the distributions behind them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from steepest import _cpu

__all__ = ["LOSSES"]

LOSSES: Mapping[str, str | None] = MappingProxyType(
    {
        **{name: distribution for name, (distribution, _, _) in _cpu.POINTWISE_LOSSES.items()},
        "gaussian": "gaussian",
        "softmax_cross_entropy": "categorical",
    }
)
"""Each loss function's name, and the distribution whose negative log-likelihood the loss is, up to a factor and to
terms that do not depend on the prediction; None where there is none."""
