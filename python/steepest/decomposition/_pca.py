"""`PCA`: principal component analysis."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions
from sklearn.utils.validation import check_is_fitted

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.backends import is_cupy
from steepest._runtime.memory import to_device, to_host
from steepest.estimators.data import in_library_of
from steepest.estimators.device import resolve_device
from steepest.estimators.row_blocks import centred_product, is_mostly_zero
from steepest.estimators.validation import validate, validate_transformed

from ._factors import (
    Factors,
    by_covariance,
    by_svd,
    is_clear_of_rounding,
    minka_dimension,
    of_samples,
    working_copy,
)
from ._probabilistic import ProbabilisticModel
from ._sparse import by_sparse_products

# Number of samples per feature from which svd_solver="auto" uses the covariance.
_TALL = 10


class PCA(ProbabilisticModel, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Principal component analysis: the orthogonal directions of the largest variance.

    Parameters, defaults and attributes are those of ``sklearn.decomposition.PCA``, and `device`. There are three
    differences. All solvers are exact. The covariance is summed in float64 from centred data, so that large means cost
    no accuracy, even in float32. Whitening does not change `get_covariance`, `get_precision` and the scores, which
    describe the probabilistic model of X.

    Parameters
    ----------
    n_components : int, float, "mle" or None, default=None
        Number of components. A float in (0, 1) takes as many as explain more than this fraction of the variance.
        ``"mle"`` takes Minka's estimate of the dimension, and None all min(n_samples, n_features) components.
    copy : bool, default=True
        Whether `fit` copies X; with False it may overwrite X.
    whiten : bool, default=False
        Whether `transform` divides each component by its standard deviation, so that the samples have variance 1.
        Components whose variance is within rounding error of 0 become 0, and `fit` warns of them.
    svd_solver : {"auto", "full", "covariance_eigh", "arpack", "randomized"}, default="auto"
        ``"full"`` takes the singular value decomposition of the centred X. ``"covariance_eigh"`` takes the eigenvectors
        of the covariance, which is much faster with many more samples than features. Its variances have the precision
        of float64 products, relative to the largest variance; float32 products are used where they suffice. ``"auto"``
        takes ``"covariance_eigh"`` from 10 samples per feature on, and ``"full"`` otherwise, as do ``"arpack"`` and
        ``"randomized"``.

        Sparse products on the CPU decompose a sparse X with at most a tenth of its items stored. Lanczos' method finds
        few of many components; otherwise they follow from the smaller of X X^T and X^T X. A sparse X with more stored
        items is converted to dense blocks of rows, or as a whole if it has fewer rows than columns.
    tol, iterated_power, n_oversamples, power_iteration_normalizer, random_state : object
        Accepted for compatibility and not used: parameters of scikit-learn's approximate solvers.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Device of the computation; ``"auto"`` is CUDA for a CuPy X, and the CPU for any other.

    Attributes
    ----------
    components_ : ndarray of shape (n_components_, n_features_in_)
        Principal axes as orthonormal rows, with the largest variance first; the largest item of each is positive.
    explained_variance_, explained_variance_ratio_ : ndarray of shape (n_components_,)
        Variances of the components, with n_samples - 1 degrees of freedom, and their proportions of the variance of X.
    singular_values_ : ndarray of shape (n_components_,)
        Singular values of the centred X.
    mean_ : ndarray of shape (n_features_in_,)
        Means of the features.
    n_components_, n_samples_, n_features_in_ : int
        Numbers of components, samples and features.
    noise_variance_ : float
        Mean of the variances of the components that are left out.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if X had names.
    device_ : str
        Device of the last fit.

    References
    ----------
    M. Tipping, C. Bishop, "Mixtures of probabilistic principal component analysers", Neural Computation 11, 1999.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest.decomposition import PCA
    >>> X = np.array([[-1.0, -1.0], [-2.0, -1.0], [-3.0, -2.0], [1.0, 1.0], [2.0, 1.0], [3.0, 2.0]])
    >>> PCA(n_components=2).fit(X).explained_variance_ratio_.round(4)
    array([0.9924, 0.0076])
    """

    _fit_svd_solver: str  # the solver that `fit` used

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [
            Interval(Integral, 0, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="neither"),
            StrOptions({"mle"}),
            None,
        ],
        "copy": ["boolean"],
        "whiten": ["boolean"],
        "svd_solver": [StrOptions({"auto", "full", "covariance_eigh", "arpack", "randomized"})],
        "tol": [Interval(Real, 0, None, closed="left")],
        "iterated_power": [StrOptions({"auto"}), Interval(Integral, 0, None, closed="left")],
        "n_oversamples": [Interval(Integral, 1, None, closed="left")],
        "power_iteration_normalizer": [StrOptions({"auto", "QR", "LU", "none"})],
        "random_state": ["random_state"],
        "device": [StrOptions({"auto", "cpu", "cuda"})],
    }

    def __init__(
        self,
        n_components: int | float | str | None = None,
        *,
        copy: bool = True,
        whiten: bool = False,
        svd_solver: str = "auto",
        tol: float = 0.0,
        iterated_power: int | str = "auto",
        n_oversamples: int = 10,
        power_iteration_normalizer: str = "auto",
        random_state: Any = None,
        device: str = "auto",
    ) -> None:
        self.n_components = n_components
        self.copy = copy
        self.whiten = whiten
        self.svd_solver = svd_solver
        self.tol = tol
        self.iterated_power = iterated_power
        self.n_oversamples = n_oversamples
        self.power_iteration_normalizer = power_iteration_normalizer
        self.random_state = random_state
        self.device = device

    def fit(self, X: Any, y: Any = None) -> PCA:
        """Fit the principal components.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Samples, at least two; float32 stays float32, everything else becomes float64.
        y : None
            Ignored.

        Returns
        -------
        PCA
            The fitted estimator.

        Raises
        ------
        ValueError
            If X or a parameter is not as described; the message names the first bad item of X.
        """
        self._fit(X)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Array:
        """Fit the principal components, and return X in their coordinates.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Samples.
        y : None
            Ignored.

        Returns
        -------
        ndarray of shape (n_samples, n_components_)
            The transformed samples, as `transform` returns them.
        """
        copy, self.copy = self.copy, True  # the transform needs X again
        try:
            return self._transform(self._fit(X))
        finally:
            self.copy = copy

    def transform(self, X: Any) -> Array:
        """Return X in the coordinates of the components.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples, n_components_)
            ``(X - mean_) @ components_.T``, divided by the standard deviations if `whiten`, in the array library of X.
        """
        check_is_fitted(self)
        return in_library_of(X, self._transform(validate(self, X, reset=False, accept_sparse=True)))

    def inverse_transform(self, X: Any) -> Array:
        """Map coordinates along the components back to the features.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components_)
            Coordinates, as `transform` returns them.

        Returns
        -------
        ndarray of shape (n_samples, n_features_in_)
            ``X @ components_ + mean_``, after undoing the whitening, in the array library of X.
        """
        check_is_fitted(self)
        given, X = X, validate_transformed(self, X, self.n_components_)
        device = resolve_device(self.device, type(self).__name__, X)
        axes = to_host(self.components_) * (self._deviations()[:, None] if self.whiten else 1)
        axes, mean = (working_copy(a, X.dtype, device) for a in (axes, self.mean_))
        return in_library_of(given, K.linear(to_device(X, device), axes, mean))

    # ------------------------------------------------------------------------------------------------ internals

    def _fit(self, given: Any) -> Any:
        """Fit, and return the validated samples."""
        self._validate_params()
        name = type(self).__name__
        device = resolve_device(self.device, name, given)
        if scipy.sparse.issparse(given) and self.svd_solver == "full":
            raise TypeError(
                'PCA only support sparse inputs with the "arpack" and "covariance_eigh" solvers, while "full" was '
                "passed. Make X dense, or use another solver"
            )
        X: Any = validate(self, given, reset=True, accept_sparse=True)
        n_samples = X.shape[0]
        if n_samples < 2:
            raise ValueError(f"[{name}] Found array with 1 sample: a variance needs at least 2")
        wanted = self._check_n_components(X)
        self.device_, self.n_samples_ = device, n_samples
        factors = self._decompose(X, device, wanted)
        with np.errstate(over="ignore"):
            if factors is None or not np.isfinite(factors.variances.astype(X.dtype)).all():
                raise ValueError(
                    f"[{name}] squares of X overflow: scale it, with StandardScaler for instance"
                )
        self._keep(factors, wanted, given, X.dtype)
        return X

    def _decompose(self, X: Any, device: str, wanted: Any) -> Factors | None:
        """Return the principal axes, in a precision that resolves the wanted ones, or None if squares overflow."""
        n_axes = wanted if isinstance(wanted, int) else None
        if is_mostly_zero(X):
            return by_sparse_products(X, n_axes)
        if self._fit_svd_solver == "full":
            return self._by_svd(X, device)
        # Sums of float32 products may overflow, and lose small variances in rounding errors.
        for dtype in dict.fromkeys((X.dtype, np.dtype(np.float64))):
            factors = by_covariance(X, device, n_axes, dtype)
            if factors is not None:
                used = factors.variances[: self._count(factors, wanted)]
                if is_clear_of_rounding(used, dtype):
                    return factors
        # Whitening must not divide by rounding errors. Variances too small for float64 products are noise in float32.
        may_choose = self.svd_solver != "covariance_eigh" and not scipy.sparse.issparse(X)
        if factors is not None and self.whiten and may_choose and X.dtype == np.float64:
            self._fit_svd_solver = "full"
            return self._by_svd(X, device)
        return factors

    def _by_svd(self, X: Any, device: str) -> Factors | None:
        moved = to_device(X.toarray() if scipy.sparse.issparse(X) else X, device)
        overwrite = not self.copy and (is_cupy(moved) or moved.flags.writeable)
        return by_svd(moved, overwrite)

    def _check_n_components(self, X: Any) -> Any:
        """Choose the solver, and return the number of components, or `n_components` if that is not a number of them."""
        n_samples, n_features = X.shape
        self._fit_svd_solver = self.svd_solver
        if self.svd_solver not in ("full", "covariance_eigh"):
            tall = n_features if scipy.sparse.issparse(X) else _TALL * n_features
            by_covariance = n_samples >= tall
            self._fit_svd_solver = "covariance_eigh" if by_covariance else "full"
        wanted: Any = self.n_components
        most = min(n_samples, n_features)
        if wanted is None:
            return most
        if wanted == "mle" and n_samples < n_features:
            raise ValueError("[PCA] n_components='mle' is only supported if n_samples >= n_features")
        if not isinstance(wanted, Integral):
            return wanted
        wanted = int(wanted)
        if not 0 <= wanted <= most:
            raise ValueError(
                f"[PCA] n_components={wanted} must be between 0 and min(n_samples, n_features)={most} with "
                f"svd_solver={self._fit_svd_solver!r}"
            )
        return wanted

    def _count(self, factors: Factors, wanted: Any) -> int:
        """Return the number of components to keep."""
        if wanted == "mle":
            return minka_dimension(factors.variances, self.n_samples_)
        if isinstance(wanted, int):
            return wanted
        # Cumulative explained_variance_ratio_: n_components equal to one of these sums takes one component more.
        shares = (factors.variances / (factors.total or 1.0)).cumsum()
        return min(int(np.searchsorted(shares, wanted, side="right")) + 1, len(shares))

    def _keep(self, factors: Factors, wanted: Any, X: Any, dtype: np.dtype[Any]) -> None:
        """Set the fitted attributes, in the array library of X."""
        variances, total, k = factors.variances, factors.total, self._count(factors, wanted)
        ratios = variances / total if total > 0 else np.zeros_like(variances)
        left_out = min(self.n_samples_, self.n_features_in_) - k
        # Sum the left-out variances if they were computed, since the difference of the totals would lose small ones.
        rest = (
            float(variances[k:].sum())
            if len(variances) > k + left_out - 1
            else total - float(variances[:k].sum())
        )
        self.noise_variance_ = max(rest, 0.0) / left_out if left_out else 0.0
        self.n_components_ = k
        attributes = {
            "mean_": factors.mean,
            "components_": factors.axes[:k],
            "explained_variance_": variances[:k],
            "explained_variance_ratio_": ratios[:k],
            "singular_values_": np.sqrt(variances[:k] * (self.n_samples_ - 1)),
        }
        for name, value in attributes.items():
            setattr(self, name, in_library_of(X, np.ascontiguousarray(value, dtype=dtype)))
        self._resolution = max(factors.resolution, of_samples(dtype))
        if self.whiten and (empty := int((self._deviations() == 0).sum())):
            warnings.warn(
                f"[{type(self).__name__}] {empty} of {k} components have no variance beyond rounding errors: whitening "
                "sets them to 0. Fit with a smaller n_components",
                UserWarning,
                stacklevel=4,
            )

    def _transform(self, X: Any) -> Array:
        """Return validated samples in the coordinates of the components, in the array library of X."""
        device = resolve_device(self.device, type(self).__name__, X)
        axes = to_host(self.components_)
        if self.whiten:
            deviations = self._deviations()[:, None]
            axes = np.divide(axes, deviations, out=np.zeros(axes.shape), where=deviations > 0)
        axes, mean = (working_copy(a, X.dtype, device) for a in (axes, self.mean_))
        return in_library_of(X, centred_product(X, mean, axes.T, None, device))

    def _deviations(self) -> Array:
        """Return the standard deviations of the components, with those within rounding error of 0 set to 0."""
        singular = to_host(self.singular_values_).astype(np.float64)
        least = self._resolution * singular.max(initial=0.0)
        deviations: Array = np.where(singular > least, singular, 0.0) / np.sqrt(self.n_samples_ - 1)
        return deviations

    @property
    def _n_features_out(self) -> int:
        return int(self.n_components_)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.sparse = self.svd_solver != "full"
        return tags

    def __getstate__(self) -> dict[str, Any]:
        # Arrays are pickled as NumPy arrays, so that the model can be loaded on a machine without CuPy.
        return {name: to_host(value) for name, value in super().__getstate__().items()}
