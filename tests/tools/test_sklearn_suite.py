"""scikit-learn's own tests pass on this package's classes, except for those that the docs explain."""

from __future__ import annotations

import json

import pytest
import sklearn
from sklearn_suite import page, run
from sklearn_suite.suites import SUITES

# Every change runs the two halves of one suite, in a few seconds each; `make test-deep` runs all suites.
HALVES = [("mlp", "partial_fit or multi"), ("mlp", "not (partial_fit or multi)")]


@pytest.mark.parametrize(
    ("name", "select"),
    [*HALVES, *(pytest.param(name, "", marks=pytest.mark.deep("it takes minutes")) for name in SUITES)],
)
def test_no_failure_is_unexplained(name, select):
    if not run.is_installed(name):
        pytest.skip("this scikit-learn was installed without its tests")
    result = run.run(name, select=select)
    assert result["passed"] > 10, result["output"]
    # Other releases of scikit-learn have other tests, and may lack a test with a reason.
    whole = not select and sklearn.__version__ == page.load()[name]["sklearn"]
    assert not run.disagreements(name, result, whole=whole), result["output"]


def test_the_page_is_that_of_the_results():
    results = json.loads(page.DATA.read_text())
    assert page.PAGE.read_text() == page.render(results)
    for name, result in results.items():
        assert not run.disagreements(name, result)


def test_a_failure_without_a_reason_and_a_reason_without_a_failure_are_told(monkeypatch):
    result = {"failed": {"test_a[1]": "assert 0", "test_b": "assert 1", "test_c[x]": "assert 2"}}
    reasons = {"test_a": "all of them", "test_c[x]": "this one", "test_d": "long repaired"}
    monkeypatch.setattr(run, "REASONS", {"mlp": reasons})
    unexplained = "mlp: test_b fails without a reason: assert 1"
    assert run.disagreements("mlp", result, whole=False) == [unexplained]
    assert run.disagreements("mlp", result) == [unexplained, "mlp: test_d has a reason, but does not fail"]


def test_every_suite_names_classes_that_exist():
    for suite in SUITES.values():
        module = __import__(suite.ours, fromlist=suite.names)
        theirs = __import__(suite.package, fromlist=suite.names)
        assert all(hasattr(module, name) and hasattr(theirs, name) for name in suite.names)
