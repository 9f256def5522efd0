"""Recurrent layers over whole sequences: hidden states, gradients and directional derivatives.

Sequences are runs of rows: a step is a row of a matrix, and `spans`, an int64 array of shape (sequences, 2), holds the
first row and the number of rows of each sequence. They may follow one another without padding, lie in a padded array,
or overlap none of its other rows; rows outside of all sequences are neither read nor written. Without `spans`, the rows
are divided into a number of sequences of equal length.
"""

from __future__ import annotations

from steepest import _cpu
from steepest._runtime.arrays import Array, Int64Array
from steepest._runtime.backends import backend_of

__all__ = ["RECURRENT_CELLS", "recurrence", "recurrence_backward", "recurrence_tangent"]

RECURRENT_CELLS: tuple[str, ...] = _cpu.RECURRENT_CELLS
"""Names of the cells of `recurrence`."""


def recurrence(
    gates: Array,
    weight: Array,
    cell: str,
    *,
    bias: Array | None = None,
    h0: Array | None = None,
    c0: Array | None = None,
    spans: Int64Array | None = None,
    sequences: int = 1,
    reverse: bool = False,
    keep: bool = True,
    out: Array | None = None,
    kept: Array | None = None,
    h_last: Array | None = None,
    c_last: Array | None = None,
) -> tuple[Array, Array | None]:
    """Walk recurrent cells through sequences, and return the hidden states h of all steps.

    `gates` holds ``a = x @ w + b`` of all steps: one product for whole sequences. Each step adds ``s = h' @ weight``,
    with h' the state before it. Gates lie side by side, in the order of the list; * multiplies items.

    - ``"rnn_tanh"``, ``"rnn_relu"``: ``h = f(a + s)``.
    - ``"lstm"``: ``i, f, o = sigmoid(a + s)``, ``g = tanh(a + s)``, ``c = f * c' + i * g``, ``h = o * tanh(c)``; gates
      i, f, g, o [1]_.
    - ``"gru"``: ``r, z = sigmoid(a + s)``, ``q = s_n + bias``, ``n = tanh(a_n + r * q)``, ``h = n + z * (h' - n)``;
      gates r, z, n [2]_, with the reset gate behind the product, as in cuDNN and PyTorch.
    - ``"gru_reset_before"``: ``n = tanh(a_n + (r * h') @ weight_n)``, as in the paper.

    Threads share out sequences, so that more sequences than threads are needed to use all of them. A sequence has the
    same result among others as alone, unless there are at most three of them.

    Parameters
    ----------
    gates : ndarray of shape (r, gates * units)
        What the inputs of the steps contribute; receives the values of the gates.
    weight : ndarray of shape (units, gates * units)
        Weights of the hidden state.
    cell : str
        Name of the cell, one of `RECURRENT_CELLS`.
    bias : ndarray of shape (units,), optional
        Bias of q of ``"gru"``; the others need none beside that of their inputs.
    h0, c0 : ndarray of shape (sequences, units), optional
        States before the first steps; zeros if absent.
    spans : int64 ndarray of shape (sequences, 2), optional
        First row and number of rows of each sequence.
    sequences : int
        Number of sequences of equal length, if there are no `spans`.
    reverse : bool
        Whether steps run from the last row of a sequence to its first.
    keep : bool
        Whether to store what `recurrence_backward` needs beside the gates.
    out : ndarray of shape (r, units), optional
        Receives the hidden states.
    kept : ndarray of shape (r, units), optional
        Receives c of ``"lstm"``, q of ``"gru"``.
    h_last, c_last : ndarray of shape (sequences, units), optional
        Receive the states after the last step, those before the first for sequences without rows.

    Returns
    -------
    out : ndarray of shape (r, units)
        The hidden states.
    kept : ndarray of shape (r, units) or None
        What is kept for the derivatives; None for cells that keep nothing, and without `keep`.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions. ``ValueError`` if a sequence has rows outside of the array; its message names
        the sequence.

    References
    ----------
    .. [1] S. Hochreiter, J. Schmidhuber, "Long short-term memory", 1997; F. Gers et al., "Learning to forget", 2000.
    .. [2] K. Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014.
    """
    return backend_of(gates).recurrence(
        gates,
        weight,
        cell,
        bias=bias,
        h0=h0,
        c0=c0,
        spans=spans,
        sequences=sequences,
        reverse=reverse,
        keep=keep,
        out=out,
        kept=kept,
        h_last=h_last,
        c_last=c_last,
    )


