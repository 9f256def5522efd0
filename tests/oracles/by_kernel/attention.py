"""Oracles of `attention`, its gradients and its tangent: softmax over the keys of each query, head by head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arrays import f64
from .rounding import absolute, dot, eps, tiny


@dataclass
class Pattern:
    """The keywords of the kernels that say who attends to whom."""

    spans: np.ndarray | None = None
    key_spans: np.ndarray | None = None
    sequences: int = 1
    key_heads: int | None = None
    causal: bool = False
    mask: np.ndarray | None = None
    shared_mask: np.ndarray | None = None
    scale: float | None = None


def _equal_spans(rows, count):
    return [(i * (rows // count), rows // count) for i in range(count)]


def _allowed(pattern, first, queries, keys):
    """Whether query i may attend to key j of a sequence whose queries begin at a row."""
    allowed = np.ones((queries, keys), bool)
    if pattern.causal:
        allowed &= np.arange(keys) <= np.arange(queries)[:, None] + keys - queries
    if pattern.mask is not None:
        allowed &= pattern.mask[first : first + queries, :keys] != 0
    if pattern.shared_mask is not None:
        allowed &= pattern.shared_mask[:queries, :keys] != 0
    return allowed


class _Head:
    """The scores and probabilities of one head of one sequence, and where its rows and columns are."""

    def __init__(self, q, k, v, scale, allowed):
        self.q, self.k, self.v, self.scale = q, k, v, scale
        with np.errstate(all="ignore"):
            scores = scale * (q @ k.T)
            scores[~allowed] = -np.inf
            largest = scores.max(axis=1, keepdims=True, initial=-np.inf)
            largest[largest == -np.inf] = 0
            e = np.exp(scores - largest)
            total = e.sum(axis=1, keepdims=True)
            self.p = np.where(total == 0, 0.0, e / total)
            self.log_sum_exp = (largest + np.log(total))[:, 0]
            self.score_size = abs(scale) * (np.abs(q) @ np.abs(k).T) * allowed
            self.score_size = np.nan_to_num(self.score_size)

    def score_error(self, dtype):
        """Largest error of a score of each query, whose width is that of the dot product and of the rounded scale."""
        width = self.q.shape[1]
        return (dot(dtype, width, self.score_size) + 2 * eps(dtype) * self.score_size).max(
            axis=1, keepdims=True, initial=0.0
        )

    def probability_error(self, dtype):
        """Relative error of the probabilities: those of two scores, and of an exponential, a sum and a quotient."""
        count = max(1, self.p.shape[1])
        shifted = self.score_size.max(axis=1, keepdims=True, initial=0.0)
        size = shifted + np.log(count)
        return 2 * self.score_error(dtype) + (8 + 2 * np.sqrt(count) + 2 * size) * eps(dtype)


def _heads(q, k, v, heads, pattern):
    """Yield (rows, key rows, columns of q, of k, of v and of the result, number, head) for each sequence and head."""
    q, k, v = f64(q), f64(k), f64(v)
    count = next((len(s) for s in (pattern.key_spans, pattern.spans) if s is not None), pattern.sequences)
    spans = _equal_spans(len(q), count) if pattern.spans is None else pattern.spans
    key_spans = pattern.key_spans if pattern.key_spans is not None else pattern.spans
    key_spans = _equal_spans(len(k), count) if key_spans is None else key_spans
    key_heads = heads if pattern.key_heads is None else pattern.key_heads
    width, value_width = q.shape[1] // heads, v.shape[1] // key_heads
    scale = 1 / np.sqrt(width) if pattern.scale is None else pattern.scale
    for (first, queries), (first_key, keys) in zip(spans, key_spans, strict=True):
        allowed = _allowed(pattern, first, queries, keys)
        rows, key_rows = slice(first, first + queries), slice(first_key, first_key + keys)
        for h in range(heads):
            g = h // (heads // key_heads)
            columns = slice(h * width, (h + 1) * width)
            key_columns = slice(g * width, (g + 1) * width)
            value_columns = slice(g * value_width, (g + 1) * value_width)
            result = slice(h * value_width, (h + 1) * value_width)
            head = _Head(
                q[rows, columns], k[key_rows, key_columns], v[key_rows, value_columns], scale, allowed
            )
            yield (
                (rows, columns),
                (key_rows, key_columns),
                (key_rows, value_columns),
                (rows, result),
                (rows, h),
                head,
            )


def _result_shape(q, v, heads, pattern):
    key_heads = heads if pattern.key_heads is None else pattern.key_heads
    return len(q), v.shape[1] // key_heads * heads


def attention(q, k, v, heads, rest=0.0, **pattern):
    """softmax(scale q k^T) v and the logarithm of the sum of exponentials; `rest` in rows outside of the sequences."""
    pattern = Pattern(**pattern)
    out, sums = np.full(_result_shape(q, v, heads, pattern), rest), np.full((len(q), heads), rest)
    for *_, result, number, head in _heads(q, k, v, heads, pattern):
        out[result], sums[number] = head.p @ head.v, head.log_sum_exp
    return out, sums


def attention_tolerance(dtype, q, k, v, heads, **pattern):
    """Errors of probabilities and of a sum of products with them."""
    pattern = Pattern(**pattern)
    out, sums = np.zeros(_result_shape(q, v, heads, pattern)), np.zeros((len(q), heads))
    for *_, result, number, head in _heads(q, k, v, heads, pattern):
        size = head.p @ absolute(head.v)
        out[result] = head.probability_error(dtype) * size + dot(dtype, max(1, len(head.k)), size)
        finite = np.nan_to_num(np.abs(head.log_sum_exp), posinf=0.0)
        sums[number] = head.probability_error(dtype)[:, 0] + 2 * eps(dtype) * finite
    return out, sums


def attention_backward(d_y, q, k, v, heads, rest=0.0, **pattern):
    """The gradients from the derivative of softmax, d_s = p (d_p - sum(p d_p)), without the forward pass's results."""
    pattern = Pattern(**pattern)
    d_q, d_k, d_v = (np.full(np.shape(a), rest) for a in (q, k, v))
    for at, key_at, value_at, result, (_, h), head in _heads(q, k, v, heads, pattern):
        d_out = f64(d_y)[result]
        d_p = d_out @ head.v.T
        d_s = head.p * (d_p - (head.p * d_p).sum(axis=1, keepdims=True))
        d_q[at] = head.scale * d_s @ head.k
        group = heads // (pattern.key_heads or heads)
        kept = 0.0 if h % group == 0 else 1.0
        d_k[key_at] = kept * d_k[key_at] + head.scale * d_s.T @ head.q
        d_v[value_at] = kept * d_v[value_at] + head.p.T @ d_out
    return d_q, d_k, d_v


