"""Scaled dot-product attention over sequences of rows, with its gradients and its derivative along a direction.

Queries, keys and values are matrices whose rows are the steps of sequences. The heads lie side by side in the columns,
so that one matrix product makes them, and the columns of one array may hold all three: no axis is moved.
"""

from __future__ import annotations

from steepest._runtime.arrays import Array, BoolArray, Int64Array
from steepest._runtime.backends import backend_of

__all__ = ["attention", "attention_backward", "attention_tangent"]


def attention(
    q: Array,
    k: Array,
    v: Array,
    heads: int,
    *,
    spans: Int64Array | None = None,
    key_spans: Int64Array | None = None,
    sequences: int = 1,
    key_heads: int | None = None,
    causal: bool = False,
    mask: BoolArray | None = None,
    shared_mask: BoolArray | None = None,
    scale: float | None = None,
    out: Array | None = None,
    log_sum_exp: Array | None = None,
) -> tuple[Array, Array]:
    """Return ``softmax(scale * q @ k.T) @ v`` for each head of each sequence.

    This is scaled dot-product attention [1]_. A query attends to the keys of its sequence that `causal` and both masks
    allow. The result of a query that may attend to no key is 0. The scores are computed in blocks and never stored as a
    whole [2]_, so that memory grows with the number of rows and not with its square.

    Parameters
    ----------
    q : ndarray of shape (rows, heads * d)
        Queries. The items of a row must be contiguous, here and in all arrays of floats but `log_sum_exp`; rows may be
        any distance apart, as those of ``qkv[:, : heads * d]`` are.
    k : ndarray of shape (key_rows, key_heads * d)
        Keys.
    v : ndarray of shape (key_rows, key_heads * d_v)
        Values. They must be finite also where a mask hides them, since they are multiplied by 0.
    heads : int
        Number of heads of the queries.
    spans : ndarray of int64 of shape (n, 2), optional
        First row and number of rows of the queries of each sequence. No two sequences may share rows. By default, the
        rows are divided into sequences of equal length.
    key_spans : ndarray of int64 of shape (n, 2), optional
        The same for keys and values; that of the queries by default. Spans of other lengths are those of
        cross-attention, and those of a cache of keys ``[s * capacity, length]``.
    sequences : int
        Number of sequences where neither `spans` nor `key_spans` is given.
    key_heads : int, optional
        Number of heads of keys and values, a divisor of `heads`, which is the default. Query head h uses key head
        ``h // (heads // key_heads)`` (grouped queries [3]_).
    causal : bool
        Whether queries attend to no later key. The last query of a sequence stands beside its last key: query i of n
        attends to keys 0 to ``keys - n + i``.
    mask : ndarray of bool of shape (rows, most_keys), optional
        Whether the query of a row may attend to key j of its sequence, for at least as many j as any sequence has keys.
    shared_mask : ndarray of bool of shape (most_queries, most_keys), optional
        Whether query i of any sequence may attend to its key j.
    scale : float, optional
        Factor of the scores, ``1 / sqrt(d)`` by default.
    out : ndarray of shape (rows, heads * d_v), optional
        Receives the result. Rows outside of all spans are left as they are.
    log_sum_exp : ndarray of shape (rows, heads), optional
        Receives the logarithms below, in the rows of the spans.

    Returns
    -------
    out : ndarray of shape (rows, heads * d_v)
        The result.
    log_sum_exp : ndarray of shape (rows, heads)
        The logarithm of the sum of the exponentials of the scores of each query, for the gradient; ``-inf`` for a query
        that may attend to no key.

    Raises
    ------
    ValueError
        If a span lies outside of the rows, a sequence has more keys or queries than a mask, or the heads do not divide
        the columns; see also the package's conventions.
    TypeError
        See the package's conventions.

    References
    ----------
    .. [1] A. Vaswani et al., "Attention is all you need", NeurIPS 2017.
    .. [2] T. Dao et al., "FlashAttention: fast and memory-efficient exact attention with IO-awareness", NeurIPS 2022.
    .. [3] J. Ainslie et al., "GQA: training generalized multi-query transformer models from multi-head checkpoints",
       EMNLP 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import kernels as K
    >>> q = k = np.zeros((3, 1))
    >>> v = np.array([[1.0], [2.0], [6.0]])
    >>> K.attention(q, k, v, heads=1, causal=True)[0]
    array([[1. ],
           [1.5],
           [3. ]])

    One new query for each of two sequences, whose keys fill 1 and 2 of the 2 rows of a cache:

    >>> cache = np.array([[1.0], [0.0], [4.0], [6.0]])
    >>> K.attention(q[:2], cache, cache, heads=1, key_spans=np.array([[0, 1], [2, 2]]))[0]
    array([[1.],
           [5.]])
    """
    return backend_of(q).attention(
        q,
        k,
        v,
        heads,
        spans=spans,
        key_spans=key_spans,
        sequences=sequences,
        key_heads=key_heads,
        causal=causal,
        mask=mask,
        shared_mask=shared_mask,
        scale=scale,
        out=out,
        log_sum_exp=log_sum_exp,
    )


