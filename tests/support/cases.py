"""One call of every kernel, small and large: what the tests of threads, graphs and errors run over.

A case is built afresh each time, from the same numbers, so that the bytes of two runs can be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import backends
import numpy as np

from steepest import kernels as K

# Samples, features and outputs of large work, which threads and blocks share out: less where it takes long.
LARGE = (389, 150, 35) if backends.SLOW else (1531, 300, 67)

# What a call that is refused raises.
REFUSED = (TypeError, ValueError)


@dataclass
class Case:
    """A kernel, its positional arguments and keywords (outputs included), and the arrays that it writes."""

    function: Callable[..., Any]
    args: tuple
    kwargs: dict
    written: list[np.ndarray]

    def run(self):
        return self.function(*self.args, **self.kwargs)

    def bytes(self):
        return [a.tobytes() for a in self.written]


def _case(function, args, outputs, **options):
    return Case(function, tuple(args), {**outputs, **options}, list(outputs.values()))


def _in_place(function, args, written, **options):
    return Case(function, tuple(args), options, list(written))


class _Maker:
    """Arrays of one dtype and size. Small work may stay on one thread; large work is worth sharing."""

    def __init__(self, dtype, large):
        self.rng = np.random.default_rng(77)
        self.dtype = np.dtype(dtype)
        self.n, self.k, self.c = LARGE if large else (13, 9, 5)

    def normal(self, *shape):
        return self.rng.standard_normal(shape).astype(self.dtype)

    def positive(self, *shape):
        return (0.1 + self.rng.random(shape)).astype(self.dtype)

    def labels(self):
        return self.rng.integers(0, self.c, self.n)

    def empty(self, *shape):
        """Filled with a number that no kernel computes, so that a part left unwritten shows."""
        return np.full(shape, -77.25, self.dtype)

    def tensors(self, kind):
        return [kind(self.n, self.k), kind(self.k), kind(self.k, self.c)]


def _scalar(value=-77.25):
    return np.array(value, np.float64)


def _matmul(m):
    return _case(K.matmul, (m.normal(m.n, m.k), m.normal(m.k, m.c)), {"out": m.empty(m.n, m.c)})


def _linear(m):
    args = (m.normal(m.n, m.k), m.normal(m.k, m.c), m.normal(m.c))
    return _case(K.linear, args, {"out": m.empty(m.n, m.c)}, activation="tanh")


def _linear_backward(m):
    args = (m.normal(m.n, m.c), m.normal(m.n, m.k), m.normal(m.k, m.c))
    outputs = {"d_x": m.empty(m.n, m.k), "d_w": m.empty(m.k, m.c), "d_b": m.empty(m.c)}
    return _case(K.linear_backward, args, outputs, activation="tanh", l2=0.1)


def _linear_backward_accumulating(m):
    case = _linear_backward(m)
    case.kwargs["accumulate"] = True
    return case


def _linear_tangent(m):
    pairs = [(m.normal(m.n, m.k), m.normal(m.k, m.c)) for _ in range(2)]
    args = (*pairs[0], m.normal(m.c), *pairs[1])
    return _case(
        K.linear_tangent, args, {"out": m.empty(m.n, m.c)}, y=m.positive(m.n, m.c), activation="tanh"
    )


def _linear_loss(kind):
    def make(m):
        target = m.labels() if kind == "softmax_cross_entropy" else m.positive(m.n, m.c)
        args = (
            m.normal(m.n, m.k),
            m.normal(m.k, m.c) * m.dtype.type(0.1),
            m.normal(m.c),
            target,
            m.positive(m.n),
        )
        outputs = {"loss": _scalar(), "d_w": m.empty(m.k, m.c), "d_b": m.empty(m.c)}
        return _case(K.linear_loss, args, outputs, kind=kind, l2=0.1)

    return make


def _linear_sgd(m):
    w, b, step = m.normal(m.k, m.c) * m.dtype.type(0.1), m.normal(m.c), np.array(3)
    state = {"l1_applied": np.zeros((m.k, m.c), m.dtype), "l1_total": np.zeros(m.c)}
    state |= {"average_w": np.zeros((m.k, m.c), m.dtype), "average_b": np.zeros(m.c, m.dtype)}
    options = {"lr": np.array(0.01), "l1": 1e-4, "l2": 1e-3, "order": m.rng.permutation(m.n)[:40]}
    args = (m.normal(m.n, m.k), m.labels(), w, b, step)
    return _in_place(K.linear_sgd, args, [w, b, step, *state.values()], **state, **options)


def _dropout(m):
    args = (m.normal(m.n, m.k), 0.3)
    return _case(K.dropout, args, {"out": m.empty(m.n, m.k)}, seed=5, stream=np.array(2))


def _activation(m):
    return _case(K.activation, (m.normal(m.n, m.k),), {"out": m.empty(m.n, m.k)}, activation="sigmoid")


def _activation_backward(m):
    args = (m.normal(m.n, m.k), m.positive(m.n, m.k))
    return _case(K.activation_backward, args, {"out": m.empty(m.n, m.k)}, activation="tanh")


def _elementwise(name):
    return lambda m: _case(getattr(K, name), (m.normal(m.n, m.c),), {"out": m.empty(m.n, m.c)})


def _prelu(slopes):
    return lambda m: _case(K.prelu, (m.normal(m.n, m.k), m.normal(m.k)[:slopes]), {"out": m.empty(m.n, m.k)})


def _prelu_backward(slopes):
    def make(m):
        slope = m.normal(m.k)[:slopes]
        outputs = {"d_x": m.empty(m.n, m.k), "d_slope": m.empty(*slope.shape)}
        return _case(K.prelu_backward, (m.normal(m.n, m.k), m.normal(m.n, m.k), slope), outputs)

    return make


def _softmax_backward(m):
    args = (m.normal(m.n, m.c), m.positive(m.n, m.c))
    return _case(K.softmax_backward, args, {"out": m.empty(m.n, m.c)})


def _softmax_cross_entropy(m):
    args = (m.normal(m.n, m.c), m.labels(), m.positive(m.n))
    return _case(
        K.softmax_cross_entropy, args, {"loss": _scalar(), "d_logits": m.empty(m.n, m.c)}, ignore_label=1
    )


def _pointwise_loss(name, **options):
    def make(m):
        args = (m.normal(m.n, m.k), m.positive(m.n, m.k), m.positive(m.n))
        return _case(
            getattr(K, name), args, {"loss": _scalar(), "d_prediction": m.empty(m.n, m.k)}, **options
        )

    return make


def _gaussian(m):
    args = (m.normal(m.n, 2 * m.k), m.normal(m.n, m.k), m.positive(m.n))
    return _case(K.gaussian, args, {"loss": _scalar(), "d_prediction": m.empty(m.n, 2 * m.k)})


def _output_fisher(distribution, columns):
    def make(m):
        shape = (m.n, 2 * getattr(m, columns))
        args = (m.normal(*shape), m.normal(*shape), distribution, m.positive(m.n))
        return _case(K.output_fisher, args, {"out": m.empty(*shape)}, scale=1.5)

    return make


def _output_divergence(distribution, columns):
    def make(m):
        shape = (m.n, 2 * getattr(m, columns))
        args = (m.normal(*shape), m.normal(*shape), distribution, m.positive(m.n))
        return _case(K.output_divergence, args, {"out": _scalar()})

    return make


def _sampled_score(distribution, columns):
    def make(m):
        shape = (m.n, 2 * getattr(m, columns))
        options = {"seed": 5, "stream": np.array(2)}
        return _case(K.sampled_score, (m.normal(*shape), distribution), {"out": m.empty(*shape)}, **options)

    return make


def _zero_one_loss(m):
    return _case(K.zero_one_loss, (m.normal(m.n, m.c), m.labels()), {"out": _scalar()})


def _update(rule, **options):
    """The step of a rule, whose second moments are positive."""
    name, states = K.UPDATE_RULES[rule]

    def make(m):
        p, g = m.tensors(m.normal), m.tensors(m.normal)
        kept = [m.tensors(m.positive if state.endswith("sq") else m.normal) for state in states]
        count = (np.array(3),) if rule == "adam" else ()
        written = [a for group in (p, *kept) for a in group]
        return _in_place(getattr(K, name), (p, g, *kept, *count), written, lr=np.array(0.01), **options)

    return make


_ADJUSTED = {
    "max_norm": 0.5,
    "l1": 0.1,
    "weight_decay": 0.1,
    "l2": 0.01,
    "penalised": [True, False, True],
}


def _take_rows(m):
    args = (m.normal(m.n, m.k), m.rng.permutation(m.n))
    return _case(K.take_rows, args, {"out": m.empty(m.n - 2, m.k)}, start=np.array(2))


def _take_sparse_rows(m):
    per_row = min(m.k, 17)
    indices = np.concatenate([m.rng.permutation(m.k)[:per_row] for _ in range(m.n)]).astype(np.int32)
    indptr = np.arange(0, m.n * per_row + 1, per_row, dtype=np.int32)
    args = (m.normal(m.n * per_row), indices, indptr, m.rng.permutation(m.n))
    return _case(K.take_sparse_rows, args, {"out": m.empty(m.n - 2, m.k)}, start=np.array(2))


def _class_scatter(m):
    args = (m.normal(m.n, m.k), m.rng.integers(0, 3, m.n), m.normal(3, m.k), m.normal(m.n) ** 2)
    shapes = {"weights": (3,), "sums": (3, m.k), "scatter": (m.k, m.k)}
    outputs = {name: np.full(shape, -77.0) for name, shape in shapes.items()}
    return _case(K.class_scatter, args, outputs)


def _gradient_gram(repeats, **options):
    def make(m):
        n = min(m.n, 300) // repeats
        out = np.full((n * repeats, n * repeats), -77.0)
        return _case(K.gradient_gram, (m.normal(n, m.k), m.normal(n * repeats, m.c)), {"out": out}, **options)

    return make


def _gradient_norms(repeats, **options):
    def make(m):
        n = m.n // repeats
        return _case(
            K.gradient_norms,
            (m.normal(n, m.k), m.normal(n * repeats, m.c)),
            {"out": np.full(n * repeats, -77.0)},
            **options,
        )

    return make


def _second_moment(m):
    out = m.normal(m.k + 1, m.k + 1)
    out += out.T.copy()
    args = (m.normal(m.n, m.k), m.positive(m.n))
    return _in_place(K.second_moment, args, [out], ones=True, scale=0.5, decay=np.array(0.75), out=out)


def _reduction(name, axis):
    def make(m):
        shape = {None: (), 0: (m.k,), 1: (m.n,)}[axis]
        return _case(getattr(K, name), (m.normal(m.n, m.k),), {"out": m.empty(*shape)}, axis=axis)

    return make


def _argmax(m):
    return _case(K.argmax, (m.normal(m.n, m.c),), {"out": np.full(m.n, -77)})


def _increment(m):
    counter = np.array(5)
    return _in_place(K.increment, (counter,), [counter], by=3)


def _accumulate(m):
    total = _scalar(2.0)
    return _in_place(K.accumulate, (total, _scalar(0.3)), [total], scale=1.5)


def _look_up(m):
    return _case(K.look_up, (np.linspace(1.0, 2.0, m.n), np.array(4)), {"out": _scalar()})


def _random_uniform(m):
    shape = (m.n * m.k,)
    return _case(
        K.random_uniform, (shape, -1.0, 2.0), {"out": m.empty(*shape)}, seed=4, stream=1, dtype=m.dtype
    )


# Name of a kernel, then "/" and a variant where there are several.
CASES = {
    "matmul": _matmul,
    "linear": _linear,
    "linear_backward": _linear_backward,
    "linear_backward/accumulate": _linear_backward_accumulating,
    "linear_tangent": _linear_tangent,
    "linear_loss": _linear_loss("squared_error"),
    "linear_loss/softmax": _linear_loss("softmax_cross_entropy"),
    "linear_sgd": _linear_sgd,
    "dropout": _dropout,
    "activation": _activation,
    "activation_backward": _activation_backward,
    **{name: _elementwise(name) for name in (*K.ACTIVATIONS, "softmax", "log_softmax")},
    "prelu": _prelu(None),
    "prelu/one slope": _prelu(1),
    "prelu_backward": _prelu_backward(None),
    "prelu_backward/one slope": _prelu_backward(1),
    "softmax_backward": _softmax_backward,
    "softmax_cross_entropy": _softmax_cross_entropy,
    "squared_error": _pointwise_loss("squared_error", half=True),
    **{
        name: _pointwise_loss(name, reduction="sum")
        for name in K.LOSSES
        if name not in {"squared_error", "softmax_cross_entropy", "gaussian"}
    },
    "gaussian": _gaussian,
    "output_fisher": _output_fisher("categorical", "c"),
    "output_fisher/wide": _output_fisher("categorical", "k"),
    **{
        f"output_fisher/{name}": _output_fisher(name, "k")
        for name in ("bernoulli", "gaussian", "gaussian_learned_variance", "poisson")
    },
    "output_divergence": _output_divergence("categorical", "c"),
    "output_divergence/wide": _output_divergence("categorical", "k"),
    **{
        f"output_divergence/{name}": _output_divergence(name, "k")
        for name in ("bernoulli", "gaussian", "gaussian_learned_variance", "poisson")
    },
    "sampled_score": _sampled_score("categorical", "c"),
    "sampled_score/wide": _sampled_score("categorical", "k"),
    **{
        f"sampled_score/{name}": _sampled_score(name, "c")
        for name in ("bernoulli", "gaussian", "gaussian_learned_variance", "poisson")
    },
    "zero_one_loss": _zero_one_loss,
    "sgd_update": _update("nesterov", momentum=0.9, nesterov=True, l2=0.01),
    "sgd_update/clipped": _update("sgd", max_norm=0.5),
    "adagrad_update": _update("adagrad"),
    "rmsprop_update": _update("rmsprop", l1=0.1),
    "adam_update": _update("adam"),
    "adam_update/adjusted": _update("adam", **_ADJUSTED),
    "take_rows": _take_rows,
    "take_sparse_rows": _take_sparse_rows,
    "class_scatter": _class_scatter,
    "gradient_gram": _gradient_gram(1, bias=True),
    "gradient_gram/accumulate": _gradient_gram(3, accumulate=True),
    "gradient_norms": _gradient_norms(1),
    "gradient_norms/accumulate": _gradient_norms(3, bias=False, accumulate=True),
    "second_moment": lambda m: _case(K.second_moment, (m.normal(m.n, m.k),), {"out": m.empty(m.k, m.k)}),
    "second_moment/averaged": _second_moment,
    **{
        f"{name}/axis={axis}": _reduction(name, axis)
        for name in ("sum", "mean", "max", "min", "sum_squares")
        for axis in (None, 0, 1)
    },
    "argmax": _argmax,
    "increment": _increment,
    "accumulate": _accumulate,
    "look_up": _look_up,
    "random_uniform": _random_uniform,
}

# Kernels that write no array: they are tested by name where they belong.
WITHOUT_OUTPUT = {"require_finite", "random_bits", "permutation"}


def make(name, dtype=np.float32, large=False):
    """Build the case `name`."""
    return CASES[name](_Maker(dtype, large))


def kernel_names():
    """Public functions of `steepest.kernels`."""
    return {name for name in K.__all__ if callable(getattr(K, name))}
