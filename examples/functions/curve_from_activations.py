"""
A curve rebuilt from hard sigmoids and from pairs of ReLUs
==========================================================

A hidden layer and an output layer compute a sum of shifted and scaled copies of one activation. Weights set by hand
show which functions this can represent. A hard sigmoid and the difference of two ReLUs both rise from 0 to 1 along a
straight ramp. Steep ramps are steps: n of them give a staircase whose error falls like 1 / n. Ramps as wide as their
distance give a piecewise linear function through points of the curve, whose error falls like 1 / n².
"""

import matplotlib.pyplot as plt
import numpy as np

from steepest import kernels as K

plt.style.use("petroff10")

x = np.linspace(0, 1, 4001)[:, None]


def f(t):
    return np.sin(2 * np.pi * t) + 0.5 * np.sin(5 * np.pi * t)


def hard_sigmoids(n, steepness):
    """Layers of n hard sigmoids, whose ramps are 1 / steepness of an interval wide."""
    edges = np.linspace(0, 1, n + 1)
    middles, rises = (edges[1:] + edges[:-1]) / 2, np.diff(f(edges))[:, None]
    slope = 6.0 * n * steepness  # relu6(z + 3) / 6 rises from z = -3 to z = 3
    hidden = K.linear(x, np.full((1, n), slope), -slope * middles, activation="hard_sigmoid")
    return hidden * rises.T, K.linear(hidden, rises, f(edges[:1]))


def relu_pairs(n):
    """Layers with the same ramps from pairs of ReLUs: one starts the rise, the other ends it."""
    edges = np.linspace(0, 1, n + 1)
    rises = np.diff(f(edges))[:, None]
    starts = K.linear(x, np.full((1, n), float(n)), -n * edges[:-1], activation="relu")
    ends = K.linear(x, np.full((1, n), float(n)), -n * edges[1:], activation="relu")
    return (starts - ends) * rises.T, K.linear(
        np.hstack([starts, ends]), np.vstack([rises, -rises]), f(edges[:1])
    )


# %%
# The output shows the largest error on a fine grid. Hard sigmoids and pairs of ReLUs give the same function.

builders = {
    "steep hard sigmoids": lambda n: hard_sigmoids(n, steepness=20),
    "hard sigmoids": lambda n: hard_sigmoids(n, steepness=1),
    "pairs of ReLUs": relu_pairs,
}
sizes = 2 ** np.arange(2, 9)
errors = {name: [np.abs(build(n)[1] - f(x)).max() for n in sizes] for name, build in builders.items()}
for name, error in errors.items():
    order = np.log2(error[-2] / error[-1])
    print(
        f"{name:>19}: largest error {error[2]:.4f} with {sizes[2]} ramps; doubling them divides it by {2**order:.1f}"
    )

figure, axes = plt.subplots(1, 3, figsize=(11, 3.8), layout="constrained")
for panel, name in zip(axes, ("steep hard sigmoids", "pairs of ReLUs"), strict=False):
    ramps, curve = builders[name](16)
    panel.plot(x, ramps - 3.2, color="0.7", linewidth=0.8)
    panel.plot(x, f(x), "k", linewidth=1, label="the curve")
    panel.plot(x, curve, color="C2", label="sum of 16 ramps")
    panel.set(title=name, xlabel="x", ylabel="f(x)", ylim=(-4.7, 2.4))
    panel.text(0.02, -4.45, "the ramps, shifted down", color="0.4")
    panel.legend(loc="upper right")
for (name, error), style in zip(errors.items(), ("o-", "s-", "x--"), strict=True):
    axes[2].loglog(sizes, error, style, base=2, label=name)
axes[2].set_yscale("log")
axes[2].set(xlabel="number of ramps", ylabel="largest error")
axes[2].legend(loc="lower left")
figure.savefig("curve_from_activations.png", dpi=150)
