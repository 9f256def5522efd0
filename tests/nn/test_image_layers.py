"""Pooling, up-sampling and normalisation layers: gradients, predictions, running statistics and messages."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest

import steepest
from steepest import nn, optim
from steepest.fisher._tape import compiled_for
from steepest.nn.compiled import Wanted
from steepest.nn.gradient import Derive, Pull

IMAGE = (6, 8, 4)
# Layers between an image of shape IMAGE and a Flatten.
LAYERS = {
    "max pool": [nn.MaxPool2d(2)],
    "overlapping max pool": [nn.Conv2d(4, 5, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Tanh()],
    "average pool": [nn.AvgPool2d((2, 3), stride=1, padding=(1, 2), count_include_pad=True)],
    "global pool": [nn.Conv2d(4, 3, 3), nn.Sigmoid(), nn.GlobalAvgPool2d()],
    "upsample": [nn.Upsample((2, 3)), nn.AvgPool2d(2)],
    "batch norm": [nn.Conv2d(4, 6, 3), nn.BatchNorm(6), nn.ReLU()],
    "batch norm without weights": [nn.BatchNorm(4, affine=False, momentum=1.0)],
    "layer norm": [nn.LayerNorm(4), nn.ELU()],
    "RMS norm": [nn.RMSNorm(4)],
    "group norm": [nn.Conv2d(4, 6, 2), nn.GroupNorm(6, num_groups=3), nn.ReLU()],
}


def made(name, dtype=np.float64, **options):
    net = nn.Network([nn.Input(IMAGE), *LAYERS[name], nn.Flatten()], seed=3, dtype=dtype, **options)
    rng = np.random.default_rng(5)
    for p in net.parameters():
        if p.role == "weight" and p.value.ndim == 1:  # of a norm: not all of them one
            p.value[...] = rng.uniform(0.5, 1.5, p.value.shape)
    return net


def images(rng, n=5, dtype=np.float64):
    return rng.standard_normal((n, *IMAGE)).astype(dtype)


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_and_directional_derivatives(rng, name):
    net, x = made(name), images(rng)
    y = rng.standard_normal(net.predict(x).shape)
    assert nn.gradient_check(net, nn.MeanSquaredError(), x, y, inputs=True).ok
    d, dx = rng.standard_normal(net.forward(x).shape), rng.standard_normal(x.shape)
    d_x = net.backward(d, inputs=True)
    moves = [rng.standard_normal(p.value.shape) for p in net.parameters()]
    along = sum((p.grad * v).sum() for p, v in zip(net.parameters(), moves, strict=True))
    moved = net.jvp(moves or None, [dx])
    np.testing.assert_allclose((moved * d).sum(), along + (d_x * dx).sum(), rtol=1e-9)


@pytest.mark.parametrize("name", LAYERS)
def test_predictions_between_a_forward_and_a_backward_pass_change_nothing(rng, name):
    net, x, other = made(name), images(rng), images(rng)
    d = rng.standard_normal(net.forward(x).shape)
    expected = net.backward(d, inputs=True)
    gradients = net.grad_arena.copy()
    net.forward(x)
    net.predict(other)
    np.testing.assert_array_equal(net.backward(d, inputs=True), expected)
    np.testing.assert_array_equal(net.grad_arena, gradients)


def test_running_statistics(rng):
    net = nn.Network([nn.Input(IMAGE), nn.BatchNorm(4, momentum=0.25)], dtype=np.float64)
    mean, variance = np.zeros(4), np.ones(4)
    for _ in range(3):
        x = 3 + 2 * images(rng)
        net.forward(x)
        rows = x.reshape(-1, 4)
        mean = 0.75 * mean + 0.25 * rows.mean(axis=0)
        variance = 0.75 * variance + 0.25 * rows.var(axis=0, ddof=1)
    x = images(rng)
    expected = (x - mean) / np.sqrt(variance + 1e-5)
    np.testing.assert_allclose(net.predict(x), expected, rtol=1e-12, atol=1e-12)
    assert [p.name for p in net.parameters()] == ["0.weight", "0.bias"]
    assert not any(p.decays for p in net.parameters())


def test_copies_and_files_keep_running_statistics(rng, tmp_path):
    net, x = made("batch norm", np.float32), images(rng, dtype=np.float32)
    for _ in range(3):
        net.forward(2 + x)
    expected = net.predict(x)
    steepest.save(net, tmp_path / "net.steepest")
    twins = [copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net))]
    for twin in (*twins, steepest.load(tmp_path / "net.steepest")):
        np.testing.assert_array_equal(twin.predict(x), expected)
    twins[0].forward(10 + x)  # has statistics of its own
    np.testing.assert_array_equal(net.predict(x), expected)


def test_captured_steps_update_running_statistics(rng):
    nets = [made("batch norm", np.float32) for _ in range(2)]
    x, loss = images(rng, 16, np.float32), nn.MeanSquaredError()
    y = rng.standard_normal(nets[0].predict(x).shape).astype(np.float32)
    steps = []
    for net in nets:
        optimizer = optim.SGD(net.parameters(), lr=0.1)

        def step(net=net, optimizer=optimizer):
            _, d = loss(net.forward(x), y)
            net.backward(d)
            optimizer.step()

        steps.append(step)
    for _ in range(5):
        steps[0]()
    with steepest.capture() as graph:
        steps[1]()
    graph.replay(5)
    np.testing.assert_array_equal(nets[0].predict(x), nets[1].predict(x))


def test_a_checkpoint_goes_on_with_the_same_statistics(rng, tmp_path):
    def run(net, optimizer, steps):
        for i in range(steps):
            _, d = loss(net.forward(batches[i % 4]), targets)
            net.backward(d)
            optimizer.step()

    loss, batches = nn.MeanSquaredError(), [images(rng, 8, np.float32) for _ in range(4)]
    net = made("batch norm", np.float32)
    targets = rng.standard_normal(net.predict(batches[0]).shape).astype(np.float32)
    optimizer = optim.Adam(net.parameters())
    run(net, optimizer, 4)
    steepest.save_checkpoint(tmp_path / "run", net=net, optimizer=optimizer)
    run(net, optimizer, 4)
    found = steepest.load_checkpoint(tmp_path / "run")
    run(found["net"], found["optimizer"], 4)
    np.testing.assert_array_equal(found["net"].predict(batches[0]), net.predict(batches[0]))


@pytest.mark.parametrize("name", ["batch norm", "layer norm", "group norm"])
def test_fisher_matrices_see_the_network_as_predictions_do(rng, name):
    from steepest import fisher

    net, x = made(name), images(rng)
    net.forward(x)
    loss, y = nn.MeanSquaredError(), rng.standard_normal(net.predict(x).shape)
    F = fisher.FisherMatrix(net, loss, x, y, kind="exact", structure="dense")

    def change(v, step=1e-5):
        """How the predictions change along v, by central differences: their error is about step^2."""
        moved = []
        for sign in (1, -1):
            twin, at = copy.copy(net), 0
            for p in twin.parameters():
                p.value[...] += sign * step * v[at : at + p.value.size].reshape(p.value.shape)
                at += p.value.size
            moved.append(twin.predict(x))
        return (moved[0] - moved[1]) / (2 * step)

    # That of a Gaussian is J'J times one number, which the loss decides: the same for all directions.
    directions = rng.standard_normal((4, F.shape[0]))
    ratios = [v @ (F @ v) / (change(v) ** 2).sum() for v in directions]
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-6)
    np.testing.assert_allclose(F.to_dense() @ directions[0], F @ directions[0], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("activation", [None, nn.ReLU(), nn.Tanh()], ids=str)
@pytest.mark.parametrize(
    "before",
    [
        (nn.Conv2d(4, 6, 3),),
        (nn.Conv2d(4, 6, 3, stride=2, groups=2, bias=False),),
        (nn.Flatten(), nn.Linear(192, 6)),
        (nn.ConvTranspose2d(4, 6, 3),),
        (nn.Conv2d(4, 6, 3), nn.Tanh()),
    ],
    ids=lambda layers: str(layers[-1]),
)
@pytest.mark.parametrize("affine", [True, False])
def test_folded_norms(rng, before, activation, affine):
    """A prediction has the values that it has where the norm's input is an output, too, and cannot be folded."""
    x = nn.Input(IMAGE)
    inner = x
    for layer in before:
        inner = layer(inner)
    normed = nn.BatchNorm(6, affine=affine)(inner)
    last = normed if activation is None else activation(normed)
    folded, apart = nn.Network(x, last, dtype=np.float64), nn.Network(x, [inner, last], dtype=np.float64)
    for p, q in zip(folded.parameters(), apart.parameters(), strict=True):
        p.value[...] = q.value[...] = rng.uniform(0.5, 1.5, p.value.shape)
    for name, state in folded.states.items():
        state[...] = apart.states[name][...] = rng.uniform(0.5, 1.5, state.shape)
    for n in (1, 40):  # for one row, the dense weights have more items than the output
        given = images(rng, n)
        np.testing.assert_allclose(folded.predict(given), apart.predict(given)[1], rtol=1e-12, atol=1e-12)
    is_folded = (len(before) == 1 and isinstance(before[0], nn.Conv2d)) or isinstance(before[-1], nn.Linear)
    assert ("+ batch norm" in str(compiled_for(folded).folded)) == is_folded
    assert "+ batch norm" not in str(compiled_for(apart).folded)


