"""`sampled_score`: scores of observations that the oracle samples from the same random words; distribution tests."""

from __future__ import annotations

from itertools import pairwise

import backends
import numpy as np
import pytest
import reference
import scipy.stats
import tolerances
from backends import identical, lay_out

import steepest
from steepest import kernels as K

DISTRIBUTIONS = reference.DISTRIBUTIONS
WORDS = {"seed": 0x299F31D0A4093822, "stream": 0x0370734413198A2E}
MANY = 20_000
LEAST = 1e-6  # smallest accepted p-value of a goodness-of-fit test; the seeds are fixed
SIGMAS = tolerances.standard_errors(1)


def make(rng, dtype, n, c, distribution):
    c += c % 2 if distribution == "gaussian_learned_variance" else 0
    z = rng.standard_normal((n, c))
    return (3.0 * z if distribution == "poisson" else z).astype(dtype)


def check_score(z, distribution, layouts=backends.LAYOUTS, **words):
    """Compare scores with the oracle, except where the rounding of z could change the sample."""
    words = words or WORDS
    expected, distance = reference.sampled_score(z, distribution, **words)
    sure = np.broadcast_to(distance > 16 * tolerances.eps(z.dtype), z.shape)
    assert sure.mean() > 0.95
    tolerance = np.where(sure, tolerances.sampled_score(z.dtype, z, distribution, expected), 2.0)
    return backends.check(
        K.sampled_score,
        (z,),
        ("out",),
        [expected],
        [tolerance],
        layouts=layouts,
        distribution=distribution,
        **words,
    )[0]


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (19, 10), (5, 33), (2, 130)], ids=str)
def test_layouts(rng, dtype, shape, distribution):
    check_score(make(rng, dtype, *shape, distribution), distribution)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_edges(rng, dtype, distribution):
    for n, c in [
        (1, 2),
        (1, 3),
        (1, 9),
        (3, 16),
        (2, 17),
        (2, 31),
        (1, 64),
        (33, 2),
        (65, 1),
        (12, 86),
        (3, 350),
    ]:
        check_score(
            make(rng, dtype, n, c, distribution),
            distribution,
            layouts=("c", "at_end"),
            seed=2**64 - 1,
            stream=2**64 - 1,
        )


@pytest.mark.parametrize("c", [300, 2049, 9000])
def test_many_classes(rng, dtype, c):
    check_score(make(rng, dtype, 40, c, "categorical"), "categorical", layouts=("c", "fortran"))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_dtypes_draw_the_same(rng, distribution):
    z = make(rng, np.float32, 60, 8, distribution)
    single, double = (K.sampled_score(z.astype(t), distribution, **WORDS) for t in (np.float32, np.float64))
    tolerance = tolerances.sampled_score(np.float32, z, distribution, double)
    assert (np.abs(single - double) > tolerance).mean() < 1e-3


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("layout", ["c", "strided", "transposed_slice"])
def test_in_place(rng, dtype, distribution, layout):
    z = lay_out(make(rng, dtype, 9, 34, distribution), layout)
    expected = K.sampled_score(z, distribution, **WORDS)
    assert K.sampled_score(z, distribution, **WORDS, out=z) is z
    assert identical(np.ascontiguousarray(z), np.ascontiguousarray(expected))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_stream_from_an_array(rng, dtype, distribution):
    z = make(rng, dtype, 6, 8, distribution)
    stream, out = np.array(0), np.empty_like(z)
    with steepest.capture() as graph:
        K.sampled_score(z, distribution, seed=9, stream=stream, out=out)
        K.increment(stream)
    drawn = []
    for t in range(3):
        graph.replay()
        assert identical(out, K.sampled_score(z, distribution, seed=9, stream=t))
        drawn.append(out.copy())
    assert not np.array_equal(drawn[0], drawn[1])
    # A negative stream has the bits of a large unsigned one.
    last = K.sampled_score(z, distribution, seed=9, stream=np.array(-2))
    assert identical(last, K.sampled_score(z, distribution, seed=9, stream=2**64 - 2))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_threads_change_nothing(rng, dtype, distribution):
    z = make(rng, dtype, 1500, 14, distribution)
    before, results = steepest.get_num_threads(), []
    for threads in (1, 2, 3, 5):
        steepest.set_num_threads(threads)
        results.append(K.sampled_score(z, distribution, **WORDS))
    steepest.set_num_threads(before)
    for other in results[1:]:
        assert identical(results[0], other)


