"""What a network's linear layers take in for a batch, and what reaches their outputs on the way back."""

from __future__ import annotations

import copy

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_empty, array_namespace
from steepest.nn import Network
from steepest.nn._stages import ActivationStage, LinearStage, Stage, has_output_derivative


class Tape:
    """A forward pass without dropout, of which everything is kept, so that the network may change afterwards.

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
    weights : list of ndarray of shape (p_l, m_l)
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
        linear = [(i, stage) for i, stage in enumerate(self._stages) if isinstance(stage, LinearStage)]
        self.inputs, self._first = [self._values[i] for i, _ in linear], linear[0][0]
        # Through the weights of the first layer nothing goes back: it is only their shape that is asked for.
        self.weights = [
            stage.weight.value if k == 0 else stage.weight.value.copy() for k, (_, stage) in enumerate(linear)
        ]
        self._weight_of = {i: w for (i, _), w in zip(linear, self.weights, strict=True)}

    def of_rows(self, rows: slice) -> Tape:
        """Return the pass of some of the samples."""
        part = copy.copy(self)
        part._values = [value[rows] for value in self._values]
        part.inputs, part.output = [x[rows] for x in self.inputs], self.output[rows]
        return part

    def in_float64(self) -> Tape:
        """Return the same pass, with its values and the weights in float64."""
        double = copy.copy(self)
        double._values = [value.astype(np.float64) for value in self._values]
        double._weight_of = {i: w.astype(np.float64) for i, w in self._weight_of.items()}
        double.inputs, double.weights = (
            [double._values[i] for i in self._weight_of],
            list(double._weight_of.values()),
        )
        double.output = double._values[-1]
        return double

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
                d = K.matmul(d, self._weight_of[i].T) if i > self._first else d
        return found[::-1]

    def pullback(self, d: Array, parts: list[Array]) -> None:
        """Write ``J^T d`` for d of the output's shape into matrices of the layers, biases as their last rows."""
        into, applied = list(parts), False
        for i in range(len(self._stages) - 1, self._first - 1, -1):
            stage = self._stages[i]
            d = d if applied else self._through(i, d)
            applied = False
            if isinstance(stage, LinearStage):
                part, w = into.pop(), self._weight_of[i]
                sums = aligned_empty(w.shape[1:], w.dtype, device_of(w)) if stage.bias is None else part[-1]
                # The kernel applies the derivative of the stage before, where that follows from its output.
                applied = i > self._first and isinstance(self._stages[i - 1], LinearStage)
                d_x, _, _ = K.linear_backward(
                    d,
                    self._values[i],
                    w,
                    activation=self._stages[i - 1].folded if applied else "identity",
                    input_grad=i > self._first,
                    d_w=part[: len(w)],
                    d_b=sums,
                )
                d = d if d_x is None else d_x

    def tangent(self, parts: list[Array]) -> Array:
        """Return how the output changes with the parameters, ``J v``, of shape (n, c).

        Parameters
        ----------
        parts : list of ndarray
            The change v: matrices of the layers, biases as their last rows.
        """
        moved: Array | None = None
        remaining = iter(parts)
        for i, stage in enumerate(self._stages):
            if isinstance(stage, LinearStage):
                part, w = next(remaining), self._weight_of[i]
                moved = K.linear_tangent(
                    self._values[i],
                    part[: len(w)],
                    None if stage.bias is None else part[-1],
                    moved,
                    None if moved is None else w,
                    y=self._values[i + 1],
                    activation=stage.folded,
                )
            elif moved is not None:
                moved = self._through(i, moved)
        assert moved is not None
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
