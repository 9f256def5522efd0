"""A training step of a small network written with kernels alone, which the tests of graphs capture."""

from __future__ import annotations

import numpy as np

from steepest import kernels as K


class TrainingStep:
    """take_rows, forward pass, loss, backward pass and Adam step of a network with 50, 64 and 10 units.

    Whatever changes from step to step lives in arrays, so that a captured step can be replayed; `y` holds
    class ids, `indices` the order of the rows, and 12 batches of 96 fill it.
    """

    OPERATIONS = (
        "take_rows",
        "take_rows",
        "linear",
        "linear",
        "softmax_cross_entropy",
        "accumulate",
        "increment",
        "require_finite",
        "increment",
        "linear_backward",
        "linear_backward",
        "adam_update",
    )

    def __init__(self, dtype, n=1152, batch=96, seed=0):
        rng = np.random.default_rng(seed)
        self.x = rng.standard_normal((n, 50)).astype(dtype)
        self.y = rng.integers(0, 10, n)
        self.indices = rng.permutation(n)
        self.cursor, self.count = np.array(0), np.array(0)
        self.lr, self.loss, self.total = np.array(0.01), np.array(0.0), np.array(0.0)
        self.x_batch, self.y_batch = np.zeros((batch, 50), dtype), np.zeros(batch, np.int64)
        shapes = [(50, 64), (64,), (64, 10), (10,)]
        self.params = [(0.2 * rng.standard_normal(s)).astype(dtype) for s in shapes]
        self.grads, self.exp_avg, self.exp_avg_sq = ([np.zeros(s, dtype) for s in shapes] for _ in range(3))
        self.hidden, self.d_hidden = np.zeros((batch, 64), dtype), np.zeros((batch, 64), dtype)
        self.logits, self.d_logits = np.zeros((batch, 10), dtype), np.zeros((batch, 10), dtype)

    def __call__(self):
        w1, b1, w2, b2 = self.params
        d_w1, d_b1, d_w2, d_b2 = self.grads
        K.take_rows(self.x, self.indices, out=self.x_batch, start=self.cursor)
        K.take_rows(self.y, self.indices, out=self.y_batch, start=self.cursor)
        K.linear(self.x_batch, w1, b1, "tanh", out=self.hidden)
        K.linear(self.hidden, w2, b2, out=self.logits)
        K.softmax_cross_entropy(self.logits, self.y_batch, loss=self.loss, d_logits=self.d_logits)
        K.accumulate(self.total, self.loss, scale=1.0 / 12)
        K.increment(self.cursor, len(self.x_batch))
        K.require_finite(self.loss)
        K.increment(self.count)
        K.linear_backward(
            self.d_logits, self.hidden, w2, activation="tanh", l2=1e-3, d_x=self.d_hidden, d_w=d_w2, d_b=d_b2
        )
        K.linear_backward(self.d_hidden, self.x_batch, w1, l2=1e-3, input_grad=False, d_w=d_w1, d_b=d_b1)
        K.adam_update(self.params, self.grads, self.exp_avg, self.exp_avg_sq, self.count, lr=self.lr)

    def parameter_bytes(self):
        """Return the bytes of the arrays that the update writes."""
        return [a.tobytes() for a in (*self.params, *self.exp_avg, *self.exp_avg_sq)]

    def bytes(self):
        """Return the bytes of every array, in a fixed order."""
        arrays = []
        for value in vars(self).values():
            arrays += value if isinstance(value, list) else [value]
        return [a.tobytes() for a in arrays]
