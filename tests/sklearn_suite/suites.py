"""The test files of scikit-learn, and which of the names in them are rebound to the classes of this package."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Suite:
    """One test file.

    Parameters
    ----------
    tests : str
        Its module.
    package : str
        The module of scikit-learn whose names are rebound, before the tests are imported.
    ours : str
        The module that has the classes of the same names.
    names : tuple of str
        The names.
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
