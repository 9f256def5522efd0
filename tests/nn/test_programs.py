"""Networks that are no chain: gradients against complex steps and PyTorch, tangents against gradients, passes."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from programs import (
    arguments,
    by_complex_steps,
    by_torch,
    diamond,
    listed,
    recurrent,
    residual,
    siamese,
    tied,
    two_inputs,
    two_outputs,
)

import steepest
from steepest import nn
from steepest.nn import gradient, program
from steepest.nn.compiled import Wanted
from steepest.nn.execution import (
    Targets,
    bound,
    gradient_buffers,
    make_ready,
    run_forward,
    value_buffers,
)

NETWORKS = [residual, siamese, tied, two_inputs, two_outputs, diamond, recurrent]
networks = pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)


@networks
@pytest.mark.parametrize("oracle", [by_complex_steps, by_torch])
def test_gradients(make, oracle, rng):
    net = make()
    for p in net.parameters():
        p.value[...] = rng.uniform(-1, 1, p.value.shape)
    inputs = arguments(net, rng, 3)
    outputs = listed(net.forward(*inputs))
    d = [rng.standard_normal(y.shape) for y in outputs]
    expected, of_parameters, of_inputs = oracle(make, net, inputs, d)
    for output, again, want in zip(outputs, listed(net.predict(*inputs)), expected, strict=True):
        np.testing.assert_allclose(output, want, rtol=0, atol=1e-12)
        np.testing.assert_allclose(again, want, rtol=0, atol=1e-12)
    given = d if len(d) > 1 else d[0]
    d_inputs = listed(net.backward(given, l2=0.3, inputs=True))
    for p, want in zip(net.parameters(), of_parameters, strict=True):
        total = want + 0.3 * p.value if p.decays else want
        np.testing.assert_allclose(
            p.grad, total, rtol=0, atol=1e-12 * (1 + np.abs(want).max()), err_msg=p.name
        )
    for found, want in zip(d_inputs, of_inputs, strict=True):
        np.testing.assert_allclose(found, want, rtol=0, atol=1e-12 * (1 + np.abs(want).max()))
    # Twice the gradient, and none of the parameters.
    once = net.grad_arena.copy()
    net.backward(given, l2=0.3, accumulate=True)
    np.testing.assert_allclose(net.grad_arena, 2 * once, rtol=0, atol=1e-12 * (1 + np.abs(once).max()))
    twice = net.grad_arena.copy()
    net.backward(given, inputs=True, parameters=False)
    np.testing.assert_array_equal(net.grad_arena, twice)


@networks
def test_tangents_are_adjoint_to_gradients(make, rng):
    net = make()
    inputs = arguments(net, rng)
    outputs = listed(net.forward(*inputs))
    for moves_parameters, moves_inputs in ((True, False), (False, True), (True, True)):
        v = [rng.standard_normal(p.value.shape) if moves_parameters else None for p in net.parameters()]
        w = [rng.standard_normal(x.shape) if moves_inputs else None for x in inputs]
        u = [rng.standard_normal(y.shape) for y in outputs]
        moved = listed(net.jvp(v, w))
        d_inputs = listed(net.backward(u if len(u) > 1 else u[0], inputs=True))
        along = sum((a * b).sum() for a, b in zip(u, moved, strict=True))
        back = sum((a * p.grad).sum() for a, p in zip(v, net.parameters(), strict=True) if a is not None)
        back += sum((a * b).sum() for a, b in zip(w, d_inputs, strict=True) if a is not None)
        np.testing.assert_allclose(along, back, rtol=1e-12, atol=1e-12)


PASSES = {
    "forward": (program.fuse_activations,),
    "derivatives": (gradient.fold_derivatives,),
    "accumulation": (gradient.fold_accumulation,),
    "dead gradients": (gradient.without_dead_gradients,),
    "buffers": (),
}


@networks
@pytest.mark.parametrize("names", [[name] for name in PASSES] + [list(PASSES)], ids="+".join)
def test_a_pass_changes_nothing_but_how(make, names, rng):
    """Gradients of the plain program, with each gradient in a buffer of its own, are those after a pass."""
    net, d, found = make(), None, []
    inputs = arguments(net, rng)
    for chosen in ([], names):
        plain = net._main.plain
        ready = program.fuse_activations(plain) if "forward" in chosen else plain
        backward = gradient.mark_accumulation(gradient.backward_of(ready))
        for name in chosen:
            for change in PASSES[name] if name != "forward" else ():
                backward = change(backward)
        places = gradient.assign_buffers(backward, ready, reuse="buffers" in chosen)
        steps = bound(ready, {p.name: p.value for p in net.parameters()})
        arrays = [None] * len(ready.shapes)
        for number, x in [*zip(ready.inputs, inputs, strict=True), *ready.constants.items()]:
            arrays[number] = x
        run_forward(steps, arrays, value_buffers(ready, len(inputs[0]), np.empty))
        d = d or [rng.standard_normal(arrays[number].shape) for number in ready.outputs]
        grads = [None] * len(backward.values)
        for seed, g in zip(backward.seeds, d, strict=True):
            grads[seed] = g
        before = [g.copy() for g in d]
        targets = Targets(
            {p.name: p.grad for p in net.parameters()},
            l2=0.5,
            decaying=frozenset(p.name for p in net.parameters() if p.decays),
        )
        outs = gradient_buffers(backward, places, ready, len(inputs[0]), np.empty)
        for run in make_ready(backward, {step.node.output: step for step in steps}, outs, targets):
            run(arrays, grads)
        np.testing.assert_equal(d, before)
        found.append(net.grad_arena.copy())
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-13)


def test_passes_do_what_they_are_for():
    net = residual()
    text = net.program
    assert "linear + sigmoid" in text
    assert "tanh'" in text  # in the kernel that writes the gradient
    assert len(net._main.training.nodes) < len(net._main.plain.nodes)
    wanted = Wanted(inputs=False, parameters=True, frozen=frozenset())
    _, places = net._main.backward(wanted)
    backward = gradient.backward_of(net._main.training)
    assert len(places.sizes) < len(backward.values) - 1


@networks
def test_capture(make, rng):
    """A captured step of a network of any form gives the bits of an eager one, and its outputs may be held."""
    net, inputs = make(), None
    inputs = arguments(net, rng)
    d = [rng.standard_normal(y.shape) for y in listed(net.forward(*inputs))]
    d_output = d if len(d) > 1 else d[0]
    net.backward(d_output)
    expected, outputs = net.grad_arena.copy(), listed(net.forward(*inputs))
    with steepest.capture() as graph:
        captured = listed(net.forward(*inputs))
        net.backward(d_output)
    net.grad_arena[...] = 0
    graph.replay(2)
    np.testing.assert_array_equal(net.grad_arena, expected)
    for only in [None, *range(len(net.parameters()))]:
        v = [
            rng.standard_normal(p.value.shape) if only in (None, i) else None
            for i, p in enumerate(net.parameters())
        ]
        moves = None if only else [rng.standard_normal(x.shape) for x in inputs]
        eager = [change.copy() for change in listed(net.jvp(v, moves))]
        with steepest.capture() as graph:
            moved = listed(net.jvp(v, moves))
        graph.replay(3)
        for found, want in zip(moved, eager, strict=True):
            np.testing.assert_array_equal(found, want)
    for held, found in zip(outputs, captured, strict=True):
        np.testing.assert_array_equal(held, found)
        assert not np.shares_memory(held, found)


@networks
def test_copies_and_files(make, rng, tmp_path):
    net = make()
    inputs = arguments(net, rng)
    expected = listed(net.predict(*inputs))
    steepest.save(net, tmp_path / "net.safetensors")
    for twin in (
        copy.deepcopy(net),
        pickle.loads(pickle.dumps(net)),
        steepest.load(tmp_path / "net.safetensors"),
    ):
        assert [p.name for p in twin.parameters()] == [p.name for p in net.parameters()]
        for found, want in zip(listed(twin.predict(*inputs)), expected, strict=True):
            np.testing.assert_array_equal(found, want)


@networks
def test_empty_batches_and_batches_beyond_a_block(make, rng):
    net = make()
    for n in (0, 2049):
        inputs = arguments(net, rng, n)
        for found, want in zip(listed(net.predict(*inputs)), listed(net.forward(*inputs)), strict=True):
            np.testing.assert_allclose(found, want, rtol=0, atol=1e-12)


def test_inputs_of_any_strides(rng):
    net = two_inputs()
    image, table = rng.standard_normal((3, 2, 6)).transpose(2, 1, 0), rng.standard_normal((4, 6)).T
    expected = net.predict(np.ascontiguousarray(image), np.ascontiguousarray(table))
    np.testing.assert_array_equal(net.predict(image, table), expected)
    np.testing.assert_array_equal(net.forward(image, table), expected)


def test_summary():
    lines = residual().summary().splitlines()
    assert lines[0].split() == ["layer", "operation", "output", "parameters", "MFLOP", "a", "sample"]
    assert lines[1].split() == ["0", "linear", "+", "sigmoid", "(6,)", "36", "0.000"]
    assert lines[-1].split()[:2] == ["all", str(36 + 2 * 42 + 28 + 24 + 15)]
    assert [p.name for p in siamese().parameters("bias")] == ["0.bias", "3.bias"]


def test_what_cannot_be_built():
    x, other = nn.Input(4), nn.Input(3, name="other")
    h = nn.Linear(4, 8)(x)
    for bad, error, text in (
        (
            lambda: nn.Linear(5, 2)(h),
            ValueError,
            r"^\[Linear\] Linear\(5, 2\) takes 5 inputs, but 8 come out of Linear\(4, 8\)$",
        ),
        (lambda: nn.Add()(h), ValueError, r"^\[Add\] takes at least 2 inputs, but is called on 1$"),
        (lambda: nn.Add()(h, x), ValueError, r"adds inputs of the shapes \(8,\) and \(4,\)"),
        (
            lambda: nn.Add()(h, nn.Constant(np.ones((1, 8)))),
            ValueError,
            r"a constant of shape \(1, 8\), which cannot",
        ),
        (
            lambda: nn.Multiply()(nn.Constant([1.0, 2.0]), h),
            ValueError,
            r"broadcast to samples of shape \(8,\)",
        ),
        (lambda: nn.Multiply()(h, h, h), ValueError, r"^\[Multiply\] takes 2 inputs, but is called on 3$"),
        (lambda: nn.Linear(4, 2)(np.zeros((3, 4))), TypeError, r"not on an object of type ndarray"),
        (lambda: nn.Reshape((3, 3))(h), ValueError, r"takes samples of 9 items, but samples of shape \(8,\)"),
        (lambda: nn.Reshape((0, 8)), ValueError, "positive integers"),
        (lambda: nn.Permute((0, 0)), ValueError, "must be a permutation"),
        (lambda: nn.Permute((1, 0))(h), ValueError, r"takes samples of 2 axes, but samples of shape \(8,\)"),
        (
            lambda: nn.Residual(nn.Linear(8, 3))(h),
            ValueError,
            r"of shape \(3,\), to its input of shape \(8,\)",
        ),
        (lambda: nn.Residual(), ValueError, "at least one layer"),
        (
            lambda: nn.Residual(nn.Add()),
            ValueError,
            r"takes layers of one input, but Add\(\) takes 2 or more",
        ),
        (
            lambda: nn.Network([nn.Linear(4, 3), nn.Residual(nn.Linear(3, 4), nn.Linear(5, 3))]),
            ValueError,
            r"^\[Residual\] layer 1, Linear\(5, 3\), takes 5 inputs, but 4 come out of layer 0, Linear\(3, 4\)$",
        ),
        (lambda: nn.Network(x, nn.Add()(x, nn.Constant(1e300))), ValueError, "numbers above 3.4e"),
        (lambda: nn.Residual("relu"), TypeError, "an object of type str"),
        (lambda: nn.Input(0), ValueError, "positive integers"),
        (lambda: nn.Input(3, dtype=complex), TypeError, "floating point, an integer or bool"),
        (lambda: nn.Constant([np.nan]), ValueError, "finite"),
        (lambda: nn.Network(x, h, device="gpu"), ValueError, "device"),
        (lambda: nn.Network([x, other], h), ValueError, "no output depends on the input other"),
        (
            lambda: nn.Network(x, nn.Linear(3, 2)(other)),
            ValueError,
            "the input other, .* is not among the inputs",
        ),
        (
            lambda: nn.Network(x, nn.Constant([1.0])),
            ValueError,
            "the output of a constant depends on no input",
        ),
        (lambda: nn.ReLU()(nn.Constant([1.0])), ValueError, r"^\[ReLU\] takes no constant"),
        (
            lambda: nn.Add()(*[nn.Constant([1.0])] * 2),
            ValueError,
            r"^\[Add\] needs an input that is no constant",
        ),
        (
            lambda: nn.Network([nn.Input(4, dtype=int), nn.Linear(4, 2)]),
            ValueError,
            "but integers come out of the input x",
        ),
        (
            lambda: nn.Network([nn.Input(4, dtype=float), nn.Linear(4, 2)]),
            TypeError,
            "x has dtype float64, but",
        ),
        (lambda: nn.Network([nn.Linear(4, 2, tied_to=nn.Linear(2, 4))]), ValueError, "not in this network"),
        (lambda: nn.Network([x, x], h), ValueError, "different values"),
        (lambda: nn.Network(h, nn.ReLU()(h)), TypeError, "must be nn.Input values"),
        (lambda: nn.Network(x, "h"), TypeError, "outputs must be values"),
        (lambda: nn.Network(x, []), ValueError, "at least one output"),
        (lambda: nn.Network(x), TypeError, "there are inputs, but no outputs"),
        (lambda: nn.Network([nn.Linear(4, 3), nn.Add()]), ValueError, r"layer 1, Add\(\), takes 2 inputs"),
        (lambda: nn.Network([nn.Flatten(), nn.Reshape((2, 2))]), ValueError, "put nn.Input"),
        (
            lambda: nn.Network(x, nn.Linear(8, 4, tied_to=nn.Linear(4, 8))(h)),
            ValueError,
            "not in this network",
        ),
    ):
        with pytest.raises(error, match=text):
            bad()


def test_what_does_not_fit_a_network(rng):
    net = siamese()
    a, b = arguments(net, rng)
    for bad, error, text in (
        (lambda: net.forward(a), ValueError, "takes 2 inputs, got 1"),
        (lambda: net.predict(a, b[:3]), ValueError, "different numbers of rows: a 6, b 3"),
        (lambda: net.predict(a, b[:, :4]), ValueError, r"b has shape \(6, 4\): it must be \(n, 5\)"),
        (
            lambda: net.predict(a, b, layers=slice(1)),
            ValueError,
            "a chain of layers, which this network is not",
        ),
        (lambda: net.jvp(None), RuntimeError, "call forward first"),
    ):
        with pytest.raises(error, match=text):
            bad()
    net.forward(a, b)
    with pytest.raises(ValueError, match=r"^\[Network.jvp\] tangents must be None or arrays of the shapes"):
        net.jvp([a])
    net = two_outputs()
    net.forward(a)
    with pytest.raises(ValueError, match="there are 3 outputs, but 2 gradients"):
        net.backward([a, a])
    with pytest.raises(ValueError, match="d_output 0 has shape"):
        net.backward([a, a, a])


def test_outputs_that_are_there_twice(rng):
    x, drop = nn.Input(40), nn.Dropout(0.5)
    h = nn.ReLU()(x)
    first, second = nn.Network(x, [h, h]).predict(rng.standard_normal((3, 40)).astype(np.float32))
    assert not np.shares_memory(first, second)
    # A dropout layer that is called twice draws twice.
    a, b = nn.Network(x, [drop(x), drop(x)]).forward(np.ones((30, 40), np.float32))
    assert 0.3 < ((a > 0) == (b > 0)).mean() < 0.7
    with pytest.raises(ValueError, match="takes 1 inputs, got 2"):
        nn.Network(x, h).predict(a, b)


def test_strides_of_inputs_and_gradients(rng):
    x = nn.Input((2, 4))
    net = nn.Network(x, nn.Tanh()(nn.PReLU()(x)), dtype=np.float64)
    batch, d = rng.standard_normal((2, 4, 2, 3)).transpose(0, 3, 2, 1)
    plain = [np.ascontiguousarray(array) for array in (batch, d)]
    np.testing.assert_array_equal(net.predict(batch), net.predict(plain[0]))
    net.forward(batch)
    found = net.backward(d, inputs=True)
    net.forward(plain[0])
    np.testing.assert_array_equal(found, net.backward(plain[1], inputs=True))


def test_parts_of_a_chain_of_any_shapes(rng):
    net = nn.Network([nn.Input((2, 3)), nn.Permute((1, 0)), nn.Flatten(), nn.Linear(6, 2)], dtype=np.float64)
    x = rng.standard_normal((4, 2, 3))
    turned = net.predict(x, layers=slice(1))
    np.testing.assert_array_equal(turned, x.transpose(0, 2, 1))
    np.testing.assert_array_equal(net.predict(turned, layers=slice(1, None)), net.predict(x))
    with pytest.raises(ValueError, match="layer 2 takes 6 inputs, but 5 come out of the input x"):
        net.predict(np.zeros((4, 5)), layers=slice(2, None))


def test_deep_and_wide_networks_are_named_in_short():
    h = nn.ReLU()(nn.Input(4))
    for _ in range(2000):
        h = nn.Add()(h, h)
    assert repr(h) == "Value(shape=(4,), layer=Add())"
    with pytest.raises(TypeError, match=r"got Value\(shape=\(4,\), layer=Add\(\)\)$"):
        nn.Network(h, nn.ReLU()(h))
