"""Fusion of CUDA graphs into fewer launches: the number of launches, and bitwise equal results.

The launch of an update also computes the weight gradients that it reads, unless another operation would see the
difference. Operations on single numbers join the launch of their predecessors.
"""

from __future__ import annotations

import inspect
import itertools

import backends
import numpy as np
import pytest
import reference

import steepest
from steepest import kernels as K

pytestmark = pytest.mark.skipif(backends.ON_CPU, reason="CPU graphs run their operations one by one")


class Layers:
    """A chain of linear layers with their buffers; nearly every step of these tests starts with `forward_backward`."""

    def __init__(self, widths, n, dtype, *, l2=0.0):
        rng = np.random.default_rng(5)
        self.l2, self.widths = l2, widths
        self.x = [rng.standard_normal((n, w)).astype(dtype) for w in widths]
        pairs = list(itertools.pairwise(widths))
        self.w = [rng.standard_normal(p).astype(dtype) for p in pairs]
        self.b = [rng.standard_normal(p[1]).astype(dtype) for p in pairs]
        self.d_x = [np.zeros_like(x) for x in self.x]
        self.d_w = [np.zeros_like(w) for w in self.w]
        self.d_b = [np.zeros_like(b) for b in self.b]
        self.params, self.grads = [*self.w, *self.b], [*self.d_w, *self.d_b]
        self.state = [[np.zeros_like(p) for p in self.params] for _ in range(2)]
        self.labels = rng.integers(0, widths[-1], n)
        self.loss, self.total, self.lr = np.zeros(()), np.zeros(()), np.array(0.05)
        self.step, self.extra = np.zeros((), np.int64), np.zeros((), dtype)
        self.other = rng.standard_normal((2, 20)).astype(dtype)

    def forward_backward(self):
        for i, (w, b) in enumerate(zip(self.w, self.b, strict=True)):
            activation = "identity" if i == len(self.w) - 1 else "tanh"
            K.linear(self.x[i], w, b, activation, out=self.x[i + 1])
        K.softmax_cross_entropy(self.x[-1], self.labels, loss=self.loss, d_logits=self.d_x[-1])
        for i in reversed(range(len(self.w))):
            self.backward(i)

    def backward(self, i):
        K.linear_backward(
            self.d_x[i + 1],
            self.x[i],
            self.w[i],
            activation="tanh" if i else "identity",
            l2=self.l2,
            input_grad=i > 0,
            d_x=self.d_x[i] if i else None,
            d_w=self.d_w[i],
            d_b=self.d_b[i],
        )

    def adam(self):
        K.increment(self.step)
        K.adam_update(self.params, self.grads, *self.state, self.step, lr=0.05)

    def update(self, rule, **options):
        name, states = K.UPDATE_RULES[rule]
        options |= reference.UPDATE_RULES[rule].keywords
        count = ()
        if "step" in inspect.signature(getattr(K, name)).parameters:
            count = (self.step,)
            K.increment(self.step)
        getattr(K, name)(self.params, self.grads, *self.state[: len(states)], *count, lr=self.lr, **options)

    def bytes(self):
        arrays = [*self.x, *self.params, *self.grads, *self.d_x, *self.state[0], *self.state[1]]
        arrays += [self.loss, self.total, self.lr, self.step, self.extra, self.other]
        return [a.tobytes() for a in arrays]


def check(make, step, launches, replays=3):
    """Replay `step` of a `Layers`, compare all bytes with eager steps, and count the launches of a step."""
    eager, captured = make(), make()
    with steepest.capture() as graph:
        step(captured)
    for _ in range(replays):
        step(eager)
    graph.replay(replays)
    assert captured.bytes() == eager.bytes()
    assert graph._graph.launches() == launches


def small(dtype, **options):
    return lambda: Layers((20, 16, 70, 9), 12, dtype, **options)


# Launches: 3 forward layers, the loss, 2 input gradients, the weight gradients with the update, the scalars.
FUSED = 3 + 1 + 2 + 1 + 1


def adam_step(net):
    net.forward_backward()
    net.adam()


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_adam(dtype, l2, multiprocessors):
    check(small(dtype, l2=l2), adam_step, FUSED)


# Penalties apply to the weights, not to the biases.
PENALTIES = {"l1": 0.1, "weight_decay": 0.2, "l2": 0.3, "penalised": [True] * 3 + [False] * 3}


