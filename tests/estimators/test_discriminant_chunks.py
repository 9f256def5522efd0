"""Linear discriminant analysis of samples in parts: `partial_fit`, merged models, chunks, memory-mapped files."""

from __future__ import annotations

import itertools
import tracemalloc
import warnings

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
from discriminants import FITTED, data, within
from sklearn import covariance as sklearn_covariance

from steepest.discriminant_analysis import LinearDiscriminantAnalysis
from steepest.estimators.class_statistics import ClassStatistics


def assert_same_model(a, b, atol=1e-9):
    np.testing.assert_array_equal(a.classes_, b.classes_)
    for name in FITTED:
        got, expected = getattr(a, name), getattr(b, name)
        np.testing.assert_allclose(got, expected, rtol=0, atol=atol * np.abs(expected).max(), err_msg=name)


@pytest.mark.parametrize("cuts", [(1,), (50, 51, 120), (7, 199), range(1, 200)], ids=str)
@pytest.mark.parametrize("sparse", [False, True])
def test_parts_are_the_whole(rng, cuts, sparse):
    X, y = data(rng)
    weight = rng.uniform(0.0, 2.0, len(X))
    weight[5] = 0
    edges = [0, *cuts, len(X)]
    model = LinearDiscriminantAnalysis()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the first parts may have too few samples
        for a, b in itertools.pairwise(edges):
            part = scipy.sparse.csr_array(X[a:b]) if sparse else X[a:b]
            model.partial_fit(part, y[a:b], classes=[0, 1, 2], sample_weight=weight[a:b] + 1e-9)
    assert_same_model(model, LinearDiscriminantAnalysis().fit(X, y, sample_weight=weight + 1e-9))


def test_merged_models_of_other_classes(rng):
    X, y = data(rng, 300, 5, 4)
    names = np.array(["d", "b", "a", "c"])[y]
    first, second = y < 2, y >= 2
    one = LinearDiscriminantAnalysis().fit(X[first], names[first])
    other = LinearDiscriminantAnalysis().fit(X[second], names[second])
    before = other.coef_.copy()
    assert one.merge(other) is one
    assert_same_model(one, LinearDiscriminantAnalysis().fit(X, names))
    np.testing.assert_array_equal(other.coef_, before)


@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_statistics_merge_in_any_order(rng, offset):
    X, y = data(rng, 500, 4, 3, offset=offset)
    parts = [
        ClassStatistics.of(X[rows], y[rows], 3, None, "cpu")
        for rows in np.array_split(rng.permutation(500), 9)
    ]
    forwards, backwards = parts[0], parts[-1]
    for part in parts[1:]:
        forwards = forwards.merge(part)
    for part in parts[-2::-1]:
        backwards = part.merge(backwards)
    W, means = within(X, y)
    for merged in (forwards, backwards, ClassStatistics.empty(3, 4).merge(forwards)):
        np.testing.assert_array_equal(merged.weights, np.bincount(y))
        np.testing.assert_allclose(merged.means, means, rtol=1e-13)
        np.testing.assert_allclose(merged.covariance, W, rtol=0, atol=1e-9)


def test_integer_weights_are_repeated_rows(rng, dtype):
    X, y = data(rng, dtype=dtype)
    times = rng.integers(0, 4, len(X))
    weighted = LinearDiscriminantAnalysis().fit(X, y, sample_weight=times)
    repeated = LinearDiscriminantAnalysis().fit(X.repeat(times, 0), y.repeat(times))
    assert_same_model(weighted, repeated, 1e-4 if dtype == np.float32 else 1e-9)


def test_sparse_samples(rng, dtype):
    X, y = data(rng, dtype=dtype)
    X[rng.random(X.shape) < 0.6] = 0
    dense = LinearDiscriminantAnalysis().fit(X, y)
    sparse = LinearDiscriminantAnalysis().fit(scipy.sparse.csr_matrix(X), y)
    close = {"rtol": 0, "atol": 1e-4 if dtype == np.float32 else 1e-10}
    for name in ("decision_function", "transform"):
        got = getattr(sparse, name)(scipy.sparse.csr_matrix(X))
        np.testing.assert_allclose(got, getattr(dense, name)(X), **close)


