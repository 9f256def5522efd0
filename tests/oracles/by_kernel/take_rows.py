"""Oracles of `take_rows`, `put_rows`, `take_sparse_rows` and `embedding_backward`, from NumPy's indexing."""

from __future__ import annotations

import numpy as np

from .arrays import f64
from .rounding import absolute, dot


def embedding_backward(d_out, ids, out, *, accumulate=False):
    """The product of the one-hot rows' transpose and d_out; `out` gives the shape and what is added to."""
    one_hot = np.arange(len(out))[:, None] == ids
    return one_hot @ f64(d_out) + (f64(out) if accumulate else 0.0)


def embedding_backward_tolerance(dtype, d_out, ids, out, *, accumulate=False):
    """A sum of as many terms as rows have the most frequent id, and one more."""
    terms = np.bincount(ids.astype(np.int64), minlength=1).max() + 1
    return dot(dtype, terms, embedding_backward(absolute(d_out), ids, absolute(out), accumulate=accumulate))


def _take_rows(m):
    args = (m.normal(m.n, m.k), m.rng.permutation(m.n))
    return m.case("take_rows", args, {"out": m.empty(m.n - 2, m.k)}, start=np.array(2))


def _put_rows(m):
    args = (m.normal(m.n - 2, m.k), m.rng.permutation(m.n), out := m.normal(m.n, m.k))
    return m.in_place("put_rows", args, [out], start=np.array(2))


def _take_sparse_rows(m):
    per_row = min(m.k, 17)
    indices = np.concatenate([m.rng.permutation(m.k)[:per_row] for _ in range(m.n)]).astype(np.int32)
    indptr = np.arange(0, m.n * per_row + 1, per_row, dtype=np.int32)
    args = (m.normal(m.n * per_row), indices, indptr, m.rng.permutation(m.n))
    return m.case("take_sparse_rows", args, {"out": m.empty(m.n - 2, m.k)}, start=np.array(2))


def _embedding_backward(**options):
    def make(m):
        args = (m.normal(m.n, m.k), m.rng.integers(0, m.k, m.n).astype(np.uint16))
        if options:
            return m.in_place("embedding_backward", (*args, out := m.normal(m.k + 3, m.k)), [out], **options)
        return m.case("embedding_backward", args, {"out": m.empty(m.k + 3, m.k)})

    return make


CASES = {
    "embedding_backward": _embedding_backward(),
    "embedding_backward/accumulate": _embedding_backward(accumulate=True),
    "put_rows": _put_rows,
    "take_rows": _take_rows,
    "take_sparse_rows": _take_sparse_rows,
}
