"""`output_fisher`: Fisher information of a distribution times a vector, against sums over all observations."""

from __future__ import annotations

import backends
import numpy as np
import pytest
import reference
import tolerances
from backends import SIZES, assert_close, check, identical, lay_out

import steepest
from steepest import kernels as K

DISTRIBUTIONS = reference.DISTRIBUTIONS
INDEPENDENT = DISTRIBUTIONS[1:]


def make(rng, dtype, n, c, distribution):
    c += c % 2 if distribution == "gaussian_learned_variance" else 0
    return rng.standard_normal((n, c)).astype(dtype), rng.standard_normal((n, c)).astype(dtype)


def expected_and_tolerance(z, v, distribution, weight=None, scale=1.0):
    expected = reference.output_fisher(z, v, distribution, weight, scale)
    w = scale * reference.row_weights(len(z), weight)
    return expected, tolerances.output_fisher(z.dtype, z, v, distribution, w, expected)


def product(z, v, weight, distribution, **options):
    return K.output_fisher(z, v, distribution, weight, **options)


def check_product(z, v, distribution, weight=None, scale=1.0, **options):
    expected, tolerance = expected_and_tolerance(z, v, distribution, weight, scale)
    options = {"distribution": distribution, "scale": scale, **options}
    return check(product, (z, v, weight), ("out",), [expected], [tolerance], **options)[0]


