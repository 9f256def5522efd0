"""Base class of the optimizers: parameters, learning rate, penalties, gradient clipping and saved state."""

from __future__ import annotations

import inspect
import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any, ClassVar, TypeVar

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array, Float64Array, Int64Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_zeros, assign, to_device, to_host
from steepest.nn import Parameter

from .._of_parameters import OfParameters, list_parameters
from ..schedules import Schedule

T = TypeVar("T")


class Optimizer(OfParameters):
    """Base class of the optimizers; `step` can be called inside `steepest.capture`.

    The state is on the device of the parameters. A deep copy or a pickle includes the parameters. To copy a network
    with its optimizer, copy both at once: ``copy.deepcopy((net, optimizer))``. The same holds for pickles.

    The penalties apply to the parameters whose `Parameter.decays` is True: weights, but not biases. Clipping uses the
    global norm of all gradients.

    Parameters that `Network.freeze` has frozen are left alone, as is the state that the rule keeps for them: no
    momentum, decay or penalty moves them. Steps update them again once they are trained again.

    Parameters
    ----------
    params : iterable of Parameter
        Parameters to update, as `Network.parameters` returns them.
    lr : float
        Learning rate.
    l1 : float, default=0.0
        Strength of an L1 penalty, ``l1 * sum(abs(w))``, applied by a proximal step. After each update, weights move
        towards 0 by ``lr * l1`` and stop at 0, so that some become exactly 0.
    l2 : float, default=0.0
        Strength of an L2 penalty, ``l2 / 2 * sum(w**2)``: ``l2 * w`` is added to the gradient.
    weight_decay : float, default=0.0
        Decoupled decay, ``w -= lr * weight_decay * w`` before each step. It equals `l2` for plain gradient descent, but
        not for rules that scale or accumulate gradients.
    max_norm : float, optional
        Largest global norm of the gradients. Larger gradients are scaled down to it, before penalties are added.

    Raises
    ------
    ValueError
        If there are no parameters, or a number is out of range.
    """

    _looked_up = ("_values", "_grads", "_penalised", "_device", "_trained", "_arenas", "_frozen")
    rule: ClassVar[str]
    """Name of the rule in ``steepest.kernels.UPDATE_RULES``."""
    formula: ClassVar[str]
    """Formula of the step, where g is the gradient after clipping and penalties."""
    source: ClassVar[str]
    """Authors and year of the publication."""

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float,
        *,
        l1: float,
        l2: float,
        weight_decay: float,
        max_norm: float | None,
    ) -> None:
        self.params = list_parameters(params, type(self).__name__)
        self._require(0.0, math.inf, l1=l1, l2=l2, weight_decay=weight_decay)
        if max_norm is not None and not max_norm > 0:
            raise ValueError(f"[{type(self).__name__}] max_norm must be above 0, got {max_norm}")
        self.l1 = l1
        self.l2 = l2
        self.weight_decay = weight_decay
        self.max_norm = max_norm
        self._look_up_arrays()
        # The rate is an array, so that a captured step reads its present value at each replay.
        self._lr: Float64Array = aligned_zeros((), np.float64, self._device)
        self._rates: Float64Array | None = None
        self._turn: Int64Array = aligned_zeros((), np.int64, self._device)
        self.lr = lr

    def _look_up_arrays(self) -> None:
        """Look up the arrays and flags of the trained parameters, which each step needs."""
        flags = [p.trained for p in self.params]
        self._trained = None if all(flags) else flags
        trained = self._of_trained(self.params)
        self._values = [p.value for p in trained]
        self._grads = [p.grad for p in trained]
        self._penalised = [p.decays for p in trained]
        self._device = device_of(self.params[0].value)
        # Networks replace the set of their frozen parameters, and so show that it has changed.
        self._arenas = list({id(p.arena): p.arena for p in self.params if p.arena is not None}.values())
        self._frozen = [arena.frozen for arena in self._arenas]

    def _of_trained(self, items: list[T]) -> list[T]:
        """Return those items of a list, one for each parameter, whose parameters are trained."""
        if self._trained is None:
            return items
        return [item for item, is_trained in zip(items, self._trained, strict=True) if is_trained]

    @property
    def lr(self) -> float:
        """Learning rate; replays of a captured step use its present value. On CUDA, reading it waits for the device."""
        return float(self._lr)

    @lr.setter
    def lr(self, value: float) -> None:
        self._require(0.0, math.inf, lr=value)
        self._lr[...] = value

    def follow(self, schedule: Schedule | None, steps: int = 0) -> None:
        """Take the learning rate of every step from a schedule, starting with the next step.

        This method computes the rates once, into a float64 table on the device. `step` reads the table at a counter on
        the same device, so that replays of a step captured afterwards follow the schedule. The next step overwrites any
        value that `lr` was set to. If an earlier schedule had the same number of steps, its table is overwritten, so
        that steps captured before follow the new schedule.

        Parameters
        ----------
        schedule : Schedule or None
            Schedule to follow; None to follow no schedule, and keep the rate of the last step.
        steps : int
            Number of steps in the table, at least 1. Later steps keep the last rate.

        Raises
        ------
        ValueError
            If `steps` is below 1, or a rate is negative or not finite.
        TypeError
            If `schedule` is not a `Schedule`.
        """
        name = type(self).__name__
        if schedule is None:
            self._rates = None
            return
        if not isinstance(schedule, Schedule):
            raise TypeError(f"[{name}] schedule must be one of steepest.optim.schedules, got {schedule!r}")
        if steps < 1:
            raise ValueError(f"[{name}] steps must be at least 1, got {steps}")
        rates = schedule.rates(steps)
        if not (np.isfinite(rates) & (rates >= 0)).all():
            step = int(np.argmin(np.isfinite(rates) & (rates >= 0)))
            raise ValueError(
                f"[{name}] the rate of step {step} must be finite and at least 0, got {rates[step]}"
            )
        if self._rates is not None and len(self._rates) == steps:
            assign(self._rates, rates)
        else:
            self._rates = to_device(rates, self._device)
        self._turn[...] = 0
        self.lr = float(rates[0])

    def step(self) -> None:
        """Update every trained parameter in place from its gradient."""
        for arena, frozen in zip(self._arenas, self._frozen, strict=True):
            if arena.frozen is not frozen:
                self._look_up_arrays()
                break
        if self._rates is not None:
            K.look_up(self._rates, self._turn, out=self._lr)
            K.increment(self._turn)
        if self._values:
            self._update()

    @abstractmethod
    def _update(self) -> None:
        """Apply the update rule with the learning rate in `_lr`."""

    @abstractmethod
    def _state(self) -> dict[str, list[Array]]:
        """Return the state arrays by name; `state_dict` copies them and `load_state_dict` writes into them."""

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the state: the learning rate and the arrays that the rule keeps.

        Returns
        -------
        dict
            The name of the class as ``"rule"``, the learning rate as ``"lr"``, and lists of NumPy arrays by name. If a
            schedule is followed, ``"schedule_step"`` is the number of the next step.
        """
        copies = {name: [np.array(to_host(a)) for a in arrays] for name, arrays in self._all_state().items()}
        return {"rule": type(self).__name__, "lr": self.lr, **copies}

    def _state_names(self) -> set[str]:
        """Return the keys of `state_dict`, without copying its arrays."""
        return {"rule", "lr", *self._all_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state that `state_dict` returned, in place: graphs captured before stay valid.

        Parameters
        ----------
        state : mapping
            The state of an optimizer of the same rule over tensors of the same shapes. If it followed a schedule, call
            `follow` first: the state contains the position in the schedule, but not the schedule.

        Raises
        ------
        ValueError
            If the rule, the shapes or the dtypes of the state do not match; nothing is changed then.
        """
        self._checked_state(state)()

    def _checked_state(self, state: Mapping[str, Any]) -> Callable[[], None]:
        """Check a state, and return a function that restores it."""
        name, own = type(self).__name__, self._all_state()
        if state.get("rule") != name:
            raise ValueError(f"[{name}] cannot load the state of {state.get('rule')}")
        if "schedule_step" in state and self._rates is None:
            raise ValueError(
                f"[{name}] cannot load the state of an optimizer that follows a schedule: call follow() first"
            )
        lr = as_number(state.get("lr"), f"[{name}] lr")
        self._require(0.0, math.inf, lr=lr)
        values = {
            key: saved_arrays(state.get(key, ()), arrays, f"[{name}] {key}") for key, arrays in own.items()
        }

        def restore() -> None:
            self._lr[...] = lr
            for key, arrays in own.items():
                for array, value in zip(arrays, values[key], strict=True):
                    assign(array, value)

        return restore

    def _all_state(self) -> dict[str, list[Array]]:
        return self._state() if self._rates is None else {**self._state(), "schedule_step": [self._turn]}

    def _arguments(self) -> dict[str, Any]:
        """Return the arguments of the constructor besides the parameters and the learning rate."""
        names = [name for name in inspect.signature(type(self)).parameters if name not in ("params", "lr")]
        return {name: getattr(self, name) for name in names}

    def _options(self) -> dict[str, Any]:
        """Return the keyword arguments that the kernels of all rules take."""
        return {
            "lr": self._lr,
            "l2": self.l2,
            "weight_decay": self.weight_decay,
            "l1": self.l1,
            "max_norm": self.max_norm,
            "penalised": self._penalised,
        }

    def _zeros(self) -> list[Array]:
        return [aligned_zeros(p.value.shape, p.value.dtype, self._device) for p in self.params]

    def _require_betas(self, betas: tuple[float, float]) -> None:
        """Raise ValueError unless each of the two decays of running means is in [0, 1)."""
        for name, beta in zip(("betas[0]", "betas[1]"), betas, strict=True):
            self._require(0.0, 1.0, **{name: beta})

    def _require(self, low: float, high: float, **numbers: float) -> None:
        """Raise ValueError unless low <= number < high for each."""
        for what, value in numbers.items():
            if not low <= value < high:
                name = type(self).__name__
                raise ValueError(f"[{name}] {what} must be in [{low:g}, {high:g}), got {value}")


