"""The Fisher matrix of a network."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import Any, Literal, get_args, overload

import numpy as np
import scipy.linalg
import scipy.sparse.linalg

from steepest import kernels as K
from steepest._runtime.arguments import checked_integer
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.memory import to_device, to_host
from steepest.nn import Gaussian, Loss, Network, SoftmaxCrossEntropy

from ._batch import Batch, Expectation
from ._layout import Layout, require_finite, require_no_capture
from ._likelihoods import likelihood_of
from ._solvers import SolveReport, conjugate_residuals, relative_residual, rounding_of, solve_by_gram
from ._structures import STRUCTURES, Operator, Structure
from ._structures.kronecker import Kfac
from ._tape import Tape

Kind = Literal["exact", "monte_carlo", "empirical"]
StructureName = Literal["dense", "block", "kfac", "ekfac", "diagonal"]
SolverName = Literal["auto", "cholesky", "gram", "cg"]
Split = Literal["pi", "even"]
_OUTSIDE = "use it outside of the block"
# Bytes of a matrix that "auto" and averages form, and of one that is asked for.
_MOST_BYTES, _MOST_BYTES_ASKED = 2 << 30, 16 << 30
# Of the residual, unless the network's own roundings are larger.
_CG_TOLERANCE, _CG_ROUNDINGS, _CG_ITERATIONS = 1e-10, 100.0, 1000
# "auto" forms no matrix of so many operations before it has tried what products solve. One operation of a product takes
# as long as several of a matrix, whose rows are used again; and so few products hardly solve any system.
_LARGE_WORK, _OPERATIONS_OF_MATRIX, _FEWEST_PRODUCTS = 2e9, 4.0, 20


class FisherMatrix:
    """The Fisher information matrix of a network's parameters, at their present values.

    For a loss that is the negative log-likelihood of a distribution p(y | z) of the network's outputs z_i = f(x_i), it
    is the mean over the samples of ``E[s s^T]`` with the score ``s = d(-log p(y | z_i)) / d(parameters)``. It is scaled
    as the loss is: the squared error, for instance, is twice the negative log-likelihood of variance 1. The exact kind
    is ``1/n sum_i J_i^T H_i J_i`` with the Fisher matrix H_i of the outputs: the generalised Gauss-Newton matrix, but
    for `Gaussian`, whose H_i is not the Hessian.

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
        n × r of them with r outputs (or `n_samples`, or 1) a row; or by conjugate residuals, with no matrix at all.
        "auto" takes the smaller matrix of the first two, if it fits into 2 GiB, and else the third. Where there is
        damping and that matrix is large, it first tries conjugate residuals, in float64 and for at most as many
        operations as the matrix takes: what they do not solve to a residual of 1e-10 is solved by the matrix, after at
        most twice the time of the better of both. All other structures solve by factors of their own.
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
        kind: Kind = "exact",
        structure: StructureName = "dense",
        solver: SolverName = "auto",
        n_samples: int = 1,
        seed: int = 0,
        sample_weight: Array | None = None,
    ) -> None:
        require_known(
            "FisherMatrix",
            kind=(kind, Kind),
            structure=(structure, StructureName),
            solver=(solver, SolverName),
        )
        if n_samples < 1:
            raise ValueError(f"[FisherMatrix] n_samples is {n_samples}: at least 1 has to be drawn")
        self.kind, self.solver = kind, solver
        self._net, self._loss = net, loss
        self._layout = Layout(net)
        self.size = self._layout.size
        self._likelihood = likelihood_of(loss, self._n_outputs())
        self._expectation = Expectation(kind, n_samples, checked_integer("FisherMatrix", "seed", seed))
        self._batch = self._observed(X, y, sample_weight, 0)
        self._restructure(structure)

    def _observed(self, X: Array, y: Array | None, sample_weight: Array | None, number: int) -> Batch:
        """Check a batch, and run it through the network."""
        require_no_capture("FisherMatrix", _OUTSIDE)
        if self.kind == "empirical" and y is None:
            raise ValueError("[FisherMatrix] the empirical kind is taken at the targets: pass y")
        self._net._check_input("predict", X)
        require_finite("X", X)
        shares = self._checked_shares(len(X), sample_weight)
        # Copies: what follows from the batch is computed when it is asked for, and X and y may be buffers.
        targets = None if y is None else self._checked_targets(len(X), y).copy()
        return Batch(
            self._layout,
            self._loss,
            self._likelihood,
            self._expectation,
            number,
            Tape(self._net, X.copy()),
            targets,
            shares,
            sample_weight is not None,
        )

    def _restructure(self, structure: StructureName) -> None:
        self.structure = structure
        self._structure: Structure = STRUCTURES[structure](self._batch)
        self._averaged = False
        self.report: SolveReport | None = None

    def with_structure(self, structure: StructureName) -> FisherMatrix:
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
        require_known("FisherMatrix", structure=(structure, StructureName))
        other = copy.copy(self)
        other._restructure(structure)
        return other

    def update(
        self, X: Array, y: Array | None = None, *, decay: float = 0.95, sample_weight: Array | None = None
    ) -> None:
        """Average with the matrix of another batch, at the parameters that the network has now.

        ``F <- decay F + (1 - decay) F_batch``, of what the structure keeps: the factors of each layer for K-FAC, which
        then are not those of the average. What `output` and `divergence` say is of the new batch. The dense structure
        has to form its matrix from here on, and is solved by its factors.

        Parameters
        ----------
        X, y, sample_weight
            The batch, as above.
        decay : float, default=0.95
            Weight of what was there, in [0, 1).

        Raises
        ------
        ValueError, TypeError
            As above; the matrix has not changed then.
        MemoryError
            The matrix of a dense structure, or a block, takes more than 2 GiB.
        """
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"[FisherMatrix] decay is {decay}: it must be in [0, 1)")
        self._average(self._observed(X, y, sample_weight, self._batch.number + 1), decay)

    def _average(self, batch: Batch, decay: float) -> None:
        self._require_formable()
        self._batch = batch
        self._structure.average(batch, decay)
        self._averaged, self.report = True, None

    def _restore(self, state: list[Array]) -> None:
        """Become the average that `Structure.state` returned."""
        self._require_formable()
        self._structure.restore(state)
        self._averaged, self.report = True, None

    # --------------------------------------------------------------------------------------------------- products

    @property
    def shape(self) -> tuple[int, int]:
        """P and P, as SciPy's linear operators have it."""
        return self.size, self.size

    @property
    def dtype(self) -> np.dtype[np.float64]:
        """That of flat vectors, and of what is returned for them."""
        return np.dtype(np.float64)

    @overload
    def __matmul__(self, v: Array) -> Float64Array: ...
    @overload
    def __matmul__(self, v: Sequence[Array]) -> list[Array]: ...
    def __matmul__(self, v: Array | Sequence[Array]) -> Float64Array | list[Array]:
        """Return ``F v`` for a vector v, or ``F V`` for an array V of shape (P, k), which is multiplied by columns."""
        if not isinstance(v, (list, tuple)) and np.ndim(v) == 2:
            columns = [self.matvec(column) for column in np.asarray(to_host(v)).T]
            return np.stack(columns, axis=1) if columns else np.zeros(np.shape(v))
        product: Float64Array | list[Array] = self._layout.given_back(
            v, self._multiply(self._layout.taken(v))
        )
        return product

    def matvec(self, v: Array) -> Float64Array:
        """Return ``F v`` for v of shape (P,) or (P, 1), in v's shape, as SciPy's linear operators do."""
        flat = self._layout.taken(np.asarray(to_host(v)).ravel())
        return self._layout.on_host(self._multiply(flat)).reshape(np.shape(v))

    rmatvec = matvec

    @overload
    def solve(self, g: Array, damping: float = 0.0) -> Float64Array: ...
    @overload
    def solve(self, g: Sequence[Array], damping: float = 0.0) -> list[Array]: ...
    def solve(self, g: Array | Sequence[Array], damping: float = 0.0) -> Float64Array | list[Array]:
        """Return ``(F + damping I)^-1 g``; without damping the minimum-norm least-squares solution of F x = g.

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
        flat = self._layout.taken(g)
        solver, iterations, reached = self._chosen_solver(), 0, flat
        tried = self._tried(flat, damping, self._products_worth_trying(damping))
        if tried is not None:
            solver, (solution, iterations) = "cg", tried
        elif solver == "gram":
            solution, part = solve_by_gram(self._batch, flat, damping)
            reached = part if damping == 0 else flat
        elif solver == "cg":
            solution, iterations = self._by_conjugate_residuals(flat, damping)
        else:
            self._require_memory(self._largest_block())
            solution = self._structure.inverse(damping)(flat)
            if damping == 0:
                reached = self._structure.power(0.0, 0.0)(flat)
        given_back: Float64Array | list[Array] = self._layout.given_back(g, solution)
        x, right = self._layout.on_host(self._layout.taken(given_back)), self._layout.on_host(reached)
        residual = self._residual(x, right, damping, solver)
        self.report = SolveReport(solver, float(damping), residual, iterations)
        return given_back

    def _by_products(self, flat: Array, damping: float, most: int) -> tuple[Float64Array, int, bool]:
        """Solve with products in the dtype of the right side, to what that can tell."""
        dtype = flat.dtype
        return conjugate_residuals(
            lambda v: self._layout.on_host(self._multiply(v.astype(dtype, copy=False))),
            self._layout.on_host(flat),
            damping,
            max(_CG_TOLERANCE, _CG_ROUNDINGS * float(np.finfo(dtype).eps)),
            most,
            rounding_of(1, self._layout.dtype),
        )

    def _tried(self, flat: Array, damping: float, most: int) -> tuple[Float64Array, int] | None:
        """Return the solution and how many products it took, or None where this number does not find it."""
        if most < _FEWEST_PRODUCTS:
            return None
        right = self._layout.on_host(flat).astype(np.float64, copy=False)
        solution, iterations, has_converged = self._by_products(right, damping, most)
        return (solution, iterations) if has_converged and np.isfinite(solution).all() else None

    def _by_conjugate_residuals(self, flat: Array, damping: float) -> tuple[Float64Array, int]:
        solution, iterations, has_converged = self._by_products(flat, damping, _CG_ITERATIONS)
        if not has_converged:
            warnings.warn(
                f"[FisherMatrix] solver='cg' has not converged in {iterations} iterations: add damping, or take "
                "another solver",
                RuntimeWarning,
                stacklevel=3,
            )
        return solution, iterations

    def _residual(self, solution: Float64Array, reached: Float64Array, damping: float, solver: str) -> float:
        """Return the residual of a solution, as `SolveReport` has it."""
        product = self._layout.on_host(self._multiply(solution)) + damping * solution
        if solver == "cg" and damping == 0:
            product, reached = (self._layout.on_host(self._multiply(v)) for v in (product, reached))
        return relative_residual(product, reached)

    def inverse(
        self, damping: float = 0.0, *, split: Split | None = None
    ) -> scipy.sparse.linalg.LinearOperator:
        """Return ``(F + damping I)^-1`` as an operator, factorised once: ``F.inverse(0.1) @ g`` for flat vectors g.

        Parameters
        ----------
        damping : float, default=0.0
            Not negative. Without damping, directions that F does not have are mapped to 0.
        split : {"pi", "even"} or None, default=None
            For the structure ``"kfac"`` with damping: adds ``pi sqrt(damping) I`` to the factor of a layer's inputs and
            ``sqrt(damping) / pi I`` to that of its gradients, which takes Cholesky factors in place of eigenvectors.
            With ``"pi"`` the square of pi is the ratio of the factors' mean eigenvalues (J. Martens, R. Grosse, 2015,
            §6.3), with ``"even"`` it is 1.

        Returns
        -------
        scipy.sparse.linalg.LinearOperator
            Of shape (P, P): symmetric. Later calls of `update` do not change it.

        Raises
        ------
        ValueError
            The damping is negative or not finite, or there is nothing to split or nothing to split it to.
        ArithmeticError
            A damped factor is not positive definite: take more damping.
        """
        return self._linear_operator(self._inverse(damping, split))

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
        self._require_memory(self._largest_block())
        return self._linear_operator(self._structure.power(-0.5, damping))

    def _linear_operator(self, operator: Operator) -> scipy.sparse.linalg.LinearOperator:
        def product(v: Float64Array) -> Float64Array:
            return self._layout.on_host(operator(self._layout.taken(np.asarray(v, np.float64).ravel())))

        return scipy.sparse.linalg.LinearOperator(
            (self.size, self.size), matvec=product, rmatvec=product, dtype=np.float64
        )

    # ---------------------------------------------------------------------------------------------------- figures

    def to_dense(self) -> Float64Array:
        """Return the matrix, of shape (P, P) in float64, on the host.

        Raises
        ------
        MemoryError
            It takes more than 16 GiB.
        """
        require_no_capture("FisherMatrix", _OUTSIDE)
        self._require_memory(self.size)
        # A layer's bias follows its weights in the parameters, and in the matrix that both are rows of.
        dense: Float64Array = scipy.linalg.block_diag(*self._structure.blocks())
        return dense

    def diagonal(self) -> Float64Array:
        """Return the diagonal, of shape (P,)."""
        require_no_capture("FisherMatrix", _OUTSIDE)
        return self._structure.diagonal()

    def trace(self) -> float:
        """Return the sum of the diagonal."""
        return float(self.diagonal().sum())

    def eigenvalues(self) -> Float64Array:
        """Return all P eigenvalues, ascending; roundings of 0 are 0."""
        require_no_capture("FisherMatrix", _OUTSIDE)
        return self._structure.eigenvalues()

    def logdet(self, damping: float = 0.0) -> float:
        """Return the logarithm of the determinant of ``F + damping I``; -inf where that is singular.

        Eigenvalues that are roundings of 0 count as 0 without damping, and as they are with it.
        """
        self._check_damping(damping)
        if damping > 0:
            return float(np.log(self._structure.spectrum() + damping).sum())
        with np.errstate(divide="ignore"):
            return float(np.log(self.eigenvalues()).sum())

    @property
    def scale(self) -> float:
        """The loss is this times the negative log-likelihood, but for a constant, and so is the matrix."""
        return self._likelihood.scale

    @property
    def output(self) -> Array:
        """The network's output for X, without dropout, of shape (n, c) and on its device."""
        return self._batch.tape.output

    def divergence(self, outputs: Array) -> float:
        """Return the mean over the rows of KL(p || q), with the distributions p of `output` and q of other outputs.

        Parameters
        ----------
        outputs : ndarray of shape (n, c)
            The parameters of q; taken in the network's dtype, and to its device.

        Returns
        -------
        float
            In nats; weighted as the rows are. See `steepest.kernels.output_divergence`.
        """
        require_no_capture("FisherMatrix", _OUTSIDE)
        batch, others = self._batch, self._layout.on_device(outputs)
        kl = K.output_divergence(batch.tape.output, others, self._likelihood.name, batch.device_shares)
        return float(to_host(kl))

    # -------------------------------------------------------------------------------------------------- internals

    def _multiply(self, flat: Array) -> Array:
        """Return ``F v``, in the dtype and on the device where it was computed."""
        if self._averaged or self.structure != "dense":
            return self._structure.multiply(flat)
        batch = self._batch.in_float64 if flat.dtype == np.float64 else self._batch
        flat = batch.layout.on_device(flat)
        if self.kind == "exact":
            return batch.times_exact(flat)
        return batch.factors.combined(batch.factors.rows_times(flat))

    def _inverse(self, damping: float, split: Split | None) -> Operator:
        """Return `inverse` for vectors as of `Layout.taken`, with results in any dtype and place."""
        self._check_damping(damping)
        structure = self._structure
        if split is not None:
            require_known("FisherMatrix", split=(split, Split))
            if type(structure) is not Kfac or damping == 0:
                raise ValueError(
                    f"[FisherMatrix] split={split!r} takes the structure 'kfac' and a positive damping, "
                    f"not {self.structure!r} and {damping}"
                )
            return structure.factored_inverse(damping, by_traces=split == "pi")
        solver, products = self._chosen_solver(), self._products_worth_trying(damping)
        if not products and solver != "cg":
            return self._inverse_by(solver, damping)
        # Updates give this object another batch, and its structure other matrices.
        now = copy.copy(self)
        now._structure = copy.copy(structure)
        return _ProductsThenMatrix(now, damping, products) if products else now._inverse_by(solver, damping)

    def _inverse_by(self, solver: str, damping: float) -> Operator:
        if solver == "gram":
            batch = self._batch
            return lambda flat: solve_by_gram(batch, flat, damping)[0]
        if solver == "cg":
            return lambda flat: self._by_conjugate_residuals(flat, damping)[0]
        self._require_memory(self._largest_block())
        return self._structure.inverse(damping)

    def _products_worth_trying(self, damping: float) -> int:
        """Return how many products take as long as the matrix that "auto" would form; 0 where none are tried."""
        solver = self._chosen_solver()
        if self.solver != "auto" or damping == 0 or solver not in ("cholesky", "gram") or self._averaged:
            return 0
        p, m = self.size, self._n_scores()
        if solver == "cholesky":
            work = float(m) * p**2 + p**3 / 3
        else:
            work = float(m) ** 2 * sum(sum(sides) for sides in self._layout.layers) + m**3 / 3
        # Forwards and back, each with two matrices of a layer; or the scores twice.
        product = 8.0 * len(self._batch.shares) * p if self.kind == "exact" else 4.0 * m * p
        return int(min(work / (_OPERATIONS_OF_MATRIX * product), _CG_ITERATIONS)) if work > _LARGE_WORK else 0

    def _chosen_solver(self) -> str:
        """Return what solves: for the dense structure the given solver, or the cheapest; its own name for any other."""
        if self.structure != "dense":
            return self.structure
        if self._averaged:
            return "cg" if self.solver == "cg" else "cholesky"
        if self.solver != "auto":
            return self.solver
        p, m = self.size, self._n_scores()
        smaller = "cholesky" if p <= m else "gram"
        return smaller if 8 * min(p, m) ** 2 <= _MOST_BYTES else "cg"

    def _n_scores(self) -> int:
        """Return of how many scores the matrix is the sum of squares."""
        return len(self._batch.shares) * self._expectation.repeats(self._n_outputs())

    # ------------------------------------------------------------------------------------------------------ checks

    def _checked_shares(self, n: int, sample_weight: Array | None) -> Float64Array:
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
        shares: Float64Array = weights / weights.sum()
        return shares

    def _checked_targets(self, n: int, y: Array) -> Array:
        """Return targets as the loss takes them."""
        loss, c, targets = self._loss, self._n_outputs(), np.asarray(to_host(y))
        if targets.ndim == 1 and targets.dtype.kind in "iu" and isinstance(loss, SoftmaxCrossEntropy):
            if len(targets) != n:
                raise ValueError(f"[FisherMatrix] y has {len(targets)} labels, but X has {n} rows")
            wrong = np.flatnonzero((targets < 0) | (targets >= c))
            if len(wrong):
                raise ValueError(
                    f"[FisherMatrix] label {targets[wrong[0]]} at row {wrong[0]} is outside 0..{c - 1}"
                )
            return to_device(targets, self._net.device)
        targets = targets.astype(self._net.dtype, copy=False)
        targets = targets[:, None] if targets.ndim == 1 else targets
        expected = c // 2 if isinstance(loss, Gaussian) else c
        if targets.shape != (n, expected):
            raise ValueError(f"[FisherMatrix] y has shape {targets.shape}; it must be ({n}, {expected})")
        require_finite("y", targets)
        return to_device(np.ascontiguousarray(targets), self._net.device)

    def _n_outputs(self) -> int:
        width: int = self._layout.layers[-1][1]
        return width

    def _largest_block(self) -> int:
        """Return the number of rows of the largest matrix of parameters that the structure forms."""
        largest_layer: int = max(p * m for p, m in self._layout.layers)
        sides: dict[str, int] = {"dense": self.size, "block": largest_layer}
        return sides.get(self.structure, 0)

    def _require_formable(self) -> None:
        side = self._largest_block()
        if 8 * side**2 > _MOST_BYTES:
            raise MemoryError(
                f"[FisherMatrix] an average of the structure {self.structure!r} has to be formed, in "
                f"{8e-9 * side**2:.0f} GB: take 'kfac', 'ekfac' or 'diagonal'"
            )

    def _require_memory(self, side: int) -> None:
        if 8 * side**2 > _MOST_BYTES_ASKED:
            raise MemoryError(
                f"[FisherMatrix] a matrix of {side} x {side} parameters takes {8e-9 * side**2:.0f} GB: take products "
                "F @ v, or another structure or solver"
            )

    def _check_damping(self, damping: float) -> None:
        require_no_capture("FisherMatrix", _OUTSIDE)
        if not (np.isfinite(damping) and damping >= 0):
            raise ValueError(f"[FisherMatrix] damping is {damping}: it must be finite and not negative")


class _ProductsThenMatrix:
    """The inverse that "auto" applies: by products, until they would have paid for the matrix; from then on by that."""

    def __init__(self, matrix: FisherMatrix, damping: float, products: int) -> None:
        self._matrix, self._damping, self._left = matrix, damping, products
        self._direct: Operator | None = None

    def __call__(self, flat: Array) -> Array:
        if self._direct is None:
            tried = self._matrix._tried(flat, self._damping, self._left)
            if tried is not None:
                self._left -= tried[1]
                return tried[0]
            self._direct = self._matrix._inverse_by(self._matrix._chosen_solver(), self._damping)
        return self._direct(flat)


def require_known(operation: str, **names: tuple[str, Any]) -> None:
    """Raise a ValueError where an option is none of the names of its type."""
    for what, (value, type_of_names) in names.items():
        known = get_args(type_of_names)
        if value not in known:
            raise ValueError(f"[{operation}] {what} {value!r} is not one of: {', '.join(known)}")
