"""Layer, RMS, group and batch norm: results, gradients and tangents against float64, invariances, layouts, replay."""

from __future__ import annotations

import re

import numpy as np
import pytest
import reference
import tolerances
from backends import LAYOUTS, SIZES, assert_close, check, identical, lay_out, on_each_number_of_threads

import steepest
from steepest import kernels as K

KINDS = ("layer", "rms", "group", "batch")
every_kind = pytest.mark.parametrize("kind", KINDS)


def names_of(kind):
    return ("rstd",) if kind == "rms" else ("mean", "rstd")


def without_mean(kind, values):
    """The three results of the oracle as the kernel returns them."""
    values = tuple(values)
    return (values[0], values[2]) if kind == "rms" else values


def groups_of(kind, groups):
    return (groups,) if kind == "group" else ()


def layouts_of(shape):
    """The transposed slice is one of a matrix."""
    return [layout for layout in LAYOUTS if len(shape) < 3 or layout != "transposed_slice"]


def numbers(rng, dtype, *shape):
    return rng.standard_normal(shape).astype(dtype)


def parameters(rng, dtype, kind, channels):
    return [numbers(rng, dtype, channels) for _ in range(1 if kind == "rms" else 2)]


def check_forward(kind, x, weight=None, bias=None, groups=1, layouts=None, eps=1e-5):
    given = (weight,) if kind == "rms" else (weight, bias)
    expected = reference.normalize(x, weight, bias, kind=kind, groups=groups, eps=eps)
    tolerance = tolerances.normalize(x.dtype, x, weight, bias, kind=kind, groups=groups, epsilon=eps)
    check(
        getattr(K, f"{kind}_norm"),
        (x, *groups_of(kind, groups), *given),
        ("out", *names_of(kind)),
        without_mean(kind, expected),
        without_mean(kind, tolerance),
        layouts=layouts_of(x.shape) if layouts is None else layouts,
        eps=eps,
    )


def statistics(kind, x, groups=1):
    """Mean (None for RMS norm) and rstd by the oracle, in x's dtype."""
    _, mean, rstd = reference.normalize(x, kind=kind, groups=groups)
    return None if kind == "rms" else mean.astype(x.dtype), rstd.astype(x.dtype)


def check_backward(kind, d_y, x, weight=None, groups=1, layouts=None):
    mean, rstd = statistics(kind, x, groups)
    args = (d_y, x, mean, rstd, weight)
    count = 2 if kind == "rms" else 3
    check(
        getattr(K, f"{kind}_norm_backward"),
        [a for i, a in enumerate(args) if kind != "rms" or i != 2],
        ("d_x", "d_weight", "d_bias")[:count],
        reference.normalize_backward(*args, kind=kind)[:count],
        tolerances.normalize_backward(x.dtype, *args, kind=kind)[:count],
        layouts=layouts_of(x.shape) if layouts is None else layouts,
    )


def check_tangent(kind, dx, x, weight=None, d_weight=None, d_bias=None, groups=1, layouts=None):
    mean, rstd = statistics(kind, x, groups)
    args = (dx, x, mean, rstd, weight, d_weight, d_bias)
    check(
        getattr(K, f"{kind}_norm_tangent"),
        [a for i, a in enumerate(args) if kind != "rms" or i not in (2, 6)],
        ("out",),
        [reference.normalize_tangent(*args, kind=kind)],
        [tolerances.normalize_tangent(x.dtype, *args, kind=kind)],
        layouts=layouts_of(x.shape) if layouts is None else layouts,
    )


def check_all(rng, dtype, kind, shape, groups=1, layouts=None):
    """Forward, backward and tangent, with all parameters."""
    x = numbers(rng, dtype, *shape) + dtype(0.5)
    weight, bias = (numbers(rng, dtype, shape[-1]) for _ in range(2))
    weights = (weight, None) if kind == "rms" else (weight, bias)
    check_forward(kind, x, *weights, groups=groups, layouts=layouts)
    check_backward(kind, numbers(rng, dtype, *shape), x, weight, groups, layouts)
    directions = [numbers(rng, dtype, shape[-1]), None if kind == "rms" else numbers(rng, dtype, shape[-1])]
    check_tangent(kind, numbers(rng, dtype, *shape), x, weight, *directions, groups=groups, layouts=layouts)


