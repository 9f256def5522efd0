"""Log-variances that are parameters, beside means that come from the layers before."""

from __future__ import annotations

from collections.abc import Sequence

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.memory import array_namespace

from .base import Moved, Operation, Parameters, Reverse


class LogVarianceOperation(Operation):
    """Means and, behind them, the log-variance of each, which does not depend on the sample."""

    each_step = True
    multiplies = frozenset()
    gradient_reads = frozenset()

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        return _side_by_side(inputs[0], parameters["log_variance"], out)

    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        n = d.shape[1] // 2
        target = into.d_parameters.get("log_variance")
        if target is not None:
            if target.size == n:
                K.sum(d[:, n:], axis=0, out=target)
            else:
                K.sum(d[:, n:], out=target.reshape(()))
        d_x = into.d_inputs[0]
        return (None if d_x is None else K.copy(d[:, :n], out=d_x),)

    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Parameters,
        moved_inputs: Moved,
        moved_parameters: Parameters,
    ) -> Array:
        xp, x = array_namespace(output), moved_inputs[0]
        mean = xp.zeros(inputs[0].shape, output.dtype) if x is None else x
        given = moved_parameters.get("log_variance")
        change = xp.zeros((1,), output.dtype) if given is None else given
        return _side_by_side(mean, change, xp.empty(output.shape, output.dtype))

    def __repr__(self) -> str:
        return "log_variance"


def _side_by_side(mean: Array, log_variance: Array, out: Array) -> Array:
    n = mean.shape[1]
    K.copy(mean, out=out[:, :n])
    # A sum is broadcast, which a copy is not.
    rest = K.multiply(mean, array_namespace(mean).zeros((), mean.dtype), out=out[:, n:])
    K.add(rest, log_variance, out=rest)
    return out
