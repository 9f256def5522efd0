"""Type aliases of arrays and activations for signatures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

# CuPy has no type stubs; for type checkers its arrays are NumPy arrays.
Array: TypeAlias = npt.NDArray[Any]
Arrays: TypeAlias = Array | Sequence[Array]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
Float64Array: TypeAlias = npt.NDArray[np.float64]
Int64Array: TypeAlias = npt.NDArray[np.int64]

# The name of an activation function, alone or with its parameter.
Activation: TypeAlias = str | tuple[str, float]
# A number for rows and columns, or one for each.
IntOrPair: TypeAlias = int | Sequence[int]