# ------------------------------------------------------------------------------------- sizes, layouts, options


@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_widths_of_rows(rng, dtype, kind):
    for c in SIZES:
        check_all(rng, dtype, kind, (3, c), layouts=LAYOUTS if c in (1, 17, 65) else ("c", "at_end"))


@pytest.mark.parametrize("kind", ["layer", "rms"])
@pytest.mark.parametrize("c", [2047, 2049, 4500])
def test_rows_in_several_runs(rng, dtype, kind, c):
    check_all(rng, dtype, kind, (2, c), layouts=("c", "strided"))


@pytest.mark.parametrize("kind", ["layer", "rms"])
@pytest.mark.parametrize(
    "shape", [(5,), (130, 5), (67, 70), (2, 3, 9), (2, 1, 4, 17), (2, 2, 1, 3, 6)], ids=str
)
def test_shapes_of_rows(rng, dtype, kind, shape):
    check_all(rng, dtype, kind, shape)


# Samples of one row; of several rows, few and many; cut into parts.
GROUPED = [
    ((5, 12), 3),
    ((1, 7, 6), 2),
    ((3, 5, 8), 1),
    ((3, 65, 8), 8),
    ((2, 5, 7, 36), 4),
    ((2, 3, 1, 5, 18), 6),
    ((70, 3, 10), 5),
    ((2, 1100, 33), 3),
]


@pytest.mark.parametrize(("shape", "groups"), GROUPED, ids=str)
def test_groups(rng, dtype, shape, groups):
    large = np.prod(shape) > 10_000
    check_all(rng, dtype, "group", shape, groups, layouts=("c", "strided") if large else None)


@pytest.mark.parametrize(
    "shape",
    [(2, 1), (2, 5), (64, 17), (65, 16), (130, 33), (3, 5, 4, 7), (2, 2, 3, 2, 5), (1300, 31)],
    ids=str,
)
def test_batches(rng, dtype, shape):
    large = np.prod(shape) > 10_000
    check_all(rng, dtype, "batch", shape, layouts=("c", "reversed") if large else None)


@pytest.mark.parametrize("c", [1, 3, 15, 32, 47, 64, 200])
def test_channels_of_batches(rng, dtype, c):
    check_all(rng, dtype, "batch", (9, c), layouts=("c", "at_end", "columns"))


@every_kind
def test_without_parameters(rng, dtype, kind):
    x, v = (numbers(rng, dtype, 6, 4, 10) for _ in range(2))
    check_forward(kind, x, groups=2, eps=0.25)
    check_backward(kind, v, x, groups=2)
    check_tangent(kind, v, x, groups=2)
    check_tangent(kind, None, x, None, numbers(rng, dtype, 10), groups=2)
    if kind != "rms":
        check_tangent(kind, None, x, None, None, numbers(rng, dtype, 10), groups=2, layouts=("c", "fortran"))
        check_forward(kind, x, None, numbers(rng, dtype, 10), groups=5, layouts=("c", "columns"))


def test_tangent_of_a_batch_in_parts_without_direction_of_the_input(rng, dtype):
    for kind, shape in (("batch", (1300, 31)), ("group", (3, 400, 31))):
        check_tangent(kind, None, numbers(rng, dtype, *shape), None, numbers(rng, dtype, 31), layouts=("c",))


