"""Losses of the regressors by name, or by a pair of name and parameter."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, TypeAlias

from steepest import nn
from steepest.nn.losses import Loss

_LOSSES: dict[str, Any] = {
    "squared_error": partial(nn.MeanSquaredError, half=True),
    "absolute_error": nn.MeanAbsoluteError,
    "huber": nn.Huber,
    "quantile": nn.Quantile,
    "poisson": nn.Poisson,
    "gaussian": nn.Gaussian,
}
# Loss with a parameter -> name of the parameter.
_PARAMETERS = {"huber": "delta", "quantile": "quantile"}

LOSSES = tuple(_LOSSES)
LossName: TypeAlias = Literal["squared_error", "absolute_error", "huber", "quantile", "poisson", "gaussian"]


def loss_name(loss: Any) -> str:
    """Return the name of a loss that is given as a name or as a pair."""
    return loss if isinstance(loss, str) else str(loss[0]) if len(loss) else ""


def regression_loss(loss: Any, estimator: str) -> Loss:
    """Return the loss function of a regressor; the loss of a row is the sum over its outputs.

    Parameters
    ----------
    loss : str or (str, float)
        Name of the loss, one of `LOSSES`, or a pair ``("huber", delta)`` or ``("quantile", q)``.
    estimator : str
        Name of the estimator, which error messages start with.

    Raises
    ------
    ValueError
        If the name is unknown, the parameter is out of range, or the loss has no parameter.
    """
    name, parameters = loss_name(loss), () if isinstance(loss, str) else tuple(loss[1:])
    if name not in _LOSSES or len(parameters) > (name in _PARAMETERS):
        raise ValueError(
            f"[{estimator}] The 'loss' parameter must be one of {', '.join(LOSSES)}, or a pair of "
            f"{' or '.join(_PARAMETERS)} and its parameter, got {loss!r}"
        )
    try:
        options = {_PARAMETERS[name]: float(parameters[0])} if parameters else {}
        made: Loss = _LOSSES[name](reduction="sum", **options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"[{estimator}] loss={loss!r}: {error}") from error
    return made
