"""Training of a small Boltzmann machine by the exact natural gradient of its likelihood."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
import scipy.special

from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.memory import assign, to_host
from steepest._symmetric import one_thread_if_small
from steepest.fisher import BoltzmannFisher

from .epochs import Arena
from .machine import Machine

_FIRST_DAMPING, _SMALLEST_DAMPING, _LARGEST_DAMPING = 1e-2, 1e-8, 1e8
_GOOD, _BAD = 0.75, 0.25  # proportions of the predicted progress that change the damping


class NaturalEpochs:
    """Steps of the natural gradient on all samples, one an epoch, for `steepest.training.loop.train`.

    A step is ``-(F + damping I)^-1 g``, with the exact Fisher matrix and the exact gradient of the mean negative
    log-likelihood. It is taken if it lowers the loss, else tried again with more damping; the damping follows the
    ratio of the progress to its prediction ``g d - d F d / 2`` (D. Marquardt, "An algorithm for least-squares
    estimation of nonlinear parameters", 1963).

    Parameters
    ----------
    machine : Machine
        The machine, of binary units.
    arena : ndarray
        The flat array of its parameters.
    X : ndarray of shape (n, n_visible)
        All samples.
    l2 : float
        Strength of the penalty ``l2 / 2 |W|^2`` on the mean loss.
    """

    remedy = "Try a larger l2"

    def __init__(self, machine: Machine, arena: Array, X: Array, l2: float = 0.0) -> None:
        self.networks: list[Any] = [Arena(arena)]
        self._machine, self._X, self._l2 = machine, np.asarray(to_host(X), np.float64), l2
        self.samples, self.steps = len(self._X), 1
        self.stopped = False  # whether no step lowers the loss any more
        self._damping = _FIRST_DAMPING
        self._parameters = self._read()
        self._loss, self._fisher, self._gradient = self._evaluate(self._parameters)

    def run_epoch(
        self, stream: int, on_progress: Callable[[int], None] | None = None
    ) -> tuple[float, float | None]:
        """Take a step; see `steepest.training.trainer.Trainer.run_epoch`."""
        metric = self._fisher.to_dense()
        while self._damping <= _LARGEST_DAMPING:
            damped = metric.copy()
            damped[np.diag_indices(len(damped))] += self._damping
            with one_thread_if_small(len(damped)):
                step = scipy.linalg.solve(damped, self._gradient, assume_a="pos")
            loss, fisher, gradient = self._evaluate(self._parameters - step)
            if loss < self._loss:
                predicted = self._gradient @ step - step @ metric @ step / 2
                ratio = (self._loss - loss) / predicted
                if ratio > _GOOD:
                    self._damping = max(self._damping / 2, _SMALLEST_DAMPING)
                elif ratio < _BAD:
                    self._damping *= 2
                self._parameters = self._parameters - step
                self._loss, self._fisher, self._gradient = loss, fisher, gradient
                self._write()
                return self._loss, None
            self._damping *= 4
        self.stopped = True
        return self._loss, None

    def _evaluate(self, parameters: Float64Array) -> tuple[float, BoltzmannFisher, Float64Array]:
        """Return the penalised loss, the Fisher matrix, and the gradient of the loss."""
        components, hidden, visible = self._split(parameters)
        fisher = BoltzmannFisher(components, hidden, visible)
        fields = self._X @ components.T + hidden
        likelihood = (self._X @ visible + np.logaddexp(0.0, fields).sum(axis=1)).mean() - fisher.log_partition
        means = scipy.special.expit(fields)
        n = len(self._X)
        data = [(means.T @ self._X / n).ravel(), means.mean(axis=0), self._X.mean(axis=0)]
        gradient = fisher.mean - np.concatenate(data)
        gradient[: components.size] += self._l2 * components.ravel()
        return float(self._l2 / 2 * (components**2).sum() - likelihood), fisher, gradient

    def _split(self, parameters: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
        n_visible, n_hidden = self._machine.weights.shape
        size = n_visible * n_hidden
        components = parameters[:size].reshape(n_hidden, n_visible)
        return components, parameters[size : size + n_hidden], parameters[size + n_hidden :]

    def _read(self) -> Float64Array:
        machine = self._machine
        parts = (machine.weights.T, machine.hidden_bias, machine.visible_bias)
        return np.concatenate([np.asarray(to_host(part), np.float64).ravel() for part in parts])

    def _write(self) -> None:
        components, hidden, visible = self._split(self._parameters)
        assign(self._machine.weights, components.T)
        assign(self._machine.hidden_bias, hidden)
        assign(self._machine.visible_bias, visible)
