"""The loss of a network of several outputs: the sum of a loss for each, as a function of all of them side by side."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from steepest._runtime.arrays import Array
from steepest._runtime.memory import array_namespace
from steepest.nn import Loss

Losses = Loss | Sequence[Loss]
Targets = Array | tuple[Array, ...]


@dataclass(frozen=True)
class JointLoss:
    """The sum of the losses of several outputs.

    Attributes
    ----------
    losses : tuple of Loss
        The loss of each output.
    widths : tuple of int
        The number of columns of each.
    """

    losses: tuple[Loss, ...]
    widths: tuple[int, ...]

    def __call__(self, outputs: Array, targets: Any, sample_weight: Array | None = None) -> tuple[Any, Array]:
        """Return the value, and the gradient with respect to all outputs side by side.

        Parameters
        ----------
        outputs : ndarray of shape (n, c)
            The outputs side by side.
        targets : tuple of ndarray
            The targets of each output.
        sample_weight : ndarray of shape (n,) or None
            Weights of the rows.
        """
        require_targets(targets, len(self.losses))
        parts = zip(self.losses, apart(outputs, self.widths), targets, strict=True)
        found = [loss(output, target, sample_weight) for loss, output, target in parts]
        values, grads = zip(*found, strict=True)
        return sum(values[1:], values[0]), array_namespace(outputs).concatenate(grads, axis=1)


def joint_loss(loss: Losses, widths: Sequence[int]) -> Any:
    """Return the loss of all outputs side by side: for one output its loss, else the sum of a loss for each.

    Raises
    ------
    ValueError
        If there is not a loss for each output.
    """
    if len(widths) == 1 and not isinstance(loss, (list, tuple)):
        return loss
    if len(widths) == 1:
        raise ValueError(
            "[FisherMatrix] got several losses for a network of one output: pass the loss itself"
        )
    if not isinstance(loss, (list, tuple)) or len(loss) != len(widths):
        given = f"{len(loss)} losses" if isinstance(loss, (list, tuple)) else f"{type(loss).__name__}"
        raise ValueError(
            f"[FisherMatrix] got {given} for a network of {len(widths)} outputs: pass a tuple with a loss for each"
        )
    return JointLoss(tuple(loss), tuple(widths))


def require_targets(targets: Any, n_outputs: int) -> None:
    """Raise ValueError unless there is an array for each of several outputs."""
    if not isinstance(targets, (list, tuple)) or len(targets) != n_outputs:
        given = f"{len(targets)}" if isinstance(targets, (list, tuple)) else type(targets).__name__
        raise ValueError(
            f"[FisherMatrix] y must be a tuple of {n_outputs} arrays, one for each output, got {given}"
        )


def side_by_side(outputs: Array | Sequence[Array]) -> Array:
    """Return the outputs of a network as one array of shape (n, c)."""
    if isinstance(outputs, (list, tuple)):
        joined: Array = array_namespace(outputs[0]).concatenate(outputs, axis=1)
        return joined
    return cast("Array", outputs)


def apart(array: Array, widths: Sequence[int]) -> tuple[Array, ...]:
    """Return views of the columns of each output."""
    if len(widths) == 1:
        return (array,)
    ends = itertools.accumulate(widths)
    return tuple(array[:, end - width : end] for end, width in zip(ends, widths, strict=True))
