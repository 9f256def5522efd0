"""Attention: results, gradients and tangents against float64, sequences, masks, special rows, layouts, errors."""

from __future__ import annotations

import re

import numpy as np
import pytest
import reference
import tolerances
from backends import GuardedOutput, assert_close, identical, lay_out, on_each_number_of_threads
from by_kernel.arrays import finite_difference

import steepest
from steepest import kernels as K

REST = 77.0  # what GuardedOutput holds
LAYOUTS = ("c", "offset", "at_end", "columns")


def spans_of(lengths, gap=0, capacity=None):
    """First row and number of rows of sequences with `gap` rows before each, or one in each `capacity` rows."""
    lengths = np.asarray(lengths, np.int64)
    packed = np.cumsum(lengths + gap) - lengths
    firsts = packed if capacity is None else capacity * np.arange(len(lengths))
    return np.stack([firsts, lengths], axis=1)


class Problem:
    """Inputs of attention; rows outside of the sequences are NaN, so that reading them shows."""

    def __init__(
        self,
        rng,
        dtype,
        lengths,
        key_lengths=None,
        heads=2,
        key_heads=None,
        d=8,
        d_v=None,
        gap=0,
        key_gap=0,
        capacity=None,
        tables=True,
        mask=None,
        shared_mask=None,
        **options,
    ):
        self.rng, self.dtype, self.heads = rng, dtype, heads
        d_v = d if d_v is None else d_v
        spans = spans_of(lengths, gap)
        keys = spans if key_lengths is None else spans_of(key_lengths, key_gap, capacity)
        rows = int(spans.sum(axis=1).max(initial=0)) + gap
        key_rows = rows if key_lengths is None else int(keys.sum(axis=1).max(initial=0)) + key_gap
        if capacity is not None:
            key_rows = capacity * len(keys)
        self.spans, self.keys = spans, keys
        kept = key_heads or heads
        self.q = self.numbers(spans, rows, heads * d)
        self.k, self.v = (self.numbers(keys, key_rows, kept * w) for w in (d, d_v))
        self.pattern = dict(options)
        if key_heads is not None:
            self.pattern["key_heads"] = key_heads
        if tables:
            self.pattern["spans"] = spans
            if key_lengths is not None:
                self.pattern["key_spans"] = keys
        else:
            self.pattern["sequences"] = len(spans)
        most_keys, most = int(keys[:, 1].max(initial=0)), int(spans[:, 1].max(initial=0))
        if mask is not None:
            self.pattern["mask"] = rng.random((rows, most_keys + 3)) < mask
        if shared_mask is not None:
            self.pattern["shared_mask"] = rng.random((most + 2, most_keys + 1)) < shared_mask

    def numbers(self, spans, rows, columns):
        a = np.full((rows, columns), np.nan, self.dtype)
        for first, n in spans:
            a[first : first + n] = self.rng.standard_normal((n, columns))
        return a

    def like_result(self):
        width = self.v.shape[1] // (self.pattern.get("key_heads") or self.heads)
        return self.numbers(self.spans, len(self.q), width * self.heads)

    def forward(self):
        return K.attention(self.q, self.k, self.v, self.heads, **self.pattern)

    def known(self):
        """y and log_sum_exp by the oracle, in the dtype."""
        y = reference.attention(self.q, self.k, self.v, self.heads, rest=np.nan, **self.pattern)
        return [a.astype(self.dtype) for a in y]


def check_call(function, arrays, heads, pattern, names, expected, tolerance, layouts):
    for layout in layouts:
        given = [lay_out(a, layout) for a in arrays]
        masks = {m: lay_out(a, layout) if "mask" in m else a for m, a in pattern.items()}
        before = [None if a is None else np.asarray(a).tobytes() for a in given]
        outputs = {
            n: GuardedOutput(e.shape, arrays[-1].dtype, layout) for n, e in zip(names, expected, strict=True)
        }
        results = function(*given, heads, **masks, **{n: o.view for n, o in outputs.items()})
        results = results if isinstance(results, tuple) else (results,)
        for n, result, e, t in zip(names, results, expected, tolerance, strict=True):
            assert result is outputs[n].view
            outputs[n].assert_margin_untouched()
            assert_close(result, e, t, f"{function.__name__} {n}, layout {layout}")
        assert [None if a is None else np.asarray(a).tobytes() for a in given] == before


