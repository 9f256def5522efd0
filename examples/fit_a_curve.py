"""
A network of your own, captured once
====================================

Fit a curve with a network, a loss and an optimizer. The training step is captured once and replayed at three decreasing
learning rates. The rate is a 0-d array, so a replay reads its current value.
"""

import matplotlib.pyplot as plt
import numpy as np

import steepest
from steepest import nn, optim

plt.style.use("petroff10")

x = np.linspace(-3, 3, 256, dtype=np.float32)[:, None]
y = np.sin(2 * x)

net = nn.Network([nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1)], seed=0)
loss = nn.MeanSquaredError()
optimizer = optim.Adam(net.parameters(), lr=1e-2)

with steepest.capture() as graph:
    value, d_output = loss(net.forward(x), y)
    net.backward(d_output)
    optimizer.step()

figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
axes.plot(x, net.predict(x), ":", label="before training")
for lr in (1e-2, 3e-3, 1e-3):
    optimizer.lr = lr
    graph.replay(500)
    print(f"learning rate {lr:g}: mean squared error {value:.2e}")

axes.plot(x, y, linewidth=5, alpha=0.4, label="sin 2x")
axes.plot(x, net.predict(x), label="after 1500 steps")
axes.set(xlabel="x", ylabel="y", ylim=(-1.2, 1.7))
axes.legend(loc="upper center", ncols=3)
figure.savefig("fit_a_curve.png", dpi=150)
