"""`input_gradient`: how the predictions of a network change with its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.memory import aligned_empty, short_lived_empty

from .compiled import Compiled
from .execution import Arrays, Targets, gradient_buffers, make_ready, run_forward, value_buffers
from .inputs import Inputs, as_inputs, checked_gradients
from .network import Network

__all__ = ["input_gradient"]

# All values of a block of rows are kept for its backward pass: few rows on the CPU, enough to occupy a GPU.
_ROWS = {"cpu": 256, "cuda": 8192}


def input_gradient(
    net: Network, x: Inputs, d_output: Array | Sequence[Array], *, layers: slice | None = None
) -> Any:
    """Compute the gradient of a prediction with respect to its inputs: a vector-Jacobian product of `Network.predict`.

    In contrast to ``Network.forward`` and ``Network.backward(d, inputs=True)``, dropout does nothing and `BatchNorm`
    uses its running averages. The network stays as it is: its gradients, its running averages, and what it keeps of
    the last forward pass. Saliency maps and adversarial examples are made of such gradients.

    Parameters
    ----------
    net : Network
        The network.
    x : ndarray of shape (n, ...), or tuple of ndarray
        The input, of the network's dtype and on its device; a tuple for a network of several inputs.
    d_output : ndarray of shape (n, n_out), or sequence of ndarray
        Weights of the outputs: row i of the result is the gradient of ``(d_output[i] * net.predict(x)[i]).sum()``. A
        sequence for a network of several outputs; None stands for an output that does not count.
    layers : slice or None, default=None
        For a chain, the layers to differentiate, as in `Network.predict`; None for all.

    Returns
    -------
    ndarray of the shape of x, or tuple of ndarray
        The gradient with respect to the input, or to each of several, with None for inputs of integers.

    Raises
    ------
    ValueError, TypeError
        If there are too few or too many arrays, a shape or a dtype does not fit, or `layers` is not a slice of a chain.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import nn
    >>> net = nn.Network([nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 2)])
    >>> x = np.ones((5, 3), np.float32)
    >>> of_class_1 = np.tile(np.float32([0, 1]), (5, 1))
    >>> nn.input_gradient(net, x, of_class_1).shape
    (5, 3)
    """
    compiled, inputs = net._to_predict("input_gradient", as_inputs(x), layers)
    program, n = compiled.predicting, len(inputs[0])
    given = (d_output,) if len(program.outputs) == 1 else tuple(d_output)
    # Arrays of the right shape, without memory.
    outputs = [
        np.broadcast_to(np.empty((), net.dtype), (n, *program.shape(number))) for number in program.outputs
    ]
    d_outputs = checked_gradients("input_gradient", given, outputs, net.dtype, net.device)
    results = [
        None if number is None else aligned_empty(array.shape, net.dtype, net.device)
        for number, array in zip(compiled.to_inputs[0].of_inputs, inputs, strict=True)
    ]
    for start in range(0, n, _ROWS[net.device]):
        rows = slice(start, start + _ROWS[net.device])
        found = _of_block(net, compiled, tuple([a[rows] for a in inputs]), [d[rows] for d in d_outputs])
        for result, gradient in zip(results, found, strict=True):
            if result is not None:
                K.copy(gradient, out=result[rows])
    return results[0] if len(results) == 1 else tuple(results)


def _of_block(net: Network, compiled: Compiled, inputs: tuple[Array, ...], d_outputs: list[Array]) -> Arrays:
    """Return the gradients with respect to the inputs, for a few rows."""

    def allocate(shape: tuple[int, ...]) -> Array:
        return short_lived_empty(shape, net.dtype, net.device)

    (backward, places), n = compiled.to_inputs, len(inputs[0])
    arrays = compiled.arrays(inputs)
    run_forward(compiled.predicting_steps, arrays, value_buffers(compiled.predicting, n, allocate))
    steps = {step.node.output: step for step in compiled.predicting_steps}
    outs = gradient_buffers(backward, places, compiled.predicting, n, allocate)
    grads: Arrays = [None] * len(backward.values)
    for seed, d in zip(backward.seeds, d_outputs, strict=True):
        grads[seed] = d
    for run in make_ready(backward, steps, outs, Targets()):
        run(arrays, grads)
    return [None if number is None else grads[number] for number in backward.of_inputs]
