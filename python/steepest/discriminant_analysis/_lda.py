"""`LinearDiscriminantAnalysis`: the estimator."""

from __future__ import annotations

import warnings
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.backends import is_cupy
from steepest._runtime.memory import to_device, to_host
from steepest.estimators.data import in_library_of
from steepest.estimators.labels import number_labels
from steepest.estimators.linear_model import DEVICE
from steepest.estimators.row_blocks import centred_product
from steepest.estimators.validation import validate, validate_labels, validate_weights

from ._fitting import Fit, FitOptions, fit_to_samples
from ._samples import LabelledSamples
from ._shrinkage_choice import choose_shrinkage
from ._streamed import StreamedDiscriminantAnalysis


class LinearDiscriminantAnalysis(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, StreamedDiscriminantAnalysis
):
    """Linear discriminant analysis: normal distributions of the classes with a common covariance.

    Parameters, defaults and attributes are those of ``sklearn.discriminant_analysis.LinearDiscriminantAnalysis``, and
    `device`. It adds sample weights, `partial_fit`, `fit_chunks`, `merge`, sparse inputs, and shrinkage with every
    solver. All solvers give the same result, for any `priors`, since the covariance within classes is the mean over the
    samples. The statistics are summed in float64 from centred samples, so that large means cost no accuracy beyond the
    rounding of float32 samples. Memory holds a few matrices of n_features × n_features, or of n_samples × n_samples
    with fewer samples than features.

    Parameters
    ----------
    solver : {"svd", "lsqr", "eigen"}, default="svd"
        ``"lsqr"`` has no `transform`. All solvers use the same factors of the covariance within classes.
    shrinkage : "auto", "cv", float in [0, 1] or None, default=None
        Shrinkage s of the covariance W within classes, which becomes ``(1 - s) W + s tr(W) / d I``. ``"auto"``
        estimates s for each class by the Ledoit-Wolf formula, on standardised features. ``"cv"`` takes the s with the
        smallest log loss in leave-one-out cross-validation, see `shrinkage_path`. None takes no shrinkage.
    priors : array-like of shape (n_classes,), default=None
        Probabilities of the classes; None for their proportions among the samples.
    n_components : int, default=None
        Number of columns of `transform`, at most min(n_classes - 1, n_features), which is the default.
    store_covariance : bool, default=False
        Whether to store `covariance_` with ``solver="svd"`` too, and in fits to fewer samples than features.
    tol : float, default=1e-6
        Relative tolerance of the rank. Directions of the standardised features, and of the class means, count as empty
        if their deviation is at most `tol` times the largest. scikit-learn's default is 1e-4, which discards nearly
        collinear features that separate the classes.
    covariance_estimator : estimator, default=None
        Estimator of the covariance of each class: its ``fit(X)`` sets ``covariance_``.
    unbiased : bool, default=False
        Whether to divide the scatter within classes by n_samples - n_classes, which gives an unbiased covariance,
        instead of n_samples. With weights, their sum replaces n_samples. scikit-learn's default solver did so until
        release 1.8. Not used with a covariance estimator.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Device of the computation; ``"auto"`` is CUDA for a CuPy X, and the CPU for any other.

    Attributes
    ----------
    coef_ : ndarray of shape (1, n_features_in_) or (n_classes, n_features_in_)
        Coefficients of the discriminant functions; for two classes, of their difference.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts of the discriminant functions; for two classes, of their difference.
    covariance_ : ndarray of shape (n_features_in_, n_features_in_)
        Covariance within classes: sums of squares about the class means divided by the sum of the weights (the
        maximum-likelihood estimate), after shrinkage. Not set if it was not computed, see `store_covariance`.
    explained_variance_ratio_ : ndarray of shape (n_components,)
        Proportions of the variance of the class means along the axes. Not set by ``"lsqr"``.
    means_ : ndarray of shape (n_classes, n_features_in_)
        Class means.
    priors_ : ndarray of shape (n_classes,)
        Probabilities of the classes.
    scalings_ : ndarray of shape (n_features_in_, n_axes)
        Discriminant axes, scaled to unit variance within classes. Not set by ``"lsqr"``.
    xbar_ : ndarray of shape (n_features_in_,)
        Mean of the class means, weighted by the priors.
    shrinkage_ : float
        The chosen shrinkage; only with ``shrinkage="cv"``.
    cv_results_ : dict of ndarray
        ``"shrinkage"``, ``"log_loss"`` and ``"accuracy"`` of each shrinkage tried, in leave-one-out
        cross-validation; only with ``shrinkage="cv"``.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if X had names.
    device_ : str
        Device of the last fit.

    References
    ----------
    T. Hastie, R. Tibshirani, J. Friedman, "The elements of statistical learning", 2nd edition, §4.3, 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest.discriminant_analysis import LinearDiscriminantAnalysis
    >>> X = np.array([[-1.0, -1.0], [-2.0, -1.0], [-3.0, -2.0], [1.0, 1.0], [2.0, 1.0], [3.0, 2.0]])
    >>> y = np.array([1, 1, 1, 2, 2, 2])
    >>> LinearDiscriminantAnalysis().fit(X, y).predict([[-0.8, -1.0]])
    array([1])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "solver": [StrOptions({"svd", "lsqr", "eigen"})],
        "shrinkage": [StrOptions({"auto", "cv"}), Interval(Real, 0, 1, closed="both"), None],
        "priors": ["array-like", None],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "store_covariance": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "covariance_estimator": [HasMethods("fit"), None],
        "unbiased": ["boolean"],
        **DEVICE,
    }

    def __init__(
        self,
        solver: str = "svd",
        shrinkage: str | float | None = None,
        priors: Any = None,
        n_components: int | None = None,
        store_covariance: bool = False,
        tol: float = 1e-6,
        covariance_estimator: Any = None,
        unbiased: bool = False,
        device: str = "auto",
    ) -> None:
        self.solver = solver
        self.shrinkage = shrinkage
        self.priors = priors
        self.n_components = n_components
        self.store_covariance = store_covariance
        self.tol = tol
        self.covariance_estimator = covariance_estimator
        self.unbiased = unbiased
        self.device = device

    # ---------------------------------------------------------------------------------------------------- fitting

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> LinearDiscriminantAnalysis:
        """Fit the discriminant functions and axes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Samples; float32 stays float32, everything else becomes float64. A sparse X is read in dense blocks.
        y : array-like of shape (n_samples,)
            Class labels, numbers or strings, with at least two classes and fewer classes than samples.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples; a weight of 2 has the effect of repeating the sample.

        Returns
        -------
        LinearDiscriminantAnalysis
            The fitted estimator.

        Raises
        ------
        ValueError
            If X, y, a weight or a parameter is not as described; the message names the first bad item of X.

        Warns
        -----
        UserWarning
            If features are constant or collinear, with their names, or if the priors do not sum to 1.
        """
        samples, classes, priors = self._validate_samples(X, y, sample_weight)
        options = self._options(samples.device)
        chosen: dict[str, Any] = {}
        if self.shrinkage == "cv":
            given = None if self.priors is None else priors
            share, results = choose_shrinkage(samples, given, options)
            options, chosen = replace(options, shrinkage=share), {"shrinkage_": share, "cv_results_": results}
        self._keep(fit_to_samples(samples, priors, options), samples.X.dtype, like=X)
        for name in ("shrinkage_", "cv_results_"):
            if name in chosen:
                setattr(self, name, chosen[name])
            elif hasattr(self, name):
                delattr(self, name)
        self._store_classes(classes, y)
        self.device_ = samples.device
        return self

    def transform(self, X: Any) -> Array:
        """Return X in the coordinates of the discriminant axes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            ``(X - xbar_) @ scalings_[:, :n_components]``, in the array library of X.

        Raises
        ------
        NotImplementedError
            If the solver is ``"lsqr"``.
        """
        if self.solver == "lsqr":
            raise NotImplementedError(
                self._prefix("transform not implemented for 'lsqr' solver (use 'svd' or 'eigen').")
            )
        check_is_fitted(self)
        return in_library_of(X, self._product(X, self.scalings_[:, : self._max_components], None))

    # -------------------------------------------------------------------------------------------------- internals

    def _linear_output(self, X: Any) -> Array:
        check_is_fitted(self)
        return self._product(X, self.coef_.T, self._centred_intercept)

    def _product(self, X: Any, w: Array, b: Array | None) -> Array:
        """Validate X, and return ``(X - xbar_) @ w + b`` on the device of the computation."""
        device = self._resolve_device(X) if is_cupy(X) else getattr(self, "device_", "cpu")
        X = validate(self, X, reset=False, accept_sparse=True)
        centre, w = (to_device(to_host(a).astype(X.dtype), device) for a in (self._centre, w))
        bias = None if b is None else to_device(b.astype(X.dtype), device)
        return centred_product(X, centre, w, bias, device)

    def _check_parameters(self) -> None:
        self._validate_params()
        if self.covariance_estimator is not None and self.shrinkage not in (None, 0):
            raise ValueError(
                self._prefix(
                    "covariance_estimator and shrinkage parameters are not None. Only one of the two can be set."
                )
            )

    def _validate_samples(
        self, X: Any, y: Any, sample_weight: Any
    ) -> tuple[LabelledSamples, Array, Float64Array]:
        """Return the samples, the labels of their classes, and the priors."""
        self._check_parameters()
        given = X
        X, y = validate(self, X, y, reset=True, accept_sparse=True)
        if X.shape[0] < 2:
            raise ValueError(self._prefix("Found array with 1 sample: a deviation needs at least 2"))
        validate_labels(self, y)
        classes, ids = number_labels(y)
        sample_weight = validate_weights(self, sample_weight, X)
        if len(classes) < 2:
            raise ValueError(self._prefix(f"y has {len(classes)} class; at least 2 classes are needed"))
        if len(y) == len(classes):
            raise ValueError(self._prefix("The number of samples must be more than the number of classes."))
        self._check_n_components(len(classes), X.shape[1])
        priors = self._check_priors(np.bincount(ids, sample_weight).astype(np.float64))
        return (
            LabelledSamples(X, ids, len(classes), sample_weight, self._resolve_device(given)),
            classes,
            priors,
        )

    def _check_priors(self, weights: Float64Array) -> Float64Array:
        if self.priors is None:
            shares: Float64Array = weights / weights.sum()
            return shares
        priors = np.asarray(self.priors, np.float64)
        if priors.shape != weights.shape:
            raise ValueError(
                self._prefix(f"priors has shape {priors.shape}, but there are {len(weights)} classes")
            )
        if not (priors >= 0).all():
            raise ValueError(self._prefix("priors must be non-negative"))
        if not 0 < priors.sum() < np.inf:
            raise ValueError(self._prefix("priors must be finite numbers, not all of them 0"))
        if abs(priors.sum() - 1.0) > 1e-5:
            warnings.warn("The priors do not sum to 1. Renormalizing", UserWarning, stacklevel=4)
            priors = priors / priors.sum()
        return priors

    def _check_n_components(self, n_classes: int, n_features: int) -> int:
        """Return the number of columns of `transform`."""
        most = min(n_classes - 1, n_features)
        if self.n_components is not None and self.n_components > most:
            raise ValueError(
                self._prefix("n_components cannot be larger than min(n_features, n_classes - 1).")
            )
        return most if self.n_components is None else int(self.n_components)

    def _options(self, device: str) -> FitOptions:
        return FitOptions(
            type(self).__name__,
            self.shrinkage or 0.0,
            self.covariance_estimator,
            self.store_covariance,
            self.unbiased,
            self.tol,
            device,
        )

    def _keep(self, fitted: Fit, dtype: np.dtype[Any], like: Any) -> None:
        """Set the fitted attributes, in the array library of X, and warn of constant and collinear features."""
        found = fitted.found
        self._max_components = self._check_n_components(*fitted.means.shape)
        self._statistics = (fitted.weights, fitted.means, fitted.scatter)
        # A feature may be constant only because it was rounded to float32.
        precision = ", to the precision of float32" if dtype == np.float32 else ""
        self._warn_of(f"constant within the classes{precision}", found.constant)
        if fitted.scatter is None and found.collinear.any():
            warnings.warn(
                self._prefix(
                    "There are fewer samples than features, which are therefore collinear: the pseudoinverse of their "
                    "covariance is used. Set shrinkage to make the covariance invertible"
                ),
                UserWarning,
                stacklevel=3,
            )
        else:
            self._warn_of("collinear with others", found.collinear)
        coef, intercept = found.coef, found.intercept
        if len(coef) == 2:
            coef, intercept = coef[1:] - coef[:1], intercept[1:] - intercept[:1]
        # The centre is rounded to the samples' dtype before it is subtracted; the intercepts account for that.
        centre = found.centre.astype(dtype)
        moved = intercept + (centre.astype(np.float64) - found.centre) @ coef.T
        self._centre, self._centred_intercept = centre, moved
        attributes = {
            "means_": fitted.means,
            "priors_": fitted.priors,
            "xbar_": found.centre,
            "coef_": coef,
            "intercept_": moved - centre.astype(np.float64) @ coef.T,
        }
        if self.solver != "lsqr":
            attributes["scalings_"] = found.axes
            attributes["explained_variance_ratio_"] = found.ratio[: self._max_components]
        if fitted.covariance is not None and (self.solver != "svd" or self.store_covariance):
            attributes["covariance_"] = fitted.covariance
        for name in ("scalings_", "explained_variance_ratio_", "covariance_"):
            if name not in attributes and hasattr(self, name):
                delattr(self, name)
        for name, value in attributes.items():
            setattr(self, name, in_library_of(like, np.ascontiguousarray(value, dtype=dtype)))

    def _warn_of(self, what: str, features: npt.NDArray[np.bool_]) -> None:
        if not features.any():
            return
        named = getattr(self, "feature_names_in_", np.arange(len(features)))[features]
        names = ", ".join(repr(name) if isinstance(name, str) else str(name) for name in named[:10])
        more = f" and {len(named) - 10} more" if len(named) > 10 else ""
        plural = "Features" if len(named) > 1 else "Feature"
        verb = "are" if len(named) > 1 else "is"
        warnings.warn(self._prefix(f"{plural} {names}{more} {verb} {what}"), UserWarning, stacklevel=4)

    @property
    def _n_features_out(self) -> int:
        return int(self._max_components)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
