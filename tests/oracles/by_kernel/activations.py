"""Registry of activations: formulas, derivatives and error bounds for all tests and benchmarks of activations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from .arrays import F64, f64
from .rounding import absolute, eps, tiny

Line = tuple[float, float]
LOG2 = float(np.log(2.0))


def sigmoid(x):
    # Two branches, so that exp never overflows.
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1.0 + e)


def _times_exp(a, x):
    """a * exp(x) for x <= 0, accurate even where exp(x) alone underflows; 0 at -inf."""
    root = np.exp(0.5 * x)
    return np.where(x == -np.inf, 0.0, a * root * root)


def _gelu(x):
    # x Phi(x); for x < 0 from erfcx(z) = exp(z**2) erfc(z), which does not underflow.
    below = _times_exp(0.5 * x * special.erfcx(-x / np.sqrt(2.0)), -0.5 * x * x)
    return np.where(x < 0, below, x * special.ndtr(x))


def _gelu_derivative(x):
    # Phi(x) + x phi(x)
    ratio = 0.5 * special.erfcx(np.abs(x) / np.sqrt(2.0))
    below = _times_exp(ratio - np.abs(x) / np.sqrt(2.0 * np.pi), -0.5 * x * x)
    return np.where(x < 0, below, 1.0 - below)


def _twice_u(x):
    """2 u = 2 sqrt(2 / pi) (x + 0.044715 x**3)."""
    return 2.0 * np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)


def _gelu_tanh(x):
    # x (1 + tanh(u)) / 2 = x / (1 + exp(-2 u)); beyond |x| = 40 the tail is 0.
    near = np.clip(x, -40.0, 40.0)
    e = np.exp(-np.abs(_twice_u(near)))
    return np.where(x < 0, _times_exp(near / (1.0 + e), -np.abs(_twice_u(near))), x / (1.0 + e))


def _gelu_tanh_derivative(x):
    # s + x s (1 - s) d(2 u) / dx, s = sigmoid(2 u); 1 - f'(|x|) for negative x
    near = np.clip(np.abs(x), 0.0, 40.0)
    s = sigmoid(_twice_u(near))
    slope = 2.0 * np.sqrt(2.0 / np.pi) * (1.0 + 3 * 0.044715 * near**2)
    below = _times_exp(s - near * s * s * slope, -_twice_u(near))
    return np.where(x < 0, below, np.where(np.isnan(x), x, 1.0 - below))


def _silu(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, _times_exp(x / (1.0 + e), -np.abs(x)), x / (1.0 + e))


def _silu_derivative(x):
    # s + x s (1 - s), s = sigmoid(x)
    s = sigmoid(np.abs(x))
    below = _times_exp(s - np.abs(x) * s * s, -np.abs(x))
    return np.where(x < 0, below, 1.0 - below)


def _mish(x):
    # For x < -40, tanh(log(1 + exp(x))) equals exp(x) to a relative 1e-17.
    with np.errstate(all="ignore"):
        return np.where(x < -40, _times_exp(x, np.minimum(x, 0.0)), x * np.tanh(np.logaddexp(0.0, x)))


def _mish_derivative(x):
    # t + x s (1 - t**2)
    t = np.tanh(np.logaddexp(0.0, x))
    near = (
        t + np.clip(x, -40.0, 800.0) * sigmoid(x) * np.cosh(np.minimum(np.logaddexp(0.0, x), 300.0)) ** -2.0
    )
    return np.where(x < -40, _times_exp(1.0 + x, np.minimum(x, 0.0)), near)


def _one_and_square(y, derivative, parameter):
    return 1.0 + np.minimum(np.abs(y) ** 2, 1.0)


@dataclass(frozen=True)
class Activation:
    """Formulas and error bounds of an activation f. All functions take its parameter, or None, as last argument.

    Attributes
    ----------
    value, derivative : callable
        f(x), and f' as a function of the output y, or of the input x where `at_input` is set.
    lines : four pairs (a, b)
        Asymptotes: f(x) = a + b x to within 0.01 float32 ulp for x below -2**7, in [-2**-31, 0], in [0, 2**-31],
        and above 2**7.
    lipschitz : callable
        Lipschitz constant of f: the maximum of \\|f'\\|.
    parameter, others : float or None, tuple of float
        The default of the parameter, and other values that the tests try.
    exact : callable or None
        f(mp, x) at the default parameter, in mpmath; None where f is a single product.
    derivative_roundings, derivative_size : float, callable or None
        Error bound of f': `derivative_roundings` · eps · `derivative_size`. The size is the sum of the magnitudes of
        the terms of f', a function of the point, f' and the parameter.
    exponent : callable or None
        For a tail that is an exponential of a rounded number: a bound of the error of this number in the oracle, in
        float64 eps, as a function of min(\\|x\\|, 40).
    """

    value: Callable[..., Any]
    derivative: Callable[..., Any]
    lines: tuple[Line, Line, Line, Line]
    lipschitz: Callable[..., float] = lambda _: 1.0
    at_input: bool = False
    parameter: float | None = None
    others: tuple[float, ...] = ()
    exact: Callable[..., Any] | None = None
    derivative_roundings: float = 2.0
    derivative_size: Callable[..., Any] = lambda at, derivative, _: np.abs(derivative)
    exponent: Callable[..., Any] | None = None

    @property
    def keeps_signs_of_zeros(self):
        """Whether f(0) = 0 and f is a multiple of x on either side of 0."""
        return all(a == 0 and b != 0 for a, b in self.lines[1:3])


# kept by hand: formulas that are independent of the kernels
ACTIVATIONS = {
    "identity": Activation(
        lambda x, _: x.copy(), lambda y, _: np.ones_like(y), lines=((0, 1), (0, 1), (0, 1), (0, 1))
    ),
    "relu": Activation(
        lambda x, _: np.where(np.isnan(x), x, np.maximum(x, 0.0)),
        lambda y, _: (y > 0).astype(F64),
        lines=((0, 0), (0, 0), (0, 1), (0, 1)),
    ),
    "leaky_relu": Activation(
        lambda x, slope: np.where(x > 0, x, slope * x),
        lambda y, slope: np.where(y > 0, 1.0, slope),
        lines=((0, 0.01), (0, 0.01), (0, 1), (0, 1)),
        lipschitz=lambda slope: max(1.0, slope),
        parameter=0.01,
        others=(0.3, 0.0, 2.5),
    ),
    "elu": Activation(
        lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(x)),
        lambda y, alpha: np.where(y > 0, 1.0, y + alpha),
        lines=((-1, 0), (0, 1), (0, 1), (0, 1)),
        lipschitz=lambda alpha: max(1.0, alpha),
        parameter=1.0,
        others=(0.4, 0.0, 3.0),
        exact=lambda mp, x: x if x > 0 else mp.expm1(x),
        derivative_size=lambda y, _, alpha: np.where(y > 0, 1.0, np.minimum(np.abs(y), alpha) + alpha),
    ),
    "sigmoid": Activation(
        lambda x, _: sigmoid(x),
        lambda y, _: y * (1.0 - y),
        lines=((0, 0), (0.5, 0), (0.5, 0), (1, 0)),
        lipschitz=lambda _: 0.25,
        exact=lambda mp, x: 1 / (1 + mp.exp(-x)),
        derivative_size=_one_and_square,
    ),
    "hard_sigmoid": Activation(
        lambda x, _: np.clip((x + 3.0) / 6.0, 0.0, 1.0),
        lambda y, _: np.where((y > 0) & (y < 1), 1.0 / 6.0, 0.0),
        lines=((0, 0), (0.5, 0), (0.5, 0), (1, 0)),
        lipschitz=lambda _: 1.0 / 6.0,
        exact=lambda mp, x: min(max((x + 3) / 6, mp.mpf(0)), mp.mpf(1)),
    ),
    "tanh": Activation(
        lambda x, _: np.tanh(x),
        lambda y, _: 1.0 - y * y,
        lines=((-1, 0), (0, 1), (0, 1), (1, 0)),
        exact=lambda mp, x: mp.tanh(x),
        derivative_size=_one_and_square,
    ),
    "softplus": Activation(
        lambda x, _: np.logaddexp(0.0, x),
        lambda y, _: -np.expm1(-y),
        lines=((0, 0), (LOG2, 0), (LOG2, 0), (0, 1)),
        exact=lambda mp, x: mp.log1p(mp.exp(x)),
        derivative_roundings=4.0,
    ),
    # The derivatives of gelu, gelu_tanh and silu multiply a rational function by an exponential within 4 ulp.
    "gelu": Activation(
        lambda x, _: _gelu(x),
        lambda x, _: _gelu_derivative(x),
        lines=((0, 0), (0, 0.5), (0, 0.5), (0, 1)),
        lipschitz=lambda _: 1.13,
        at_input=True,
        exact=lambda mp, x: x * mp.erfc(-x / mp.sqrt(2)) / 2,
        derivative_roundings=8.0,
        derivative_size=lambda x, *_: (1.0 + _size(x)) * np.exp(-0.5 * _size(x) ** 2) + (x > 0),
        exponent=lambda size: size**2,
    ),
    "gelu_tanh": Activation(
        lambda x, _: _gelu_tanh(x),
        lambda x, _: _gelu_tanh_derivative(x),
        lines=((0, 0), (0, 0.5), (0, 0.5), (0, 1)),
        lipschitz=lambda _: 1.13,
        at_input=True,
        exact=lambda mp, x: x / (1 + mp.exp(-2 * mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3))),
        derivative_roundings=8.0,
        derivative_size=lambda x, *_: (
            (1.0 + 2 * _size(x) + _size(x) ** 3) * np.exp(-_twice_u(_size(x))) + (x > 0)
        ),
        exponent=lambda size: 3 * _twice_u(size),
    ),
    "silu": Activation(
        lambda x, _: _silu(x),
        lambda x, _: _silu_derivative(x),
        lines=((0, 0), (0, 0.5), (0, 0.5), (0, 1)),
        lipschitz=lambda _: 1.1,
        at_input=True,
        exact=lambda mp, x: x / (1 + mp.exp(-x)),
        derivative_roundings=8.0,
        derivative_size=lambda x, *_: (1.0 + _size(x)) * np.exp(-_size(x)) + (x > 0),
    ),
    "mish": Activation(
        lambda x, _: _mish(x),
        lambda x, _: _mish_derivative(x),
        lines=((0, 0), (0, 0.6), (0, 0.6), (0, 1)),
        lipschitz=lambda _: 1.09,
        at_input=True,
        exact=lambda mp, x: x * mp.tanh(mp.log1p(mp.exp(x))),
        derivative_roundings=8.0,
        derivative_size=lambda x, *_: (1.0 + _size(x)) * np.exp(-_size(x)) + (x > 0),
    ),
}


def split_activation(activation):
    """Return (name, parameter) for a name, with its default parameter, or for such a pair."""
    return activation if isinstance(activation, tuple) else (activation, ACTIVATIONS[activation].parameter)


def _value(x, activation):
    name, parameter = split_activation(activation)
    with np.errstate(all="ignore"):
        return ACTIVATIONS[name].value(f64(x), parameter)


def lipschitz(activation):
    """The largest |f'|."""
    name, parameter = split_activation(activation)
    return ACTIVATIONS[name].lipschitz(parameter)


