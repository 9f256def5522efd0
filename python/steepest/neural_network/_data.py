"""Parts of the estimators that need no estimator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from steepest.optim import Optimizer

Array = npt.NDArray[Any]


def locate_nonfinite(X: Any) -> str:
    """Return a sentence that names the first NaN or infinite item of X, or "" where there is none."""
    try:
        values = np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError):
        return ""
    if values.ndim != 2:
        return ""
    finite = np.isfinite(values)
    if finite.all():
        return ""
    row, column = np.unravel_index(int(np.argmin(finite)), values.shape)
    return f"X is {values[row, column]} at row {row}, column {column}. "


def resume(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Load a saved state into an optimizer, unless it is that of another rule or has other arrays."""
    own = optimizer.state_dict()
    if own["rule"] == state["rule"] and own.keys() == state.keys():
        optimizer.load_state_dict(state)
