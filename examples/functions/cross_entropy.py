"""
Why cross-entropy, and not squared error, with a sigmoid
========================================================

One neuron, a = σ(wx + b), has to learn the output 0 for the input 1. The gradient of the squared error ½ (a − y)² with
respect to z = wx + b is (a − y) a (1 − a). If the output is badly wrong, the sigmoid is flat, and the gradient nearly
vanishes. The derivative of the cross-entropy cancels the factor a (1 − a): its gradient is a − y, so larger errors are
corrected faster. (After M. Nielsen, *Neural Networks and Deep Learning*, 2015, chapter 3.)
"""

import matplotlib.pyplot as plt
import numpy as np

import steepest
from steepest import kernels as K
from steepest import nn, optim

plt.style.use("petroff10")

x, y = np.ones((1, 1)), np.zeros((1, 1))
# The factor a (1 - a) is at most 1/4, so squared error gets four times the rate, which makes both equal at a = 1/2.
costs = {
    "squared error": ([nn.Linear(1, 1), nn.Sigmoid()], nn.MeanSquaredError(half=True), 0.6),
    "cross-entropy": ([nn.Linear(1, 1)], nn.BinaryCrossEntropy(), 0.15),
}
starts = {"good start": 0.0, "badly wrong start": 3.0}
STEPS = 400


def learn(layers, loss, rate, start):
    """Outputs of the neuron before each step of gradient descent from w = b = start."""
    net = nn.Network(layers, dtype=np.float64)
    for parameter in net.parameters():
        parameter.value[...] = start
    optimizer = optim.SGD(net.parameters(), lr=rate)
    with steepest.capture() as graph:
        _, d_output = loss(net.forward(x), y)
        net.backward(d_output)
        optimizer.step()
    weight, bias = (parameter.value for parameter in net.parameters())
    outputs = []
    for _ in range(STEPS):
        outputs.append(K.sigmoid(x * weight + bias).item())
        graph.replay()
    return np.array(outputs)


figure, axes = plt.subplots(1, 3, figsize=(10, 3.8), layout="constrained")
styles = dict(zip(costs, ("C0-", "C1--"), strict=True))
for panel, (where, start) in zip(axes, starts.items(), strict=False):
    for name, cost in costs.items():
        outputs = learn(*cost, start)
        steps = np.flatnonzero(outputs < 0.2)[0]
        print(f"{where:>17} (output {outputs[0]:.3f}), {name}: below 0.2 after {steps} steps")
        panel.plot(outputs, styles[name], label=name)
    panel.set(title=where, xlabel="step", ylabel="output (should be 0)", ylim=(0, 1.05))

# %%
# The last plot shows the gradient with respect to z, computed by the kernels. At its right end, where the output is
# wrongly near 1, the gradient of the squared error vanishes.

z = np.linspace(-8, 8, 400)[:, None]
a, wrong = K.sigmoid(z), np.zeros_like(z)
rows = len(z)  # the kernels return the gradient of the mean over the rows
squared = K.activation_backward(rows * K.squared_error(a, wrong, half=True)[1], a, "sigmoid")
entropy = rows * K.log_loss(z, wrong)[1]
for name, gradient in (("squared error", squared), ("cross-entropy", entropy)):
    axes[2].plot(z, gradient, styles[name], label=name)
axes[2].set(title="gradient", xlabel="z = wx + b", ylabel="derivative of the cost by z")
figure.legend(*axes[2].get_legend_handles_labels(), loc="outside lower center", ncols=2)
figure.savefig("cross_entropy.png", dpi=150)
