"""Scores of single samples."""

from __future__ import annotations

import numpy as np

from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.memory import aligned_zeros, array_namespace, to_device
from steepest.nn import Loss, Network
from steepest.nn.inputs import Inputs

from ._factors import Factors
from ._matrix import FisherMatrix

Float64 = Float64Array


def score(net: Network, loss: Loss, X: Inputs, y: Array) -> Array:
    """Return the gradient of each sample's own loss, row by row.

    Their mean is the gradient of the loss. Their second moment is the empirical Fisher matrix times the factor by which
    the loss is the negative log-likelihood: 2 for the squared error, over the number of outputs for a mean over them.

    Parameters
    ----------
    net : Network
        As for `FisherMatrix`.
    loss : Loss
        As for `FisherMatrix`.
    X : ndarray of shape (n, n_in)
        Inputs, of the network's dtype and on its device.
    y : ndarray
        Targets, as of the loss.

    Returns
    -------
    ndarray of shape (n, P)
        Of the network's dtype and on its device; columns are the parameters as in `FisherMatrix`.

    Raises
    ------
    ValueError, TypeError
        As of `FisherMatrix`.
    """
    factors, factor = _factors(net, loss, X, y)
    return to_device(np.ascontiguousarray(factors.rows() * factor, dtype=net.dtype), net.device)


def score_norms(net: Network, loss: Loss, X: Inputs, y: Array) -> Float64:
    """Return the norm of the gradient of each sample's own loss, from one pass backwards and without the gradients.

    Parameters
    ----------
    net : Network
        As for `FisherMatrix`.
    loss : Loss
        As for `FisherMatrix`.
    X : ndarray of shape (n, n_in)
        Inputs, of the network's dtype and on its device.
    y : ndarray
        Targets, as of the loss.

    Returns
    -------
    ndarray of shape (n,)
        The norms of the rows of `score`, in float64 and on the network's device.

    Raises
    ------
    ValueError, TypeError
        As of `FisherMatrix`.
    """
    factors, factor = _factors(net, loss, X, y)
    squares: Float64 = aligned_zeros((factors.n_rows,), np.float64, net.device)
    for block in factors.blocks:
        block.add_squared_norms(squares)
    norms: Float64 = array_namespace(squares).sqrt(squares) * factor
    return norms


def _factors(net: Network, loss: Loss, X: Inputs, y: Array) -> tuple[Factors, float]:
    """Return the factors of the scores, and what these are multiplied by.

    Each row has the root of its share and of the scale of the loss; the gradient has all of the latter.
    """
    matrix = FisherMatrix(net, loss, X, y, kind="empirical")
    return matrix._batch.factors, float(np.sqrt(matrix.scale * len(matrix.output)))
