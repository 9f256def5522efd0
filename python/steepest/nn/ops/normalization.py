"""Normalisation by the statistics of a batch, of a sample, or of groups of its channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_empty, aligned_zeros

from .base import Moved, Operation, Parameters, Reverse, as_rows
from .kept import KeepingOperation


class NormalizationOperation(KeepingOperation):
    """``(x - mean) rstd weight + bias`` with the statistics of each sample.

    Parameters
    ----------
    kind : {"layer", "rms", "group"}
        Over the last axis; the same without the mean; over all places and a group of channels of a sample.
    eps : float
        Is added to the variance.
    groups : int, default=1
        Groups of channels, for ``"group"``.
    keeps : bool, default=True
        Whether `forward` keeps the statistics; otherwise derivatives compute them again.
    """

    gradient_reads = frozenset({"inputs"})

    def __init__(self, kind: str, eps: float, groups: int = 1, *, keeps: bool = True) -> None:
        super().__init__()
        self.kind, self.eps, self.groups, self._keeps = kind, eps, groups, keeps
        self.each_step = kind != "group"

    def at_prediction(self) -> NormalizationOperation:
        if not self._keeps:
            return self
        return NormalizationOperation(self.kind, self.eps, self.groups, keeps=False)

    def _statistics(self, x: Array) -> tuple[Array, ...]:
        """Return arrays for mean and 1 / standard deviation, the latter alone for RMS."""

        def allocate() -> tuple[Array, ...]:
            shape = (len(x), self.groups) if self.kind == "group" else (x.size // x.shape[-1],)
            count = 1 if self.kind == "rms" else 2
            return tuple(aligned_empty(shape, x.dtype, device_of(x)) for _ in range(count))

        return self.arrays_for(len(x), allocate) if self._keeps else allocate()

    def _normalize(self, x: Array, parameters: Parameters, out: Array, statistics: tuple[Array, ...]) -> None:
        weight, bias = parameters.get("weight"), parameters.get("bias")
        if self.kind == "group":
            mean, rstd = statistics
            K.group_norm(x, self.groups, weight, bias, eps=self.eps, out=out, mean=mean, rstd=rstd)
        elif self.kind == "layer":
            mean, rstd = statistics
            K.layer_norm(as_rows(x), weight, bias, eps=self.eps, out=as_rows(out), mean=mean, rstd=rstd)
        else:
            K.rms_norm(as_rows(x), weight, eps=self.eps, out=as_rows(out), rstd=statistics[0])

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        self._normalize(inputs[0], parameters, out, self._statistics(inputs[0]))
        return out

    def standardised(self, x: Array, parameters: Parameters) -> Array:
        """Return x with the mean 0 and the variance 1, without weight and bias, in a new array."""
        out = aligned_empty(x.shape, x.dtype, device_of(x))
        self._normalize(x, {}, out, self._statistics(x))
        return out

    def _seen(self, inputs: Sequence[Array], parameters: Parameters) -> tuple[Array, ...]:
        """Return the statistics of the last forward pass."""
        statistics = self._statistics(inputs[0])
        if not self._keeps:
            unused = aligned_empty(inputs[0].shape, inputs[0].dtype, device_of(inputs[0]))
            self._normalize(inputs[0], parameters, unused, statistics)
        return statistics

    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        (d_x,), d_parameters = into.d_inputs, into.d_parameters
        x, statistics = inputs[0], self._seen(inputs, parameters)
        mean, rstd = statistics[0], statistics[-1]
        where: dict[str, Any] = {
            "d_x": d_x if d_x is None or self.kind == "group" else as_rows(d_x),
            "d_weight": d_parameters.get("weight"),
            "input_grad": d_x is not None,
            "parameter_grad": bool(d_parameters),
        }
        weight = parameters.get("weight")
        if self.kind == "group":
            K.group_norm_backward(d, x, mean, rstd, weight, d_bias=d_parameters.get("bias"), **where)
        elif self.kind == "layer":
            K.layer_norm_backward(
                as_rows(d), as_rows(x), mean, rstd, weight, d_bias=d_parameters.get("bias"), **where
            )
        else:
            K.rms_norm_backward(as_rows(d), as_rows(x), rstd, weight, **where)
        return (d_x,)

    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Parameters,
        moved_inputs: Moved,
        moved_parameters: Parameters,
    ) -> Array:
        x, moved, statistics = inputs[0], moved_inputs[0], self._seen(inputs, parameters)
        mean, rstd = statistics[0], statistics[-1]
        weight = parameters.get("weight")
        v, c = moved_parameters.get("weight"), moved_parameters.get("bias")
        if self.kind == "group":
            return K.group_norm_tangent(moved, x, mean, rstd, weight, v, c)
        moved = None if moved is None else as_rows(moved)
        if self.kind == "layer":
            result = K.layer_norm_tangent(moved, as_rows(x), mean, rstd, weight, v, c)
        else:
            result = K.rms_norm_tangent(moved, as_rows(x), rstd, weight, v)
        return result.reshape(output.shape)

    def __repr__(self) -> str:
        return f"{self.kind} norm"


class BatchNormOperation(KeepingOperation):
    """``(x - mean) rstd weight + bias`` with the statistics of each channel over a batch, whose averages it keeps.

    Parameters
    ----------
    eps : float
        Is added to the variance.
    momentum : float
        Share of a batch in the running averages.
    """

    each_step = True
    gradient_reads = frozenset({"inputs"})

    def __init__(self, eps: float, momentum: float) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum

    def at_prediction(self) -> RunningNormOperation:
        return RunningNormOperation(self.eps)

    def _statistics(self, x: Array) -> tuple[Array, ...]:
        def allocate() -> tuple[Array, ...]:
            return tuple(aligned_empty(x.shape[-1:], x.dtype, device_of(x)) for _ in range(2))

        return self.arrays_for(len(x), allocate)

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        x = as_rows(inputs[0])
        mean, rstd = self._statistics(inputs[0])
        K.batch_norm(
            x,
            parameters.get("weight"),
            parameters.get("bias"),
            eps=self.eps,
            running_mean=parameters["running_mean"],
            running_var=parameters["running_var"],
            momentum=self.momentum,
            out=as_rows(out),
            mean=mean,
            rstd=rstd,
        )
        return out

    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        (d_x,), d_parameters = into.d_inputs, into.d_parameters
        mean, rstd = self._statistics(inputs[0])
        K.batch_norm_backward(
            as_rows(d),
            as_rows(inputs[0]),
            mean,
            rstd,
            parameters.get("weight"),
            d_x=None if d_x is None else as_rows(d_x),
            d_weight=d_parameters.get("weight"),
            d_bias=d_parameters.get("bias"),
            input_grad=d_x is not None,
            parameter_grad=bool(d_parameters),
        )
        return (d_x,)

    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Parameters,
        moved_inputs: Moved,
        moved_parameters: Parameters,
    ) -> Array:
        moved = moved_inputs[0]
        mean, rstd = self._statistics(inputs[0])
        result = K.batch_norm_tangent(
            None if moved is None else as_rows(moved),
            as_rows(inputs[0]),
            mean,
            rstd,
            parameters.get("weight"),
            moved_parameters.get("weight"),
            moved_parameters.get("bias"),
        )
        return result.reshape(output.shape)

    def __repr__(self) -> str:
        return "batch norm"


class RunningNormOperation(Operation):
    """What a batch norm is in a prediction: a fixed scale and shift of each channel.

    Parameters
    ----------
    eps : float
        Is added to the running variance.
    """

    gradient_reads = frozenset()

    def __init__(self, eps: float) -> None:
        self.eps = eps

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        K.batch_norm_inference(
            as_rows(inputs[0]),
            parameters["running_mean"],
            parameters["running_var"],
            parameters.get("weight"),
            parameters.get("bias"),
            eps=self.eps,
            out=as_rows(out),
        )
        return out

    def _scaled(self, rows: Array, parameters: Parameters, out: Array | None = None) -> Array:
        """Return rows times ``weight / sqrt(variance + eps)``."""
        zeros = aligned_zeros(rows.shape[-1:], rows.dtype, device_of(rows))
        variance, weight = parameters["running_var"], parameters.get("weight")
        return K.batch_norm_inference(rows, zeros, variance, weight, eps=self.eps, out=out)

    def standardised(self, x: Array, parameters: Parameters) -> Array:
        """Return x less the running mean, over the running standard deviation, in a new array."""
        rows = K.batch_norm_inference(
            as_rows(x), parameters["running_mean"], parameters["running_var"], eps=self.eps
        )
        return rows.reshape(x.shape)

    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        rows, (d_x,) = as_rows(d), into.d_inputs
        if (d_weight := into.d_parameters.get("weight")) is not None:
            standardised = as_rows(self.standardised(inputs[0], parameters))
            K.sum(K.multiply(standardised, rows, out=standardised), axis=0, out=d_weight)
        if (d_bias := into.d_parameters.get("bias")) is not None:
            K.sum(rows, axis=0, out=d_bias)
        if d_x is not None:
            self._scaled(rows, parameters, as_rows(d_x))
        return (d_x,)

    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Parameters,
        moved_inputs: Moved,
        moved_parameters: Parameters,
    ) -> Array:
        parts: list[Array] = []
        if moved_inputs[0] is not None:
            parts.append(self._scaled(as_rows(moved_inputs[0]), parameters))
        if (v := moved_parameters.get("weight")) is not None:
            standardised = as_rows(self.standardised(inputs[0], parameters))
            parts.append(K.multiply(standardised, v, out=standardised))
        if (c := moved_parameters.get("bias")) is not None:
            # Into another array: a captured addition would start from the last replay's sum.
            like = as_rows(output)
            before = parts.pop() if parts else aligned_zeros(like.shape, like.dtype, device_of(like))
            parts.append(K.add(before, c))
        result = parts[0] if len(parts) == 1 else K.add(*parts)
        return result.reshape(output.shape)

    def __repr__(self) -> str:
        return "running norm"
