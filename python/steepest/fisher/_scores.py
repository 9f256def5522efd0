"""Scores of single samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from steepest._memory import to_device
from steepest.nn import Loss, Network

from ._matrix import FisherMatrix

Array = npt.NDArray[Any]


def score(net: Network, loss: Loss, X: Array, y: Array) -> Array:
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
    matrix = FisherMatrix(net, loss, X, y, kind="empirical")
    # Each row has the root of its share and of the scale of the loss; the gradient has all of the latter.
    factor = np.sqrt(matrix._likelihood.scale * len(X))
    rows = matrix._batch.factors.rows() * factor
    return to_device(np.ascontiguousarray(rows, dtype=net.dtype), net.device)
