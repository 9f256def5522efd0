"""Losses: the mean over a batch, and its gradient with respect to the network's output, in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from steepest import kernels as K

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class SoftmaxCrossEntropy:
    """Cross-entropy of a softmax, ``sum_i w_i (logsumexp(z_i) - z_i[t_i]) / sum_i w_i``.

    Parameters
    ----------
    ignore_label : int or None, default=None
        Rows with this label count for nothing.
    """

    ignore_label: int | None = None

    def __call__(
        self, prediction: Array, target: Array, sample_weight: Array | None = None
    ) -> tuple[npt.NDArray[np.float64], Array]:
        """Compute the loss of a batch and its gradient.

        Parameters
        ----------
        prediction : ndarray of shape (n, c)
            Logits.
        target : ndarray of shape (n,) or (n, c)
            Class ids of an integer dtype, or probabilities of the logits' dtype.
        sample_weight : ndarray of shape (n,) or None
            Weights of the rows, of the logits' dtype.

        Returns
        -------
        value : ndarray of shape (), float64
            The loss.
        d_prediction : ndarray of shape (n, c)
            Its gradient.
        """
        return K.softmax_cross_entropy(prediction, target, sample_weight, ignore_label=self.ignore_label)


@dataclass(frozen=True)
class MeanSquaredError:
    """Mean squared error, ``s sum_i w_i mean_j (p_ij - t_ij)^2 / sum_i w_i``.

    Parameters
    ----------
    half : bool, default=False
        Whether s is 1/2 instead of 1.
    """

    half: bool = False

    def __call__(
        self, prediction: Array, target: Array, sample_weight: Array | None = None
    ) -> tuple[npt.NDArray[np.float64], Array]:
        """Compute the loss of a batch and its gradient.

        Parameters
        ----------
        prediction : ndarray of shape (n, m)
            Predictions.
        target : ndarray of shape (n, m), or (n,) where m is 1
            True values, of the prediction's dtype.
        sample_weight : ndarray of shape (n,) or None
            Weights of the rows, of the prediction's dtype.

        Returns
        -------
        value : ndarray of shape (), float64
            The loss.
        d_prediction : ndarray of shape (n, m)
            Its gradient.
        """
        if target.ndim == 1:
            target = target[:, None]
        return K.squared_error(prediction, target, sample_weight, half=self.half)


Loss = SoftmaxCrossEntropy | MeanSquaredError
