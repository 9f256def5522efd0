"""Fixtures shared by the tests, and the marker of those that run under every instruction set."""

from __future__ import annotations

import backends
import numpy as np
import pytest

import steepest


def pytest_configure(config):
    config.addinivalue_line("markers", "every_isa: runs again under each instruction set (test_isa.py)")


@pytest.fixture
def rng():
    return np.random.default_rng(20240229)


@pytest.fixture(params=backends.DTYPES, ids=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture(params=backends.THREADS, ids=lambda n: f"threads{n}")
def threads(request):
    """Set the number of threads for one test."""
    before = steepest.get_num_threads()
    steepest.set_num_threads(request.param)
    yield request.param
    steepest.set_num_threads(before)
