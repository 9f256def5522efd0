"""Reinforcement learning in float64, written from the equations: advantages, log-probabilities, objectives."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm


def advantages(rewards, values, following, terminated, truncated, gamma, lam):
    """sum_k (gamma lambda)^k delta_{t+k} up to the end of the episode, one environment and one step at a time."""
    steps, n = rewards.shape
    result = np.zeros((steps, n))
    for i in range(n):
        for t in range(steps):
            factor = 1.0
            for later in range(t, steps):
                after = 0.0 if terminated[later, i] else following[later, i]
                delta = rewards[later, i] + gamma * after - values[later, i]
                result[t, i] += factor * delta
                if terminated[later, i] or truncated[later, i]:
                    break
                factor *= gamma * lam
    return result


def log_probability(z, coded, discrete):
    """log p(action) of each row, for one-hot classes, or for vectors with means and log-variances z."""
    if discrete:
        return ((z - logsumexp(z, axis=1, keepdims=True)) * coded).sum(axis=1)
    mean, log_variance = np.split(z, 2, axis=1)
    return norm.logpdf(coded, mean, np.exp(log_variance / 2)).sum(axis=1)


def entropy(z, discrete):
    """The entropy of each row's distribution."""
    if discrete:
        log_p = z - logsumexp(z, axis=1, keepdims=True)
        return -(np.exp(log_p) * log_p).sum(axis=1)
    return norm.entropy(0.0, np.exp(z[:, z.shape[1] // 2 :] / 2)).sum(axis=1)


def clipped(ratio, advantage, clip):
    """The objective of PPO for each row."""
    return np.minimum(ratio * advantage, np.clip(ratio, 1 - clip, 1 + clip) * advantage)


def differences(function, x, h=1e-6):
    """Central differences of a function of an array, entry by entry, in float64."""
    gradient = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        kept = x[i]
        x[i] = kept + h
        above = function()
        x[i] = kept - h
        gradient[i] = (above - function()) / (2 * h)
        x[i] = kept
    return gradient
