"""Matrix products, and the linear layer with its gradients and its directional derivative.

`precision` is the least accuracy of products of float32 arrays.
A backend computes more accurately where that is faster.

* ``"float32"``: products and sums are accurate to float32.
* ``"high"``: operands have 16 significant bits or more, by three products of two parts: of bfloat16 parts on the CPU,
  of tf32 parts on tensor cores, where the product is as accurate as float32.
* ``"tf32"``: operands are rounded to mantissas of 10 bits.
* ``"bfloat16"``: operands are rounded to mantissas of 7 bits (8 significant bits).

Sums are in float32. On the CPU ``"bfloat16"`` needs the instructions AVX512_BF16 or AMX, and ``"high"`` and ``"tf32"``
need AMX; small products, and all others, are computed in float32 (`explain` says which). There, numbers below 2^-126
count as zero in a part. Products of float64 arrays are always computed in float64.
"""

from __future__ import annotations

from steepest import _cpu
from steepest._runtime.arrays import Activation, Array, Int64Array
from steepest._runtime.backends import backend_of

__all__ = ["PRECISIONS", "linear", "linear_backward", "linear_bernoulli", "linear_tangent", "matmul"]


PRECISIONS: tuple[str, ...] = _cpu.PRECISIONS
"""The names of all precisions, from the most to the least accurate."""


def matmul(a: Array, b: Array, out: Array | None = None, *, precision: str = "float32") -> Array:
    """Return the matrix product a @ b.

    Parameters
    ----------
    a : ndarray of shape (m, k)
        Left operand.
    b : ndarray of shape (k, n)
        Right operand.
    out : ndarray of shape (m, n), optional
        Receives the product; it must not overlap a or b.
    precision : {"float32", "high", "tf32", "bfloat16"}
        Least accuracy of products of float32 arrays; see the module's description.

    Returns
    -------
    ndarray of shape (m, n)
        The product.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions; an unknown `precision` raises ``ValueError``.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import kernels as K
    >>> K.matmul(np.eye(2), np.array([[1.0, 2.0], [3.0, 4.0]]).T)
    array([[1., 3.],
           [2., 4.]])
    """
    return backend_of(a).matmul(a, b, out, precision)


