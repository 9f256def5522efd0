"""Annealed importance sampling: an estimate of the partition function of a large Boltzmann machine."""

from __future__ import annotations

import itertools
import math

import numpy as np
import scipy.special

from steepest import kernels as K
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import to_device, to_host

from .draws import PhiloxDraws
from .machine import Machine


def annealed_log_partition(
    machine: Machine, base: Float64Array, betas: Float64Array, n_chains: int, seed: int
) -> tuple[float, float]:
    """Return an estimate of log Z and its standard error.

    Chains move from a machine without weights, whose visible units are independent with biases `base`, through
    machines in between to this one (R. Salakhutdinov, I. Murray, "On the quantitative analysis of deep belief
    networks", ICML 2008).

    Parameters
    ----------
    machine : Machine
        The machine.
    base : ndarray of shape (n_visible,)
        Biases of the machine that the chains begin with.
    betas : ndarray of shape (k,)
        Inverse temperatures, rising from 0 to 1.
    n_chains : int
        Number of independent chains.
    seed : int
        Seed of the chains.

    Returns
    -------
    estimate, standard_error : float
        log of the mean weight times Z of the first machine; standard deviation of the mean weight, relative to it.
    """
    device, dtype = device_of(machine.weights), machine.weights.dtype
    draws = PhiloxDraws(seed, device)
    start = to_device(np.zeros((n_chains, machine.weights.shape[1]), dtype), device)
    draws.begin()
    v = _between(machine, base, 0.0).draw_visible(start, draws.next)
    log_weights = np.zeros(n_chains)
    for before, beta in itertools.pairwise(betas.tolist()):
        log_weights += _log_ratio(machine, base, before, beta, v)
        between = _between(machine, base, beta)
        draws.end()
        draws.begin()
        _, h = between.draw_hidden(v, draws.next())
        between.draw_visible(h, draws.next, draws=v)
    first = _first_log_partition(machine, base)
    mean = float(scipy.special.logsumexp(log_weights)) - math.log(n_chains)
    relative = np.exp(log_weights - mean)
    return first + mean, float(relative.std(ddof=1)) / math.sqrt(n_chains)


def _between(machine: Machine, base: Float64Array, beta: float) -> Machine:
    """Return the machine at an inverse temperature."""
    dtype = machine.weights.dtype
    start = to_device(base.astype(dtype), device_of(machine.weights))
    weights = machine.weights * dtype.type(beta)
    hidden = machine.hidden_bias * dtype.type(beta)
    visible = start * dtype.type(1 - beta) + machine.visible_bias * dtype.type(beta)
    return Machine(weights, hidden, visible, machine.gaussian, machine.n_labels)


def _log_ratio(machine: Machine, base: Float64Array, before: float, beta: float, v: Array) -> Float64Array:
    """Return the logarithm of the ratio of the masses that two inverse temperatures give visible states."""
    dtype = machine.weights.dtype
    fields = K.linear(v, machine.weights, machine.hidden_bias)
    soft = [K.sum(K.activation(fields * dtype.type(at), "softplus"), axis=1) for at in (beta, before)]
    change = machine.visible_bias - to_device(base.astype(dtype), device_of(v))
    linear = K.linear(v, change[:, None])[:, 0] * dtype.type(beta - before)
    ratio: Float64Array = to_host(soft[0] - soft[1] + linear).astype(np.float64)
    if machine.gaussian:
        # The squares of v are the same at all temperatures, and cancel; those of the biases do not.
        n = machine.n_features
        own = to_host(machine.visible_bias[:n]).astype(np.float64)
        ratio -= (beta - before) * ((own**2).sum() - (base[:n] ** 2).sum()) / 2
    return ratio


def _first_log_partition(machine: Machine, base: Float64Array) -> float:
    n = machine.n_features
    total: float = machine.weights.shape[1] * math.log(2.0)
    if machine.gaussian:
        total += n / 2 * math.log(2 * math.pi)
    else:
        total += float(np.logaddexp(0.0, base[:n]).sum())
    return total + (float(scipy.special.logsumexp(base[n:])) if machine.n_labels else 0.0)