@pytest.mark.parametrize("penalties", [{}, PENALTIES], ids=["plain", "penalised"])
@pytest.mark.parametrize("rule", K.UPDATE_RULES)
def test_rules(dtype, rule, penalties):
    def step(net):
        net.forward_backward()
        net.update(rule, **penalties)

    check(small(dtype), step, FUSED)


@pytest.mark.parametrize("rule", K.UPDATE_RULES)
def test_clipping_waits_for_all_gradients(dtype, rule):
    """Clipping needs the norm of all gradients: each layer's product, then the norm, then the update."""

    def step(net):
        net.forward_backward()
        net.update(rule, max_norm=0.01, **PENALTIES)

    check(small(dtype), step, FUSED + 4)


def test_a_schedule_costs_no_launch(dtype):
    rates = np.array([0.1, 0.2, 0.05])

    def step(net):
        net.forward_backward()
        K.look_up(rates, net.step, out=net.lr)
        net.update("adam")

    check(small(dtype), step, FUSED, replays=4)


@pytest.mark.parametrize("n", [1, 32, 300])
def test_batches(dtype, n, multiprocessors):
    check(lambda: Layers((40, 33, 8), n, dtype), adam_step, 2 + 1 + 1 + 1 + 1)


def test_gradients_in_parts():
    """With many rows, several blocks share a tile of a gradient."""
    check(lambda: Layers((40, 33, 8), 2000, np.float32), adam_step, 2 + 1 + 1 + 1 + 1)


def test_more_layers_than_a_launch_takes(dtype):
    check(lambda: Layers((9,) * 9, 7, dtype), adam_step, 8 + 1 + 7 + 2 + 1)


# Launches: the forward layer, the loss, the weight gradient, the update, the scalars.
UNFUSED = 1 + 1 + 1 + 1 + 1


def test_large_layers_are_not_fused(multiprocessors):
    """Products that are compute-bound on every device keep their own kernels."""
    with steepest.capture() as graph:
        adam_step(Layers((1024, 1024), 1024, np.float32))
    assert graph._graph.launches() == UNFUSED


@pytest.mark.skipif(
    not backends.STANDIN, reason="only the stand-in reports the plan of a kernel, an internal detail"
)
def test_the_plan_says_which_layers_are_large(multiprocessors):
    device = backends.STANDIN_DEVICES.index(multiprocessors)
    kind, _ = backends.load_standin().gemm_plan(256, 40, 256, device=device)
    assert (kind == "large") == (multiprocessors <= 4)
    launches = UNFUSED if kind == "large" else UNFUSED - 1
    check(lambda: Layers((256, 256), 40, np.float32), adam_step, launches, replays=1)


def test_gradient_that_is_read_before_the_update(dtype):
    def step(net):
        net.forward_backward()
        K.sum_squares(net.d_w[1], out=net.extra)
        net.adam()

    # Layer 1 computes its product in a separate launch; the other two are fused.
    check(small(dtype), step, FUSED + 3)


def test_input_that_changes_before_the_update(dtype):
    def step(net):
        net.forward_backward()
        K.activation(net.x[0], "sigmoid", out=net.x[0])
        net.adam()

    check(small(dtype), step, FUSED + 3)


def test_failure_before_the_update(dtype):
    """If a step fails after the backward pass, its gradients have been written."""

    def step(net):
        net.forward_backward()
        K.require_finite(net.loss)
        net.adam()

    # Each layer computes its product in a separate launch.
    check(small(dtype), step, FUSED + 3)

    net = small(dtype)()
    net.x[0][...] = np.nan
    with steepest.capture() as graph:
        step(net)
    before = [p.tobytes() for p in net.params]
    with pytest.raises(steepest.DivergenceError):
        graph.replay()
    assert [p.tobytes() for p in net.params] == before
    assert np.isnan(net.d_w[0]).all()


def test_gradient_that_is_read_after_the_update(dtype):
    def step(net):
        net.forward_backward()
        net.adam()
        K.sum_squares(net.d_w[1], out=net.extra)

    check(small(dtype), step, FUSED + 1)


def test_update_of_the_weights_alone(dtype):
    def step(net):
        net.forward_backward()
        k = len(net.w)
        K.sgd_update(net.params[:k], net.grads[:k], lr=0.05)

    check(small(dtype), step, FUSED)


def test_update_of_the_biases_alone(dtype):
    def step(net):
        net.forward_backward()
        k = len(net.w)
        K.sgd_update(net.params[k:], net.grads[k:], lr=0.05)

    check(small(dtype), step, FUSED + 3)


