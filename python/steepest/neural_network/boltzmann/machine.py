"""A restricted Boltzmann machine as arrays on a device: its units, their means, draws and free energies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_empty, aligned_zeros, to_device

# Returns the arguments of the next draw of so many rows and columns: a seed and a stream, or uniform numbers.
NextDraw = Callable[[int, int], dict[str, Any]]


@dataclass
class Machine:
    """A restricted Boltzmann machine, whose hidden units are binary.

    Its energy is ``E(v, h) = -b v - c h - v W h`` for visible units that are binary or, for a group of labels, of which
    exactly one is 1. For Gaussian units of variance 1, ``-b v`` is replaced by ``|v - b|^2 / 2``.

    Attributes
    ----------
    weights : ndarray of shape (n_visible, n_hidden)
        W. The label units are the last visible ones.
    hidden_bias, visible_bias : ndarray of shape (n_hidden,) and (n_visible,)
        c and b.
    gaussian : bool
        Whether the visible units are Gaussian, except for labels.
    n_labels : int
        Number of label units.
    """

    weights: Array
    hidden_bias: Array
    visible_bias: Array
    gaussian: bool = False
    n_labels: int = 0

    @classmethod
    def zeros(
        cls, n_visible: int, n_hidden: int, dtype: Any, device: str, **kinds: Any
    ) -> tuple[Machine, Array]:
        """Return a machine whose parameters are zero, and the one flat array that holds them all."""
        arena = aligned_zeros((n_visible * n_hidden + n_hidden + n_visible,), dtype, device)
        return cls(*parts_of(arena, n_visible, n_hidden), **kinds), arena

    @property
    def n_features(self) -> int:
        """Number of visible units without the labels."""
        return len(self.weights) - self.n_labels

    @property
    def features(self) -> Machine:
        """The machine without its label units."""
        n = self.n_features
        return Machine(self.weights[:n], self.hidden_bias, self.visible_bias[:n], self.gaussian)

    @property
    def binary(self) -> bool:
        """Whether all units are binary and independent given the other layer."""
        return not (self.gaussian or self.n_labels)

    def to(self, device: str, dtype: Any = None) -> Machine:
        """Return the machine on a device, in a dtype."""
        arrays = (self.weights, self.hidden_bias, self.visible_bias)
        weights, hidden, visible = (
            to_device(a if dtype is None else a.astype(dtype, copy=False), device) for a in arrays
        )
        return Machine(weights, hidden, visible, self.gaussian, self.n_labels)

    def hidden_means(self, v: Array, out: Array | None = None) -> Array:
        """Return ``sigmoid(v W + c)``, the probabilities of the hidden units."""
        return K.linear(v, self.weights, self.hidden_bias, "sigmoid", out=out)

    def draw_hidden(
        self, v: Array, draw: dict[str, Any], means: Array | None = None, draws: Array | None = None
    ) -> tuple[Array, Array]:
        """Return the probabilities of the hidden units, and a draw of them."""
        return K.linear_bernoulli(v, self.weights, self.hidden_bias, means=means, draws=draws, **draw)

    def visible_means(self, h: Array) -> Array:
        """Return the means of the visible units given the hidden ones."""
        n = self.n_features
        means = aligned_empty((len(h), len(self.weights)), self.weights.dtype, device_of(self.weights))
        units = "identity" if self.gaussian else "sigmoid"
        K.linear(h, self.weights[:n].T, self.visible_bias[:n], units, out=means[:, :n])
        if self.n_labels:
            K.softmax(K.linear(h, self.weights[n:].T, self.visible_bias[n:]), out=means[:, n:])
        return means

    def draw_visible(self, h: Array, next_draw: NextDraw, draws: Array | None = None) -> Array:
        """Return a draw of the visible units given the hidden ones.

        Parameters
        ----------
        h : ndarray of shape (n, n_hidden)
            States of the hidden units.
        next_draw : callable
            Returns the random numbers of each draw; Gaussian units and labels need a seed and a stream.
        draws : ndarray of shape (n, n_visible), optional
            Receives the draw.
        """
        n, rows, dtype = self.n_features, len(h), self.weights.dtype
        device = device_of(self.weights)
        if draws is None:
            draws = aligned_empty((rows, len(self.weights)), dtype, device)
        weights, bias, features = self.weights[:n].T, self.visible_bias[:n], draws[:, :n]
        if self.gaussian:
            means = K.linear(h, weights, bias)
            # The score of a mean is minus its noise.
            noise = K.sampled_score(means, "gaussian", **next_draw(rows, n))
            K.add(means, noise, out=features)
        else:
            K.linear_bernoulli(h, weights, bias, draws=features, **next_draw(rows, n))
        if self.n_labels:
            fields = K.linear(h, self.weights[n:].T, self.visible_bias[n:])
            # The score is the probabilities minus 1 at the class that was drawn, where it is least.
            score = K.sampled_score(fields, "categorical", **next_draw(rows, self.n_labels))
            minus = to_device(np.full((1, 1), -1.0, dtype), device)
            labels = K.argmax(K.multiply(score, minus))
            K.copy(K.take_rows(self._one_hot(), labels), out=draws[:, n:])
        return draws

    def label_energies(self, x: Array) -> Array:
        """Return the free energy of each row of features with each label, of shape (n, n_labels)."""
        n = self.n_features
        fields = K.linear(x, self.weights[:n], self.hidden_bias)
        energies = aligned_empty((len(x), self.n_labels), fields.dtype, device_of(fields))
        for label in range(self.n_labels):
            soft = K.activation(fields + self.weights[n + label], "softplus")
            energies[:, label] = -(K.sum(soft, axis=1) + self.visible_bias[n + label])
        return energies + self.features.input_energy(x)[:, None]

    def input_energy(self, x: Array) -> Array:
        """Return the part of the free energy that the hidden units do not change."""
        if self.gaussian:
            return K.sum(K.square(x - self.visible_bias), axis=1) / 2
        return -K.linear(x, self.visible_bias[:, None])[:, 0]

    def feature_energy(self, x: Array) -> Array:
        """Return the free energy of rows of features, summed over the labels."""
        if not self.n_labels:
            return self.input_energy(x) - K.sum(self._soft(x), axis=1)
        energies = self.label_energies(x)
        lowest = K.min(energies, axis=1)
        energy: Array = lowest - K.log(K.sum(K.exp(lowest[:, None] - energies), axis=1))
        return energy

    def _soft(self, v: Array) -> Array:
        return K.linear(v, self.weights, self.hidden_bias, "softplus")

    def _one_hot(self) -> Array:
        return to_device(np.eye(self.n_labels, dtype=self.weights.dtype), device_of(self.weights))


def parts_of(arena: Array, n_visible: int, n_hidden: int) -> tuple[Array, Array, Array]:
    """Return the weights, the hidden and the visible biases in one flat array."""
    ends = n_visible * n_hidden, n_visible * n_hidden + n_hidden
    return arena[: ends[0]].reshape(n_visible, n_hidden), arena[ends[0] : ends[1]], arena[ends[1] :]


def moved(machine: Machine, arena: Array, device: str) -> tuple[Machine, Array]:
    """Return a machine and its flat array on a device."""
    own = to_device(arena, device)
    parts = parts_of(own, *machine.weights.shape)
    return Machine(*parts, gaussian=machine.gaussian, n_labels=machine.n_labels), own
