"""The choice of the backend by the type of the arrays, and the errors when CUDA is missing."""

from __future__ import annotations

import importlib
import re
import sys

import backends
import numpy as np
import pytest

import steepest
from steepest import _cpu, cli, nn
from steepest import kernels as K
from steepest._runtime import config
from steepest._runtime.backends import NOT_BUILT, backend_of, backend_of_first, cuda_problem

cpu_only = pytest.mark.cpu_only("NumPy arrays are routed to the CUDA kernels")


class Foreign:
    """An array of another library, in memory of a DLPack device type `kind`."""

    def __init__(self, values, kind):
        self.values, self.kind = values, kind

    def __dlpack__(self, **options):
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self):
        return (self.kind, 0)


HOST, CUDA, PINNED, MANAGED = 1, 2, 3, 13


class Subclass(np.ndarray):
    pass


@cpu_only
def test_host_arrays_go_to_the_cpu():
    values = np.arange(4.0)
    for array in (
        values,
        values.view(Subclass),
        np.ma.array(values),
        Foreign(values, HOST),
        Foreign(values, PINNED),
    ):
        assert backend_of(array) is _cpu
    # The operation itself rejects objects that are no arrays.
    for other in (None, 3, "array", [1.0], []):
        assert backend_of(other) is _cpu
    assert backend_of_first([values]) is backend_of_first([]) is backend_of_first(values) is _cpu
    assert K.relu(Foreign(-values, HOST)).tolist() == [0.0] * 4


@pytest.mark.parametrize("kind", [CUDA, MANAGED])
def test_a_cuda_array_without_cuda_kernels(no_cuda, kind):
    array = Foreign(np.ones((2, 2)), kind)
    calls = {
        "matmul": lambda: K.matmul(array, array),
        "softmax": lambda: K.softmax(array),
        "sgd_update": lambda: K.sgd_update([array], [array], lr=0.1),
        "random_uniform": lambda: K.random_uniform((2,), seed=0, device="cuda"),
        "random_bits": lambda: K.permutation(2, seed=0, device="cuda"),
    }
    for name, call in calls.items():
        text = f"[{name}] CUDA is not available: {NOT_BUILT}"
        assert "STEEPEST_CUDA=ON pip install" in text
        with pytest.raises(RuntimeError, match=f"^{re.escape(text)}"):
            call()
    # CUDA has computed nothing, so there is nothing to wait for.
    steepest.synchronize()


def test_a_cuda_array_without_cupy(monkeypatch):
    class Module:
        def info(self):
            return {"problem": ""}

    backends.replace_cuda(monkeypatch, Module())
    monkeypatch.setitem(sys.modules, "cupy", None)
    try:
        with pytest.raises(
            RuntimeError, match=r"^\[relu\] .*CuPy is not installed.*pip install cupy-cuda13x"
        ):
            backend_of(Foreign(np.ones(2), CUDA)).relu()
        assert "pip install cupy-cuda13x" in cuda_problem()
    finally:
        backends.forget_cuda()


@cpu_only
def test_a_broken_cuda_module_does_not_harm_the_cpu(monkeypatch):
    real = importlib.import_module

    def broken(name, *args):
        if name == "steepest._cuda":
            raise ImportError("undefined symbol: launch")
        return real(name, *args)

    monkeypatch.setattr(importlib, "import_module", broken)
    backends.forget_cuda()
    try:
        with steepest.capture() as graph:
            y = K.relu(np.array([-1.0, 2.0]))
        graph.replay()
        assert y.tolist() == [0.0, 2.0]
        with pytest.raises(RuntimeError, match=r"^\[relu\] .*cannot be loaded: undefined symbol: launch"):
            backend_of(Foreign(np.ones(2), CUDA)).relu()
        assert config.cuda_lines() == {"CUDA": cuda_problem()}
    finally:
        backends.forget_cuda()


@pytest.mark.parametrize("device", ["gpu", "CUDA", "", None])
def test_unknown_device(device):
    calls = [
        lambda: nn.Network([nn.Linear(2, 2)], device=device),
        lambda: K.permutation(3, seed=0, device=device),
    ]
    if device is not None:
        calls.append(lambda: K.random_uniform((2,), seed=0, device=device))
    for call in calls:
        with pytest.raises(ValueError, match=r"^\[\w+\] device .* is not one of: cpu, cuda"):
            call()


def test_output_decides_where_random_numbers_are_made():
    out = np.empty(3, np.float32)
    assert K.random_uniform((3,), seed=1, out=out, device="cpu") is out
    with pytest.raises(ValueError, match=r"^\[random_uniform\] device is 'cuda', but out lies on 'cpu'"):
        K.random_uniform((3,), seed=1, out=out, device="cuda")
    bits = np.empty(3, np.uint64)
    assert K.random_bits(3, seed=1, out=bits) is bits
    with pytest.raises(ValueError, match=r"^\[random_bits\] device is 'cuda', but out lies on 'cpu'"):
        K.random_bits(3, seed=1, out=bits, device="cuda")


# ------------------------------------------------------------------------------------------------- with CUDA


def test_cupy_arrays_go_to_cuda(cupy):
    a, b = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
    product = K.matmul(cupy.asarray(a), cupy.asarray(b))
    assert isinstance(product, cupy.ndarray)
    np.testing.assert_array_equal(cupy.asnumpy(product), a @ b)  # small integers: exact
    assert type(K.matmul(a, b)) is np.ndarray
    steepest.synchronize()


def test_operands_of_two_libraries_are_refused(cupy):
    a = np.ones((2, 2))
    for first, second in ((a, cupy.asarray(a)), (cupy.asarray(a), a)):
        with pytest.raises(TypeError, match=r"^\[matmul\] "):
            K.matmul(first, second)


