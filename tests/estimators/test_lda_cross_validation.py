"""Closed-form cross-validation of discriminant analysis gives the same results as refitting."""

from __future__ import annotations

import tracemalloc
import warnings

import numpy as np
import pytest
import scipy.sparse
from sklearn import datasets, model_selection
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GroupKFold, KFold, LeaveOneOut, ShuffleSplit, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from steepest.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    _held_out,
    cross_val_predict,
    shrinkage_path,
)

# (n, d, k): many samples, more features than samples (twice), slightly more samples than features.
SHAPES = [(60, 5, 3), (36, 50, 3), (30, 120, 2), (40, 33, 4)]
FOLDS = {"leave-one-out": LeaveOneOut(), "unequal": KFold(7, shuffle=True, random_state=0), "large": KFold(3)}
METHODS = ("predict_proba", "predict_log_proba", "decision_function", "predict")


def data(rng, n=60, d=5, k=3, dtype=np.float64):
    y = np.arange(n) % k
    X = rng.standard_normal((n, d)) @ (np.eye(d) + 0.3 * rng.random((d, d)))
    return (X + rng.standard_normal((k, d))[y] + 100).astype(dtype), y


def refitted(model, X, y, cv, method="predict_proba"):
    """Predictions of scikit-learn's cross_val_predict, with a fit for each fold."""
    return model_selection.cross_val_predict(model, X, y, cv=cv, method=method)


def assert_close(got, expected, relative=1e-10):
    scale = np.abs(expected[np.isfinite(expected)]).max()
    np.testing.assert_allclose(got, expected, rtol=0, atol=relative * max(scale, 1.0))


# --------------------------------------------------------------------------------------------- agreement with refits


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cv", FOLDS)
@pytest.mark.parametrize("shrinkage", [None, 1e-2, 0.4, 1.0, "auto"])
@pytest.mark.filterwarnings("ignore:.*collinear:UserWarning")
def test_folds_are_predicted_as_by_refits(rng, shape, cv, shrinkage):
    X, y = data(rng, *shape)
    model = LinearDiscriminantAnalysis(shrinkage=shrinkage)
    for method in METHODS:
        got = cross_val_predict(model, X, y, cv=FOLDS[cv], method=method)
        assert_close(got, refitted(model, X, y, FOLDS[cv], method), 1e-9)


@pytest.mark.parametrize("shape", SHAPES[:2], ids=str)
@pytest.mark.parametrize("cv", FOLDS)
@pytest.mark.parametrize("options", [{"unbiased": True}, {"priors": [0.6, 0.3, 0.1]}], ids=str)
def test_options_of_the_fits(rng, shape, cv, options):
    X, y = data(rng, *shape)
    model = LinearDiscriminantAnalysis(shrinkage=0.1, **options)
    got = cross_val_predict(model, X, y, cv=FOLDS[cv], method="predict_proba")
    assert_close(got, refitted(model, X, y, FOLDS[cv]))


@pytest.mark.parametrize("shape", SHAPES[:3], ids=str)
@pytest.mark.parametrize("cv", FOLDS)
@pytest.mark.parametrize("unbiased", [False, True])
def test_weights(rng, shape, cv, unbiased):
    """Samples of weight 0 are predicted, but do not influence the fit."""
    X, y = data(rng, *shape)
    weight = rng.integers(0, 4, len(y)) * 1.0
    model = LinearDiscriminantAnalysis(shrinkage=0.1, unbiased=unbiased)
    expected = np.empty((len(y), shape[2]))
    for train, test in FOLDS[cv].split(X, y):
        fitted = LinearDiscriminantAnalysis(shrinkage=0.1, unbiased=unbiased)
        expected[test] = fitted.fit(X[train], y[train], weight[train]).predict_proba(X[test])
    got = cross_val_predict(model, X, y, cv=FOLDS[cv], method="predict_proba", sample_weight=weight)
    assert_close(got, expected)