def test_two_updates(dtype):
    def step(net):
        net.forward_backward()
        K.sgd_update([net.w[0], net.b[0]], [net.d_w[0], net.d_b[0]], lr=0.05)
        K.sgd_update([net.w[1], net.w[2]], [net.d_w[1], net.d_w[2]], lr=0.01)

    check(small(dtype), step, FUSED + 1)


def test_two_updates_from_one_gradient(dtype):
    """The launch of the first update computes the gradient, and the second update reads it."""

    def step(net):
        net.forward_backward()
        for target in (net.w[2], net.state[0][2]):
            K.sgd_update([target], [net.d_w[2]], lr=0.05)

    # No update reads the gradients of the other two layers.
    check(small(dtype), step, FUSED + 2 + 1)


def test_a_tensor_that_is_no_layers(dtype):
    def step(net):
        net.forward_backward()
        K.sgd_update([net.other[0], *net.params], [net.other[1], *net.grads], lr=0.05)

    check(small(dtype), step, FUSED + 1)


@pytest.mark.parametrize(("l2", "extra"), [(0.0, 1), (0.3, 2)])
def test_shared_weights(dtype, l2, extra):
    """A second gradient with a penalty reads the weights, so it must be computed before the first update."""

    def step(net):
        net.forward_backward()
        d_w, d_b = net.state[1][0], net.state[1][3]
        K.linear_backward(net.d_x[1], net.x[0], net.w[0], l2=net.l2, input_grad=False, d_w=d_w, d_b=d_b)
        K.sgd_update(net.params, net.grads, lr=0.05)
        K.sgd_update([net.w[0]], [d_w], lr=0.05)

    # Without a penalty the second gradient and update share a launch; with one they take two.
    check(small(dtype, l2=l2), step, FUSED + extra)


def test_tied_weights(dtype):
    """If two layers share weights, the product that adds to the first gradient is fused with the update."""

    def step(net):
        net.forward_backward()
        K.linear_backward(
            net.d_x[1],
            net.x[0],
            net.w[0],
            l2=net.l2,
            input_grad=False,
            d_w=net.d_w[0],
            d_b=net.d_b[0],
            accumulate=True,
        )
        net.adam()

    # The first product of the shared weights takes a separate launch.
    check(small(dtype, l2=0.3), step, FUSED + 1)


def test_gradients_accumulated_over_replays(dtype):
    """A gradient that adds to the value of the previous step."""

    def step(net):
        K.linear_backward(
            net.d_x[1], net.x[0], net.w[0], input_grad=False, d_w=net.d_w[0], d_b=net.d_b[0], accumulate=True
        )
        K.sgd_update([net.w[0], net.b[0]], [net.d_w[0], net.d_b[0]], lr=0.05)

    check(small(dtype), step, 1 + 1)


def test_strided_tensors(dtype):
    def make():
        net = Layers((20, 16, 9), 12, dtype)
        for arrays in (net.w, net.d_w):
            arrays[0] = np.asfortranarray(arrays[0])
            arrays[1] = np.repeat(arrays[1], 2, axis=1)[:, ::2]
        net.params, net.grads = [*net.w, *net.b], [*net.d_w, *net.d_b]
        return net

    check(make, adam_step, 2 + 1 + 1 + 1 + 1)


def scalars(net):
    """Operations on counters that fuse into one launch, with a check in between that can fail."""
    K.increment(net.step)
    K.accumulate(net.loss, 2.0)
    K.require_finite(net.loss)
    K.increment(net.step, 3)


def test_scalars_are_one_launch(dtype):
    check(small(dtype), scalars, 1)


def test_scalars_wait_for_what_they_read(dtype):
    def step(net):
        K.increment(net.step)
        K.softmax_cross_entropy(net.x[-1], net.labels, loss=net.loss, d_logits=net.d_x[-1])
        K.accumulate(net.total, net.loss)
        K.increment(net.step)

    check(small(dtype), step, 3)


def test_a_failure_leaves_what_comes_after_it_undone():
    net = small(np.float32)()
    net.loss[...] = np.nan
    with steepest.capture() as graph:
        scalars(net)
    with pytest.raises(steepest.DivergenceError) as caught:
        graph.replay(4)
    assert caught.value.step == 0
    assert net.step == 1


def test_the_step_of_a_failure_is_counted():
    total = np.zeros(())
    with steepest.capture() as graph:
        K.require_finite(total)
        K.accumulate(total, 1e308)
    with pytest.raises(steepest.DivergenceError) as caught:
        graph.replay(5)
    assert caught.value.step == 2
    assert np.isinf(total)
