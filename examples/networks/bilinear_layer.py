"""
A layer of your own
===================

Write a layer from kernels, with its derivatives: it trains, is captured, and has an exact Fisher matrix.

A bilinear layer compares two inputs, :math:`y_k = \\sum_{ij} a_i W_{ijk} b_j`. Here it learns from pairs of points
whether both lie in the same quadrant, which no sum of functions of the single points tells.
"""

import matplotlib.pyplot as plt
import numpy as np

import steepest
from steepest import fisher, nn, optim
from steepest import kernels as K


class Bilinear(nn.CustomLayer):
    """``y_k = sum_ij a_i W_ijk b_j``, with the weights as a matrix of shape (n_a n_b, n_out)."""

    arity = (2, 2)

    def __init__(self, n_out):
        self.n_out = n_out

    def output_shape(self, a, b):
        return (self.n_out,)

    def parameters(self, a, b):
        return {"weight": nn.ParameterSpec((a[0] * b[0], self.n_out), "glorot_uniform", decays=True)}

    def pairs(self, a, b):
        """All products a_i b_j, of shape (n, n_a n_b)."""
        products = np.empty((len(a), a.shape[1], b.shape[1]), a.dtype)
        K.multiply(K.copy(np.broadcast_to(a[:, :, None], products.shape)), b[:, None, :], out=products)
        return products.reshape(len(a), -1)

    def forward(self, inputs, parameters):
        return K.matmul(self.pairs(*inputs), parameters["weight"])

    def vjp(self, d, inputs, output, parameters):
        a, b = inputs
        d_pairs = K.matmul(d, parameters["weight"].T).reshape(len(a), a.shape[1], b.shape[1])
        d_a = K.sum(K.multiply(d_pairs, b[:, None, :]).reshape(-1, b.shape[1]), axis=1).reshape(a.shape)
        by_b = K.copy(K.multiply(d_pairs, a[:, :, None]).transpose(0, 2, 1))
        d_b = K.sum(by_b.reshape(-1, a.shape[1]), axis=1).reshape(b.shape)
        return (d_a, d_b), {"weight": K.matmul(self.pairs(a, b).T, d)}

    def jvp(self, inputs, output, parameters, moved_inputs, moved_parameters):
        (a, b), (d_a, d_b) = inputs, moved_inputs
        parts = [(x, y) for x, y in ((d_a, b), (a, d_b)) if x is not None and y is not None]
        moved = [K.matmul(self.pairs(x, y), parameters["weight"]) for x, y in parts]
        if "weight" in moved_parameters:
            moved.append(K.matmul(self.pairs(a, b), moved_parameters["weight"]))
        return (
            moved[0]
            if len(moved) == 1
            else K.add(moved[0], moved[1] if len(moved) == 2 else K.add(*moved[1:]))
        )


# %%
# Two inputs go through one hidden layer, which both share, and meet in the bilinear layer.

rng = np.random.default_rng(0)
points = rng.uniform(-1, 1, (2, 4000, 2)).astype(np.float32)
same = (np.sign(points[0]) == np.sign(points[1])).all(axis=1).astype(np.int64)

a, b = nn.Input(2, name="a"), nn.Input(2, name="b")
hidden, act = nn.Linear(2, 8), nn.Tanh()
net = nn.Network([a, b], Bilinear(2)(act(hidden(a)), act(hidden(b))), seed=0)
print(net.summary())

# %%
# The layer computes by kernels alone, so that a step can be captured and replayed.

loss, optimizer = nn.SoftmaxCrossEntropy(), optim.Adam(net.parameters(), lr=0.02)
x_a, x_b, total = points[0][:3000], points[1][:3000], np.zeros(())
with steepest.capture() as graph:
    value, d_output = loss(net.forward(x_a, x_b), same[:3000])
    net.backward(d_output)
    optimizer.step()
    K.accumulate(total, value)

losses = []
for _ in range(60):
    total[...] = 0
    graph.replay(5)
    losses.append(float(total) / 5)
accuracy = (net.predict(points[0][3000:], points[1][3000:]).argmax(axis=1) == same[3000:]).mean()
print(f"test accuracy {accuracy:.3f}")

# %%
# `jvp` gives it a Fisher matrix, which is exact: the natural gradient trains the same network in a few steps.

natural = nn.Network([a, b], Bilinear(2)(act(hidden(a)), act(hidden(b))), seed=0)
rule = optim.NaturalGradient(natural, loss, structure="dense")
steps = [rule.step((x_a, x_b), same[:3000]).loss for _ in range(60)]
spectrum = fisher.FisherMatrix(natural, loss, (x_a, x_b)).eigenvalues()

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
left.semilogy(losses, label="Adam, 5 captured steps each")
left.semilogy(steps, label="natural gradient")
left.set(xlabel="evaluation", ylabel="loss")
left.legend()
right.semilogy(spectrum[spectrum > 0][::-1], ".")
right.set(xlabel="index", ylabel="eigenvalue of the Fisher matrix")
figure.savefig("bilinear_layer.png", dpi=150)
