"""
Descent on a bumpy curve
========================

Gradient descent goes downhill from its start, and stays in the first local minimum. Momentum acts like the velocity of
a rolling ball, which carries it over low bumps and past local minima, but not always into the deepest one. The curve is
f(x) = 0.15 x² + 0.7 sin 3x; one call of `steepest.kernels.sgd_update` moves all starting points at once.
"""

import matplotlib.pyplot as plt
import numpy as np

from steepest import kernels as K

plt.style.use("petroff10")


def f(x):
    return 0.15 * x**2 + 0.7 * np.sin(3 * x)


def slope(x):
    return 0.3 * x + 2.1 * np.cos(3 * x)


STARTS = np.array([-6.3, -4.0, -1.2, 2.6, 4.7, 6.2])
fine = np.linspace(-7, 7, 2001)
deepest = fine[f(fine).argmin()]


def descend(momentum, lr=0.02, steps=300):
    """Positions of all points after every step; each column is a point."""
    x = STARTS.copy()
    velocity = np.zeros_like(x)
    path = [x.copy()]
    for _ in range(steps):
        K.sgd_update(x, slope(x), velocity, lr=lr, momentum=momentum)
        path.append(x.copy())
    return np.array(path)


paths = {"gradient descent": descend(0.0), "with momentum 0.95": descend(0.95)}
for name, path in paths.items():
    found = np.abs(path[-1] - deepest) < 0.1
    ends = ", ".join(f"{start:+.1f} → {end:+.2f}" for start, end in zip(STARTS, path[-1], strict=True))
    print(f"{name}: {found.sum()} of {len(STARTS)} in the deepest hollow at {deepest:.2f} ({ends})")

# %%
# Open circles are starting points, and filled dots are end points. The paths are drawn above the curve.

figure, axes = plt.subplots(2, 1, figsize=(7, 6), sharex=True, layout="constrained")
for panel, (name, path) in zip(axes, paths.items(), strict=True):
    panel.plot(fine, f(fine), color="0.6", linewidth=1)
    panel.axvline(deepest, color="0.8", linestyle=":", label="the deepest hollow")
    for i, x in enumerate(path.T):
        lift = 0.25 + 0.22 * i  # separates paths through the same local minimum
        panel.plot(x, f(x) + lift, color=f"C{i}", marker=".", markersize=3, linewidth=0.8)
        panel.plot(x[0], f(x[0]), "o", color=f"C{i}", markerfacecolor="white")
        panel.plot(x[-1], f(x[-1]), "o", color=f"C{i}", markersize=8)
    panel.set(title=name, ylabel="f(x)")
axes[0].legend(loc="upper center")
axes[1].set_xlabel("x")
figure.savefig("bumpy_curve.png", dpi=150)
