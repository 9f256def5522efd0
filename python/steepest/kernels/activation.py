"""Activation functions, from the registry in ``csrc/common/activations.h``."""

from __future__ import annotations

from steepest import _cpu
from steepest._backends import backend_of
from steepest.kernels._types import Array

ACTIVATIONS: tuple[str, ...] = _cpu.ACTIVATIONS
"""The names of all activation functions."""


def activation(x: Array, activation: str = "relu", out: Array | None = None) -> Array:
    """Return f(x), item by item.

    Parameters
    ----------
    x : ndarray
        Of at most 2 dimensions, or contiguous.
    activation : str
        The function f, one of `ACTIVATIONS`.
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


def activation_backward(d_y: Array, y: Array, activation: str = "relu", out: Array | None = None) -> Array:
    """Return ``d_y * f'``, with the derivative evaluated from the function's output ``y = f(x)``.

    Parameters
    ----------
    d_y : ndarray
        Gradient of the loss with respect to y.
    y : ndarray of d_y's shape
        The function's output.
    activation : str
        The function f, one of `ACTIVATIONS`.
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


def sigmoid(x: Array, out: Array | None = None) -> Array:
    """Return 1 / (1 + exp(-x)); see `activation`."""
    return backend_of(x).activation(x, "sigmoid", out)


def tanh(x: Array, out: Array | None = None) -> Array:
    """Return the hyperbolic tangent of x; see `activation`."""
    return backend_of(x).activation(x, "tanh", out)
