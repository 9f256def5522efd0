"""The exact distribution of a small Boltzmann machine, by enumeration of a layer in float64 on the host."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import scipy.special

from steepest._runtime.arrays import Float64Array
from steepest.fisher._binary_states import binary_states

from .machine import Machine

MOST_UNITS = 25  # units of the layer that is enumerated
_BLOCK_STATES = 1 << 13


def log_partition(machine: Machine) -> float:
    """Return log Z, by the states of the hidden layer or, if it is smaller and all units binary, of the visible one.

    Parameters
    ----------
    machine : Machine
        The machine, in any dtype and on any device.

    Raises
    ------
    ValueError
        If that layer has more than 25 units.
    """
    exact = machine.to("cpu", np.float64)
    if exact.binary and len(exact.weights) < exact.weights.shape[1]:
        exact = Machine(exact.weights.T, exact.visible_bias, exact.hidden_bias)
    total = -math.inf
    for _, _, logs in _blocks(exact):
        total = float(np.logaddexp(total, scipy.special.logsumexp(logs)))
    return total


def expectations(machine: Machine) -> tuple[float, Float64Array, Float64Array, Float64Array]:
    """Return log Z, and the means of v h^T, h and v, where v is replaced by v - b for Gaussian units in the last one.

    Raises
    ------
    ValueError
        If the layer that is enumerated has more than 25 units.
    """
    exact = machine.to("cpu", np.float64)
    turned = exact.binary and len(exact.weights) < exact.weights.shape[1]
    if turned:
        exact = Machine(exact.weights.T, exact.visible_bias, exact.hidden_bias)
    log_z = log_partition(exact)
    products = np.zeros(exact.weights.shape)
    hidden, visible = np.zeros(len(exact.hidden_bias)), np.zeros(len(exact.visible_bias))
    for states, fields, logs in _blocks(exact):
        p = np.exp(logs - log_z)
        means = _visible_means(exact, fields)
        products += (means * p[:, None]).T @ states
        hidden += p @ states
        visible += p @ means
    return (log_z, products.T, visible, hidden) if turned else (log_z, products, hidden, visible)


def _blocks(machine: Machine) -> Iterator[tuple[Float64Array, Float64Array, Float64Array]]:
    """Yield hidden states, their fields ``b + W h``, and the logarithms of their weights in Z."""
    units = machine.weights.shape[1]
    if units > MOST_UNITS:
        raise ValueError(
            f"a layer of {units} units has too many states to enumerate; at most {MOST_UNITS} units are possible. "
            "annealed_log_partition estimates the partition function of larger machines"
        )
    for begin in range(0, 1 << units, _BLOCK_STATES):
        states = binary_states(units, begin, min(begin + _BLOCK_STATES, 1 << units))
        fields = states @ machine.weights.T + machine.visible_bias
        yield states, fields, states @ machine.hidden_bias + _log_normalisers(machine, fields)


def _log_normalisers(machine: Machine, fields: Float64Array) -> Float64Array:
    """Return the logarithm of the sum, or integral, over the visible units, with -|b|^2 / 2 for Gaussian ones."""
    n = machine.n_features
    features, bias = fields[:, :n], machine.visible_bias[:n]
    total: Float64Array
    if machine.gaussian:
        total = (features**2).sum(axis=1) / 2 - (bias**2).sum() / 2 + n / 2 * math.log(2 * math.pi)
    else:
        total = np.logaddexp(0.0, features).sum(axis=1)
    return total + scipy.special.logsumexp(fields[:, n:], axis=1) if machine.n_labels else total


def _visible_means(machine: Machine, fields: Float64Array) -> Float64Array:
    n = machine.n_features
    features = fields[:, :n] if machine.gaussian else scipy.special.expit(fields[:, :n])
    if not machine.n_labels:
        return np.asarray(features)
    return np.concatenate([features, scipy.special.softmax(fields[:, n:], axis=1)], axis=1)
