"""`FisherMatrix`: the Fisher information matrix of a network's parameters."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import scipy.linalg

from steepest._runtime.arguments import checked_integer
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.memory import to_device, to_host
from steepest.nn import Gaussian, Loss, Network, SoftmaxCrossEntropy
from steepest.nn.inputs import Inputs, as_inputs

from ._batch import Batch, Expectation
from ._joint_loss import JointLoss, Losses, Targets, joint_loss, require_targets, side_by_side
from ._layout import layout_of, require_finite, require_no_capture
from ._likelihoods import likelihood_of
from ._options import Kind, SolverName, StructureName, require_known
from ._solving import MOST_BYTES, OUTSIDE_OF_CAPTURE
from ._steps import MatrixForSteps
from ._structures import STRUCTURES, require_factors
from ._tape import Tape


class FisherMatrix(MatrixForSteps):
    """The Fisher information matrix of a network's parameters, at their present values.

    The loss has to be the negative log-likelihood of a distribution p(y | z) with the network's outputs z_i = f(x_i).
    Then F is the mean over the samples of ``E[s s^T]`` with the score ``s = d(-log p(y | z_i)) / d(parameters)``. It is
    scaled as the loss is: the squared error, for instance, is twice the negative log-likelihood of variance 1.

    The exact kind is ``1/n sum_i J_i^T H_i J_i`` with the Fisher matrix H_i of the outputs. This is the generalised
    Gauss-Newton matrix, except for `Gaussian`, whose H_i is not the Hessian.

    A vector of the parameters is either a flat array, the tensors of ``net.parameters()`` one after the other in C
    order, or a list of arrays of their shapes. Results have the same form as the argument: flat NumPy arrays of
    float64, or lists of arrays in the network's dtype and on its device.

    Parameters
    ----------
    net : Network
        A network whose outputs are vectors; dropout does nothing, and batch norms take their running averages.
    loss : Loss, or tuple of Loss
        `SoftmaxCrossEntropy`, `BinaryCrossEntropy`, `MeanSquaredError`, `Gaussian` or `Poisson`. For a network of
        several outputs a tuple with a loss for each, whose sum is the loss: targets of different outputs are
        independent given the outputs. All losses have to be the same multiple of a negative log-likelihood, which
        ``reduction="sum"`` and, for the squared error, ``half=True`` make 1.
    X : ndarray of shape (n, n_in), or tuple of ndarray
        Inputs, of the network's dtype and on its device: a tuple for a network of several inputs.
    y : ndarray or tuple of ndarray, default=None
        Targets, as the loss takes them, a tuple for several outputs; required for the empirical kind.
    kind : {"exact", "monte_carlo", "empirical"}, default="exact"
        Type of the Fisher matrix. ``"exact"`` takes the expectation over the network's own distribution in closed form.
        ``"monte_carlo"`` takes the mean over `n_samples` targets sampled from it for each row. ``"empirical"`` uses the
        given targets, which is not a Fisher matrix: it is the second moment of the per-sample gradients, and vanishes
        where the network fits the targets (F. Kunstner, L. Balles, P. Hennig, "Limitations of the empirical Fisher
        approximation for natural gradient descent", 2019).
    structure : {"dense", "block", "kfac", "ekfac", "diagonal"}, default="dense"
        The whole matrix; one block per layer; one Kronecker product per layer (K-FAC [1]_), or for each group of a
        convolution (KFC [3]_); K-FAC with corrected eigenvalues (EKFAC [2]_); or the diagonal.
    solver : {"auto", "cholesky", "gram", "cg"}, default="auto"
        How `solve` works with the dense structure. ``"cholesky"`` factorises the matrix. ``"gram"`` factorises the Gram
        matrix of the n × r scores, with r outputs (or `n_samples`, or 1) per row. ``"cg"`` uses conjugate residuals,
        which form no matrix. ``"auto"`` takes the smaller matrix of the first two if it fits into 2 GiB, and the third
        otherwise. With damping and a large matrix, ``"auto"`` first tries conjugate residuals in float64, for at most
        as many operations as the matrix takes. It uses the matrix if their relative residual stays above 1e-10, and
        takes at most twice the time of the faster of the two. All other structures solve with their own factors.
    n_samples : int, default=1
        Number of targets that the kind ``"monte_carlo"`` samples for each row.
    seed : int, default=0
        Seed of the sampled targets.
    sample_weight : ndarray of shape (n,), default=None
        Weights of the rows, at least 0; they are normalised to the sum 1.

    Attributes
    ----------
    size : int
        Number of parameters, P.
    report : SolveReport or None
        How the last `solve` solved its equations; None before the first.

    Raises
    ------
    ValueError, TypeError
        If the loss is no negative log-likelihood, a layer of the network is not supported, an option is none of those
        named above, or X, y or `sample_weight` is not as described.

    References
    ----------
    .. [1] J. Martens, R. Grosse, "Optimizing neural networks with Kronecker-factored approximate curvature", ICML
       2015.
    .. [2] T. George et al., "Fast approximate natural gradient descent in a Kronecker-factored eigenbasis", NeurIPS
       2018.

    .. [3] R. Grosse, J. Martens, "A Kronecker-factored approximate Fisher matrix for convolution layers", ICML 2016.

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
        loss: Losses,
        X: Inputs,
        y: Targets | None = None,
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
            raise ValueError(f"[FisherMatrix] n_samples must be at least 1, got {n_samples}")
        self.kind, self.solver = kind, solver
        self._net, self._layout = net, layout_of(net)
        self._loss = joint_loss(loss, self._layout.widths)
        self.size = self._layout.size
        self._likelihood = likelihood_of(self._loss, self._layout.n_outputs)
        self._expectation = Expectation(kind, n_samples, checked_integer("FisherMatrix", "seed", seed))
        self._batch = self._observed(X, y, sample_weight, 0)
        self._restructure(structure)

    def _observed(self, X: Inputs, y: Targets | None, sample_weight: Array | None, number: int) -> Batch:
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
        targets = None if y is None else self._all_targets(n, y)
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
        """Return the same Fisher matrix in another structure, from the same forward pass.

        Parameters
        ----------
        structure : {"dense", "block", "kfac", "ekfac", "diagonal"}
            Structure of the returned matrix; see the class.

        Returns
        -------
        FisherMatrix
            A new object; this one does not change.

        Raises
        ------
        ValueError
            If there is no such structure.
        """
        require_known("FisherMatrix", structure=(structure, StructureName))
        other = copy.copy(self)
        other._restructure(structure)
        return other

    def update(
        self, X: Inputs, y: Targets | None = None, *, decay: float = 0.95, sample_weight: Array | None = None
    ) -> None:
        """Update the exponential average of F with another batch, at the network's present parameters.

        The update ``F <- decay F + (1 - decay) F_batch`` applies to the arrays that the structure keeps. K-FAC averages
        the two factors of each layer; their product is not the average of the products. `output` and `divergence`
        refer to the new batch. From here on the dense structure forms its matrix, and solves with its Cholesky factor.

        Parameters
        ----------
        X, y, sample_weight
            The batch, as for the constructor.
        decay : float, default=0.95
            Weight of the earlier average, in [0, 1).

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described; the matrix has not changed then.
        MemoryError
            If the dense matrix, or the largest block, takes more than 2 GiB.
        """
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"[FisherMatrix] decay is {decay}: it must be in [0, 1)")
        self._average(self._observed(X, y, sample_weight, self._batch.number + 1), decay)

    def begin_average(self) -> None:
        """Solve with the matrix of this batch as with later averages, so that a saved one gives the same bits."""
        self._require_formable()
        self._averaged = True

    def _average(self, batch: Batch, decay: float) -> None:
        self._require_formable()
        self._batch = batch
        self._structure.average(batch, decay)
        self._averaged, self.report = True, None

    def average_with(self, other: FisherMatrix, decay: float) -> None:
        """Become ``decay`` times this matrix plus ``1 - decay`` times that of another matrix's batch."""
        self._average(other._batch, decay)

    def restore(self, state: list[Array]) -> None:
        """Become the average that `state` returned.

        Raises
        ------
        ValueError
            If the state is that of another structure or of other shapes.
        """
        self._require_formable()
        self._structure.restore(state)
        self._averaged, self.report = True, None

    # --------------------------------------------------------------------------------------------------- products

    @property
    def shape(self) -> tuple[int, int]:
        """The shape (P, P), as SciPy's linear operators have it."""
        return self.size, self.size

    @property
    def dtype(self) -> np.dtype[np.float64]:
        """The dtype of flat vectors and of the results for them, float64."""
        return np.dtype(np.float64)

    @overload
    def __matmul__(self, v: Array) -> Float64Array: ...
    @overload
    def __matmul__(self, v: Sequence[Array]) -> list[Array]: ...
    def __matmul__(self, v: Array | Sequence[Array]) -> Float64Array | list[Array]:
        """Return ``F v`` for a vector v, or ``F V`` for an array V of shape (P, k), column by column."""
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

    # -------------------------------------------------------------------------------------- entries and eigenvalues

    def to_dense(self) -> Float64Array:
        """Return the matrix, of shape (P, P) in float64, on the host.

        Raises
        ------
        MemoryError
            If the matrix takes more than 16 GiB.
        """
        require_no_capture("FisherMatrix", OUTSIDE_OF_CAPTURE)
        self._require_memory(self.size)
        # In the flat vector the bias of a layer follows its weights, as the last row of the layer's matrix.
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
        """Return all P eigenvalues in ascending order; those within rounding error of 0 are set to 0."""
        require_no_capture("FisherMatrix", OUTSIDE_OF_CAPTURE)
        return self._structure.eigenvalues()

    def logdet(self, damping: float = 0.0) -> float:
        """Return the logarithm of the determinant of ``F + damping I``, or -inf if that matrix is singular.

        Without damping, eigenvalues within rounding error of 0 count as 0. With damping they keep their values.
        """
        self._check_damping(damping)
        if damping > 0:
            return float(np.log(self._structure.spectrum() + damping).sum())
        with np.errstate(divide="ignore"):
            return float(np.log(self.eigenvalues()).sum())

    @property
    def scale(self) -> float:  # type: ignore[override]
        """Factor between the loss and the negative log-likelihood (up to a constant); it also scales the matrix."""
        return self._likelihood.scale

    @property
    def output(self) -> Array:
        """The network's outputs for X, without dropout, side by side: of shape (n, c), on its device."""
        return self._batch.tape.output

    def divergence(self, outputs: Array | tuple[Array, ...]) -> float:
        """Return the mean over the rows of KL(p || q), with p given by `output` and q by other outputs.

        Parameters
        ----------
        outputs : ndarray of shape (n, c), or tuple of ndarray
            The parameters of q; they are converted to the network's dtype and device.

        Returns
        -------
        float
            The mean in nats, with the weights of the rows. See `steepest.kernels.output_divergence`.
        """
        require_no_capture("FisherMatrix", OUTSIDE_OF_CAPTURE)
        batch, widths = self._batch, self._layout.widths
        if isinstance(outputs, (list, tuple)):
            shapes, own = [np.shape(z) for z in outputs], [(len(self.output), width) for width in widths]
            if shapes != own:
                raise ValueError(f"[FisherMatrix] the outputs have the shapes {shapes}, but must have {own}")
        elif outputs.shape != self.output.shape:
            raise ValueError(
                f"[FisherMatrix] the outputs have the shape {outputs.shape}, but must have {self.output.shape}"
            )
        others = self._layout.on_device(side_by_side(outputs))
        return float(to_host(self._likelihood.divergence(batch.tape.output, others, batch.device_shares)))

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
                f"[FisherMatrix] sample_weight must hold {n} finite numbers that are at least 0, and not all 0"
            )
        shares: Float64Array = weights / weights.sum()
        return shares

    def _all_targets(self, n: int, y: Targets) -> Targets:
        """Return copies of the targets as the loss takes them."""
        if not isinstance(self._loss, JointLoss):
            return self._checked_targets(n, y, self._loss, self._layout.n_outputs).copy()
        losses, widths = self._loss.losses, self._loss.widths
        require_targets(y, len(losses))
        parts = enumerate(zip(y, losses, widths, strict=True))
        return tuple(
            self._checked_targets(n, one, loss, width, f"y[{i}]").copy() for i, (one, loss, width) in parts
        )

    def _checked_targets(self, n: int, y: Any, loss: Loss, c: int, name: str = "y") -> Array:
        """Return the targets of an output of c columns as its loss takes them."""
        targets = np.asarray(to_host(y))
        if targets.ndim == 1 and targets.dtype.kind in "iu" and isinstance(loss, SoftmaxCrossEntropy):
            if len(targets) != n:
                raise ValueError(f"[FisherMatrix] {name} has {len(targets)} labels, but X has {n} rows")
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
            raise ValueError(f"[FisherMatrix] {name} has shape {targets.shape}; it must be ({n}, {expected})")
        require_finite(name, targets)
        return to_device(np.ascontiguousarray(targets), self._net.device)

    def _require_formable(self) -> None:
        side = self._largest_block()
        if 8 * side**2 > MOST_BYTES:
            raise MemoryError(
                f"[FisherMatrix] averaging structure={self.structure!r} would form a matrix of {8e-9 * side**2:.0f} "
                "GB, more than 2 GiB: take 'kfac', 'ekfac' or 'diagonal'"
            )
