"""Which parameters of a network are trained: freezing of layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .parameter import Parameter

if TYPE_CHECKING:
    from ._arena import Arena
    from .layers import Layer


class Freezable:
    """Base of `Network` that lists its parameters, and knows which of them are frozen."""

    layers: tuple[Layer, ...]
    _arena: Arena
    _parameters: list[Parameter]

    def parameters(self, role: str | None = None, *, trained: bool | None = None) -> list[Parameter]:
        """Return the parameters, layer by layer, weight before bias.

        Parameters
        ----------
        role : str or None, default=None
            Only those of a role, such as ``"weight"`` or ``"bias"``; None for all.
        trained : bool or None, default=None
            With True only those that are trained, with False only those that are frozen; None for all.

        Returns
        -------
        list of Parameter
            The parameters; none if no layer has that role.
        """
        return [
            p
            for p in self._parameters
            if (role is None or p.role == role) and (trained is None or p.trained == trained)
        ]

    @property
    def frozen(self) -> frozenset[str]:
        """Names of the frozen parameters."""
        return self._arena.frozen

    def freeze(self, *parts: int | str) -> None:
        """Stop training layers or parameters.

        `backward` computes no gradients of frozen parameters, and nothing before the first trained one. Their `grad`
        becomes zero and stays so. Optimizers leave frozen parameters and their own state for them alone, whatever
        list of parameters they were made from. Copies, pickles and files keep what is frozen. A step that was captured
        before goes on as it was captured.

        Parameters
        ----------
        *parts : int or str
            The position of a layer in `layers`, the place of a layer within another one, such as ``"2.1"``, or the name
            of a parameter, such as ``"0.weight"``. Shared and tied weights belong to the layer in their name. Without
            arguments, everything is frozen.

        Raises
        ------
        ValueError
            If there is no such layer, or no parameter at such a place; nothing has changed then.
        TypeError
            If an argument is neither an integer nor a string.

        Examples
        --------
        >>> from steepest import nn
        >>> net = nn.Network([nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)])
        >>> net.freeze(0, "2.weight")
        >>> [p.name for p in net.parameters(trained=True)]
        ['2.bias', '4.weight', '4.bias']
        """
        names = self._named("freeze", parts)
        self._set_frozen(self._arena.frozen | names)
        for parameter in self._parameters:
            if parameter.name in names:
                parameter.grad[...] = 0

    def unfreeze(self, *parts: int | str) -> None:
        """Train layers or parameters again, the counterpart of `freeze`.

        An optimizer updates them from its next step on, with the state that it had for them.

        Parameters
        ----------
        *parts : int or str
            Layers or parameters, as for `freeze`. Without arguments, everything is trained.

        Raises
        ------
        ValueError, TypeError
            As for `freeze`.
        """
        self._set_frozen(self._arena.frozen - self._named("unfreeze", parts))

    def _set_frozen(self, names: Iterable[str]) -> None:
        self._arena.frozen = frozenset(names)

    def _named(self, method: str, parts: tuple[int | str, ...]) -> frozenset[str]:
        """Return the names of the parameters of layers and places."""
        names = [parameter.name for parameter in self._parameters]
        found: set[str] = set() if parts else set(names)
        for part in parts:
            if isinstance(part, bool) or not isinstance(part, int | str):
                raise TypeError(
                    f"[Network.{method}] takes positions and places of layers and names of parameters, "
                    f"not an object of type {type(part).__name__}"
                )
            if isinstance(part, int):
                if not -len(self.layers) <= part < len(self.layers):
                    raise ValueError(
                        f"[Network.{method}] there is no layer {part}: the network has {len(self.layers)} layers"
                    )
                place = str(part % len(self.layers))
            else:
                place = part
            at_place = [name for name in names if name == place or name.startswith(f"{place}.")]
            # A layer without parameters, such as an activation, may be frozen; a misspelt name may not.
            if not at_place and isinstance(part, str):
                raise ValueError(
                    f"[Network.{method}] there is no parameter at {part!r}; the parameters are {', '.join(names)}"
                )
            found.update(at_place)
        return frozenset(found)
