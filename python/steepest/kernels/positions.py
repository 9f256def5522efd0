"""Positions in sequences and their encodings: numbers, sinusoidal tables and rotations.

The rows of an array are the steps of sequences. `spans` (sequences, 2) holds the first row and the number of rows of
each sequence; without it, `sequences` sequences of equal length follow one another. Sequences must not share rows.
"""

from __future__ import annotations

import math
import numbers

import numpy as np
import numpy.typing as npt

from steepest._runtime.arguments import checked_integer
from steepest._runtime.arrays import Array, Int64Array
from steepest._runtime.backends import backend_for, backend_of, check_device, import_cupy

__all__ = ["positions", "rotary", "sinusoidal"]


def positions(
    rows: int,
    spans: Int64Array | None = None,
    sequences: int = 1,
    out: Int64Array | None = None,
    *,
    device: str | None = None,
) -> Int64Array:
    """Return the position of each row in its sequence, counted from 0.

    Parameters
    ----------
    rows : int
        Number of rows.
    spans : ndarray of int64 of shape (sequences, 2), optional
        First row and number of rows of each sequence.
    sequences : int, default=1
        Number of sequences of equal length, without `spans`.
    out : ndarray of int64 of shape (rows,), optional
        Receives the positions. Rows of no sequence stay as they are; in a new array they are 0.
    device : {"cpu", "cuda"}, optional
        Device of the result; by default that of `spans`, else that of `out`, else the CPU.

    Returns
    -------
    ndarray of int64 of shape (rows,)
        The positions.

    Raises
    ------
    ValueError
        If a sequence is not within the rows, or `sequences` does not divide them; see also the package's conventions.
    TypeError, RuntimeError
        See the package's conventions.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import kernels as K
    >>> K.positions(6, sequences=2)
    array([0, 1, 2, 0, 1, 2])
    >>> K.positions(6, np.array([[4, 2], [0, 3]]))
    array([0, 1, 2, 0, 0, 1])
    """
    first, what = (out, "out") if spans is None else (spans, "spans")
    return backend_for("positions", first, device, what).positions(rows, spans, sequences, out)


def rotary(
    x: Array,
    heads: int,
    spans: Int64Array | None = None,
    sequences: int = 1,
    first: int | Int64Array = 0,
    base: float = 10000.0,
    inverse: bool = False,
    out: Array | None = None,
) -> Array:
    """Return rows whose heads are rotated by angles that grow with the position: rotary position encoding.

    A head has d items, of which j and j + d/2 are a pair (a, b), as in GPT-NeoX and Llama. (The paper pairs neighbours,
    2j and 2j + 1, which is a permutation of the weights before.) At position p the pair becomes
    (a cos t - b sin t, b cos t + a sin t) with t = p base^(-2j/d) (J. Su et al., "RoFormer: enhanced transformer with
    rotary position embedding", 2021). Inner products of two rotated heads then depend on the difference of their
    positions. Angles are computed in float64: their error is about 2e-16 p. Pass the columns of queries and keys, such
    as ``qkv[:, : 2 * heads * d]`` with 2 * heads heads, without those of values.

    The rotation is linear and orthogonal: ``rotary(dx, ...)`` is its derivative along dx, and ``rotary(d_y, ...,
    inverse=True)`` the gradient with respect to x.

    Parameters
    ----------
    x : ndarray of shape (rows, heads * d)
        Rows of heads, d even.
    heads : int
        Number of heads.
    spans : ndarray of int64 of shape (sequences, 2), optional
        First row and number of rows of each sequence.
    sequences : int, default=1
        Number of sequences of equal length, without `spans`.
    first : int, 0-d int64 ndarray or ndarray of int64 of shape (sequences,), default=0
        Position of the first row of all sequences, or of each: the number of steps before it in a cache.
    base : float, default=10000.0
        Ratio of the highest to the lowest frequency, for large d; at least 1.
    inverse : bool, default=False
        Rotate back.
    out : ndarray of shape (rows, heads * d), optional
        Receives the result, may be x. Rows of no sequence stay as they are; in a new array they are 0.

    Returns
    -------
    ndarray of shape (rows, heads * d)
        The rotated rows.

    Raises
    ------
    ValueError
        If the columns are not heads of an even number of items, a sequence is not within the rows, or `sequences` does
        not divide them; see also the package's conventions.
    TypeError
        See the package's conventions.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import kernels as K
    >>> K.rotary(np.ones((2, 2)), 1).round(4)  # one radian from one position to the next
    array([[ 1.    ,  1.    ],
           [-0.3012,  1.3818]])
    """
    return backend_of(x).rotary(x, heads, spans, sequences, first, base, inverse, out)


def sinusoidal(
    n: int, d: int, dtype: npt.DTypeLike = np.float32, base: float = 10000.0, *, device: str = "cpu"
) -> Array:
    """Return a table of sinusoidal position encodings, to be added to the rows at these positions.

    table[p, 2k] = sin(p base^(-2k/d)) and table[p, 2k + 1] = cos(p base^(-2k/d)), computed in float64 (A. Vaswani et
    al., "Attention is all you need", NeurIPS 2017). An odd d ends with a sine.

    Parameters
    ----------
    n : int
        Number of positions, from 0 on.
    d : int
        Number of columns.
    dtype : data-type, default=float32
        Dtype of the table, float32 or float64.
    base : float, default=10000.0
        Ratio of the highest to the lowest frequency, for large d; at least 1.
    device : {"cpu", "cuda"}, default="cpu"
        Device of the result, a NumPy or a CuPy array.

    Returns
    -------
    ndarray of shape (n, d)
        The table.

    Raises
    ------
    ValueError
        If n or d is negative, `base` is not finite or below 1, or the device is unknown.
    TypeError, RuntimeError
        See the package's conventions.

    Examples
    --------
    >>> from steepest import kernels as K
    >>> K.sinusoidal(2, 4).round(4)
    array([[0.    , 1.    , 0.    , 1.    ],
           [0.8415, 0.5403, 0.01  , 1.    ]], dtype=float32)
    """
    check_device(device, "sinusoidal")
    n = checked_integer("sinusoidal", "n", n, high=2**63 - 1)
    d = checked_integer("sinusoidal", "d", d, high=2**63 - 1)
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = ""
    if name not in ("float32", "float64"):
        raise TypeError(f"[sinusoidal] dtype {dtype!r} is not float32 or float64")
    base = _checked_base(base)
    columns = np.arange(d)
    angles = np.arange(n)[:, None] * base ** (-(columns - columns % 2) / max(d, 1))
    table = np.where(columns % 2 == 0, np.sin(angles), np.cos(angles)).astype(name)
    return table if device == "cpu" else import_cupy().asarray(table)


def _checked_base(base: object) -> float:
    if not isinstance(base, numbers.Real):
        raise TypeError(f"[sinusoidal] base must be a number, not {type(base).__name__}")
    number = float(base)
    if not (number >= 1 and math.isfinite(number)):
        raise ValueError(f"[sinusoidal] base is {number}; it must be finite and at least 1")
    return number