def activation(x, activation="relu"):
    """f(x)."""
    return _value(x, activation)


def activation_backward(d_y, at, activation="relu"):
    """d_y * f', with f' evaluated at the output y = f(x), or at the input x for entries with `at_input`."""
    name, parameter = split_activation(activation)
    with np.errstate(all="ignore"):
        return f64(d_y) * ACTIVATIONS[name].derivative(f64(at), parameter)


def _size(x):
    """min(|x|, 40) in float64; beyond 40 the tails are 0."""
    return np.minimum(absolute(x), 40.0)


def _tail_error(x, name):
    """The relative error of the tail in the float64 arithmetic of the oracle, which rounds an exponent."""
    exponent = ACTIVATIONS[name].exponent
    return 0.0 if exponent is None else exponent(_size(x)) * eps(np.float64)


def activation_tolerance(dtype, x, y, name):
    """4 ulp, in the subnormal range too.

    gelu divides two polynomials with errors of 2 ulp each. So does the `erfcx` of its oracle, which rounds x**2 / 2.
    """
    tail = ACTIVATIONS[name].exponent
    oracle = _tail_error(x, name) + 8.0 * eps(np.float64) if tail else 0.0
    subnormal = float(np.finfo(dtype).smallest_subnormal)
    return (4.0 * eps(dtype) + oracle) * np.nan_to_num(absolute(y), posinf=0.0) + 4.0 * subnormal


def activation_backward_tolerance(dtype, d_y, at, derivative, name, parameter):
    """The error bound of f' from its entry (`derivative_roundings`, `derivative_size`), times |d_y|."""
    entry = ACTIVATIONS[name]
    with np.errstate(all="ignore"):
        magnitude = entry.derivative_size(f64(at), f64(derivative), parameter)
    relative = entry.derivative_roundings * eps(dtype) + _tail_error(at, name)
    return relative * absolute(d_y) * np.nan_to_num(magnitude) + tiny(dtype)


def _activation(m):
    return m.case("activation", (m.normal(m.n, m.k),), {"out": m.empty(m.n, m.k)}, activation="sigmoid")


def _activation_backward(m):
    args = (m.normal(m.n, m.k), m.positive(m.n, m.k))
    return m.case("activation_backward", args, {"out": m.empty(m.n, m.k)}, activation="tanh")


def _named(name):
    return lambda m: m.case(name, (m.normal(m.n, m.c),), {"out": m.empty(m.n, m.c)})


CASES = {
    "activation": _activation,
    "activation_backward": _activation_backward,
    **{name: _named(name) for name in ACTIVATIONS},
}