def attention_backward(
    d_y: Array,
    q: Array,
    k: Array,
    v: Array,
    y: Array,
    log_sum_exp: Array,
    heads: int,
    *,
    spans: Int64Array | None = None,
    key_spans: Int64Array | None = None,
    sequences: int = 1,
    key_heads: int | None = None,
    causal: bool = False,
    mask: BoolArray | None = None,
    shared_mask: BoolArray | None = None,
    scale: float | None = None,
    d_q: Array | None = None,
    d_k: Array | None = None,
    d_v: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Return the gradients of `attention` with respect to queries, keys and values.

    With ``p = exp(scale * q @ k.T - log_sum_exp)`` and ``ds = p * (d_y @ v.T - (d_y * y).sum(axis=1))`` of a head, they
    are ``scale * ds @ k``, ``scale * ds.T @ q`` and ``p.T @ d_y``. The probabilities p are computed anew. The gradient
    of a head of keys is the sum over the heads of queries that use it, in their order.

    Parameters
    ----------
    d_y : ndarray of shape (rows, heads * d_v)
        Gradient of the loss with respect to the result.
    q, k, v : ndarray
        The inputs of `attention`, as well as the parameters that are not described here.
    y : ndarray of shape (rows, heads * d_v)
        The result of `attention`.
    log_sum_exp : ndarray of shape (rows, heads)
        The logarithms that `attention` returned.
    heads, spans, key_spans, sequences, key_heads, causal, mask, shared_mask, scale
        As for `attention`. The spans of no two sequences may share rows of keys, either.
    d_q, d_k, d_v : ndarray of the shapes of q, k and v, optional
        Receive the gradients; they may be columns of one array. Rows outside of all spans are left as they are.

    Returns
    -------
    tuple of ndarray
        d_q, d_k and d_v.

    Raises
    ------
    TypeError, ValueError
        As for `attention`.
    """
    return backend_of(d_y).attention_backward(
        d_y,
        q,
        k,
        v,
        y,
        log_sum_exp,
        heads,
        spans=spans,
        key_spans=key_spans,
        sequences=sequences,
        key_heads=key_heads,
        causal=causal,
        mask=mask,
        shared_mask=shared_mask,
        scale=scale,
        d_q=d_q,
        d_k=d_k,
        d_v=d_v,
    )


def attention_tangent(
    dq: Array | None,
    dk: Array | None,
    dv: Array | None,
    q: Array,
    k: Array,
    v: Array,
    y: Array,
    log_sum_exp: Array,
    heads: int,
    *,
    spans: Int64Array | None = None,
    key_spans: Int64Array | None = None,
    sequences: int = 1,
    key_heads: int | None = None,
    causal: bool = False,
    mask: BoolArray | None = None,
    shared_mask: BoolArray | None = None,
    scale: float | None = None,
    out: Array | None = None,
) -> Array:
    """Return the derivative of `attention` along a direction of queries, keys and values.

    With ``p = exp(scale * q @ k.T - log_sum_exp)`` and ``ds = scale * (dq @ k.T + q @ dk.T)`` of a head, it is
    ``(p * ds) @ v + p @ dv - (p * ds).sum(axis=1) * y``.

    Parameters
    ----------
    dq, dk, dv : ndarray of the shapes of q, k and v, or None
        Directions; None for what does not change. At least one is needed.
    q, k, v : ndarray
        The inputs of `attention`, as well as the parameters that are not described here.
    y : ndarray of shape (rows, heads * d_v)
        The result of `attention`.
    log_sum_exp : ndarray of shape (rows, heads)
        The logarithms that `attention` returned.
    heads, spans, key_spans, sequences, key_heads, causal, mask, shared_mask, scale
        As for `attention`.
    out : ndarray of shape (rows, heads * d_v), optional
        Receives the result. Rows outside of all spans are left as they are.

    Returns
    -------
    ndarray of shape (rows, heads * d_v)
        The derivative of the result.

    Raises
    ------
    TypeError, ValueError
        As for `attention`. ``ValueError`` without a direction.
    """
    return backend_of(q).attention_tangent(
        dq,
        dk,
        dv,
        q,
        k,
        v,
        y,
        log_sum_exp,
        heads,
        spans=spans,
        key_spans=key_spans,
        sequences=sequences,
        key_heads=key_heads,
        causal=causal,
        mask=mask,
        shared_mask=shared_mask,
        scale=scale,
        out=out,
    )
