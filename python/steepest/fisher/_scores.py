"""Per-sample gradients of a network's loss, and their norms."""

from __future__ import annotations

import numpy as np

from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.memory import aligned_zeros, array_namespace, to_device
from steepest.nn import Network
from steepest.nn.inputs import Inputs

from ._factors import Factors
from ._joint_loss import Losses, Targets
from ._matrix import FisherMatrix

Float64 = Float64Array


def score(net: Network, loss: Losses, X: Inputs, y: Targets) -> Array:
    """Return the gradient of each sample's own loss, row by row.

    The mean of the rows is the gradient of the loss. Their second moment is the empirical Fisher matrix times
    `FisherMatrix.scale`, the factor between the loss and the negative log-likelihood. The factor is 2 for the squared
    error, divided by the number of outputs if the loss averages over them.

    Parameters
    ----------
    net : Network
        A network that `FisherMatrix` supports.
    loss : Loss, or tuple of Loss
        A loss that `FisherMatrix` supports; a tuple with a loss for each of several outputs.
    X : ndarray of shape (n, n_in), or tuple of ndarray
        Inputs, of the network's dtype and on its device; a tuple for several inputs.
    y : ndarray, or tuple of ndarray
        Targets, as the loss takes them; a tuple for several outputs.

    Returns
    -------
    ndarray of shape (n, P)
        The gradients, in the network's dtype and on its device; the columns are the parameters as in `FisherMatrix`.

    Raises
    ------
    ValueError, TypeError
        If `FisherMatrix` does not support the network, the loss, X or y.
    """
    factors, factor = _factors(net, loss, X, y)
    return to_device(np.ascontiguousarray(factors.rows() * factor, dtype=net.dtype), net.device)


def score_norms(net: Network, loss: Losses, X: Inputs, y: Targets) -> Float64:
    """Return the norm of the gradient of each sample's own loss, from one pass backwards and without the gradients.

    Parameters
    ----------
    net : Network
        A network that `FisherMatrix` supports.
    loss : Loss, or tuple of Loss
        A loss that `FisherMatrix` supports; a tuple with a loss for each of several outputs.
    X : ndarray of shape (n, n_in), or tuple of ndarray
        Inputs, of the network's dtype and on its device; a tuple for several inputs.
    y : ndarray, or tuple of ndarray
        Targets, as the loss takes them; a tuple for several outputs.

    Returns
    -------
    ndarray of shape (n,)
        The norms of the rows of `score`, in float64 and on the network's device.

    Raises
    ------
    ValueError, TypeError
        If `FisherMatrix` does not support the network, the loss, X or y.
    """
    factors, factor = _factors(net, loss, X, y)
    squares: Float64 = aligned_zeros((factors.n_rows,), np.float64, net.device)
    for block in factors.blocks:
        block.add_squared_norms(squares)
    norms: Float64 = array_namespace(squares).sqrt(squares) * factor
    return norms


def _factors(net: Network, loss: Losses, X: Inputs, y: Targets) -> tuple[Factors, float]:
    """Return the factors of the scores, and what these are multiplied by.

    A row of S is the gradient divided by sqrt(n * scale), with the normalised weights 1 / n.
    """
    matrix = FisherMatrix(net, loss, X, y, kind="empirical")
    return matrix._batch.factors, float(np.sqrt(matrix.scale * len(matrix.output)))
