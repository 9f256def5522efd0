"""Running statistics of batch norms during steps, whose losses and derivatives take them as constants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from steepest._runtime.arrays import Array
from steepest._runtime.memory import assign
from steepest.nn import Network
from steepest.nn.inputs import Inputs, as_inputs


@contextmanager
def updated_statistics(net: Network, X: Inputs) -> Iterator[None]:
    """Update the running statistics with a batch, by a forward pass, for a block; if the block raises, restore them."""
    before = _copies(net)
    try:
        if before:
            net.forward(*as_inputs(X))
        yield
    except BaseException:
        _restore(net, before)
        raise


@contextmanager
def kept_statistics(net: Network) -> Iterator[None]:
    """Restore the running statistics after a block whose forward passes change them."""
    before = _copies(net)
    try:
        yield
    finally:
        _restore(net, before)


def _copies(net: Network) -> dict[str, Array]:
    return {name: state.copy() for name, state in net._arena.states.items()}


def _restore(net: Network, states: dict[str, Array]) -> None:
    for name, state in states.items():
        assign(net._arena.states[name], state)
