"""How the CPU would compute a matrix product: the plan that `matmul` chooses from the operands."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from steepest import _cpu

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from steepest._runtime.arrays import Array

__all__ = ["ProductPlan", "explain"]


@dataclass(frozen=True)
class ProductPlan:
    """The plan of a product of an (m, k) and a (k, n) matrix.

    Attributes
    ----------
    form : {"tiles", "stream", "dots"}
        "tiles" computes tiles of the result in registers. "stream" is for up to three rows and a large right operand,
        which is read once, in the order of memory. "dots" computes inner products of contiguous rows and columns, for
        a single column or up to three rows.
    parts : int
        The bfloat16 parts of each item, whose products are computed in place of those of the items: 1 for
        ``precision="bfloat16"`` and 2 for "high", on processors that gain by it. 0 if items are multiplied as they are.
    turned : bool
        Whether right.T @ left.T is computed, into the transposed result: its vectors are fuller if the right operand
        has few columns and the left one is a transposed array. The other attributes are those of this product.
    tile : (int, int)
        Rows and columns of a whole tile.
    packed : tuple of str
        The operands, "left" or "right" of @, that are copied block by block in the order in which tiles read them.
    prefetched : bool
        Whether a right operand that is read in place is fetched a panel ahead, from beyond the second-level cache.
    blocks : int
        The number of equal blocks in which the inner dimension k is summed, one after the other.
    rows, columns, inner : int
        The numbers of threads that divide the rows and columns of the result, and the blocks of k.
    """

    form: str
    parts: int
    turned: bool
    tile: tuple[int, int]
    packed: tuple[str, ...]
    prefetched: bool
    blocks: int
    rows: int
    columns: int
    inner: int

    @property
    def threads(self) -> int:
        """The number of threads that compute the product."""
        return self.rows * self.columns * self.inner


def explain(
    operation: str,
    left: Array | tuple[int, int],
    right: Array | tuple[int, int],
    *,
    dtype: DTypeLike = np.float32,
    precision: str = "float32",
) -> ProductPlan:
    """Return how a call would compute a product on the CPU, without computing it.

    The plan follows from the shapes and strides of the operands, the number of threads, the instruction set, and the
    size of the second-level cache. The number of threads and the cache change who computes an item and from where it is
    read, but never the result. The plan is that of a call whose result is a new array: a result with strided columns is
    not divided by blocks of k, and a replay has one team for the whole graph.

    Parameters
    ----------
    operation : {"matmul"}
        The function.
    left, right : ndarray or (int, int)
        The operands of shapes (m, k) and (k, n); or only these shapes, for contiguous arrays of `dtype`.
    dtype : dtype
        float32 or float64, of operands that are given as shapes.
    precision : {"float32", "high", "tf32", "bfloat16"}
        As in `matmul`.

    Returns
    -------
    ProductPlan
        The plan.

    Raises
    ------
    TypeError
        If an operand is neither a NumPy array nor a shape, or has another dtype. CUDA arrays have no such plan.
    ValueError
        If the shapes do not match, or the operation is another.

    Examples
    --------
    >>> from steepest import kernels as K
    >>> plan = K.explain("matmul", (2, 8), (8, 4))
    >>> plan.form, plan.blocks, plan.threads
    ('tiles', 1, 1)
    """
    if operation != "matmul":
        raise ValueError(f"[explain] operation {operation!r} is not 'matmul'")
    found = _cpu.explain_product(_operand("left", left, dtype), _operand("right", right, dtype), precision)
    packs = {"left": found["packs_left"], "right": found["packs_right"]}
    return ProductPlan(
        form=found["form"],
        parts=found["parts"],
        turned=found["turned"],
        tile=found["tile"],
        packed=tuple(name for name, does in packs.items() if does),
        prefetched=found["prefetches_right"],
        blocks=found["blocks"],
        rows=found["threads_by_rows"],
        columns=found["threads_by_columns"],
        inner=found["threads_by_blocks"],
    )


def _operand(name: str, given: Array | tuple[int, int], dtype: DTypeLike) -> Array:
    """Return an array, or one of a given shape without memory of its own: nothing reads its items."""
    if not isinstance(given, tuple):
        return given  # the compiled function rejects what is not a matrix
    try:
        rows, columns = map(operator.index, given)
    except (TypeError, ValueError):
        raise TypeError(
            f"[explain] {name} must be a matrix or its shape (rows, columns), not {given}"
        ) from None
    if min(rows, columns) < 0:
        raise ValueError(f"[explain] {name} has the negative length {min(rows, columns)}")
    item = np.empty(1, dtype)
    if rows * columns * item.itemsize >= 1 << 63:
        raise ValueError(f"[explain] {name} of shape {given} would be too large for any memory")
    return np.lib.stride_tricks.as_strided(item, (rows, columns), (columns * item.itemsize, item.itemsize))
