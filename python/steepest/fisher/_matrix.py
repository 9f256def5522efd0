"""The Fisher matrix of a network."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import overload

import numpy as np
import scipy.linalg

from steepest import kernels as K
from steepest._runtime.arguments import checked_integer
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.memory import to_device, to_host
from steepest.nn import Gaussian, Loss, Network, SoftmaxCrossEntropy
from steepest.nn.inputs import Inputs, as_inputs

from ._batch import Batch, Expectation
from ._layout import Layout, require_finite, require_no_capture
from ._likelihoods import likelihood_of
from ._options import Kind, SolverName, StructureName, require_known
from ._solving import MOST_BYTES, OUTSIDE_OF_CAPTURE, SolvableMatrix
from ._structures import STRUCTURES, require_factors
from ._tape import Tape


class FisherMatrix(SolvableMatrix):
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
        A network of one output; dropout does nothing.
    loss : Loss
        `SoftmaxCrossEntropy`, `BinaryCrossEntropy`, `MeanSquaredError`, `Gaussian` or `Poisson`.
    X : ndarray of shape (n, n_in), or tuple of ndarray
        Inputs, of the network's dtype and on its device: a tuple for a network of several inputs.
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
        X: Inputs,
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

    def _observed(self, X: Inputs, y: Array | None, sample_weight: Array | None, number: int) -> Batch:
        """Check a batch, and run it through the network."""
        require_no_capture("FisherMatrix", OUTSIDE_OF_CAPTURE)
        if self.kind == "empirical" and y is None:
            raise ValueError("[FisherMatrix] the empirical kind is taken at the targets: pass y")
        inputs = as_inputs(X)
        self._net._check_inputs("predict", inputs)
        for x in inputs:
            if x.dtype.kind == "f":
                require_finite("X", x)
        n = len(inputs[0])
        shares = self._checked_shares(n, sample_weight)
        # Copies: what follows from the batch is computed when it is asked for, and X and y may be buffers.
        targets = None if y is None else self._checked_targets(n, y).copy()
        return Batch(
            self._layout,
            self._loss,
            self._likelihood,
            self._expectation,
            number,
            Tape(self._net, tuple(x.copy() for x in inputs)),
            targets,
            shares,
            sample_weight is not None,
        )

    def _restructure(self, structure: StructureName) -> None:
        require_factors(self._layout, structure)
        self.structure = structure
        self._structure = STRUCTURES[structure](self._batch)
        self._averaged = False
        self.report = None

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
        self, X: Inputs, y: Array | None = None, *, decay: float = 0.95, sample_weight: Array | None = None
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

    # ---------------------------------------------------------------------------------------------------- figures

    def to_dense(self) -> Float64Array:
        """Return the matrix, of shape (P, P) in float64, on the host.

        Raises
        ------
        MemoryError
            It takes more than 16 GiB.
        """
        require_no_capture("FisherMatrix", OUTSIDE_OF_CAPTURE)
        self._require_memory(self.size)
        # A layer's bias follows its weights in the parameters, and in the matrix that both are rows of.
        dense: Float64Array = scipy.linalg.block_diag(*self._structure.blocks())
        return dense

    def diagonal(self) -> Float64Array:
        """Return the diagonal, of shape (P,)."""
        require_no_capture("FisherMatrix", OUTSIDE_OF_CAPTURE)
        return self._structure.diagonal()

    def trace(self) -> float:
        """Return the sum of the diagonal."""
        return float(self.diagonal().sum())

    def eigenvalues(self) -> Float64Array:
        """Return all P eigenvalues, ascending; roundings of 0 are 0."""
        require_no_capture("FisherMatrix", OUTSIDE_OF_CAPTURE)
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
        require_no_capture("FisherMatrix", OUTSIDE_OF_CAPTURE)
        batch, others = self._batch, self._layout.on_device(outputs)
        kl = K.output_divergence(batch.tape.output, others, self._likelihood.name, batch.device_shares)
        return float(to_host(kl))

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

    def _require_formable(self) -> None:
        side = self._largest_block()
        if 8 * side**2 > MOST_BYTES:
            raise MemoryError(
                f"[FisherMatrix] an average of the structure {self.structure!r} has to be formed, in "
                f"{8e-9 * side**2:.0f} GB: take 'kfac', 'ekfac' or 'diagonal'"
            )