def weights(rng, dtype, n):
    weight = rng.random(n).astype(dtype)
    weight[n // 2] = 0
    return weight


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("shape", [(1, 1), (19, 10), (5, 64), (33, 2), (3, 301)], ids=str)
def test_layouts(rng, dtype, shape, distribution, weighted):
    z, v = make(rng, dtype, *shape, distribution)
    check_product(z, v, distribution, weights(rng, dtype, len(z)) if weighted and len(z) > 1 else None, 1.75)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_edges(rng, dtype, distribution):
    for i, n in enumerate(SIZES):
        z, v = make(rng, dtype, n, SIZES[(5 * i + 2) % len(SIZES)], distribution)
        check_product(z, v, distribution, weights(rng, dtype, n) if n > 1 else None, layouts=("c", "at_end"))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_large(rng, dtype, threads, distribution):
    z, v = make(rng, dtype, 3000, 34, distribution)
    check_product(z, v, distribution, layouts=("c",))
    check_product(z, v, distribution, weights(rng, dtype, 3000), -0.5, layouts=("c", "fortran"))


@pytest.mark.skipif(backends.ON_CPU, reason="these are the dispatch boundaries of the CUDA kernels")
@pytest.mark.parametrize("c", [16, 17, 65, 257, 1024, 4097, 8196, 32769, 40001])
def test_wide_rows(rng, dtype, c):
    for distribution in ("categorical", "gaussian_learned_variance", "poisson"):
        z, v = make(rng, dtype, 4, c, distribution)
        # The oracle's cost is quadratic in the number of classes.
        if distribution == "categorical" and c > 4097:
            p = reference.softmax(z)
            expected = 0.25 * p * (v - (p * v).sum(axis=1, keepdims=True))
            tolerance = tolerance_of(z, v, expected)
            check(product, (z, v, None), ("out",), [expected], [tolerance], distribution=distribution)
        else:
            check_product(z, v, distribution, layouts=("c", "at_end", "reversed"))


def tolerance_of(z, v, expected):
    return tolerances.output_fisher(z.dtype, z, v, "categorical", np.full(len(z), 1 / len(z)), expected)


@pytest.mark.parametrize("distribution", ["categorical", "bernoulli"])
@pytest.mark.parametrize("n", [4096, 4097, 9000])
def test_many_rows(rng, dtype, n, distribution):
    z, v = make(rng, dtype, n, 10, distribution)
    check_product(z, v, distribution, weights(rng, dtype, n), layouts=("c",))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("layout", ["c", "strided", "fortran"])
@pytest.mark.parametrize("c", [10, 200])
def test_in_place(rng, dtype, distribution, layout, c):
    for target in ("z", "v"):
        arrays = dict(
            zip("zv", (lay_out(a, layout) for a in make(rng, dtype, 21, c, distribution)), strict=True)
        )
        expected = K.output_fisher(*arrays.values(), distribution)
        assert K.output_fisher(*arrays.values(), distribution, out=arrays[target]) is arrays[target]
        assert identical(np.ascontiguousarray(arrays[target]), np.ascontiguousarray(expected))


def test_what_is_between_the_passes(rng):
    """J^T H J v of a layer agrees with the dense matrix."""
    x, w, v = rng.standard_normal((9, 5)), rng.standard_normal((5, 4)), rng.standard_normal((5, 4))
    z = x @ w
    d = K.output_fisher(z, K.linear_tangent(x, v), "categorical")
    _, d_w, _ = K.linear_backward(d, x, w, input_grad=False)
    p, s = reference.scores_of_observations(z, "categorical")
    gradients = np.einsum("ni,nkc->nkic", x, s).reshape(9, 4, 20)
    dense = np.einsum("nk,nka,nkb->ab", p, gradients, gradients) / 9
    np.testing.assert_allclose(d_w.ravel(), dense @ v.ravel(), rtol=1e-11, atol=1e-13)


def test_extreme_logits(dtype):
    z = np.array([[1e4, 0, -1e4], [-np.inf, 0.5, 1.0], [3e4, 3e4, 3e4], [0, -90, 2]], dtype)
    v = np.array([[1.0, 2.0, 3.0]] * 4, dtype)
    out = check_product(z, v, "categorical")
    assert (out[0] == 0).all()
    labels = np.array([[-200.0, -80.0, -1e-3, 0.0, 30.0, 80.0, 1e4, np.inf, -np.inf]], dtype)
    assert (check_product(labels, np.ones_like(labels), "bernoulli")[0, -3:] == 0).all()


def saturated(rng, dtype, c):
    """Rows in which one class has nearly all the probability, with growing margins."""
    gaps = np.array([5.0, 15.0, 20.0, 30.0, 50.0, 65.0])
    z = 0.5 * rng.standard_normal((len(gaps), c))
    z[np.arange(len(gaps)), rng.integers(0, c, len(gaps))] += gaps
    return z.astype(dtype), (3.0 + rng.standard_normal((len(gaps), c))).astype(dtype)


@pytest.mark.parametrize("c", [2, 3, 10, 65, 301])
def test_nearly_certain_classes_keep_their_digits(rng, dtype, c):
    z, v = saturated(rng, dtype, c)
    expected, tolerance = reference.softmax_product(z, v), tolerances.softmax_product(dtype, z, v)
    check(
        product, (z, v, None), ("out",), [expected / 6], [tolerance / 6], distribution="categorical",
        layouts=("c", "fortran"),
    )  # fmt: skip
    # The product with a constant is exactly 0.
    assert (K.output_fisher(z, np.full_like(z, 0.7), "categorical") == 0).all()


@pytest.mark.skipif(backends.ON_CPU, reason="these rows exceed the registers of a CUDA block")
def test_nearly_certain_classes_of_very_long_rows(rng, dtype):
    z, v = saturated(rng, dtype, 40001)
    p = reference.softmax(z)
    u = v - np.take_along_axis(v, z.argmax(axis=1)[:, None], axis=1).astype(np.float64)
    expected = p * (u - (p * u).sum(axis=1, keepdims=True))
    assert_close(
        K.output_fisher(z, v, "categorical"), expected / 6, tolerances.softmax_product(dtype, z, v) / 6, "out"
    )


def test_large_exponentials_meet_small_numbers(dtype):
    """In float32 exp(100) is infinite and exp(-100) underflows, but their products with these vectors are finite."""
    z = np.array([[100.0, -100.0, 30.0, 0.0]], np.float64).astype(dtype)
    v = np.array([[1e-20, 1e20, 1.0, 0.0]]).astype(dtype)
    check_product(z, v, "poisson")
    assert np.isfinite(check_product(-z.repeat(2, 1), v.repeat(2, 1), "gaussian_learned_variance")).all()


@pytest.mark.parametrize("distribution", INDEPENDENT)
def test_not_a_number_stays_in_its_place(rng, dtype, distribution):
    z, v = make(rng, dtype, 6, 20, distribution)
    v[2, 3] = np.nan
    z[4, 15] = np.nan
    found = np.isnan(K.output_fisher(z, v, distribution))
    expected = np.isnan(v)
    if distribution == "gaussian_learned_variance":
        expected[4, 5] = True  # the mean that belongs to this log-variance
    elif distribution != "gaussian":
        expected[4, 15] = True
    assert (found == expected).all()


@pytest.mark.parametrize("c", [5, 100])
def test_not_a_number_stays_in_its_row(rng, dtype, c):
    for place in ("z", "v"):
        z, v = make(rng, dtype, 8, c, "categorical")
        {"z": z, "v": v}[place][3, 2] = np.nan
        found = np.isnan(K.output_fisher(z, v, "categorical"))
        assert found[3].all()
        assert not np.delete(found, 3, axis=0).any()


@pytest.mark.parametrize("c", [1, 10, 100])
def test_constants_are_in_the_null_space_of_classes(rng, dtype, c):
    z = rng.standard_normal((7, c)).astype(dtype)
    v = np.full((7, c), 3, dtype)
    expected, tolerance = expected_and_tolerance(z, v, "categorical")
    out = K.output_fisher(z, v, "categorical")
    assert_close(out, np.zeros((7, c)), tolerance + np.abs(expected))
    if c == 1:
        assert (out == 0).all()


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_rows_without_weight(rng, dtype, distribution):
    z, v = make(rng, dtype, 5, 12, distribution)
    weight = np.array([0, 1, 0, 2, 0], dtype)
    z[0], v[2], v[4] = np.nan, np.inf, np.nan
    out = K.output_fisher(z, v, distribution, weight)
    assert (out[[0, 2, 4]] == 0).all()
    expected, tolerance = expected_and_tolerance(z[[1, 3]], v[[1, 3]], distribution, weight[[1, 3]])
    assert_close(out[[1, 3]], expected, tolerance)
    assert (K.output_fisher(z, v, distribution, np.zeros(5, dtype)) == 0).all()


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_empty(dtype, distribution):
    for shape in [(0, 4), (3, 0), (0, 0)]:
        z = np.ones(shape, dtype)
        assert K.output_fisher(z, z, distribution).shape == shape


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_threads_change_nothing(rng, dtype, distribution):
    z, v = make(rng, dtype, 2000, 18, distribution)
    weight = weights(rng, dtype, 2000)
    before, results = steepest.get_num_threads(), []
    for threads in (1, 2, 3, 5):
        steepest.set_num_threads(threads)
        results.append([K.output_fisher(z, v, distribution, w) for w in (None, weight)])
    steepest.set_num_threads(before)
    for other in results[1:]:
        assert all(identical(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_captured(rng, dtype, distribution):
    z, v = make(rng, dtype, 14, 6, distribution)
    weight, out = weights(rng, dtype, 14), np.zeros_like(z)
    with steepest.capture() as graph:
        K.output_fisher(z, v, distribution, weight, scale=2.0, out=out)
    for _ in range(2):
        z[...] = rng.standard_normal(z.shape)
        graph.replay()
        assert identical(out, K.output_fisher(z, v, distribution, weight, scale=2.0))


# ---------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"v": np.ones((5, 3))}, ValueError, "v has shape"),
        ({"z": np.ones(4), "v": np.ones(4)}, ValueError, "z must be 2-D"),
        ({"v": np.ones((5, 4), np.float32)}, TypeError, "v has dtype float32"),
        ({"distribution": "laplace"}, ValueError, "distribution 'laplace' is not one of: categorical, bern"),
        ({"distribution": 3}, TypeError, "distribution must be a string"),
        ({"sample_weight": np.ones(4)}, ValueError, "sample_weight has shape"),
        ({"sample_weight": np.ones(5, np.float32)}, TypeError, "sample_weight has dtype float32"),
        ({"scale": np.nan}, ValueError, "scale is nan; it must be finite"),
        ({"scale": np.inf}, ValueError, "scale is inf; it must be finite"),
        ({"out": np.ones((4, 5))}, ValueError, "out has shape"),
    ],
    ids=str,
)
def test_bad_arguments(changes, error, match):
    arguments = {"z": np.ones((5, 4)), "v": np.ones((5, 4)), "distribution": "categorical"}
    with pytest.raises(error, match=rf"^\[output_fisher\] {match}"):
        K.output_fisher(**{**arguments, **changes})


def test_log_variances_come_in_pairs():
    z = np.ones((5, 3))
    with pytest.raises(
        ValueError,
        match=r"^\[output_fisher\] z has shape \(5, 3\): each row must hold a mean and a log-variance",
    ):
        K.output_fisher(z, z, "gaussian_learned_variance")
