"""Copies of random generators, and seeds drawn without advancing them, in less time than `copy.deepcopy` takes."""

from __future__ import annotations

import copy

import numpy as np


def copied(random_state: np.random.RandomState) -> np.random.RandomState:
    """Return a generator in the same state."""
    state = random_state.get_state(legacy=False)
    if state["bit_generator"] != "MT19937":
        return copy.deepcopy(random_state)
    # `deepcopy` draws entropy from the system for a generator whose state it then replaces.
    twin = np.random.RandomState(np.random.MT19937(0))
    twin.set_state(state)
    return twin


def seed_of(own: np.random.RandomState) -> int:
    """Return the seed that a generator would draw next, and set it back; no other thread may use it meanwhile."""
    state = own.get_state(legacy=False)
    seed = int(own.randint(np.iinfo(np.int32).max))
    own.set_state(state)
    return seed
