"""The test files of scikit-learn, and the names in them that are rebound to this package's classes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Suite:
    """A test file of scikit-learn and the names to rebind in it.

    Parameters
    ----------
    tests : str
        Module of the test file.
    package : str
        Module of scikit-learn whose names are rebound before the tests are imported.
    ours : str
        Module of this package with classes of the same names.
    names : tuple of str
        Names of the rebound classes.
    """

    tests: str
    package: str
    ours: str
    names: tuple[str, ...]


SUITES = {
    "mlp": Suite(
        "sklearn.neural_network.tests.test_mlp",
        "sklearn.neural_network",
        "steepest.neural_network",
        ("MLPClassifier", "MLPRegressor"),
    ),
    "rbm": Suite(
        "sklearn.neural_network.tests.test_rbm",
        "sklearn.neural_network",
        "steepest.neural_network",
        ("BernoulliRBM",),
    ),
    "base": Suite(
        "sklearn.linear_model.tests.test_base",
        "sklearn.linear_model",
        "steepest.linear_model",
        ("LinearRegression",),
    ),
    "logistic": Suite(
        "sklearn.linear_model.tests.test_logistic",
        "sklearn.linear_model._logistic",
        "steepest.linear_model",
        ("LogisticRegression",),
    ),
    "sgd": Suite(
        "sklearn.linear_model.tests.test_sgd",
        "sklearn.linear_model",
        "steepest.linear_model",
        ("SGDClassifier", "SGDRegressor"),
    ),
    "perceptron": Suite(
        "sklearn.linear_model.tests.test_perceptron",
        "sklearn.linear_model",
        "steepest.linear_model",
        ("Perceptron",),
    ),
    "lda": Suite(
        "sklearn.tests.test_discriminant_analysis",
        "sklearn.discriminant_analysis",
        "steepest.discriminant_analysis",
        ("LinearDiscriminantAnalysis",),
    ),
    "pca": Suite(
        "sklearn.decomposition.tests.test_pca",
        "sklearn.decomposition",
        "steepest.decomposition",
        ("PCA",),
    ),
}
