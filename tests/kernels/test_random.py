"""Philox4x32-10 against its published test vectors, and the streams, uniforms and permutations made from it."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tolerances
from backends import GuardedOutput

from steepest import kernels as K

ONES = 0xFFFFFFFF
# (counter, key, words) from kat_vectors of the Random123 distribution of Salmon et al. (2011).
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
# With this seed the fourth word begins with 24 one bits, which gives the largest float32 uniform number.
SEED_OF_LARGEST_UNIFORM = 39075


def words(n, seed, stream):
    """The first n 32-bit words of a stream: counter (index, stream), key seed, low halves first."""
    out = []
    for index in range(-(-n // 4)):
        counter = (index & ONES, index >> 32, stream & ONES, stream >> 32)
        out += reference.philox4x32(counter, (seed & ONES, seed >> 32))
    return out[:n]


def bits64(n, seed, stream):
    w = words(2 * n, seed, stream)
    return np.array([w[2 * i] | w[2 * i + 1] << 32 for i in range(n)], np.uint64)


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS, ids=["zeros", "ones", "pi"])
def test_oracle_gives_the_published_vectors(counter, key, expected):
    assert reference.philox4x32(counter, key) == expected


def test_kernel_gives_the_published_vector():
    assert [hex(b) for b in K.random_bits(2, seed=0, stream=0)] == [
        hex(0xE169C58D6627E8D5),
        hex(0x9B00DBD8BC57AC4C),
    ]


@pytest.mark.parametrize("seed", [0, 1, 2**31, 0x299F31D0A4093822, 2**64 - 1])
@pytest.mark.parametrize("stream", [0, 1, 0x0370734413198A2E, 2**64 - 1])
def test_bits(seed, stream):
    for n in (1, 2, 3, 33, 130):
        bits = K.random_bits(n, seed=seed, stream=stream)
        assert bits.dtype == np.uint64
        assert (bits == bits64(n, seed, stream)).all()


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 15, 16, 17, 129])
def test_uniform_values(dtype, n):
    for seed, stream in [(0, 0), (12345, 7), (2**63 + 5, 2**40)]:
        if dtype == np.float32:
            u = np.array([w >> 8 for w in words(n, seed, stream)]) * 2.0**-24
        else:
            u = (bits64(n, seed, stream) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        assert K.random_uniform((n,), seed=seed, stream=stream, dtype=dtype).tolist() == u.tolist()
        scaled = K.random_uniform((n,), -0.3, 0.7, seed=seed, stream=stream, dtype=dtype)
        # Rounding errors of one product and one sum.
        np.testing.assert_allclose(scaled, -0.3 + u, rtol=0, atol=2 * tolerances.eps(dtype))


@pytest.mark.parametrize("shape", [(12,), (3, 4), (2, 3, 2), (0,), (0, 5), ()], ids=str)
def test_uniform_shapes_hold_the_same_stream(dtype, shape):
    x = K.random_uniform(shape, seed=3, dtype=dtype)
    assert x.shape == shape
    assert x.dtype == dtype
    flat = K.random_uniform((x.size,), seed=3, dtype=dtype)
    assert x.ravel().tolist() == flat.tolist()


def test_uniform_default_is_float32():
    assert K.random_uniform((3,), seed=0).dtype == np.float32


@pytest.mark.parametrize("layout", ["c", "at_end", "columns"])
def test_uniform_out(dtype, layout):
    out = GuardedOutput((37,), dtype, layout)
    assert K.random_uniform((37,), seed=9, dtype=dtype, out=out.view) is out.view
    out.assert_margin_untouched()
    assert out.view.tolist() == K.random_uniform((37,), seed=9, dtype=dtype).tolist()


@pytest.mark.parametrize("layout", ["strided", "reversed"])
def test_uniform_out_must_be_contiguous(dtype, layout):
    out = GuardedOutput((37,), dtype, layout)
    with pytest.raises(ValueError, match=r"^\[random_uniform\] out must be contiguous"):
        K.random_uniform((37,), seed=9, dtype=dtype, out=out.view)


def test_uniform_never_reaches_its_upper_bound():
    # 1 + (1 - 2^-24) lies halfway between 2 - 2^-23 and 2, and would round to 2.
    x = K.random_uniform((4,), 1.0, 2.0, seed=SEED_OF_LARGEST_UNIFORM)
    assert K.random_uniform((4,), seed=SEED_OF_LARGEST_UNIFORM).max() == 1.0 - 2.0**-24
    assert x.max() < 2.0


def test_uniform_moments(dtype):
    n = 400_000
    low, high = -2.0, 3.0
    x = K.random_uniform((n,), low, high, seed=11, dtype=dtype).astype(np.float64)
    assert x.min() >= low
    assert x.max() < high
    width = high - low
    u = (x - low) / width
    z = tolerances.standard_errors(n)
    # A uniform variable has the mean 1/2 with variance 1/12; second central moment 1/12 with variance 1/180.
    assert abs(u.mean() - 0.5) < z * np.sqrt(1 / 12)
    assert abs(((u - 0.5) ** 2).mean() - 1 / 12) < z * np.sqrt(1 / 180)
    # Successive numbers are uncorrelated: the mean of products of independent variables of variance 1/12.
    assert abs(((u[1:] - 0.5) * (u[:-1] - 0.5)).mean()) < z / 12


def test_seeds_and_streams_differ():
    draws = {K.random_bits(4, seed=s, stream=t).tobytes() for s in range(8) for t in range(8)}
    assert len(draws) == 64


@pytest.mark.parametrize("n", [0, 1, 2, 3, 17, 1000, 70001])
def test_permutation(n):
    p = K.permutation(n, seed=5, stream=2)
    assert p.dtype == np.int64
    assert (np.sort(p) == np.arange(n)).all()
    assert (p == np.argsort(K.random_bits(n, seed=5, stream=2), kind="stable")).all()


def test_permutations_differ_and_repeat():
    first = K.permutation(100, seed=1)
    assert (first == K.permutation(100, seed=1)).all()
    assert (first != K.permutation(100, seed=2)).any()
    assert (first != K.permutation(100, seed=1, stream=1)).any()


def test_every_position_is_as_likely():
    # Positions of item 0 in 6000 permutations of 6 items: binomial(6000, 1/6) counts with standard deviation 28.9.
    landed = [int(np.flatnonzero(K.permutation(6, seed=s) == 0)[0]) for s in range(6000)]
    counts = np.bincount(landed, minlength=6)
    assert np.abs(counts - 1000).max() < 6 * np.sqrt(6000 * (1 / 6) * (5 / 6))


def test_threads_do_not_change_the_numbers(threads):
    bits = K.random_bits(300_001, seed=8)
    assert (bits[:64] == bits64(64, 8, 0)).all()
    assert (bits[-1:] == np.array([bits64_at(300_000, 8)], np.uint64)).all()


def bits64_at(i, seed):
    w = reference.philox4x32((i // 2, 0, 0, 0), (seed, 0))
    return w[2 * (i % 2)] | w[2 * (i % 2) + 1] << 32


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (1, 0),
        (np.nan, 1),
        (0, np.nan),
        (0, np.inf),
        (-np.inf, 0),
        (-np.finfo(float).max, np.finfo(float).max),
    ],
)
def test_uniform_in_no_interval(dtype, low, high):
    out = np.full(3, -77.0, dtype)
    with pytest.raises(ValueError, match=r"^\[random_uniform\] the interval is \["):
        K.random_uniform(3, low, high, seed=0, dtype=dtype, out=out)
    assert (out == -77.0).all()


def test_uniform_in_the_longest_interval():
    for dtype in (np.float32, np.float64):
        largest = float(np.finfo(dtype).max)
        for low, high in ((0, largest), (-largest / 2, largest / 2)):
            numbers = K.random_uniform(1000, low, high, seed=0, dtype=dtype)
            assert (low <= numbers).all()
            assert (numbers < high).all()
    with pytest.raises(ValueError, match=r"^\[random_uniform\] the interval is \["):
        K.random_uniform(3, 0, 1e39, seed=0)
