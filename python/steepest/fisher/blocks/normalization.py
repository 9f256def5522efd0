"""The gradients of single samples of a normalisation's scale and shift."""

from __future__ import annotations

from collections.abc import Mapping

from steepest._runtime.arrays import Array
from steepest.nn.execution import Step
from steepest.nn.ops.normalization import NormalizationOperation, RunningNormOperation
from steepest.nn.program import Reference


def sample_gradients(step: Step, x: Array, d: Array, references: Mapping[str, Reference]) -> dict[str, Array]:
    """Return the gradients of single samples of the scale and the shift, summed over the positions of a sample.

    The gradient of the scale is the sum of d times the standardised input, and that of the shift is the sum of d. The
    statistics are constants of a prediction, or functions of the sample alone, so that no sample depends on another.

    Parameters
    ----------
    step : Step
        The operation with its parameters.
    x : ndarray of shape (n, ..., channels)
        Its input.
    d : ndarray of shape (n * r, ..., channels)
        Gradients of its output, r in sequence for each sample.
    references : mapping of str to Reference
        The parameters whose gradients are wanted, by role.

    Returns
    -------
    dict of str to ndarray of shape (n * r, channels)
        By role.
    """
    operation, n, channels = step.node.operation, len(x), d.shape[-1]
    assert isinstance(operation, (NormalizationOperation, RunningNormOperation))
    grads = d.reshape(n, len(d) // max(n, 1), -1, channels)
    found = {}
    if "weight" in references:
        standardised = operation.standardised(x, step.parameters).reshape(n, 1, -1, channels)
        found["weight"] = (grads * standardised).sum(axis=2).reshape(len(d), channels)
    if "bias" in references:
        found["bias"] = grads.sum(axis=2).reshape(len(d), channels)
    return found
