"""What all update rules share: the parameters, the learning rate, the penalties and the state that is saved."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array, Float64Array, Int64Array
from steepest._runtime.backends import device_of, is_cupy
from steepest._runtime.memory import aligned_zeros, assign, to_device, to_host
from steepest.nn import Parameter

from .schedules import Schedule

# Attributes that follow from the parameters.
_OF_PARAMETERS = ("_values", "_grads", "_penalised", "_device")


class Optimizer(ABC):
    """Base of the update rules. `step` can be called inside `steepest.capture`.

    The state lies where the parameters do, on the CPU or on CUDA. A deep copy or a pickle takes the parameters along:
    ``copy.deepcopy((net, optimizer))`` is a network and its optimizer, and so is a pickle of both.

    The penalties act on weights, the parameters whose name ends in "weight", and not on biases; clipping is by the norm
    of all gradients together.

    Parameters
    ----------
    params : iterable of Parameter
        What to update, as `Network.parameters` returns it.
    lr : float
        Learning rate.
    l1 : float, default=0.0
        Strength of an L1 penalty, ``l1 * sum(abs(w))``, by its proximal step: after each step of the rule, weights move
        towards 0 by ``lr * l1`` and stop there, so that some become exactly 0.
    l2 : float, default=0.0
        Strength of an L2 penalty, ``l2 / 2 * sum(w**2)``: ``l2 * w`` is added to the gradient.
    weight_decay : float, default=0.0
        Decoupled decay, ``w -= lr * weight_decay * w`` before each step: the same as `l2` for plain gradient descent,
        and not for rules that scale or accumulate gradients.
    max_norm : float, optional
        Largest norm of all gradients together. Longer ones are scaled down to it, before penalties are added.

    Raises
    ------
    ValueError
        Where there are no parameters, or a number is out of range.
    """

    rule: ClassVar[str]
    """Name of the rule in ``steepest.kernels.UPDATE_RULES``."""
    formula: ClassVar[str]
    """The step, with the gradient g after clipping and penalties."""
    source: ClassVar[str]
    """Who published it."""

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
        self.params = _list_parameters(params, type(self).__name__)
        self._require(0.0, math.inf, l1=l1, l2=l2, weight_decay=weight_decay)
        if max_norm is not None and not max_norm > 0:
            raise ValueError(f"[{type(self).__name__}] max_norm must be above 0, got {max_norm}")
        self.l1 = l1
        self.l2 = l2
        self.weight_decay = weight_decay
        self.max_norm = max_norm
        self._look_up_arrays()
        # An array, so that a captured step reads the rate anew each time it is replayed.
        self._lr: Float64Array = aligned_zeros((), np.float64, self._device)
        self._rates: Float64Array | None = None
        self._turn: Int64Array = aligned_zeros((), np.int64, self._device)
        self.lr = lr

    def _look_up_arrays(self) -> None:
        """Keep what each step takes from the parameters."""
        self._values = [p.value for p in self.params]
        self._grads = [p.grad for p in self.params]
        self._penalised = [p.decays for p in self.params]
        self._device = device_of(self._values[0])

    def __getstate__(self) -> dict[str, Any]:
        # Copies of views would be arrays of their own: they are looked up again. The other arrays are NumPy's, since a
        # pickle can be read where there is no CUDA.
        own = {name: value for name, value in vars(self).items() if name not in _OF_PARAMETERS}
        return {name: _each_array(to_host, value) for name, value in own.items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._look_up_arrays()
        for name, value in state.items():
            setattr(self, name, _each_array(lambda array: to_device(array, self._device), value))

    @property
    def lr(self) -> float:
        """Learning rate; a captured step sees what it is set to. On CUDA, reading it waits for the device."""
        return float(self._lr)

    @lr.setter
    def lr(self, value: float) -> None:
        self._require(0.0, math.inf, lr=value)
        self._lr[...] = value

    def follow(self, schedule: Schedule | None, steps: int = 0) -> None:
        """Take the learning rate of every step from a schedule, beginning with the next.

        The rates are computed here, once, into a table of float64. `step` looks its own up by a counter that lies
        beside it, so that a step captured afterwards follows the schedule when it is replayed. What `lr` is set to
        meanwhile is overwritten by the next step. Where a schedule for as many steps was followed before, its table is
        written anew, so that steps captured then follow this one.

        Parameters
        ----------
        schedule : Schedule or None
            A function of the step number; None to follow none, and keep the rate of the last step.
        steps : int
            Number of steps that the schedule is for, at least 1. Later ones keep the last rate.

        Raises
        ------
        ValueError
            Where there are no steps, or one of their rates is negative or not finite.
        """
        name = type(self).__name__
        if schedule is None:
            self._rates = None
            return
        if not isinstance(schedule, Schedule):
            raise TypeError(f"[{name}] schedule must be one of steepest.optim.schedules, got {schedule!r}")
        if steps < 1:
            raise ValueError(f"[{name}] a schedule is followed for at least one step, got steps={steps}")
        rates = schedule.rates(steps)
        if not (np.isfinite(rates) & (rates >= 0)).all():
            step = int(np.argmin(np.isfinite(rates) & (rates >= 0)))
            raise ValueError(f"[{name}] the rate of step {step} is {rates[step]}: not finite, or negative")
        if self._rates is not None and len(self._rates) == steps:
            assign(self._rates, rates)
        else:
            self._rates = to_device(rates, self._device)
        self._turn[...] = 0
        self.lr = float(rates[0])

    def step(self) -> None:
        """Update every parameter in place from its gradient."""
        if self._rates is not None:
            K.look_up(self._rates, self._turn, out=self._lr)
            K.increment(self._turn)
        self._update()

    @abstractmethod
    def _update(self) -> None:
        """Take the step at the rate that `_lr` holds."""

    @abstractmethod
    def _state(self) -> dict[str, list[Array]]:
        """State arrays by name; `state_dict` copies them and `load_state_dict` writes into them."""

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the state: the learning rate and the arrays that the rule keeps.

        Returns
        -------
        dict
            The name of the rule, ``"lr"``, and lists of NumPy arrays by name; ``"schedule_step"``, the number of the
            next step, where a schedule is followed.
        """
        copies = {name: [np.array(to_host(a)) for a in arrays] for name, arrays in self._all_state().items()}
        return {"rule": type(self).__name__, "lr": self.lr, **copies}

    def _state_names(self) -> set[str]:
        """Return the keys of `state_dict`, without copying its arrays."""
        return {"rule", "lr", *self._all_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned, in place: graphs captured before stay valid.

        Parameters
        ----------
        state : mapping
            The state of an optimizer of the same rule over tensors of the same shapes. Where it followed a schedule,
            `follow` has to be called first: the schedule is no part of the state, only the place in it is.

        Raises
        ------
        ValueError
            Where the state is that of another rule, of other shapes or of other kinds of numbers; nothing is changed
            then.
        """
        name, own = type(self).__name__, self._all_state()
        if state.get("rule") != name:
            raise ValueError(f"[{name}] cannot load the state of {state.get('rule')}")
        if "schedule_step" in state and self._rates is None:
            raise ValueError(
                f"[{name}] cannot load the state of an optimizer that follows a schedule: call follow() first"
            )
        # Everything is looked at before the first write.
        lr = as_number(state.get("lr"), f"[{name}] lr")
        self._require(0.0, math.inf, lr=lr)
        values = {
            key: saved_arrays(state.get(key, ()), arrays, f"[{name}] {key}") for key, arrays in own.items()
        }
        self._lr[...] = lr
        for key, arrays in own.items():
            for array, value in zip(arrays, values[key], strict=True):
                assign(array, value)

    def _all_state(self) -> dict[str, list[Array]]:
        return self._state() if self._rates is None else {**self._state(), "schedule_step": [self._turn]}

    def _options(self) -> dict[str, Any]:
        """Keywords that the functions of all rules take."""
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
        """Raise ValueError unless there are two decays of running means, each in [0, 1)."""
        for name, beta in zip(("betas[0]", "betas[1]"), betas, strict=True):
            self._require(0.0, 1.0, **{name: beta})

    def _require(self, low: float, high: float, **numbers: float) -> None:
        """Raise ValueError unless low <= number < high for each."""
        for what, value in numbers.items():
            if not low <= value < high:
                name = type(self).__name__
                raise ValueError(f"[{name}] {what} must be in [{low:g}, {high:g}), got {value}")


def as_number(value: Any, what: str) -> float:
    """Return a saved number; raise the ValueError that says `what` is none."""
    if isinstance(value, Real):
        return float(value)
    raise ValueError(f"{what} must be a number in the state, got {value!r}")


def saved_arrays(saved: Any, own: list[Array], what: str) -> list[Array]:
    """Return saved arrays with the dtypes of an optimizer's own; raise ValueError unless they have the same shapes.

    Counts may not be negative, nor fractions.
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


def _each_array(change: Callable[[Array], Array], value: Any) -> Any:
    """Return an attribute with its arrays changed: those of a list, itself if it is one, none of anything else."""
    if isinstance(value, list):
        return [_each_array(change, item) for item in value]
    return change(value) if isinstance(value, np.ndarray) or is_cupy(value) else value


def _list_parameters(params: object, name: str) -> list[Parameter]:
    listed: list[Any] = list(params) if isinstance(params, Iterable) else [params]
    if not all(isinstance(parameter, Parameter) for parameter in listed):
        raise TypeError(
            f"[{name}] params must be parameters, as net.parameters() returns them, got {type(params).__name__}"
        )
    if not listed:
        raise ValueError(f"[{name}] there are no parameters to update")
    return listed
