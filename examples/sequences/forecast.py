"""
A forecast and its interval
===========================

A recurrent network reads a noisy series and predicts, at each step, a mean and a variance of the next value: the loss
is the negative log-likelihood of a normal distribution. Going on beyond the data, it draws a value from its own
prediction and reads it as if it had been measured. Many such paths side by side give the forecast with its interval,
which grows with the distance, since errors add up. A stream [#stream]_ keeps the state of all paths: each step costs
one step.

.. [#stream] ``Network.stream``; see the page on sequences.
"""

import matplotlib.pyplot as plt
import numpy as np

import steepest
from steepest import nn, optim

plt.style.use("petroff10")
STEPS, WINDOW, AHEAD, PATHS = 2400, 80, 120, 400

rng = np.random.default_rng(3)
t = np.arange(STEPS + AHEAD)
phase = np.cumsum(
    2 * np.pi / 40 + 0.02 * rng.standard_normal(STEPS + AHEAD)
)  # a clock that is not quite regular
series = np.sin(phase) + 0.4 * np.sin(2 * np.pi * t / 13) + 0.15 * rng.standard_normal(STEPS + AHEAD)
series = series.astype(np.float32)[:, None]
known, future = series[:STEPS], series[STEPS:]

# Windows that begin at every fourth step; each step is asked for the next value.
starts = np.arange(0, STEPS - WINDOW - 1, 4)
X = np.stack([known[s : s + WINDOW] for s in starts])
y = np.stack([known[s + 1 : s + WINDOW + 1, 0] for s in starts])

x = nn.Input((WINDOW, 1))
heads = nn.Linear(48, 2)(nn.GRU(1, 48)(x))  # a mean and the logarithm of a variance at each step
net = nn.Network(x, nn.Flatten()(nn.Permute((1, 0))(heads)), seed=0)
loss, optimizer = nn.Gaussian(), optim.Adam(net.parameters(), lr=5e-3, max_norm=1.0)
with steepest.capture() as graph:
    value, d = loss(net.forward(X), y)
    net.backward(d)
    optimizer.step()
graph.replay(250)
print(f"negative log-likelihood of a value in training: {float(value):.3f}")

# The same layers without the reshaping, as a stream of many paths.
steps = nn.Network([nn.Input((WINDOW, 1)), nn.GRU(1, 48), nn.Linear(48, 2)])
steps.arena[:] = net.arena
stream = steps.stream(PATHS)
for value in known[-200:]:
    output = stream.step(np.full((PATHS, 1), value[0], np.float32))
paths = np.empty((AHEAD, PATHS), np.float32)
for i in range(AHEAD):
    mean, log_variance = output.T
    paths[i] = mean + np.exp(0.5 * log_variance) * rng.standard_normal(PATHS)
    output = stream.step(paths[i][:, None])
low, middle, high = np.quantile(paths, [0.05, 0.5, 0.95], axis=1)
inside = ((future[:, 0] >= low) & (future[:, 0] <= high)).mean()
print(f"{inside:.0%} of the {AHEAD} values ahead lie in the interval that 90% of the paths keep to")

figure, ax = plt.subplots(figsize=(9, 3.6), layout="constrained")
ax.plot(t[STEPS - 120 : STEPS], known[-120:, 0], color="black", label="known")
ax.plot(t[STEPS:], future[:, 0], color="grey", linewidth=1, label="what came")
ax.plot(t[STEPS:], middle, label="median of the paths")
ax.fill_between(t[STEPS:], low, high, alpha=0.3, label="90% of the paths")
ax.set(xlabel="step", ylabel="value", ylim=(-2.3, 1.8))
ax.legend(loc="lower left", ncols=4)
figure.savefig("forecast.png", dpi=150)
