"""Fit a curve with a network, a loss and an optimizer: captured once, replayed at falling learning rates."""

import numpy as np

import steepest
from steepest import nn, optim

x = np.linspace(-3, 3, 256, dtype=np.float32)[:, None]
y = np.sin(2 * x)

net = nn.Network([nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1)], seed=0)
loss = nn.MeanSquaredError()
optimizer = optim.Adam(net.parameters(), lr=1e-2)

with steepest.capture() as graph:
    value, d_output = loss(net.forward(x), y)
    net.backward(d_output)
    optimizer.step()

for lr in (1e-2, 3e-3, 1e-3):
    optimizer.lr = lr
    graph.replay(500)
    print(f"learning rate {lr:g}: mean squared error {value:.2e}")
