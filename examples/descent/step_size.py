"""
The step size: too small, right, too large
==========================================

Each step of gradient descent on a quadratic loss multiplies the error along each eigenvector of the Hessian by 1 − ηλ,
with the step size η and the eigenvalue λ. It converges if η < 2 / Λ for the largest eigenvalue Λ. It converges fastest
for η = 2 / (λ + Λ) with the smallest eigenvalue λ, which shrinks the errors of both eigenvectors at the same rate.
Below, least squares with two weights is solved from one start with four step sizes.
"""

import matplotlib.pyplot as plt
import numpy as np

import steepest
from steepest import kernels as K

plt.style.use("petroff10")

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 2)) @ [[1.0, 0.6], [0.0, 0.7]]
y = X @ [[2.0], [-1.0]] + rng.normal(scale=0.5, size=(200, 1))
hessian = 2 * X.T @ X / len(X)
smallest, largest = np.linalg.eigvalsh(hessian)
best = np.linalg.lstsq(X, y)[0]
lowest = float(K.squared_error(X @ best, y)[0])


def descend(lr, steps=40):
    """Return the weights and losses of every step until the loss is no longer finite, and the graph."""
    w = np.array([[-1.5], [-0.5]])
    weights, losses = [w.copy()], []
    with steepest.capture() as graph:
        loss, d_prediction = K.squared_error(K.linear(X, w), y)
        K.require_finite(loss)
        _, d_w, _ = K.linear_backward(d_prediction, X, w, input_grad=False)
        K.sgd_update(w, d_w, lr=lr)
    for _ in range(steps):
        graph.replay()
        weights.append(w.copy())
        losses.append(float(loss))
    return np.hstack(weights), np.array(losses), graph


# %%
# Four step sizes
# ---------------
#
# "Too large" is still below the limit: the path oscillates between the walls of the valley, and converges. "Diverging"
# is above the limit, so every step increases the error along the steepest direction.

limit = 2 / largest
sizes = {
    "too small": 0.04 * limit,
    "right": 2 / (smallest + largest),
    "too large": 0.97 * limit,
    "diverging": 1.03 * limit,
}
print(f"Hessian's eigenvalues {smallest:.3f} and {largest:.3f}: the limit is {limit:.3f}")
runs = {name: descend(lr) for name, lr in sizes.items()}
for name, (_, losses, _) in runs.items():
    print(f"{name:>10}, {sizes[name]:.3f}: excess loss {losses[-1] - lowest:.1e} after {len(losses)} steps")

# %%
# ``K.require_finite`` in the captured step stops a replay at the first loss that is not finite, before the update would
# make the weights infinite.

try:
    runs["diverging"][2].replay(10_000)
except steepest.DivergenceError as error:
    print(f"DivergenceError at step {error.step}: {error}")

# %%
# The top row shows the paths of the first steps, the bottom row the excess loss. A straight line on a logarithmic axis
# means a constant factor in each step.

figure, axes = plt.subplot_mosaic([list(runs), ["loss"] * 4], figsize=(9, 5.5), layout="constrained")
grid = np.meshgrid(np.linspace(-2, 6, 100), np.linspace(-5, 3, 100))
offsets = np.stack([g.ravel() for g in grid]) - best
bowl = 0.5 * np.sum(offsets * (hessian @ offsets), axis=0).reshape(grid[0].shape)
for i, (name, (weights, losses, _)) in enumerate(runs.items()):
    panel, style = axes[name], {"color": f"C{i}", "linestyle": ("-", "--", "-.", ":")[i]}
    panel.contour(*grid, bowl, levels=np.geomspace(0.05, 60, 9), colors="0.75", linewidths=0.8)
    panel.plot(*weights, color=f"C{i}", marker="o", markersize=3, linewidth=1)
    panel.plot(*best, "k*", markersize=9)
    panel.set(title=name, xlabel="first weight", xlim=(-2, 6), ylim=(-5, 3), aspect="equal")
    axes["loss"].semilogy(losses - lowest, **style, linewidth=2, label=f"{name}, η = {sizes[name]:.3f}")
axes["too small"].set_ylabel("second weight")
axes["loss"].set(xlabel="step", ylabel="loss − minimum")
axes["loss"].legend(loc="lower left")
figure.savefig("step_size.png", dpi=150)