@pytest.mark.parametrize(
    ("load", "errors"),
    [(datasets.load_iris, 3), (datasets.load_wine, 2), (datasets.load_breast_cancer, 24)],
    ids=["iris", "wine", "breast cancer"],
)
def test_leave_one_out_errors_of_known_data(load, errors):
    X, y = load(return_X_y=True)
    model = LinearDiscriminantAnalysis()
    got = cross_val_predict(model, X, y, cv="leave-one-out")
    assert (got != y).sum() == errors
    np.testing.assert_array_equal(got, refitted(model, X, y, LeaveOneOut(), "predict"))
    probabilities = cross_val_predict(model, X, y, cv="leave-one-out", method="predict_proba")
    np.testing.assert_allclose(probabilities, refitted(model, X, y, LeaveOneOut()), rtol=0, atol=1e-10)


def test_a_pixel_that_one_sample_has(rng):
    """Without that sample the feature is constant in a fold; features that are always constant do no harm."""
    X, y = data(rng)
    X = np.c_[X, np.zeros((60, 2))]
    X[17, 5] = 3.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about constant features
        expected = refitted(LinearDiscriminantAnalysis(), X, y, LeaveOneOut())
    got = cross_val_predict(LinearDiscriminantAnalysis(), X, y, cv="leave-one-out", method="predict_proba")
    assert_close(got, expected)


def test_closed_forms_are_taken(rng, monkeypatch):
    """Cases with a closed form make no refits, and the others refit every fold."""
    refits = []
    fit = _held_out.fit_to_samples
    monkeypatch.setattr(_held_out, "fit_to_samples", lambda *a: refits.append(1) or fit(*a))
    for shape, cv, shrinkage, expected in [
        (SHAPES[0], "leave-one-out", None, 0),
        (SHAPES[0], "large", None, 0),
        (SHAPES[0], "leave-one-out", 0.1, 0),
        (SHAPES[1], "unequal", 0.1, 0),
        (SHAPES[1], "large", 0.1, 0),
        (SHAPES[1], "leave-one-out", None, 36),
        (SHAPES[0], "leave-one-out", "auto", 60),
    ]:
        refits.clear()
        X, y = data(rng, *shape)
        cross_val_predict(LinearDiscriminantAnalysis(shrinkage=shrinkage), X, y, cv=FOLDS[cv])
        assert len(refits) == expected, (shape, cv, shrinkage)


@pytest.mark.parametrize("shrinkage", [0.0, 0.1])
def test_a_class_that_a_fold_has_all_of(rng, shrinkage):
    """A class that occurs in one fold alone is unknown there: its probability is 0, as in scikit-learn."""
    X, y = data(rng)
    y[7] = 9
    model = LinearDiscriminantAnalysis(shrinkage=shrinkage)
    got = cross_val_predict(model, X, y, cv="leave-one-out", method="predict_proba")
    fitted = model.fit(np.delete(X, 7, axis=0), np.delete(y, 7))
    np.testing.assert_allclose(got[7, :3], fitted.predict_proba(X[7:8])[0], rtol=0, atol=1e-10)
    assert got[7, 3] == 0 and np.isfinite(got).all()
    labels = cross_val_predict(model, X, y, cv=KFold(4, shuffle=True, random_state=0))
    assert set(labels) <= {0, 1, 2, 9}
    with pytest.raises(ValueError, match="a class that has a prior is missing"):
        cross_val_predict(
            LinearDiscriminantAnalysis(shrinkage=shrinkage, priors=np.full(4, 0.25)),
            X,
            y,
            cv="leave-one-out",
        )


def test_folds_of_groups_and_of_one_s_own(rng):
    X, y = data(rng)
    groups = np.arange(60) // 7
    model = LinearDiscriminantAnalysis(shrinkage=0.1)
    expected = model_selection.cross_val_predict(
        model, X, y, groups=groups, cv=GroupKFold(4), method="predict_proba"
    )
    got = cross_val_predict(model, X, y, groups=groups, cv=GroupKFold(4), method="predict_proba")
    assert_close(got, expected)
    own = [(np.arange(10, 60), np.arange(10)), (np.arange(10), np.arange(10, 60))]
    np.testing.assert_array_equal(
        cross_val_predict(model, X, y, cv=own), refitted(model, X, y, own, "predict")
    )
    np.testing.assert_array_equal(
        cross_val_predict(model, X, y), refitted(model, X, y, StratifiedKFold(5), "predict")
    )


