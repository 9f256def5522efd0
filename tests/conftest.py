"""Fixtures shared by the tests, and which run where: on the CPU, on the stand-in for CUDA, on a GPU, when asked."""

from __future__ import annotations

import signal
from pathlib import Path

import backends
import hypothesis
import numpy as np
import pytest

import steepest

TOOLS, ESTIMATORS = (Path(__file__).parent / name for name in ("tools", "estimators"))

hypothesis.settings.register_profile("quick", max_examples=12, deadline=None, derandomize=True)
hypothesis.settings.register_profile("deep", max_examples=1000, deadline=None)
hypothesis.settings.load_profile("deep" if backends.DEEP else "quick")

# A process that a shell starts in the background ignores Ctrl-C, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

backends.route_kernels()


def pytest_configure(config):
    config.addinivalue_line("markers", "cpu_only(reason): is skipped where the CUDA kernels are tested")
    config.addinivalue_line("markers", "not_on_gpu(reason): is skipped where a GPU computes")
    config.addinivalue_line(
        "markers", "not_when_slow(reason): is skipped on the stand-in for CUDA and under sanitizers"
    )
    config.addinivalue_line("markers", "deep(reason): is skipped but by `make test-deep`")


def reasons_to_skip(item):
    def reasons_of(marker):
        return [m.args[0] for m in item.iter_markers(marker)]

    is_estimators, uses_cupy = item.path.is_relative_to(ESTIMATORS), "cupy" in item.fixturenames
    if not backends.ON_CPU:
        yield from reasons_of("cpu_only")
        if item.path.is_relative_to(TOOLS):
            yield "it does not test kernels"
    if backends.ON_GPU:
        yield from reasons_of("not_on_gpu")
    if not backends.DEEP:
        yield from reasons_of("deep")
        if backends.SLOW:
            yield from reasons_of("not_when_slow")
        if backends.STANDIN and is_estimators and not uses_cupy:
            yield "the estimators' own logic is tested on the CPU"


def pytest_collection_modifyitems(items):
    for item in items:
        for reason in reasons_to_skip(item):
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
    if backends.ON_CPU and backends.SLOW and not backends.DEEP and request.param != backends.THREADS[-1]:
        pytest.skip("under sanitizers the largest team stands for the others")
    before = steepest.get_num_threads()
    steepest.set_num_threads(request.param)
    yield request.param
    steepest.set_num_threads(before)


@pytest.fixture(params=backends.STANDIN_DEVICES[:3] if backends.STANDIN else [None])
def multiprocessors(request):
    """On the stand-in, compute on devices of several sizes: how work is shared out depends on their multiprocessors."""
    if request.param is None:
        yield
        return
    standin = backends.load_standin()
    devices = [device["multiprocessors"] for device in standin.info()["devices"]]
    standin.set_device(devices.index(request.param))
    yield request.param
    standin.set_device(0)


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
