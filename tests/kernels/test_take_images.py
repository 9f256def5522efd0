"""`take_images` and `mix_rows`: conversion, windows, flips, cutout and mix-up against their definitions."""

from __future__ import annotations

import re

import numpy as np
import pytest
import reference
import tolerances
from backends import (
    DTYPES,
    ON_CPU,
    GuardedOutput,
    assert_close,
    identical,
    lay_out,
    on_each_number_of_threads,
)
from by_kernel.take_images import draws
from hypothesis import given
from hypothesis import strategies as st
from pooling import IMAGE_LAYOUTS
from scipy import stats

import steepest
from steepest import _cpu
from steepest import kernels as K

ALL = {"shift": (2, 3), "flip": True, "flip_vertical": True, "cutout": 3, "fill": -1.5, "mixup": 0.4}
ALL |= {"seed": 0x299F31D0A4093822, "stream": 2**40 + 3}


def bytes_of(rng, *shape):
    return rng.integers(0, 256, shape, np.uint8)


def taken(images, rows, dtype, **options):
    """Call the kernel into a new array, and compare the result and the weights with the oracle."""
    crop = options.get("crop") or images.shape[1:3]
    out = np.full((len(rows), *crop, *images.shape[3:]), -77, dtype)
    weights = np.full(len(rows), -77, dtype)
    mixing = {"mix_weights": weights} if options.get("mixup") else {}
    assert K.take_images(images, rows, out, **mixing, **options) is out
    expected, expected_weights = reference.take_images(images, rows, **options)
    assert_close(out, expected, tolerances.take_images(dtype, images, rows, **options), "out")
    if mixing:
        # On a grid of 2**-24; a rounding error may move a weight that lies between two of its points.
        assert_close(weights, expected_weights, 2.0**-24, "mix_weights")
        assert (weights == expected_weights).mean() > 0.9
    return out, weights


# ------------------------------------------------------------------------------------------------ conversion


@pytest.mark.parametrize(
    "shape", [(9, 28, 28), (9, 5, 7, 3), (9, 3, 1, 1), (9, 1, 33, 1), (9, 4, 4, 17)], ids=str
)
def test_conversion_is_a_rounded_product_and_a_rounded_sum(rng, dtype, shape):
    rows = rng.integers(0, 9, 20)
    for images in (bytes_of(rng, *shape), rng.standard_normal(shape).astype(dtype)):
        out = np.empty((20, *shape[1:]), dtype)
        K.take_images(images, rows, out, scale=0.37, offset=-1.7)
        assert identical(out, images[rows].astype(dtype) * dtype(0.37) + dtype(-1.7))


def test_defaults(rng, dtype):
    images = bytes_of(rng, 6, 4, 5, 3)
    images[0, 0, 0] = 0, 255, 128
    rows = rng.permutation(6)
    result = K.take_images(images, rows)
    assert result.dtype == np.float32
    assert identical(result, images[rows].astype(np.float32) * np.float32(1 / 255))
    assert (K.take_images(images, np.zeros(1, np.int64))[0, 0, 0][:2] == [0, 1]).all()
    floats = rng.standard_normal((6, 4, 5)).astype(dtype)
    assert identical(K.take_images(floats, rows), floats[rows])


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 16])
@pytest.mark.parametrize("columns", [1, 3, 19, 64])
def test_numbers_for_each_channel(rng, dtype, channels, columns):
    images, rows = bytes_of(rng, 5, 3, columns, channels), rng.integers(0, 5, 7)
    scale, offset = rng.uniform(0.5, 2, channels), rng.standard_normal(channels)
    out = np.empty((7, 3, columns, channels), dtype)
    K.take_images(images, rows, out, scale=tuple(scale), offset=list(offset))
    assert identical(out, images[rows].astype(dtype) * scale.astype(dtype) + offset.astype(dtype))
    taken(images, rows, dtype, **ALL, scale=tuple(scale), offset=tuple(offset))


# ----------------------------------------------------------------------------------------------- augmentation

