"""Advantages of actions: how much better what followed was than the value of the state before."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from steepest._runtime.arrays import Float64Array


def generalised_advantages(
    rewards: Float64Array,
    values: Float64Array,
    following: Float64Array,
    terminated: npt.NDArray[np.bool_],
    truncated: npt.NDArray[np.bool_],
    *,
    gamma: float,
    gae_lambda: float,
) -> Float64Array:
    """Return generalised advantage estimates, backwards in time and for all environments at once.

    With ``delta_t = r_t + gamma V(s_{t+1}) - V(s_t)``, ``A_t = delta_t + gamma lambda A_{t+1}`` (J. Schulman et al.,
    "High-dimensional continuous control using generalized advantage estimation", ICLR 2016). Nothing follows a state
    that terminates an episode, so that its value counts as 0. A limit of time says nothing about the state: its value
    stands for the rewards that were cut off (F. Pardo et al., "Time limits in reinforcement learning", ICML 2018). The
    sum ends at both.

    Parameters
    ----------
    rewards : ndarray of shape (t, n)
        Rewards of t steps in n environments.
    values, following : ndarray of shape (t, n)
        Values of the states before and after each action.
    terminated, truncated : ndarray of bool of shape (t, n)
        Whether the step ended its episode by itself, or by a limit of time.
    gamma : float
        Discount of later rewards, in [0, 1].
    gae_lambda : float
        With 1, advantages are discounted returns minus values, which vary much; with 0 they are single differences,
        which are as wrong as the values are.

    Returns
    -------
    ndarray of shape (t, n)
        The advantages. Added to `values`, they are the returns that the value network learns.
    """
    deltas = rewards + gamma * np.where(terminated, 0.0, following) - values
    decays = np.where(terminated | truncated, 0.0, gamma * gae_lambda)
    advantages = np.empty_like(deltas)
    later = np.zeros(deltas.shape[1])
    for t in range(len(deltas) - 1, -1, -1):
        later = advantages[t] = deltas[t] + decays[t] * later
    return advantages
