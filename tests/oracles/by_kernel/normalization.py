"""Oracles of layer, RMS, group and batch norm, written from their definitions.

`kind` is "layer", "rms", "group" or "batch". Statistics have the shape that the kernels return: (rows,) for layer and
RMS norm, (samples, groups) for group norm, (channels,) for batch norm.
"""

from __future__ import annotations

import numpy as np

from .arrays import f64
from .rounding import absolute, eps, tiny

# Sums of at most so many items stay in the dtype before they go to a float64 total, on any instruction set.
RUN = 2048


def grouped(x, kind, groups=1):
    """X as (samples, places, groups, channels of a group): statistics are those over axes 1 and 3."""
    x = f64(x)
    c = x.shape[-1]
    if kind == "group":
        places = int(np.prod(x.shape[1:-1]))
        return x.reshape(x.shape[0], places, groups, c // groups)
    rows = int(np.prod(x.shape[:-1]))
    return x.reshape(1, rows, c, 1) if kind == "batch" else x.reshape(rows, 1, 1, c)


def group_count(kind, rstd):
    return rstd.shape[1] if kind == "group" else 1


def average(x):
    return x.mean(axis=(1, 3), keepdims=True)


def mean_of(x, kind):
    """The mean, whose rounding error is the mean of the deviations from it; 0 for RMS norm."""
    if kind == "rms":
        return np.zeros((x.shape[0], 1, 1, 1))
    mean = average(x)
    return mean + average(x - mean)


def channels(v, x, rest):
    """A weight or bias beside grouped items; `rest` if it is absent."""
    return np.full(x.shape[2:], rest) if v is None else f64(v).reshape(x.shape[2:])


def flat(statistics, kind):
    """Grouped statistics in the shape that the kernels return."""
    return statistics[:, 0, :, 0] if kind == "group" else statistics.ravel()


def beside(statistics, x):
    return f64(statistics).reshape(x.shape[0], 1, x.shape[2], 1)


def normalize(x, weight=None, bias=None, *, kind, groups=1, eps=1e-5):
    """(y, mean, rstd); the mean of RMS norm is 0."""
    with np.errstate(all="ignore"):
        g = grouped(x, kind, groups)
        mean = mean_of(g, kind)
        rstd = 1.0 / np.sqrt(average((g - mean) ** 2) + eps)
        y = (g - mean) * rstd * channels(weight, g, 1.0) + channels(bias, g, 0.0)
    return y.reshape(x.shape), flat(mean, kind), flat(rstd, kind)


def sum_factor(x):
    """Units of eps in a sum over a group: the probabilistic bound of `rounding.dot` for the longest run, and a few."""
    return 6.0 + 2.0 * np.sqrt(min(RUN, x.shape[1] * x.shape[3]))


def normalize_tolerance(dtype, x, weight=None, bias=None, *, kind, groups=1, epsilon=1e-5):
    """Deviations from a mean near theirs are exact to eps; sums of them and of their squares err by sum_factor eps.

    The result has the relative error of rstd, the error of the mean in units of the deviation, and its own rounding.
    Means are float64 numbers, here and in the oracle: some units of their rounding are in the result, and where blocks
    are merged in the deviation. The statistics are rounded to the dtype.
    """
    with np.errstate(all="ignore"):
        g = grouped(x, kind, groups)
        mean = mean_of(g, kind)
        variance = average((g - mean) ** 2)
        rstd = 1.0 / np.sqrt(variance + epsilon)
        units = sum_factor(g) * eps(dtype)
        of_float64 = 8.0 * eps(np.float64) * np.abs(mean) * rstd
        weights = absolute(channels(weight, g, 1.0))
        scaled = units * (np.abs(g - mean) + np.sqrt(variance)) * rstd
        merged = of_float64 * (1.0 + np.abs(g - mean) * rstd)
        y = weights * (scaled + merged) + 2.0 * eps(dtype) * absolute(channels(bias, g, 0.0)) + tiny(dtype)
        of_mean = (
            (eps(dtype) + 8.0 * eps(np.float64)) * np.abs(mean) + units * np.sqrt(variance) + tiny(dtype)
        )
        of_rstd = (units + of_float64) * rstd
    return y.reshape(x.shape), flat(of_mean, kind), flat(of_rstd, kind)


def normalize_backward(d_y, x, mean, rstd, weight=None, *, kind):
    """(d_x, d_weight, d_bias), with the statistics as they are given."""
    with np.errstate(all="ignore"):
        g = grouped(x, kind, group_count(kind, rstd))
        d = grouped(d_y, kind, group_count(kind, rstd))
        centre = 0.0 if kind == "rms" else beside(mean, g)
        r = beside(rstd, g)
        xh = (g - centre) * r
        u = d * channels(weight, g, 1.0)
        d_x = r * (u - (0.0 if kind == "rms" else average(u)) - xh * average(u * xh))
        d_weight, d_bias = ((a.reshape(-1, x.shape[-1])).sum(0) for a in (d * xh, d))
    return d_x.reshape(x.shape), d_weight, d_bias


def normalize_backward_tolerance(dtype, d_y, x, mean, rstd, weight=None, *, kind):
    """The averages err by sum_factor eps of their terms' magnitudes; products, differences and coefficients by 6 eps.

    Sums over channels run over at most 64 rows before they go to float64.
    """
    with np.errstate(all="ignore"):
        g = grouped(x, kind, group_count(kind, rstd))
        d = np.abs(grouped(d_y, kind, group_count(kind, rstd)))
        r = beside(rstd, g)
        xh = np.abs(g - (0.0 if kind == "rms" else beside(mean, g))) * r
        u = d * np.abs(channels(weight, g, 1.0))
        averages = (sum_factor(g) + 6.0) * (average(u) + xh * average(u * xh))
        d_x = eps(dtype) * r * (6.0 * u + averages) + tiny(dtype)
        rows = x.size // x.shape[-1]
        units = (6.0 + 2.0 * np.sqrt(min(64, rows))) * eps(dtype)
        sums = [units * a.reshape(-1, x.shape[-1]).sum(0) + tiny(dtype) for a in (d * xh, d)]
    return d_x.reshape(x.shape), *sums


def normalize_tangent(dx, x, mean, rstd, weight=None, d_weight=None, d_bias=None, *, kind):
    """The derivative of y along (dx, d_weight, d_bias)."""
    with np.errstate(all="ignore"):
        g = grouped(x, kind, group_count(kind, rstd))
        r = beside(rstd, g)
        xh = (g - (0.0 if kind == "rms" else beside(mean, g))) * r
        out = channels(d_weight, g, 0.0) * xh + channels(d_bias, g, 0.0)
        if dx is not None:
            d = grouped(dx, kind, group_count(kind, rstd))
            moved = r * (d - (0.0 if kind == "rms" else average(d)) - xh * average(d * xh))
            out = out + channels(weight, g, 1.0) * moved
    return out.reshape(x.shape)


def normalize_tangent_tolerance(dtype, dx, x, mean, rstd, weight=None, d_weight=None, d_bias=None, *, kind):
    """As for the gradient, with the weight outside, and roundings of the two other terms."""
    with np.errstate(all="ignore"):
        g = grouped(x, kind, group_count(kind, rstd))
        r = beside(rstd, g)
        xh = np.abs(g - (0.0 if kind == "rms" else beside(mean, g))) * r
        direct = np.abs(channels(d_weight, g, 0.0)) * xh + np.abs(channels(d_bias, g, 0.0))
        out = 6.0 * direct
        if dx is not None:
            d = np.abs(grouped(dx, kind, group_count(kind, rstd)))
            averages = (sum_factor(g) + 6.0) * (average(d) + xh * average(d * xh))
            out = out + np.abs(channels(weight, g, 1.0)) * r * (6.0 * d + averages)
    return eps(dtype) * out.reshape(x.shape) + tiny(dtype)


def batch_norm_inference(x, mean, var, weight=None, bias=None, *, eps=1e-5):
    """(x - mean) / sqrt(var + eps) * weight + bias."""
    x = f64(x)
    one = np.ones(x.shape[-1])
    scale = f64(one if weight is None else weight) / np.sqrt(f64(var) + eps)
    return (x - f64(mean)) * scale + (0.0 if bias is None else f64(bias))


def batch_norm_inference_tolerance(dtype, x, mean, var, weight=None, bias=None, *, epsilon=1e-5):
    """A difference, the scale, a product and a sum, each rounded."""
    one = np.ones(x.shape[-1])
    scale = absolute(one if weight is None else weight) / np.sqrt(f64(var) + epsilon)
    return (
        2.0 * eps(dtype) * (absolute(f64(x) - f64(mean)) * scale + (0.0 if bias is None else absolute(bias)))
    )


def running_statistics(x, mean, var, momentum):
    """The running mean and the running unbiased variance after a batch."""
    rows = f64(x).reshape(-1, x.shape[-1])
    batch = rows.mean(0), rows.var(0, ddof=1)
    return tuple(
        (1 - momentum) * f64(old) + momentum * new for old, new in zip((mean, var), batch, strict=True)
    )


def running_statistics_tolerance(dtype, x, mean, var):
    """Errors of the batch's statistics as in `normalize_tolerance`, and a rounding."""
    rows = f64(x).reshape(-1, x.shape[-1])
    units = sum_factor(rows[None, :, :, None]) * eps(dtype)
    deviation = rows.std(0, ddof=1)
    return (
        units * deviation + eps(dtype) * (absolute(mean) + absolute(rows.mean(0))),
        units * deviation**2 + eps(dtype) * absolute(var),
    )


# ---- Cases: the shape of x, the shape of the statistics, and positional arguments behind x.


def _shapes(m, kind):
    if kind == "group":
        return (m.n, 2, 2 * m.k), (m.n, m.k)
    return (m.n, m.k), (m.k,) if kind == "batch" else (m.n,)


def _names(kind):
    """Names of the statistics and of the parameters."""
    return (("rstd",), ("weight",)) if kind == "rms" else (("mean", "rstd"), ("weight", "bias"))


def _forward(kind):
    def make(m):
        shape, statistics = _shapes(m, kind)
        names, parameters = _names(kind)
        groups = (m.k,) if kind == "group" else ()
        outputs = {"out": m.empty(*shape), **{name: m.empty(*statistics) for name in names}}
        return m.case(
            f"{kind}_norm",
            (m.normal(*shape), *groups, *(m.normal(shape[-1]) for _ in parameters)),
            outputs,
        )

    return make


def _backward(kind):
    def make(m):
        shape, statistics = _shapes(m, kind)
        names, parameters = _names(kind)
        given = [m.positive(*statistics) for _ in names]
        outputs = {"d_x": m.empty(*shape), **{f"d_{name}": m.empty(shape[-1]) for name in parameters}}
        args = (m.normal(*shape), m.normal(*shape), *given, m.normal(shape[-1]))
        return m.case(f"{kind}_norm_backward", args, outputs)

    return make


def _tangent(kind):
    def make(m):
        shape, statistics = _shapes(m, kind)
        names, parameters = _names(kind)
        given = [m.positive(*statistics) for _ in names]
        directions = [m.normal(shape[-1]) for _ in (*parameters, "weight")]
        args = (m.normal(*shape), m.normal(*shape), *given, *directions)
        return m.case(f"{kind}_norm_tangent", args, {"out": m.empty(*shape)})

    return make


def _running(m):
    outputs = {name: m.empty(m.k) for name in ("mean", "rstd")}
    running = {"running_mean": m.normal(m.k), "running_var": m.positive(m.k)}
    return m.case("batch_norm", (m.normal(m.n, m.k),), {"out": m.empty(m.n, m.k), **outputs, **running})


def _inference(m):
    args = (m.normal(m.n, m.k), m.normal(m.k), m.positive(m.k), m.normal(m.k), m.normal(m.k))
    return m.case("batch_norm_inference", args, {"out": m.empty(m.n, m.k)})


CASES = {
    **{f"{kind}_norm": _forward(kind) for kind in ("layer", "rms", "group", "batch")},
    **{f"{kind}_norm_backward": _backward(kind) for kind in ("layer", "rms", "group", "batch")},
    **{f"{kind}_norm_tangent": _tangent(kind) for kind in ("layer", "rms", "group", "batch")},
    "batch_norm/running statistics": _running,
    "batch_norm_inference": _inference,
}
