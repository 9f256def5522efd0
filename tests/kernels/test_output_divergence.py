"""`output_divergence`: KL divergences of distributions, against their definition in decimal arithmetic."""

from __future__ import annotations

import backends
import divergence_reference
import numpy as np
import pytest
import reference
import tolerances
from backends import SIZES, assert_close, check, identical

import steepest
from steepest import kernels as K

DISTRIBUTIONS = reference.DISTRIBUTIONS
INDEPENDENT = DISTRIBUTIONS[1:]


def make(rng, dtype, n, c, distribution, distance=0.1):
    """Rows that repeat a few numbers, so that the oracle can cache their divergences."""
    c += c % 2 if distribution == "gaussian_learned_variance" else 0
    z = rng.standard_normal((min(n, 7), min(c, 40)))
    w = z + distance * rng.standard_normal(z.shape)
    repeats = (-(-n // len(z)), -(-c // z.shape[1]))
    return tuple(np.tile(a, repeats)[:n, :c].astype(dtype) for a in (z, w))


def weights(rng, dtype, n):
    weight = rng.random(n).astype(dtype)
    weight[n // 2] = 0
    return weight


def expected_and_tolerance(z, w, distribution, weight=None):
    shares = reference.row_weights(len(z), weight)
    rows = divergence_reference.rows(z, w, distribution)
    return shares @ rows, tolerances.output_divergence(z, w, distribution, shares, rows)


def divergence(z, w, weight, distribution, **options):
    return K.output_divergence(z, w, distribution, weight, **options)


def check_divergence(z, w, distribution, weight=None, **options):
    expected, tolerance = expected_and_tolerance(z, w, distribution, weight)
    found = check(
        divergence, (z, w, weight), ("out",), [expected], [tolerance], distribution=distribution, **options
    )[0]
    assert found.dtype == np.float64
    assert found.shape == ()
    assert found >= 0
    return found


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("shape", [(1, 1), (19, 10), (5, 64), (33, 2), (3, 301)], ids=str)
def test_layouts(rng, dtype, shape, distribution, weighted):
    z, w = make(rng, dtype, *shape, distribution)
    check_divergence(z, w, distribution, weights(rng, dtype, len(z)) if weighted and len(z) > 1 else None)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_edges(rng, dtype, distribution):
    for i, n in enumerate(SIZES):
        z, w = make(rng, dtype, n, SIZES[(5 * i + 2) % len(SIZES)], distribution, distance=1.0)
        check_divergence(
            z, w, distribution, weights(rng, dtype, n) if n > 1 else None, layouts=("c", "at_end")
        )


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_items_that_are_added_up_together(rng, dtype, distribution):
    """Rows of one item, and of sizes around the CPU's blocks; in a second check only the last item differs."""
    for n, c in [(511, 1), (512, 1), (513, 1), (2, 511), (2, 512), (2, 513), (40, 26), (2, 1030)]:
        z, w = make(rng, dtype, n, c, distribution)
        if distribution == "gaussian_learned_variance":
            z, w = (np.concatenate([a[:, : a.shape[1] // 2]] * 2, axis=1) for a in (z, w))
        check_divergence(z, w, distribution, layouts=("c", "fortran"))
        w = z.copy()
        w[-1, -1] += 0.5
        check_divergence(z, w, distribution, layouts=("c",))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_large(rng, dtype, threads, distribution):
    z, w = make(rng, dtype, 3000, 34, distribution)
    check_divergence(z, w, distribution, layouts=("c",))
    check_divergence(z, w, distribution, weights(rng, dtype, 3000), layouts=("c", "fortran"))


@pytest.mark.skipif(backends.ON_CPU, reason="these are the dispatch boundaries of the CUDA kernels")
@pytest.mark.parametrize("c", [3, 16, 17, 65, 257, 1024, 2049, 4097])
def test_wide_rows(rng, dtype, c):
    for distribution in ("categorical", "bernoulli", "gaussian_learned_variance"):
        z, w = make(rng, dtype, 3, c, distribution)
        check_divergence(z, w, distribution, layouts=("c", "at_end", "reversed"))


@pytest.mark.parametrize("distribution", ["categorical", "bernoulli"])
@pytest.mark.parametrize("n", [4096, 4097, 9000])
def test_many_rows(rng, dtype, n, distribution):
    z, w = make(rng, dtype, n, 10, distribution)
    check_divergence(z, w, distribution, weights(rng, dtype, n), layouts=("c",))


# ------------------------------------------------------------------------------------------------------ numerics


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("spread", [1.0, 10.0])
def test_near_distributions(rng, dtype, distribution, spread):
    """The divergence of near distributions, about a squared difference, has full relative accuracy."""
    for distance in 10.0 ** -np.arange(1, 7 if dtype == np.float32 else 13):
        z = (spread * rng.standard_normal((4, 6))).astype(dtype)
        w = (z + distance * rng.standard_normal(z.shape)).astype(dtype)
        for i in range(4):
            check_divergence(z[i : i + 1], w[i : i + 1], distribution, layouts=("c",))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_where_the_forms_change(dtype, distribution):
    """Differences w - z around ±1, where the kernel changes its formula, and far beyond; one item at a time."""
    for z in (-30.0, -2.0, 0.0, 0.7, 5.0, 40.0):
        for t in (0.3, 0.99, 1.0, np.nextafter(1.0, 2.0), 1.01, 2.0, 12.0, 37.0, 90.0):
            for sign in (-1.0, 1.0):
                first = np.array([[z, -z, 0.5, 1.0]], dtype)
                second = first + np.array([[0.0, 0.0, sign * t, 0.0]], dtype)
                check_divergence(first, second, distribution, layouts=("c",))


def test_large_logits(dtype):
    for z, w in [
        (1e4, -1e4),
        (-1e4, 1e4),
        (1e4, 1e4),
        (80.0, 90.0),
        (-80.0, -90.0),
        (0.0, 1e4),
        (-300.0, 400.0),
    ]:
        check_divergence(np.array([[z]], dtype), np.array([[w]], dtype), "bernoulli", layouts=("c",))
    assert K.output_divergence(np.array([[1e4]], dtype), np.array([[-1e4]], dtype), "bernoulli") == 1e4
    rows = [
        ([1e4, 0.0, -1e4], [-1e4, 0.0, 1e4]),
        ([0.0, 1e4, -3.0], [0.0, 1e4, -2.0]),
        ([50.0, 0.0, 0.0], [50.0, 1.0, 8.0]),
        ([-700.0, 0.0, 1.0], [-50.0, 0.0, 1.0]),
        ([-700.0, 0.0, 1.0], [620.0, 0.0, 1.0]),
        ([599.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
        ([0.0, 0.0, 0.0], [599.0, 0.0, 0.0]),
        ([0.0, 0.0, 2.0], [2000.0, 1990.0, 0.0]),
        ([-800.0, 0.0, 2.0], [605.0, 0.0, 2.0]),
    ]
    for z, w in rows:
        check_divergence(np.array([z], dtype), np.array([w], dtype), "categorical", layouts=("c",))


def test_large_exponentials_meet_small_numbers():
    """A finite divergence stays finite even if exponentials in its formula overflow."""
    for z, w in [(720.0, 720.0 + 1e-5), (-700.0, 5.0), (1500.0, 1500.0), (-1500.0, 700.0), (700.0, -1500.0)]:
        assert np.isfinite(check_divergence(np.array([[z]]), np.array([[w]]), "poisson", layouts=("c",)))
    for z, w in [
        ([1e150, 800.0], [-1e150, 800.0]),
        ([0.0, -800.0], [1e-180, -800.0]),
        ([3.0, -1500.0], [3.0, -1500.5]),
        ([0.0, -900.0], [0.0, 900.0]),
        ([0.0, 300.0], [0.0, -300.0]),
        ([1e-170, 0.0], [0.0, 0.0]),
    ]:
        found = check_divergence(np.array([z]), np.array([w]), "gaussian_learned_variance", layouts=("c",))
        assert np.isfinite(found)


@pytest.mark.parametrize(
    ("z", "w", "distribution"),
    [
        ([0.0], [720.0], "poisson"),
        ([720.0], [0.0], "poisson"),
        ([720.0], [725.0], "poisson"),
        ([1e160], [-1e160], "gaussian"),
        ([0.0, 720.0], [0.0, 0.0], "gaussian_learned_variance"),
        ([0.0, 0.0], [1e10, -700.0], "gaussian_learned_variance"),
        ([0.0, 1.0], [-np.inf, 1.0], "categorical"),
        ([0.0, 1.0], [0.0, -np.inf], "categorical"),
        ([0.0], [np.inf], "bernoulli"),
        ([0.0], [-np.inf], "bernoulli"),
    ],
    ids=str,
)
def test_infinite_divergences(z, w, distribution):
    assert K.output_divergence(np.array([z]), np.array([w]), distribution) == np.inf


def test_infinite_logits(dtype):
    """Equal infinite logits give a divergence of 0; a class with logit -inf counts as absent."""
    certain = np.array([[np.inf, -np.inf, 1.0]], dtype)
    assert K.output_divergence(certain, certain, "bernoulli") == 0
    assert K.output_divergence(certain, certain, "poisson") == 0
    z, w = (np.array([row], dtype) for row in ([0.3, 1.0, -2.0], [0.5, 0.25, 1.0]))
    for excluded in (0, 1, 3):
        longer = [np.insert(a, excluded, -np.inf, axis=1) for a in (z, w)]
        assert_close(
            K.output_divergence(*longer, "categorical"), *expected_and_tolerance(z, w, "categorical")
        )
    # If one class is certain and has probability q in the other distribution, KL = -log q.
    found = K.output_divergence(np.array([[0, -np.inf]], dtype), np.zeros((1, 2), dtype), "categorical")
    assert found == pytest.approx(np.log(2), rel=8 * tolerances.eps(np.float64))


def test_classes_do_not_see_a_constant(rng):
    z = rng.integers(-8, 8, (5, 12)) / 4.0
    w = z + rng.integers(-8, 8, z.shape) / 64.0
    found = K.output_divergence(z, w, "categorical")
    expected, tolerance = expected_and_tolerance(z, w + 256.0, "categorical")
    assert_close(K.output_divergence(z, w + 256.0, "categorical"), found, 2 * tolerance)
    assert_close(found, expected, tolerance)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_half_of_the_fisher_information_s_quadratic_form(rng, distribution):
    """KL = t^T F t / 2 up to a third-order error: a tenth of the distance gives a tenth of the relative error."""
    z, t = rng.standard_normal((6, 4)), rng.standard_normal((6, 4))
    quadratic = 0.5 * (t * K.output_fisher(z, t, distribution)).sum()
    errors = []
    for h in (1e-2, 1e-3, 1e-4, 1e-5):
        found = K.output_divergence(z, z + h * t, distribution)
        errors.append(abs(float(found) / (h**2 * quadratic) - 1.0))
    if distribution == "gaussian":
        # The formula is exact; only the rounding of z + h t remains.
        assert max(errors) < 1e-10
    else:
        np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 10.0, rtol=0.3)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_no_divergence_from_itself(rng, dtype, distribution):
    z = 20 * rng.standard_normal((40, 14)).astype(dtype)
    assert K.output_divergence(z, z, distribution) == 0
    assert K.output_divergence(z, z.copy(), distribution) == 0


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_not_a_number_is_not_lost(rng, dtype, distribution):
    for place in ("z", "w"):
        for i, j in [(0, 0), (3, 5), (8, 19)]:
            z, w = make(rng, dtype, 9, 20, distribution)
            {"z": z, "w": w}[place][i, j] = np.nan
            assert np.isnan(K.output_divergence(z, w, distribution))


# --------------------------------------------------------------------------------------------------- conventions


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_rows_without_weight(rng, dtype, distribution):
    z, w = make(rng, dtype, 5, 12, distribution)
    weight = np.array([0, 1, 0, 2, 0], dtype)
    z[0], w[2], w[4] = np.nan, np.inf, np.nan
    expected, tolerance = expected_and_tolerance(z[[1, 3]], w[[1, 3]], distribution, weight[[1, 3]])
    assert_close(K.output_divergence(z, w, distribution, weight), expected, tolerance)
    assert K.output_divergence(z, w, distribution, np.zeros(5, dtype)) == 0


@pytest.mark.cpu_only("threads are the CPU's")
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_threads_change_nothing(rng, dtype, distribution):
    z, w = make(rng, dtype, 2000, 18, distribution, distance=1.0)
    weight = weights(rng, dtype, 2000)
    before, results = steepest.get_num_threads(), []
    for threads in (1, 2, 3, 5):
        steepest.set_num_threads(threads)
        results.append([K.output_divergence(z, w, distribution, s) for s in (None, weight)])
    steepest.set_num_threads(before)
    for other in results[1:]:
        assert all(identical(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_captured(rng, dtype, distribution):
    z, w = make(rng, dtype, 14, 6, distribution)
    weight, out = weights(rng, dtype, 14), np.zeros(())
    with steepest.capture() as graph:
        K.output_divergence(z, w, distribution, weight, out=out)
    for _ in range(2):
        w[...] = rng.standard_normal(z.shape)
        graph.replay()
        assert identical(out, K.output_divergence(z, w, distribution, weight))


# ---------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"w": np.ones((5, 3))}, ValueError, "w has shape"),
        ({"z": np.ones(4), "w": np.ones(4)}, ValueError, "z must be 2-D"),
        ({"w": np.ones((5, 4), np.float32)}, TypeError, "w has dtype float32"),
        ({"z": np.ones((0, 4)), "w": np.ones((0, 4))}, ValueError, r"z has shape \(0, 4\): an empty batch"),
        ({"z": np.ones((5, 0)), "w": np.ones((5, 0))}, ValueError, r"z has shape \(5, 0\): an empty batch"),
        ({"distribution": "laplace"}, ValueError, "distribution 'laplace' is not one of: categorical, bern"),
        ({"distribution": 3}, TypeError, "distribution must be a string"),
        ({"sample_weight": np.ones(4)}, ValueError, "sample_weight has shape"),
        ({"sample_weight": np.ones(5, np.float32)}, TypeError, "sample_weight has dtype float32"),
        ({"out": np.ones(1)}, ValueError, "out has shape"),
        ({"out": np.ones((), np.float32)}, TypeError, "out has dtype float32"),
    ],
    ids=str,
)
def test_bad_arguments(changes, error, match):
    arguments = {"z": np.ones((5, 4)), "w": np.ones((5, 4)), "distribution": "categorical"}
    with pytest.raises(error, match=rf"^\[output_divergence\] {match}"):
        K.output_divergence(**{**arguments, **changes})


def test_log_variances_come_in_pairs():
    z = np.ones((5, 3))
    with pytest.raises(
        ValueError,
        match=r"^\[output_divergence\] z has shape \(5, 3\): each row must hold a mean and a log-variance",
    ):
        K.output_divergence(z, z, "gaussian_learned_variance")
