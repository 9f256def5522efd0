"""Saving and restoring a natural-gradient optimizer: state dictionaries, copies and pickles."""

from __future__ import annotations

import copy
import inspect
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from steepest._runtime.arrays import Array
from steepest._runtime.memory import to_device, to_host
from steepest.nn import Network

from .curvature import Curvature
from .step_rules import MOMENTUM_RULES, MomentumRule


class ResumableNaturalGradient:
    """Base of `NaturalGradient` that saves its state, and continues from a saved one."""

    net: Network
    damping: float
    momentum_rule: str
    seed: int
    output: Array | None
    _steps: int
    _settled: float | None
    _last_taken: tuple[Array, float] | None
    _curvature: Curvature
    _rule: MomentumRule

    @property
    def lr(self) -> float:
        """Learning rate: the factor of the natural gradient in a step."""
        return self._rule.lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._require("lr", value, 0.0, math.inf, open_below=True)
        self._rule.lr = value

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the state: damping, learning rate, averages and the last step.

        An optimizer with this state takes the next steps with the same bits. There is one exception, a dense matrix
        that serves several steps (`inverse_period` or `factor_period` above 1) without averages and without being
        formed (solver ``"gram"`` or ``"cg"``). The state does not hold it, and the next step uses its own batch.

        Returns
        -------
        dict
            Numbers, and lists of NumPy arrays, by name.
        """
        last = self._rule.last
        return {
            "rule": type(self).__name__,
            "structure": self._curvature.structure,
            "momentum_rule": self.momentum_rule,
            "lr": self.lr,
            "damping": self.damping,
            "settled": self._settled,
            "seed": self.seed,
            "steps": self._steps,
            "last": [] if last is None else [np.array(to_host(last))],
            "taken": []
            if self._last_taken is None
            else [np.array(to_host(self._last_taken[0])), self._last_taken[1]],
            **self._curvature.state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Parameters
        ----------
        state : mapping
            State of a natural gradient with the same structure and momentum rule, for a network of the same shapes.

        Raises
        ------
        ValueError
            If the state is that of another optimizer, or incomplete; nothing is changed then. Only the next step
            detects averages for layers of other shapes.
        """
        self._checked_state(state)()

    def _checked_state(self, state: Mapping[str, Any]) -> Callable[[], None]:
        """Check a state, and return a function that restores it."""
        if state.get("rule") != type(self).__name__:
            raise ValueError(f"[NaturalGradient] cannot load the state of {state.get('rule')}")
        for name, own in (("structure", self._curvature.structure), ("momentum_rule", self.momentum_rule)):
            if state.get(name) != own:
                raise ValueError(
                    f"[NaturalGradient] the state is that of {name}={state.get(name)!r}, not {own!r}"
                )
        size = sum(p.value.size for p in self.net.parameters())
        if any(np.shape(array) != (size,) for array in state.get("last", ())):
            raise ValueError(
                f"[NaturalGradient] the state is that of another network than one of {size} parameters"
            )
        try:
            lr, damping = float(state["lr"]), float(state["damping"])
            seed, steps = operator.index(state["seed"]), operator.index(state["steps"])
            last = [np.array(array).astype(self.net.dtype, casting="same_kind") for array in state["last"]]
            self._require("lr", lr, 0.0, math.inf, open_below=True)
            self._require("damping", damping, 0.0, math.inf)
            settled = None if state.get("settled") is None else float(state["settled"])
            taken = self._as_taken(state.get("taken", ()))
            restore_curvature = self._curvature.checked_state(state)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"[NaturalGradient] the state is incomplete or damaged: {error!r}") from error

        def restore() -> None:
            restore_curvature()
            self.lr, self.damping = lr, damping
            self.seed, self._steps = seed, steps
            self._settled, self._last_taken = settled, taken
            self._rule.last = to_device(last[0], self.net.device) if last else None

        return restore

    def _arguments(self) -> dict[str, Any]:
        """Return the arguments of the constructor besides the network and what `state_dict` holds."""
        own = {**vars(self), **self._curvature.arguments, "momentum": self._rule.momentum}
        names = inspect.signature(type(self)).parameters
        return {name: own[name] for name in names if name not in ("net", "lr", "damping", "seed")}

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        vars(twin).update({name: copy.deepcopy(value, memo) for name, value in vars(self).items()})
        return twin

    def __getstate__(self) -> dict[str, Any]:
        # The inverse is a function, which cannot be pickled: the next step recomputes it from the saved state.
        made_anew = ("_curvature", "_rule", "output")
        return {
            "options": {name: value for name, value in vars(self).items() if name not in made_anew},
            "curvature": tuple(self._curvature.arguments.values()),
            "momentum": self._rule.momentum,
            "state": self.state_dict(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state["options"])
        self.output = None
        self._curvature = Curvature(*state["curvature"])
        self._rule = MOMENTUM_RULES[self.momentum_rule](state["state"]["lr"], state["momentum"])
        self.load_state_dict(state["state"])

    def _as_taken(self, saved: Sequence[Any]) -> tuple[Array, float] | None:
        """Return the parameters before the last step and the loss after it, from a saved state."""
        if not len(saved):
            return None
        parameters, after = saved
        array = np.array(parameters).astype(self.net.dtype, casting="same_kind")
        if array.shape != self.net.arena.shape:
            raise ValueError(f"the parameters have the shape {array.shape}, expected {self.net.arena.shape}")
        return to_device(array, self.net.device), float(after)

    def _require_nothing_frozen(self) -> None:
        if self.net.frozen:
            raise ValueError(
                f"[NaturalGradient] cannot train a network with frozen parameters, got "
                f"{', '.join(sorted(self.net.frozen))}: call net.unfreeze(), or train with a first-order rule"
            )

    def _require(self, name: str, value: float, low: float, high: float, *, open_below: bool = False) -> None:
        if not (low < value < high or (value == low and not open_below)):
            bracket = "(" if open_below else "["
            raise ValueError(f"[NaturalGradient] {name} must be in {bracket}{low:g}, {high:g}), got {value}")