def attention_backward_tolerance(dtype, d_y, q, k, v, heads, **pattern):
    """Errors of p, of d_p and of the correction d_y . y, whose y is rounded, in the sums over keys and queries."""
    pattern = Pattern(**pattern)
    d_q, d_k, d_v = (np.zeros(np.shape(a)) for a in (q, k, v))
    for at, key_at, value_at, result, _, head in _heads(q, k, v, heads, pattern):
        d_out, group = absolute(d_y)[result], heads // (pattern.key_heads or heads)
        # The error of y, one of the probabilities and of their sum, enters as one of the correction.
        relative = head.probability_error(dtype) + dot(dtype, max(1, len(head.k)), 1.0)
        size = d_out @ absolute(head.v).T
        correction = (head.p * size).sum(axis=1, keepdims=True)
        width = head.v.shape[1]
        errors = relative * (size + 2 * correction) + dot(dtype, width, size) + dot(dtype, width, correction)
        errors, total = head.p * errors, head.p * (size + correction)
        scale, queries, keys = abs(head.scale), group * max(1, len(head.q)), max(1, len(head.k))
        d_q[at] = scale * (errors @ absolute(head.k)) + dot(dtype, keys, scale * total @ absolute(head.k))
        d_k[key_at] += scale * (errors.T @ absolute(head.q))
        d_k[key_at] += dot(dtype, queries, scale * total.T @ absolute(head.q))
        d_v[value_at] += (relative * head.p).T @ d_out + dot(dtype, queries, head.p.T @ d_out)
    return d_q, d_k, d_v


