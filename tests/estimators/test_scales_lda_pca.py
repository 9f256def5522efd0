"""LDA and PCA with extreme scales and offsets of the features, against solutions in long double."""

from __future__ import annotations

import re
import warnings

import long_reference
import numpy as np
import pytest
import scipy.sparse
import tolerances

from steepest.decomposition import PCA
from steepest.discriminant_analysis import LinearDiscriminantAnalysis

pytestmark = [
    pytest.mark.cpu_only("it does not test kernels"),
    pytest.mark.skipif(
        np.finfo(np.longdouble).eps > 1e-18, reason="long double is no more precise than double here"
    ),
]

SCALES = {
    "1": np.zeros(6),
    "1e-12": np.full(6, -12.0),
    "1e12": np.full(6, 12.0),
    "mixed": np.array([-12.0, 12.0, 0.0, -5.0, 5.0, 8.0]),
}
# (form, offset in standard deviations); sparse samples have no offset.
FORMS = [("dense", 0.0), ("dense", 1e3), ("dense", 1e6), ("dense", 1e9), ("sparse", 0.0)]

dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
scales = pytest.mark.parametrize("scale", SCALES)
forms = pytest.mark.parametrize(("form", "offset"), FORMS, ids=[f"{form}-{o:g}" for form, o in FORMS])


def samples(n, d, k, offset, scale, dtype, sparse=False):
    """Correlated features with standard deviations near 1 and mean `offset`, multiplied by their scales."""
    rng = np.random.default_rng([n, d, k])
    y = np.arange(n) % k
    X = rng.standard_normal((n, d)) @ (np.eye(d) + 0.3 / np.sqrt(d)) + 0.7 * rng.standard_normal((k, d))[y]
    if sparse:
        X[rng.random((n, d)) < 0.6] = 0
    exponents = np.resize(SCALES[scale], d)
    return ((X + offset) * 10.0**exponents).astype(dtype), y


def fit_with_warnings(model, *data):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        return model.fit(*data), [str(w.message) for w in told]


def unresolved(X, y):
    """Indices of features whose within-class deviation does not exceed the rounding error of the dtype."""
    means, deviations = long_reference.class_moments(X, y)
    rounding = np.finfo(X.dtype).eps * np.abs(means).max(axis=0)
    return np.flatnonzero(np.sqrt((deviations**2).mean(axis=0)) <= rounding)


@dtypes
@scales
@forms
@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize(
    ("n", "d", "shrinkage"), [(80, 6, None), (80, 6, 0.1), (25, 40, None), (25, 40, 0.1)]
)
def test_discriminant_functions(dtype, scale, offset, k, form, n, d, shrinkage):
    X, y = samples(n, d, k, offset, scale, dtype, form == "sparse")
    given = scipy.sparse.csr_array(X) if form == "sparse" else X
    model, told = fit_with_warnings(LinearDiscriminantAnalysis(shrinkage=shrinkage), given, y)
    left_out = [message for message in told if "constant within the classes, to the precision" in message]
    lost = set(unresolved(X, y).tolist())
    if left_out:
        # The warning names the features that are left out, all of which are unresolved.
        named = set(map(int, re.findall(r"\d+(?= |,)", left_out[0].split(" constant")[0].split(" and ")[0])))
        assert named and named <= lost
        assert np.isfinite(model.decision_function(given)).all()
        return
    assert shrinkage or not lost
    assert bool(told) == (n < d and not shrinkage)  # few samples make features collinear
    expected = long_reference.discriminant_functions(X, y, shrinkage or 0.0)
    scores = model.decision_function(given)
    if k == 2:
        expected = expected[:, 1] - expected[:, 0]
    else:
        scores = scores - scores.mean(axis=1, keepdims=True)
    atol = tolerances.discriminant(dtype, d, offset, np.abs(expected).max())
    np.testing.assert_allclose(scores, expected.astype(np.float64), rtol=0, atol=atol)


@dtypes
@scales
@forms
@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize(("n", "d"), [(80, 6), (40, 6), (5, 6)])
def test_principal_components(dtype, scale, offset, whiten, form, n, d):
    """Each component satisfies the eigenvalue equation up to the rounding error of the largest variance."""
    X, _ = samples(n, d, 2, offset, scale, dtype, form == "sparse")
    given = scipy.sparse.csr_array(X) if form == "sparse" else X
    model, told = fit_with_warnings(PCA(whiten=whiten), given)
    mean, covariance = long_reference.covariance(X)
    variances = long_reference.eigenvalues(covariance)
    largest = variances[0]
    if largest == 0:  # rounding has removed all variance
        np.testing.assert_array_equal(model.explained_variance_, 0)
        assert bool(told) == whiten
        return
    atol = float(tolerances.principal_axes(dtype, n, d) * largest)
    found, axes = model.explained_variance_, model.components_.astype(np.longdouble)
    np.testing.assert_allclose(
        model.mean_, mean.astype(np.float64), rtol=4 * np.finfo(dtype).eps, atol=np.sqrt(atol)
    )
    np.testing.assert_allclose(found, variances[: len(found)].astype(np.float64), rtol=0, atol=atol)
    np.testing.assert_allclose(axes @ axes.T - np.eye(len(axes)), 0, rtol=0, atol=atol / float(largest))
    rest = covariance @ axes.T - axes.T * found
    np.testing.assert_allclose(rest.astype(np.float64), 0, rtol=0, atol=atol)
    if whiten:
        # Whitened deviations, in long double from the model's attributes, are 1, or 0 with a warning.
        deviations = model._deviations()
        scores = (X.astype(np.longdouble) - mean) @ axes.T
        kept = deviations > 0
        spread = scores[:, kept].std(axis=0, ddof=1) / deviations[kept]
        np.testing.assert_allclose(spread.astype(np.float64), 1, rtol=5e-2)
        assert bool(told) == (not kept.all())
        assert all("no variance beyond rounding" in message for message in told)
    else:
        assert not told
