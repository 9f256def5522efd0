"""A linear layer and softmax cross-entropy behind it, for so many classes that all logits would need much memory."""

from __future__ import annotations

from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.backends import backend_of, device_of
from steepest._runtime.memory import aligned_empty, aligned_zeros

from .classification_loss import softmax_cross_entropy
from .linear import linear, linear_backward

__all__ = ["linear_cross_entropy"]

# Logits of a block, but at least so many rows: each block reads and writes the gradient of the weights once, which
# takes as long as the products of some dozen rows.
_BLOCK_ITEMS = 1 << 22
_LEAST_ROWS = 256


def linear_cross_entropy(
    x: Array,
    w: Array,
    b: Array | None,
    labels: Array,
    sample_weight: Array | None = None,
    ignore_label: int | None = None,
    *,
    l2: float = 0.0,
    input_grad: bool = True,
    loss: Float64Array | None = None,
    d_x: Array | None = None,
    d_w: Array | None = None,
    d_b: Array | None = None,
    logits: Array | None = None,
    precision: str = "float32",
    accumulate: bool = False,
) -> tuple[Float64Array, Array | None, Array, Array | None]:
    """Return the softmax cross-entropy of the logits ``x @ w + b`` and its gradients, without storing all logits.

    `linear`, `softmax_cross_entropy` and `linear_backward` run on one block of rows after the other, so that memory
    holds the logits of a block. For a vocabulary of tens of thousands of tokens the logits of a batch, and their
    gradient, would take more memory than everything else. Gradients are added up in the order of the blocks.

    Parameters
    ----------
    x : ndarray of shape (n, n_in)
        Inputs of the layer.
    w : ndarray of shape (n_in, c)
        Weights; the transposed table of an embedding, for example.
    b : ndarray of shape (c,) or None
        Biases.
    labels : ndarray of integers of shape (n,)
        Class ids in 0..c-1, of any integer width.
    sample_weight : ndarray of shape (n,), optional
        Weights of the rows.
    ignore_label : int, optional
        Rows with this class id are ignored.
    l2 : float
        ``l2 * w`` is added to d_w.
    input_grad : bool
        Whether to compute d_x.
    loss : 0-d float64 ndarray, optional
        Receives the loss.
    d_x, d_w, d_b : ndarray, optional
        Receive the gradients; they must not overlap the inputs or one another.
    logits : ndarray of shape (rows, c), optional
        Memory for the logits of a block, which decides how many rows a block has; by default, about four million
        logits.
    precision : {"float32", "high", "tf32", "bfloat16"}
        As in `matmul`.
    accumulate : bool
        Whether to add the gradients of w and b to d_w and d_b, which are then required. d_x is always overwritten.

    Returns
    -------
    loss : 0-d float64 ndarray
        The weighted mean of the losses in nats, as `softmax_cross_entropy` returns it.
    d_x : ndarray of shape (n, n_in), or None
        Gradient with respect to x; None without `input_grad`.
    d_w : ndarray of shape (n_in, c)
        Gradient with respect to the weights.
    d_b : ndarray of shape (c,), or None
        Gradient with respect to the biases; None with neither biases nor `d_b`.

    Raises
    ------
    ValueError
        If a label is outside 0..c-1, or the batch is empty; see also the package's conventions.
    TypeError
        See the package's conventions.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import kernels as K
    >>> x, w, b = np.eye(2), np.zeros((2, 4)), np.zeros(4)
    >>> loss, d_x, d_w, d_b = K.linear_cross_entropy(x, w, b, np.array([0, 3]), logits=np.empty((1, 4)))
    >>> round(float(loss), 6)  # log(4)
    1.386294
    >>> d_b
    array([-0.25,  0.25,  0.25, -0.25])
    """
    name = "linear_cross_entropy"
    for what, array in (("x", x), ("w", w)):
        backend_of(array)
        if getattr(array, "ndim", None) != 2:
            raise ValueError(f"[{name}] {what} must be a matrix")
    n, c = len(x), w.shape[1]
    if getattr(labels, "ndim", None) != 1 or len(labels) != n or labels.dtype.kind not in "iu":
        raise ValueError(
            f"[{name}] labels must be {n} class ids, integers of shape ({n},), one for each row of x"
        )
    if n == 0:
        raise ValueError(f"[{name}] x has shape {x.shape}: an empty batch has no mean loss")
    device = device_of(x)

    def empty(shape: tuple[int, ...], dtype: object = x.dtype) -> Array:
        return aligned_empty(shape, dtype, device)  # type: ignore[arg-type]

    if accumulate and (d_w is None or (d_b is None and b is not None)):
        raise ValueError(f"[{name}] accumulate adds to d_w and d_b: pass both")
    loss = empty((), "float64") if loss is None else loss
    d_x = empty(x.shape) if d_x is None and input_grad else d_x
    d_w = empty(w.shape) if d_w is None else d_w
    has_bias = b is not None or d_b is not None
    if d_b is None:
        # Without biases, memory that `linear_backward` needs to add to.
        d_b = empty((c,)) if has_bias else aligned_zeros((c,), x.dtype, device)
    if d_x is not None and d_x.shape != x.shape:
        raise ValueError(f"[{name}] d_x has shape {d_x.shape}, but x {x.shape}")
    logits = empty((rows_of_block(n, c), c)) if logits is None else logits
    if logits.ndim != 2 or len(logits) == 0 or logits.shape[1] != c:
        raise ValueError(f"[{name}] logits has shape {logits.shape}: it must hold rows of {c} logits")
    for first in range(0, n, len(logits)):
        rows = slice(first, min(first + len(logits), n))
        block = linear(x[rows], w, b, out=logits[: rows.stop - first], precision=precision)
        softmax_cross_entropy(block, labels, sample_weight, ignore_label, loss, block, first)
        linear_backward(
            block,
            x[rows],
            w,
            l2=l2 if first == 0 else 0.0,
            input_grad=input_grad,
            d_x=None if d_x is None else d_x[rows],
            d_w=d_w,
            d_b=d_b,
            precision=precision,
            accumulate=accumulate or first > 0,
        )
    return loss, d_x, d_w, d_b if has_bias else None


def rows_of_block(n: int, c: int) -> int:
    """Return how many of n rows with c logits each are in a block, unless the caller decides it."""
    return min(n, max(_BLOCK_ITEMS // c, _LEAST_ROWS))
