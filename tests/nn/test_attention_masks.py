"""Masks of attention layers: derivatives, masks that say what options say, rows without keys, and messages."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest

import steepest
from steepest import nn, optim

N, T, S, D = 4, 6, 5, 8
LAYERS = {
    "attention": nn.MultiHeadAttention(D, 2),
    "grouped, rotary, causal": nn.MultiHeadAttention(D, 4, 2, causal=True, rotary=True),
    "encoder": nn.TransformerEncoder(D, 2, 2, norm="post"),
    "to a memory": nn.MultiHeadAttention(D, 4),
    "decoder": nn.TransformerDecoder(D, 2, 2),
    "decoder and its memory": nn.TransformerDecoder(D, 2),
}


def masks_of(rng, name, n=()):
    """Masks by keyword, some rows of which are empty."""
    steps = {"mask": (T, S if name == "to a memory" else T)}
    if name == "decoder and its memory":
        steps["memory_mask"] = (T, S)
    masks = {key: rng.random((*n, *shape)) < 0.6 for key, shape in steps.items()}
    for mask in masks.values():
        mask[..., 2, :] = False
    return masks


def network(name, masks, *, shared, lengths, dtype=np.float64):
    """The layer and a linear one behind it; masks are constants, or inputs."""
    has_memory = "memory" in name or "decoder" in name
    inputs = [nn.Input((T, D)), *([nn.Input((S, D), name="memory")] if has_memory else [])]
    sequences, given = tuple(inputs), {}
    for key, mask in masks.items():
        given[key] = nn.Constant(mask) if shared else nn.Input(mask.shape[1:], dtype=bool, name=key)
    if lengths:
        given["lengths"] = nn.Input((), dtype=np.int64, name="lengths")
    inputs += [value for value in given.values() if isinstance(value, nn.Input)]
    value = nn.Linear(T * D, 2)(nn.Flatten()(LAYERS[name](*sequences, **given)))
    net = nn.Network(inputs, value, seed=1, dtype=dtype)
    change = np.random.default_rng(5)
    for p in net.parameters():
        p.value[...] += 0.1 * change.standard_normal(p.value.shape)
    return net


def batch(rng, name, masks, *, shared, lengths, dtype=np.float64):
    has_memory = "memory" in name or "decoder" in name
    given = [rng.standard_normal((N, T, D)).astype(dtype)]
    given += [rng.standard_normal((N, S, D)).astype(dtype)] if has_memory else []
    given += [] if shared else list(masks.values())
    given += [np.array([2, 4, 1, S])] if lengths else []
    return tuple(given)


@pytest.fixture(params=[False, True], ids=["of samples", "shared"])
def shared(request):
    return request.param


every_layer = pytest.mark.parametrize("name", LAYERS)
some_lengths = pytest.mark.parametrize("lengths", [False, True], ids=["", "lengths"])


@pytest.fixture
def case(rng, name, shared, lengths):
    """A network and a batch for it."""
    masks = masks_of(rng, name, () if shared else (N,))
    options = {"shared": shared, "lengths": lengths}
    return network(name, masks, **options), batch(rng, name, masks, **options)


@some_lengths
@every_layer
def test_derivatives(rng, case):
    """The gradient is the adjoint of the derivative along directions, and both are slopes."""
    net, given = case
    output = net.forward(*given)
    d = rng.standard_normal(output.shape)
    net.backward(d)
    gradient, start = net.grad_arena.copy(), net.arena.copy()
    moves = [rng.standard_normal(p.value.shape) for p in net.parameters()]
    moved = (net.jvp(moves) * d).sum()
    along = sum((p.grad * v).sum() for p, v in zip(net.parameters(), moves, strict=True))
    np.testing.assert_allclose(moved, along, rtol=1e-10)
    ends, h = [], 1e-5
    for step in (h, -h):
        for p, v in zip(net.parameters(), moves, strict=True):
            p.value[...] += step * v
        ends.append((net.forward(*given) * d).sum())
        np.testing.assert_allclose(net.predict(*given), net.forward(*given), rtol=1e-12, atol=1e-13)
        net.arena[...] = start
    np.testing.assert_allclose((ends[0] - ends[1]) / (2 * h), along, rtol=1e-6)
    assert np.isfinite(gradient).all()


@some_lengths
@every_layer
def test_what_a_mask_hides_does_not_matter(rng, name, shared, lengths):
    """Inputs that every row hides change no other step; the own step is that of the residual."""
    masks = masks_of(rng, name, () if shared else (N,))
    last = "memory_mask" if "memory_mask" in masks else "mask"
    masks[last][..., 3] = False
    options = {"shared": shared, "lengths": lengths}
    net, given = network(name, masks, **options), batch(rng, name, masks, **options)
    is_memory = name in {"to a memory", "decoder and its memory"}
    found, others = [], np.arange(T) != 3
    body = nn.Network(
        net._architecture.inputs, _attended(net, name, masks, shared=shared), dtype=np.float64, seed=1
    )
    for _ in range(2):
        found.append(body.predict(*given).copy())
        given[int(is_memory)][:, 3] = 7.0
    np.testing.assert_array_equal(found[0][:, others], found[1][:, others])
    assert is_memory == (found[0] == found[1]).all()


def _attended(net, name, masks, *, shared):
    """The output of the layer alone, for the inputs of a network."""
    by_name = {value.name: value for value in net._architecture.inputs}
    sequences = [by_name[key] for key in ("x", "memory") if key in by_name]
    given = {key: by_name[key] for key in ("lengths",) if key in by_name}
    given |= {key: nn.Constant(mask) if shared else by_name[key] for key, mask in masks.items()}
    return LAYERS[name](*sequences, **given)


@pytest.mark.parametrize("rotary", [False, True], ids=["", "rotary"])
def test_a_mask_says_what_options_say(rng, shared, rotary):
    """The causal option and lengths as masks; a mask that hides nothing."""
    x, lengths, m = (
        nn.Input((T, D)),
        nn.Input((), dtype=np.int64, name="lengths"),
        nn.Input((T, T), bool, "m"),
    )
    data, n = rng.standard_normal((N, T, D)), np.array([3, 6, 1, 4])
    steps = np.arange(T)
    causal, keys = np.tril(np.ones((T, T), bool)), np.broadcast_to(steps < n[:, None, None], (N, T, T))
    plain = nn.MultiHeadAttention(D, 2, rotary=rotary)

    def computed(layer, mask, **inputs):
        mask = np.ascontiguousarray(mask)
        value = nn.Constant(mask) if mask.ndim == 2 else m
        names = [x, *([] if mask.ndim == 2 else [m]), *inputs]
        net = nn.Network(names, layer(x, mask=value, **{v.name: v for v in inputs}), dtype=np.float64)
        return net.predict(data, *([] if mask.ndim == 2 else [mask]), *inputs.values())

    everything = np.ones((T, T), bool) if shared else np.ones((N, T, T), bool)
    option = nn.MultiHeadAttention(D, 2, causal=True, rotary=rotary)
    expected = computed(option, everything)
    whole = nn.Network([x, option], dtype=np.float64).predict(data)
    np.testing.assert_allclose(expected, whole, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(computed(plain, causal & everything), expected, rtol=1e-12, atol=1e-14)
    if not shared:
        cut = computed(plain, everything)
        with_lengths = nn.Network([x, lengths], plain(x, lengths=lengths), dtype=np.float64).predict(data, n)
        masked = computed(plain, keys)
        for i, length in enumerate(n):
            np.testing.assert_allclose(masked[i, :length], with_lengths[i, :length], rtol=1e-12, atol=1e-14)
        assert not np.allclose(cut, masked)


def test_a_row_without_keys_is_zero(rng, shared):
    """What is left is the bias of the linear map behind all heads."""
    mask = rng.random((T, T) if shared else (N, T, T)) < 0.5
    mask[..., 4, :], mask[..., :4, 0] = False, True
    x, m = nn.Input((T, D)), nn.Input((T, T), dtype=bool, name="mask")
    layer = nn.MultiHeadAttention(D, 2)
    inputs, value = ([x], nn.Constant(mask)) if shared else ([x, m], m)
    net = nn.Network(inputs, layer(x, mask=value), dtype=np.float64)
    bias = next(p for p in net.parameters() if p.name.endswith("output.bias"))
    bias.value[...] = rng.standard_normal(D)
    given = (rng.standard_normal((N, T, D)), *([] if shared else [mask]))
    y = net.predict(*given)
    np.testing.assert_array_equal(y[:, 4], np.broadcast_to(bias.value, (N, D)))
    assert np.abs(y[:, 3] - bias.value).min() > 0
    net.forward(*given)
    d = np.zeros((N, T, D))
    d[:, 4] = 1.0
    net.backward(d)
    for p in net.parameters():
        assert (p.grad == (N if p is not None and p.name == bias.name else 0)).all()


def test_captured_steps_read_the_mask_anew(rng):
    mask = np.ones((N, T, T), bool)
    options = {"shared": False, "lengths": False, "dtype": np.float32}
    nets = [network("encoder", {"mask": mask}, **options) for _ in range(2)]
    given = batch(rng, "encoder", {"mask": mask}, **options)
    y, loss = rng.integers(0, 2, N), nn.SoftmaxCrossEntropy()
    optimizers = [optim.SGD(net.parameters(), lr=0.1) for net in nets]

    def step(net, optimizer):
        value, d = loss(net.forward(*given), y)
        net.backward(d)
        optimizer.step()
        return value

    with steepest.capture() as graph:
        value = step(nets[1], optimizers[1])
    for _ in range(3):
        mask[...] = rng.random(mask.shape) < 0.5
        graph.replay()
        np.testing.assert_allclose(float(value), float(step(nets[0], optimizers[0])), rtol=1e-5)


def test_copies_and_files_keep_masks(rng, tmp_path):
    mask = rng.random((T, T)) < 0.5
    net = network("encoder", {"mask": mask}, shared=True, lengths=False)
    x = rng.standard_normal((N, T, D))
    expected = net.predict(x)
    path = tmp_path / "net.safetensors"
    steepest.save(net, path)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), steepest.load(path)):
        np.testing.assert_array_equal(twin.predict(x), expected)


def test_a_constant_of_booleans_still_multiplies(rng):
    """And may be the mask of an attention at the same time."""
    keep = np.tril(np.ones((T, T), bool))
    constant, x = nn.Constant(keep), nn.Input((T, T))
    layer = nn.MultiHeadAttention(T, 2)
    data = rng.standard_normal((N, T, T))
    product = nn.Network(x, nn.Multiply()(x, constant), dtype=np.float64)
    np.testing.assert_array_equal(product.predict(data), data * keep)
    both = nn.Network(x, layer(nn.Multiply()(x, constant), mask=constant), dtype=np.float64)
    alone = nn.Network(x, layer(x, mask=nn.Constant(keep)), dtype=np.float64)
    np.testing.assert_array_equal(both.predict(data), alone.predict(data * keep))


# --------------------------------------------------------------------------------------------------- bad input

X, MEMORY = nn.Input((T, D)), nn.Input((S, D), name="memory")
CAUSAL = nn.MultiHeadAttention(D, 2, causal=True)
ENCODER, DECODER = nn.TransformerEncoder(D, 2), nn.TransformerDecoder(D, 2)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: ENCODER(X, mask=nn.Input((T, S), dtype=bool)),
            ValueError,
            "[TransformerEncoder] TransformerEncoder(8, 2) takes a mask of shape (6, 6), a row for each step",
        ),
        (
            lambda: ENCODER(X, mask=nn.Constant(np.ones(T, bool))),
            ValueError,
            "but one of shape (6,) comes beside",
        ),
        (
            lambda: LAYERS["to a memory"](X, MEMORY, mask=nn.Constant(np.ones((T, T), bool))),
            ValueError,
            "[MultiHeadAttention] MultiHeadAttention(8, 4) takes a mask of shape (6, 5)",
        ),
        (
            lambda: DECODER(X, MEMORY, mask=nn.Constant(np.ones((T, S), bool))),
            ValueError,
            "[TransformerDecoder] TransformerDecoder(8, 2) takes a mask of shape (6, 6)",
        ),
        (
            lambda: DECODER(X, MEMORY, memory_mask=nn.Constant(np.ones((T, T), bool))),
            ValueError,
            "takes a mask of shape (6, 5)",
        ),
        (
            lambda: ENCODER(X, mask=nn.Input((T, T))),
            TypeError,
            "[TransformerEncoder] mask must be an nn.Input((steps, key_steps), dtype=bool), or an nn.Constant of",
        ),
        (lambda: ENCODER(X, mask=nn.Input((T, T), dtype=np.int64)), TypeError, "mask must be an nn.Input"),
        (lambda: ENCODER(X, mask=nn.Constant(np.ones((T, T)))), TypeError, "not Constant(shape=(6, 6))"),
        (lambda: ENCODER(X, mask=np.ones((T, T), bool)), TypeError, "mask must be an nn.Input"),
        (
            lambda: DECODER(X, MEMORY, memory_mask=X),
            TypeError,
            "[TransformerDecoder] memory_mask must be an nn.Input",
        ),
        (
            lambda: nn.Network(X, LAYERS["attention"](X, nn.Constant(np.ones((T, T))))),
            ValueError,
            "takes a mask that is an nn.Input",
        ),
        (
            lambda: nn.Network(X, CAUSAL(X, mask=nn.Constant(np.ones((T, T), bool)))).stream(),
            ValueError,
            "[Network.stream] the layers do not take sequences of one step: [Network] layer 0 takes a mask of shape",
        ),
        (
            lambda: nn.Network([nn.Input(4, dtype=bool), nn.Linear(4, 2)]),
            ValueError,
            "takes floating-point numbers, but booleans come out",
        ),
        (
            lambda: nn.Network([nn.Input(4, dtype=bool), nn.Embedding(4, 2)]),
            ValueError,
            "takes integers, an nn.Input",
        ),
    ],
    ids=range(14),
)
def test_masks_that_do_not_fit(make, error, text):
    with pytest.raises(error, match=re.escape(text)):
        make()


def test_arrays_that_are_no_masks(rng):
    mask = np.ones((N, T, T), bool)
    net = network("attention", {"mask": mask}, shared=False, lengths=False)
    x = rng.standard_normal((N, T, D))
    with pytest.raises(TypeError, match=r"^\[Network.predict\] mask is int64, but this input is bool"):
        net.predict(x, mask.astype(np.int64))
    with pytest.raises(
        ValueError, match=r"^\[Network.forward\] mask has shape \(4, 6\): it must be \(n, 6, 6\)"
    ):
        net.forward(x, mask[0, :4])