def test_kept_arrays_are_released(rng):
    net = made("overlapping max pool", np.float32)
    net.forward(images(rng, dtype=np.float32))
    pools = [n.operation for n in net._main.training.nodes if hasattr(n.operation, "arrays_for")]
    assert pools
    assert all(pool._kept for pool in pools)
    net.release_buffers()
    assert not any(pool._kept for pool in pools)


def test_the_derivative_before_a_maximum_acts_on_the_pooled_gradient():
    """Of the activation between a convolution and a maximum, in the kernel of the layer behind the maximum."""
    wanted = Wanted(inputs=False, parameters=True, frozen=frozenset())
    for pool, folded in ((nn.MaxPool2d(2), True), (nn.AvgPool2d(2), False)):
        layers = [nn.Input(IMAGE), nn.Conv2d(4, 5, 3), nn.ReLU(), pool, nn.Conv2d(5, 2, 1), nn.Flatten()]
        backward, _ = nn.Network(layers)._main.backward(wanted)
        pulls = {i.node.path: i.derivative for i in backward.instructions if isinstance(i, Pull)}
        derives = [i for i in backward.instructions if isinstance(i, Derive)]
        assert (pulls["3"], len(derives)) == (("relu", 0) if folded else ("identity", 1))


def test_buffers_of_gradients_are_used_again():
    """Gradients grow on the way back: a larger buffer takes the place of a smaller one whose readers have run."""
    layers = [nn.Input(IMAGE)]
    for _ in range(4):
        layers += [nn.Upsample(1), nn.Conv2d(4, 4, 2)]
    net = nn.Network([*layers, nn.Flatten()])
    wanted = Wanted(inputs=True, parameters=True, frozen=frozenset())
    backward, places = net._main.backward(wanted)
    assert len(places.buffers) > 6
    sizes = sorted(math.prod(net._main.training.shape(backward.values[n])) for n in places.buffers)
    assert sum(places.sizes) <= sum(sizes[-2:])
    assert sum(net._main.prediction_plan.sizes) <= sum(sizes[-2:])


