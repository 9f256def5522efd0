"""Activation functions by name, from the registry in ``csrc/common/activations.h``, and rectifiers with learned slopes.

`activation_functions` has a function of its own for each name.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from steepest import _cpu
from steepest._runtime.arrays import Activation, Array
from steepest._runtime.backends import backend_of

__all__ = [
    "ACTIVATIONS",
    "ACTIVATION_PARAMETERS",
    "INPUT_DERIVATIVES",
    "activation",
    "activation_backward",
    "prelu",
    "prelu_backward",
]

ACTIVATIONS: tuple[str, ...] = tuple(entry["name"] for entry in _cpu.ACTIVATIONS)
"""The names of all activation functions."""

INPUT_DERIVATIVES: tuple[str, ...] = tuple(entry["name"] for entry in _cpu.ACTIVATIONS if entry["at_input"])
"""Activations whose derivative does not follow from the output: `activation_backward` evaluates it at the input."""

ACTIVATION_PARAMETERS: Mapping[str, tuple[str, float]] = MappingProxyType(
    {
        entry["name"]: (entry["parameter"], entry["default"])
        for entry in _cpu.ACTIVATIONS
        if entry["parameter"]
    }
)
"""Activations with a parameter: name of the activation -> name and default of its parameter."""


def activation(x: Array, activation: Activation = "relu", out: Array | None = None) -> Array:
    """Return f(x), item by item.

    Parameters
    ----------
    x : ndarray
        Input, of at most 2 dimensions or contiguous.
    activation : str or (str, float)
        Name of the function f, one of `ACTIVATIONS`. For functions in `ACTIVATION_PARAMETERS`, a pair of the name and
        the parameter, which must be finite and not negative.
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
        The function's output; for functions in `INPUT_DERIVATIVES`, its *input*.
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


def prelu(x: Array, slope: Array, out: Array | None = None) -> Array:
    """Return x where x > 0, else slope * x: the parametric ReLU, whose slopes are learned.

    K. He et al. introduced it [1]_.

    Parameters
    ----------
    x : ndarray of shape (n, m)
        Values.
    slope : ndarray of shape (m,) or (1,)
        A slope for each column, or one for all columns; a slope may have any sign.
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
    """Return the gradients of `prelu`, evaluated at its input.

    ``d_x = where(x > 0, d_y, slope * d_y)``, and d_slope is the sum of ``d_y * x`` over the items with ``x <= 0``, for
    each column or, with one slope, over all items. Sums are accumulated in float64, in an order that depends on the
    shape alone.

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
