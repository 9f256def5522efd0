"""Epochs of stochastic gradient descent on sparse inputs, by nonzero columns or by blocks of dense rows."""

from __future__ import annotations

import numpy as np
import scipy.sparse

from steepest import kernels as K
from steepest._runtime.arrays import Float64Array, Int64Array
from steepest._runtime.memory import aligned_empty

from .steps import Rule, Steps

# Most numbers in a block of dense rows.
_DENSE_ITEMS = 1 << 20
# Numbers in a block of rows times its nonzero columns; and numbers of dense rows that take as long to process as the
# calls for one block.
_BLOCK_ITEMS, _BLOCK_CALLS = 1 << 14, 1 << 18
# Smallest common factor of the coefficients before they are multiplied by it.
_SMALLEST_SCALE = 1e-9


def sparse_epoch(sgd: Steps, order: Int64Array) -> Float64Array:
    """Take a step for each row in order, and return the sum of the objective of each output."""
    rows = _rows_of_few_columns(sgd, len(order))
    return _epoch_by_columns(sgd, order, rows) if rows else _epoch_by_rows(sgd, order)


def _rows_of_few_columns(sgd: Steps, n: int) -> int:
    """Return the number of rows in a block for steps on nonzero columns of a wide X; 0 for steps on all columns.

    Steps on nonzero columns exclude an L1 penalty and averages, which change the other columns by different factors.
    """
    X = sgd.samples.X
    if sgd.rule.l1 or sgd.state.average_coef is not None:
        return 0
    nonzero = max(1, X.nnz // X.shape[0])
    rows = max(1, min(n, int((_BLOCK_ITEMS / nonzero) ** 0.5)))
    return rows if rows * nonzero + _BLOCK_CALLS // rows < X.shape[1] else 0


def _epoch_by_rows(sgd: Steps, order: Int64Array) -> Float64Array:
    samples = sgd.samples
    total = np.zeros(len(sgd.outputs))
    X = samples.X
    rows = max(1, min(len(order), _DENSE_ITEMS // X.shape[1]))
    buffer = aligned_empty((rows, X.shape[1]), X.dtype)
    for start in range(0, len(order), rows):
        part = order[start : start + rows]
        dense = K.take_sparse_rows(X.data, X.indices, X.indptr, part, buffer[: len(part)])
        weight = None if samples.sample_weight is None else samples.sample_weight[part]
        sgd.take(dense, sgd.target[part], weight, None)
        total += sgd.objective
    return total


def _epoch_by_columns(sgd: Steps, order: Int64Array, rows: int) -> Float64Array:
    """Take a step for each row in order, on the columns with nonzero entries in its block of rows.

    A step multiplies all other coefficients by ``1 - rate * l2``. This common factor is stored separately as `scale`,
    and the coefficients are ``scale * coef`` (L. Bottou, "Stochastic gradient descent tricks", 2012, section 5.1).
    """
    samples, coef, l2 = sgd.samples, sgd.state.coef, sgd.rule.l2
    total, scale = np.zeros(len(coef)), 1.0
    squares = np.square(coef, dtype=np.float64).sum(axis=1)
    for start in range(0, len(order), rows):
        part = order[start : start + rows]
        block = samples.X[part]
        columns, positions = np.unique(block.indices, return_inverse=True)
        shape = len(part), max(1, len(columns))
        dense = scipy.sparse.csr_array((block.data, positions, block.indptr), shape).toarray()
        found = coef[:, columns]
        others = np.maximum(squares - np.square(found, dtype=np.float64).sum(axis=1), 0.0)
        w = np.zeros((len(coef), shape[1]), coef.dtype)
        w[:, : len(columns)] = found * scale
        weight = None if samples.sample_weight is None else samples.sample_weight[part]
        first = int(sgd.step)
        sgd.take(dense, sgd.target[part], weight, None, w)
        # The objective of each step is evaluated before the step.
        factors = scale * np.cumprod(_shrinkage(sgd.rule, sgd.lr, first, int(sgd.step)))
        before = np.append(scale, factors)[:-1]
        total += sgd.objective + 0.5 * l2 * others * (before @ before)
        scale = float(factors[-1]) if len(factors) else scale
        if scale < _SMALLEST_SCALE:
            coef *= scale
            others, scale = others * scale**2, 1.0
        coef[:, columns] = w[:, : len(columns)] / scale
        squares = others + np.square(coef[:, columns], dtype=np.float64).sum(axis=1)
    coef *= scale
    return total


def _shrinkage(rule: Rule, lr: float, first: int, last: int) -> Float64Array:
    """Return the factors ``1 - rate * l2`` by which the L2 penalty shrinks coefficients in steps first + 1 to last."""
    rates = lr / (rule.t0 + np.arange(first + 1, last + 1)) ** rule.power
    factors: Float64Array = np.maximum(1.0 - rates * rule.l2, 0.0)
    return factors