# ------------------------------------------------------------------------------------------------ distributions


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("n", [MANY // 16, MANY])
def test_mean_is_zero_and_second_moment_the_fisher_information(dtype, distribution, n):
    """Both agree within their standard errors, which fall as 1 / sqrt(n)."""
    row = np.array([0.3, -1.2, 2.0, 0.9], dtype)
    scores = K.sampled_score(np.tile(row, (n, 1)), distribution, seed=3, stream=n).astype(np.float64)
    h = reference.output_fisher(np.tile(row, (4, 1)), np.eye(4), distribution, scale=4.0)
    assert (np.abs(scores.mean(axis=0)) <= SIGMAS * np.sqrt(np.diag(h) / n)).all()
    products = scores[:, :, None] * scores[:, None, :]
    error = products.std(axis=0) / np.sqrt(n)
    assert (np.abs(products.mean(axis=0) - h) <= SIGMAS * error + 1e-6).all()


def assert_fits(counts, probabilities):
    """Assert that counts pass a chi-squared test against probabilities."""
    total = counts.sum()
    assert (total * probabilities >= 5).all()
    assert scipy.stats.chisquare(counts, total * probabilities / probabilities.sum()).pvalue > LEAST


@pytest.mark.parametrize("c", [2, 7, 60])
def test_classes_fit(dtype, c):
    logits = np.linspace(-1.0, 1.5, c).astype(dtype)
    scores = K.sampled_score(np.tile(logits, (MANY, 1)), "categorical", seed=1, stream=c)
    assert_fits(np.bincount(scores.argmin(axis=1), minlength=c), reference.softmax(logits))


@pytest.mark.parametrize("z", [-4.0, -0.7, 0.0, 0.7, 4.0])
def test_labels_fit(dtype, z):
    scores = K.sampled_score(np.full((100, MANY // 100), z, dtype), "bernoulli", seed=2, stream=1)
    p = 1.0 / (1.0 + np.exp(-z))
    assert_fits(np.array([(scores > 0).sum(), (scores < 0).sum()]), np.array([1.0 - p, p]))


def test_normal_numbers_fit(dtype):
    scores = K.sampled_score(np.zeros((MANY, 1), dtype), "gaussian", seed=4, stream=1).ravel()
    edges = scipy.stats.norm.ppf(np.linspace(0, 1, 41))
    assert_fits(np.histogram(scores, edges)[0], np.full(40, 1 / 40))
    # The two numbers of a Box–Muller pair share a radius and an angle, but are independent.
    first, second = np.sign(scores[::2]), np.abs(scores[1::2]) > 0.6744897501960817
    table = np.array([[((first > 0) == a)[second == b].sum() for a in (0, 1)] for b in (0, 1)])
    assert_fits(table.ravel(), np.full(4, 1 / 4))
    assert abs(np.corrcoef(scores[::2], scores[1::2])[0, 1]) < SIGMAS / np.sqrt(MANY / 2)


@pytest.mark.parametrize("mean", [0.05, 1.0, 3.0, 9.99, 10.01, 12.0, 40.0, 1e3, 1e6, 1e9])
def test_counts_fit(mean):
    z = np.full((100, MANY // 100), np.log(mean))
    scores = K.sampled_score(z, "poisson", seed=6, stream=7)
    counts = np.exp(z) - scores
    rounded = np.round(counts).ravel()
    assert (np.abs(counts.ravel() - rounded) <= 1e-15 * mean + 1e-9).all()
    assert (rounded >= 0).all()
    # Bins between quantiles 0.05 apart.
    inner = np.unique(scipy.stats.poisson.ppf(np.linspace(0.05, 0.95, 19), mean))
    edges = np.concatenate([[-1.0], inner, [np.inf]])
    probabilities = np.diff(scipy.stats.poisson.cdf(edges, mean))
    found = np.array([((rounded > a) & (rounded <= b)).sum() for a, b in pairwise(edges)])
    assert_fits(found, probabilities)


def test_counts_of_enormous_means_are_normal(dtype):
    z = np.full((MANY, 1), 40.0, dtype)
    scores = K.sampled_score(z, "poisson", seed=6, stream=8).ravel() / np.exp(20.0)
    edges = scipy.stats.norm.ppf(np.linspace(0, 1, 41))
    assert_fits(np.histogram(scores, edges)[0], np.full(40, 1 / 40))


# ---------------------------------------------------------------------------------------------------- edge cases


def test_certain_classes(dtype):
    z = np.array([[1e4, 0, -1e4], [-np.inf, 3e4, -np.inf], [2, -np.inf, -np.inf]], dtype)
    for stream in range(20):
        assert (K.sampled_score(z, "categorical", seed=1, stream=stream) == 0).all()
    assert (K.sampled_score(np.full((50, 1), 7, dtype), "categorical", seed=1, stream=2) == 0).all()


@pytest.mark.parametrize("c", [4, 70])
def test_impossible_classes_are_not_drawn(dtype, c):
    z = np.zeros((3000, c), dtype)
    z[:, 0] = z[:, 2:] = -np.inf
    z[:, c - 2] = 0
    scores = K.sampled_score(z, "categorical", seed=1, stream=5)
    impossible = np.isinf(z)
    assert (scores[impossible] == 0).all()
    assert set(scores.argmin(axis=1)) == {1, c - 2}


def test_certain_labels_and_counts(dtype):
    sure = np.array([[np.inf, -np.inf, 1e4, -1e4]], dtype)
    assert (K.sampled_score(sure, "bernoulli", seed=1, stream=2) == 0).all()
    assert (K.sampled_score(np.array([[-np.inf, -1e4]], dtype), "poisson", seed=1, stream=2) == 0).all()


@pytest.mark.parametrize("distribution", ["bernoulli", "gaussian_learned_variance", "poisson"])
def test_not_a_number_stays_in_its_place(rng, dtype, distribution):
    z = make(rng, dtype, 6, 20, distribution)
    z[2, 13] = np.nan
    expected = np.isnan(z)
    if distribution == "gaussian_learned_variance":
        expected = np.roll(expected, -10, axis=1)  # the mean that belongs to this log-variance
    assert (np.isnan(K.sampled_score(z, distribution, **WORDS)) == expected).all()


@pytest.mark.parametrize("c", [5, 100])
def test_not_a_number_stays_in_its_row(rng, dtype, c):
    z = make(rng, dtype, 8, c, "categorical")
    z[3, 2] = np.nan
    found = np.isnan(K.sampled_score(z, "categorical", **WORDS))
    assert found[3].all()
    assert not np.delete(found, 3, axis=0).any()


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_empty(dtype, distribution):
    for shape in [(0, 4), (3, 0), (0, 0)]:
        assert K.sampled_score(np.ones(shape, dtype), distribution, **WORDS).shape == shape


# ----------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"z": np.ones(4)}, ValueError, "z must be 2-D"),
        ({"z": np.ones((5, 4), int)}, TypeError, "z has dtype int64"),
        ({"distribution": "laplace"}, ValueError, "distribution 'laplace' is not one of: categorical, bern"),
        ({"distribution": None}, TypeError, "distribution must be a string"),
        ({"seed": -1}, ValueError, "seed is -1; it must be in 0"),
        ({"stream": 2**64}, ValueError, "stream is 18446744073709551616; it must be in 0"),
        ({"stream": np.array(1, np.int32)}, TypeError, "stream must be a number or a 0-d int64 array"),
        ({"out": np.ones((4, 5))}, ValueError, "out has shape"),
    ],
    ids=str,
)
def test_bad_arguments(changes, error, match):
    arguments = {"z": np.ones((5, 4)), "distribution": "categorical", "seed": 0, "stream": 0}
    with pytest.raises(error, match=rf"^\[sampled_score\] {match}"):
        K.sampled_score(**{**arguments, **changes})


def test_log_variances_come_in_pairs():
    with pytest.raises(
        ValueError,
        match=r"^\[sampled_score\] z has shape \(5, 3\): each row must hold a mean and a log-variance",
    ):
        K.sampled_score(np.ones((5, 3)), "gaussian_learned_variance", **WORDS)