def test_upsampling_repeats_pixels(rng):
    x = images(rng, dtype=np.float32)
    net = nn.Network([nn.Input(IMAGE), nn.Upsample((2, 3))])
    np.testing.assert_array_equal(net.predict(x), x.repeat(2, axis=1).repeat(3, axis=2))


def test_invariances(rng):
    x = images(rng)
    norm = nn.Network([nn.Input(IMAGE), nn.Conv2d(4, 6, 3), nn.BatchNorm(6, eps=1e-12)], dtype=np.float64)
    before = norm.forward(x).copy()
    norm.parameters()[0].value[...] *= 3.0  # scales what comes before the norm
    norm.parameters()[1].value[...] += 2.0  # and shifts it
    np.testing.assert_allclose(norm.forward(x), before, rtol=1e-8, atol=1e-8)
    mean = nn.Network([nn.Input(IMAGE), nn.GlobalAvgPool2d()], dtype=np.float64).predict(x)
    np.testing.assert_allclose(mean, x.mean(axis=(1, 2)), rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.MaxPool2d(0), r"\[MaxPool2d\] kernel_size must be an integer of at least 1"),
        (lambda: nn.MaxPool2d(17), r"\[MaxPool2d\] kernel_size must have at most 256 pixels"),
        (lambda: nn.AvgPool2d(2, padding=2), r"\[AvgPool2d\] padding must be less than kernel_size"),
        (lambda: nn.Upsample(0), r"\[Upsample\] scale_factor must be an integer of at least 1"),
        (lambda: nn.BatchNorm(0), r"\[BatchNorm\] num_features must be an integer of at least 1"),
        (lambda: nn.BatchNorm(4, eps=0), r"\[BatchNorm\] eps must be finite and positive"),
        (lambda: nn.BatchNorm(4, momentum=2), r"\[BatchNorm\] momentum must be in \[0, 1\]"),
        (lambda: nn.GroupNorm(4, num_groups=3), r"\[GroupNorm\] num_groups=3 must divide num_features=4"),
        (
            lambda: nn.Network([nn.Input((4, 4, 3)), nn.MaxPool2d(5)]),
            r"\[Network\] layer 0 has windows that cover 5 rows, but images of 4 rows come out",
        ),
        (
            lambda: nn.Network([nn.Input((4, 4, 3)), nn.LayerNorm(4)]),
            r"\[Network\] layer 0 takes 4 features, the last axis, but 3 come out",
        ),
        (
            lambda: nn.Network([nn.Input((4, 4)), nn.GlobalAvgPool2d()]),
            r"\[Network\] layer 0 takes images \(height, width, channels\), but samples of shape \(4, 4\)",
        ),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
