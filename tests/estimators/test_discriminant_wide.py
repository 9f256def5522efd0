"""Linear discriminant analysis with fewer samples than features."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
from discriminants import FITTED, wide

from steepest.discriminant_analysis import LinearDiscriminantAnalysis


@pytest.mark.parametrize("shrinkage", [None, 1e-3, 0.3, 1.0, "auto"])
@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.filterwarnings("ignore:.*collinear:UserWarning")
def test_the_space_of_the_samples_gives_the_same(rng, dtype, shrinkage, k, weighted, unbiased):
    """The fit in the samples' space equals the fit with the features' covariance, which store_covariance forms."""
    X, y = wide(rng, k=k, dtype=dtype)
    weight = rng.integers(0, 4, len(y)) if weighted else None
    options = {"shrinkage": shrinkage, "unbiased": unbiased, "priors": rng.dirichlet(np.ones(k))}
    of_samples = LinearDiscriminantAnalysis(**options).fit(X, y, weight)
    of_features = LinearDiscriminantAnalysis(store_covariance=True, **options).fit(X, y, weight)
    assert not hasattr(of_samples, "covariance_")
    relative = 1e-3 if dtype == np.float32 else 1e-9
    for name in FITTED:
        expected = getattr(of_features, name)
        atol = relative * np.abs(expected).max()
        np.testing.assert_allclose(getattr(of_samples, name), expected, rtol=0, atol=atol, err_msg=name)
    expected = of_features.predict_proba(X)
    np.testing.assert_allclose(of_samples.predict_proba(X), expected, rtol=0, atol=relative)


@pytest.mark.parametrize("shrinkage", [None, 0.1, "auto"])
@pytest.mark.filterwarnings("ignore:.*collinear:UserWarning")
def test_no_matrix_of_all_features_is_formed(rng, shrinkage):
    X, y = wide(rng, n=30, d=20)
    X = np.tile(X, 300) + rng.standard_normal((30, 6000))
    tracemalloc.start()
    LinearDiscriminantAnalysis(shrinkage=shrinkage).fit(X, y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6000**2 * 8 / 10


@pytest.mark.filterwarnings("ignore:.*(collinear|constant):UserWarning")
@pytest.mark.parametrize("shrinkage", [None, 0.1, "auto"])
def test_features_that_tell_nothing_or_all_among_many(rng, shrinkage):
    X, y = wide(rng)
    X[:, 3] = 3.14  # constant
    X[:, 5] = y  # constant in each class
    X[:, 7] = X[:, 8]
    of_samples = LinearDiscriminantAnalysis(shrinkage=shrinkage).fit(X, y)
    of_features = LinearDiscriminantAnalysis(shrinkage=shrinkage, store_covariance=True).fit(X, y)
    scale = np.abs(of_features.coef_).max()
    np.testing.assert_allclose(of_samples.coef_, of_features.coef_, rtol=0, atol=1e-9 * scale)
    assert (np.abs(of_samples.coef_[:, 3]) <= 1e-9 * scale).all()
    assert of_samples.score(X, y) == 1


def test_duplicated_samples_have_no_factor(rng):
    """Duplicated samples make the Gram matrix more singular, so eigenvectors replace the Cholesky factor."""
    X, y = wide(rng)
    X, y = np.concatenate([X, X[:6]]), np.concatenate([y, y[:6]])
    with pytest.warns(UserWarning, match="fewer samples than features"):
        of_samples = LinearDiscriminantAnalysis().fit(X, y)
    with pytest.warns(UserWarning, match="collinear"):
        of_features = LinearDiscriminantAnalysis(store_covariance=True).fit(X, y)
    atol = 1e-9 * np.abs(of_features.coef_).max()
    np.testing.assert_allclose(of_samples.coef_, of_features.coef_, rtol=0, atol=atol)


def test_float32_of_fewer_samples_that_its_products_cannot_tell(rng):
    X, y = wide(rng, dtype=np.float32)
    X[:, 0] *= 1e5
    in_float32, in_float64 = (
        LinearDiscriminantAnalysis(shrinkage=1e-9).fit(X.astype(dtype), y)
        for dtype in (np.float32, np.float64)
    )
    atol = 1e-5 * np.abs(in_float64.coef_).max()
    np.testing.assert_allclose(in_float32.coef_, in_float64.coef_, rtol=0, atol=atol)
    with pytest.raises(ValueError, match="squares of X overflow"):
        LinearDiscriminantAnalysis(shrinkage=0.1).fit(X.astype(np.float64) * 1e200, y)
    scaled = LinearDiscriminantAnalysis(shrinkage=0.1).fit(X * np.float32(1e17), y)
    assert np.isfinite(scaled.coef_).all()


@pytest.mark.filterwarnings("ignore:.*collinear:UserWarning")
def test_sparse_samples_of_many_features(rng):
    X, y = wide(rng)
    X[rng.random(X.shape) < 0.7] = 0
    for shrinkage in (0.1, "auto"):
        dense, sparse = (
            LinearDiscriminantAnalysis(shrinkage=shrinkage).fit(form(X), y)
            for form in (np.asarray, scipy.sparse.csr_matrix)
        )
        np.testing.assert_array_equal(sparse.coef_, dense.coef_)


def test_what_was_fitted_without_its_covariance_takes_no_more(rng):
    X, y = wide(rng)
    model = LinearDiscriminantAnalysis(shrinkage=0.1).fit(X, y)
    with pytest.raises(ValueError, match="fewer samples than features"):
        model.partial_fit(X, y)
    with pytest.raises(ValueError, match="fewer samples than features"):
        LinearDiscriminantAnalysis(shrinkage=0.1).partial_fit(X, y, classes=[0, 1, 2]).merge(model)
    stored = LinearDiscriminantAnalysis(shrinkage=0.1, store_covariance=True).fit(X[:20], y[:20])
    stored.partial_fit(X[20:], y[20:])
    np.testing.assert_allclose(stored.coef_, model.coef_, rtol=0, atol=1e-9 * np.abs(model.coef_).max())