@every_kind
def test_parts_of_the_gradient(rng, dtype, kind):
    """Each part alone has the bits of the whole; sums are added to what is there."""
    for shape in ((9, 4, 6), (70, 4, 6), (3, 1000, 12), (40, 6)):
        x, d_y = (numbers(rng, dtype, *shape) for _ in range(2))
        weight = numbers(rng, dtype, shape[-1])
        given = [s for s in statistics(kind, x, 2) if s is not None]
        backward = getattr(K, f"{kind}_norm_backward")
        d_x, *sums = backward(d_y, x, *given, weight)
        alone = backward(d_y, x, *given, weight, parameter_grad=False)
        assert identical(alone[0], d_x)
        assert alone[1:] == (None,) * len(sums)
        none, *alone = backward(d_y, x, *given, weight, input_grad=False)
        assert none is None
        assert all(identical(a, b) for a, b in zip(alone, sums, strict=True))
        held = [numbers(rng, dtype, shape[-1]) for _ in sums]
        added = [h.copy() for h in held]
        names = dict(zip(("d_weight", "d_bias"), added, strict=False))
        backward(d_y, x, *given, weight, **names, accumulate=True)
        args = (dtype, d_y, x, *statistics(kind, x, 2), weight)
        for a, h, s, t in zip(
            added, held, sums, tolerances.normalize_backward(*args, kind=kind)[1:], strict=False
        ):
            assert_close(a, h.astype(np.float64) + s, t + 2 * np.finfo(dtype).eps * (np.abs(h) + np.abs(s)))


@every_kind
def test_in_place(rng, dtype, kind):
    for shape in ((7, 5, 12), (2, 1500, 12), (70, 12)):
        x, v = (numbers(rng, dtype, *shape) for _ in range(2))
        given = [s for s in statistics(kind, x, 3) if s is not None]
        weight, count = numbers(rng, dtype, 12), groups_of(kind, 3)
        for layout in ("c", "fortran", "strided"):
            same = lay_out(x, layout)
            expected = getattr(K, f"{kind}_norm")(same, *count, weight)[0]
            getattr(K, f"{kind}_norm")(same, *count, weight, out=same)
            assert identical(same, expected)
            for which in (0, 1):
                for name, out in (("backward", "d_x"), ("tangent", "out")):
                    function = getattr(K, f"{kind}_norm_{name}")
                    args = [lay_out(v, layout), lay_out(x, layout)]
                    expected = function(*args, *given, weight)
                    function(*args, *given, weight, **{out: args[which]})
                    expected = expected[0] if name == "backward" else expected
                    assert identical(args[which], expected), (shape, layout, name, which)


# ------------------------------------------------------------------------------- offsets, special values, limits


@pytest.mark.parametrize("kind", ["layer", "group", "batch"])
@pytest.mark.parametrize("offset", [1e4, -3e5])
def test_large_offsets(rng, dtype, kind, offset):
    """Deviations of 1 about an offset: the difference of two averages of squares would keep no digit in float32."""
    for shape in ((40, 24), (3, 50, 24), (2, 1500, 24), (70, 3, 24), (1, 1, 3000)):
        if kind == "batch" and shape[0] == 1:
            continue
        x = (numbers(rng, np.float64, *shape) + offset).astype(dtype)
        check_forward(kind, x, groups=2, layouts=("c",))


@pytest.mark.parametrize("kind", ["layer", "group", "batch"])
def test_the_first_items_may_be_far_from_the_others(rng, dtype, kind):
    """A shift by the first items would cancel."""
    for shape in ((50, 40), (2, 1500, 24), (1, 5000)):
        if kind == "batch" and shape[0] == 1:
            continue
        x = numbers(rng, dtype, *shape)
        x[0] += 300
        x[..., 0] -= 200
        check_forward(kind, x, groups=2, layouts=("c",))


