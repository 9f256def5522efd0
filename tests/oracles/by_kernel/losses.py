"""Registry of pointwise losses: formulas, derivatives and error bounds for all tests of losses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .activations import sigmoid
from .arrays import f64, row_weights
from .rounding import eps, sum_over_rows, tiny


@dataclass(frozen=True)
class Targets:
    """Targets of one kind: random ones, ones that scores predict, and ones to test with extreme predictions."""

    draw: Callable[..., Any]
    of_score: Callable[..., Any]
    extreme: tuple[float, ...] = (0.0, 3.0, 1e3)


REAL = Targets(
    lambda rng, shape: rng.standard_normal(shape),
    lambda rng, score: score + 0.1 * rng.standard_normal(score.shape),
)
SIGNS = Targets(
    lambda rng, shape: rng.choice([-1.0, 1.0], shape),
    lambda rng, score: np.where(score > 0, 1.0, -1.0),
    (-1.0, 1.0),
)
PROBABILITIES = Targets(
    lambda rng, shape: np.where(rng.random(shape) < 0.3, rng.random(shape), rng.integers(0, 2, shape)),
    lambda rng, score: score > 0,
    (0.0, 1.0, 0.25),
)
COUNTS = Targets(lambda rng, shape: rng.poisson(2.0, shape).astype(np.float64), lambda rng, score: score > 0)


def _wrong_share(z, t):
    """Target probability of the label that the sign of the logit z does not predict."""
    return np.where(z > 0, 1.0 - t, t)


def _product(a, b):
    """a * b, with 0 * inf = 0."""
    return np.where(a == 0, 0.0 * np.nan_to_num(b, nan=np.nan), a * b)


def _relative_error(z, t, v, d, parameter):
    """Sums of positive terms, products and exponentials have a relative error of a few ulp."""
    return 6.0 * v, 4.0 * d


def _squared_insensitive_error(z, t, v, d, epsilon):
    excess = np.sqrt(v)
    derivative = 4.0 * np.where(v > 0, excess + epsilon, 0.0)
    return 4.0 * excess * (excess + epsilon) + 2.0 * v, derivative


def _margin_error(z, t, v, d, parameter):
    """The margin 1 - t z of targets ±1 is rounded once and keeps its sign."""
    margin, product = np.sqrt(v), np.abs(t * z)
    derivative = np.where(v > 0, 4.0 * (1.0 + product), 0.0) + 2.0 * d
    return 4.0 * margin * (1.0 + product) + 2.0 * v, derivative


@dataclass(frozen=True)
class PointwiseLoss:
    """Formulas and error bounds of a loss l(z, t, parameter).

    Attributes
    ----------
    value, derivative : callable
        l and its derivative with respect to z, which is 0 at a kink.
    targets : Targets
        Kind of the targets.
    parameter, others : float or None, tuple of float
        Parameter in tests of linear models, and further parameters in tests of the loss beside its default.
    error : callable
        Error bounds of l and l' in units of eps, from z, t, abs(l), abs(l'), parameter.
    far : float
        Distance of one row's predictions from 0, in standard deviations.
    """

    value: Callable[..., Any]
    derivative: Callable[..., Any]
    targets: Targets = REAL
    parameter: float | None = None
    others: tuple[float, ...] = ()
    error: Callable[..., tuple] = _relative_error
    far: float = 1e3


def _log_cosh(e):
    size = np.abs(e)
    near = np.log1p(2.0 * np.sinh(0.5 * np.minimum(size, 1.0)) ** 2)
    return np.where(size < 1.0, near, size + np.log1p(np.exp(-2.0 * size)) - np.log(2.0))


# kept by hand: formulas that are independent of the kernels
POINTWISE_LOSSES = {
    "squared_error": PointwiseLoss(lambda z, t, _: (z - t) ** 2, lambda z, t, _: 2.0 * (z - t)),
    "absolute_error": PointwiseLoss(lambda z, t, _: np.abs(z - t), lambda z, t, _: np.sign(z - t)),
    "huber": PointwiseLoss(
        lambda z, t, c: np.where(np.abs(z - t) <= c, 0.5 * (z - t) ** 2, c * (np.abs(z - t) - 0.5 * c)),
        lambda z, t, c: np.clip(z - t, -c, c),
        parameter=0.5,
        others=(0.3, 2.5),
    ),
    "log_cosh": PointwiseLoss(lambda z, t, _: _log_cosh(z - t), lambda z, t, _: np.tanh(z - t)),
    "quantile": PointwiseLoss(
        lambda z, t, q: np.where(z > t, (1.0 - q) * (z - t), q * (t - z)),
        lambda z, t, q: np.sign(z - t) * np.where(z > t, 1.0 - q, q),
        parameter=0.3,
        others=(0.1, 0.75),
    ),
    "epsilon_insensitive": PointwiseLoss(
        lambda z, t, c: np.maximum(0.0, np.abs(z - t) - c),
        lambda z, t, c: np.sign(z - t) * np.heaviside(np.abs(z - t) - c, 0.0),
        parameter=0.1,
        others=(0.5,),
        # |z - t| is rounded, and so is |z - t| - epsilon.
        error=lambda z, t, v, d, c: (np.where(v > 0, 2.0 * (v + c), 0.0), d),
    ),
    "squared_epsilon_insensitive": PointwiseLoss(
        lambda z, t, c: np.maximum(0.0, np.abs(z - t) - c) ** 2,
        lambda z, t, c: 2.0 * np.sign(z - t) * np.maximum(0.0, np.abs(z - t) - c),
        parameter=0.1,
        error=_squared_insensitive_error,
    ),
    # log(1 + exp(z)) - t z, in the form that does not cancel.
    "log_loss": PointwiseLoss(
        lambda z, t, _: _product(_wrong_share(z, t), np.abs(z)) + np.log1p(np.exp(-np.abs(z))),
        lambda z, t, _: np.where(z > 0, 1.0, -1.0) * (_wrong_share(z, t) - sigmoid(-np.abs(z))),
        PROBABILITIES,
        # exp and log1p are within 2 ulp each; the derivative is sigmoid(z) - t.
        error=lambda z, t, v, d, _: (8.0 * v, 6.0 * (_wrong_share(z, t) + np.exp(-np.abs(z)))),
    ),
    "hinge": PointwiseLoss(
        lambda z, t, margin: np.maximum(0.0, margin - t * z),
        lambda z, t, margin: -t * np.heaviside(margin - t * z, 0.0),
        SIGNS,
        parameter=1.0,
        others=(0.0, 0.5),
        error=lambda z, t, v, d, margin: (
            np.where(v > 0, 2.0 * (abs(margin) + np.abs(t * z)), 0.0),
            d,
        ),
    ),
    "squared_hinge": PointwiseLoss(
        lambda z, t, _: np.maximum(0.0, 1.0 - t * z) ** 2,
        lambda z, t, _: -2.0 * t * np.maximum(0.0, 1.0 - t * z),
        SIGNS,
        error=_margin_error,
    ),
    "modified_huber": PointwiseLoss(
        lambda z, t, _: np.where(t * z >= -1.0, np.maximum(0.0, 1.0 - t * z) ** 2, -4.0 * t * z),
        lambda z, t, _: np.where(t * z >= -1.0, -2.0 * t * np.maximum(0.0, 1.0 - t * z), -4.0 * t),
        SIGNS,
        error=_margin_error,
    ),
    "exponential": PointwiseLoss(
        lambda z, t, _: np.exp(-t * z), lambda z, t, _: -t * np.exp(-t * z), SIGNS, far=10.0
    ),
    "poisson": PointwiseLoss(
        lambda z, t, _: np.where(z == np.inf, np.inf, np.exp(z) - _product(t, z)),
        lambda z, t, _: np.exp(z) - t,
        COUNTS,
        error=lambda z, t, v, d, _: (4.0 * (np.exp(z) + np.abs(t * z)), 4.0 * (np.exp(z) + np.abs(t))),
        far=10.0,
    ),
}


def pointwise_items(name, z, t, parameter=None):
    """(l, dl/dz) of every prediction."""
    entry = POINTWISE_LOSSES[name]
    with np.errstate(all="ignore"):
        return tuple(f(f64(z), f64(t), parameter) for f in (entry.value, entry.derivative))


def gaussian_items(prediction, target):
    """(l, (dl/dmu, dl/ds)) of every target t, for predictions (mu, s): l = (s + (t - mu)^2 exp(-s)) / 2."""
    t = f64(target)
    mu, s = np.split(f64(prediction), 2, axis=1)
    with np.errstate(all="ignore"):
        square = np.where(t == mu, 0.0, (t - mu) ** 2 * np.exp(-s))
        slope = np.where(t == mu, 0.0, (mu - t) * np.exp(-s))
        return 0.5 * (s + square), np.concatenate([slope, 0.5 * (1.0 - square)], axis=1)


def mean_of_items(value, derivative, sample_weight=None, reduction="mean"):
    """(loss, gradient): the mean or sum over outputs, then the weighted mean over rows."""
    n, m = value.shape
    w = row_weights(n, sample_weight)[:, None] / (m if reduction == "mean" else 1)
    counted = w[:, 0] > 0  # rows of weight 0 may contain NaN
    gradient = np.zeros_like(derivative)
    gradient[counted] = (w * derivative)[counted]
    return (w * value)[counted].sum(), gradient


def pointwise_loss(name, prediction, target, sample_weight=None, parameter=None, reduction="mean"):
    """(loss, gradient) of the loss `name` of `POINTWISE_LOSSES`."""
    items = pointwise_items(name, prediction, target, parameter)
    with np.errstate(invalid="ignore"):
        return mean_of_items(*items, sample_weight, reduction)


def gaussian(prediction, target, sample_weight=None, reduction="mean"):
    """(loss, gradient) of the Gaussian negative log-likelihood with predicted means and log-variances."""
    with np.errstate(invalid="ignore"):
        return mean_of_items(*gaussian_items(prediction, target), sample_weight, reduction)


def squared_error(prediction, target, sample_weight=None, half=False):
    """(weighted mean over rows of the mean over columns of (p - t)^2, gradient)."""
    p, t = f64(prediction), f64(target)
    n, m = p.shape
    s = 0.5 if half else 1.0
    w = row_weights(n, sample_weight)
    r = np.where(w[:, None] > 0, p - t, 0.0)  # rows of weight 0 may contain NaN
    return s * (w * (r * r).mean(axis=1)).sum(), s * 2.0 / m * w[:, None] * r


def mean_of_items_tolerance(dtype, value, derivative, value_error, derivative_error, w, reduction="mean"):
    """(loss, gradient): weighted errors of the items; weight and scale are rounded, sums are in float64."""
    m = value.shape[1]
    w = w[:, None] / (m if reduction == "mean" else 1)
    with np.errstate(invalid="ignore"):
        loss = float(np.nan_to_num(w * np.abs(value), posinf=0.0).sum())
        error = float(np.nan_to_num(w * (value_error + 2.0 * np.abs(value)), posinf=0.0).sum())
        gradient = np.nan_to_num(_repeat(w, derivative) * np.abs(derivative), posinf=0.0)
        gradient_error = np.nan_to_num(_repeat(w, derivative) * derivative_error, posinf=0.0) + 4.0 * gradient
    floor = tiny(dtype) * (1.0 + float(w.sum()))
    return (
        eps(dtype) * error + sum_over_rows(w, loss) + floor,
        eps(dtype) * gradient_error + sum_over_rows(w, gradient) + floor,
    )


def _repeat(w, like):
    return np.broadcast_to(w, like.shape)


def pointwise_loss_tolerance(
    dtype, name, prediction, target, w, value, derivative, parameter=None, reduction="mean"
):
    """(loss, gradient) for row weights w that sum to 1, given the items' values and derivatives."""
    with np.errstate(all="ignore"):
        errors = POINTWISE_LOSSES[name].error(
            f64(prediction), f64(target), np.abs(value), np.abs(derivative), parameter
        )
    return mean_of_items_tolerance(dtype, value, derivative, *errors, w, reduction)