@pytest.mark.parametrize("weighted", [False, True])
def test_chunks_are_the_whole(rng, weighted):
    """Chunks give the same model as all samples at once, even with string labels and a class that occurs late."""
    X, y = data(rng)
    order = np.argsort(y, kind="stable")
    X, names = X[order], np.array(["ash", "beech", "cedar"])[y[order]]
    weight = rng.integers(1, 4, len(y)) if weighted else None
    whole = LinearDiscriminantAnalysis().fit(X, names, weight)

    def chunks():
        for rows in np.array_split(np.arange(len(y)), 7):
            part = X[rows], names[rows]
            yield (*part, weight[rows]) if weighted else part

    streamed = LinearDiscriminantAnalysis().fit_chunks(chunks())
    np.testing.assert_array_equal(streamed.classes_, whole.classes_)
    np.testing.assert_allclose(streamed.coef_, whole.coef_, rtol=0, atol=1e-10 * np.abs(whole.coef_).max())
    np.testing.assert_array_equal(streamed.predict(X), whole.predict(X))
    more = streamed.partial_fit(X, names)
    twice = LinearDiscriminantAnalysis().fit(
        np.concatenate([X, X]),
        np.concatenate([names, names]),
        None if weight is None else np.concatenate([weight, np.ones(len(y))]),
    )
    np.testing.assert_allclose(more.coef_, twice.coef_, rtol=0, atol=1e-10 * np.abs(twice.coef_).max())


@pytest.mark.parametrize(
    ("chunks", "text"),
    [
        ([], "there is no chunk"),
        ([np.ones((4, 2))], r"each chunk has to be \(X, y\)"),
        ([(np.eye(2), [0, 1]), (np.eye(3), [0, 1, 1])], "3 features"),
        ([(np.eye(2), [1, 1])], "y has 1 class"),
        ([(np.array([[1.0, 2.0], [np.nan, 3.0]]), [0, 1])], "X is nan at row 1, column 0"),
    ],
    ids=str,
)
def test_bad_chunks(chunks, text):
    with pytest.raises(ValueError, match=text):
        LinearDiscriminantAnalysis().fit_chunks(chunks)


def test_memory_mapped_samples_are_read_where_they_are(rng, tmp_path, dtype):
    n, d = 100_000, 30
    X, y = data(rng, n=n, d=d, dtype=dtype)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    LinearDiscriminantAnalysis().fit(mapped[:100], y[:100])  # imports modules before memory is measured
    tracemalloc.start()
    model = LinearDiscriminantAnalysis().fit(mapped, y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(model.coef_, LinearDiscriminantAnalysis().fit(X, y).coef_)
    assert peak < X.nbytes / 2, "a copy of X was made"


def test_bad_streams(rng):
    X, y = data(rng, 40, 3, 2)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        LinearDiscriminantAnalysis().partial_fit(X, y)
    model = LinearDiscriminantAnalysis().partial_fit(X, y, classes=[0, 1])
    coef = model.coef_.copy()
    for bad, text in ((y + 1, "not among the classes: .*2"), (y - 1, "not among the classes: .*-1")):
        with pytest.raises(ValueError, match=text):
            model.partial_fit(X, bad)
    with pytest.raises(ValueError, match="not the same as on last call"):
        model.partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="cannot merge: 3 features here, 2 there"):
        model.merge(LinearDiscriminantAnalysis().fit(X[:, :2], y))
    model.set_params(priors=[0.5, 0.5])
    with pytest.raises(ValueError, match="priors has shape"):
        model.merge(LinearDiscriminantAnalysis().fit(X, y + 1))
    np.testing.assert_array_equal(model.classes_, [0, 1])
    np.testing.assert_array_equal(model.coef_, coef)


def test_what_needs_all_samples_has_no_partial_fit(rng):
    for options in ({"shrinkage": "auto"}, {"covariance_estimator": sklearn_covariance.OAS()}):
        model = LinearDiscriminantAnalysis(**options)
        assert not hasattr(model, "partial_fit")
        assert not hasattr(model, "merge")


def test_chunks_on_cuda(cupy, rng, dtype):
    X, y = data(rng, dtype=dtype)
    whole = LinearDiscriminantAnalysis().fit(X.astype(np.float64), y)
    chunks = ((cupy.asarray(X[i : i + 50]), cupy.asarray(y[i : i + 50])) for i in range(0, 200, 50))
    streamed = LinearDiscriminantAnalysis().fit_chunks(chunks)
    assert streamed.device_ == "cuda" and isinstance(streamed.coef_, cupy.ndarray)
    atol = 1e-5 * np.abs(whole.coef_).max()
    np.testing.assert_allclose(cupy.asnumpy(streamed.coef_), whole.coef_, rtol=0, atol=atol)
