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
"""Name of each loss function -> the distribution whose negative log-likelihood it is, or None. Factors, and terms that
do not depend on the prediction, are left out."""
