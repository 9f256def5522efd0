"""Networks and update rules on CUDA: where their arrays lie, how they move, and agreement with the CPU.

The tests use a GPU if there is one, else the fake CuPy and the stand-in for the CUDA kernels.
"""

from __future__ import annotations

import copy
import pickle
import sys

import numpy as np
import pytest
from programs import arguments, diamond, listed, recurrent, residual, siamese, tied, two_inputs

from steepest import fisher, nn, optim


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_network(cupy, rng, dtype):
    layers = [nn.Linear(7, 16), nn.ReLU(), nn.Linear(16, 3, bias=False), nn.Tanh()]
    on_cpu = nn.Network(layers, seed=5, dtype=dtype)
    on_cuda = nn.Network(layers, seed=5, dtype=dtype, device="cuda")
    assert (on_cpu.device, on_cuda.device) == ("cpu", "cuda")
    assert isinstance(on_cuda.arena, cupy.ndarray)
    assert isinstance(on_cuda.parameters()[0].grad, cupy.ndarray)
    # The same seed gives the same weights.
    assert cupy.asnumpy(on_cuda.arena).tobytes() == on_cpu.arena.tobytes()
    x, d = rng.standard_normal((9, 7)).astype(dtype), rng.standard_normal((9, 3)).astype(dtype)
    tolerance = {
        "rtol": 0,
        "atol": 100 * np.finfo(dtype).eps,
    }  # sums of at most 16 terms of size 1, in different orders
    np.testing.assert_allclose(cupy.asnumpy(on_cuda.forward(cupy.asarray(x))), on_cpu.forward(x), **tolerance)
    np.testing.assert_allclose(cupy.asnumpy(on_cuda.predict(cupy.asarray(x))), on_cpu.predict(x), **tolerance)
    on_cuda.backward(cupy.asarray(d), l2=0.1)
    on_cpu.backward(d, l2=0.1)
    np.testing.assert_allclose(cupy.asnumpy(on_cuda.grad_arena), on_cpu.grad_arena, **tolerance)


def test_outputs_that_are_held_share_no_memory(cupy, rng):
    net = nn.Network([nn.Linear(7, 3)], seed=5, dtype=np.float64, device="cuda")
    inputs = [cupy.asarray(x) for x in rng.standard_normal((3, 4, 7))]
    outputs = [net.forward(x) for x in inputs]
    for x, output in zip(inputs, outputs, strict=True):
        np.testing.assert_array_equal(cupy.asnumpy(output), cupy.asnumpy(net.predict(x)))


def test_network_moves(cupy):
    net = nn.Network([nn.Linear(7, 3)], seed=5)
    assert net.to("cpu") is net
    moved = net.to("cuda")
    assert (moved.device, net.device) == ("cuda", "cpu")
    assert moved.to("cuda") is moved
    back = moved.to("cpu")
    assert back.arena.tobytes() == net.arena.tobytes()
    back.arena[...] = 0
    assert net.arena.any()
    assert cupy.asnumpy(moved.arena).tobytes() == net.arena.tobytes()
    with pytest.raises(ValueError, match=r"^\[Network\] device 'gpu' is not one of"):
        net.to("gpu")
    for duplicate in (copy.copy, copy.deepcopy):
        twin = duplicate(moved)
        assert twin.device == "cuda"
        assert twin.arena is not moved.arena
        assert cupy.asnumpy(twin.arena).tobytes() == net.arena.tobytes()
    assert repr(moved) == repr(net)[:-1] + ", device='cuda')"


def test_missing_cuda_is_an_error(no_cuda):
    net = nn.Network([nn.Linear(7, 3)])
    for call in (lambda: nn.Network([nn.Linear(7, 3)], device="cuda"), lambda: net.to("cuda")):
        with pytest.raises(
            RuntimeError, match=r"^\[Network\] device='cuda' is not available: this build .* no CUDA"
        ):
            call()


def test_inputs_of_the_other_device_are_refused(cupy):
    x = np.zeros((2, 7), np.float32)
    for device, wrong in (("cuda", x), ("cpu", cupy.asarray(x))):
        net = nn.Network([nn.Linear(7, 3)], device=device)
        for method in (net.forward, net.predict):
            with pytest.raises(TypeError, match=rf"x lies on '\w+', but the network on '{device}'"):
                method(wrong)