@pytest.mark.parametrize("n", [0, 1, 1000])
def test_random_numbers_are_the_same_on_both_devices(cupy, n):
    for seed, stream in ((0, 0), (7, 3)):
        draws = [
            lambda device: K.random_uniform((n,), -1, 2, seed=seed, stream=stream, device=device),  # noqa: B023
            lambda device: K.random_bits(n, seed=seed, stream=stream, device=device),  # noqa: B023
            lambda device: K.permutation(n, seed=seed, stream=stream, device=device),  # noqa: B023
        ]
        for draw in draws:
            on_cpu, on_cuda = draw("cpu"), draw("cuda")
            assert isinstance(on_cuda, cupy.ndarray)
            assert on_cuda.dtype == on_cpu.dtype
            assert backends.identical(cupy.asnumpy(on_cuda), on_cpu)


def test_a_graph_records_cupy_arrays(cupy):
    x, total = cupy.asarray(np.ones((2, 3))), cupy.asarray(np.zeros(3))
    with steepest.capture() as graph:
        K.sum(x, axis=0, out=total)
    assert graph.operations == ["sum"]
    assert cupy.asnumpy(total).tolist() == [0.0] * 3
    graph.replay(2)
    assert cupy.asnumpy(total).tolist() == [2.0] * 3
    assert graph.profile(1).operations[0].name == "sum"
    with pytest.raises(ValueError, match=r"^\[permutation\] cannot be captured"), steepest.capture():
        K.permutation(3, seed=0, device="cuda")


def test_a_graph_runs_on_one_device(cupy):
    x = np.ones(3)
    with (  # noqa: PT012 (the block is what is tested)
        pytest.raises(ValueError, match=r"^\[capture\] .*a graph runs on one device"),
        steepest.capture(),
    ):
        K.relu(x)
        K.relu(cupy.asarray(x))
    # Both backends have stopped recording after this error, and stop after an exception of the block itself.
    with pytest.raises(ZeroDivisionError), steepest.capture() as graph:  # noqa: PT012 (the block is what is tested)
        K.relu(cupy.asarray(x))
        _ = 1 // 0
    assert len(graph) == 0
    assert K.relu(x).tolist() == cupy.asnumpy(K.relu(cupy.asarray(x))).tolist() == [1.0] * 3


def test_a_capture_that_cannot_begin_leaves_nothing_behind(monkeypatch):
    class Module:
        """A CUDA module on which another capture is already active."""

        Graph = _cpu.Graph

        def begin_capture(self, graph):
            raise ValueError("[capture] another graph is being captured on this thread")

    backends.replace_cuda(monkeypatch, Module())
    try:
        with pytest.raises(ValueError, match=r"^\[capture\] another graph"), steepest.capture():
            pass
        assert not _cpu.is_capturing()
    finally:
        backends.forget_cuda()


def test_errors_in_the_data_surface_at_the_latest_when_synchronized(cupy):
    logits, labels = cupy.asarray(np.zeros((3, 2))), cupy.asarray(np.array([0, 5, 1]))
    with pytest.raises(ValueError, match=r"^\[softmax_cross_entropy\] label 5 at row 1 is outside 0\.\.1"):  # noqa: PT012
        K.softmax_cross_entropy(logits, labels)
        steepest.synchronize()
    with pytest.raises(steepest.DivergenceError, match=r"^\[require_finite\] "):  # noqa: PT012
        K.require_finite(cupy.asarray(np.array(np.nan)))
        steepest.synchronize()
    # The stream works again.
    K.relu(logits)
    steepest.synchronize()


def test_synchronize_waits_where_cuda_was_used(cupy, monkeypatch):
    waits = []
    monkeypatch.setattr(sys.modules["steepest._cuda"], "synchronize", lambda: waits.append(1), raising=False)
    with steepest.capture():
        K.relu(np.ones(2))
    steepest.synchronize()
    assert waits == []  # the capture loaded the module, but computed nothing
    K.relu(cupy.asarray(np.ones(2)))
    steepest.synchronize()
    assert waits == [1]


# --------------------------------------------------------------------------------------- configuration report

INFO = {
    "built_for": ["80", "90a"],
    "runtime": "13.0",
    "driver": "13.1",
    "devices": [{"name": "GPU of a test", "capability": "9.0", "memory": 3 << 29, "multiprocessors": 7}],
    "problem": "",
}


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (
            INFO,
            {
                "CUDA": "built for architectures 80, 90a; runtime 13.0, driver 13.1",
                "CUDA device 0": "GPU of a test, compute capability 9.0, 1.5 GiB, 7 multiprocessors",
            },
        ),
        (
            {**INFO, "driver": None, "devices": [], "problem": "no driver was found"},
            {"CUDA": "built for architectures 80, 90a; runtime 13.0; no driver was found"},
        ),
    ],
)
def test_show_config(monkeypatch, capsys, info, expected):
    class Module:
        def info(self):
            return info

    backends.replace_cuda(monkeypatch, Module())
    try:
        assert config.cuda_lines() == expected
        steepest.show_config()
    finally:
        backends.forget_cuda()
    printed = capsys.readouterr().out.splitlines()
    assert [f"{name:<18}{text}" for name, text in expected.items()] == printed[-len(expected) :]


def test_show_config_without_cuda(no_cuda):
    assert config.cuda_lines() == {"CUDA": "not built"}


def test_the_command_line_without_cuda(no_cuda, capsys):
    assert cli.main(["train", "--device", "cuda"]) == 2
    error = f"steepest train: error: --device cuda is not available: {NOT_BUILT}\n"
    assert capsys.readouterr() == ("", error)
