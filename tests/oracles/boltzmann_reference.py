"""The distribution of a small Boltzmann machine by its joint states, in float64 and from the energy alone."""

from __future__ import annotations

import itertools

import numpy as np


def binary(units):
    """All states of binary units."""
    return np.array(list(itertools.product([0.0, 1.0], repeat=units))).reshape(-1, units)


class Joint:
    """All states (v, h) of a machine with binary units; the last `labels` visible units are one-hot."""

    def __init__(self, components, hidden_bias, visible_bias, labels=0):
        n_hidden, n_visible = np.shape(components)
        features, one_hot = binary(n_visible - labels), np.eye(labels) if labels else np.zeros((1, 0))
        v = np.array([np.concatenate(pair) for pair in itertools.product(features, one_hot)])
        h = binary(n_hidden)
        self.v, self.h = np.repeat(v, len(h), axis=0), np.tile(h, (len(v), 1))
        energy = -(
            self.v @ visible_bias
            + self.h @ hidden_bias
            + np.einsum("sj,ji,si->s", self.h, components, self.v)
        )
        self.log_partition = np.log(np.exp(-energy).sum())
        self.p = np.exp(-energy - self.log_partition)

    def statistics(self):
        """(h v^T, h, v) of each state, flat."""
        products = np.einsum("sj,si->sji", self.h, self.v).reshape(len(self.p), -1)
        return np.concatenate([products, self.h, self.v], axis=1)

    def marginal(self, x):
        """The probability of the visible state x, or of all with these features."""
        return self.p[(self.v[:, : len(x)] == x).all(axis=1)].sum()

    def covariance(self):
        """The Fisher matrix: the covariance of the statistics."""
        s = self.statistics()
        centred = s - self.p @ s
        return (centred * self.p[:, None]).T @ centred


def bars_and_stripes(size):
    """A coin for the direction and one for each line: 2^(size + 1) equally likely patterns, some of them alike."""
    lines = binary(size)
    rows = [np.repeat(lines, size, axis=1), np.tile(lines, (1, size))]
    return np.concatenate(rows)
