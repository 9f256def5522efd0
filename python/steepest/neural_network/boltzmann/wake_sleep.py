"""Deep belief networks: directed layers below a Boltzmann machine, and steps of the wake-sleep algorithm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_empty, to_device

from .divergence import ContrastiveDivergence
from .draws import Draws, PhiloxDraws
from .machine import Machine, NextDraw


@dataclass
class DirectedLayer:
    """A layer with weights of its own for each direction.

    Attributes
    ----------
    up : Machine
        Draws the units above: its weights and hidden biases, the recognition model.
    down : Machine
        Draws the units below: its weights and visible biases, the generative model.
    """

    up: Machine
    down: Machine

    def arrays(self) -> list[Array]:
        """Return the arrays that steps change."""
        return [self.up.weights, self.up.hidden_bias, self.down.weights, self.down.visible_bias]


class WakeSleep:
    """Steps of the up-down algorithm.

    G. Hinton, S. Osindero, Y.-W. Teh, "A fast learning algorithm for deep belief nets", Neural Computation 18, 2006.

    Wake: units are drawn upwards from the data, and the generative weights learn to predict each layer from the one
    above. The machine at the top takes a step of contrastive divergence from there. Sleep: units are drawn downwards
    from the end of its chain, and the recognition weights learn to predict each layer from the one below.

    Parameters
    ----------
    layers : list of DirectedLayer
        The directed layers, from the data upwards.
    top : ContrastiveDivergence
        Steps of the machine at the top, whose chains are not persistent.
    learning_rate : float
        Size of the steps of the directed layers.
    largest : int
        Largest number of samples in a batch.
    seed : int
        Seed of the draws of the directed layers.

    Attributes
    ----------
    batch : ndarray of shape (largest, n_features + n_labels)
        Receives the samples before a step, with label units.
    """

    def __init__(
        self,
        layers: list[DirectedLayer],
        top: ContrastiveDivergence,
        learning_rate: float,
        largest: int,
        seed: int,
    ) -> None:
        self._layers, self._top, self._learning_rate = layers, top, learning_rate
        weights = layers[0].up.weights
        self._device, dtype = device_of(weights), weights.dtype
        self._draws = PhiloxDraws(seed, self._device)
        sizes = [len(layers[0].up.weights), *(layer.up.weights.shape[1] for layer in layers)]
        n_labels = top.machine.n_labels
        self.batch = aligned_empty((largest, sizes[0] + n_labels), dtype, self._device)
        self._states = [aligned_empty((largest, size), dtype, self._device) for size in sizes]
        self._minus = to_device(np.full((1, 1), -1.0, dtype), self._device)

    def step(self, n: int, draws: Draws) -> None:
        """Take a step on the first n rows of `batch`; `draws` are those of the machine at the top."""
        layers, states = self._layers, [state[:n] for state in self._states]
        own = self._draws
        own.begin()
        K.copy(self.batch[:n, : states[0].shape[1]], out=states[0])
        for layer, below, above in zip(layers, states[:-1], states[1:], strict=True):
            layer.up.draw_hidden(below, own.next(), draws=above)
        for layer, below, above in zip(layers, states[:-1], states[1:], strict=True):
            self._teach_down(layer.down, below, above)
        width = states[-1].shape[1]
        K.copy(states[-1], out=self._top.batch[:n, :width])
        if self._top.machine.n_labels:
            K.copy(self.batch[:n, states[0].shape[1] :], out=self._top.batch[:n, width:])
        self._top.step(n, draws)
        K.copy(self._top.ends(n)[:, :width], out=states[-1])
        for layer, below, above in zip(layers[::-1], states[-2::-1], states[:0:-1], strict=True):
            layer.down.draw_visible(above, own.next, draws=below)
        for layer, below, above in zip(layers, states[:-1], states[1:], strict=True):
            self._teach_up(layer.up, below, above)
        own.end()

    def _teach_down(self, model: Machine, below: Array, above: Array) -> None:
        """Move the generative weights so that the layer above predicts the one below better."""
        error = self._error(model.visible_means(above), below)
        gradient, _, bias = self._gradients(model, above, error)
        K.matmul(to_device(np.ones((1, len(below)), below.dtype), self._device), error, out=bias[None])
        self._move(model.weights, model.visible_bias, gradient, bias, len(below))

    def _teach_up(self, model: Machine, below: Array, above: Array) -> None:
        """Move the recognition weights so that the layer below predicts the one above better."""
        error = self._error(model.hidden_means(below), above)
        gradient, bias, _ = self._gradients(model, error, below)
        self._move(model.weights, model.hidden_bias, gradient, bias, len(below))

    def _error(self, prediction: Array, target: Array) -> Array:
        """Return ``prediction - target``: the gradient of the log loss, or of half the squared error."""
        error = K.multiply(target, self._minus)
        return K.add(error, prediction, out=error)

    def _gradients(self, model: Machine, hidden: Array, visible: Array) -> tuple[Array, Array, Array]:
        """Return ``visible^T hidden``, the sums of `hidden`, and room for those of `visible`."""
        _, gradient, sums = K.linear_backward(hidden, visible, model.weights, input_grad=False)
        return gradient, sums, aligned_empty(model.visible_bias.shape, sums.dtype, self._device)

    def _move(self, weights: Array, bias: Array, gradient: Array, bias_gradient: Array, n: int) -> None:
        K.sgd_update([weights, bias], [gradient, bias_gradient], lr=self._learning_rate / n)


def drawn_down(
    layers: list[DirectedLayer], states: Array, next_draw: NextDraw, *, means: bool = False
) -> Array:
    """Return a draw of the units at the bottom given those at the top of directed layers, or the means of the last."""
    for i, layer in enumerate(reversed(layers)):
        last = i + 1 == len(layers)
        states = (
            layer.down.visible_means(states) if last and means else layer.down.draw_visible(states, next_draw)
        )
    return states
