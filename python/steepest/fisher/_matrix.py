"""The Fisher matrix of a network."""

from __future__ import annotations

import copy
import math
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse.linalg

from steepest._memory import array_namespace, to_device, to_host
from steepest.nn import Gaussian, Loss, Network, SoftmaxCrossEntropy

from ._factors import Factors, factors_of
from ._likelihoods import likelihood_of
from ._solvers import SolveReport, conjugate_gradients, relative_residual, solve_by_gram
from ._structures import STRUCTURES, HostParts
from ._tape import Tape, biases_of, stages_of

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]

KINDS = ("exact", "monte_carlo", "empirical")
SOLVERS = ("auto", "cholesky", "gram", "cg")
# Bytes of a matrix that "auto" forms.
_MOST_BYTES = 2 << 30
# Of the residual, unless the network's own roundings are larger.
_CG_TOLERANCE, _CG_ROUNDINGS, _CG_ITERATIONS = 1e-10, 100.0, 1000


class FisherMatrix:
    """The Fisher information matrix of a network's parameters, at their present values.

    For a loss that is the negative log-likelihood of a distribution p(y | z) of the network's outputs z_i = f(x_i), it
    is the mean over the samples of ``E[s s^T]`` with the score ``s = d(-log p(y | z_i)) / d(parameters)``. It is scaled
    as the loss is: the squared error, for instance, is twice the negative log-likelihood of variance 1. The exact kind
    is ``1/n sum_i J_i^T H_i J_i`` with the Fisher matrix H_i of the outputs: the generalised Gauss-Newton matrix.

    A vector of the parameters is a flat array, the tensors of ``net.parameters()`` one after the other in C order; or a
    list of arrays of their shapes. What is returned has the form of what was given: flat arrays are NumPy's, of
    float64, and arrays in lists of the network's dtype and device.

    Parameters
    ----------
    net : Network
        Of `Linear` layers, each with weights of its own, and element-wise activations; dropout does nothing.
    loss : Loss
        `SoftmaxCrossEntropy`, `BinaryCrossEntropy`, `MeanSquaredError`, `Gaussian` or `Poisson`.
    X : ndarray of shape (n, n_in)
        Inputs, of the network's dtype and on its device.
    y : ndarray, default=None
        Targets as of the loss, for the empirical kind.
    kind : {"exact", "monte_carlo", "empirical"}, default="exact"
        Where the expectation is taken: over the network's own distribution in closed form; over `n_samples`
        observations drawn from it for each row; or at the targets. Only the first two are a Fisher matrix: the third is
        the second moment of the loss's gradients, which vanishes where the targets are fitted (F. Kunstner, L. Balles,
        P. Hennig, "Limitations of the empirical Fisher approximation for natural gradient descent", 2019).
    structure : {"dense", "block", "kfac", "ekfac", "diagonal"}, default="dense"
        All of it; a block a layer; a Kronecker product a layer [1]_; the same with corrected eigenvalues [2]_; its
        diagonal.
    solver : {"auto", "cholesky", "gram", "cg"}, default="auto"
        How `solve` works with the dense structure: by a factor of the matrix; by one of the products of the scores,
        n × r of them with r outputs (or `n_samples`, or 1) a row; by conjugate gradients, with no matrix at all; or by
        the cheapest of the three that fits into 2 GiB. All others solve by factors of their own.
    n_samples : int, default=1
        Observations that are drawn for each row.
    seed : int, default=0
        Of what is drawn.
    sample_weight : ndarray of shape (n,), default=None
        Weights of the rows, not negative.

    Attributes
    ----------
    size : int
        Number of parameters, P.
    report : SolveReport or None
        Of the last `solve`.

    Raises
    ------
    ValueError, TypeError
        The loss has no likelihood, the network a layer that has no Fisher matrix here, a parameter is not one of those
        named, or X, y or a weight is not as described.

    References
    ----------
    .. [1] J. Martens, R. Grosse, "Optimizing neural networks with Kronecker-factored approximate curvature", ICML
       2015.
    .. [2] T. George et al., "Fast approximate natural gradient descent in a Kronecker-factored eigenbasis", NeurIPS
       2018.

    S. Amari, "Natural gradient works efficiently in learning", Neural Computation 10, 1998.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import fisher, nn
    >>> net = nn.Network([nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)], dtype=np.float64)
    >>> X = np.random.default_rng(0).standard_normal((5, 3))
    >>> F = fisher.FisherMatrix(net, nn.SoftmaxCrossEntropy(), X)
    >>> F.size, len(F.eigenvalues()), int((F.eigenvalues() > 0).sum())
    (26, 26, 5)
    """

    def __init__(
        self,
        net: Network,
        loss: Loss,
        X: Array,
        y: Array | None = None,
        *,
        kind: str = "exact",
        structure: str = "dense",
        solver: str = "auto",
        n_samples: int = 1,
        seed: int = 0,
        sample_weight: Array | None = None,
    ) -> None:
        for what, value, known in (
            ("kind", kind, KINDS),
            ("structure", structure, tuple(STRUCTURES)),
            ("solver", solver, SOLVERS),
        ):
            self._require_known(what, value, known)
        if n_samples < 1:
            raise ValueError(f"[FisherMatrix] n_samples is {n_samples}: at least 1 has to be drawn")
        if kind == "empirical" and y is None:
            raise ValueError("[FisherMatrix] the empirical kind is taken at the targets: pass y")
        self._biases = biases_of(stages_of(net))
        net._check_input("predict", X)
        self._require_finite("X", X)
        self.kind, self.solver = kind, solver
        self._net, self._x, self._n_samples, self._seed = net, X, n_samples, seed
        self._shares = self._checked_shares(sample_weight)
        self._shapes = [p.value.shape for p in net.parameters()]
        self._likelihood = likelihood_of(loss, self._n_outputs())
        self._y = None if y is None else self._checked_targets(y, loss)
        self.size = sum(math.prod(shape) for shape in self._shapes)
        self._tape = Tape(net, X)
        self._restructure(structure)

    def _restructure(self, structure: str) -> None:
        weights = [shape for shape in self._shapes if len(shape) == 2]
        layers = [(p + bias, m) for (p, m), bias in zip(weights, self._biases, strict=True)]
        self.structure = structure
        self._structure = STRUCTURES[structure](self._factors, layers, self._net.dtype, self._net.device)
        self.report: SolveReport | None = None

    def with_structure(self, structure: str) -> FisherMatrix:
        """Return the same matrix in another structure, from the same forward pass.

        Parameters
        ----------
        structure : {"dense", "block", "kfac", "ekfac", "diagonal"}
            See above.

        Returns
        -------
        FisherMatrix
            This one is not changed.

        Raises
        ------
        ValueError
            There is no such structure.
        """
        self._require_known("structure", structure, tuple(STRUCTURES))
        other = copy.copy(self)
        other._restructure(structure)
        return other

    # --------------------------------------------------------------------------------------------------- products

    def __matmul__(self, v: Any) -> Any:
        """Return ``F v``."""
        if isinstance(v, (list, tuple)) and self._is_matrix_free:
            # Without a way through one array on the host.
            self._check_shapes(v)
            for array in v:
                self._require_finite("the vector", array)
            return self._through_network([array.astype(self._net.dtype, copy=False) for array in v])
        return self._like(v, self._multiply(self._flat(v)))

    def solve(self, g: Any, damping: float = 0.0) -> Any:
        """Return ``(F + damping I)^-1 g``; without damping the shortest of the vectors that come nearest to F x = g.

        Parameters
        ----------
        g : ndarray of shape (P,), or list of ndarray
            The right side.
        damping : float, default=0.0
            Not negative.

        Returns
        -------
        ndarray of shape (P,), or list of ndarray
            The solution. Directions whose eigenvalue is a rounding of 0 count as empty without damping.

        Raises
        ------
        ValueError
            The damping is negative or not finite, or g is not a finite vector of the parameters.
        """
        self._check_damping(damping)
        flat = self._flat(g)
        solver, iterations = self._chosen_solver(damping), 0
        if solver == "gram":
            solution = solve_by_gram(
                self._structure.factors.gram(self._net.device),
                self._rows_times,
                self._combined,
                flat,
                damping,
                self._structure.precision,
                self._net.device,
            )
        elif solver == "cg":
            solution, iterations = conjugate_gradients(
                self._multiply,
                flat,
                damping,
                max(_CG_TOLERANCE, _CG_ROUNDINGS * self._structure.precision),
                _CG_ITERATIONS,
            )
        else:
            solution = self._joined(self._structure.solve(self._parts(flat), damping))
        product = self._multiply(solution) + damping * solution
        reached = flat if damping > 0 else self._reached(flat, solver)
        residual = relative_residual(product, reached)
        self.report = SolveReport(solver, float(damping), residual, iterations)
        return self._like(g, solution)

    def inverse_sqrt(self, damping: float = 0.0) -> Any:
        """Return ``(F + damping I)^(-1/2)`` as an operator: ``F.inverse_sqrt() @ v`` for flat vectors v.

        Parameters
        ----------
        damping : float, default=0.0
            Not negative. Without damping, directions that F does not have are mapped to 0.

        Returns
        -------
        scipy.sparse.linalg.LinearOperator
            Of shape (P, P): symmetric. Standard normal vectors become those of covariance ``(F + damping I)^-1``.
        """
        self._check_damping(damping)

        def product(v: Float64) -> Float64:
            flat = self._flat(np.asarray(v, np.float64).ravel())
            return self._joined(self._structure.function(self._parts(flat), -0.5, damping))

        return scipy.sparse.linalg.LinearOperator(
            (self.size, self.size), matvec=product, rmatvec=product, dtype=np.float64
        )

    # ---------------------------------------------------------------------------------------------------- figures

    def to_dense(self) -> Float64:
        """Return the matrix, of shape (P, P) in float64, on the host."""
        # A layer's bias follows its weights in the parameters, and in the matrix that both are rows of.
        dense: Float64 = scipy.linalg.block_diag(*self._structure.blocks())
        return dense

    def diagonal(self) -> Float64:
        """Return the diagonal, of shape (P,)."""
        return self._joined(self._structure.diagonal())

    def trace(self) -> float:
        """Return the sum of the diagonal."""
        return float(self.diagonal().sum())

    def eigenvalues(self) -> Float64:
        """Return all P eigenvalues, ascending; roundings of 0 are 0."""
        return self._structure.eigenvalues()

    def logdet(self, damping: float = 0.0) -> float:
        """Return the logarithm of the determinant of ``F + damping I``; -inf where that is singular."""
        self._check_damping(damping)
        with np.errstate(divide="ignore"):
            return float(np.log(self.eigenvalues() + damping).sum())

    @property
    def scale(self) -> float:
        """The loss is this times the negative log-likelihood, but for a constant, and so is the matrix."""
        return self._likelihood.scale

    @property
    def output(self) -> Array:
        """The network's output for X, without dropout, of shape (n, c) and on its device."""
        return self._tape.output

    def divergence(self, outputs: Array) -> float:
        """Return the mean over the rows of KL(p || q), with the distributions p of `output` and q of other outputs.

        Parameters
        ----------
        outputs : ndarray of shape (n, c)
            The parameters of q.

        Returns
        -------
        float
            In nats; weighted as the rows are.
        """
        others = to_host(outputs).astype(np.float64)
        return float(self._shares @ self._likelihood.divergence(self._outputs, others))

    # -------------------------------------------------------------------------------------------------- internals

    def _factors(self) -> Factors:
        rng = np.random.default_rng(self._seed)
        return factors_of(
            self._net, self._tape, self._likelihood, self._y, self.kind, self._n_samples, rng, self._shares
        )

    def _multiply(self, flat: Float64) -> Float64:
        if self._is_matrix_free:
            product = self._through_network(self._tensors(flat))
            return self._joined([to_host(array) for array in product])
        if self.structure != "dense":
            return self._joined(self._structure.multiply(self._parts(flat)))
        return self._combined(self._rows_times(flat))

    @property
    def _is_matrix_free(self) -> bool:
        return self.structure == "dense" and self.kind == "exact"

    def _through_network(self, tensors: list[Array]) -> list[Array]:
        """Return ``J^T H J v``: a pass forwards with the tangent, and one back, for any number of outputs."""
        moved = to_host(self._tape.tangent(tensors)).astype(np.float64)
        curved = self._likelihood.multiply(self._outputs, moved)
        curved *= self._likelihood.scale * self._shares[:, None]
        d = np.ascontiguousarray(curved, dtype=self._net.dtype)
        return self._tape.pullback(to_device(d, self._net.device))

    @cached_property
    def _outputs(self) -> Float64:
        outputs: Float64 = to_host(self._tape.output).astype(np.float64)
        return outputs

    def _rows_times(self, flat: Float64) -> Float64:
        product: Float64 = to_host(self._structure.factors.rows_times(self._on_device(flat))).astype(
            np.float64
        )
        return product

    def _combined(self, u: Float64) -> Float64:
        on_device = to_device(np.ascontiguousarray(u, dtype=self._net.dtype), self._net.device)
        return self._joined([to_host(a) for a in self._structure.factors.combined(on_device)])

    def _chosen_solver(self, damping: float) -> str:
        """Return what solves: for the dense structure the given solver, or the cheapest; its own name for any other."""
        if self.structure != "dense":
            return self.structure
        if self.solver != "auto":
            return self.solver
        p = self.size
        m = len(self._x) * self._rows_a_sample()
        smaller = "cholesky" if p <= m else "gram"
        return smaller if 8 * min(p, m) ** 2 <= _MOST_BYTES else "cg"

    def _rows_a_sample(self) -> int:
        if self.kind == "exact":
            return int(self._outputs.shape[1])
        return self._n_samples if self.kind == "monte_carlo" else 1

    def _reached(self, flat: Float64, solver: str) -> Float64:
        """Return the part of g that F reaches; all of it where that is not known without another decomposition."""
        if solver in ("gram", "cg"):
            return flat
        return self._joined(self._structure.function(self._parts(flat), 0.0, 0.0))

    # ---------------------------------------------------------------------------------------------- forms of vectors

    def _parts(self, flat: Float64) -> HostParts:
        """Return a matrix a layer, its bias as the last row."""
        ends = np.cumsum([math.prod(shape) for shape in self._shapes])
        tensors = iter([a.reshape(s) for a, s in zip(np.split(flat, ends[:-1]), self._shapes, strict=True)])
        return [
            np.vstack([next(tensors), next(tensors)]) if bias else next(tensors).copy()
            for bias in self._biases
        ]

    def _joined(self, parts: HostParts) -> Float64:
        """Return matrices of the layers as a flat vector."""
        pieces = [part.ravel() for part in parts]
        flat: Float64 = np.concatenate(pieces).astype(np.float64)
        return flat

    def _on_device(self, flat: Float64) -> list[Array]:
        dtype, device = self._net.dtype, self._net.device
        return [to_device(np.ascontiguousarray(part, dtype=dtype), device) for part in self._parts(flat)]

    def _flat(self, v: Any) -> Float64:
        """Return a vector of the parameters as a flat array on the host."""
        if isinstance(v, (list, tuple)):
            self._check_shapes(v)
            flat = np.concatenate([to_host(a).astype(np.float64).ravel() for a in v])
        else:
            flat = np.array(to_host(v), dtype=np.float64)
        if flat.shape != (self.size,):
            raise ValueError(
                f"[FisherMatrix] the vector has shape {flat.shape}, but there are {self.size} parameters"
            )
        self._require_finite("the vector", flat)
        return flat

    def _like(self, given: Any, flat: Float64) -> Any:
        return self._tensors(flat) if isinstance(given, (list, tuple)) else flat

    def _tensors(self, flat: Float64) -> list[Array]:
        """Return a flat vector as arrays of the parameters' shapes, of the network's dtype and device."""
        ends = np.cumsum([math.prod(shape) for shape in self._shapes])[:-1]
        pieces = np.split(flat.astype(self._net.dtype, copy=False), ends)
        return [
            to_device(piece.reshape(shape), self._net.device)
            for piece, shape in zip(pieces, self._shapes, strict=True)
        ]

    # ------------------------------------------------------------------------------------------------------ checks

    def _checked_shares(self, sample_weight: Array | None) -> Float64:
        n = len(self._x)
        if n == 0:
            raise ValueError("[FisherMatrix] X has no rows")
        if sample_weight is None:
            return np.full(n, 1.0 / n)
        weights = np.asarray(to_host(sample_weight), np.float64)
        if (
            weights.shape != (n,)
            or not np.isfinite(weights).all()
            or (weights < 0).any()
            or not weights.sum() > 0
        ):
            raise ValueError(
                f"[FisherMatrix] sample_weight has to hold {n} finite numbers that are not negative, nor all 0"
            )
        shares: Float64 = weights / weights.sum()
        return shares

    def _checked_targets(self, y: Array, loss: Loss) -> Array:
        targets = np.asarray(to_host(y))
        n, c = len(self._x), self._n_outputs()
        if targets.ndim == 1 and targets.dtype.kind in "iu" and isinstance(loss, SoftmaxCrossEntropy):
            if len(targets) != n:
                raise ValueError(f"[FisherMatrix] y has {len(targets)} labels, but X has {n} rows")
            wrong = np.flatnonzero((targets < 0) | (targets >= c))
            if len(wrong):
                raise ValueError(
                    f"[FisherMatrix] label {targets[wrong[0]]} at row {wrong[0]} is outside 0..{c - 1}"
                )
            return targets
        targets = targets.astype(np.float64)
        targets = targets[:, None] if targets.ndim == 1 else targets
        expected = c // 2 if isinstance(loss, Gaussian) else c
        if targets.shape != (n, expected):
            raise ValueError(f"[FisherMatrix] y has shape {targets.shape}; it must be ({n}, {expected})")
        self._require_finite("y", targets)
        return targets

    def _n_outputs(self) -> int:
        return int([shape for shape in self._shapes if len(shape) == 2][-1][1])

    def _require_known(self, what: str, value: str, known: tuple[str, ...]) -> None:
        if value not in known:
            raise ValueError(f"[FisherMatrix] {what} {value!r} is not one of: {', '.join(known)}")

    def _check_shapes(self, arrays: Any) -> None:
        shapes = [tuple(a.shape) for a in arrays]
        if shapes != [tuple(shape) for shape in self._shapes]:
            raise ValueError(
                f"[FisherMatrix] the arrays have the shapes {shapes}, the parameters {self._shapes}"
            )

    def _check_damping(self, damping: float) -> None:
        if not (np.isfinite(damping) and damping >= 0):
            raise ValueError(f"[FisherMatrix] damping is {damping}: it must be finite and not negative")

    def _require_finite(self, what: str, array: Array) -> None:
        finite = array_namespace(array).isfinite(array)
        if not bool(finite.all()):
            at = int(to_host(~finite).ravel().argmax())
            where = np.unravel_index(at, array.shape)
            place = ", ".join(str(int(i)) for i in where)
            raise ValueError(f"[FisherMatrix] {what} is not finite at ({place})")
