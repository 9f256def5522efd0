"""Cross-validation from a single fit: discriminant functions for each fold as if fitted without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.model_selection import LeaveOneOut, check_cv

from steepest._runtime.arrays import Array, Float64Array, Int64Array
from steepest._runtime.backends import is_cupy
from steepest._runtime.memory import to_device, to_host
from steepest.estimators.class_statistics import ClassStatistics
from steepest.estimators.row_blocks import centred_product

from ._downdate import scores_without
from ._fitting import Fit, FitOptions, fit_to_samples, fit_to_statistics
from ._samples import LabelledSamples
from ._scatter_axes import Decompositions, ScatterAxes

Ids = Int64Array

LEAVE_ONE_OUT = "leave-one-out"

# Most numbers in an array of scores, so that it stays in the second-level cache.
_ITEMS = 1 << 17


def folds_of(cv: Any, X: Any, y: Array, groups: Any, name: str) -> list[Ids]:
    """Return the folds of a cross-validation; folds of equal size are the rows of one array.

    Parameters
    ----------
    cv : "leave-one-out", int, splitter, iterable or None
        The folds: leave-one-out, or what scikit-learn's `check_cv` accepts.
    X : array-like of shape (n_samples, n_features)
        The samples, for the splitter.
    y : ndarray of shape (n_samples,)
        Labels.
    groups : array-like of shape (n_samples,) or None
        Groups of the samples, for splitters that use them.
    name : str
        Name that error messages start with.

    Raises
    ------
    ValueError
        If the test folds are no partition of the samples, or a training fold lacks samples outside its test fold.
    """
    n = len(y)
    if isinstance(cv, str) and cv != LEAVE_ONE_OUT:
        raise ValueError(
            f"[{name}] cv is {cv!r}, but has to be {LEAVE_ONE_OUT!r}, an int, a splitter or an iterable"
        )
    if isinstance(cv, (str, LeaveOneOut)):
        return [np.arange(n)[:, None]]
    tests: list[Ids] = []
    seen = np.zeros(n, np.int64)
    for train, test in check_cv(cv, y, classifier=True).split(
        np.zeros((n, 1)) if is_cupy(X) else X, y, groups
    ):
        fitted = np.zeros(n, bool)
        fitted[train] = True
        if len(test) and (fitted[test].any() or int(fitted.sum()) + len(test) != n):
            raise ValueError(f"[{name}] each training fold must hold every sample outside its test fold")
        if len(test) == n:
            raise ValueError(f"[{name}] a test fold holds all samples, so no sample is left to train on")
        seen[test] += 1
        tests.append(np.asarray(np.arange(n)[test]))
    if not (seen == 1).all():
        raise ValueError(
            f"[{name}] the test folds of cv must be a partition: each sample in exactly one fold"
        )
    sizes = np.array([len(test) for test in tests])
    return [np.stack([tests[i] for i in np.flatnonzero(sizes == f)]) for f in np.unique(sizes[sizes > 0])]


@dataclass
class CrossValidation:
    """Cross-validation that avoids refitting where it can.

    For small folds, the decomposition of all samples is downdated. For folds with at least as many samples as features,
    the statistics of the other folds are added. The model is refitted if the covariance is estimated class by class, or
    is singular without the fold.

    Attributes
    ----------
    decompositions : Decompositions
        Decompositions of all samples.
    priors : ndarray of shape (k,) or None
        Probabilities of the classes; None for their proportions among the samples that are not left out.
    options : FitOptions
        Options of the fits; `scores` sets the shrinkage.
    choose : callable or None
        Function that chooses the shrinkage for samples, for the shrinkage "cv".
    """

    decompositions: Decompositions
    priors: Float64Array | None
    options: FitOptions
    choose: Callable[[LabelledSamples], float] | None = None

    @property
    def samples(self) -> LabelledSamples:
        """All samples."""
        return self.decompositions.samples

    def scores(
        self, folds: Sequence[Ids], shrinkages: Sequence[float | str]
    ) -> Iterator[tuple[Ids, Float64Array]]:
        """Yield batches of folds of shape (b, f), and their discriminant functions of shape (g, b, f, k).

        Parameters
        ----------
        folds : sequence of ndarray
            The folds, as `folds_of` returns them.
        shrinkages : sequence of float or str
            The g shrinkages, as in `FitOptions`, or "cv".

        Raises
        ------
        ValueError
            If the samples outside a fold have fewer than two classes, or are not more than their classes.
        """
        samples, k = self.samples, self.samples.n_classes
        plain = self.options.covariance_estimator is None and not any(isinstance(s, str) for s in shrinkages)
        plans: list[tuple[ScatterAxes, list[int]]] | None = None
        for same in folds:
            b, f = same.shape
            if plain and samples.n_features <= min(f, samples.n_samples):
                yield from self._from_statistics(same, shrinkages)
                continue
            if plans is None:
                plans = self._plans(shrinkages) if plain else []
            width = max([1, *(axes.means.shape[1] for axes, _ in plans)])
            step = max(1, _ITEMS // ((k + f) * width))
            for start in range(0, b, step):
                part = same[start : start + step]
                scores = np.empty((len(shrinkages), *part.shape, k))
                is_exact = np.zeros((len(shrinkages), len(part)), bool)
                for axes, chosen in plans:
                    shares = [float(shrinkages[i]) for i in chosen]
                    scores[chosen], is_exact[chosen] = scores_without(
                        axes, samples, part, shares, self.priors, self.options.unbiased
                    )
                for i, j in np.argwhere(~is_exact):
                    scores[i, j] = self._from_samples(part[j], shrinkages[i])
                yield part, scores

    def _plans(self, shrinkages: Sequence[float | str]) -> list[tuple[ScatterAxes, list[int]]]:
        """Return pairs of axes and the indices of the shrinkages that are computed in them."""
        shrunk = [i for i, share in enumerate(shrinkages) if share != 0]
        whole = [i for i, share in enumerate(shrinkages) if share == 0]
        white = self.decompositions.white if whole else None
        plans = [] if white is None else [(white, whole)]
        return [*plans, (self.decompositions.principal, shrunk)] if shrunk else plans

    def _from_samples(self, fold: Ids, shrinkage: float | str) -> Float64Array:
        """Return the discriminant functions of a fold from a fit to all other samples."""
        rest = np.ones(self.samples.n_samples, bool)
        rest[fold] = False
        others = self.samples.rows(np.flatnonzero(rest))
        priors = self._priors(others.class_weights, others.n_samples)
        if shrinkage == "cv" and self.choose is not None:
            shrinkage = self.choose(others)
        fit = fit_to_samples(others, priors, replace(self.options, shrinkage=shrinkage))
        return scores_of(fit, self.samples.rows(fold))

    def _from_statistics(
        self, folds: Ids, shrinkages: Sequence[float | str]
    ) -> Iterator[tuple[Ids, Float64Array]]:
        """Yield the discriminant functions of folds from the statistics of the other folds."""
        samples = self.samples
        own = [samples.rows(fold).statistics() for fold in folds]
        outside = np.setdiff1d(np.arange(samples.n_samples), folds.ravel())
        first = samples.rows(outside).statistics() if len(outside) else None
        for fold, others in zip(folds, merged_others(own, first), strict=True):
            priors = self._priors(others.weights, samples.n_samples - len(fold))
            scores = np.empty((len(shrinkages), 1, len(fold), samples.n_classes))
            for i, shrinkage in enumerate(shrinkages):
                options = replace(self.options, shrinkage=shrinkage)
                fit = fit_to_statistics(others, priors, options, samples.X.dtype)
                scores[i, 0] = scores_of(fit, samples.rows(fold))
            yield fold[None], scores

    def _priors(self, weights: Float64Array, n_samples: int) -> Float64Array:
        """Return the priors of a fit to samples whose classes have these weights."""
        name, present = self.options.name, np.count_nonzero(weights)
        if present < 2:
            raise ValueError(f"[{name}] without one of the folds there is {present} class; 2 are needed")
        if n_samples <= present:
            raise ValueError(f"[{name}] without one of the folds there are no more samples than classes")
        if self.priors is None:
            shares: Float64Array = weights / weights.sum()
            return shares
        if present < len(weights):
            raise ValueError(f"[{name}] without one of the folds a class that has a prior is missing")
        return self.priors


def merged_others(
    parts: Sequence[ClassStatistics], first: ClassStatistics | None
) -> Iterator[ClassStatistics]:
    """Yield for each part the merged statistics of all other parts and `first`, without subtractions that cancel."""
    after: list[ClassStatistics | None] = [first]
    for part in parts[:0:-1]:
        last = after[-1]
        after.append(part if last is None else last.merge(part))
    before: ClassStatistics | None = None
    for part, rest in zip(parts, reversed(after), strict=True):
        others = rest if before is None else before if rest is None else before.merge(rest)
        if others is not None:
            yield others
        before = part if before is None else before.merge(part)


def scores_of(fit: Fit, samples: LabelledSamples) -> Float64Array:
    """Return the discriminant functions of samples."""
    found, device = fit.found, samples.device
    centre, coef, intercept = (
        to_device(np.ascontiguousarray(a, dtype=np.float64), device)
        for a in (found.centre, found.coef.T, found.intercept)
    )
    X = samples.X.astype(np.float64)
    scores: Float64Array = to_host(centred_product(X, centre, coef, intercept, device))
    return scores
