"""Shared fixtures, and markers that skip tests on the CPU, on the stand-in for CUDA or on a GPU."""

from __future__ import annotations

import signal
from pathlib import Path

import backends
import hypothesis
import numpy as np
import pytest

import steepest

TOOLS, ESTIMATORS, AGENTS = (
    Path(__file__).parent / name for name in ("tools", "estimators", "reinforcement")
)

hypothesis.settings.register_profile("quick", max_examples=12, deadline=None, derandomize=True)
hypothesis.settings.register_profile("deep", max_examples=1000, deadline=None)
hypothesis.settings.load_profile("deep" if backends.DEEP else "quick")

# A process that a shell starts in the background ignores Ctrl-C, and its children would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

backends.route_kernels()


def pytest_configure(config):
    config.addinivalue_line("markers", "cpu_only(reason): skips a test when the CUDA kernels are tested")
    config.addinivalue_line("markers", "not_on_gpu(reason): skips a test on a real GPU")
    config.addinivalue_line(
        "markers", "not_when_slow(reason): skips a test on the stand-in for CUDA and under sanitizers"
    )
    config.addinivalue_line("markers", "deep(reason): skips a test except in `make test-deep`")


def reasons_to_skip(item):
    def reasons_of(marker):
        return [m.args[0] for m in item.iter_markers(marker)]

    is_estimators = any(item.path.is_relative_to(folder) for folder in (ESTIMATORS, AGENTS))
    uses_cupy = "cupy" in item.fixturenames
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
        pytest.skip("under sanitizers only the largest number of threads is tested")
    before = steepest.get_num_threads()
    steepest.set_num_threads(request.param)
    yield request.param
    steepest.set_num_threads(before)


@pytest.fixture(params=backends.STANDIN_DEVICES[:3] if backends.STANDIN else [None])
def multiprocessors(request):
    """On the stand-in, run a test on devices with few and many multiprocessors, which split work differently."""
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
    """CuPy or the fake CuPy; during the test `device="cuda"` works, and NumPy arrays use the CPU kernels."""
    yield backends.install_cuda(monkeypatch)
    backends.forget_cuda()


@pytest.fixture
def no_cuda(monkeypatch):
    """Imitate a build without CUDA kernels during the test."""
    backends.replace_cuda(monkeypatch, None)
    yield
    backends.forget_cuda()
