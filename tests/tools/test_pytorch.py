"""Activations, losses, attention, layers of images and their gradients agree with PyTorch's, if it is installed."""

from __future__ import annotations

import importlib.util

import pytest
from backends import run_python

# PyTorch runs in a separate process, since its threads would outlive the test.
ACTIVATIONS = """
import numpy as np
import torch
from torch.nn import functional as F

from steepest import kernels as K

# Those that PyTorch has.
ours = {
    "relu": (F.relu, "relu"),
    "leaky_relu": (lambda z: F.leaky_relu(z, 0.3), ("leaky_relu", 0.3)),
    "elu": (lambda z: F.elu(z, 0.7), ("elu", 0.7)),
    "sigmoid": (torch.sigmoid, "sigmoid"),
    "hard_sigmoid": (F.hardsigmoid, "hard_sigmoid"),
    "tanh": (torch.tanh, "tanh"),
    # Its shortcut beyond a threshold is not taken.
    "softplus": (lambda z: F.softplus(z, threshold=1000.0), "softplus"),
    "gelu": (F.gelu, "gelu"),
    "gelu_tanh": (lambda z: F.gelu(z, approximate="tanh"), "gelu_tanh"),
    "silu": (F.silu, "silu"),
}
assert set(ours) <= set(K.ACTIVATIONS)
rng = np.random.default_rng(0)
for dtype in (np.float32, np.float64):
    # A few units in the last place on either side.
    tolerance = 16 * np.finfo(dtype).eps
    x = np.concatenate([3 * rng.standard_normal(5000), np.linspace(-20, 20, 4001), [0.0, 1e-30]]).astype(dtype)
    d_y = rng.standard_normal(x.size).astype(dtype)
    for name, (function, activation) in ours.items():
        z = torch.from_numpy(x.copy()).requires_grad_()
        out = function(z)
        out.backward(torch.from_numpy(d_y.copy()))
        y = K.activation(x, activation)
        np.testing.assert_allclose(y, out.detach().numpy(), rtol=tolerance, atol=tolerance, err_msg=name)
        at = x if name in K.INPUT_DERIVATIVES else y
        gradient = K.activation_backward(d_y, at, activation)
        scale = np.abs(d_y) + tolerance
        # Its 1/6 is rounded to float32, whatever the dtype.
        near = max(tolerance, 2.0**-24) if name == "hard_sigmoid" else tolerance
        # Its 1 - tanh(u)**2 errs by an ulp of 1, which it multiplies by x / 2 and the slope of u, about 9.
        near = 2 * tolerance if name == "gelu_tanh" else near
        np.testing.assert_allclose(gradient / scale, z.grad.numpy() / scale, rtol=0, atol=near, err_msg=name)

    for slopes in (1, 7):
        x, d_y = rng.standard_normal((2, 50, 7)).astype(dtype)
        slope = rng.standard_normal(slopes).astype(dtype)
        z, s = torch.from_numpy(x.copy()).requires_grad_(), torch.from_numpy(slope.copy()).requires_grad_()
        out = F.prelu(z, s)
        out.backward(torch.from_numpy(d_y.copy()))
        d_x, d_slope = K.prelu_backward(d_y, x, slope)
        np.testing.assert_allclose(K.prelu(x, slope), out.detach().numpy(), rtol=tolerance)
        np.testing.assert_allclose(d_x, z.grad.numpy(), rtol=tolerance)
        np.testing.assert_allclose(d_slope, s.grad.numpy(), rtol=0, atol=350 * tolerance)

    z = torch.from_numpy(x.copy()).requires_grad_()
    out = torch.softmax(z, 1)
    out.backward(torch.from_numpy(d_y.copy()))
    gradient = K.softmax_backward(d_y, K.softmax(x))
    np.testing.assert_allclose(gradient, z.grad.numpy(), rtol=0, atol=tolerance)
"""


LOSSES = """
import numpy as np
import torch
from torch.nn import functional as F

from steepest import kernels as K

rng = np.random.default_rng(0)
n, m = 40, 3
z = 3 * rng.standard_normal((n, m))
normal, share, count = rng.standard_normal((n, m)), rng.random((n, m)), rng.poisson(2.0, (n, m)).astype(float)
ids, spread = rng.integers(0, m, n), 3 * rng.standard_normal((n, 2 * m))


def gaussian(spread, t):
    return F.gaussian_nll_loss(spread[:, :m], t, spread[:, m:].exp(), eps=1e-300)


cases = {
    "squared_error": (K.squared_error, z, normal, F.mse_loss),
    "absolute_error": (K.absolute_error, z, normal, F.l1_loss),
    "huber": (lambda z, t: K.huber(z, t, delta=0.7), z, normal, lambda z, t: F.huber_loss(z, t, delta=0.7)),
    "log_loss": (K.log_loss, z, share, F.binary_cross_entropy_with_logits),
    "poisson": (K.poisson, z, count, F.poisson_nll_loss),
    "gaussian": (K.gaussian, spread, normal, gaussian),
    "softmax_cross_entropy": (K.softmax_cross_entropy, z, ids, F.cross_entropy),
}
for dtype in (np.float32, np.float64):
    # A few roundings of each item, and of their sum, on either side.
    tolerance = 32 * np.finfo(dtype).eps
    for name, (ours, z, t, theirs) in cases.items():
        z, t = z.astype(dtype), t if t.dtype == np.int64 else t.astype(dtype)
        value, gradient = ours(z, t)
        leaf = torch.from_numpy(z.copy()).requires_grad_()
        expected = theirs(leaf, torch.from_numpy(t.copy()))
        expected.backward()
        np.testing.assert_allclose(value, expected.item(), rtol=tolerance, err_msg=name)
        scale = np.abs(leaf.grad.numpy()).max()
        np.testing.assert_allclose(gradient, leaf.grad.numpy(), rtol=0, atol=tolerance * scale, err_msg=name)
"""