def attention_tangent(dq, dk, dv, q, k, v, heads, rest=0.0, **pattern):
    """The derivative from that of softmax, dp = p (ds - sum(p ds)), without the forward pass's results."""
    pattern = Pattern(**pattern)
    out = np.full(_result_shape(q, v, heads, pattern), rest)
    dq, dk, dv = (f64(np.zeros_like(a) if d is None else d) for d, a in ((dq, q), (dk, k), (dv, v)))
    for at, key_at, value_at, result, _, head in _heads(q, k, v, heads, pattern):
        ds = head.scale * (dq[at] @ head.k.T + head.q @ dk[key_at].T)
        dp = head.p * (ds - (head.p * ds).sum(axis=1, keepdims=True))
        out[result] = dp @ head.v + head.p @ dv[value_at]
    return out


def attention_tangent_tolerance(dtype, dq, dk, dv, q, k, v, heads, **pattern):
    """Errors of p and of ds in three sums, of which the last is multiplied with y."""
    pattern = Pattern(**pattern)
    out = np.zeros(_result_shape(q, v, heads, pattern))
    dq, dk, dv = (absolute(np.zeros_like(a) if d is None else d) for d, a in ((dq, q), (dk, k), (dv, v)))
    for at, key_at, value_at, result, _, head in _heads(q, k, v, heads, pattern):
        size = abs(head.scale) * (dq[at] @ absolute(head.k).T + absolute(head.q) @ dk[key_at].T)
        keys = max(1, len(head.k))
        relative = (
            head.probability_error(dtype) + dot(dtype, keys, 1.0) + dot(dtype, 2 * head.q.shape[1], 1.0)
        )
        mean = (head.p * size).sum(axis=1, keepdims=True)
        terms = (head.p * size) @ absolute(head.v) + head.p @ dv[value_at]
        out[result] = 3 * relative * (terms + mean * (head.p @ absolute(head.v))) + tiny(dtype)
    return out


def _attention_case(m, name):
    """Two sequences with a row between them, of grouped heads; queries of the second see more keys."""
    heads, key_heads, width, value_width = 2, 1, 4, 6
    n = m.n // 2 * 2
    spans = np.array([[0, n // 3], [n // 3 + 1, n // 2]])
    pattern = {"spans": spans, "key_heads": key_heads, "causal": True}
    q, k, v = (
        m.normal(m.n, heads * width),
        m.normal(m.n, key_heads * width),
        m.normal(m.n, key_heads * value_width),
    )
    y, sums = (a.astype(m.dtype) for a in attention(q, k, v, heads, **pattern))
    outputs = {"out": m.empty(*y.shape)}
    if name == "attention":
        outputs["log_sum_exp"] = m.empty(*sums.shape)
        return m.case(name, (q, k, v, heads), outputs, **pattern)
    if name == "attention_backward":
        outputs = {f"d_{x}": m.empty(*a.shape) for x, a in zip("qkv", (q, k, v), strict=True)}
        return m.case(name, (m.normal(*y.shape), q, k, v, y, sums, heads), outputs, **pattern)
    directions = [m.normal(*a.shape) for a in (q, k, v)]
    return m.case(name, (*directions, q, k, v, y, sums, heads), outputs, **pattern)


def _masked_case(m):
    """Sequences of equal length, and both masks."""
    n = m.n // 3 * 3
    q, k = m.normal(n, 8), m.normal(n, 8)
    shown = m.rng.random((n, n // 3)) < 0.7
    shared = m.rng.random((n // 3, n // 3)) < 0.7
    outputs = {"out": m.empty(n, 8), "log_sum_exp": m.empty(n, 2)}
    return m.case("attention", (q, k, k, 2), outputs, sequences=3, mask=shown, shared_mask=shared)


CASES = {
    **{
        name: lambda m, name=name: _attention_case(m, name)
        for name in ("attention", "attention_backward", "attention_tangent")
    },
    "attention/masks": _masked_case,
}
