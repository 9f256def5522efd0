"""`conv2d`, `conv2d_transpose`, `conv2d_backward` against sums over taps: options, shapes, strides, threads, replay."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tolerances
from backends import (
    LAYOUTS,
    GuardedOutput,
    assert_close,
    check,
    identical,
    lay_out,
    on_each_number_of_threads,
)
from by_kernel.activations import ACTIVATIONS

import steepest
from steepest import kernels as K

# Layouts of four axes; an image in "nchw" has the pixels of a channel next to each other.
IMAGE_LAYOUTS = (*(name for name in LAYOUTS if name != "transposed_slice"), "nchw")
# Activations whose derivative follows from the output.
OF_OUTPUT = tuple(name for name in K.ACTIVATIONS if name not in K.INPUT_DERIVATIVES)


def laid(values, layout):
    if layout == "nchw" and np.ndim(values) == 4:
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    return lay_out(values, "c" if layout == "nchw" else layout)


def lipschitz_of(activation):
    return ACTIVATIONS[activation].lipschitz(ACTIVATIONS[activation].parameter)


def check_forward(name, x, w, b=None, activation="identity", layouts=("c",), **options):
    expected = getattr(reference, name)(x, w, b, activation, **options)
    lipschitz = lipschitz_of(activation)
    tolerance = getattr(tolerances, name)(x.dtype, x, w, b, expected, lipschitz, **options)
    options["activation"] = activation
    check(getattr(K, name), (x, w, b), ("out",), [expected], [tolerance], layouts=layouts, **options)
    return expected


def expected_of_backward(d_out, x, w, activation="identity", l2=0.0, **options):
    expected = reference.conv2d_backward(d_out, x, w, activation=activation, l2=l2, **options)
    derivative = reference.activation_backward(np.ones(x.shape), x, activation)
    return expected, tolerances.conv2d_backward(x.dtype, d_out, x, w, derivative, l2, **options)


def check_backward(d_out, x, w, activation="identity", l2=0.0, layouts=("c",), **options):
    expected, tolerance = expected_of_backward(d_out, x, w, activation, l2, **options)
    options |= {"activation": activation, "l2": l2}
    names = ("d_x", "d_weight", "d_bias")
    check(K.conv2d_backward, (d_out, x, w), names, expected, tolerance, layouts=layouts, **options)


def normal(rng, dtype, *shape):
    return rng.standard_normal(shape).astype(dtype)


def make(rng, dtype, image, window, out, groups=1):
    """Images of the shape `image`, and weights and biases for some outputs."""
    weight = normal(rng, dtype, *window, image[3] // groups, out)
    return normal(rng, dtype, *image), weight, normal(rng, dtype, out)


def gradient_for(rng, x, w, **options):
    return rng.standard_normal(reference.conv2d(x, w, **options).shape).astype(x.dtype)


# ------------------------------------------------------------------------------------------------ random options


def random_case(rng):
    """Shapes and options; sizes lie around the widths of vectors and tiles."""
    groups = int(rng.choice([1, 1, 1, 2, 3, 8]))
    few = groups > 2
    channels = int(rng.choice([1, 2, 3, 6] if few else [1, 3, 6, 16, 17, 33])) * groups
    out = int(rng.choice([1, 2, 5] if few else [1, 3, 16, 17, 33, 64])) * groups
    window = [int(k) for k in rng.integers(1, 5, 2)]
    stride, dilation = ([int(k) for k in rng.choice([1, 1, 2, 3], 2)] for _ in range(2))
    extent = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
    size = [int(rng.choice([5, 13, 14, 15])) + e for e in extent]
    padding = [
        0,
        "valid",
        "same",
        int(rng.integers(1, 4)),
        [int(p) for p in rng.integers(0, 4, 2)],
        rng.integers(0, 4, (2, 2)).tolist(),
    ][rng.integers(6)]
    n = int(rng.choice([1, 2, 3]))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return (n, *size, channels), window, out, options


@pytest.mark.parametrize("seed", range(30))
def test_random_options(seed):
    """Every array in its own layout, outputs among them."""
    rng = np.random.default_rng(seed)
    dtype = (np.float32, np.float64)[seed % 2]
    image, window, out, options = random_case(rng)
    x, w, b = make(rng, dtype, image, window, out, options["groups"])
    f, g = rng.choice(OF_OUTPUT, 2)
    x = reference.activation(x, f).astype(dtype)
    layouts = iter(rng.choice(IMAGE_LAYOUTS, 12))
    what = f"{image} {window} {out} {options} {f} {g}"

    def outputs_like(*arrays):
        return [GuardedOutput(a.shape, dtype, next(layouts).replace("nchw", "fortran")) for a in arrays]

    def assert_right(outputs, expected, tolerance, name):
        for output, e, t in zip(outputs, expected, tolerance, strict=True):
            output.assert_margin_untouched()
            assert_close(output.view, e, t, f"{name} {what}")

    expected = reference.conv2d(x, w, b, g, **options)
    tolerance = tolerances.conv2d(dtype, x, w, b, expected, lipschitz_of(g), **options)
    given = [laid(a, next(layouts)) for a in (x, w, b)]
    outputs = outputs_like(expected)
    K.conv2d(*given, g, outputs[0].view, **options)
    assert_right(outputs, [expected], [tolerance], "conv2d")

    d_out = rng.standard_normal(expected.shape).astype(dtype)
    expected, tolerance = expected_of_backward(d_out, x, w, f, 0.3, **options)
    outputs = outputs_like(*expected)
    views = dict(zip(("d_x", "d_weight", "d_bias"), (o.view for o in outputs), strict=True))
    K.conv2d_backward(laid(d_out, next(layouts)), *given[:2], activation=f, l2=0.3, **views, **options)
    assert_right(outputs, expected, tolerance, "conv2d_backward")

    if options["padding"] != "same":
        most = [s - 1 for s in options["stride"]]
        options["output_padding"] = [int(rng.integers(0, m + 1)) for m in most]
    b = rng.standard_normal(image[3]).astype(dtype)
    expected = reference.conv2d_transpose(d_out, w, b, g, **options)
    tolerance = tolerances.conv2d_transpose(dtype, d_out, w, b, expected, lipschitz_of(g), **options)
    outputs = outputs_like(expected)
    K.conv2d_transpose(laid(d_out, next(layouts)), given[1], b, g, outputs[0].view, **options)
    assert_right(outputs, [expected], [tolerance], "conv2d_transpose")


# ---------------------------------------------------------------------------------------------------- each option


@pytest.mark.parametrize("groups", [1, 3, 6])
def test_layouts(rng, dtype, groups):
    options = {"stride": (2, 1), "padding": (1, 2), "groups": groups}
    x, w, b = make(rng, dtype, (2, 9, 8, 6), (3, 2), 12, groups)
    layouts = IMAGE_LAYOUTS[:-1]
    check_forward("conv2d", x, w, b, "relu", layouts, **options)
    d_out = gradient_for(rng, x, w, **options)
    check_backward(d_out, x, w, "identity", 0.2, layouts, **options)
    check_forward("conv2d_transpose", d_out, w, normal(rng, dtype, 6), "relu", layouts, **options)


@pytest.mark.parametrize("out", [1, 3, 4, 6, 16, 17, 33, 64])
def test_channels(rng, dtype, out):
    """Of the result and, by another prime step, of the image."""
    channels = {1: 17, 3: 64, 4: 8, 6: 33, 16: 4, 17: 1, 33: 3, 64: 16}[out]
    x, w, b = make(rng, dtype, (1, 6, 15, channels), (2, 3), out)
    check_forward("conv2d", x, w, b, padding=1)
    d_out = gradient_for(rng, x, w, padding=1)
    check_backward(d_out, x, w, padding=1)
    check_forward("conv2d_transpose", d_out, w, padding=1)


@pytest.mark.parametrize("width", [13, 14, 15, 28, 29])
def test_widths(rng, dtype, width):
    """Around the rows of a tile, and of two."""
    x, w, b = make(rng, dtype, (1, 4, width, 3), (3, 3), 5)
    check_forward("conv2d", x, w, b, padding="same")
    check_backward(gradient_for(rng, x, w, padding="same"), x, w, padding="same")


@pytest.mark.parametrize("activation", K.ACTIVATIONS)
def test_activations(rng, dtype, activation):
    x, w, b = make(rng, dtype, (2, 4, 5, 3), (2, 2), 4)
    check_forward("conv2d", x, w, b, activation)
    check_forward("conv2d_transpose", x, w.transpose(0, 1, 3, 2), b, activation, stride=2)
    if activation in OF_OUTPUT:
        x = reference.activation(x, activation).astype(dtype)
        check_backward(gradient_for(rng, x, w), x, w, activation)
        depthwise = normal(rng, dtype, 2, 2, 1, 3)
        check_backward(gradient_for(rng, x, depthwise, groups=3), x, depthwise, activation, groups=3)


@pytest.mark.parametrize("stride", [(1, 1), (2, 3), (4, 2), (5, 7)], ids=str)
@pytest.mark.parametrize("dilation", [(1, 1), (2, 3), (4, 2)], ids=str)
def test_transposed_phases(rng, dtype, stride, dilation):
    """Strides and dilations with and without common divisors; some outputs are reached by no tap."""
    options = {"stride": stride, "dilation": dilation}
    x, w, b = make(rng, dtype, (2, 3, 4, 2), (3, 2), 3)
    w = w.transpose(0, 1, 3, 2)
    for output_padding in ((0, 0), (stride[0] - 1, stride[1] // 2)):
        for padding in (0, ((1, 0), (0, 1))):
            more = options | {"padding": padding, "output_padding": output_padding}
            check_forward("conv2d_transpose", x, w, b, **more)
    check_forward("conv2d_transpose", x, w, b, padding="same", **options)


def test_padding_wider_than_the_window(rng, dtype):
    """Some windows see zeros alone."""
    x, w, b = make(rng, dtype, (1, 2, 3, 4), (2, 3), 5)
    options = {"padding": ((4, 0), (3, 5)), "stride": (1, 2)}
    y = check_forward("conv2d", x, w, b, **options)
    np.testing.assert_array_equal(y[0, 0], np.broadcast_to(b, y[0, 0].shape))
    check_backward(gradient_for(rng, x, w, **options), x, w, **options)


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_accumulate(rng, dtype, groups, l2):
    x, w, _ = make(rng, dtype, (3, 7, 6, 6), (3, 2), 12, groups)
    d_out = gradient_for(rng, x, w, groups=groups)
    expected, tolerance = expected_of_backward(d_out, x, w, l2=l2, groups=groups)
    for layout in ("c", "strided"):
        before = [normal(rng, dtype, *a.shape) for a in expected]
        held = [lay_out(a, layout) for a in before]
        d_x, d_weight, d_bias = K.conv2d_backward(
            d_out,
            x,
            w,
            l2=l2,
            d_x=held[0],
            d_weight=held[1],
            d_bias=held[2],
            accumulate=True,
            groups=groups,
        )
        assert_close(d_x, expected[0], tolerance[0], "d_x is not added to")
        for i, given in [(1, d_weight), (2, d_bias)]:
            slack = tolerances.added_to(dtype, before[i], expected[i], 1)
            assert_close(
                given, before[i] + expected[i], tolerance[i] + slack, ("d_x", "d_weight", "d_bias")[i]
            )


def test_without_input_gradient(rng, dtype):
    x, w, _ = make(rng, dtype, (2, 7, 6, 3), (3, 2), 4)
    d_out = gradient_for(rng, x, w, stride=2)
    d_x, *without = K.conv2d_backward(d_out, x, w, l2=0.1, input_grad=False, stride=2)
    _, *with_ = K.conv2d_backward(d_out, x, w, l2=0.1, stride=2)
    assert d_x is None
    assert all(identical(a, b) for a, b in zip(without, with_, strict=True))


# ------------------------------------------------------------------------------- sums that many blocks compute


@pytest.mark.parametrize(
    ("image", "window", "out", "groups"),
    [
        ((2, 7, 7, 130), (3, 3), 40, 1),  # few outputs, long sums
        ((3, 24, 25, 5), (3, 2), 7, 1),  # many outputs, a small gradient of the weights
        ((3, 24, 25, 8), (3, 3), 8, 8),
        ((2, 24, 25, 4), (3, 3), 8, 4),
        ((1, 13, 12, 72), (2, 2), 140, 1),  # several tiles across
        ((1, 9, 9, 60), (2, 2), 120, 2),
        ((1, 6, 6, 180), (3, 3), 6, 2),  # groups of few columns and many channels
    ],
    ids=str,
)
def test_division_of_the_work(rng, dtype, multiprocessors, image, window, out, groups):
    x, w, b = make(rng, dtype, image, window, out, groups)
    options = {"padding": "same", "groups": groups}
    check_forward("conv2d", x, w, b, "tanh", **options)
    d_out = gradient_for(rng, x, w, **options)
    check_backward(d_out, x, w, "identity", 0.1, **options)
    results = [K.conv2d_backward(d_out, x, w, **options) for _ in range(2)]
    assert all(identical(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.cpu_only("a GPU has no teams")
def test_threads_change_nothing(rng, dtype):
    x, w, b = make(rng, dtype, (5, 29, 28, 12), (3, 3), 18)
    thin = normal(rng, dtype, 3, 3, 1, 12)
    d_out = gradient_for(rng, x, w, stride=2, padding=1)
    d_thin = gradient_for(rng, x, thin, padding=1, groups=12)
    results = []
    for _ in on_each_number_of_threads():
        results.append(
            [
                K.conv2d(x, w, b, "tanh", stride=2, padding=1),
                K.conv2d(x, thin, padding=1, groups=12),
                K.conv2d_transpose(d_out, w, stride=2, padding=1),
                *K.conv2d_backward(d_out, x, w, l2=0.1, stride=2, padding=1),
                *K.conv2d_backward(d_thin, x, thin, padding=1, groups=12),
            ]
        )
    for others in results[1:]:
        assert all(identical(a, b) for a, b in zip(results[0], others, strict=True))


# -------------------------------------------------------------------------------------------------------- identities

OPTIONS = [
    {},
    {"stride": (2, 3), "padding": (1, 2)},
    {"dilation": (2, 1), "padding": "same"},
    {"groups": 2, "stride": 2, "padding": ((0, 1), (2, 0))},
    {"groups": 6, "stride": (1, 2)},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_adjoint_maps(rng, options):
    """<conv(u), v> = <u, transpose(v)>, and the gradient of the weights is the adjoint of the map of the weights."""
    x, w, _ = make(rng, np.float64, (2, 12, 13, 6), (3, 2), 12, options.get("groups", 1))
    y = K.conv2d(x, w, **options)
    v = rng.standard_normal(y.shape)
    d_x, d_weight, d_bias = K.conv2d_backward(v, x, w, **options)
    expected = pytest.approx((y * v).sum(), rel=1e-12, abs=1e-11)
    assert (d_x * x).sum() == expected
    assert (d_weight * w).sum() == expected
    np.testing.assert_allclose(d_bias, v.sum(axis=(0, 1, 2)), rtol=1e-12, atol=1e-12)
    if options.get("padding") != "same":
        sizes = zip(x.shape[1:3], K.conv2d_transpose(v, w, **options).shape[1:3], strict=True)
        more = {"output_padding": [a - b for a, b in sizes]}
        assert (K.conv2d_transpose(v, w, **options, **more) * x).sum() == expected


def test_oracle_by_finite_differences(rng):
    x, w, b = make(rng, np.float64, (1, 4, 5, 2), (2, 2), 4, 2)
    options = {"stride": (2, 1), "padding": ((1, 0), (0, 2)), "groups": 2}
    d_out = gradient_for(rng, x, w, **options)

    def objective(x, w):
        return (reference.conv2d(np.tanh(x), w, b, **options) * d_out).sum() + 0.15 * (w * w).sum()

    d_x, d_w, _ = reference.conv2d_backward(d_out, np.tanh(x), w, activation="tanh", l2=0.3, **options)
    # Central differences with h = 1e-6 err by h^2 plus eps / h: about 1e-9 of these magnitudes.
    np.testing.assert_allclose(d_x, reference.finite_difference(lambda v: objective(v, w), x), atol=1e-8)
    np.testing.assert_allclose(d_w, reference.finite_difference(lambda v: objective(x, v), w), atol=1e-8)


def test_a_shift_of_the_image_shifts_the_result(rng, dtype):
    x, w, b = make(rng, dtype, (1, 17, 18, 5), (3, 3), 7)
    y = K.conv2d(x, w, b, stride=2)
    shifted = K.conv2d(x[:, 2:, 4:], w, b, stride=2)
    tolerance = tolerances.conv2d(dtype, x, w, b, y, 1.0, stride=2)[:, 1:, 2:]
    assert_close(shifted, y[:, 1:, 2:], 2.0 * tolerance)


@pytest.mark.parametrize("multiple", [1, 2, 5])
def test_depthwise_is_a_convolution_of_each_channel(rng, dtype, multiple):
    x, w, b = make(rng, dtype, (2, 8, 9, 7), (3, 3), 7 * multiple, 7)
    y = K.conv2d(x, w, b, padding=1, groups=7)
    tolerance = tolerances.conv2d(dtype, x, w, b, y, 1.0, padding=1, groups=7)
    for c in range(7):
        own = slice(c * multiple, (c + 1) * multiple)
        alone = K.conv2d(x[..., c : c + 1], w[..., own], b[own], padding=1)
        assert_close(y[..., own], alone, 2.0 * tolerance[..., own])


def test_a_window_of_one_pixel_is_a_linear_layer(rng, dtype):
    x, w, b = make(rng, dtype, (2, 5, 6, 11), (1, 1), 9)
    y, rows = K.conv2d(x, w, b, "sigmoid"), x.reshape(-1, 11)
    expected = K.linear(rows, w[0, 0], b, "sigmoid").reshape(y.shape)
    tolerance = tolerances.linear(dtype, rows, w[0, 0], b, expected.reshape(-1, 9), 0.25).reshape(y.shape)
    assert_close(y, expected, 2.0 * tolerance)


# ------------------------------------------------------------------------------------------------------ special cases


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_not_finite_pixels_stay_in_their_windows(rng, dtype, special, groups):
    x, w, b = make(rng, dtype, (2, 9, 10, 4), (3, 2), 8, groups)
    w = np.abs(w) + dtype(1)  # no zeros: inf * 0 would be NaN
    clean = K.conv2d(x, w, b, groups=groups, padding=1)
    seen = np.zeros(x.shape)
    x[1, 4, 5, 2], seen[1, 4, 5, 2] = special, 1.0
    y = K.conv2d(x, w, b, groups=groups, padding=1)
    hit = reference.conv2d(seen, np.ones(w.shape), groups=groups, padding=1) > 0
    np.testing.assert_array_equal(y[hit], np.full(hit.sum(), special, dtype))
    assert identical(y[~hit], clean[~hit])

    d_out = np.abs(gradient_for(rng, x, w, stride=2, groups=groups)) + dtype(1)
    finite = reference.conv2d_backward(d_out, seen, w, stride=2, groups=groups)[1] == 0
    _, d_weight, d_bias = K.conv2d_backward(d_out, x, w, stride=2, groups=groups)
    np.testing.assert_array_equal(d_weight[~finite], np.full((~finite).sum(), special, dtype))
    assert np.isfinite(d_weight[finite]).all() and np.isfinite(d_bias).all()

    seen = np.zeros(d_out.shape)
    d_out[0, 1, 2, 3], seen[0, 1, 2, 3] = special, 1.0
    y = K.conv2d_transpose(d_out, w, stride=2, groups=groups)
    hit = reference.conv2d_transpose(seen, np.ones(w.shape), stride=2, groups=groups) > 0
    np.testing.assert_array_equal(y[hit], np.full(hit.sum(), special, dtype))
    assert np.isfinite(y[~hit]).all()


@pytest.mark.parametrize("groups", [1, 3])
def test_no_images(rng, dtype, groups):
    w = normal(rng, dtype, 2, 3, 3 // groups, 6)
    x, d_out = np.ones((0, 5, 6, 3), dtype), np.ones((0, 4, 4, 6), dtype)
    assert K.conv2d(x, w, groups=groups).shape == (0, 4, 4, 6)
    assert K.conv2d_transpose(d_out, w, groups=groups).shape == (0, 5, 6, 3)
    d_x, d_weight, d_bias = K.conv2d_backward(d_out, x, w, l2=0.5, groups=groups)
    assert d_x.shape == x.shape
    assert_close(d_weight, 0.5 * w.astype(np.float64), tolerances.eps(dtype) * np.abs(w), "d_weight")
    assert d_bias.tolist() == [0.0] * 6


def test_replay(rng, dtype):
    x, w, b = make(rng, dtype, (2, 9, 8, 4), (3, 3), 6)
    d_weight, d_bias = np.zeros_like(w), np.zeros_like(b)

    def step():
        y = K.conv2d(x, w, b, "tanh", stride=2, padding=1)
        d_x, _, _ = K.conv2d_backward(
            y, x, w, stride=2, padding=1, d_weight=d_weight, d_bias=d_bias, accumulate=True
        )
        return y, d_x, K.conv2d_transpose(y, w, stride=2, padding="same")

    with steepest.capture() as graph:
        captured = step()
    assert {"conv2d", "conv2d_backward", "conv2d_transpose"} == set(graph.operations)
    x[...] = rng.standard_normal(x.shape)
    graph.replay(2)
    sums = d_weight.copy(), d_bias.copy()
    d_weight[...], d_bias[...] = 0, 0
    step()
    called = step()
    assert all(identical(a, b) for a, b in zip((*captured, *sums), (*called, d_weight, d_bias), strict=True))


X, W, D = np.ones((2, 5, 6, 4)), np.ones((3, 3, 4, 6)), np.ones((2, 3, 4, 6))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: K.conv2d(X[0], W), ValueError, r"\[conv2d\] x "),
        (lambda: K.conv2d(X, W[0]), ValueError, r"\[conv2d\] weight "),
        (lambda: K.conv2d(X, W[:, :, :3]), ValueError, r"\[conv2d\] weight of shape .* is for 3 channels"),
        (lambda: K.conv2d(X, W, np.ones(5)), ValueError, r"\[conv2d\] bias has shape \(5,\)"),
        (lambda: K.conv2d(X, W, groups=3), ValueError, r"\[conv2d\] groups is 3, but x has 4 channels"),
        (lambda: K.conv2d(X, W, groups=0), ValueError, r"\[conv2d\] groups is 0"),
        (lambda: K.conv2d(X, W, stride=0), ValueError, r"\[conv2d\] stride is 0 along the rows"),
        (lambda: K.conv2d(X, W, dilation=(1, 0)), ValueError, r"\[conv2d\] dilation is 0 along the columns"),
        (
            lambda: K.conv2d(X, W, stride=(1, 2, 3)),
            ValueError,
            r"\[conv2d\] stride must be an integer or a pair",
        ),
        (lambda: K.conv2d(X, W, padding=-1), ValueError, r"\[conv2d\] padding"),
        (lambda: K.conv2d(X, W, padding="full"), ValueError, r"\[conv2d\] padding 'full' is not one of"),
        (lambda: K.conv2d(X, W, dilation=3), ValueError, r"\[conv2d\] an image of 5 rows .* covers 7"),
        (lambda: K.conv2d(X, W[:0]), ValueError, r"\[conv2d\] weight of shape .* has no taps"),
        (lambda: K.conv2d(X[..., :0], W[:, :, :0]), ValueError, r"\[conv2d\] images need channels"),
        (lambda: K.conv2d(X, W.astype(np.float32)), TypeError, r"\[conv2d\] "),
        (lambda: K.conv2d(X, W, out=np.ones((2, 3, 4, 5))), ValueError, r"\[conv2d\] out "),
        (lambda: K.conv2d(X, W[:1, :1, :, :4], out=X), ValueError, r"\[conv2d\] out overlaps x"),
        (lambda: K.conv2d_transpose(D, W, output_padding=1), ValueError, r"\[conv2d_transpose\] "),
        (lambda: K.conv2d_transpose(D, W, padding=4), ValueError, r"\[conv2d_transpose\] padding of 4 \+ 4"),
        (lambda: K.conv2d_transpose(D, W, groups=0), ValueError, r"\[conv2d_transpose\] groups is 0"),
        (lambda: K.conv2d_backward(D[:, :2], X, W), ValueError, r"\[conv2d_backward\] d_out has 2 rows"),
        (lambda: K.conv2d_backward(D[:1], X, W), ValueError, r"\[conv2d_backward\] x has 2 images"),
        (lambda: K.conv2d_backward(D, X, W, l2=-1.0), ValueError, r"\[conv2d_backward\] l2 is -1"),
        (lambda: K.conv2d_backward(D, X, W, accumulate=True), TypeError, r"\[conv2d_backward\] accumulate"),
        (lambda: K.conv2d_backward(D, X, W, activation="gelu"), ValueError, r"\[conv2d_backward\] .*gelu"),
        (lambda: K.conv2d_backward(D, X, W, d_x=X), ValueError, r"\[conv2d_backward\] d_x overlaps x"),
        (
            lambda: K.conv2d_backward(D, X, W, d_weight=W),
            ValueError,
            r"\[conv2d_backward\] d_weight overlaps w",
        ),
        (
            lambda: K.conv2d(X, W, padding=2**30, stride=2**30),
            ValueError,
            r"\[conv2d\] an image of 5 rows .* is larger than",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=f"^{message}"):
        call()
    assert all((a == 1).all() for a in (X, W, D))


def test_gradients_lie_apart(dtype):
    """Two operations write the gradients: neither writes if one of them would be refused."""
    x, w, d_out = X.astype(dtype), W.astype(dtype), D.astype(dtype)
    room = np.full(400, 7, dtype)
    d_x, d_weight = room[:240].reshape(x.shape), room[100:316].reshape(w.shape)
    with pytest.raises(ValueError, match=r"^\[conv2d_backward\] d_x overlaps d_weight in memory"):
        K.conv2d_backward(d_out, x, w, d_x=d_x, d_weight=d_weight)
    d_bias = room[230:236]
    with pytest.raises(ValueError, match=r"^\[conv2d_backward\] d_x overlaps d_bias in memory"):
        K.conv2d_backward(d_out, x, w, d_x=d_x, d_bias=d_bias)
    assert (room == 7).all()
