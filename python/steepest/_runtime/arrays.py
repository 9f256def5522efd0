"""The types of arrays and of activations in signatures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

# CuPy's arrays have no types of their own; to type checkers they are NumPy's.
Array: TypeAlias = npt.NDArray[Any]
Arrays: TypeAlias = Array | Sequence[Array]
Float64Array: TypeAlias = npt.NDArray[np.float64]
Int64Array: TypeAlias = npt.NDArray[np.int64]

# The name of an activation function, alone or with its parameter.
Activation: TypeAlias = str | tuple[str, float]
