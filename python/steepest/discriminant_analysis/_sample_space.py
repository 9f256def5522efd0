"""Linear discriminant analysis of fewer samples than features, from the Gram matrix of the samples.

The covariance within classes is ``W = D^T D + diag(t)``: the rows of D are the n weighted deviations from the class
means, and shrinkage adds t. Inverting a matrix of n × n is enough to invert W (M. Woodbury, "Inverting modified
matrices", 1950). X is read in blocks of columns, and no matrix of n_features × n_features is formed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg

from steepest import kernels as K
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.memory import to_device, to_host
from steepest._symmetric import Cholesky, eigh

from ._columns import ColumnBlock, Gram, averaging_matrix, column_blocks
from ._samples import LabelledSamples
from ._shrinkage import DiagonalShrinkage
from ._solution import Discriminants, class_log_priors, feature_deviations, with_signs

Mask = npt.NDArray[np.bool_]

# Eigenvalues below this fraction of the largest count as rounding errors.
_ROUNDING = 1e-13


@dataclass
class SampleProducts:
    """The Gram matrix of the samples, with the moments of their classes.

    Features are scaled so that ``W = D^T D + I`` with shrinkage; without it, so that ``W = D^T D`` has diagonal 1.

    Attributes
    ----------
    samples : LabelledSamples
        The samples, all with weights above 0.
    means : ndarray of shape (k, d)
        Class means, in the units of the samples.
    deviations : ndarray of shape (d,)
        Standard deviations of the features in W; 0 for features that are left out.
    constant : ndarray of bool of shape (d,)
        Mask of the features that are constant within the classes, whose columns of D are 0.
    units : ndarray of shape (d,)
        Factors that scale features to the units of D; 0 for features that are left out.
    roots : ndarray of shape (n,)
        Factors of the rows of D: each row is a sample's scaled deviation from its class mean times its factor.
    is_shrunk : bool
        Whether W contains the identity.
    gram : ndarray of shape (n, n)
        The Gram matrix ``D D^T``.
    seen : ndarray of shape (n, k)
        ``D M^T`` with the scaled class means M, less the mean of all samples.
    """

    samples: LabelledSamples
    means: Float64Array
    deviations: Float64Array
    constant: Mask
    units: Float64Array
    roots: Float64Array
    is_shrunk: bool
    gram: Float64Array
    seen: Float64Array

    @classmethod
    @np.errstate(over="ignore", invalid="ignore")  # is_finite() reports overflows
    def of(
        cls,
        samples: LabelledSamples,
        shrinkage: float | str,
        divisor: float,
        tol: float,
        dtype: npt.DTypeLike,
    ) -> SampleProducts:
        """Compute the products of samples.

        Parameters
        ----------
        samples : LabelledSamples
            The samples; those with weight 0 are left out.
        shrinkage : float or "auto"
            See `LinearDiscriminantAnalysis`.
        divisor : float
            Divisor of the scatter within classes.
        tol : float
            See `whitening`.
        dtype : dtype
            Dtype of the products; all other arrays are float64.
        """
        if samples.given_weights is not None and not samples.given_weights.all():
            samples = samples.rows(np.flatnonzero(samples.given_weights))
        weights, device = samples.class_weights, samples.device
        means, squares = class_moments(samples)
        if isinstance(shrinkage, str):
            shrunk = DiagonalShrinkage.by_ledoit_wolf(samples, means, squares)
        else:
            shrunk = DiagonalShrinkage.by_number(shrinkage, squares)
        is_shrunk = bool(shrunk.added.any())
        variances = (shrunk.kept @ squares + shrunk.added) / divisor
        deviations, constant = feature_deviations(
            variances,
            squares.sum(axis=0) / weights.sum(),
            means,
            weights / weights.sum(),
            tol,
            samples.X.dtype,
        )
        unit = np.sqrt(shrunk.added / divisor) if is_shrunk else deviations
        unit = np.where(constant, deviations, unit)
        units = np.divide(1.0, unit, out=np.zeros(len(unit)), where=unit > 0)
        roots = np.sqrt(samples.weights * shrunk.kept[samples.ids] / divisor)
        gram, seen = Gram(samples.n_samples, dtype, device), np.zeros((samples.n_samples, len(weights)))
        products = cls(samples, means, deviations, constant, units, roots, is_shrunk, seen, seen)
        for block in column_blocks(samples, means):
            rows = products.rows(block)
            gram.add(rows)
            centred = block.means - weights / weights.sum() @ block.means
            scaled = np.ascontiguousarray((centred * units[block.columns]).T)
            seen += to_host(K.matmul(rows, to_device(scaled, device)))
        products.gram = gram.result()
        return products

    def rows(self, block: ColumnBlock) -> Array:
        """Return the columns of D for a block, on the device; they overwrite the deviations of the block."""
        units = np.where(self.constant, 0.0, self.units)[block.columns]
        rows = block.deviations
        rows *= to_device(self.roots[:, None], self.samples.device)
        rows *= to_device(units, self.samples.device)
        return rows

    def is_finite(self) -> bool:
        """Return whether no sum has overflowed."""
        return all(bool(np.isfinite(a).all()) for a in (self.gram, self.means, self.deviations))


def class_moments(samples: LabelledSamples) -> tuple[Float64Array, Float64Array]:
    """Return the class means, and the sums of squares about them, both of shape (k, d)."""
    means = np.zeros((samples.n_classes, samples.n_features))
    squares = np.zeros_like(means)
    averaging = to_device(averaging_matrix(samples), samples.device)
    for block in column_blocks(samples):
        means[:, block.columns] = block.means
        squares[:, block.columns] = to_host(K.matmul(averaging, block.deviations**2))
    return means, squares * samples.class_weights[:, None]


def solve_by_samples(products: SampleProducts, priors: Float64Array, tol: float) -> Discriminants:
    """Return the discriminant functions and axes as `solve` does, from the Gram matrix.

    Parameters
    ----------
    products : SampleProducts
        Products of the samples.
    priors : ndarray of shape (k,)
        Probabilities of the classes.
    tol : float
        See `whitening`.
    """
    samples, units, constant = products.samples, products.units, products.constant
    centre = priors @ products.means
    centred = (products.means - centre) * units
    seen = products.seen - (products.seen @ priors)[:, None]
    combination, smallest = combinations(products, seen, tol)
    on_device = to_device(np.ascontiguousarray(combination.T), samples.device)
    solved = np.zeros_like(centred)
    for block in column_blocks(samples, products.means):
        solved[:, block.columns] = to_host(K.matmul(on_device, products.rows(block)))
    if products.is_shrunk:
        solved = centred - solved
    solved[:, constant] = centred[:, constant]  # for these features D is 0 and W is the identity
    squares = solved @ centred.T
    coef = solved * units
    axes, ratio = axes_of_products(coef, squares, priors, tol)
    return Discriminants(
        coef,
        class_log_priors(priors) - 0.5 * np.diag(squares),
        centre,
        with_signs(axes, products.deviations),
        ratio,
        smallest,
        smallest,
        constant,
        np.full(len(units), not products.is_shrunk) & ~constant,
    )


def combinations(products: SampleProducts, seen: Float64Array, tol: float) -> tuple[Float64Array, float]:
    """Return the coefficients of D's rows in ``W^-1 m`` for the class means m, and a bound on W's least deviation.

    It is a lower bound, relative to the largest deviation. It is 0 if the Cholesky factor does not exist, because the
    rows of D are linearly dependent, exactly or to rounding errors.

    With shrinkage, ``W = D^T D + I`` and ``W^-1 m = m - D^T (D D^T + I)^-1 D m``. Without it, the pseudoinverse of
    ``W = D^T D`` maps m to ``D^T G^+ G^+ D m``, with the pseudoinverse of ``G = D D^T``.

    Parameters
    ----------
    products : SampleProducts
        Products of the samples.
    seen : ndarray of shape (n, k)
        ``D m`` for the class means m, as columns.
    tol : float
        See `whitening`.
    """
    n, shifted = len(products.gram), products.gram.copy()
    if products.is_shrunk:
        shifted.flat[:: n + 1] += 1.0
    else:
        # The weighted deviations of a class add up to 0, so G is singular in one known direction for each class.
        variance = float(np.trace(shifted)) / n
        for c in np.unique(products.samples.ids):
            own = np.flatnonzero(products.samples.ids == c)
            direction = products.roots[own] / np.linalg.norm(products.roots[own])
            shifted[np.ix_(own, own)] += variance * np.outer(direction, direction)
    factor = Cholesky.of(shifted, products.samples.device)
    if factor is not None:
        if products.is_shrunk:
            smallest = 1.0 / float(np.sqrt(np.abs(shifted).sum(axis=0).max()))
            return factor.solve(seen), smallest
        smallest = float(np.sqrt(factor.reciprocal_condition()))
        if smallest > tol:
            return factor.solve(factor.solve(seen)), smallest
    variances, directions = eigh(products.gram, products.samples.device)
    roots = np.sqrt(np.maximum(variances, 0.0))
    if products.is_shrunk:
        inverses = 1.0 / (1.0 + roots**2)
    else:
        kept = (roots > tol * roots[-1]) & (roots > 0)
        inverses = np.divide(1.0, roots**4, out=np.zeros(n), where=kept)
    return directions * inverses @ (directions.T @ seen), 0.0


def axes_of_products(
    coef: Float64Array, squares: Float64Array, priors: Float64Array, tol: float
) -> tuple[Float64Array, Float64Array]:
    """Return the axes, and their proportions of the variance, from products of the centred class means M.

    The products are ``coef = M W^-1`` and ``squares = M W^-1 M^T``.

    Let the rows of R be those of M times the square roots of the priors. The generalised eigenvectors of ``R^T R`` and
    W are ``W^-1 R^T u``, with the eigenvectors u of the k × k matrix ``R W^-1 R^T``.
    """
    roots = np.sqrt(priors)
    variances, directions = scipy.linalg.eigh(roots[:, None] * squares * roots)
    variances, directions = variances[::-1], directions[:, ::-1]
    kept = variances > max(tol**2, _ROUNDING) * max(variances[0], 0.0)
    kept &= np.arange(len(priors)) < np.count_nonzero(priors) - 1
    kept &= variances > 0
    variances = variances[kept]
    axes = coef.T @ (roots[:, None] * directions[:, kept] / np.sqrt(variances))
    return axes, variances / variances.sum() if kept.any() else variances
