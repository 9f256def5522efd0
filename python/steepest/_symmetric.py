"""Eigenvalues and Cholesky factors of symmetric float64 matrices: LAPACK on the CPU, CuPy's libraries on CUDA."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import scipy.linalg
import threadpoolctl

from steepest import kernels as K
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.backends import import_cupy
from steepest._runtime.memory import to_device, to_host


def eigh(matrix: Float64Array, device: str) -> tuple[Float64Array, Float64Array]:
    """Return the eigenvalues of a symmetric matrix, ascending, and its eigenvectors as columns, all on the host.

    Parameters
    ----------
    matrix : ndarray of shape (n, n)
        Symmetric matrix, on the host.
    device : {"cpu", "cuda"}
        Where to compute.
    """
    if device == "cuda":
        values, vectors = import_cupy().linalg.eigh(to_device(matrix, device))
        return to_host(values), to_host(vectors)
    with _one_thread_up_to(_SMALL, len(matrix)):
        values, vectors = scipy.linalg.eigh(matrix)
    return values, vectors


def eigvalsh(matrix: Float64Array, device: str) -> Float64Array:
    """Return the eigenvalues of a symmetric matrix like `eigh`, in about a fifth of its time."""
    if device == "cuda":
        on_host: Float64Array = to_host(import_cupy().linalg.eigvalsh(to_device(matrix, device)))
        return on_host
    with _one_thread_up_to(_SMALL, len(matrix)):
        values: Float64Array = scipy.linalg.eigvalsh(matrix)
    return values


_controller: threadpoolctl.ThreadpoolController | None = None
# Numbers of rows. Up to _SMALL rows, LAPACK runs in one thread: a second one saves less than it costs. It keeps
# spinning after its work, where a thread of the kernels could run, and on a busy machine the threads mostly wait for
# each other. Below _SMALLEST rows, OpenBLAS itself factorises and solves in one thread, and setting the limit would
# take as long as the computation.
_SMALLEST, _SMALL = 64, 2048


def one_thread_if_small(size: int) -> AbstractContextManager[Any]:
    """Return a context in which Cholesky factorisations use one thread, if a matrix of this size needs no more."""
    return nullcontext() if size < _SMALLEST else _one_thread_up_to(_SMALL, size)


def _one_thread_up_to(most: int, size: int) -> AbstractContextManager[Any]:
    """Return a context in which LAPACK uses one thread if a matrix of `size` rows has at most `most` rows."""
    global _controller
    if size > most:
        return nullcontext()
    if _controller is None:
        _controller = threadpoolctl.ThreadpoolController()
    context: AbstractContextManager[Any] = _controller.limit(limits=1, user_api="blas")
    return context


class Cholesky:
    """Cholesky factor L of a positive definite matrix, ``A = L L^T``, with solutions, inverses and condition number.

    Parameters
    ----------
    matrix : ndarray of shape (n, n)
        A, on the host.
    factor : ndarray or cupy.ndarray of shape (n, n)
        L, on the device that computed it.
    """

    def __init__(self, matrix: Float64Array, factor: Array, device: str) -> None:
        self._matrix, self._factor, self._device = matrix, factor, device

    @classmethod
    def of(cls, matrix: Float64Array, device: str) -> Cholesky | None:
        """Return the Cholesky factor of a symmetric matrix on the host, or None if it is not positive definite."""
        if device == "cuda":
            try:
                factor = import_cupy().linalg.cholesky(to_device(matrix, device))
            except np.linalg.LinAlgError:
                return None
            # By default CuPy ignores cuSOLVER's error status; a failed factorisation then holds NaN.
            return cls(matrix, factor, device) if bool(import_cupy().isfinite(factor).all()) else None
        # The transpose is the same symmetric matrix in column-major order, which LAPACK expects.
        factor, failed = scipy.linalg.lapack.dpotrf(matrix.T, lower=1, clean=1)
        return None if failed else cls(matrix, factor, device)

    def least_pivot(self) -> float:
        """Return the smallest pivot, the least squared diagonal item of L; near 0, A is nearly singular."""
        return float(self._factor.diagonal().min()) ** 2

    def inverse(self) -> Float64Array:
        """Return ``L^-1``, on the host."""
        if self._device == "cuda":
            return np.tril(to_host(import_cupy().linalg.inv(self._factor)))
        inverse: Float64Array = scipy.linalg.lapack.dtrtri(self._factor, lower=1)[0]
        return inverse

    def inverse_of_matrix(self) -> Float64Array:
        """Return ``A^-1``, on the host."""
        if self._device == "cuda":
            inverse = import_cupy().linalg.inv(self._factor)
            product: Float64Array = to_host(K.second_moment(inverse, scale=len(inverse)))
            return product
        if len(self._matrix) < _SMALLEST:
            # dpotri would start threads even for the smallest matrix.
            inverse = self.inverse()
            return K.second_moment(inverse, scale=len(inverse))
        lower: Float64Array = scipy.linalg.lapack.dpotri(self._factor, lower=1)[0]
        # LAPACK writes the lower triangle; the upper one still holds the zeros of L.
        inverse = lower + lower.T
        inverse.flat[:: len(inverse) + 1] *= 0.5
        return inverse

    def solve(self, b: Float64Array) -> Float64Array:
        """Return ``A^-1 b`` for b of shape (n, m)."""
        if self._device == "cuda":
            inverse = self.inverse()
            return inverse.T @ (inverse @ b)
        solution: Float64Array = scipy.linalg.lapack.dpotrs(self._factor, b, lower=1)[0]
        return solution

    def reciprocal_condition(self) -> float:
        """Return an estimate of the reciprocal condition number ``1 / (|A| |A^-1|)``; on CUDA it is often too small."""
        norm = float(scipy.linalg.lapack.dlange("1", self._matrix.T))
        if self._device == "cuda":
            # The sum of the squares of L^-1 is the trace of A^-1, which is at least its largest eigenvalue.
            return 1.0 / (norm * float(np.linalg.norm(self.inverse())) ** 2)
        reciprocal, _ = scipy.linalg.lapack.dpocon(self._factor, norm, uplo="L")
        return float(reciprocal)