def test_a_network_unpickles_without_cuda(cupy, monkeypatch):
    net = nn.Network([nn.Linear(7, 3)], seed=5, device="cuda")
    text = pickle.dumps(net)
    assert b"cupy" not in text
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setitem(sys.modules, "steepest._cuda", None)
    loaded = pickle.loads(text)
    assert loaded.device == "cpu"
    assert loaded.arena.tobytes() == nn.Network([nn.Linear(7, 3)], seed=5).arena.tobytes()


def test_optimizers_keep_their_state_beside_the_parameters(cupy):
    net = nn.Network([nn.Linear(3, 2)], device="cuda")
    for rule in (optim.Adam, lambda p: optim.SGD(p, momentum=0.9)):
        optimizer = rule(net.parameters())
        optimizer.lr = 0.25
        assert optimizer.lr == 0.25
        net.grad_arena[...] = 1.0
        optimizer.step()
        state = optimizer.state_dict()
        arrays = [a for value in state.values() if isinstance(value, list) for a in value]
        assert arrays and all(type(a) is np.ndarray for a in arrays)
        resumed = rule(net.parameters())
        resumed.load_state_dict(state)
        assert resumed.lr == 0.25
        for name, value in resumed.state_dict().items():
            np.testing.assert_equal(value, state[name])


def test_a_network_and_its_optimizer_are_copied_together(cupy, monkeypatch):
    """A copy stays on the device, and a pickle of both loads without CUDA; training continues with either."""
    net = nn.Network([nn.Linear(7, 3)], seed=5, device="cuda")
    optimizer = optim.Adam(net.parameters(), lr=0.5)
    net.grad_arena[...] = 1
    optimizer.step()
    text = pickle.dumps((net, optimizer))
    assert b"cupy" not in text
    twin, copied = copy.deepcopy((net, optimizer))
    for each, rule in ((net, optimizer), (twin, copied)):
        each.grad_arena[...] = 1
        rule.step()
    assert twin.device == "cuda"
    expected = cupy.asnumpy(net.arena)
    np.testing.assert_array_equal(cupy.asnumpy(twin.arena), expected)
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setitem(sys.modules, "steepest._cuda", None)
    loaded, unpickled = pickle.loads(text)
    loaded.grad_arena[...] = 1
    unpickled.step()
    assert loaded.device == "cpu"
    np.testing.assert_allclose(loaded.arena, expected, rtol=1e-6)


@pytest.mark.parametrize("make", [residual, siamese, tied, two_inputs, diamond, recurrent])
def test_networks_of_any_form(cupy, rng, make):
    """Whatever they compute on the CPU, with their Fisher matrices."""
    on_cpu = make()
    on_cuda = on_cpu.to("cuda")
    inputs = arguments(on_cpu, rng, 5)
    moved = [cupy.asarray(x) for x in inputs]
    close = {"rtol": 0, "atol": 1e-10}
    output = on_cpu.forward(*inputs)
    np.testing.assert_allclose(cupy.asnumpy(on_cuda.forward(*moved)), output, **close)
    np.testing.assert_allclose(cupy.asnumpy(on_cuda.predict(*moved)), output, **close)
    d = rng.standard_normal(output.shape)
    of_inputs = [
        listed(net.backward(g, 0.1, inputs=True)) for net, g in ((on_cpu, d), (on_cuda, cupy.asarray(d)))
    ]
    for here, there in zip(*of_inputs, strict=True):
        np.testing.assert_allclose(cupy.asnumpy(there), here, **close)
    np.testing.assert_allclose(cupy.asnumpy(on_cuda.grad_arena), on_cpu.grad_arena, **close)
    v = [rng.standard_normal(p.value.shape) for p in on_cpu.parameters()]
    changes = on_cuda.jvp([cupy.asarray(a) for a in v], moved)
    np.testing.assert_allclose(cupy.asnumpy(changes), on_cpu.jvp(v, inputs), **close)
    loss, X, Y = nn.SoftmaxCrossEntropy(), *(tuple(x) if len(x) > 1 else x[0] for x in (inputs, moved))
    here, there = (fisher.FisherMatrix(net, loss, x) for net, x in ((on_cpu, X), (on_cuda, Y)))
    np.testing.assert_allclose(there.to_dense(), here.to_dense(), **close)
    for structure in ("kfac", "kfac_reduce", "diagonal"):
        pair = [F.with_structure(structure).diagonal() for F in (here, there)]
        np.testing.assert_allclose(*pair, **close)
