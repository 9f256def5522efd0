"""Initial weights of linear layers, drawn from Philox4x32-10: the same for a seed on every device."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

import numpy as np
from scipy.special import ndtri

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.memory import assign


def _glorot(n_in: int, n_out: int) -> float:
    return 2.0 / (n_in + n_out)


def _he(n_in: int, n_out: int) -> float:
    return 2.0 / n_in


def _lecun(n_in: int, n_out: int) -> float:
    return 1.0 / n_in


# Name -> variance of the initial weights, which keeps that of the signal from layer to layer.
_VARIANCES: dict[str, Callable[[int, int], float]] = {"glorot": _glorot, "he": _he, "lecun": _lecun}

# What `Linear` takes for `init`, besides the half-width of a uniform distribution.
Initializer: TypeAlias = Literal[
    "glorot_uniform",
    "glorot_normal",
    "he_uniform",
    "he_normal",
    "lecun_uniform",
    "lecun_normal",
    "orthogonal",
]
INITIALIZERS: tuple[str, ...] = get_args(Initializer)


def check_initializer(layer: str, init: object) -> None:
    """Raise ValueError unless a layer can take this as `init`."""
    if isinstance(init, str):
        if init not in INITIALIZERS:
            raise ValueError(f"[{layer}] init {init!r} is not one of {', '.join(INITIALIZERS)}, nor a number")
    elif not (isinstance(init, (int, float)) and math.isfinite(init) and init >= 0):
        raise ValueError(f"[{layer}] init must be finite and not negative, got {init}")


def initialize(weight: Array, init: str | float, *, seed: int, stream: int) -> None:
    """Draw the initial values of a weight matrix, or of the weights of a window, in place.

    Parameters
    ----------
    weight : contiguous ndarray of shape (n_in, n_out), or (taps, ..., channels in, channels out)
        Receives the values, on its device. A window of t taps has t times as many inputs and outputs as channels.
    init : str or float
        As `Linear` takes it.
    seed, stream : int
        Of the random numbers.
    """
    taps = math.prod(weight.shape[:-2])
    fans = taps * weight.shape[-2], taps * weight.shape[-1]
    weight = weight.reshape(fans[0], -1)
    if not isinstance(init, str):
        return _draw_uniform(weight, float(init), seed, stream)
    if init == "orthogonal":
        return assign(weight, _orthogonal(weight.shape, seed, stream))
    name, _, shape = init.rpartition("_")
    variance = _VARIANCES[name](*fans)
    if shape == "uniform":
        return _draw_uniform(weight, math.sqrt(3.0 * variance), seed, stream)
    return assign(weight, math.sqrt(variance) * _standard_normal(weight.shape, seed, stream))


def _draw_uniform(weight: Array, bound: float, seed: int, stream: int) -> None:
    K.random_uniform(
        weight.shape, -bound, bound, seed=seed, stream=stream, dtype=weight.dtype.name, out=weight
    )


def _standard_normal(shape: tuple[int, ...], seed: int, stream: int) -> Array:
    """Return normal numbers in float64, by inverting their distribution function on the host."""
    uniform = K.random_uniform(shape, seed=seed, stream=stream, dtype="float64")
    # Half a step of their grid keeps 0, whose quantile is infinite, away.
    normal: Array = ndtri(uniform + 2.0**-54)
    return normal


def _orthogonal(shape: tuple[int, ...], seed: int, stream: int) -> Array:
    """Return a matrix with orthonormal rows or columns, whichever are fewer, uniform among them.

    The signs of R's diagonal make the factor unique, and with it uniformly distributed: F. Mezzadri, "How to generate
    random matrices from the classical compact groups", Notices of the AMS 54, 2007.
    """
    normal = _standard_normal(shape, seed, stream)
    wide = shape[0] < shape[1]
    q, r = np.linalg.qr(normal.T if wide else normal)
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)
    return q.T if wide else q
