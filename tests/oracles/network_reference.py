"""Networks as chains of the layers' oracles, without fusion, and networks of every kind to compare with them."""

from __future__ import annotations

import numpy as np
import reference
from tolerances import eps

from steepest import nn

ARCHITECTURES = {
    "one layer": [nn.Linear(7, 3)],
    "no bias": [nn.Linear(7, 5, bias=False), nn.ReLU(), nn.Linear(5, 3, bias=False)],
    "every activation": [
        *(nn.Linear(7, 9), nn.ReLU(), nn.Linear(9, 8), nn.Tanh()),
        *(nn.Linear(8, 6), nn.Sigmoid(), nn.Linear(6, 5), nn.Identity(), nn.Linear(5, 3)),
    ],
    "activation last": [nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 3), nn.Sigmoid()],
    "activation first": [nn.Tanh(), nn.Linear(7, 6), nn.Sigmoid(), nn.Linear(6, 3)],
    "activations in a row": [
        nn.Linear(7, 6),
        nn.Tanh(),
        nn.Sigmoid(),
        nn.ReLU(),
        nn.Linear(6, 3),
        nn.Tanh(),
        nn.Tanh(),
    ],
    "activations alone": [nn.Sigmoid(), nn.Tanh()],
    "parameters of activations": [
        *(
            nn.Linear(7, 9),
            nn.LeakyReLU(0.2),
            nn.Linear(9, 8),
            nn.ELU(0.7),
            nn.Linear(8, 6),
            nn.Activation("leaky_relu"),
        ),
        *(nn.HardSigmoid(), nn.Linear(6, 3), nn.Softplus()),
    ],
    "derivatives at the input": [
        *(nn.GELU(), nn.Linear(7, 9), nn.GELU(), nn.Linear(9, 8), nn.Tanh(), nn.SiLU(), nn.Linear(8, 3)),
        *(nn.SiLU(), nn.GELU()),
    ],
    "learned slopes": [
        nn.PReLU(7),
        nn.Linear(7, 6),
        nn.PReLU(),
        nn.Tanh(),
        nn.PReLU(6, 0.1),
        nn.Linear(6, 3),
    ],
    "softmax inside": [nn.Linear(7, 6), nn.Tanh(), nn.Softmax(), nn.Linear(6, 3), nn.Softmax()],
    "tied weights": [
        *(nn.Linear(7, 5), nn.Sigmoid(), nn.Linear(5, 2), nn.Tanh()),
        *(nn.Linear(2, 5, tied_to=2), nn.Sigmoid(), nn.Linear(5, 7, bias=False, tied_to=0), nn.Linear(7, 3)),
    ],
    "tied twice": [
        nn.Linear(7, 4),
        nn.Linear(4, 7, tied_to=0),
        nn.Tanh(),
        nn.Linear(7, 7),
        nn.Linear(7, 7, tied_to=3),
    ],
    "nothing to do": [nn.Identity()],
}


def values_of(net):
    return {p.name: p.value.astype(np.float64) for p in net.parameters()}


def activation_of(layer):
    return layer.name if layer.parameter is None else (layer.name, layer.parameter)


def weight_of(layers, values, i):
    tied_to = layers[i].tied_to
    return values[f"{i}.weight"] if tied_to is None else values[f"{tied_to}.weight"].T


def oracle_forward(layers, values, x):
    """The inputs of every layer, then the output, computed layer by layer without fusion."""
    chain = [x.astype(np.float64)]
    for i, layer in enumerate(layers):
        x = chain[-1]
        if isinstance(layer, nn.Linear):
            chain.append(reference.linear(x, weight_of(layers, values, i), values.get(f"{i}.bias")))
        elif isinstance(layer, nn.PReLU):
            chain.append(np.where(x > 0, x, values[f"{i}.slope"] * x))
        elif isinstance(layer, nn.Softmax):
            chain.append(reference.softmax(x))
        else:
            chain.append(reference.activation(x, activation_of(layer)))
    return chain


def oracle_backward(layers, values, x, d, l2):
    chain, grads = oracle_forward(layers, values, x), {}
    for i, layer in reversed(list(enumerate(layers))):
        x, y = chain[i], chain[i + 1]
        if isinstance(layer, nn.Linear):
            own = layer.tied_to is None
            weight = weight_of(layers, values, i)
            d, d_w, d_b = reference.linear_backward(d, x, weight, l2=l2 if own else 0.0)
            name = f"{i if own else layer.tied_to}.weight"
            grads[name] = grads.get(name, 0.0) + (d_w if own else d_w.T)
            if layer.bias:
                grads[f"{i}.bias"] = d_b
        elif isinstance(layer, nn.PReLU):
            slopes = (d * np.minimum(x, 0)).sum(axis=0)
            grads[f"{i}.slope"] = slopes if layer.n_features > 1 else slopes.sum(keepdims=True)
            d = d * np.where(x > 0, 1.0, values[f"{i}.slope"])
        elif isinstance(layer, nn.Softmax):
            d = y * (d - (d * y).sum(axis=1, keepdims=True))
        else:
            at = x if reference.ACTIVATIONS[layer.name].at_input else y
            d = reference.activation_backward(d, at, activation_of(layer))
    return grads


def bound(net, dtype, scale=1.0):
    """16 eps a layer: a dot product of at most 9 terms near 1, and a function of slope at most 1."""
    return 16 * len(net.layers) * eps(dtype) * scale