def as_number(value: Any, what: str) -> float:
    """Return a saved number as float; raise a ValueError that names `what` if it is not a number."""
    if isinstance(value, Real):
        return float(value)
    raise ValueError(f"{what} must be a number in the state, got {value!r}")


def saved_arrays(saved: Any, own: list[Array], what: str) -> list[Array]:
    """Return saved arrays with the dtypes of an optimizer's own; raise ValueError unless they have the same shapes.

    Integer arrays count steps: negative or fractional values raise a ValueError too.
    """
    if not isinstance(saved, list | tuple):
        raise ValueError(f"{what} must be a list of arrays in the state, got {type(saved).__name__}")
    arrays = [np.asarray(to_host(value)) for value in saved]
    shapes, own_shapes = [a.shape for a in arrays], [a.shape for a in own]
    if shapes != own_shapes:
        raise ValueError(f"{what} has shapes {shapes} in the state, but {own_shapes} here")
    dtypes = [a.dtype for a in own]
    for array, dtype in zip(arrays, dtypes, strict=True):
        if not np.can_cast(array.dtype, dtype, "same_kind"):
            raise ValueError(f"{what} is {array.dtype} in the state, but {dtype} here")
    arrays = [array.astype(dtype, copy=False) for array, dtype in zip(arrays, dtypes, strict=True)]
    if any(array.dtype.kind == "i" and (array < 0).any() for array in arrays):
        raise ValueError(f"{what} counts steps, and cannot be negative")
    return arrays
