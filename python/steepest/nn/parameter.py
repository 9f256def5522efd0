"""The parameters of a network, as views of its arenas."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from steepest._runtime.arrays import Array

if TYPE_CHECKING:
    from ._arena import Arena


@dataclass(frozen=True, eq=False)
class Parameter:
    """A named tensor of a network with its gradient; both are views into the network's arenas.

    Attributes
    ----------
    name : str
        Place of the layer and role, such as ``"0.weight"``, or ``"2.1.weight"`` for a layer within layer 2.
    value, grad : ndarray
        The tensor and its gradient, of one shape and dtype.
    decays : bool
        Whether penalties such as `l2` and `weight_decay` act on it: on weights, but not on biases and slopes.
    arena : Arena or None
        The arena that they are views of. Copies and pickles take it along, so that they stay views of it.
    """

    name: str
    value: Array
    grad: Array
    decays: bool = field(default=False)
    arena: Arena | None = field(default=None, repr=False)

    @property
    def role(self) -> str:
        """What the parameter is to its layer: ``"weight"``, ``"bias"``, or another role that the layer gives."""
        return self.name.rpartition(".")[2]

    @property
    def trained(self) -> bool:
        """Whether it is trained, which it is unless `Network.freeze` has frozen it."""
        return self.arena is None or self.name not in self.arena.frozen

    def __reduce__(self) -> tuple[Any, ...]:
        if self.arena is None:
            return Parameter, (self.name, self.value, self.grad, self.decays)
        return type(self.arena).parameter, (self.arena, self.name)