def check_forward(p, layouts=("c",)):
    args = (p.q, p.k, p.v)
    expected = reference.attention(*args, p.heads, rest=REST, **p.pattern)
    tolerance = tolerances.attention(p.dtype, *args, p.heads, **p.pattern)
    check_call(K.attention, args, p.heads, p.pattern, ("out", "log_sum_exp"), expected, tolerance, layouts)


def check_backward(p, layouts=("c",)):
    args = (p.like_result(), p.q, p.k, p.v)
    expected = reference.attention_backward(*args, p.heads, rest=REST, **p.pattern)
    tolerance = tolerances.attention_backward(p.dtype, *args, p.heads, **p.pattern)
    names = ("d_q", "d_k", "d_v")
    check_call(
        K.attention_backward, (*args, *p.known()), p.heads, p.pattern, names, expected, tolerance, layouts
    )


def check_tangent(p, which="qkv", layouts=("c",)):
    directions = [
        p.numbers(p.spans if x == "q" else p.keys, *getattr(p, x).shape) if x in which else None
        for x in "qkv"
    ]
    args = (*directions, p.q, p.k, p.v)
    expected = [reference.attention_tangent(*args, p.heads, rest=REST, **p.pattern)]
    tolerance = [tolerances.attention_tangent(p.dtype, *args, p.heads, **p.pattern)]
    check_call(
        K.attention_tangent, (*args, *p.known()), p.heads, p.pattern, ("out",), expected, tolerance, layouts
    )


def check_all(p, layouts=("c",)):
    check_forward(p, layouts)
    check_backward(p, layouts)
    check_tangent(p, layouts=layouts)


# -------------------------------------------------------------------------------- sequences, masks, heads, widths


