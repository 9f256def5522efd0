"""Activations and their gradients agree with PyTorch's, where it is installed."""

from __future__ import annotations

import importlib.util

import pytest
from backends import run_python

# PyTorch stays out of this process: its threads would outlive the test.
COMPARE = """
import numpy as np
import torch
from torch.nn import functional as F

from steepest import kernels as K

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
    "silu": (F.silu, "silu"),
}
assert set(ours) | {"identity"} == set(K.ACTIVATIONS)
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


def test_values_and_gradients():
    if importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed")
    run_python(COMPARE, timeout=300)