@every_kind
def test_constant_rows(dtype, kind):
    """The result is the bias, and gradients are finite, also where rounding a mean leaves something."""
    for shape in ((6, 30), (3, 70, 6), (2, 3000, 6)):
        for value in (0.0, 1.1, 12345.678):
            x, bias = np.full(shape, value, dtype), np.linspace(-1, 1, shape[-1]).astype(dtype)
            if kind == "rms":
                y, *given = K.rms_norm(x)
                assert_close(y, x / np.sqrt(x.astype(np.float64) ** 2 + 1e-5), 8 * np.finfo(dtype).eps)
            else:
                groups = groups_of(kind, 3)
                y, *given = getattr(K, f"{kind}_norm")(x, *groups, None, bias)
                # Sums of equal items err by some units of their value, which 1 / sqrt(eps) magnifies.
                assert_close(y, np.broadcast_to(bias, shape), 2 * np.finfo(dtype).eps * (1 + 400 * value))
            gradients = getattr(K, f"{kind}_norm_backward")(np.ones_like(x), x, *given)
            assert all(np.isfinite(g).all() for g in gradients)
            assert (given[-1] <= dtype(1 / np.sqrt(1e-5)) * dtype(1.0001)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(rng, dtype, bad):
    """A group with such an item is NaN; the others have the bits that they have without it."""
    for shape, at in (
        ((6, 40), (2, 7)),
        ((6, 5, 12), (2, 3, 7)),
        ((3, 1500, 12), (1, 800, 7)),
        ((70, 2, 12), (2, 1, 7)),
    ):
        x = numbers(rng, dtype, *shape)
        spoiled = x.copy()
        spoiled[at] = bad
        half = shape[-1] // 2
        group = slice(half, None) if at[-1] >= half else slice(half)
        masks = {"layer": at[:-1], "group": (at[0], Ellipsis, group), "batch": (Ellipsis, at[-1])}
        for kind, mask in masks.items():
            function = getattr(K, f"{kind}_norm")
            y, clean = (function(a, *groups_of(kind, 2))[0] for a in (spoiled, x))
            touched = np.zeros(shape, bool)
            touched[mask] = True
            assert np.isnan(y[touched]).all(), kind
            assert np.array_equal(y[~touched], clean[~touched]), kind
    x = numbers(rng, dtype, 3, 20)
    x[1, 3] = bad
    expected, _, rstd = reference.normalize(x, kind="rms")
    y, given = K.rms_norm(x)
    assert np.array_equal(np.isnan(y), np.isnan(expected))
    assert np.isnan(given[1]) == np.isnan(rstd[1])


def test_empty(dtype):
    for shape in ((0, 5), (0, 3, 4), (2, 0, 4)):
        x, c = np.ones(shape, dtype), shape[-1]
        for kind in ("layer", "rms") if shape[0] else ("layer", "rms", "group"):
            y, *given = getattr(K, f"{kind}_norm")(x, *groups_of(kind, 1))
            assert y.shape == shape
            ones = [np.ones(c, dtype) for _ in range(1 if kind == "rms" else 2)]
            outputs = dict(zip(("d_weight", "d_bias"), ones, strict=False))
            d_x, *sums = getattr(K, f"{kind}_norm_backward")(x, x, *given, **outputs)
            assert d_x.shape == shape
            assert all((s == 0).all() for s in sums)
            assert getattr(K, f"{kind}_norm_tangent")(x, x, *given).shape == shape
        assert K.batch_norm_inference(x, np.ones(c, dtype), np.ones(c, dtype)).shape == shape


# -------------------------------------------------------------------------------- running statistics, inference


@pytest.mark.parametrize("shape", [(2, 3), (70, 17), (4, 5, 6, 33), (1300, 31)], ids=str)
def test_running_statistics(rng, dtype, shape):
    x, c = numbers(rng, dtype, *shape) * dtype(2) + dtype(30), shape[-1]
    for layout in ("c", "strided"):
        mean, var = lay_out(numbers(rng, dtype, c), layout), lay_out(1 + rng.random(c).astype(dtype), layout)
        before = mean.copy(), var.copy()
        y, *_ = K.batch_norm(x, running_mean=mean, running_var=var, momentum=0.3)
        assert identical(y, K.batch_norm(x)[0])
        expected = reference.running_statistics(x, *before, 0.3)
        tolerance = tolerances.running_statistics(dtype, x, *before)
        assert_close(mean, expected[0], tolerance[0])
        assert_close(var, expected[1], tolerance[1])
    held = mean.copy(), var.copy()
    K.batch_norm(x, running_mean=mean, running_var=var, momentum=0.0)
    assert identical(mean, held[0])
    assert identical(var, held[1])


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (67, 33), (2, 3, 4, 7), (900, 31)], ids=str)
def test_inference(rng, dtype, shape):
    c = shape[-1]
    args = [numbers(rng, dtype, *shape), numbers(rng, dtype, c), rng.random(c).astype(dtype)]
    for rest in ([], [numbers(rng, dtype, c), numbers(rng, dtype, c)]):
        check(
            K.batch_norm_inference,
            args + rest,
            ("out",),
            [reference.batch_norm_inference(*args, *rest, eps=1e-3)],
            [tolerances.batch_norm_inference(dtype, *args, *rest, epsilon=1e-3)],
            layouts=layouts_of(shape),
            eps=1e-3,
        )