def test_labels_may_be_strings_and_samples_sparse(rng, dtype):
    X, y = data(rng, 40, 50, 3, dtype)
    X[rng.random(X.shape) < 0.5] = 0
    names = np.array(["ash", "beech", "cedar"])[y]
    model = LinearDiscriminantAnalysis(shrinkage=0.1)
    dense = cross_val_predict(model, X, names, cv=5)
    np.testing.assert_array_equal(dense, refitted(model, X, names, 5, "predict"))
    np.testing.assert_array_equal(cross_val_predict(model, scipy.sparse.csr_matrix(X), names, cv=5), dense)
    assert cross_val_predict(model, X, names, cv=5, method="predict_proba").dtype == dtype


# ------------------------------------------------------------------------------------------------------ shrinkage


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cv", ["leave-one-out", "large"])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_path_is_its_fits(rng, shape, cv, weighted):
    X, y = data(rng, *shape)
    shares = [0.01, 0.3, 1.0] if shape[1] > 30 else [0.0, 0.01, 0.3, 1.0]
    weight = rng.integers(1, 4, len(y)) * 1.0 if weighted else None
    path = shrinkage_path(X, y, shares, cv=FOLDS[cv], sample_weight=weight)
    np.testing.assert_array_equal(path.shrinkages, shares)
    for i, share in enumerate(shares):
        model = LinearDiscriminantAnalysis(shrinkage=share)
        logs = cross_val_predict(model, X, y, cv=FOLDS[cv], method="predict_log_proba", sample_weight=weight)
        model.fit(X, y, weight)
        assert_close(path.coef[i], model.coef_, 1e-9)
        assert_close(path.intercept[i], model.intercept_, 1e-9)
        expected = np.average(-logs[np.arange(len(y)), y], weights=weight)
        assert path.log_loss[i] == pytest.approx(expected, rel=1e-8, abs=1e-12)
        expected = accuracy_score(y, logs.argmax(axis=1), sample_weight=weight)
        assert path.accuracy[i] == pytest.approx(expected, rel=1e-12)
    assert path.log_loss[shares.index(path.best)] == path.log_loss.min()


def test_the_grid_of_a_path(rng):
    many, few = (shrinkage_path(*data(rng, *shape)) for shape in SHAPES[:2])
    assert many.shrinkages[0] == 0 and len(few.shrinkages) == 21
    np.testing.assert_allclose(few.shrinkages[[0, 4, -1]], [1e-5, 1e-4, 1])
    np.testing.assert_array_equal(many.shrinkages[1:], few.shrinkages)


@pytest.mark.parametrize("shape", SHAPES[:3], ids=str)
def test_shrinkage_that_is_chosen(rng, shape):
    """shrinkage='cv' fits with the shrinkage that has the best leave-one-out score of those tried."""
    X, y = data(rng, *shape)
    model = LinearDiscriminantAnalysis(shrinkage="cv").fit(X, y)
    path = shrinkage_path(X, y)
    assert model.shrinkage_ == path.best
    np.testing.assert_array_equal(model.cv_results_["log_loss"], path.log_loss)
    same = LinearDiscriminantAnalysis(shrinkage=model.shrinkage_).fit(X, y)
    np.testing.assert_array_equal(model.coef_, same.coef_)
    model.set_params(shrinkage=0.1).fit(X, y)
    assert not hasattr(model, "shrinkage_")


def test_the_chosen_shrinkage_is_chosen_again_for_each_fold(rng):
    X, y = data(rng)
    model = LinearDiscriminantAnalysis(shrinkage="cv")
    got = cross_val_predict(model, X, y, cv=3, method="predict_proba")
    assert_close(got, refitted(model, X, y, 3))
    scaled = make_pipeline(StandardScaler(), model)
    assert model_selection.cross_val_score(scaled, X, y, cv=3).mean() > 0.5


def test_the_largest_share_of_several_that_are_equally_good(rng):
    X = np.r_[rng.standard_normal((20, 3)), rng.standard_normal((20, 3)) + 1e3]
    y = np.repeat([0, 1], 20)
    path = shrinkage_path(X, y, [0.1, 0.2, 0.3])
    assert (path.log_loss == path.log_loss[0]).all() and path.best == 0.3


