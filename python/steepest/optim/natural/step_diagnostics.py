"""Diagnostics of a natural-gradient step: predicted and actual change of the loss, divergence, residual."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class StepDiagnostics:
    """Diagnostics of a natural-gradient step; nan for what the optimizer was told not to compute.

    Attributes
    ----------
    loss, new_loss : float
        Loss of the batch with the penalty, before and after the step. The two are equal if the step was rejected.
    predicted : float
        Change of the loss by the quadratic model ``g^T d + d^T F d / 2``, with the exact Fisher matrix of the batch.
    ratio : float
        Reduction ratio: the actual change divided by the predicted one, 1 if the model is exact; nan if the prediction
        is 0 or was not computed.
    predicted_kl, kl : float
        Divergence of the distributions after the step from those before it, in nats per row. The first is
        ``d^T F d / 2``; the second is computed from the outputs.
    residual : float
        Relative residual of the equations for the step, ``|(F + damping I) x - g| / |g|``, with the averaged matrix.
        The inverse may be some steps old.
    damping : float
        The number that was added to the diagonal of the matrix before it was inverted.
    length : float
        The factor by which the natural gradient was multiplied; 0 in the burn-in.
    accepted : bool
        Whether the step was taken. It is rejected if the loss becomes infinite or NaN, if the loss rises by more than
        `predicted`, or if no factorisation succeeds. With `adapt_damping`, or if a fall was predicted, any rise of the
        loss is rejected.
    raises : int
        How often the damping was raised until a matrix could be factorised.
    """

    loss: float
    new_loss: float = math.nan
    predicted: float = math.nan
    ratio: float = math.nan
    predicted_kl: float = math.nan
    kl: float = math.nan
    residual: float = math.nan
    damping: float = math.nan
    length: float = 0.0
    accepted: bool = True
    raises: int = 0
