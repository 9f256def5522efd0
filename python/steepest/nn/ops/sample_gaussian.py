"""Draws from Gaussian distributions whose means and log-variances come from the layers before."""

from __future__ import annotations

from collections.abc import Sequence

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.backends import device_of
from steepest._runtime.memory import aligned_empty, aligned_zeros, scalar_like

from .base import Moved, Operation, Parameters, Reverse


class MeanOperation(Operation):
    """The means, the first half of the columns: what a prediction makes of `SampleGaussianOperation`."""

    each_step = True
    gradient_reads = frozenset()

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        return K.copy(_halves(inputs[0])[0], out=out)

    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        d_x = into.d_inputs[0]
        if d_x is not None:
            d_mean, d_log_variance = _halves(d_x)
            K.copy(d, out=d_mean)
            K.copy(aligned_zeros(d_log_variance.shape, d_x.dtype, device_of(d_x)), out=d_log_variance)
        return (d_x,)

    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Parameters,
        moved_inputs: Moved,
        moved_parameters: Parameters,
    ) -> Array:
        assert moved_inputs[0] is not None
        return K.copy(_halves(moved_inputs[0])[0])

    def __repr__(self) -> str:
        return "mean"


class SampleGaussianOperation(Operation):
    """``mean + exp(s / 2) * e`` with normal numbers e, which derivatives draw again.

    Parameters
    ----------
    seed : int
        Seed of the numbers.
    passes : 0-d int64 ndarray
        Number of the forward pass, which is the random stream.
    """

    each_step = False
    draws = True
    gradient_reads = frozenset({"inputs"})

    def __init__(self, seed: int, passes: Array) -> None:
        self.seed, self.passes = seed, passes

    def at_prediction(self) -> MeanOperation:
        return MeanOperation()

    def forward(self, inputs: Sequence[Array], parameters: Parameters, out: Array) -> Array:
        mean, _ = _halves(inputs[0])
        return K.add(mean, gaussian_deviation(inputs[0], self.seed, self.passes), out=out)

    def vjp(
        self, d: Array, inputs: Sequence[Array], output: Array, parameters: Parameters, into: Reverse
    ) -> Sequence[Array | None]:
        d_x = into.d_inputs[0]
        if d_x is not None:
            d_mean, d_log_variance = _halves(d_x)
            K.copy(d, out=d_mean)
            K.multiply(d, self._half_deviation(inputs[0]), out=d_log_variance)
        return (d_x,)

    def jvp(
        self,
        inputs: Sequence[Array],
        output: Array,
        parameters: Parameters,
        moved_inputs: Moved,
        moved_parameters: Parameters,
    ) -> Array:
        assert moved_inputs[0] is not None
        mean, log_variance = _halves(moved_inputs[0])
        moved = K.copy(mean)
        return K.multiply(log_variance, self._half_deviation(inputs[0]), out=moved, accumulate=True)

    def _half_deviation(self, x: Array) -> Array:
        """Return the derivative of the draw by the log-variance s, ``exp(s / 2) * e / 2``."""
        deviation = gaussian_deviation(x, self.seed, self.passes)
        return K.multiply(deviation, scalar_like(0.5, x), out=deviation)

    def __repr__(self) -> str:
        return "sample_gaussian"


def standard_normal(
    shape: tuple[int, int], seed: int, stream: Array | int, like: Array, out: Array | None = None
) -> Array:
    """Return standard normal numbers by Philox, which a captured step draws anew in each replay.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns.
    seed : int
        Seed of the numbers.
    stream : int or 0-d int64 ndarray
        The random stream; an array for a captured step.
    like : ndarray
        An array of the dtype and on the device of the result.
    out : ndarray of this shape, optional
        Receives the numbers.
    """
    out = aligned_empty(shape, like.dtype, device_of(like)) if out is None else out
    # The score of a number from a Gaussian of unit variance is that number less its mean, whatever the mean is.
    return K.sampled_score(out, "gaussian", seed=seed, stream=stream, out=out)


def gaussian_deviation(x: Array, seed: int, stream: Array | int) -> Array:
    """Return ``exp(s / 2) * e``, how far draws lie from their means, for rows x of means and log-variances s."""
    scale = K.exp(K.multiply(_halves(x)[1], scalar_like(0.5, x)))
    return K.multiply(scale, standard_normal(scale.shape, seed, stream, x), out=scale)


def _halves(x: Array) -> tuple[Array, Array]:
    n = x.shape[1] // 2
    return x[:, :n], x[:, n:]
