"""Principal component analysis: scikit-learn's checks, NumPy's decompositions as oracle, and documented rules."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.sparse
import scipy.stats
from sklearn.datasets import load_digits
from sklearn.utils.estimator_checks import estimator_checks_generator

from steepest.decomposition import PCA, _sparse
from steepest.decomposition._factors import minka_dimension
from steepest.estimators import row_blocks

SOLVERS = ("full", "covariance_eigh")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.cpu_only("its fits take too long on the stand-in")
@pytest.mark.parametrize(
    ("estimator", "check"),
    list(estimator_checks_generator(PCA())),
    ids=lambda v: getattr(v, "func", PCA).__name__,
)
def test_scikit_learn(estimator, check):
    check(estimator)


def samples(rng, n=200, d=7, offset=0.0, dtype=np.float64):
    """Samples with distinct variances along random directions."""
    axes = np.linalg.qr(rng.standard_normal((d, d)))[0]
    return (rng.standard_normal((n, d)) * 2.0 ** -np.arange(d) @ axes + offset).astype(dtype)


def oracle(X):
    """Mean, variances and axes of X from NumPy in float64."""
    X = X.astype(np.float64)
    mean = X.mean(axis=0)
    _, singular, axes = np.linalg.svd(X - mean, full_matrices=False)
    return mean, singular**2 / (len(X) - 1), axes


def tolerance(dtype, n):
    """Sums of n rounded products of numbers near 1 err by n eps at worst; variance gaps of 1/100 amplify it by 100."""
    return {"rtol": 0, "atol": 100 * n * float(np.finfo(dtype).eps)}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("n", "d"), [(200, 7), (7, 7), (8, 7), (5, 7), (2, 1), (300, 1), (600, 300)])
def test_axes_and_variances(rng, dtype, solver, n, d):
    X = samples(rng, n, min(d, 7), dtype=dtype)
    X = np.hstack([X, np.zeros((n, d - X.shape[1]), dtype)])
    mean, variances, axes = oracle(X)
    model = PCA(svd_solver=solver).fit(X)
    k = min(n - 1, d, 7)  # the other variances are zero, and their axes arbitrary
    np.testing.assert_allclose(model.mean_, mean, **tolerance(dtype, 1))
    np.testing.assert_allclose(model.explained_variance_, variances, **tolerance(dtype, n))
    np.testing.assert_allclose(
        np.abs((model.components_[:k] * axes[:k]).sum(axis=1)), 1, **tolerance(dtype, n)
    )
    np.testing.assert_allclose(
        model.components_ @ model.components_.T, np.eye(len(model.components_)), **tolerance(dtype, 1)
    )
    np.testing.assert_allclose(model.explained_variance_ratio_.sum(), 1, rtol=1e-5)
    assert (model.components_[np.arange(k), np.abs(model.components_[:k]).argmax(axis=1)] > 0).all()
    for name in (
        "components_",
        "explained_variance_",
        "explained_variance_ratio_",
        "singular_values_",
        "mean_",
    ):
        assert getattr(model, name).dtype == dtype
    assert (model.n_components_, model.n_samples_, model.n_features_in_) == (min(n, d), n, d)


@pytest.mark.parametrize("solver", SOLVERS)
def test_float32_with_a_large_mean(rng, solver):
    """With a mean of 1e4 standard deviations, float32 samples give the accuracy of their float64 copies."""
    X = samples(rng, 5000, 6, offset=1e4, dtype=np.float32)
    _, variances, axes = oracle(X)
    model = PCA(svd_solver=solver).fit(X)
    # Products are rounded relative to the largest variance, which is 1.
    np.testing.assert_allclose(
        model.explained_variance_, variances, rtol=0, atol=20 * np.finfo(np.float32).eps
    )
    np.testing.assert_allclose(np.abs((model.components_ * axes).sum(axis=1)), 1, rtol=1e-4)
    # The formula X @ W - mean @ W would give errors of a few times 1e4 * 6e-8.
    expected = (X.astype(np.float64) - model.mean_) @ model.components_.T.astype(np.float64)
    np.testing.assert_allclose(model.transform(X), expected, rtol=0, atol=1e-5)


def test_blocks_make_no_difference(rng, monkeypatch, dtype):
    X = samples(rng, 203, 7, dtype=dtype)
    whole = PCA(svd_solver="covariance_eigh").fit(X)
    monkeypatch.setattr(row_blocks, "_BLOCK_ITEMS", {"cpu": 64 * 8, "cuda": 64 * 8})
    parts = PCA(svd_solver="covariance_eigh").fit(scipy.sparse.csr_matrix(X))
    np.testing.assert_allclose(parts.explained_variance_, whole.explained_variance_, **tolerance(dtype, 1))
    np.testing.assert_allclose(parts.components_, whole.components_, **tolerance(dtype, 200))
    np.testing.assert_allclose(parts.transform(X), whole.transform(X), **tolerance(dtype, 200))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("k", [0, 1, 2, 6, 7])
def test_number_of_components(rng, solver, k):
    X = samples(rng)
    _, variances, axes = oracle(X)
    model = PCA(k, svd_solver=solver).fit(X)
    assert model.components_.shape == (k, 7)
    np.testing.assert_allclose(model.explained_variance_, variances[:k], rtol=1e-9)
    np.testing.assert_allclose(model.explained_variance_ratio_, variances[:k] / variances.sum(), rtol=1e-9)
    np.testing.assert_allclose(model.noise_variance_, variances[k:].mean() if k < 7 else 0.0, rtol=1e-8)
    reduced = model.transform(X)
    np.testing.assert_allclose(model.fit_transform(X), reduced, rtol=0, atol=1e-12)
    projected = (X - X.mean(axis=0)) @ axes[:k].T @ axes[:k] + X.mean(axis=0)
    np.testing.assert_allclose(model.inverse_transform(reduced), projected, rtol=0, atol=1e-11)
    assert list(model.get_feature_names_out()) == [f"pca{i}" for i in range(k)]


def test_share_of_the_variance(rng):
    X = samples(rng)
    shares = PCA().fit(X).explained_variance_ratio_.cumsum()
    for wanted in (0.01, 0.5, 0.9, 0.999999999):
        model = PCA(wanted).fit(X)
        assert model.n_components_ == np.argmax(shares > wanted) + 1
    for k, share in enumerate(shares[:-1], 1):
        assert PCA(share).fit(X).n_components_ == k + 1
    with pytest.raises(ValueError, match="n_components"):
        PCA(1.5).fit(X)


def test_minka_finds_the_dimension(rng):
    X = rng.standard_normal((600, 3)) @ rng.standard_normal((3, 10)) + 0.1 * rng.standard_normal((600, 10))
    for solver in SOLVERS:
        assert PCA("mle", svd_solver=solver).fit(X).n_components_ == 3
    assert minka_dimension(np.array([1.0]), 5) == 1
    assert minka_dimension(np.array([4.0, 1.0, 0.0, 0.0]), 50) == 2


def test_whitening(rng, dtype):
    X = samples(rng, dtype=dtype)
    model = PCA(4, whiten=True).fit(X)
    white = model.transform(X)
    np.testing.assert_allclose(np.cov(white.T), np.eye(4), **tolerance(dtype, 200))
    unwhitened = PCA(4).fit(X)
    np.testing.assert_allclose(
        model.inverse_transform(white),
        unwhitened.inverse_transform(unwhitened.transform(X)),
        **tolerance(dtype, 1),
    )
    with pytest.warns(UserWarning, match=r"^\[PCA\] 2 of 2 components have no variance beyond rounding"):
        constant = PCA(2, whiten=True).fit(np.ones((5, 3)))
    np.testing.assert_array_equal(constant.transform(np.ones((5, 3))), 0)
    np.testing.assert_array_equal(constant.explained_variance_ratio_, 0)


@pytest.mark.parametrize("unit", [1.0, 1e-8, 1e-18, 1e12])
@pytest.mark.parametrize("spreads", [(1, 1, 1), (1, 1e-4, 5e-5), (1, 1e-2, 3e-7)], ids=str)
@pytest.mark.parametrize("solver", ["auto", "full"])
def test_whitened_variances_are_1(rng, dtype, unit, spreads, solver):
    """Whitened variances are 1 for every scale, and for spreads that products of samples would lose to rounding."""
    if dtype == np.float32 and min(spreads) < 1e-6:
        pytest.skip("the smallest spread is below the rounding of float32 samples")
    Z = rng.standard_normal((500, 3)) * spreads @ np.linalg.qr(rng.standard_normal((3, 3)))[0]
    X = (unit * Z).astype(dtype)
    white = PCA(whiten=True, svd_solver=solver).fit_transform(X)
    np.testing.assert_allclose(white.astype(np.float64).std(axis=0), 1, rtol=5e-3)


def test_components_that_cannot_be_whitened(rng, dtype):
    """Components whose variance is a rounding error of 0 are set to 0, since division by it would give noise."""
    X = samples(rng, 300, 4, dtype=dtype) @ np.array(
        [[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0]], dtype
    )
    for form in (np.asarray, scipy.sparse.csr_array):
        with pytest.warns(UserWarning, match="1 of 4 components have no variance beyond rounding"):
            model = PCA(whiten=True).fit(form(X))
        white = model.transform(X)
        np.testing.assert_array_equal(white[:, 3], 0)
        np.testing.assert_allclose(white[:, :3].std(axis=0), 1, rtol=5e-3)
        np.testing.assert_allclose(model.inverse_transform(white), X, **tolerance(dtype, 10))


def test_minkas_choice_does_not_depend_on_the_unit(rng):
    X = rng.standard_normal((600, 3)) @ rng.standard_normal((3, 10)) + 0.1 * rng.standard_normal((600, 10))
    for unit in (1e-9, 1e9):
        assert PCA("mle").fit(unit * X).n_components_ == 3


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("unit", [1e170, 1e307])
def test_squares_that_overflow(rng, solver, unit):
    with pytest.raises(ValueError, match=r"^\[PCA\] squares of X overflow"):
        PCA(svd_solver=solver).fit(unit * samples(rng, 80, 3))
    with pytest.raises(ValueError, match=r"^\[PCA\] squares of X overflow"):
        PCA(svd_solver=solver).fit(1e25 * samples(rng, 80, 3, dtype=np.float32))


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("k", [0, 3, 7])
def test_likelihood_is_that_of_a_normal_distribution(rng, whiten, k):
    X = samples(rng)
    model = PCA(k, whiten=whiten).fit(X)
    covariance = model.get_covariance()
    expected = scipy.stats.multivariate_normal(X.mean(axis=0), covariance).logpdf(X)
    np.testing.assert_allclose(model.score_samples(X), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(model.score(X), expected.mean(), rtol=1e-9)
    np.testing.assert_allclose(model.get_precision() @ covariance, np.eye(7), rtol=0, atol=1e-9)
    # The maximum-likelihood model has the sample variance along the components.
    np.testing.assert_allclose(
        np.diag(model.components_ @ covariance @ model.components_.T), model.explained_variance_, rtol=1e-9
    )


def test_a_singular_covariance_has_no_density(rng):
    X = samples(rng, 5, 7)
    model = PCA().fit(X)
    for call in (lambda: model.score(X), model.get_precision):
        with pytest.raises(np.linalg.LinAlgError, match=r"^\[PCA\] the covariance of the model is singular"):
            call()


def test_the_solver_that_auto_chooses(rng):
    for shape, solver in (((70, 7), "covariance_eigh"), ((69, 7), "full"), ((5, 7), "full")):
        X = rng.standard_normal(shape)
        assert PCA().fit(X)._fit_svd_solver == solver
        assert PCA(2, svd_solver="randomized", random_state=0).fit(X)._fit_svd_solver == solver


def test_copy(rng):
    X = samples(rng, 20)
    before = X.copy()
    PCA(svd_solver="full").fit(X)
    PCA(svd_solver="full", copy=False).fit_transform(X)
    np.testing.assert_array_equal(X, before)
    PCA(svd_solver="full", copy=False).fit(X)
    assert not np.array_equal(X, before)


def test_sparse(rng):
    X = scipy.sparse.random_array((300, 9), density=0.3, rng=rng, format="csr")
    model, same = PCA(3).fit(X), PCA(3).fit(X.toarray())
    np.testing.assert_allclose(model.explained_variance_, same.explained_variance_, rtol=1e-12)
    np.testing.assert_allclose(model.transform(X), same.transform(X.toarray()), rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.score(X), same.score(X.toarray()), rtol=1e-10)
    with pytest.raises(TypeError, match="PCA only support sparse inputs"):
        PCA(svd_solver="full").fit(X)


def sparse_samples(rng, n, d, per_row, dtype=np.float64):
    """Samples with a few non-zeros a row, and two dense columns, one of them with a large mean."""
    X = scipy.sparse.random_array((n, d), density=per_row / d, rng=rng, format="lil", dtype=np.float64)
    X[:, 1], X[:, 4] = rng.standard_normal((n, 1)) + 3, 1e6 + rng.standard_normal((n, 1))
    return scipy.sparse.csr_array(X).astype(dtype)


@pytest.mark.parametrize(
    ("n", "d", "k"),
    [(60, 150, None), (60, 150, 7), (150, 60, None), (60, 60, 0), (60, 90, 4), (90, 60, 4)],
)
def test_sparse_samples_are_not_made_dense(rng, monkeypatch, n, d, k, dtype):
    """Results equal those of dense samples, with fewer rows than columns, with more, and for few components."""
    monkeypatch.setattr(_sparse, "_LANCZOS_SIDE", 50)
    X = sparse_samples(rng, n, d, 2, dtype)
    mean, variances, axes = oracle(X.toarray())
    model = PCA(k).fit(X)
    kept = model.n_components_
    np.testing.assert_allclose(model.mean_, mean, rtol=10 * np.finfo(dtype).eps)
    np.testing.assert_allclose(model.explained_variance_, variances[:kept], **tolerance(dtype, 10))
    np.testing.assert_allclose(model.components_ @ model.components_.T, np.eye(kept), **tolerance(dtype, 10))
    first = slice(0, min(kept, 4))
    np.testing.assert_allclose(
        np.abs((model.components_[first] * axes[first]).sum(axis=1)), 1, **tolerance(dtype, 10)
    )
    share = variances[:kept].sum() / variances.sum()
    np.testing.assert_allclose(model.explained_variance_ratio_.sum(), share, **tolerance(dtype, 10))
    expected = (X.toarray() - mean) @ model.components_.T.astype(np.float64)
    # Products with a mean of 1e6 are rounded, and in float32 so is the mean.
    atol = 1e7 * np.finfo(dtype).eps
    np.testing.assert_allclose(model.transform(X), expected, rtol=0, atol=atol)


def test_wide_sparse_samples_need_little_memory(rng):
    X = scipy.sparse.random_array((520, 8_000), density=1e-3, rng=rng, format="csr")
    for k in (3, 60):
        tracemalloc.start()
        PCA(k).fit(X).transform(X)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 520 * 8_000 * 8 / 2


@pytest.mark.parametrize(
    ("X", "options", "message"),
    [
        (
            np.ones((3, 2)),
            {"n_components": 3},
            r"n_components=3 must be between 0 and min\(n_samples, n_features\)=2",
        ),
        (
            np.ones((3, 5)),
            {"n_components": "mle"},
            "n_components='mle' is only supported if n_samples >= n_features",
        ),
        (np.ones((1, 5)), {}, r"1 sample: a variance needs at least 2"),
        ([[1, 2], [np.nan, 3]], {}, r"X is nan at row 1, column 0"),
        (np.ones((3, 2)), {"svd_solver": "fastest"}, "svd_solver"),
    ],
)
def test_bad_input(X, options, message):
    with pytest.raises(ValueError, match=message):
        PCA(**options).fit(X)


def test_bad_coordinates(rng):
    model = PCA(2).fit(samples(rng))
    with pytest.raises(
        ValueError, match=r"\[PCA\] X must have 2 columns, as transform returns, got shape \(4, 3\)"
    ):
        model.inverse_transform(np.ones((4, 3)))


def test_digits_follow_scikit_learn():
    from sklearn import decomposition

    X = load_digits().data.astype(np.float32)
    ours, theirs = PCA(20).fit(X), decomposition.PCA(20, svd_solver="full").fit(X.astype(np.float64))
    np.testing.assert_allclose(ours.explained_variance_, theirs.explained_variance_, rtol=1e-4)
    np.testing.assert_allclose(ours.noise_variance_, theirs.noise_variance_, rtol=1e-4)
    np.testing.assert_allclose(ours.components_, theirs.components_, rtol=0, atol=1e-3)
    np.testing.assert_allclose(ours.score(X), theirs.score(X), rtol=1e-4)


@pytest.mark.parametrize("solver", SOLVERS)
def test_cuda(cupy, rng, dtype, solver):
    X = samples(rng, dtype=dtype)
    on_cpu = PCA(3, svd_solver=solver, whiten=True).fit(X)
    on_cuda = PCA(3, svd_solver=solver, whiten=True).fit(cupy.asarray(X))
    assert (on_cpu.device_, on_cuda.device_) == ("cpu", "cuda")
    assert isinstance(on_cuda.components_, cupy.ndarray)
    Z = on_cuda.transform(cupy.asarray(X))
    np.testing.assert_allclose(cupy.asnumpy(Z), on_cpu.transform(X), **tolerance(dtype, 200))
    back = on_cuda.inverse_transform(Z)
    np.testing.assert_allclose(
        cupy.asnumpy(back), on_cpu.inverse_transform(on_cpu.transform(X)), **tolerance(dtype, 10)
    )
    np.testing.assert_allclose(on_cuda.score(cupy.asarray(X)), on_cpu.score(X), rtol=1e-3)
    assert isinstance(on_cuda.get_covariance(), cupy.ndarray)
    # NumPy inputs give NumPy outputs.
    assert isinstance(PCA(3, svd_solver=solver, device="cuda").fit_transform(X), np.ndarray)
