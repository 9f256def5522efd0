"""Activation functions, from the registry in ``csrc/common/activations.h``."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from steepest import _cpu
from steepest._runtime.arrays import Array
from steepest._runtime.backends import backend_of
from steepest.kernels._types import Activation

ACTIVATIONS: tuple[str, ...] = _cpu.ACTIVATIONS
"""The names of all activation functions."""

INPUT_DERIVATIVES: tuple[str, ...] = _cpu.INPUT_DERIVATIVES
"""Those whose derivative does not follow from the output: `activation_backward` takes it at the input."""

ACTIVATION_PARAMETERS: Mapping[str, tuple[str, float]] = MappingProxyType(_cpu.ACTIVATION_PARAMETERS)
"""Those that have a parameter, with its name and its default."""


def activation(x: Array, activation: Activation = "relu", out: Array | None = None) -> Array:
    """Return f(x), item by item.

    Parameters
    ----------
    x : ndarray
        Of at most 2 dimensions, or contiguous.
    activation : str or (str, float)
        The function f, one of `ACTIVATIONS`; for those in `ACTIVATION_PARAMETERS`, a pair gives the parameter too,
        which must be finite and not negative.
    out : ndarray of x's shape, optional
        Receives the result; it may be x.

    Returns
    -------
    ndarray of x's shape
        The values.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(x).activation(x, activation, out)


def activation_backward(
    d_y: Array, y: Array, activation: Activation = "relu", out: Array | None = None
) -> Array:
    """Return ``d_y * f'``, with the derivative evaluated from the function's output ``y = f(x)``.

    Parameters
    ----------
    d_y : ndarray
        Gradient of the loss with respect to y.
    y : ndarray of d_y's shape
        The function's output; its *input* for those in `INPUT_DERIVATIVES`.
    activation : str or (str, float)
        The function f, as in `activation`.
    out : ndarray of y's shape, optional
        Receives the result; it may be d_y or y.

    Returns
    -------
    ndarray of y's shape
        Gradient of the loss with respect to x.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(d_y).activation_backward(d_y, y, activation, out)


def identity(x: Array, out: Array | None = None) -> Array:
    """Return x; see `activation`."""
    return backend_of(x).activation(x, "identity", out)


def relu(x: Array, out: Array | None = None) -> Array:
    """Return max(x, 0), whose derivative at 0 is taken as 0; see `activation`."""
    return backend_of(x).activation(x, "relu", out)


def leaky_relu(x: Array, slope: float = 0.01, out: Array | None = None) -> Array:
    """Return x where x > 0, else slope * x (A. L. Maas, A. Y. Hannun, A. Y. Ng, ICML 2013); see `activation`."""
    return backend_of(x).activation(x, ("leaky_relu", slope), out)


def elu(x: Array, alpha: float = 1.0, out: Array | None = None) -> Array:
    """Return x where x > 0, else alpha * (exp(x) - 1) (D.-A. Clevert et al., ICLR 2016); see `activation`."""
    return backend_of(x).activation(x, ("elu", alpha), out)


def sigmoid(x: Array, out: Array | None = None) -> Array:
    """Return 1 / (1 + exp(-x)); see `activation`."""
    return backend_of(x).activation(x, "sigmoid", out)


def hard_sigmoid(x: Array, out: Array | None = None) -> Array:
    """Return (x + 3) / 6 between 0 and 1, with a derivative of 0 at the ends; see `activation`."""
    return backend_of(x).activation(x, "hard_sigmoid", out)


def tanh(x: Array, out: Array | None = None) -> Array:
    """Return the hyperbolic tangent of x; see `activation`."""
    return backend_of(x).activation(x, "tanh", out)


def softplus(x: Array, out: Array | None = None) -> Array:
    """Return log(1 + exp(x)); see `activation`."""
    return backend_of(x).activation(x, "softplus", out)


def gelu(x: Array, out: Array | None = None) -> Array:
    """Return x Phi(x), Phi being the standard normal distribution function, without approximation; see `activation`.

    Source: D. Hendrycks, K. Gimpel, "Gaussian error linear units (GELUs)", 2016.
    """
    return backend_of(x).activation(x, "gelu", out)


def silu(x: Array, out: Array | None = None) -> Array:
    """Return x / (1 + exp(-x)), also known as swish (S. Elfwing et al., 2018); see `activation`."""
    return backend_of(x).activation(x, "silu", out)


def prelu(x: Array, slope: Array, out: Array | None = None) -> Array:
    """Return x where x > 0, else slope * x, with slopes that are learned.

    The rectifier of K. He et al. [1]_.

    Parameters
    ----------
    x : ndarray of shape (n, m)
        Values.
    slope : ndarray of shape (m,) or (1,)
        A slope for each column, or one for all. It may have any sign.
    out : ndarray of shape (n, m), optional
        Receives the result; it may be x.

    Returns
    -------
    ndarray of shape (n, m)
        The values.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.

    References
    ----------
    .. [1] K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers", ICCV 2015.
    """
    return backend_of(x).prelu(x, slope, out)


def prelu_backward(
    d_y: Array, x: Array, slope: Array, d_x: Array | None = None, d_slope: Array | None = None
) -> tuple[Array, Array]:
    """Return the gradients of `prelu`, taken at its input.

    ``d_x = where(x > 0, d_y, slope * d_y)``, and d_slope is the sum of ``d_y * x`` over the items with ``x <= 0``, down
    each column or over all. Sums are accumulated in float64, in an order that depends on the shape alone.

    Parameters
    ----------
    d_y : ndarray of shape (n, m)
        Gradient of the loss with respect to the output.
    x : ndarray of shape (n, m)
        The input.
    slope : ndarray of shape (m,) or (1,)
        The slopes.
    d_x : ndarray of shape (n, m), optional
        Receives the gradient with respect to x; it may be d_y or x.
    d_slope : ndarray of slope's shape, optional
        Receives the gradient with respect to the slopes.

    Returns
    -------
    d_x : ndarray of shape (n, m)
        Gradient of the loss with respect to x.
    d_slope : ndarray of slope's shape
        Gradient of the loss with respect to the slopes.

    Raises
    ------
    TypeError, ValueError
        See the package's conventions.
    """
    return backend_of(d_y).prelu_backward(d_y, x, slope, d_x, d_slope)
