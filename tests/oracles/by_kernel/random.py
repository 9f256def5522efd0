"""Random numbers from Philox in Python integers, which shares no code with the kernels."""

from __future__ import annotations

import numpy as np

from .arrays import F64

MASK32 = 0xFFFFFFFF


def philox4x32(counter, key, rounds=10):
    """Philox4x32 of Salmon et al. (2011), section 3.3: four words from a counter of four and a key of two."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(rounds):
        product0, product1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (
            (product1 >> 32) ^ c1 ^ k0,
            product1 & MASK32,
            (product0 >> 32) ^ c3 ^ k1,
            product0 & MASK32,
        )
        k0, k1 = (k0 + 0x9E3779B9) & MASK32, (k1 + 0xBB67AE85) & MASK32
    return c0, c1, c2, c3


def words_of(index, seed, stream):
    """The four random words of counter `index`."""
    return philox4x32(
        (index & MASK32, index >> 32, stream & MASK32, stream >> 32), (seed & MASK32, seed >> 32)
    )


def uniforms(index, seed, stream):
    """Two uniform numbers in [0, 1) with 53 bits."""
    w = words_of(index, seed, stream)
    return [((low | high << 32) >> 11) * 2.0**-53 for low, high in (w[:2], w[2:])]


def normals(count, seed, stream):
    """Standard normal numbers by the Box–Muller transform: the cosine, then the sine, of each angle."""
    words = np.array([words_of(k, seed, stream) for k in range(-(-count // 4))], F64).reshape(-1, 2) / 2.0**32
    radius, angle = np.sqrt(-2.0 * np.log(words[:, 0] + 2.0**-33)), 2.0 * np.pi * words[:, 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).ravel()[:count]


def _random_uniform(m):
    shape = (m.n * m.k,)
    return m.case(
        "random_uniform", (shape, -1.0, 2.0), {"out": m.empty(*shape)}, seed=4, stream=1, dtype=m.dtype
    )


CASES = {
    "random_uniform": _random_uniform,
}
