"""Layer, RMS, group and batch norm: derivatives of the function, invariances, and relations between the norms."""

from __future__ import annotations

import numpy as np
import reference
import tolerances
from backends import assert_close, identical
from test_normalize import every_kind, groups_of, numbers

from steepest import kernels as K


def outputs_of(kind, x, weight, bias, groups=2):
    return reference.normalize(x, weight, bias, kind=kind, groups=groups)[0]


@every_kind
def test_derivatives_are_those_of_the_function(rng, kind):
    """The tangent is the central difference of the oracle; the gradient is its adjoint: <J u, v> = <u, J' v>."""
    for shape in ((4, 3, 6), (3, 900, 12)):
        x, u, v = (numbers(rng, np.float64, *shape) for _ in range(3))
        count = 1 if kind == "rms" else 2
        weights, directions = ([numbers(rng, np.float64, shape[-1]) for _ in range(count)] for _ in range(2))
        given = getattr(K, f"{kind}_norm")(x, *groups_of(kind, 2), *weights)[1:]
        tangent = getattr(K, f"{kind}_norm_tangent")(u, x, *given, weights[0], *directions)
        pad = [None] * (2 - count)
        step = 1e-5
        ends = [
            outputs_of(kind, x + s * u, *(w + s * d for w, d in zip(weights, directions, strict=True)), *pad)
            for s in (step, -step)
        ]
        # The error of a central difference: step² / 6 times a third derivative, and rounding over the step.
        assert_close(tangent, (ends[0] - ends[1]) / (2 * step), 1e-7 * (1 + np.abs(tangent)))
        d_x, *sums = getattr(K, f"{kind}_norm_backward")(v, x, *given, weights[0])
        forwards = np.vdot(tangent, v)
        backwards = np.vdot(d_x, u) + sum(np.vdot(s, d) for s, d in zip(sums, directions, strict=True))
        assert abs(forwards - backwards) <= 1e-12 * np.abs(tangent * v).sum()


def test_layer_norm_ignores_offset_and_scale(rng, dtype):
    x = numbers(rng, dtype, 9, 50)
    y = K.layer_norm(x, eps=0.0)[0]
    tolerance = 4 * tolerances.normalize(dtype, x, kind="layer")[0]
    # An offset of a power of two costs the last digits of x, not of the statistics.
    moved = (np.round(x * 64) / 64).astype(dtype)
    assert_close(
        K.layer_norm(moved * dtype(8) + dtype(256), eps=0.0)[0], K.layer_norm(moved, eps=0.0)[0], tolerance
    )
    assert_close(K.layer_norm(x * dtype(1024), eps=0.0)[0], y, tolerance)
    assert_close(K.rms_norm(x - x.mean(-1, keepdims=True), eps=0.0)[0], y, 4 * tolerance)


def test_relations_between_the_norms(rng, dtype):
    x = numbers(rng, dtype, 5, 7, 12)
    tolerance = 2 * tolerances.normalize(dtype, x, kind="group", groups=12)[0]
    instance = np.stack([K.batch_norm(sample)[0] for sample in x])
    assert_close(K.group_norm(x, 12)[0], instance, tolerance)
    rows = x.reshape(-1, 12)
    assert identical(K.group_norm(rows, 1)[0], K.layer_norm(rows)[0])
    whole = K.layer_norm(x.reshape(5, -1))[0].reshape(x.shape)
    assert_close(K.group_norm(x, 1)[0], whole, 2 * tolerances.normalize(dtype, x, kind="group")[0])
    y = K.batch_norm(x, eps=0.0)[0]
    assert identical(K.batch_norm(x * dtype(4), eps=0.0)[0], y)
    # The gradient has no part along constants and along the normalised items.
    _, mean, rstd = K.batch_norm(x, eps=0.0)
    d_x = K.batch_norm_backward(numbers(rng, dtype, 5, 7, 12), x, mean, rstd)[0].astype(np.float64)
    small = 50 * np.finfo(dtype).eps * np.abs(d_x).sum((0, 1)) * 4
    assert (np.abs(d_x.sum((0, 1))) <= small).all()
    assert (np.abs((d_x * y).sum((0, 1))) <= small).all()