# --------------------------------------------------------------------------------------------- threads and replay


@pytest.mark.cpu_only("a GPU has no teams")
@every_kind
def test_threads_change_nothing(rng, kind):
    results = {}
    for shape in ((3, 400, 37), (1500, 2, 36), (1, 40_000, 5), (900, 370)):
        if kind == "group" and len(shape) == 2:
            continue
        x, v = (numbers(rng, np.float32, *shape) for _ in range(2))
        weight, count = numbers(rng, np.float32, shape[-1]), groups_of(kind, 1)
        for threads in on_each_number_of_threads((1, 2, 3)):
            y, *given = getattr(K, f"{kind}_norm")(x, *count, weight)
            gradients = getattr(K, f"{kind}_norm_backward")(v, x, *given, weight)
            tangent = getattr(K, f"{kind}_norm_tangent")(v, x, *given, weight)
            found = [a.tobytes() for a in (y, *given, *gradients, tangent)]
            assert results.setdefault(shape, found) == found, (shape, threads)


@every_kind
def test_replay(rng, dtype, kind):
    x, v = (numbers(rng, dtype, 6, 5, 8) for _ in range(2))
    weight, count = numbers(rng, dtype, 8), groups_of(kind, 4)
    running = (
        {"running_mean": np.zeros(8, dtype), "running_var": np.ones(8, dtype)} if kind == "batch" else {}
    )
    forward, backward, tangent = (getattr(K, f"{kind}_norm{end}") for end in ("", "_backward", "_tangent"))
    with steepest.capture() as graph:
        y, *given = forward(x, *count, weight, **running)
        gradients = backward(v, x, *given, weight)
        moved = tangent(v, x, *given, weight)
    assert tuple(graph.operations) == tuple(f"{kind}_norm{end}" for end in ("", "_backward", "_tangent"))
    x[...] = numbers(rng, dtype, 6, 5, 8)
    graph.replay(2)
    own = {"running_mean": np.zeros(8, dtype), "running_var": np.ones(8, dtype)} if kind == "batch" else {}
    for _ in range(2):
        expected = forward(x, *count, weight, **own)
    assert all(identical(a, b) for a, b in zip((y, *given), expected, strict=True))
    assert all(identical(running[k], own[k]) for k in own)
    expected = (*backward(v, x, *given, weight), tangent(v, x, *given, weight))
    assert all(identical(a, b) for a, b in zip((*gradients, moved), expected, strict=True))


# ------------------------------------------------------------------------------------------------------- errors