def gaussian_tolerance(dtype, prediction, target, w, value, derivative, reduction="mean"):
    """q = (mu - t) exp(-s/2) has 3 relative rounding errors, q² twice as many; s + q² may cancel."""
    _, s = np.split(f64(prediction), 2, axis=1)
    d_mean, d_log_variance = np.split(derivative, 2, axis=1)
    square = np.abs(1.0 - 2.0 * d_log_variance)
    errors = np.concatenate([10.0 * np.abs(d_mean), 1.0 + 5.0 * square], axis=1)
    return mean_of_items_tolerance(dtype, value, derivative, np.abs(s) + 5.0 * square, errors, w, reduction)


def _pointwise_loss(name, **options):
    def make(m):
        args = (m.normal(m.n, m.k), m.positive(m.n, m.k), m.positive(m.n))
        return m.case(name, args, {"loss": m.scalar(), "d_prediction": m.empty(m.n, m.k)}, **options)

    return make


def _gaussian(m):
    args = (m.normal(m.n, 2 * m.k), m.normal(m.n, m.k), m.positive(m.n))
    return m.case("gaussian", args, {"loss": m.scalar(), "d_prediction": m.empty(m.n, 2 * m.k)})


CASES = {
    **{
        name: _pointwise_loss(name, **({"half": True} if name == "squared_error" else {"reduction": "sum"}))
        for name in POINTWISE_LOSSES
    },
    "gaussian": _gaussian,
}
