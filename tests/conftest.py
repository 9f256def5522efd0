"""Fixtures shared by the tests, and the markers: which run under every instruction set, which on the CPU only."""

from __future__ import annotations

import backends
import numpy as np
import pytest

import steepest

# Files whose tests say nothing about the CUDA kernels -> why they are skipped where those are tested.
CPU_ONLY = {
    "test_isa": "instruction sets are the CPU's",
    "test_threads": "threads are the CPU's",
    "test_pytorch": "its fresh interpreters compute on the CPU",
    "test_processes": "its fresh interpreters compute on the CPU",
    "test_neural_network_parity": "its fits take the stand-in too long",
    "test_neural_network": "its fits take the stand-in too long; test_device.py has short ones",
    **dict.fromkeys(
        (
            "test_bench",
            "test_bench_report",
            "test_callbacks",
            "test_cli",
            "test_datasets",
            "test_docs",
            "test_estimator_errors",
            "test_examples",
            "test_import",
            "test_model_files",
            "test_sklearn_suite",
        ),
        "it does not test kernels",
    ),
}

backends.route_kernels()


def pytest_configure(config):
    config.addinivalue_line("markers", "every_isa: runs again under each instruction set (test_isa.py)")
    config.addinivalue_line("markers", "cpu_only(reason): is skipped where the CUDA kernels are tested")
    config.addinivalue_line("markers", "not_on_gpu(reason): is skipped where a GPU computes")


def pytest_collection_modifyitems(items):
    for item in items:
        reasons = [CPU_ONLY.get(item.path.stem)] if not backends.ON_CPU else []
        reasons += [m.args[0] for m in item.iter_markers("cpu_only")] if not backends.ON_CPU else []
        reasons += [m.args[0] for m in item.iter_markers("not_on_gpu")] if backends.ON_GPU else []
        for reason in filter(None, reasons):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def rng():
    return np.random.default_rng(20240229)


@pytest.fixture(params=backends.DTYPES, ids=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture(params=backends.THREADS, ids=lambda n: f"threads{n}")
def threads(request):
    """Set the number of threads for one test."""
    if not backends.ON_CPU and request.param != backends.THREADS[0]:
        pytest.skip("threads are the CPU's")
    before = steepest.get_num_threads()
    steepest.set_num_threads(request.param)
    yield request.param
    steepest.set_num_threads(before)


@pytest.fixture
def cupy(monkeypatch):
    """CuPy, or the fake one; for the test, `device="cuda"` works, and NumPy arrays compute on the CPU."""
    yield backends.install_cuda(monkeypatch)
    backends.forget_cuda()


@pytest.fixture
def no_cuda(monkeypatch):
    """A build without CUDA kernels, for one test."""
    backends.replace_cuda(monkeypatch, None)
    yield
    backends.forget_cuda()