ATTENTION = """
import numpy as np
import torch

from steepest import kernels as K

torch.set_num_threads(1)
rng = np.random.default_rng(0)
sequences, queries, keys, heads, d = 3, 20, 33, 4, 16
for dtype in (np.float32, np.float64):
    mask = rng.random((queries, keys)) < 0.7
    mask[:, 0] = True  # PyTorch has NaN for a query without keys
    for key_heads, shared_mask, causal in ((4, None, False), (2, None, False), (4, mask, False), (4, None, True)):
        # PyTorch's causal mask begins at the first key.
        n = queries if causal else keys
        shapes = ((queries, heads), (n, key_heads), (n, key_heads), (queries, heads))
        q, k, v, d_y = (rng.standard_normal((sequences * rows, h * d)).astype(dtype) for rows, h in shapes)
        tensors = [
            torch.from_numpy(a.copy()).reshape(sequences, rows, h, d).transpose(1, 2)
            for a, (rows, h) in zip((q, k, v, d_y), shapes)
        ]
        leaves = [t.detach().requires_grad_() for t in tensors[:3]]
        out = torch.nn.functional.scaled_dot_product_attention(
            *leaves,
            attn_mask=None if shared_mask is None else torch.from_numpy(shared_mask),
            is_causal=causal,
            enable_gqa=key_heads < heads,
        )
        out.backward(tensors[3])
        given = dict(sequences=sequences, key_heads=key_heads, causal=causal, shared_mask=shared_mask)
        y, sums = K.attention(q, k, v, heads, **given)
        gradients = K.attention_backward(d_y, q, k, v, y, sums, heads, **given)
        theirs = [out.detach(), *(t.grad for t in leaves)]
        for ours, other in zip((y, *gradients), theirs):
            expected = other.transpose(1, 2).reshape(ours.shape).numpy()
            # Sums of some ten terms of size 1, each of which errs by a few units.
            np.testing.assert_allclose(ours, expected, rtol=0, atol=100 * np.finfo(dtype).eps)
"""


LINEAR_CROSS_ENTROPY = """
import numpy as np
import torch
from torch.nn import functional as F

from steepest import kernels as K

torch.set_num_threads(1)
rng = np.random.default_rng(0)
for dtype in (np.float32, np.float64):
    x, w, b = (rng.standard_normal(shape).astype(dtype) for shape in ((50, 8), (8, 300), (300,)))
    labels = rng.integers(0, 300, 50)
    labels[::7] = -100
    leaves = [torch.from_numpy(a.copy()).requires_grad_() for a in (x, w.T, b)]
    expected = F.cross_entropy(F.linear(*leaves), torch.from_numpy(labels), ignore_index=-100)
    expected.backward()
    logits = np.empty((16, 300), dtype)
    value, d_x, d_w, d_b = K.linear_cross_entropy(x, w, b, labels, ignore_label=-100, logits=logits)
    # Sums of some ten terms of size 1 in each logit, and of some hundred in the gradients.
    tolerance = 100 * np.finfo(dtype).eps
    np.testing.assert_allclose(value, expected.item(), rtol=tolerance)
    for ours, leaf in zip((d_x, d_w.T, d_b), leaves):
        theirs = leaf.grad.numpy()
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())
"""


CODES = {
    "activations": ACTIVATIONS,
    "losses": LOSSES,
    "attention": ATTENTION,
    "a linear layer and its loss": LINEAR_CROSS_ENTROPY,
    "convolutions": "import pytorch_layers; pytorch_layers.check('sums')",
    "max pools": "import pytorch_layers; pytorch_layers.check('maxima')",
    "a network": "import pytorch_layers; pytorch_layers.check('network')",
    "norms": "import pytorch_layers; pytorch_layers.check('norms')",
    "masks of attention": "import pytorch_sequences; pytorch_sequences.check('masks')",
    "recurrent layers": "import pytorch_sequences; pytorch_sequences.check('recurrent')",
}


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_values_and_gradients(code):
    if importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed")
    run_python(code, timeout=300)
