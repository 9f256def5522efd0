"""Targets of a classifier: validation of labels, encoding for the loss, and class weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import type_of_target

from steepest._runtime.arrays import Array
from steepest._runtime.memory import array_namespace, to_device
from steepest.estimators.class_weights import class_weights
from steepest.estimators.labels import number_labels
from steepest.estimators.validation import float_dtype, labels_of_stream, validate_labels
from steepest.nn.losses import Loss
from steepest.training.sparse_rows import is_sparse

from ._base import BaseMultilayerPerceptron
from ._labels import LOSSES, Task, class_ids, encode, hits, loss_of, out_activation


def _task_of(classes: Array) -> Task:
    return "binary" if len(classes) == 2 else "multiclass"


class ClassTargets(BaseMultilayerPerceptron):
    """A multilayer perceptron whose targets are classes or labels; see `MLPClassifier`."""

    loss: str
    class_weight: Mapping[Any, float] | list[Mapping[int, float]] | str | None
    _classes: Array  # classes_ as a NumPy array
    _task: Task
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMultilayerPerceptron._parameter_constraints,
        "loss": [StrOptions(set(LOSSES))],
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }
    _validation_options: ClassVar[dict[str, Any]] = {"multi_output": True}
    _accepts_sparse: ClassVar[bool] = True

    @property
    def classes_(self) -> Array:
        """Class labels, sorted: a CuPy array if the model is on CUDA and y was a CuPy array, else a NumPy array."""
        if "_classes" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no classes_ before it is fitted")
        return to_device(self._classes, "cuda") if self._has_cupy_labels() else self._classes

    def _has_cupy_labels(self) -> bool:
        state = self.__dict__
        return bool(state.get("_cupy_labels", False)) and state.get("device_") == "cuda"

    def _validate_targets(self, y: Any, X: Array, first_pass: bool, incremental: bool) -> Array:
        if is_sparse(y):
            y = y.toarray()
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        multilabel = type_of_target(y, input_name="y").startswith("multilabel")
        if multilabel:
            # scikit-learn counts a 2-D y with any two whole numbers as multilabel. Here -1, a margin target, means 0.
            if not np.isin(y, (-1, 0, 1)).all():
                raise ValueError(
                    self._prefix(f"y of shape {y.shape} must be 0 or 1 for each label, but has other values")
                )
            ids, classes = y.astype(np.int64), np.arange(y.shape[1])
        else:
            validate_labels(self, y)
            if y.ndim == 2:
                raise ValueError(
                    self._prefix(f"y of shape {y.shape} must be 0 or 1 for each label, but has other values")
                )
            classes, ids = number_labels(y)
        # partial_fit sets _classes before its first pass.
        if first_pass and not incremental:
            self._classes = classes
        if first_pass:
            self._task = "multilabel" if multilabel else _task_of(self._classes)
        self._check_classes(classes, multilabel, not (first_pass or incremental))
        if not multilabel:
            ids = np.searchsorted(self._classes, classes)[ids]
        return encode(ids, len(self._classes), self._task, self.loss, float_dtype(X))

    def _check_classes(self, classes: Array, multilabel: bool, warm_start: bool) -> None:
        """Raise ValueError if the kind of targets or their classes differ from those of the model."""
        if multilabel != (self._task == "multilabel") or (multilabel and len(classes) != len(self._classes)):
            raise ValueError(
                self._prefix(
                    f"`y` must be {self._task} with {len(self._classes)} "
                    f"{'labels' if self._task == 'multilabel' else 'classes'}, as in the first call"
                )
            )
        if warm_start and not np.array_equal(classes, self._classes):
            raise ValueError(
                self._prefix(
                    "warm_start can only be used where `y` has the same classes as in the previous call "
                    f"to fit. Previously got {self._classes}, `y` has {classes}"
                )
            )
        unseen = np.setdiff1d(classes, self._classes)
        if unseen.size:
            raise ValueError(
                self._prefix(
                    f"`y` has classes not in `self.classes_`: {unseen} are not among {self._classes}"
                )
            )

    def _weigh(self, y: Array, sample_weight: Array | None, dtype: Any) -> Array | None:
        if self.class_weight is None:
            return sample_weight
        name = type(self).__name__
        columns = class_ids(y, self._task)
        multilabel = self._task == "multilabel"
        given: Any = self.class_weight
        if isinstance(given, list) != (multilabel and not isinstance(given, str)) or (
            isinstance(given, list) and len(given) != len(columns)
        ):
            raise ValueError(
                f"[{name}] class_weight must be a mapping from labels to weights or 'balanced'; "
                "for several labels, a list of one mapping of 0 and 1 for each, or 'balanced'"
            )
        each = given if isinstance(given, list) else [given] * len(columns)
        classes = np.arange(2) if multilabel else self._classes
        weights = np.ones(len(y)) if sample_weight is None else sample_weight.astype(np.float64)
        factors = [
            class_weights(one, classes, column, sample_weight, name)[column]
            for one, column in zip(each, columns, strict=True)
        ]
        weights = weights * np.prod(factors, axis=0)
        if not weights.sum() > 0:
            raise ValueError(f"[{name}] the classes of all samples have the weight 0")
        weighed: Array = weights.astype(dtype)
        return weighed

    def _strata(self, y: Array) -> Array | None:
        # As in scikit-learn, the split is stratified for two classes only.
        return y > 0 if self._task == "binary" else None

    def _loss_function(self) -> Loss:
        return loss_of(self._task, self.loss)

    def _output_shape(self, y: Array) -> tuple[int, str]:
        n_outputs = 1 if self._task == "binary" else len(self._classes)
        return n_outputs, out_activation(self._task, self.loss)

    def _score_output(self, output: Array, y: Array, sample_weight: Array | None) -> float:
        right = hits(output, y, self._task)
        return float(array_namespace(right).average(right, weights=sample_weight))

    def _check_partial_fit(self, y: Any, classes: Any) -> None:
        """Store the classes of the first call of partial_fit, and check those of later calls."""
        if isinstance(self.class_weight, str):
            raise ValueError(
                self._prefix(
                    "class_weight='balanced' is not for partial_fit, which has only a part of the samples: "
                    "pass a mapping, for instance from sklearn.utils.compute_class_weight"
                )
            )
        known = self._classes if "_network" in self.__dict__ else None
        self._classes = labels_of_stream(self, classes, known)
