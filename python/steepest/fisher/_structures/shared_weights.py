"""K-FAC's factors of weights that a sample passes several times, and of weights that are used transposed, too."""

from __future__ import annotations

import math

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.memory import array_namespace
from steepest.fisher._batch import Batch
from steepest.fisher.blocks import Block, Part, SharedLinearRows

from .layer_factors import LayerFactors


def input_rows(inputs: list[Array], shares: Array | None, sums_positions: bool) -> tuple[Array, Array | None]:
    """Return the inputs of a layer at all positions as rows with their weights, or their means over the positions.

    Parameters
    ----------
    inputs : list of ndarray of shape (n, ..., p)
        Inputs of each use.
    shares : ndarray of shape (n,) or None
        Weights of the samples; None for equal ones.
    sums_positions : bool
        Whether each sample has one row, the mean.
    """
    xp, n, width = array_namespace(inputs[0]), len(inputs[0]), inputs[0].shape[-1]
    positions = xp.concatenate([x.reshape(n, -1, width) for x in inputs], axis=1)
    if sums_positions:
        return positions.mean(axis=1), shares
    count = positions.shape[1]
    return positions.reshape(n * count, width), None if shares is None else xp.repeat(shares, count)


def gradient_rows(grads: list[Array], sums_positions: bool) -> Array:
    """Return the gradients of a layer's outputs at all positions as rows, or their sums over the positions."""
    width = grads[0].shape[-1]
    positions = array_namespace(grads[0]).concatenate([d.reshape(len(d), -1, width) for d in grads], axis=1)
    rows: Array = positions.sum(axis=1) if sums_positions else positions.reshape(-1, width)
    return rows


class TiedFactors(LayerFactors):
    """The factors of weights w that some uses take as they are, and others transposed.

    The gradient of a sample is ``sum a d^T`` over the first, of inputs a and gradients d, and ``sum e b^T`` over the
    others, of inputs b and gradients e. Without the terms between both kinds of uses, the second moment is ``E[a a^T] x
    E[d d^T] + E[e e^T] x E[b b^T]``, a sum of two Kronecker products. It is replaced by one: the traces of both factors
    of each product are made equal, the factors are added, and the product is scaled to the trace of the sum.
    """

    def __init__(self, part: Part, batch: Batch, sums_positions: bool) -> None:
        super().__init__(part, batch, sums_positions)
        self._of_grads: dict[bool, Array] = {}

    def add(self, block: Block) -> None:
        assert isinstance(block, SharedLinearRows)
        for transposed in (False, True):
            grads = [use.d for use in block.passes if use.transposed == transposed]
            if grads:
                rows = gradient_rows(grads, self.sums_positions)
                moment = K.second_moment(rows, scale=len(rows))
                known = self._of_grads.get(transposed)
                self._of_grads[transposed] = moment if known is None else known + moment

    def factors(self) -> list[tuple[Array, Array]]:
        pairs, batch, part = [], self.batch, self.part
        for transposed in self._of_grads:
            inputs = [
                batch.tape.input_of(use.value)
                for use in part.uses
                if use.references["weight"].transposed == transposed
            ]
            x, shares = input_rows(inputs, batch.device_shares, self.sums_positions)
            of_inputs = K.second_moment(x, shares, ones=part.has_bias and not transposed)
            of_grads = self._of_grads[transposed]
            pairs.append(
                (self._with_bias(of_grads, part), of_inputs) if transposed else (of_inputs, of_grads)
            )
        return [_one_product(pairs)]

    def _with_bias(self, moment: Array, part: Part) -> Array:
        """Return a moment of rows of the weights with a row and a column of zeros for the bias, if there is one."""
        if not part.has_bias:
            return moment
        side = len(moment) + 1
        wider: Array = array_namespace(moment).zeros((side, side), moment.dtype)
        wider[:-1, :-1] = moment
        return wider


def _one_product(pairs: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Return one Kronecker product for the sum of one or two, with its trace."""
    # Where no gradient comes, or only zeros go in, a product is 0.
    kept = [pair for pair in pairs if float(pair[0].trace()) > 0 and float(pair[1].trace()) > 0]
    if len(kept) < 2:
        return kept[0] if kept else pairs[0]
    (a, g), (b, h) = (_with_equal_traces(*pair) for pair in kept)
    first, second = float(a.trace()), float(b.trace())
    return (first**2 + second**2) / (first + second) ** 2 * (a + b), g + h


def _with_equal_traces(a: Array, g: Array) -> tuple[Array, Array]:
    ratio = math.sqrt(float(g.trace()) / float(a.trace()))
    return ratio * a, g / ratio
