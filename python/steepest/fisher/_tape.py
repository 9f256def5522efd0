"""What a network's linear layers take in for a batch, and what reaches their outputs on the way back."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from steepest import kernels as K
from steepest._backends import device_of
from steepest._memory import aligned_empty, array_namespace
from steepest.nn import Network
from steepest.nn._stages import ActivationStage, LinearStage, Stage, has_output_derivative

Array = npt.NDArray[Any]


class Tape:
    """A forward pass without dropout, of which everything is kept.

    Parameters
    ----------
    net : Network
        Of linear layers with weights of their own, and element-wise activations.
    x : ndarray of shape (n, n_in)
        Inputs, of the network's dtype and on its device.

    Attributes
    ----------
    inputs : list of ndarray of shape (n, p_l)
        Of the linear layers.
    output : ndarray of shape (n, c)
        Of the network.

    Raises
    ------
    ValueError
        The network has another layer.
    """

    def __init__(self, net: Network, x: Array) -> None:
        self._stages = stages_of(net)
        self._values = [x]
        for stage in self._stages:
            width = self._values[-1].shape[1] if stage.n_out is None else stage.n_out
            out = aligned_empty((len(x), width), net.dtype, net.device)
            stage.forward(self._values[-1], out)
            self._values.append(out)
        self.output = self._values[-1]
        linear = [i for i, stage in enumerate(self._stages) if isinstance(stage, LinearStage)]
        self.inputs, self._first = [self._values[i] for i in linear], linear[0]

    def inputs_with_ones(self) -> list[Array]:
        """Return the inputs of the linear layers, with a column of ones at the end for those that have a bias."""
        found = []
        for x, has_bias in zip(self.inputs, biases_of(self._stages), strict=True):
            if has_bias:
                wider = aligned_empty((len(x), x.shape[1] + 1), x.dtype, device_of(x))
                wider[:, :-1], wider[:, -1] = x, 1
                x = wider
            found.append(x)
        return found

    def backward(self, d: Array) -> list[Array]:
        """Return the gradients with respect to the outputs of the linear layers, before their activations.

        Parameters
        ----------
        d : ndarray of shape (n * r, c)
            Gradients with respect to the output, r in sequence for each sample.

        Returns
        -------
        list of ndarray of shape (n * r, m_l)
        """
        found: list[Array] = []
        for i in range(len(self._stages) - 1, self._first - 1, -1):
            stage = self._stages[i]
            d = self._through(i, d)
            if isinstance(stage, LinearStage):
                found.append(d)
                d = K.matmul(d, stage.weight.value.T) if i > self._first else d
        return found[::-1]

    def pullback(self, d: Array) -> list[Array]:
        """Return ``J^T d`` for d of the output's shape: arrays as of ``net.parameters()``."""
        found: list[list[Array]] = []
        for i in range(len(self._stages) - 1, self._first - 1, -1):
            stage = self._stages[i]
            d = self._through(i, d)
            if isinstance(stage, LinearStage):
                w = stage.weight.value
                d_x, d_w, d_b = K.linear_backward(d, self._values[i], w, input_grad=i > self._first)
                found.append([d_w] if stage.bias is None else [d_w, d_b])
                d = d if d_x is None else d_x
        return [array for of_layer in reversed(found) for array in of_layer]

    def tangent(self, directions: list[Array]) -> Array:
        """Return how the output changes with the parameters, ``J v``, of shape (n, c).

        Parameters
        ----------
        directions : list of ndarray
            The change of each of ``net.parameters()``, of its shape and dtype.
        """
        moved: Array | None = None
        remaining = iter(directions)
        for i, stage in enumerate(self._stages):
            if isinstance(stage, LinearStage):
                step = next(remaining)
                change = K.linear(self._values[i], step, None if stage.bias is None else next(remaining))
                if moved is not None:
                    change += K.matmul(moved, stage.weight.value)
                moved = change
            if moved is not None:
                moved = self._through(i, moved)
        if moved is None:
            raise ValueError("[Tape] the network has no linear layer")
        return moved

    def _through(self, i: int, d: Array) -> Array:
        """Multiply by the derivative of the activation of stage i, which is the same forwards and backwards."""
        stage, times = self._stages[i], len(d) // max(len(self.output), 1)
        function = stage.function if isinstance(stage, ActivationStage) else stage.folded
        if function == "identity":
            return d
        at = self._values[i + 1] if has_output_derivative(function) else self._values[i]
        if times > 1:
            at = array_namespace(at).repeat(at, times, axis=0)
        return K.activation_backward(d, at, function)


def stages_of(net: Network) -> list[Stage]:
    """Return the stages of a network that is made of linear layers and element-wise activations."""
    for stage in net._predicting:
        if not isinstance(stage, (LinearStage, ActivationStage)):
            what = type(stage).__name__.removesuffix("Stage")
            raise ValueError(f"[FisherMatrix] there is no Fisher matrix for a network with a layer {what}")
    if any(layer.tied_to is not None for layer in net.layers if hasattr(layer, "tied_to")):
        raise ValueError("[FisherMatrix] there is no Fisher matrix for a network with tied weights")
    if not any(isinstance(stage, LinearStage) for stage in net._predicting):
        raise ValueError("[FisherMatrix] the network has no linear layer")
    return list(net._predicting)


def biases_of(stages: list[Stage]) -> list[bool]:
    """Return for each linear layer whether it has a bias."""
    return [stage.bias is not None for stage in stages if isinstance(stage, LinearStage)]
