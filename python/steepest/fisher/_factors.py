"""The rows whose outer products a Fisher matrix adds up, each from what a layer takes in and what comes back to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.memory import aligned_empty, aligned_zeros, to_device, to_host

from ._layout import Layout


@dataclass
class Factors:
    """``F = S^T S``, where row (i, s) of S is made of the outer products of ``inputs[l][i]`` and ``grads[l][i, s]``.

    Attributes
    ----------
    layout : Layout
        Of the vectors.
    inputs : list of ndarray of shape (n, p_l)
        What each linear layer takes in; where it has a bias, an input of 1 comes after these.
    weights : list of ndarray of shape (p_l, m_l)
        Of the layers.
    grads : list of ndarray of shape (n * r, m_l)
        What reaches a layer's output, r times in sequence for each sample, times the root of the sample's share.
    shares : ndarray of shape (n,) or None
        Weights of the samples, which add up to 1, of the network's dtype and on its device; None for 1 / n.
    """

    layout: Layout
    inputs: list[Array]
    weights: list[Array]
    grads: list[Array]
    shares: Array | None

    @property
    def repeats(self) -> int:
        """The number of rows for each sample, r."""
        return len(self.grads[0]) // len(self.inputs[0])

    def in_float64(self) -> Factors:
        """Return the same factors in float64, on the same device."""
        inputs, weights, grads = (
            [array.astype(np.float64, copy=False) for array in arrays]
            for arrays in (self.inputs, self.weights, self.grads)
        )
        shares = None if self.shares is None else self.shares.astype(np.float64, copy=False)
        return Factors(self.layout.in_float64(), inputs, weights, grads, shares)

    def rows_times(self, flat: Array) -> Array:
        """Return ``S v``, of shape (n * r,), for v of the network's dtype and device."""
        total: Array | None = None
        layers = zip(self.inputs, self.grads, self.layout.parts(flat), self.layout.biases, strict=True)
        for x, d, part, has_bias in layers:
            product = K.linear(x, part[: x.shape[1]], part[-1] if has_bias else None)
            if self.repeats > 1:
                d = d.reshape(len(x), self.repeats, -1)
                of_layer = (d * product[:, None, :]).sum(axis=2).reshape(-1)
            else:
                product *= d
                of_layer = product.sum(axis=1)
            total = of_layer if total is None else total + of_layer
        assert total is not None
        return total

    def combined(self, u: Array) -> Array:
        """Return ``S^T u`` for u of shape (n * r,), flat."""
        flat = self.layout.empty()
        layers = zip(self.inputs, self.weights, self.grads, self.layout.parts(flat), strict=True)
        for x, w, d, part in layers:
            weighted = d * u[:, None]
            if self.repeats > 1:
                weighted = weighted.reshape(len(x), self.repeats, -1).sum(axis=1)
            sums = part[-1] if len(part) > len(w) else aligned_empty(w.shape[1:], w.dtype, self.layout.device)
            K.linear_backward(weighted, x, w, input_grad=False, d_w=part[: len(w)], d_b=sums)
        return flat

    def gram(self, layers: slice = slice(None)) -> Float64Array:
        """Return ``S S^T`` of the parameters of some layers, without S, on the host.

        In each layer it is the product of two Gram matrices, item by item.
        """
        m = len(self.grads[0])
        gram = aligned_zeros((m, m), np.float64, self.layout.device)
        chosen = zip(self.inputs[layers], self.grads[layers], self.layout.biases[layers], strict=True)
        for x, d, has_bias in chosen:
            K.gradient_gram(x, d, bias=has_bias, accumulate=True, out=gram)
        result: Float64Array = to_host(gram)
        return result

    def rows(self, layers: slice = slice(None)) -> Array:
        """Return S, of the parameters of some layers, on the host."""
        r = self.repeats
        blocks = []
        for x, d in zip(self.inputs_with_ones()[layers], self.grads[layers], strict=True):
            outer = x[:, None, :, None] * d.reshape(len(x), r, 1, -1)
            blocks.append(to_host(outer.reshape(len(d), -1)))
        return np.hstack(blocks)

    def inputs_with_ones(self) -> list[Array]:
        """Return the inputs, with a column of ones at the end for the layers that have a bias."""
        found = []
        for x, has_bias in zip(self.inputs, self.layout.biases, strict=True):
            if has_bias:
                wider = aligned_empty((len(x), x.shape[1] + 1), x.dtype, self.layout.device)
                wider[:, :-1], wider[:, -1] = x, 1
                x = wider
            found.append(x)
        return found


def squares(rows: Array, device: str) -> Float64Array:
    """Return ``sum_i r_i r_i^T`` of the rows of an array in float64, on the host: one triangle is computed."""
    origin = aligned_zeros((1, rows.shape[1]), rows.dtype, device)
    scatter: Float64Array = to_host(K.class_scatter(to_device(rows, device), None, origin)[2])
    return scatter