def linear(
    x: Array,
    w: Array,
    b: Array | None = None,
    activation: Activation = "identity",
    out: Array | None = None,
    *,
    precision: str = "float32",
) -> Array:
    """Return f(x @ w + b): a linear layer with its activation, in one pass.

    Parameters
    ----------
    x : ndarray of shape (n, n_in)
        Inputs.
    w : ndarray of shape (n_in, n_out)
        Weights, in the layout of scikit-learn's ``coefs_``.
    b : ndarray of shape (n_out,), optional
        Biases.
    activation : str or (str, float)
        The function f, as in `activation`.
    out : ndarray of shape (n, n_out), optional
        Receives the result; it must not overlap the inputs.
    precision : {"float32", "high", "tf32", "bfloat16"}
        As in `matmul`.

    Returns
    -------
    ndarray of shape (n, n_out)
        The layer's output.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(x).linear(x, w, b, activation, out, precision)


def linear_bernoulli(
    x: Array,
    w: Array,
    b: Array | None = None,
    uniforms: Array | None = None,
    means: Array | None = None,
    draws: Array | None = None,
    *,
    seed: int = 0,
    stream: int | Int64Array = 0,
    precision: str = "float32",
) -> tuple[Array, Array]:
    """Return ``sigmoid(x @ w + b)``, and labels that are 1 with these probabilities, in one pass.

    It is half a step of the Gibbs chain of a Boltzmann machine [1]_. A label is 1 if its mean is above a number u,
    which depends only on `seed`, `stream` and the label's row and column: it is the same on every device and for every
    number of threads. For label (i, j), ``u = (w // 256 | 1) / 2**24``, where w is word ``j % 4`` of Philox counter
    ``i * ceil(n_out / 4) + j // 4``. Probabilities hence count in steps of 2**-23. A mean that is NaN gives NaN.

    Parameters
    ----------
    x : ndarray of shape (n, n_in)
        Inputs.
    w : ndarray of shape (n_in, n_out)
        Weights.
    b : ndarray of shape (n_out,), optional
        Bias; 0 by default.
    uniforms : ndarray of shape (n, n_out), optional
        The numbers u, instead of those of `seed` and `stream`.
    means : ndarray of shape (n, n_out), optional
        Receives the probabilities; it must not overlap another array.
    draws : ndarray of shape (n, n_out), optional
        Receives the labels; it must not overlap another array.
    seed : int
        Seed of the random numbers, in 0..2**64-1.
    stream : int in 0..2**64-1, or 0-d int64 ndarray
        Streams of one seed give independent labels. With a scalar array, a captured step draws anew in each replay.
    precision : {"float32", "high", "tf32", "bfloat16"}
        Least accuracy of products of float32 arrays; see the module's description.

    Returns
    -------
    means, draws : ndarray of shape (n, n_out)
        The probabilities, and zeros and ones.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions; a seed, a stream or a precision out of range raises ``ValueError``.

    References
    ----------
    .. [1] G. E. Hinton, "Training products of experts by minimizing contrastive divergence", Neural Computation 14,
       2002.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import kernels as K
    >>> means, draws = K.linear_bernoulli(np.zeros((1, 2)), np.ones((2, 3)), uniforms=np.array([[0.2, 0.7, 0.4]]))
    >>> means, draws
    (array([[0.5, 0.5, 0.5]]), array([[1., 0., 1.]]))
    """
    return backend_of(x).linear_bernoulli(
        x, w, b, uniforms, means, draws, seed=seed, stream=stream, precision=precision
    )


def linear_backward(
    d_out: Array,
    x: Array,
    w: Array,
    *,
    activation: Activation = "identity",
    l2: float = 0.0,
    input_grad: bool = True,
    d_x: Array | None = None,
    d_w: Array | None = None,
    d_b: Array | None = None,
    precision: str = "float32",
    accumulate: bool = False,
) -> tuple[Array | None, Array, Array]:
    """Return the gradients of ``x @ w + b`` with respect to x, w and b.

    ``d_w = x.T @ d_out + l2 * w``, ``d_b = d_out.sum(0)`` and ``d_x = (d_out @ w.T) * f'(x)``.

    Parameters
    ----------
    d_out : ndarray of shape (n, n_out)
        Gradient of the loss with respect to ``x @ w + b``.
    x : ndarray of shape (n, n_in)
        The layer's inputs.
    w : ndarray of shape (n_in, n_out)
        The layer's weights.
    activation : str or (str, float)
        The function f of the previous layer, whose output is x; as in `activation`. Its derivative is evaluated from
        x, so that d_x is the gradient with respect to the input of f, and a chain of layers needs no
        `activation_backward`. Functions in `INPUT_DERIVATIVES` raise ``ValueError``.
    l2 : float
        Strength of an L2 penalty ``l2 / 2 * sum(w**2)`` whose gradient is added to d_w.
    input_grad : bool
        Whether to compute d_x; the first layer of a network does not need it.
    d_x, d_w, d_b : ndarray, optional
        Receive the gradients; they must not overlap the inputs or one another.
    precision : {"float32", "high", "tf32", "bfloat16"}
        As in `matmul`.
    accumulate : bool
        Whether to add the gradients of w and b to d_w and d_b, which are then required. Useful for weights that
        several layers share, or for a batch in several parts. d_x is always overwritten.

    Returns
    -------
    d_x : ndarray of shape (n, n_in), or None
        Gradient with respect to the input of f; None without `input_grad`.
    d_w : ndarray of shape (n_in, n_out)
        Gradient with respect to the weights.
    d_b : ndarray of shape (n_out,)
        Gradient with respect to the biases.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(d_out).linear_backward(
        d_out, x, w, activation, l2, input_grad, d_x, d_w, d_b, precision, accumulate
    )


def linear_tangent(
    x: Array,
    v: Array,
    c: Array | None = None,
    dx: Array | None = None,
    w: Array | None = None,
    *,
    y: Array | None = None,
    activation: Activation = "identity",
    out: Array | None = None,
    precision: str = "float32",
) -> Array:
    """Return the directional derivative of ``f(x @ w + b)``: ``f'(.) * (x @ v + c + dx @ w)``.

    This is forward-mode differentiation (R. E. Wengert, "A simple automatic derivative evaluation program", 1964;
    B. A. Pearlmutter, "Fast exact multiplication by the Hessian", 1994). Applied layer by layer, with the previous
    layer's result as dx, it gives the derivative ``J v`` of a network's outputs along a direction of its parameters.
    `linear_backward` then turns ``J v`` into ``J^T J v``. The two matrix products also add the bias and apply f'.

    Parameters
    ----------
    x : ndarray of shape (n, n_in)
        The layer's inputs.
    v : ndarray of shape (n_in, n_out)
        Direction of the layer's weights.
    c : ndarray of shape (n_out,), optional
        Direction of the layer's biases, zero by default.
    dx : ndarray of shape (n, n_in), optional
        Derivative of x in the same direction, zero by default, as in a network's first layer.
    w : ndarray of shape (n_in, n_out), optional
        The layer's weights; required with dx, and not allowed without it.
    y : ndarray of shape (n, n_out), optional
        The layer's outputs, from which f' is evaluated; required unless f is the identity.
    activation : str or (str, float)
        The function f, as in `activation`. Functions in `INPUT_DERIVATIVES` raise ``ValueError``: use "identity", then
        `activation_backward` with the result and f's input.
    out : ndarray of shape (n, n_out), optional
        Receives the result; it must not overlap the inputs.
    precision : {"float32", "high", "tf32", "bfloat16"}
        As in `matmul`.

    Returns
    -------
    ndarray of shape (n, n_out)
        The derivative of the layer's outputs.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import kernels as K
    >>> x, w, v = np.array([[1.0, 2.0]]), np.array([[0.5], [-0.25]]), np.array([[1.0], [1.0]])
    >>> y = K.linear(x, w, activation="tanh")
    >>> K.linear_tangent(x, v, y=y, activation="tanh")  # tanh'(0) (1 + 2)
    array([[3.]])
    """
    return backend_of(x).linear_tangent(
        x, v, c, dx, w, y=y, activation=activation, out=out, precision=precision
    )
