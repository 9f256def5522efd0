"""`linear_bernoulli`: means of binary units and draws of them, from the oracle's Philox words or from given numbers."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tolerances
from backends import SIZES, check, identical, layouts_beside

import steepest
from steepest import kernels as K

HALF = {"seed": 0x299F31D0A4093822, "stream": 0x0370734413198A2E}


def make(rng, dtype, n, n_in, n_out):
    w = rng.standard_normal((n_in, n_out)) / np.sqrt(n_in)
    return (
        rng.standard_normal((n, n_in)).astype(dtype),
        w.astype(dtype),
        rng.standard_normal(n_out).astype(dtype),
    )


def check_draws(x, w, b, uniforms=None, seed=0, stream=0, **options):
    means, draws = reference.linear_bernoulli(x, w, b, uniforms, seed=seed, stream=stream)
    u = reference.label_uniforms(*means.shape, seed, stream) if uniforms is None else uniforms
    tolerance = tolerances.linear_bernoulli(x.dtype, x, w, b, means, u)
    assert (tolerance[1] > 0).mean() < 0.01
    return check(
        K.linear_bernoulli,
        (x, w, b, uniforms),
        ("means", "draws"),
        (means, draws),
        tolerance,
        seed=seed,
        stream=stream,
        **options,
    )


@pytest.mark.parametrize("given", [False, True], ids=["philox", "given"])
@pytest.mark.parametrize("shape", [(1, 4, 1), (17, 31, 33), (40, 12, 10), (3, 600, 9)], ids=str)
def test_layouts(rng, dtype, shape, given):
    x, w, b = make(rng, dtype, *shape)
    uniforms = rng.random((shape[0], shape[2])).astype(dtype) if given else None
    check_draws(x, w, None if given else b, uniforms, layouts=layouts_beside(shape[0] + given), **HALF)


@pytest.mark.parametrize("n_out", SIZES)
def test_edges(rng, dtype, n_out):
    check_draws(
        *make(rng, dtype, SIZES[n_out % 11], 5, n_out), seed=2**64 - 1, stream=3, layouts=("c", "at_end")
    )


def test_large(rng, dtype, threads):
    x, w, b = make(rng, dtype, 130, 700, 210)
    means, draws = K.linear_bernoulli(x, w, b, **HALF)
    expected = reference.linear(x, w, b, "sigmoid")
    assert np.allclose(means, expected, rtol=0, atol=tolerances.linear(dtype, x, w, b, expected, 0.25).max())
    for i, j in [(0, 0), (7, 209), (64, 100), (129, 208)]:
        word = reference.words_of(i * 53 + j // 4, **HALF)[j % 4]
        assert draws[i, j] == (means[i, j] > (word // 256 | 1) / 2**24)
    # Draws have their means, and neighbours are uncorrelated.
    z, noise = tolerances.standard_errors(draws.size), draws - expected
    variance = expected * (1 - expected)
    assert abs(noise.mean()) < z * np.sqrt(variance.mean())
    for beside in (noise[:, 1:] * noise[:, :-1], noise[1:] * noise[:-1]):
        assert abs(beside.mean()) < z * variance.mean()


def test_certain_labels(dtype):
    """A probability of 0 or 1 leaves no chance, and one that is no number gives none."""
    x = np.repeat(np.array([[-1e4], [1e4], [np.nan]], dtype), 50, axis=0)
    _, draws = K.linear_bernoulli(x, np.ones((1, 35), dtype), seed=1)
    assert (draws[:50] == 0).all()
    assert (draws[50:100] == 1).all()
    assert np.isnan(draws[100:]).all()
    # A number that equals the mean is not below it.
    half = np.full((3, 20), 0.5, dtype)
    assert (K.linear_bernoulli(np.zeros((3, 1), dtype), np.ones((1, 20), dtype), uniforms=half)[1] == 0).all()


def test_empty(dtype):
    means, draws = K.linear_bernoulli(np.ones((0, 4), dtype), np.ones((4, 3), dtype))
    assert means.shape == draws.shape == (0, 3)
    means, _ = K.linear_bernoulli(np.ones((2, 0), dtype), np.ones((0, 3), dtype), seed=4)
    assert (means == 0.5).all()


def test_stream_from_an_array(rng, dtype):
    x, w, b = make(rng, dtype, 6, 9, 21)
    stream, means, draws = np.array(0), np.empty((6, 21), dtype), np.empty((6, 21), dtype)
    with steepest.capture() as graph:
        K.linear_bernoulli(x, w, b, means=means, draws=draws, seed=9, stream=stream)
        K.increment(stream)
    for t in range(3):
        graph.replay()
        assert identical(draws, K.linear_bernoulli(x, w, b, seed=9, stream=t)[1])


def test_invalid_arguments(rng, dtype):
    x, w, b = make(rng, dtype, 6, 9, 21)
    for arguments, message in [
        ((x, w.T), "the columns of x must be the rows of w"),
        ((x, w, b[1:]), r"b has shape \(20,\)"),
        ((x, w, b, np.ones((6, 20), dtype)), r"uniforms has shape \(6, 20\)"),
    ]:
        with pytest.raises(ValueError, match=rf"^\[linear_bernoulli\] .*{message}"):
            K.linear_bernoulli(*arguments)
    both = np.full((6, 21), 7, dtype)
    with pytest.raises(ValueError, match=r"^\[linear_bernoulli\] .*overlap"):
        K.linear_bernoulli(x, w, b, means=both, draws=both)
    assert (both == 7).all()
