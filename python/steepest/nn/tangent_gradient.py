"""The gradient, by the parameters, of how the outputs of a network change along a direction of its inputs."""

from __future__ import annotations

from typing import Any

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_empty

from .compiled import Compiled
from .execution import Arrays, run_tangent
from .network import Network
from .ops import Reverse
from .ops.activation import ActivationOperation
from .ops.affine import AffineOperation
from .ops.shape import PermuteOperation, ReshapeOperation

_PIECEWISE_LINEAR = ("identity", "relu", "leaky_relu")


def is_piecewise_linear(net: Network) -> bool:
    """Return whether `add_tangent_gradient` knows all operations of a network.

    It knows linear maps and convolutions, changes of shape, ReLU and leaky ReLU, one after the other, for inputs whose
    shape the network's layers declare.
    """
    return _is_known(net._main)


def add_tangent_gradient(net: Network, direction: Array, d_output: Array) -> None:
    """Add the gradient of ``sum(d_output * J(x) direction)`` by the parameters to the gradients that are there.

    J(x) is the Jacobian of the outputs by the inputs x of the last forward pass. Where the network is linear about x,
    ``J(x) direction`` is a pass of `direction` through its layers without biases, in which each unit passes on what it
    passes on for x; the gradient is a backward pass of that.

    Parameters
    ----------
    net : Network
        A network that `is_piecewise_linear`, after a forward pass.
    direction : ndarray of shape (n, ...)
        The direction of each sample, held constant.
    d_output : ndarray of shape (n, n_out)
        Weights of the outputs.
    """
    assert net._last is not None
    compiled, arrays, _ = net._last
    program = compiled.training
    moved: Arrays = [None] * len(program.shapes)
    moved[program.inputs[0]] = direction
    run_tangent(compiled.training_steps, arrays, moved, {})
    d: Array = d_output
    for step in reversed(compiled.training_steps):
        operation, (number,) = step.node.operation, step.inputs
        if operation.ends_in != "identity":
            d = K.activation_backward(d, arrays[step.output], operation.ends_in)
        if isinstance(operation, ActivationOperation):
            continue
        is_first = number == program.inputs[0]
        room = None if is_first else aligned_empty(moved[number].shape, d.dtype, device_of(d))
        targets: dict[str, Any] = {
            role: reference.of(net._grads)
            for role, reference in step.node.parameters.items()
            if role == "weight" and reference.name not in net.frozen
        }
        into = Reverse((room,), targets, accumulate=frozenset(targets))
        (found,) = operation.vjp(d, [moved[number]], moved[step.output], step.parameters, into)
        if is_first:
            return
        assert found is not None
        d = found


def _is_known(compiled: Compiled) -> bool:
    program, before = compiled.training, compiled.training.inputs[0]
    for node in program.nodes:
        operation = node.operation
        function = operation.function if isinstance(operation, ActivationOperation) else operation.ends_in
        name = function if isinstance(function, str) else function[0]
        known = isinstance(
            operation, (AffineOperation, ActivationOperation, PermuteOperation, ReshapeOperation)
        )
        if not (known and name in _PIECEWISE_LINEAR and node.inputs == (before,)):
            return False
        before = node.output
    return tuple(program.outputs) == (before,)
