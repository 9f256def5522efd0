"""Layers of sequences beside PyTorch's: outputs and gradients, with its weights carried over.

PyTorch in float64 is the reference. Its own errors in float32 are the yardstick for those here: the largest of some
hundred may be 32 times their root mean square, and in float64 the same in units of that precision.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn as theirs
from torch.nn.utils import rnn

from steepest import nn

RNG = np.random.default_rng(0)
STEPS, N_IN, UNITS = 11, 5, 7
# Layer here, options of both, output of the layer here.
RECURRENT = {
    "rnn": (nn.RNN, {}),
    "rnn with relu": (nn.RNN, {"nonlinearity": "relu"}),
    "lstm": (nn.LSTM, {}),
    "gru": (nn.GRU, {}),
    "two layers": (nn.LSTM, {"n_layers": 2}),
    "both directions": (nn.GRU, {"bidirectional": True}),
    "two layers in both directions": (nn.LSTM, {"n_layers": 2, "bidirectional": True}),
}


def their_layer(kind, options):
    given = {("num_layers" if k == "n_layers" else k): v for k, v in options.items()}
    return getattr(theirs, kind.__name__)(N_IN, UNITS, batch_first=True, **given).double()


def carry_over(module, net):
    """Give a network the weights of PyTorch's layer; return the name there of each parameter here."""
    names = {}
    for p in net.parameters():
        path, role = p.name.rsplit(".", 1)
        layer, _, direction = path.partition(".")[2].partition("_")
        suffix = f"l{layer or 0}" + (f"_{direction}" if direction else "")
        kind = {
            "weight": "weight_ih",
            "recurrent_weight": "weight_hh",
            "bias": "bias_ih",
            "recurrent_bias": "bias_hh",
        }
        names[p.name] = f"{kind[role]}_{suffix}"
        value = getattr(module, names[p.name]).detach().numpy().T
        if role == "bias":
            more = getattr(module, f"bias_hh_{suffix}").detach().numpy()
            # The GRU's bias of n behind the reset gate stays apart.
            own = np.ones(len(more)) if module.mode != "GRU" else np.repeat([1, 1, 0], UNITS)
            value = value + own * more
        p.value[...] = value[-UNITS:] if role == "recurrent_bias" else value
    return names


def their_results(module, x, d, lengths, names, dtype):
    module = module.to(dtype)
    module.zero_grad()
    leaf = torch.from_numpy(x).to(dtype).requires_grad_()
    if lengths is None:
        out = module(leaf)[0]
    else:
        packed = rnn.pack_padded_sequence(
            leaf, torch.from_numpy(lengths), batch_first=True, enforce_sorted=False
        )
        out = rnn.pad_packed_sequence(module(packed)[0], batch_first=True, total_length=STEPS)[0]
    out.backward(torch.from_numpy(d).to(dtype))
    found = {"output": out, "d_x": leaf.grad} | {
        ours: getattr(module, name).grad for ours, name in names.items()
    }
    results = {name: value.detach().double().numpy() for name, value in found.items()}
    for name in names:
        results[name] = value = results[name].T
        if name.endswith("recurrent_bias"):
            results[name] = value[-UNITS:]
    return results


def our_results(net, x, d, lengths):
    given = (x,) if lengths is None else (x, lengths)
    found = {"output": net.forward(*given).copy()}
    d_x = net.backward(d, inputs=True)
    return found | {"d_x": d_x if lengths is None else d_x[0]} | {p.name: p.grad for p in net.parameters()}