X, C, R = np.ones((4, 6), np.float32), np.ones(6, np.float32), np.ones(4, np.float32)
IMAGE, G = np.ones((2, 3, 6), np.float32), np.ones((2, 2), np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: K.layer_norm(X, R), "[layer_norm] weight has shape (4,), but x has 6 channels"),
        (lambda: K.layer_norm(X, C, R), "[layer_norm] bias has shape (4,), but x has 6 channels"),
        (lambda: K.layer_norm(np.ones(())), "[layer_norm] x has shape (); at least 1 dimension is needed"),
        (lambda: K.layer_norm(np.ones((3, 0))), "[layer_norm] x has no items to average"),
        (lambda: K.layer_norm(np.ones((1,) * 6)), "[layer_norm] x has shape (1, 1, 1, 1, 1, 1); at most 5"),
        (lambda: K.layer_norm(X, eps=-1.0), "[layer_norm] eps is -1"),
        (lambda: K.layer_norm(X, mean=C), "[layer_norm] mean has shape (6,); (4,) is needed"),
        (lambda: K.rms_norm(X, R), "[rms_norm] weight has shape"),
        (lambda: K.group_norm(IMAGE, 4), "[group_norm] groups is 4, but x has 6 channels: they must divide"),
        (lambda: K.group_norm(IMAGE, 0), "[group_norm] groups is 0"),
        (lambda: K.group_norm(IMAGE, -2), "[group_norm] groups is -2"),
        (lambda: K.group_norm(C, 2), "[group_norm] x has shape (6,); at least 2 dimensions are needed"),
        (lambda: K.group_norm(IMAGE[:, :0], 2), "[group_norm] x has no items to average"),
        (lambda: K.batch_norm(X[:1]), "[batch_norm] x has 1 rows; the variance of a batch needs at least 2"),
        (lambda: K.batch_norm(X[:0]), "[batch_norm] x has 0 rows"),
        (lambda: K.batch_norm(X[:, :0]), "[batch_norm] x has no items to average"),
        (
            lambda: K.batch_norm(X, running_mean=C.copy()),
            "[batch_norm] running_mean and running_var go together",
        ),
        (
            lambda: K.batch_norm(X, running_mean=R.copy(), running_var=R.copy()),
            "[batch_norm] running_mean has",
        ),
        (lambda: K.batch_norm(X, momentum=1.5), "[batch_norm] momentum is 1.5; it must be in [0, 1]"),
        (lambda: K.batch_norm_inference(X, C, R), "[batch_norm_inference] running_var has shape (4,)"),
        (
            lambda: K.layer_norm_backward(X, X, C, R),
            "[layer_norm_backward] mean has shape (6,); (4,) is needed",
        ),
        (
            lambda: K.layer_norm_backward(X[:2], X, R, R),
            "[layer_norm_backward] d_y has shape (2, 6), but x has",
        ),
        (lambda: K.rms_norm_backward(X, X, C), "[rms_norm_backward] rstd has shape (6,); (4,) is needed"),
        (
            lambda: K.group_norm_backward(IMAGE, IMAGE, G, G[:1]),
            "[group_norm_backward] rstd has shape (1, 2)",
        ),
        (
            lambda: K.group_norm_backward(IMAGE, IMAGE, G[:, :1], G),
            "[group_norm_backward] mean has shape (2, 1)",
        ),
        (lambda: K.batch_norm_backward(X, X, C, C, R), "[batch_norm_backward] weight has shape (4,)"),
        (
            lambda: K.batch_norm_backward(X, X, C, C, accumulate=True),
            "[batch_norm_backward] accumulate=True requires d_weight and d_bias",
        ),
        (
            lambda: K.rms_norm_backward(X, X, R, accumulate=True),
            "[rms_norm_backward] accumulate=True requires d_weight",
        ),
        (lambda: K.layer_norm_tangent(None, X, R, R), "[layer_norm_tangent] a direction is needed"),
        (lambda: K.rms_norm_tangent(None, X, R), "[rms_norm_tangent] a direction is needed"),
        (lambda: K.batch_norm_tangent(X[:2], X, C, C), "[batch_norm_tangent] dx has shape (2, 6), but x has"),
        (lambda: K.batch_norm_tangent(X, X, C, C, None, R), "[batch_norm_tangent] d_weight has shape (4,)"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        call()
