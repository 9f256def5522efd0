"""Oracles of `take_rows` and `take_sparse_rows`, from NumPy's indexing."""

from __future__ import annotations

import numpy as np


def _take_rows(m):
    args = (m.normal(m.n, m.k), m.rng.permutation(m.n))
    return m.case("take_rows", args, {"out": m.empty(m.n - 2, m.k)}, start=np.array(2))


def _take_sparse_rows(m):
    per_row = min(m.k, 17)
    indices = np.concatenate([m.rng.permutation(m.k)[:per_row] for _ in range(m.n)]).astype(np.int32)
    indptr = np.arange(0, m.n * per_row + 1, per_row, dtype=np.int32)
    args = (m.normal(m.n * per_row), indices, indptr, m.rng.permutation(m.n))
    return m.case("take_sparse_rows", args, {"out": m.empty(m.n - 2, m.k)}, start=np.array(2))


CASES = {
    "take_rows": _take_rows,
    "take_sparse_rows": _take_sparse_rows,
}