def recurrence_backward(
    d_out: Array | None,
    gates: Array,
    out: Array,
    kept: Array | None,
    weight: Array,
    cell: str,
    *,
    h0: Array | None = None,
    c0: Array | None = None,
    d_h_last: Array | None = None,
    d_c_last: Array | None = None,
    spans: Int64Array | None = None,
    sequences: int = 1,
    reverse: bool = False,
    d_gates: Array | None = None,
    before: Array | None = None,
    inner: Array | None = None,
    d_h0: Array | None = None,
    d_c0: Array | None = None,
) -> tuple[Array, Array, Array | None]:
    """Walk back through sequences, and return the gradients of the sums of all steps.

    The gradients of the weights are products of what is returned: with the inputs x, ``x.T @ d_gates`` for those of the
    inputs, and ``before.T @ d_gates`` for `weight`. For the last gate, n, of ``"gru"``, ``before.T @ inner`` takes the
    place of the latter, and for that of ``"gru_reset_before"`` it is ``inner.T @ d_n``.

    Parameters
    ----------
    d_out : ndarray of shape (r, units), or None
        Gradient of the loss with respect to the hidden states; None if it depends on the last states alone.
    gates, out, kept : ndarray
        As `recurrence` left them.
    weight : ndarray of shape (units, gates * units)
        Weights of the hidden state.
    cell : str
        Name of the cell.
    h0, c0 : ndarray of shape (sequences, units), optional
        States before the first steps, as for `recurrence`.
    d_h_last, d_c_last : ndarray of shape (sequences, units), optional
        Gradients with respect to the states after the last step; that of h is added to the last row of `d_out`.
    spans, sequences, reverse
        As for `recurrence`.
    d_gates : ndarray of shape (r, gates * units), optional
        Receives the gradients of ``x @ w + b``.
    before : ndarray of shape (r, units), optional
        Receives the hidden state before each step.
    inner : ndarray of shape (r, units), optional
        Receives the gradient of q of ``"gru"``, and ``r * h'`` of ``"gru_reset_before"``.
    d_h0, d_c0 : ndarray of shape (sequences, units), optional
        Receive the gradients of the states before the first step.

    Returns
    -------
    tuple of ndarray
        d_gates, before, and inner, which is None for other cells.

    Raises
    ------
    TypeError, ValueError
        See `recurrence`.
    """
    return backend_of(gates).recurrence_backward(
        d_out,
        gates,
        out,
        kept,
        weight,
        cell,
        h0=h0,
        c0=c0,
        d_h_last=d_h_last,
        d_c_last=d_c_last,
        spans=spans,
        sequences=sequences,
        reverse=reverse,
        d_gates=d_gates,
        before=before,
        inner=inner,
        d_h0=d_h0,
        d_c0=d_c0,
    )


def recurrence_tangent(
    moved: Array | None,
    gates: Array,
    out: Array,
    kept: Array | None,
    weight: Array,
    cell: str,
    *,
    h0: Array | None = None,
    c0: Array | None = None,
    moved_weight: Array | None = None,
    moved_bias: Array | None = None,
    moved_h0: Array | None = None,
    moved_c0: Array | None = None,
    spans: Int64Array | None = None,
    sequences: int = 1,
    reverse: bool = False,
    moved_out: Array | None = None,
    moved_h_last: Array | None = None,
    moved_c_last: Array | None = None,
) -> Array:
    """Return how the hidden states change along a direction: the derivative of `recurrence`.

    Parameters
    ----------
    moved : ndarray of shape (r, gates * units), or None
        Change of ``x @ w + b``; None if the inputs and their weights do not change.
    gates, out, kept : ndarray
        As `recurrence` left them.
    weight : ndarray of shape (units, gates * units)
        Weights of the hidden state.
    cell : str
        Name of the cell.
    h0, c0 : ndarray of shape (sequences, units), optional
        States before the first steps, as for `recurrence`.
    moved_weight, moved_bias, moved_h0, moved_c0 : ndarray, optional
        Changes of `weight`, of the bias of q, and of the first states; none where absent.
    spans, sequences, reverse
        As for `recurrence`.
    moved_out : ndarray of shape (r, units), optional
        Receives the result.
    moved_h_last, moved_c_last : ndarray of shape (sequences, units), optional
        Receive the changes of the states after the last step.

    Returns
    -------
    ndarray of shape (r, units)
        The change of the hidden states.

    Raises
    ------
    TypeError, ValueError
        See `recurrence`.
    """
    return backend_of(gates).recurrence_tangent(
        moved,
        gates,
        out,
        kept,
        weight,
        cell,
        h0=h0,
        c0=c0,
        moved_weight=moved_weight,
        moved_bias=moved_bias,
        moved_h0=moved_h0,
        moved_c0=moved_c0,
        spans=spans,
        sequences=sequences,
        reverse=reverse,
        moved_out=moved_out,
        moved_h_last=moved_h_last,
        moved_c_last=moved_c_last,
    )
