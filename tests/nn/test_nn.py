"""Layers, losses and networks against a chain of the oracles, and against finite differences."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
import reference
from network_reference import ARCHITECTURES, bound, oracle_backward, oracle_forward, values_of
from tolerances import eps

import steepest
from steepest import kernels as K
from steepest import nn, optim

architectures = pytest.mark.parametrize("layers", ARCHITECTURES.values(), ids=ARCHITECTURES.keys())


@architectures
@pytest.mark.parametrize("n", [1, 2, 33])
def test_forward_and_backward(rng, dtype, layers, n):
    net = nn.Network(layers, seed=3, dtype=dtype)
    for p in net.parameters():
        p.value[...] = rng.uniform(-0.5, 0.5, p.value.shape)
    x = rng.uniform(-1, 1, (n, 7)).astype(dtype)
    output = net.forward(x)
    expected = oracle_forward(layers, values_of(net), x)[-1]
    assert output.dtype == dtype
    np.testing.assert_allclose(output, expected, rtol=0, atol=bound(net, dtype, 4))
    np.testing.assert_allclose(net.predict(x), expected, rtol=0, atol=bound(net, dtype, 4))

    d = rng.uniform(-1, 1, output.shape).astype(dtype)
    before = d.copy()
    net.backward(d, l2=0.25)
    np.testing.assert_array_equal(d, before)
    grads = oracle_backward(layers, values_of(net), x, d.astype(np.float64), 0.25)
    assert grads.keys() == {p.name for p in net.parameters()}
    for p in net.parameters():
        np.testing.assert_allclose(
            p.grad, grads[p.name], rtol=0, atol=bound(net, dtype, 4 * n), err_msg=p.name
        )


@architectures
def test_gradient_by_finite_differences(rng, layers):
    net = nn.Network(layers, seed=1, dtype=np.float64)
    x, d_output = (
        rng.standard_normal((5, 7)),
        rng.standard_normal((5, net.predict(np.zeros((1, 7))).shape[1])),
    )
    net.forward(x)
    net.backward(d_output, l2=0.1)
    for p in net.parameters():
        penalty = 0.05 if p.name.endswith("weight") else 0.0

        def objective(value, name=p.name, penalty=penalty):
            values = {**values_of(net), name: value}
            return (oracle_forward(layers, values, x)[-1] * d_output).sum() + penalty * (value**2).sum()

        numeric = reference.finite_difference(objective, p.value)
        # Central differences of step 1e-6: about eps / 1e-6 of rounding times the size of the sum.
        np.testing.assert_allclose(p.grad, numeric, rtol=0, atol=1e-7, err_msg=p.name)


def operations(layers):
    net = nn.Network(layers, dtype=np.float32)
    with steepest.capture() as graph:
        net.backward(net.forward(np.zeros((4, 7), np.float32)))
    return list(graph.operations)


def test_every_activation_behind_a_linear_layer_is_fused():
    assert operations(ARCHITECTURES["every activation"]) == ["linear"] * 5 + ["linear_backward"] * 5
    assert operations(ARCHITECTURES["activation last"]) == [
        *("linear", "linear", "activation_backward", "linear_backward", "linear_backward")
    ]
    assert operations(ARCHITECTURES["activation first"]) == [
        *("activation", "linear", "linear", "linear_backward", "linear_backward")
    ]
    assert operations(ARCHITECTURES["nothing to do"]) == []


def test_activations_that_need_their_input_are_not_fused():
    assert operations([nn.Linear(7, 6), nn.GELU(), nn.Linear(6, 3)]) == [
        *("linear", "activation", "linear", "linear_backward", "activation_backward", "linear_backward")
    ]


def test_captured_batches_of_two_sizes_train_as_eager_ones(rng, dtype):
    layers = [nn.Linear(7, 16), nn.ReLU(), nn.Linear(16, 3)]
    x, y = rng.standard_normal((33, 7)).astype(dtype), rng.integers(0, 3, 33)
    loss = nn.SoftmaxCrossEntropy()
    batches = [slice(0, 20), slice(20, 33)]

    def make():
        net = nn.Network(layers, seed=5, dtype=dtype)
        return net, optim.SGD(net.parameters(), lr=0.1, momentum=0.5)

    def step(net, optimizer, batch):
        _, d_output = loss(net.forward(x[batch]), y[batch])
        net.backward(d_output)
        optimizer.step()

    eager = make()
    captured = make()
    graphs = []
    for batch in batches:
        with steepest.capture() as graph:
            step(*captured, batch)
        graphs.append(graph)
    for _ in range(3):
        for graph, batch in zip(graphs, batches, strict=True):
            graph.replay()
            step(*eager, batch)
    assert eager[0].arena.tobytes() == captured[0].arena.tobytes()
    assert not np.array_equal(eager[0].arena, nn.Network(layers, seed=5, dtype=dtype).arena)


class ForeignArray:
    """As PyTorch's tensors, of a dtype that is not NumPy's."""

    ndim, shape, dtype = 2, (2, 3), "torch.float32"


def address(array):
    return array.__array_interface__["data"][0]


def test_buffers_are_used_again_and_released(rng):
    net = nn.Network([nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 3)], dtype=np.float64)
    x = rng.standard_normal((4, 7))
    first = address(net.forward(x))
    assert address(net.forward(x)) == first
    # A loop that keeps the last output in a variable takes two in turn.
    output, places = net.forward(x), []
    for _ in range(6):
        output = net.forward(x)
        places.append(address(output))
    assert len(set(places)) == 2
    alive = weakref.ref(x)
    with steepest.capture() as graph:
        net.forward(x)
    del x
    assert alive() is not None  # by the graph
    del graph
    net.release_buffers()
    gc.collect()
    assert alive() is None
    with pytest.raises(RuntimeError, match="call forward first"):
        net.backward(output)


@pytest.mark.parametrize("layers", [[nn.Linear(7, 3)], [nn.Linear(7, 5), nn.GELU()], [nn.Softmax()]], ids=str)
@pytest.mark.parametrize(
    "held", [lambda y: y, lambda y: y[1:, :2], lambda y: y.T], ids=["all", "part", "turned"]
)
def test_an_output_stays_what_it_was_while_it_is_held(rng, layers, held):
    """Two inputs through one network, as for the distance of their outputs."""
    net = nn.Network(layers, dtype=np.float64)
    inputs = rng.standard_normal((4, 4, 7))
    outputs = [held(net.forward(x)) for x in inputs]
    for output, x in zip(outputs, inputs, strict=True):
        np.testing.assert_array_equal(output, held(net.predict(x)))
    # Each forward pass that is captured has an output of its own, which no later one writes into.
    with steepest.capture() as graph:
        pair = [held(net.forward(x)) for x in inputs[:2]]
    net.forward(inputs[2])
    graph.replay()
    for output, x in zip([*outputs, *pair], [*inputs, *inputs[:2]], strict=True):
        np.testing.assert_array_equal(output, held(net.predict(x)))


def test_backward_is_that_of_the_last_forward_though_its_output_was_let_go(rng):
    net, x = nn.Network([nn.Linear(7, 3), nn.Sigmoid()], dtype=np.float64), rng.standard_normal((2, 4, 7))
    d = rng.standard_normal((4, 3))
    net.forward(x[1])
    net.backward(d)
    expected = net.grad_arena.copy()
    held = net.forward(x[0])
    net.forward(x[1])
    del held
    net.backward(d)
    np.testing.assert_array_equal(net.grad_arena, expected)


def test_the_gradient_of_the_input_is_not_computed(monkeypatch):
    asked = []
    kernel = K.linear_backward

    def spy(*args, input_grad, **kwargs):
        asked.append(input_grad)
        return kernel(*args, input_grad=input_grad, **kwargs)

    monkeypatch.setattr(K, "linear_backward", spy)
    operations([nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 4), nn.Linear(4, 3)])
    assert asked == [True, True, False]
    asked.clear()
    operations(ARCHITECTURES["activation first"])
    assert asked == [True, False]


def test_arena(dtype):
    net = nn.Network([nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2, bias=False), nn.Linear(2, 4)], dtype=dtype)
    assert [p.name for p in net.parameters()] == ["0.weight", "0.bias", "2.weight", "3.weight", "3.bias"]
    owned = np.zeros(net.arena.shape, bool)
    for p in net.parameters():
        for array, arena in ((p.value, net.arena), (p.grad, net.grad_arena)):
            assert np.shares_memory(array, arena)
            assert array.ctypes.data % 64 == 0
            assert array.flags.c_contiguous
        assert np.shares_memory(p.value, net.weight_arena) == p.name.endswith("weight")
        start = (p.value.ctypes.data - net.arena.ctypes.data) // net.arena.itemsize
        assert not owned[start : start + p.value.size].any()
        owned[start : start + p.value.size] = True
    assert not net.arena[~owned].any()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, copy.copy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_own_their_arena(rng, duplicate):
    net = nn.Network([nn.Linear(7, 4), nn.ReLU(), nn.Linear(4, 2)], seed=2)
    x = rng.standard_normal((3, 7)).astype(np.float32)
    expected = net.forward(x).copy()
    twin = duplicate(net)
    np.testing.assert_array_equal(twin.predict(x), expected)
    for p in twin.parameters():
        assert np.shares_memory(p.value, twin.arena)
        assert p.value.ctypes.data % 64 == 0
    twin.arena[...] = 0
    assert not twin.predict(x).any()
    np.testing.assert_array_equal(net.predict(x), expected)


def test_predict_in_blocks(rng):
    net = nn.Network([nn.Linear(7, 16), nn.Tanh(), nn.Linear(16, 3)], dtype=np.float64)
    for n in (0, 1, 2047, 2048, 2049, 5000):
        x = rng.standard_normal((n, 7))
        output = net.predict(x)
        assert output.shape == (n, 3)
        np.testing.assert_allclose(
            output, oracle_forward(net.layers, values_of(net), x)[-1], rtol=0, atol=bound(net, np.float64, 16)
        )


@architectures
def test_predict_by_parts(rng, dtype, layers):
    """Wherever a network is cut, the parts make up the whole, also where an activation is cut off its linear layer."""
    net = nn.Network(layers, seed=3, dtype=dtype)
    x = rng.uniform(-1, 1, (5, 7)).astype(dtype)
    chain = oracle_forward(layers, values_of(net), x)
    for cut, expected in enumerate(chain):
        hidden = net.predict(x, slice(cut))
        np.testing.assert_allclose(hidden, expected, rtol=0, atol=bound(net, dtype, 4))
        output = net.predict(hidden, slice(cut, None))
        np.testing.assert_allclose(output, chain[-1], rtol=0, atol=bound(net, dtype, 4))
    for bad in (slice(None, None, 2), 1, (0, 1)):
        with pytest.raises(ValueError, match=r"^\[Network.predict\] layers must be a slice"):
            net.predict(x, bad)


def test_losses(rng, dtype):
    logits, labels = rng.standard_normal((6, 4)).astype(dtype), np.array([0, 1, 2, 3, 1, -1])
    weight = rng.uniform(0.5, 2, 6).astype(dtype)
    loss, d_logits = nn.SoftmaxCrossEntropy(ignore_label=-1)(logits, labels, weight)
    expected, gradient = reference.softmax_cross_entropy(logits, labels, weight, -1)
    np.testing.assert_allclose(loss, expected, rtol=0, atol=64 * eps(dtype))
    np.testing.assert_allclose(d_logits, gradient, rtol=0, atol=64 * eps(dtype))
    for half in (False, True):
        prediction, target = rng.standard_normal((2, 6, 1)).astype(dtype)
        expected, gradient = reference.squared_error(prediction, target, weight, half)
        for shape in ((6, 1), (6,)):
            loss, d = nn.MeanSquaredError(half=half)(prediction, target.reshape(shape), weight)
            np.testing.assert_allclose(loss, expected, rtol=64 * eps(dtype))
            np.testing.assert_allclose(d, gradient, rtol=0, atol=64 * eps(dtype))


def test_errors():
    with pytest.raises(ValueError, match=r"^\[Linear\] n_in and n_out must be positive"):
        nn.Linear(0, 3)
    with pytest.raises(
        ValueError,
        match=r"^\[Linear\] init 'normal' is not one of glorot_uniform, .*orthogonal, nor a number",
    ):
        nn.Linear(2, 3, init="normal")
    with pytest.raises(ValueError, match=r"^\[Linear\] init must be finite"):
        nn.Linear(2, 3, init=-1.0)
    with pytest.raises(ValueError, match=r"^\[Activation\] 'swish' is not one of .*relu"):
        nn.Activation("swish")
    with pytest.raises(ValueError, match=r"^\[Activation\] 'tanh' takes no parameter"):
        nn.Activation("tanh", 0.5)
    for slope in (-0.5, np.inf, np.nan):
        with pytest.raises(ValueError, match=r"^\[Activation\] slope must be finite and not negative"):
            nn.LeakyReLU(slope)
    with pytest.raises(ValueError, match=r"^\[PReLU\] n_features must be positive"):
        nn.PReLU(0)
    with pytest.raises(ValueError, match=r"^\[PReLU\] init must be finite"):
        nn.PReLU(3, np.inf)
    for rate in (-0.1, 1.0, np.nan):
        with pytest.raises(ValueError, match=r"^\[Dropout\] rate must be in \[0, 1\)"):
            nn.Dropout(rate)
    with pytest.raises(ValueError, match="layer 1 has 5 slopes, but 4 features come out"):
        nn.Network([nn.Linear(3, 4), nn.PReLU(5)])
    for tied_to in (1, 2, -1, 9):
        with pytest.raises(ValueError, match=f"layer 2 is tied to {tied_to}, which is not an earlier Linear"):
            nn.Network([nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3, tied_to=tied_to)])
    with pytest.raises(ValueError, match=r"tied to layer 0, whose weights have shape \(3, 4\): .* n_out=3"):
        nn.Network([nn.Linear(3, 4), nn.Linear(4, 2, tied_to=0)])
    with pytest.raises(ValueError, match="at least one layer"):
        nn.Network([])
    with pytest.raises(ValueError, match="layer 2 takes 5 inputs, but 4 come out"):
        nn.Network([nn.Linear(3, 4), nn.ReLU(), nn.Linear(5, 2)])
    with pytest.raises(TypeError, match="layer 1 is of type str"):
        nn.Network([nn.Linear(3, 4), "relu"])
    with pytest.raises(TypeError, match="layer 1 is the class ReLU"):
        nn.Network([nn.Linear(3, 4), nn.ReLU])
    with pytest.raises(TypeError, match="dtype float16 is not supported"):
        nn.Network([nn.Linear(3, 4)], dtype=np.float16)
    net = nn.Network([nn.Linear(3, 4)])
    with pytest.raises(RuntimeError, match="call forward first"):
        net.backward(np.zeros((1, 4), np.float32))
    for method in (net.forward, net.predict):
        with pytest.raises(TypeError, match="x is float64, but the network is float32"):
            method(np.zeros((2, 3)))
        with pytest.raises(TypeError, match="x must be a NumPy or CuPy array, not list"):
            method([[0.0] * 3])
        with pytest.raises(
            TypeError, match=r"not ForeignArray: convert it, with numpy.asarray or cupy.asarray"
        ):
            method(ForeignArray())
        with pytest.raises(ValueError, match=r"x has shape \(3,\)"):
            method(np.zeros(3, np.float32))
        with pytest.raises(ValueError, match=r"^\[linear\]"):
            method(np.zeros((2, 5), np.float32))
    net.forward(np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match=r"d_output has shape \(3, 4\)"):
        net.backward(np.zeros((3, 4), np.float32))


@pytest.mark.parametrize("seed", [np.int64(2**62), np.uint8(255), np.uint64(2**64 - 1)], ids=repr)
def test_seeds_of_numpy(seed):
    layers = [nn.Linear(3, 3), nn.Dropout(0.5), nn.Linear(3, 2)]
    own, numpys = nn.Network(layers, seed=int(seed)), nn.Network(layers, seed=seed)
    x = np.ones((4, 3), np.float32)
    assert own.forward(x).tobytes() == numpys.forward(x).tobytes()
    assert type(numpys.seed) is int


@pytest.mark.parametrize("seed", [1.0, "1", None, -1, 2**64])
def test_bad_seed_of_a_network(seed):
    with pytest.raises((TypeError, ValueError), match=r"^\[Network\] seed "):
        nn.Network([nn.Linear(2, 2)], seed=seed)


@pytest.mark.not_on_gpu("CuPy has no masked arrays")
@pytest.mark.parametrize("layers", [[nn.Linear(3, 2)], []], ids=["linear", "none"])
def test_masked_inputs_are_refused(layers):
    net = nn.Network(layers or [nn.Identity()])
    x = np.ma.array(np.ones((4, 3), np.float32), mask=np.eye(4, 3))
    for method in ("forward", "predict"):
        with pytest.raises(TypeError, match=rf"^\[Network\.{method}\] x is a masked array; fill it"):
            getattr(net, method)(x)