def check_recurrent(name, kind, options, dtype, *, with_lengths):
    module = their_layer(kind, options)
    x, n = nn.Input((STEPS, N_IN)), nn.Input((), dtype=np.int64, name="lengths")
    layer = kind(N_IN, UNITS, **options)
    net = (
        nn.Network([x, n], layer(x, lengths=n), dtype=dtype)
        if with_lengths
        else nn.Network(x, layer(x), dtype=dtype)
    )
    names = carry_over(module, net)
    data = RNG.standard_normal((6, STEPS, N_IN))
    d = RNG.standard_normal((6, STEPS, UNITS * (2 if options.get("bidirectional") else 1)))
    lengths = np.array([4, STEPS, 1, 8, 8, 2]) if with_lengths else None
    exact = their_results(module, data, d, lengths, names, torch.float64)
    rounded = their_results(module, data, d, lengths, names, torch.float32)
    found = our_results(net, data.astype(dtype), d.astype(dtype), lengths)
    compare(name, found, exact, rounded, dtype)


def compare(name, found, exact, rounded, dtype):
    """Compare with float64 results, by the errors of rounded ones."""
    units = np.finfo(dtype).eps / np.finfo(np.float32).eps
    for what, expected in exact.items():
        error = np.sqrt(((rounded[what] - expected) ** 2).mean())
        excess = np.abs(found[what] - expected).max() / (32 * units * error)
        assert excess <= 1, f"{name}, {dtype.__name__}: {what} differs by {excess:.2g} times its bound"


def check_masks(dtype, *, causal, shared):
    """A mask for all samples or for each, beside PyTorch's, where True forbids."""
    units, heads, n = 8, 2, 6
    module = theirs.MultiheadAttention(units, heads, batch_first=True).double()
    names = {
        "0.query_key_value.weight": "in_proj_weight",
        "0.query_key_value.bias": "in_proj_bias",
        "0.output.weight": "out_proj.weight",
        "0.output.bias": "out_proj.bias",
    }
    allowed = RNG.random((STEPS, STEPS) if shared else (n, STEPS, STEPS)) < 0.5
    allowed[..., 0] = True  # PyTorch has NaN for a step without keys
    x, m = nn.Input((STEPS, units)), nn.Input((STEPS, STEPS), dtype=bool, name="mask")
    layer = nn.MultiHeadAttention(units, heads, causal=causal)
    value = layer(x, mask=nn.Constant(allowed) if shared else m)
    net = nn.Network([x] if shared else [x, m], value, dtype=dtype)
    for p in net.parameters():
        p.value[...] = module.get_parameter(names[p.name]).detach().numpy().T
    data, d = RNG.standard_normal((2, n, STEPS, units))
    seen = allowed & np.tril(np.ones((STEPS, STEPS), bool)) if causal else allowed
    forbidden = torch.from_numpy(~seen if shared else np.repeat(~seen, heads, axis=0))

    def of_torch(precision):
        own = module.to(precision)
        own.zero_grad()
        leaf = torch.from_numpy(data).to(precision).requires_grad_()
        out = own(leaf, leaf, leaf, attn_mask=forbidden, need_weights=False)[0]
        out.backward(torch.from_numpy(d).to(precision))
        found = {"output": out, "d_x": leaf.grad}
        found |= {ours: own.get_parameter(name).grad.T for ours, name in names.items()}
        return {key: value.detach().double().numpy() for key, value in found.items()}

    exact, rounded = of_torch(torch.float64), of_torch(torch.float32)
    found = {"output": net.forward(data.astype(dtype), *([] if shared else [allowed])).copy()}
    d_x = net.backward(d.astype(dtype), inputs=True)
    found |= {"d_x": d_x if shared else d_x[0]} | {p.name: p.grad for p in net.parameters()}
    compare("masks", found, exact, rounded, dtype)


def check(kind):
    """Compare all layers of a kind."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    assert kind in {"recurrent", "masks"}
    for dtype in (np.float64, np.float32):
        if kind == "masks":
            for causal in (False, True):
                for shared in (False, True):
                    check_masks(dtype, causal=causal, shared=shared)
            continue
        for name, (layer, options) in RECURRENT.items():
            for with_lengths in (False, True):
                check_recurrent(name, layer, options, dtype, with_lengths=with_lengths)
