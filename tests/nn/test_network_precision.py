"""Networks at a precision: their products, forward and backward, are the kernels' at that precision."""

from __future__ import annotations

import copy
import pickle

import backends
import numpy as np
import pytest

import steepest
from steepest import _cpu, nn
from steepest import kernels as K
from steepest.neural_network import Autoencoder, MLPClassifier, MLPRegressor

N, WIDTHS = 80, (90, 70, 40)


def network(**options):
    first, second = nn.Linear(*WIDTHS[:2]), nn.Linear(*WIDTHS[1:])
    return nn.Network([first, nn.Tanh(), second], seed=1, **options)


@pytest.mark.parametrize("precision", K.PRECISIONS)
def test_passes_are_those_of_the_kernels(rng, precision):
    net = network(precision=precision)
    x, dx = (rng.standard_normal((N, WIDTHS[0])).astype(np.float32) for _ in range(2))
    d = rng.standard_normal((N, WIDTHS[2])).astype(np.float32)
    w, b, v, c = (p.value for p in net.parameters())
    at = {"precision": precision}
    hidden = K.linear(x, w, b, "tanh", **at)
    np.testing.assert_array_equal(net.predict(x), K.linear(hidden, v, c, **at))
    np.testing.assert_array_equal(net.forward(x), K.linear(hidden, v, c, **at))
    d_x = net.backward(d, inputs=True)
    d_hidden, d_v, d_c = K.linear_backward(d, hidden, v, activation="tanh", **at)
    of_input, d_w, d_b = K.linear_backward(d_hidden, x, w, **at)
    for p, expected in zip(net.parameters(), (d_w, d_b, d_v, d_c), strict=True):
        np.testing.assert_array_equal(p.grad, expected)
    np.testing.assert_array_equal(d_x, of_input)
    moved = K.activation_backward(K.matmul(dx, w, **at), hidden, "tanh")
    np.testing.assert_array_equal(net.jvp(None, [dx]), K.matmul(moved, v, **at))
    # The rows of a value with more axes are products, too.
    deep = nn.Network([nn.Input((5, WIDTHS[0])), nn.Linear(*WIDTHS[:2])], precision=precision)
    w, b = (p.value for p in deep.parameters())
    cube = x.reshape(16, 5, -1)
    np.testing.assert_array_equal(deep.predict(cube).reshape(N, -1), K.linear(x, w, b, **at))
    weights = [np.ones_like(w), None]
    deep.forward(cube)
    np.testing.assert_array_equal(deep.jvp(weights).reshape(N, -1), K.linear_tangent(x, weights[0], **at))


def test_the_precision_can_be_set_and_is_kept(rng, tmp_path):
    x = rng.standard_normal((N, WIDTHS[0])).astype(np.float32)
    net = network()
    exact = net.forward(x).copy()
    net.precision = "bfloat16"
    with pytest.raises(RuntimeError, match="call forward first"):
        net.backward(exact)  # of a pass at another precision
    rounded = net.predict(x)
    assert "linear[bfloat16] + tanh" in net.program
    assert repr(net).endswith("precision='bfloat16')")
    path = tmp_path / "net.steepest"
    steepest.save(net, path)
    for twin in (copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net)), steepest.load(path)):
        assert twin.precision == "bfloat16"
        np.testing.assert_array_equal(twin.predict(x), rounded)
    net.precision = "float32"
    np.testing.assert_array_equal(net.predict(x), exact)
    steepest.save(net, path)
    assert steepest.load(path).precision == "float32"
    double = network(dtype=np.float64, precision="bfloat16")
    w, b, v, c = (p.value for p in double.parameters())
    wide = x.astype(np.float64)
    np.testing.assert_array_equal(double.predict(wide), K.linear(K.linear(wide, w, b, "tanh"), v, c))


def test_unknown_precisions():
    with pytest.raises(ValueError, match=r"^\[Network\] precision 'half' is not one of: float32, high"):
        network(precision="half")
    net = network()
    with pytest.raises(ValueError, match=r"^\[Network\] precision 16 is not one of"):
        net.precision = 16
    with pytest.raises(ValueError, match="'precision' parameter of MLPClassifier must be a str among"):
        MLPClassifier(precision="half").fit(np.eye(4), [0, 1, 0, 1])


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor, Autoencoder])
def test_estimators(rng, estimator):
    X = rng.standard_normal((200, 90)).astype(np.float32)
    y = {MLPClassifier: X[:, 0] > 0, MLPRegressor: X[:, 0], Autoencoder: None}[estimator]
    options = {"hidden_layer_sizes": (64, 40), "max_iter": 2, "batch_size": 100, "random_state": 0, "tol": 0}
    model = estimator(precision="bfloat16", warm_start=True, **options).fit(X, y)
    assert model._network.precision == "bfloat16"
    first = estimator(**options).fit(X, y)
    # Each of the four steps of Adam moves an item by about the learning rate of 0.001, in another direction only where
    # the gradient is below its rounding error: most items are within a tenth of a step.
    pairs = zip(model.coefs_, first.coefs_, strict=True)
    apart = np.concatenate([abs(mine - theirs).ravel() for mine, theirs in pairs])
    assert apart.dtype == np.float32
    assert np.median(apart) < 1e-4
    if backends.ON_CPU:
        assert apart.any() == (_cpu.info()["bfloat16"] != "none")
    model.set_params(precision="float32").fit(X, y)
    assert model._network.precision == "float32"