OPTIONS = {
    "shift": {"shift": (2, 3)},
    "flip": {"flip": True},
    "flip_vertical": {"flip_vertical": True},
    "crop": {"crop": (4, 5)},
    "padded crop": {"crop": (9, 8), "shift": 4, "fill": 0.5},
    "beyond the image": {"shift": 20, "fill": 2.0},
    "cutout": {"cutout": 4, "fill": 0.5},
    "mixup": {"mixup": 0.2},
    "all": {**ALL, "crop": (5, 6)},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("channels", [None, 1, 3, 17])
def test_augmentation(rng, dtype, options, channels):
    shape = (11, 7, 9, *([] if channels is None else [channels]))
    rows = rng.integers(0, 11, 8)
    for images in (bytes_of(rng, *shape), rng.standard_normal(shape).astype(dtype)):
        taken(images, rows, dtype, **{"seed": 7, "stream": 2, **options})


@given(st.data())
def test_shapes_and_options(data):
    """Random sizes around those of vectors, with any part of the options."""
    draw, rng = data.draw, np.random.default_rng(data.draw(st.integers(0, 2**20)))
    h, w, c = (draw(st.integers(1, most)) for most in (5, 70, 20))
    shift = (draw(st.integers(0, 3)), draw(st.integers(0, 80)))
    options = {
        "shift": shift,
        "crop": tuple(draw(st.integers(1, n + 2 * s)) for n, s in zip((h, w), shift, strict=True)),
        "flip": draw(st.booleans()),
        "flip_vertical": draw(st.booleans()),
        "cutout": draw(st.integers(0, 9)),
        "mixup": draw(st.sampled_from([0.0, 0.3, 2.0])),
        "seed": draw(st.integers(0, 2**64 - 1)),
    }
    dtype = draw(st.sampled_from(DTYPES))
    images = bytes_of(rng, 4, h, w, c) if draw(st.booleans()) else rng.random((4, h, w, c)).astype(dtype)
    taken(images, rng.integers(0, 4, draw(st.integers(1, 5))), dtype, **options)


@pytest.mark.parametrize("layout", IMAGE_LAYOUTS)
@pytest.mark.parametrize("options", [{}, ALL], ids=["plain", "augmented"])
def test_layouts(rng, dtype, layout, options):
    rows = rng.permutation(6)[:5]
    for images in (bytes_of(rng, 6, 5, 9, 3), rng.standard_normal((6, 5, 9, 3)).astype(dtype)):
        expected, weights = taken(images, rows, dtype, **options)
        out, strided = GuardedOutput(expected.shape, dtype, layout), GuardedOutput((5,), dtype, layout)
        mixing = {"mix_weights": strided.view} if options else {}
        K.take_images(lay_out(images, layout), lay_out(rows, layout), out.view, **mixing, **options)
        assert identical(out.view, expected)
        out.assert_margin_untouched()
        if options:
            assert identical(strided.view, weights)
            strided.assert_margin_untouched()


def test_flat_rows_seen_as_images(rng, dtype):
    flat, rows = bytes_of(rng, 8, 4 * 5 * 3 + 2)[:, :60], rng.permutation(8)
    out = np.zeros((8, 60), dtype)
    K.take_images(flat.reshape(8, 4, 5, 3), rows, out.reshape(8, 4, 5, 3), flip=True, seed=1)
    assert identical(
        out.reshape(8, 4, 5, 3), taken(flat.reshape(8, 4, 5, 3), rows, dtype, flip=True, seed=1)[0]
    )


def test_without_a_seed_the_window_is_in_the_middle(rng):
    images = bytes_of(rng, 3, 6, 9)
    assert identical(
        K.take_images(images, np.arange(3), crop=(4, 4)),
        K.take_images(images[:, 1:5, 2:6].copy(), np.arange(3)),
    )


# ---------------------------------------------------------------------------------------------- random numbers


def test_draws_belong_to_positions(rng, dtype):
    """The numbers of an image depend on its position alone, and not on the batch that it is in."""
    images, rows = bytes_of(rng, 30, 6, 7, 2), rng.permutation(30)
    options = {**ALL, "mixup": 0.0}
    whole = taken(images, rows, dtype, **options)[0]
    for start, end in ((0, 7), (7, 19), (19, 30)):
        part = np.empty_like(whole[start:end])
        K.take_images(images, rows, part, start=start, **options)
        assert identical(part, whole[start:end])


def test_a_captured_step_draws_anew(rng, dtype):
    images, rows = bytes_of(rng, 12, 6, 7), rng.permutation(12)
    cursor, stream = np.array(0), np.array(5)
    out, weights, mixed = np.empty((4, 6, 7), dtype), np.empty(4, dtype), np.empty(4, dtype)
    targets = rng.standard_normal(4).astype(dtype)
    options = {**ALL, "stream": stream}
    with steepest.capture() as graph:
        K.take_images(images, rows, out, start=cursor, mix_weights=weights, **options)
        K.mix_rows(targets, weights, mixed)
        K.increment(cursor, 4)
    assert tuple(graph.operations) == ("take_images", "mix_rows", "increment")
    for epoch in (5, 6):
        stream[...], cursor[...] = epoch, 0
        for start in (0, 4, 8):
            graph.replay()
            given = {**ALL, "stream": epoch, "start": start, "batch": 4}
            expected, _ = reference.take_images(images, rows, **given)
            assert_close(out, expected, tolerances.take_images(dtype, images, rows, **given))
            assert identical(mixed, K.mix_rows(targets, weights))


def test_windows_flips_and_centres_are_uniform(rng):
    """The draws of many images, counted; chi-squared tests with a fixed seed."""
    n, shape = 6000, (5, 4)
    options = {"shift": (2, 1), "flip": True, "flip_vertical": True, "cutout": 1, "seed": 11}
    drawn = [draws(shape, position, **options) for position in range(n)]
    keys = [(*d["place"], d["flip"], d["flip_vertical"]) for d in drawn]
    # `taken` proves that the kernel uses these draws.
    taken(bytes_of(rng, 3, *shape), rng.integers(0, 3, 50), np.float32, **options)
    for values in (keys, [d["centre"] for d in drawn]):
        _, counts = np.unique(np.array(values), axis=0, return_counts=True)
        assert len(counts) == (5 * 3 * 4 if values is keys else 5 * 4)
        assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("alpha", [0.02, 0.2, 0.5, 1.0, 3.0, 50.0])
def test_weights_have_the_beta_distribution(alpha):
    n = 20_000
    weights = np.empty(n)
    K.take_images(
        np.zeros((1, 1, 1)), np.zeros(n, np.int64), mixup=alpha, mix_weights=weights, seed=3, stream=9
    )
    assert (weights * 2**24 == np.round(weights * 2**24)).all()
    assert ((weights >= 0) & (weights <= 1)).all()
    # Continuous again: the grid puts the numbers near 0 and 1 onto the ends.
    inner = np.linspace(2.0**-20, 1 - 2.0**-20, 4001)
    empirical = np.searchsorted(np.sort(weights), inner, side="right") / n
    distance = np.abs(empirical - stats.beta(alpha, alpha).cdf(inner)).max()
    assert stats.kstwo.sf(distance, n) > 1e-3


@pytest.mark.parametrize("alpha", [1e-300, 1e-3, 1e6])
def test_extreme_mixtures(alpha):
    weights = np.empty(2000)
    K.take_images(np.zeros((1, 1, 1)), np.zeros(2000, np.int64), mixup=alpha, mix_weights=weights, seed=3)
    if alpha < 1:
        assert ((weights < 1e-6) | (weights > 1 - 1e-6)).mean() > 0.97
        assert abs(weights.mean() - 0.5) < 0.1
    else:
        assert np.abs(weights - 0.5).max() < 5 / np.sqrt(8 * alpha)


@pytest.mark.cpu_only("a GPU has no teams")
def test_threads_change_nothing(rng, dtype):
    images, rows = bytes_of(rng, 40, 33, 29, 3), rng.integers(0, 40, 61)
    results = []
    for _ in on_each_number_of_threads((1, 2, 3)):
        out, weights, plain = (
            np.empty((61, 33, 29, 3), dtype),
            np.empty(61, dtype),
            np.empty((61, 33, 29, 3), dtype),
        )
        K.take_images(images, rows, out, mix_weights=weights, **ALL)
        results.append(
            [out, weights, K.take_images(images, rows, plain), K.mix_rows(out.reshape(61, -1), weights)]
        )
    for other in results[1:]:
        assert all(identical(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.skipif(ON_CPU, reason="it compares the CUDA kernels with those of the CPU")
def test_the_same_bits_as_on_the_cpu(rng, dtype):
    rows = rng.integers(0, 30, 300)
    for images in (bytes_of(rng, 30, 6, 9, 3), rng.standard_normal((30, 6, 9, 3)).astype(dtype)):
        results = []
        for module in (K, _cpu):
            out, weights = np.empty((300, 6, 9, 3), dtype), np.empty(300, dtype)
            numbers = {"scale": (0.1, 0.2, 0.3), "offset": (-1.0, 0.0, 1.0)}
            module.take_images(images, rows, out, mix_weights=weights, **numbers, **ALL)
            results.append((out, weights, module.mix_rows(out.reshape(300, -1), weights)))
        assert all(identical(a, b) for a, b in zip(*results, strict=True))


# ------------------------------------------------------------------------------------------------------ errors


def test_nothing_to_take(dtype):
    images = np.zeros((3, 4, 5, 2), dtype)
    none = np.zeros(0, np.int64)
    assert K.take_images(images, none).shape == (0, 4, 5, 2)
    assert K.take_images(images[:0], none).shape == (0, 4, 5, 2)
    assert K.take_images(images[..., :0], np.zeros(2, np.int64)).shape == (2, 4, 5, 0)
    weights = np.zeros(0, dtype)
    assert K.take_images(images, none, mixup=1.0, mix_weights=weights, seed=0).shape == (0, 4, 5, 2)
    assert K.mix_rows(np.zeros((0, 3), dtype), weights).shape == (0, 3)


def test_an_image_alone_is_mixed_with_itself(rng):
    image, weights = rng.standard_normal((1, 4, 4)), np.empty(1)
    out = K.take_images(image, np.zeros(1, np.int64), mixup=1.0, mix_weights=weights, seed=0)
    np.testing.assert_allclose(out, image, rtol=1e-15)
    np.testing.assert_allclose(K.mix_rows(image[0], weights.repeat(4))[:, 0].sum(), image[0, :, 0].sum())


# A small batch is checked by the kernel that copies it, a large one by a kernel before.
@pytest.mark.parametrize("n", [40, 40_000])
def test_the_first_bad_row_is_reported_and_nothing_written(n):
    rows, out = np.zeros(n, np.int64), np.full((n, 2, 2), 7.0, np.float32)
    rows[[n - 3, n - 2]] = 9, -1
    with pytest.raises(IndexError, match=rf"^\[take_images\] index 9 at position {n - 3} is outside 0\.\.4"):
        K.take_images(np.zeros((5, 2, 2), np.uint8), rows, out)
    assert (out == 7.0).all()


@pytest.mark.parametrize("start", [-1, 3, 100, 2**63 - 1])
@pytest.mark.parametrize("as_array", [False, True], ids=["int", "array"])
def test_start_out_of_range(start, as_array):
    out = np.full((4, 2, 2), 7.0)
    with pytest.raises(IndexError, match=r"^\[take_images\] 4 rows from position"):
        K.take_images(np.ones((60, 2, 2)), np.arange(6), out, start=np.array(start) if as_array else start)
    assert (out == 7.0).all()


X, ROWS, LARGE = np.ones((4, 5, 6, 3), np.uint8), np.arange(4), 2**31
OUT = np.full((4, 5, 6, 3), 7.0, np.float32)
SEEDED = {"seed": 0}
MIXED = {"mixup": 1.0, "mix_weights": np.full(4, 7.0, np.float32), "seed": 0}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: K.take_images(X.astype(np.int32), ROWS),
            TypeError,
            "images has dtype int32; uint8, float32",
        ),
        (
            lambda: K.take_images(X[0, 0], ROWS),
            ValueError,
            "images must be (n, h, w) or (n, h, w, c), but has shape",
        ),
        (
            lambda: K.take_images(X, ROWS * 1.0),
            TypeError,
            "rows has dtype float64; an integer dtype is needed",
        ),
        (
            lambda: K.take_images(X, ROWS, OUT[:, :4]),
            ValueError,
            "out has shape (4, 4, 6, 3); (4, 5, 6, 3) is needed",
        ),
        (
            lambda: K.take_images(X, ROWS, OUT.astype(int)),
            TypeError,
            "out has dtype int64; float32 is needed",
        ),
        (
            lambda: K.take_images(X.astype(np.float64), ROWS, OUT),
            TypeError,
            "out has dtype float32; float64 is",
        ),
        (lambda: K.take_images(OUT, ROWS, OUT), ValueError, "out overlaps images in memory"),
        (lambda: K.take_images(X, ROWS[:3], OUT), ValueError, "out has 4 images, but there are only 3 rows"),
        (
            lambda: K.take_images(X, ROWS, start=np.array(0)),
            TypeError,
            "out is required if start is an array",
        ),
        (lambda: K.take_images(X, ROWS, start=5), IndexError, "start 5 is outside 0..4"),
        (
            lambda: K.take_images(X, ROWS, scale=(1.0, 2.0)),
            ValueError,
            "scale has 2 numbers, but the images have 3",
        ),
        (lambda: K.take_images(X, ROWS, offset=()), ValueError, "offset has 0 numbers; it must have 1..16"),
        (
            lambda: K.take_images(X, ROWS, offset=[0.0] * 17),
            ValueError,
            "offset has 17 numbers; it must have 1..16",
        ),
        (lambda: K.take_images(X, ROWS, scale=("1",) * 3), TypeError, "scale must be a number"),
        (
            lambda: K.take_images(X, ROWS, crop=(5, 7)),
            ValueError,
            "crop of 5 x 7 pixels does not fit into images of",
        ),
        (
            lambda: K.take_images(X, ROWS, crop=(8, 6), shift=1, **SEEDED),
            ValueError,
            "images of 7 x 8, padding",
        ),
        (lambda: K.take_images(X, ROWS, crop=0), ValueError, "crop is 0; it must be in 1..2**31-1"),
        (lambda: K.take_images(X, ROWS, crop=-1), ValueError, "crop must not be negative"),
        (
            lambda: K.take_images(X, ROWS, shift=(0, -1), **SEEDED),
            ValueError,
            "shift is -1; it must be in 0..2**31",
        ),
        (
            lambda: K.take_images(X, ROWS, shift=LARGE, **SEEDED),
            ValueError,
            "shift is 2147483648; it must be in 0..",
        ),
        (
            lambda: K.take_images(X, ROWS, cutout=-1, **SEEDED),
            ValueError,
            "cutout is -1; it must be in 0..2**31-1",
        ),
        *(
            (
                lambda option=option: K.take_images(X, ROWS, **option),
                ValueError,
                "seed is required for shift, flip,",
            )
            for option in ({"shift": 1}, {"flip": True}, {"flip_vertical": True}, {"cutout": 1})
        ),
        (
            lambda: K.take_images(X, ROWS, **{**MIXED, "seed": None}),
            ValueError,
            "seed is required for shift, flip",
        ),
        (
            lambda: K.take_images(X, ROWS, mixup=1.0, seed=0),
            ValueError,
            "mix_weights is required with mixup, and on",
        ),
        (
            lambda: K.take_images(X, ROWS, **{**MIXED, "mixup": 0.0}),
            ValueError,
            "mix_weights is required with mixup",
        ),
        (
            lambda: K.take_images(X, ROWS, **{**MIXED, "mixup": -1.0}),
            ValueError,
            "mixup is -1; it must be finite",
        ),
        (
            lambda: K.take_images(X, ROWS[:2], **MIXED),
            ValueError,
            "mix_weights has shape (4,); (2,) is needed",
        ),
        (lambda: K.take_images(X, ROWS, seed=-1), ValueError, "seed is -1; it must be in 0..2**64-1"),
        (
            lambda: K.mix_rows(OUT, OUT[:, 0, 0, 0]),
            ValueError,
            "x must be 1-D or 2-D, but has shape (4, 5, 6, 3)",
        ),
        (
            lambda: K.mix_rows(OUT[0, 0], OUT[0, 0, 0]),
            ValueError,
            "weights has shape (3,), but x has shape (6, 3)",
        ),
        (lambda: K.mix_rows(OUT[0, 0], OUT[0, 0, :, 0], OUT[0, 0]), ValueError, "out overlaps x in memory"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=rf"^\[(take_images|mix_rows)\] .*{re.escape(message)}"):
        call()
    assert (OUT == 7.0).all()
    assert (MIXED["mix_weights"] == 7.0).all()


# --------------------------------------------------------------------------------------------------- mix_rows


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (2, 3), (9, 17), (5, 33), (6,)], ids=str)
@pytest.mark.parametrize("layout", IMAGE_LAYOUTS)
def test_mix_rows(rng, dtype, shape, layout):
    x, weights = rng.standard_normal(shape).astype(dtype), rng.random(shape[0]).astype(dtype)
    out = GuardedOutput(shape, dtype, layout)
    assert K.mix_rows(lay_out(x, layout), lay_out(weights, layout), out.view) is out.view
    assert_close(out.view, reference.mix_rows(x, weights), tolerances.mix_rows(dtype, x, weights))
    out.assert_margin_untouched()
    assert identical(out.view, K.mix_rows(x, weights))