def test_no_matrix_of_all_features_is_formed(rng):
    X, y = data(rng, 30, 20, 2)
    X = np.tile(X, 300) + rng.standard_normal((30, 6000))
    tracemalloc.start()
    shrinkage_path(X, y, [0.1, 0.5])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6000**2 * 8 / 10


# ------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"method": "transform"}, r"\[cross_val_predict\] method 'transform' is not one of: predict, "),
        ({"cv": ShuffleSplit(2, random_state=0)}, "the test folds of cv must be a partition"),
        (
            {"cv": [(np.arange(30), np.arange(40, 60)), (np.arange(40), np.arange(40))]},
            "every sample outside its test fold",
        ),
        ({"cv": [(np.arange(0), np.arange(60))]}, "a test fold holds all samples"),
        ({"cv": "loo"}, "cv is 'loo', but has to be 'leave-one-out'"),
        ({"cv": 1}, "k-fold cross-validation requires at least one train/test split"),
    ],
    ids=str,
)
def test_bad_folds(rng, options, text):
    X, y = data(rng)
    with pytest.raises(ValueError, match=text):
        cross_val_predict(LinearDiscriminantAnalysis(), X, y, **options)


def test_bad_samples_and_estimators(rng):
    X, y = data(rng)
    with pytest.raises(TypeError, match="the estimator is a LogisticRegression"):
        cross_val_predict(LogisticRegression(), X, y)
    X[3, 2] = np.nan
    with pytest.raises(ValueError, match="X is nan at row 3, column 2"):
        cross_val_predict(LinearDiscriminantAnalysis(), X, y)
    with pytest.raises(ValueError, match="there are no more samples than classes"):
        cross_val_predict(LinearDiscriminantAnalysis(), np.eye(3), [0, 1, 0], cv="leave-one-out")


@pytest.mark.parametrize(
    ("shrinkages", "options", "text"),
    [
        (
            [0.1, 1.5],
            {},
            r"\[shrinkage_path\] shrinkages must be a one-dimensional array of numbers in \[0, 1\]",
        ),
        ([], {}, "shrinkages must be"),
        ([[0.1]], {}, "shrinkages must be"),
        ([np.nan], {}, "shrinkages must be"),
        ([0.1], {"shrinkage": 0.2}, "not parameters of a path"),
    ],
    ids=str,
)
def test_bad_paths(rng, shrinkages, options, text):
    with pytest.raises(ValueError, match=text):
        shrinkage_path(*data(rng), shrinkages, **options)


def test_no_share_of_0_without_an_inverse(rng):
    with pytest.raises(ValueError, match="leave out the shrinkage 0"):
        shrinkage_path(*data(rng, *SHAPES[1]), [0.0, 0.1])


def test_what_is_chosen_needs_all_samples():
    assert not hasattr(LinearDiscriminantAnalysis(shrinkage="cv"), "partial_fit")
    assert not hasattr(LinearDiscriminantAnalysis(shrinkage="cv"), "fit_chunks")


# ----------------------------------------------------------------------------------------------------------- CUDA


@pytest.mark.parametrize("shape", SHAPES[:2], ids=str)
@pytest.mark.parametrize("shrinkage", [0.1, "cv"])
@pytest.mark.parametrize("method", METHODS)
def test_cuda(cupy, rng, dtype, shape, shrinkage, method):
    X, y = data(rng, *shape, dtype)
    model = LinearDiscriminantAnalysis(shrinkage=shrinkage)
    expected = cross_val_predict(model, X, y, cv=3, method=method)
    got = cross_val_predict(model, cupy.asarray(X), cupy.asarray(y), cv=3, method=method)
    assert isinstance(got, cupy.ndarray)
    assert_close(cupy.asnumpy(got), expected, 1e-4 if dtype == np.float32 else 1e-9)
    path = shrinkage_path(cupy.asarray(X), cupy.asarray(y), [0.1, 0.5])
    assert_close(path.coef, shrinkage_path(X, y, [0.1, 0.5]).coef, 1e-9)