PATTERNS = {
    "one": {"lengths": [19]},
    "one_step": {"lengths": [1]},
    "packed": {"lengths": [5, 70, 1, 0, 33]},
    "gaps": {"lengths": [5, 31, 2], "gap": 3},
    "equal": {"lengths": [17] * 3, "tables": False},
    "causal": {"lengths": [5, 70, 1, 33], "causal": True},
    "cross": {"lengths": [5, 0, 40], "key_lengths": [9, 3, 21], "gap": 1},
    "cross_causal": {"lengths": [5, 40, 30], "key_lengths": [90, 21, 30], "causal": True, "key_gap": 2},
    "cross_equal": {"lengths": [9] * 2, "key_lengths": [13] * 2, "tables": False, "causal": True},
    "cache": {"lengths": [1, 2, 3], "key_lengths": [4, 70, 33], "capacity": 80, "causal": True},
    "mask": {"lengths": [5, 31, 2], "mask": 0.5, "gap": 2},
    "shared_mask": {"lengths": [5, 31, 2], "shared_mask": 0.5},
    "all": {
        "lengths": [35, 1, 20],
        "key_lengths": [50, 70, 3],
        "causal": True,
        "mask": 0.6,
        "shared_mask": 0.8,
        "gap": 1,
        "heads": 6,
        "key_heads": 2,
        "d": 5,
        "d_v": 9,
    },
    "multi_query": {"lengths": [30, 2], "heads": 4, "key_heads": 1, "causal": True},
    "none": {"lengths": []},
    "no_keys": {"lengths": [3, 20], "key_lengths": [0, 0]},
    "no_queries": {"lengths": [0, 0], "key_lengths": [3, 20]},
}


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns(rng, dtype, name):
    check_all(Problem(rng, dtype, **PATTERNS[name]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(rng, dtype, layout):
    check_all(
        Problem(rng, dtype, [5, 20], [9, 33], causal=True, mask=0.7, shared_mask=0.8, d=7, d_v=3), [layout]
    )
    check_all(Problem(rng, dtype, [1, 3], [9, 33], mask=0.7, shared_mask=0.8, d=7, d_v=3), [layout])


@pytest.mark.parametrize(
    ("d", "d_v"), [(1, 1), (3, 2), (4, 31), (15, 16), (17, 33), (33, 65), (64, 8), (100, 70)]
)
def test_widths_of_heads(rng, dtype, d, d_v):
    check_all(Problem(rng, dtype, [21], [37], causal=True, d=d, d_v=d_v))
    check_all(Problem(rng, dtype, [2], [37], d=d, d_v=d_v))


@pytest.mark.parametrize("n", [13, 14, 15, 28, 29, 63, 64, 65, 129])
def test_lengths(rng, dtype, n):
    """Tiles and blocks of queries and keys begin and end at these lengths."""
    check_all(Problem(rng, dtype, [n], [n + 1], causal=True, heads=1, d=4))
    check_all(Problem(rng, dtype, [n + 1], [n], heads=1, d=4))


@pytest.mark.parametrize("queries", [1, 3, 20])
@pytest.mark.parametrize("causal", [False, True])
def test_long_sequences(rng, dtype, queries, causal):
    """Several blocks of keys, whose sums are scaled to the largest score so far."""
    p = Problem(rng, dtype, [queries], [1200], heads=2, key_heads=1, d=3, causal=causal, mask=0.5)
    p.k[:1200] *= np.linspace(0.1, 3, 1200, dtype=dtype)[:, None]  # larger scores in later blocks
    p.pattern["mask"][0, :600] = False  # a first block without keys
    check_all(p)


@pytest.mark.not_when_slow("long causal sequences")
def test_long_causal_sequences(rng, dtype):
    check_all(Problem(rng, dtype, [600, 7], [700, 600], heads=1, d=5, causal=True))


@pytest.mark.parametrize("which", ["q", "k", "v", "qk", "qv", "kv"])
def test_directions(rng, dtype, which):
    check_tangent(Problem(rng, dtype, [20, 2], [600, 33], causal=True, d=4), which)


def test_scale(rng, dtype):
    for scale in (0.0, -1.5, 2.5):
        check_all(Problem(rng, dtype, [20, 2], scale=scale))


# ------------------------------------------------------------------------------------------------ special rows


def test_queries_without_keys(rng, dtype):
    """Zeros and no gradient, never NaN: no keys, keys that come later, and masks without True."""
    p = Problem(rng, dtype, [9, 4, 30], [2, 0, 30], causal=True, mask=1.0)
    p.pattern["mask"][-5:] = False
    alone = [*range(7), *range(9, 13), *range(38, 43)]
    out, sums = p.forward()
    assert (out[alone] == 0).all()
    assert np.isneginf(sums[alone]).all()
    assert np.isfinite(out).all()
    assert np.isfinite(np.delete(sums, alone, axis=0)).all()
    d_q, d_k, d_v = K.attention_backward(p.like_result(), p.q, p.k, p.v, out, sums, p.heads, **p.pattern)
    assert (d_q[alone] == 0).all()
    assert all(np.isfinite(a).all() for a in (d_q, d_k, d_v))
    tangent = K.attention_tangent(p.q, p.k, p.v, p.q, p.k, p.v, out, sums, p.heads, **p.pattern)
    assert (tangent[alone] == 0).all()
    assert np.isfinite(tangent).all()
    check_all(p)


def test_large_scores(rng, dtype):
    """One key takes all of the probability; its value is the result."""
    for queries in (2, 30):
        p = Problem(rng, dtype, [queries], [40], heads=1, d=4)
        p.q *= dtype(300)
        out, sums = p.forward()
        best = (p.q.astype(np.float64) @ p.k.T.astype(np.float64)).argmax(axis=1)
        sure = np.sort(p.q.astype(np.float64) @ p.k.T.astype(np.float64) / 2, axis=1)
        sure = sure[:, -1] - sure[:, -2] > 40
        assert sure.any()
        assert_close(out[sure], p.v[best][sure], 4 * np.finfo(dtype).eps * np.abs(p.v).max())
        assert np.isfinite(sums).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite(rng, dtype, bad):
    """A bad query spoils its own row, a bad key its sequence; the others have the bits that they have without it."""
    p = Problem(rng, dtype, [20, 30])
    clean = p.forward()[0]
    p.q[3, 0] = bad
    out = p.forward()[0]
    assert np.isnan(out[3, :8]).all()
    assert np.isfinite(out[3, 8:]).all()
    assert identical(np.delete(out, 3, axis=0), np.delete(clean, 3, axis=0))
    p.q[3, 0], p.k[25, 1] = 0, np.nan
    out = p.forward()[0]
    assert np.isnan(out[20:, :8]).all()
    assert identical(out[4:20], clean[4:20])


# ------------------------------------------------------------------------------------------------- mathematics


def test_gradients_of_the_oracle(rng):
    p = Problem(rng, np.float64, [3, 2], [4, 3], heads=2, key_heads=1, d=2, causal=True, mask=0.8)
    w = p.like_result()
    inputs = {"q": p.q, "k": p.k, "v": p.v}
    gradients = reference.attention_backward(w, *inputs.values(), p.heads, **p.pattern)
    for name, gradient in zip(inputs, gradients, strict=True):

        def total(x, name=name):
            return (w * reference.attention(**{**inputs, name: x}, heads=p.heads, **p.pattern)[0]).sum()

        assert_close(gradient, finite_difference(total, inputs[name]), 1e-7)


def test_the_gradient_is_the_adjoint_of_the_tangent(rng, dtype):
    p = Problem(rng, dtype, [20, 3], [33, 70], heads=4, key_heads=2, causal=True, mask=0.8, d=6, d_v=10)
    y, sums = p.forward()
    d_y, directions = (
        p.like_result(),
        [p.numbers(s, *a.shape) for s, a in ((p.spans, p.q), (p.keys, p.k), (p.keys, p.v))],
    )
    gradients = K.attention_backward(d_y, p.q, p.k, p.v, y, sums, p.heads, **p.pattern)
    tangent = K.attention_tangent(*directions, p.q, p.k, p.v, y, sums, p.heads, **p.pattern)
    forward = (d_y.astype(np.float64) * tangent).sum()
    products = [g.astype(np.float64) * d for g, d in zip(gradients, directions, strict=True)]
    size = sum(np.abs(a).sum() for a in products)
    assert abs(forward - sum(a.sum() for a in products)) <= 30 * np.finfo(dtype).eps * size


def test_permuted_keys(rng, dtype):
    p = Problem(rng, dtype, [20], [600], mask=0.5)
    out, sums = p.forward()
    order = rng.permutation(600)
    p.k, p.v, p.pattern["mask"] = p.k[order], p.v[order], p.pattern["mask"][:, order]
    again = p.forward()
    tolerance = tolerances.attention(dtype, p.q, p.k, p.v, p.heads, **p.pattern)
    for a, b, t in zip(again, (out, sums), tolerance, strict=True):
        assert_close(a, b, 2 * t)


def test_sequences_are_independent(rng, dtype):
    """Each sequence alone, and each head alone, has the bits that it has among others."""
    lengths = [5, 40, 1]
    p = Problem(rng, dtype, lengths, heads=2, causal=True)
    out, _ = p.forward()
    for first, n in p.spans:
        rows = slice(first, first + n)
        alone = K.attention(p.q[rows], p.k[rows], p.v[rows], 2, causal=True)[0]
        assert identical(alone, out[rows])
        for h in (slice(0, 8), slice(8, 16)):
            alone = K.attention(p.q[rows, h], p.k[rows, h], p.v[rows, h], 1, causal=True)[0]
            assert identical(alone, out[rows, h])


def test_grouped_queries_are_heads_with_equal_keys(rng, dtype):
    p = Problem(rng, dtype, [20, 5], heads=4, key_heads=2, d=6)
    out, sums = p.forward()
    k, v = (np.repeat(a.reshape(25, 2, 6), 2, axis=1).reshape(25, 24) for a in (p.k, p.v))
    repeated = K.attention(p.q, k, v, 4, spans=p.spans)
    assert identical(out, repeated[0])
    assert identical(sums, repeated[1])


# ------------------------------------------------------------------------------------ columns of one array, threads


def test_columns_of_one_array(rng, dtype):
    """Queries, keys and values, and their gradients, are columns of one array, without a copy."""
    n, width = 40, 3 * 8
    qkv, d_qkv = rng.standard_normal((2 * n, 3 * width)).astype(dtype), np.empty((2 * n, 3 * width), dtype)
    parts, d_parts = ([a[:, i * width : (i + 1) * width] for i in range(3)] for a in (qkv, d_qkv))
    y, sums = K.attention(*parts, 3, sequences=2, causal=True)
    copies = [np.ascontiguousarray(a) for a in parts]
    assert identical(y, K.attention(*copies, 3, sequences=2, causal=True)[0])
    d_y = rng.standard_normal(y.shape).astype(dtype)
    names = dict(zip(("d_q", "d_k", "d_v"), d_parts, strict=True))
    K.attention_backward(d_y, *parts, y, sums, 3, sequences=2, causal=True, **names)
    expected = K.attention_backward(d_y, *copies, y, sums, 3, sequences=2, causal=True)
    assert all(identical(a, e) for a, e in zip(d_parts, expected, strict=True))


@pytest.mark.cpu_only("threads are the CPU's")
@pytest.mark.parametrize("lengths", [[300], [5, 130, 1, 64, 2, 2, 90]], ids=str)
@pytest.mark.parametrize("causal", [False, True])
def test_results_do_not_depend_on_threads(rng, dtype, lengths, causal):
    p = Problem(rng, dtype, lengths, heads=4, key_heads=2, d=32, causal=causal)
    d_y, results = p.like_result(), []
    for _ in on_each_number_of_threads((1, 2, 3, 5)):
        y, sums = p.forward()
        args = (p.q, p.k, p.v, y, sums, p.heads)
        tangent = K.attention_tangent(p.q, p.k, p.v, *args, **p.pattern)
        results.append([y, sums, *K.attention_backward(d_y, *args, **p.pattern), tangent])
    for other in results[1:]:
        assert all(identical(a, b) for a, b in zip(other, results[0], strict=True))


def test_replay_reads_spans_and_masks(rng, dtype):
    p = Problem(rng, dtype, [4, 5], [9, 20], capacity=30, mask=0.9, causal=True)
    p.k[:], p.v[:] = p.numbers(np.array([[0, 60]]), *p.k.shape), p.numbers(np.array([[0, 60]]), *p.v.shape)
    out, sums = np.zeros_like(p.like_result()), np.zeros((9, 2), dtype)
    with steepest.capture() as graph:
        K.attention(p.q, p.k, p.v, p.heads, **p.pattern, out=out, log_sum_exp=sums)
    for keys in ([9, 20], [12, 7]):
        p.pattern["key_spans"][:, 1] = keys
        p.pattern["mask"][:] = rng.random(p.pattern["mask"].shape) < 0.5
        graph.replay(1)
        assert identical(out, p.forward()[0])
        assert_close(out, reference.attention(p.q, p.k, p.v, p.heads, **p.pattern)[0], 1e-4)


# ------------------------------------------------------------------------------------------------------ errors


def refused(error, message, p, **changes):
    out, sums = np.full_like(p.like_result(), 5), np.full((len(p.q), 2), 5, p.dtype)
    names = {"q": p.q, "k": p.k, "v": p.v, "heads": p.heads, "out": out, "log_sum_exp": sums}
    with pytest.raises(error, match=re.escape(message)):
        K.attention(**{**names, **p.pattern, **changes})
    assert (out == 5).all()
    assert (sums == 5).all()


def test_bad_arguments(rng, dtype):
    p = Problem(rng, dtype, [3, 4], d=6)
    wide = np.zeros((7, 13), dtype)
    refused(ValueError, "[attention] heads is 0; it must be at least 1", p, heads=0)
    refused(
        ValueError, "heads is 2 and key_heads is 3: heads must be a multiple of key_heads", p, key_heads=3
    )
    refused(ValueError, "q has shape (7, 13), whose columns are not 2 heads of the same width", p, q=wide)
    refused(ValueError, "k has shape (7, 13); (7, 12) is needed", p, k=wide)
    refused(ValueError, "v has shape (7, 13), whose columns are not 2 heads", p, v=wide)
    refused(ValueError, "the rows of k must be contiguous", p, k=np.asfortranarray(p.k))
    refused(ValueError, "scale is inf; it must be finite", p, scale=np.inf)
    refused(ValueError, "key_spans must be (n, 2)", p, key_spans=np.zeros((2, 3), np.int64))
    refused(ValueError, "spans has 2 sequences, but key_spans has 1", p, key_spans=p.spans[:1])
    refused(ValueError, "sequences is 3, but there are 2 spans", p, sequences=3)
    refused(ValueError, "7 rows cannot be divided into 2 sequences", p, spans=None, sequences=2)
    refused(TypeError, "spans has dtype int32; int64 is needed", p, spans=p.spans.astype(np.int32))
    refused(TypeError, "mask has dtype float32; bool is needed", p, mask=np.ones((7, 4), np.float32))
    refused(ValueError, "mask must be 2-D", p, mask=np.ones(7, bool))
    refused(ValueError, "mask has shape (6, 4), but q has 7 rows", p, mask=np.ones((6, 4), bool))
    equal = {"spans": None, "sequences": 1}
    refused(
        ValueError, "mask has shape (7, 6), but sequences have 7 keys", p, **equal, mask=np.ones((7, 6), bool)
    )
    for shape, n in (((7, 6), "keys"), ((6, 7), "queries")):
        message = f"shared_mask has shape {shape}, but sequences have 7 {n}"
        refused(ValueError, message, p, **equal, shared_mask=np.ones(shape, bool))


def test_errors_that_depend_on_the_data(rng, dtype):
    p = Problem(rng, dtype, [3, 4], d=6)
    for bad in ([5, 3], [-1, 2], [0, -1], [2**62, 2**62]):
        spans = np.array([[0, 3], bad])
        message = (
            f"[attention] sequence 1 has {bad[1]} rows from row {bad[0]} on, which are not within the 7 rows"
        )
        refused(ValueError, message, p, spans=spans)
        refused(ValueError, message, p, key_spans=spans)
    message = "[attention] sequence 1 has 4 keys, but a mask has only 3"
    refused(ValueError, message, p, mask=np.ones((7, 3), bool))
    refused(ValueError, message, p, mask=np.ones((7, 4), bool), shared_mask=np.ones((4, 3), bool))
    refused(
        ValueError, "sequence 1 has 4 queries, but a mask has only 3", p, shared_mask=np.ones((3, 4), bool)
    )


def test_bad_gradients_and_directions(rng, dtype):
    p = Problem(rng, dtype, [3, 4], d=6)
    y, sums = p.forward()
    args = [y, p.q, p.k, p.v, y, sums]
    for i, message in ((0, "d_y has shape"), (4, "y has shape"), (5, "log_sum_exp has shape")):
        bad = [a[:, :1] if i == j else a for j, a in enumerate(args)]
        with pytest.raises(ValueError, match=re.escape(f"[attention_backward] {message}")):
            K.attention_backward(*bad, p.heads, **p.pattern)
        if i > 0:
            with pytest.raises(ValueError, match=re.escape(f"[attention_tangent] {message}")):
                K.attention_tangent(p.q, None, None, *bad[1:], p.heads, **p.pattern)
    with pytest.raises(ValueError, match="a direction is needed: dq, dk or dv"):
        K.attention_tangent(None, None, None, *args[1:], p.heads, **p.pattern)
    with pytest.raises(ValueError, match="d_k has shape"):
        K.attention_backward(*args, p.heads, **p.pattern, d_k=np.zeros((7, 6), dtype))
