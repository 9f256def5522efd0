"""`gradient_check`: the gradients of a network against central differences of its loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from steepest import _cpu
from steepest._runtime.arguments import checked_integer
from steepest._runtime.arrays import Array
from steepest._runtime.memory import to_device, to_host

from .inputs import Inputs, as_inputs
from .network import Network

__all__ = ["ComparedDerivative", "GradientReport", "TensorReport", "gradient_check"]

_EPS = float(np.finfo(np.float64).eps)
# First step of the differences, as a power of two. The error h^2 f'''/6 + eps f / h is smallest near h = eps^(1/3):
# J. Nocedal, S. Wright, "Numerical optimization", 2006, section 8.1.
_STEP = 2.0 ** round(math.log2(_EPS) / 3)
# A step over a kink is divided by this factor, at most so many times.
_SHORTER, _MOST_TIMES = 8.0, 3
# Standard deviations of a rounding error that a bound allows for.
_DEVIATIONS = 6.0
# Kinks with a gradient outside of both slopes that a report prints.
_LISTED = 3
# Rounding errors show in the fourth differences of the loss at so many points so close to each other that everything
# smooth cancels. The sum of the squares of 1, -4, 6, -4, 1 is 70. The median of |e| is 0.6745 standard deviations e.
# Source: J. More, S. Wild, "Estimating computational noise", SIAM J. Sci. Comput. 33, 2011.
_PROBES, _SPACING = 17, 2.0**-33
_FOURTH = math.sqrt(70.0)
_MEDIAN = 0.6745

LossOfOutputs = Callable[[Any, Any], tuple[Any, Any]]
"""A function of the outputs and the targets that returns the loss and its gradient with respect to the outputs."""


@dataclass(frozen=True)
class ComparedDerivative:
    """A derivative of the loss: by `Network.backward`, and by differences.

    Attributes
    ----------
    index : tuple of int
        The item of its tensor, or the number of the random direction.
    gradient : float
        The derivative by `Network.backward`.
    left, right : float
        The derivative by differences: both the central difference or, at a kink, the slopes on both sides.
    error : float
        How far `gradient` lies outside of ``[left, right]``; infinite where a number is not finite.
    bound : float
        What rounding and truncation explain of the error.
    at_kink : bool
        Whether the loss has a kink closer than the shortest step.
    """

    index: tuple[int, ...]
    gradient: float
    left: float
    right: float
    error: float
    bound: float
    at_kink: bool

    @property
    def ratio(self) -> float:
        """The error as a multiple of its bound."""
        if self.error == 0:
            return 0.0
        return self.error / self.bound if self.bound > 0 else math.inf

    def __str__(self) -> str:
        kink = f", a kink with the slopes {self.left:.8g} and {self.right:.8g}"
        found = kink if self.at_kink else f", differences {self.left:.8g}"
        return f"{self.index}: backward {self.gradient:.8g}{found}, bound {self.bound:.1e}"


@dataclass(frozen=True)
class TensorReport:
    """The derivatives of a parameter that were compared, of an input, or along random directions.

    Attributes
    ----------
    name : str
        Name of the parameter, ``"input x"`` for an input named x, or ``"directions"``.
    size : int
        Number of derivatives that were compared.
    scale : float
        The largest absolute value among them.
    worst : ComparedDerivative or None
        The one away from kinks whose error is the largest multiple of its bound; None if there are only kinks.
    kinks : tuple of ComparedDerivative
        Those at a kink, which `ok` leaves out.
    relative_error : float
        The largest error away from kinks, divided by `scale`, or by its bound where that is larger.
    """

    name: str
    size: int
    scale: float
    worst: ComparedDerivative | None
    kinks: tuple[ComparedDerivative, ...]
    relative_error: float

    @property
    def ok(self) -> bool:
        """Whether every error away from kinks is within its bound."""
        return self.worst is None or self.worst.ratio <= 1.0


@dataclass(frozen=True)
class GradientReport:
    """What `gradient_check` found; `print` shows it as a table.

    Attributes
    ----------
    loss : float
        The loss, in float64.
    noise : float
        Standard deviation of the rounding errors of the loss.
    tensors : tuple of TensorReport
        A report for each trained parameter in the order of `Network.parameters`, each input, and the directions.
    """

    loss: float
    noise: float
    tensors: tuple[TensorReport, ...]

    @property
    def ok(self) -> bool:
        """Whether every error away from kinks is within its bound, and not all derivatives are at a kink."""
        return all(tensor.ok for tensor in self.tensors) and any(t.worst is not None for t in self.tensors)

    def __getitem__(self, name: str) -> TensorReport:
        """Return the report of a name, such as ``"0.weight"``."""
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        raise KeyError(name)

    def __str__(self) -> str:
        verdict = "every error is within its bound"
        if not self.ok:
            is_wrong = not all(tensor.ok for tensor in self.tensors)
            verdict = "THE GRADIENT IS WRONG" if is_wrong else "nothing but kinks was compared"
        width = max(len(tensor.name) for tensor in self.tensors) if self.tensors else 4
        lines = [
            f"gradient check: {verdict}; loss {self.loss:.6g} with rounding errors of {self.noise:.1e}",
            f"{'':{width}}  compared  kinks    largest  relative error  error / bound",
        ]
        for t in self.tensors:
            errors = f"{'-':>14}  {'-':>13}"
            if t.worst is not None:
                errors = f"{t.relative_error:14.1e}  {t.worst.ratio:13.2g}"
            numbers = f"{t.size:8}  {len(t.kinks):5}  {t.scale:9.2e}  {errors}"
            lines.append(f"{t.name:{width}}  {numbers}" + ("" if t.ok else f"  wrong at {t.worst}"))
        kinks = [(t.name, kink) for t in self.tensors for kink in t.kinks]
        if kinks:
            outside = [f"{name} {kink}" for name, kink in kinks if kink.ratio > 1]
            lines.append(
                f"{len(kinks)} derivatives are at a kink, where differences decide nothing; {len(outside)} of their "
                "gradients lie outside of the slopes on both sides: compare again at other parameters or inputs"
            )
            lines += outside[:_LISTED]
        return "\n".join(lines)


def gradient_check(
    net: Network,
    loss: LossOfOutputs | tuple[LossOfOutputs | None, ...],
    x: Inputs,
    y: Any,
    *,
    items: int = 50,
    directions: int = 3,
    inputs: bool = False,
    seed: int = 0,
) -> GradientReport:
    """Compare the gradients of `Network.backward` with central differences of the loss, in float64.

    ``(f(p + h) - f(p - h)) / 2h`` is computed for items of every trained parameter and along random directions in all
    of them together, for a copy of the network in float64, which leaves the network as it is. Every evaluation draws
    the same dropout masks.

    The error of a derivative is compared with a bound of its own, the sum of two parts. The truncation error
    ``h^2 f''' / 6`` is a third of the change of the difference when h is doubled; the bound allows for twice as much.
    Rounding errors, those of the loss and those of `backward`, are measured by fourth differences [1]_; the bound
    allows for six standard deviations.

    A fourth difference also shows whether the loss has a kink within the step, as ReLU and the absolute error make
    one. The step is then shortened down to 1e-8. If the kink is nearer still, the derivative is reported as one at a
    kink, together with the slopes on both sides. Where several units are at a kink at once, as for a row of zeros in
    front of biases of zero, even a correct gradient may lie outside of both slopes: compare at other parameters.

    Parameters
    ----------
    net : Network
        The network, of any dtype.
    loss : Loss, callable or tuple
        What a training step calls on outputs and targets: a loss, or a function ``loss(outputs, y)`` that returns the
        loss and its gradient with respect to the output, or a tuple of gradients if there are several outputs. A tuple
        of losses, one for each output, stands for their sum; None for an output without a loss.
    x : ndarray of shape (n, ...), or tuple of ndarray
        The input, or all inputs if the network has several; converted to float64, except for integers.
    y : ndarray, or tuple of ndarray
        The targets as `loss` takes them; with a tuple of losses, a tuple of the same length.
    items : int, default=50
        Number of items of each tensor to compare, at random if there are more.
    directions : int, default=3
        Number of random directions.
    inputs : bool, default=False
        Whether the gradients with respect to the inputs are compared too.
    seed : int, default=0
        Seed of the items and directions.

    Returns
    -------
    GradientReport
        The errors and the kinks; `GradientReport.ok` says whether all errors away from kinks are within their bounds.

    Raises
    ------
    RuntimeError
        If a graph is being captured.
    ValueError, TypeError
        If a number is negative, the losses do not fit the outputs, or `Network.forward` does not take the inputs.

    References
    ----------
    .. [1] J. Moré, S. Wild, "Estimating computational noise", SIAM J. Sci. Comput. 33, 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import nn
    >>> net = nn.Network([nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)])
    >>> x, y = np.random.default_rng(0).standard_normal((6, 4)), np.array([0, 1, 2, 0, 1, 2])
    >>> report = nn.gradient_check(net, nn.SoftmaxCrossEntropy(), x, y)
    >>> report.ok, report["0.weight"].size
    (True, 32)
    """
    if _cpu.is_capturing():
        raise RuntimeError("[gradient_check] cannot be captured: call it outside of steepest.capture()")
    items = checked_integer("gradient_check", "items", items)
    directions = checked_integer("gradient_check", "directions", directions)
    rng = np.random.default_rng(checked_integer("gradient_check", "seed", seed))
    check = _Check(net, loss, tuple(_in_float64(a) for a in as_inputs(x)), y, inputs)
    chosen = [
        np.arange(value.size)
        if value.size <= items
        else np.sort(rng.choice(value.size, items, replace=False))
        for value in check.values
    ]
    along = [
        [to_device(rng.standard_normal(v.shape), net.device) for v in check.values] for _ in range(directions)
    ]
    noise, of_items, of_directions = check.noise(
        [rng.standard_normal(v.shape) for v in check.values], chosen, along
    )
    of_loss, grads = check.gradients()
    tensors = []
    for name, value, grad, places, errors in zip(
        check.names, check.values, grads, chosen, of_items, strict=True
    ):
        flat, derivatives = value.reshape(-1), []
        for i in places:
            at = tuple(int(k) for k in np.unravel_index(i, value.shape))
            step = _STEP * 2.0 ** math.ceil(math.log2(max(1.0, abs(float(flat[i])))))
            move = _Item(check, flat, int(i))
            own = _Known(at, float(grad.reshape(-1)[i]), of_loss, noise, errors)
            derivatives.append(_compared(own, move, step))
        if derivatives:
            tensors.append(_report(name, derivatives))
    if directions:
        derivatives = []
        for k, (direction, error) in enumerate(zip(along, of_directions, strict=True)):
            own = _Known((k,), _dot(grads, direction), of_loss, noise, error)
            derivatives.append(_compared(own, _Direction(check, direction), _STEP))
        tensors.append(_report("directions", derivatives))
    return GradientReport(of_loss, noise, tuple(tensors))


class _Known(NamedTuple):
    """What is known of a derivative before its differences."""

    at: tuple[int, ...]
    gradient: float
    loss: float
    noise: float
    gradient_noise: float


def _compared(known: _Known, moved: Callable[[float], float], step: float) -> ComparedDerivative:
    """Compare a gradient with differences of the loss, whose value at a distance is `moved`."""
    middle, gradient = known.loss, known.gradient
    of_backward = _DEVIATIONS * max(known.gradient_noise, _EPS * abs(gradient))
    for time in range(_MOST_TIMES + 1):
        h = step / _SHORTER**time
        right, left, far_right, far_left = moved(h), moved(-h), moved(2 * h), moved(-2 * h)
        values = (gradient, middle, right, left, far_right, far_left)
        if not all(math.isfinite(value) for value in values):
            return ComparedDerivative(known.at, gradient, left, right, math.inf, 1.0, False)
        noise = max(known.noise, _EPS * max(abs(value) for value in values[1:]))
        fourth = far_right + far_left - 4 * (right + left) + 6 * middle
        # A kink of slopes a and b at the distance s < h has |fourth| = |a - b| |2h - 3s|. If a kink at s = 0 passes, it
        # changes the central difference by at most |fourth| / 4h.
        allowed = _DEVIATIONS * _FOURTH * noise
        if abs(fourth) <= allowed:
            central = (right - left) / (2 * h)
            truncation = 2 * abs((far_right - far_left) / (4 * h) - central) / 3
            rounding = (allowed / 4 + _DEVIATIONS * noise / math.sqrt(2)) / h
            error, bound = abs(gradient - central), truncation + rounding + of_backward
            return ComparedDerivative(known.at, gradient, central, central, error, bound, False)
    before, after = (middle - left) / h, (right - middle) / h
    # The truncation error h f'' / 2 of a one-sided difference is its change when h is doubled.
    truncation = max(abs((middle - far_left) / (2 * h) - before), abs((far_right - middle) / (2 * h) - after))
    bound = truncation + _DEVIATIONS * noise * math.sqrt(2) / h + of_backward
    error = max(min(before, after) - gradient, gradient - max(before, after), 0.0)
    return ComparedDerivative(known.at, gradient, before, after, error, bound, True)


def _report(name: str, derivatives: Sequence[ComparedDerivative]) -> TensorReport:
    finite = [abs(v) for d in derivatives for v in (d.gradient, d.left, d.right) if math.isfinite(v)]
    smooth, scale = [d for d in derivatives if not d.at_kink], max(finite, default=0.0)
    return TensorReport(
        name=name,
        size=len(derivatives),
        scale=scale,
        worst=max(smooth, key=lambda d: d.ratio, default=None),
        kinks=tuple(d for d in derivatives if d.at_kink),
        relative_error=max((d.error / max(scale, d.bound) if d.error else 0.0 for d in smooth), default=0.0),
    )


class _Check:
    """The loss of a float64 copy of a network as a function of the parameters and the inputs, and its gradients."""

    def __init__(self, net: Network, loss: Any, x: tuple[Array, ...], y: Any, inputs: bool) -> None:
        self._net = net._twin(net._arena.copy_as(np.dtype(np.float64)))
        self._loss, self._x, self._inputs = loss, x, inputs
        self._y = _in_float64(y)
        # The masks of the next pass of the network.
        self._pass = int(net._passes)
        parameters = self._net.parameters(trained=True)
        self.names = [p.name for p in parameters]
        self.values = [p.value for p in parameters]
        self._grads = [p.grad for p in parameters]
        self._floating = [i for i, array in enumerate(x) if array.dtype == np.float64] if inputs else []
        names = [value.name for value in net._architecture.inputs] or ["x"]
        self.names += [f"input {names[i]}" for i in self._floating]
        self.values += [x[i] for i in self._floating]
        self._forward()  # checks the inputs

    def _forward(self) -> tuple[float, Any]:
        self._net._passes[...] = self._pass
        outputs = self._net.forward(*self._x)
        if not isinstance(self._loss, tuple):
            value, d = self._loss(outputs, self._y)
            return float(value), d
        listed = outputs if isinstance(outputs, tuple) else (outputs,)
        targets = self._y if isinstance(self._y, tuple) else (self._y,)
        if not len(listed) == len(self._loss) == len(targets):
            raise ValueError(
                f"[gradient_check] there are {len(listed)} outputs, but {len(self._loss)} losses and "
                f"{len(targets)} targets"
            )
        total, found = 0.0, []
        for loss, z, t in zip(self._loss, listed, targets, strict=True):
            value, d = (0.0, z * 0) if loss is None else loss(z, t)
            total += float(value)
            found.append(d)
        return total, tuple(found) if isinstance(outputs, tuple) else found[0]

    def value(self) -> float:
        """Return the loss."""
        return self._forward()[0]

    def gradients(self) -> tuple[float, list[Array]]:
        """Return the loss and its gradient with respect to each of `values`; those of parameters are views."""
        value, d = self._forward()
        found = self._net.backward(d, inputs=self._inputs)
        of_inputs = found if isinstance(found, tuple) else (found,)
        return value, [*self._grads, *(of_inputs[i] for i in self._floating)]

    def noise(
        self, towards: list[Array], chosen: list[Array], along: list[list[Array]]
    ) -> tuple[float, list[float], list[float]]:
        """Return standard deviations of rounding errors: of the loss, of each gradient, and along each direction."""
        kept = [value.copy() for value in self.values]
        moves = [to_device(move, self._net.device) for move in towards]
        losses = np.empty(_PROBES)
        of_items = [np.empty((_PROBES, len(places))) for places in chosen]
        of_directions = np.empty((_PROBES, len(along)))
        try:
            for k in range(_PROBES):
                for value, start, move in zip(self.values, kept, moves, strict=True):
                    value[...] = start + (k * _SPACING) * move
                losses[k], grads = self.gradients()
                for found, grad, places in zip(of_items, grads, chosen, strict=True):
                    found[k] = to_host(grad.reshape(-1)[to_device(places, self._net.device)])
                of_directions[k] = [_dot(grads, direction) for direction in along]
        finally:
            for value, start in zip(self.values, kept, strict=True):
                value[...] = start
        return (
            float(_deviations(losses[:, None])[0]),
            [float(_deviations(found).max(initial=0.0)) for found in of_items],
            [float(error) for error in _deviations(of_directions)],
        )


class _Item:
    """The loss as a function of how far an item of a tensor is moved."""

    def __init__(self, check: _Check, flat: Array, place: int) -> None:
        self._check, self._flat, self._place = check, flat, place

    def __call__(self, distance: float) -> float:
        kept = float(self._flat[self._place])
        try:
            self._flat[self._place] = kept + distance
            return self._check.value()
        finally:
            self._flat[self._place] = kept


class _Direction:
    """The loss as a function of how far all tensors are moved along a direction."""

    def __init__(self, check: _Check, direction: list[Array]) -> None:
        self._check, self._direction = check, direction
        self._kept = [value.copy() for value in check.values]

    def __call__(self, distance: float) -> float:
        values = self._check.values
        try:
            for value, start, move in zip(values, self._kept, self._direction, strict=True):
                value[...] = start + distance * move
            return self._check.value()
        finally:
            for value, start in zip(values, self._kept, strict=True):
                value[...] = start


def _deviations(values: Array) -> Array:
    """Return the standard deviation of the rounding errors of each column, by its fourth differences."""
    with np.errstate(invalid="ignore"):
        deviations: Array = np.median(np.abs(np.diff(values, 4, axis=0)), axis=0) / (_MEDIAN * _FOURTH)
    return np.where(np.isfinite(deviations), deviations, 0.0)


def _dot(grads: Sequence[Array], direction: Sequence[Array]) -> float:
    return math.fsum(float((g * v).sum()) for g, v in zip(grads, direction, strict=True))


def _in_float64(array: Any) -> Any:
    """Return a copy of an array in float64 if it is one of real numbers; apply this to the items of a tuple."""
    if isinstance(array, tuple):
        return tuple(_in_float64(item) for item in array)
    dtype = getattr(array, "dtype", None)
    is_real = isinstance(dtype, np.dtype) and dtype.kind == "f"
    return array.astype(np.float64, order="C") if is_real else array
