"""Class weights, which multiply the sample weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from steepest._runtime.arrays import Array, Float64Array

from .data import is_number


def class_weights(
    class_weight: Mapping[Any, float] | str | None,
    classes: Array,
    ids: Array,
    sample_weight: Array | None,
    name: str,
) -> Float64Array:
    """Return the weight of each class.

    Parameters
    ----------
    class_weight : mapping, "balanced" or None
        A mapping of labels to weights; classes that are not named have the weight 1. If it names every class, it may
        name other labels too, since a part of the samples may lack a class. ``"balanced"`` gives all classes the same
        total weight, ``sum(w) / (n_classes * sum of w in the class)``, and 0 to a class without samples.
    classes : ndarray of shape (k,)
        The labels, sorted.
    ids : ndarray of shape (n,)
        Class of each sample, as an index into `classes`.
    sample_weight : ndarray of shape (n,) or None
        Weights w of the samples.
    name : str
        Name that error messages start with.

    Returns
    -------
    ndarray of shape (k,), float64
        The weights.

    Raises
    ------
    ValueError
        If a label is not among the classes while some class has no weight, or a weight is negative or not finite.
    """
    weights = np.ones(len(classes))
    if class_weight is None:
        return weights
    if isinstance(class_weight, str):
        totals = np.bincount(ids, sample_weight, minlength=len(classes)).astype(np.float64)
        present = totals > 0
        weights[present] = totals.sum() / (len(classes) * totals[present])
        weights[~present] = 0.0
        return weights
    given = {label.item() if isinstance(label, np.generic) else label: w for label, w in class_weight.items()}
    known = classes.tolist()
    for label, weight in given.items():
        if label not in known and not given.keys() >= set(known):
            raise ValueError(
                f"[{name}] class_weight has a weight for {label!r}, which is not among the classes {known}"
            )
        if not (is_number(weight) and 0 <= weight < np.inf):
            raise ValueError(
                f"[{name}] class_weight of {label!r} must be finite and not negative, got {weight!r}"
            )
    weights[:] = [given.get(label, 1.0) for label in known]
    return weights
