"""What all linear models share: checking of data, the linear function itself, pickling."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import scipy.sparse
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from steepest import kernels as K
from steepest._backends import is_cupy
from steepest._estimators.data import in_library_of
from steepest._estimators.device import resolve_device
from steepest._estimators.validation import validate
from steepest._memory import array_namespace, to_device, to_host

Array = npt.NDArray[Any]

DEVICE: dict[str, list[Any]] = {"device": [StrOptions({"auto", "cpu", "cuda"})]}


class LinearModel(BaseEstimator):
    """Base of the linear models: ``X @ coef_.T + intercept_`` on the device of X or of the estimator."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]]
    device: str
    coef_: Any
    intercept_: Any

    def _prefix(self, text: object) -> str:
        return f"[{type(self).__name__}] {text}"

    def _resolve_device(self, X: Any) -> str:
        """Return where to compute with X; sparse matrices are read on the host, in blocks."""
        return resolve_device(self.device, type(self).__name__, X)

    def _linear_output(self, X: Any) -> Array:
        """Validate X and return ``X @ coef_.T + intercept_`` of shape (n_samples, n_outputs), where it was computed."""
        check_is_fitted(self)
        device = self._resolve_device(X)
        X = validate(self, X, reset=False, accept_sparse=True)
        if scipy.sparse.issparse(X):
            coef = self.coef_ if scipy.sparse.issparse(self.coef_) else np.atleast_2d(to_host(self.coef_))
            output = X @ coef.T
            output = output.toarray() if scipy.sparse.issparse(output) else np.asarray(output)
            result: Array = output + np.atleast_1d(to_host(self.intercept_)).astype(output.dtype, copy=False)
            return result
        coef = self.coef_.toarray() if scipy.sparse.issparse(self.coef_) else self.coef_
        xp = array_namespace(coef)
        coef = xp.atleast_2d(coef)
        intercept = xp.asarray(self.intercept_, dtype=coef.dtype)
        bias = xp.ascontiguousarray(xp.broadcast_to(intercept.reshape(-1), coef.shape[:1]))
        coef, bias, X = (to_device(array, device) for array in (coef, bias, X))
        return K.linear(X.astype(coef.dtype, copy=False), coef.T, bias)

    def _outputs(self, X: Any) -> Array:
        """Return `_linear_output` in the library of X, of one dimension where `coef_` has one."""
        output = in_library_of(X, self._linear_output(X))
        return output[:, 0] if self.coef_.ndim == 1 else output

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        # A model that was fitted to CuPy arrays is of use on a machine without CuPy.
        return {
            name: to_host(value) if is_cupy(value) else value
            for name, value in super().__getstate__().items()
        }
