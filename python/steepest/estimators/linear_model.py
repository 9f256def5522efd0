"""Base class of the linear models: validation, linear function, pickling."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from steepest import kernels as K
from steepest._runtime.arrays import Array
from steepest._runtime.backends import is_cupy
from steepest._runtime.memory import to_device, to_host
from steepest.estimators.data import in_library_of
from steepest.estimators.device import resolve_device
from steepest.estimators.validation import validate

DEVICE: dict[str, list[Any]] = {"device": [StrOptions({"auto", "cpu", "cuda"})]}


class LinearModel(BaseEstimator):
    """Base class of the linear models: ``X @ coef_.T + intercept_`` on the device of X or of the estimator."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]]
    device: str
    device_: str
    coef_: Any
    intercept_: Any

    def _prefix(self, text: object) -> str:
        return f"[{type(self).__name__}] {text}"

    def _resolve_device(self, X: Any) -> str:
        """Return the device on which to fit to X; a sparse X is supported on the CPU only."""
        if scipy.sparse.issparse(X) and self.device == "cuda":
            raise ValueError(self._prefix("device='cuda' does not support a sparse X: use device='auto'"))
        return resolve_device(self.device, type(self).__name__, X)

    def _linear_output(self, X: Any) -> Array:
        """Validate X and return ``X @ coef_.T + intercept_``, of shape (n_samples, n_outputs), on the device used."""
        check_is_fitted(self)
        # An unpickled model, or one whose coefficients the user has set, is on the CPU unless X is a CuPy array.
        device = self._resolve_device(X) if is_cupy(X) else getattr(self, "device_", "cpu")
        X = validate(self, X, reset=False, accept_sparse=True)
        if scipy.sparse.issparse(X):
            coef = self.coef_ if scipy.sparse.issparse(self.coef_) else np.atleast_2d(to_host(self.coef_))
            output = X @ coef.T
            output = output.toarray() if scipy.sparse.issparse(output) else np.asarray(output)
            result: Array = output + np.atleast_1d(to_host(self.intercept_)).astype(output.dtype, copy=False)
            return result
        coef = self.coef_.toarray() if scipy.sparse.issparse(self.coef_) else self.coef_
        coef = coef.reshape(-1, coef.shape[-1])
        bias = np.zeros(len(coef), coef.dtype)
        bias[...] = to_host(self.intercept_)
        coef, bias, X = (to_device(array, device) for array in (coef, bias, X))
        return K.linear(X.astype(coef.dtype, copy=False), coef.T, bias)

    def _outputs(self, X: Any) -> Array:
        """Return `_linear_output` in the library of X; it has one dimension if `coef_` has one."""
        output = in_library_of(X, self._linear_output(X))
        return output[:, 0] if self.coef_.ndim == 1 else output

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        # Pickles hold NumPy arrays, so that a model fitted to CuPy arrays loads on a machine without CuPy.
        state = {name: to_host(value) for name, value in super().__getstate__().items()}
        return {**state, "device_": "cpu"} if "device_" in state else state
