"""
Raw features against standardised ones
======================================

The number of steps of gradient descent depends on the condition number of the Hessian. For least squares the Hessian is
2 XᵀX / n, so the scales of the features decide. Here the progression of diabetes is regressed on two measurements in
their own units, body mass index and cholesterol, and on the standardised measurements. Both fits use the best constant
step size 2 / (λ + Λ), where λ and Λ are the smallest and the largest eigenvalue of the Hessian.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes

import steepest
from steepest import kernels as K

plt.style.use("petroff10")

data, target = load_diabetes(return_X_y=True, scaled=False)
measured = data[:, [2, 4]]  # kg/m², mg/dl
y = (target - target.mean())[:, None]


def descend(X, steps):
    """Solve least squares from zero: weights after every step, relative excess loss, Hessian and best weights."""
    hessian = 2 * X.T @ X / len(X)
    eigenvalues = np.linalg.eigvalsh(hessian)
    w, loss = np.zeros((2, 1)), np.zeros(())
    with steepest.capture() as graph:
        _, d_prediction = K.squared_error(K.linear(X, w), y, loss=loss)
        _, d_w, _ = K.linear_backward(d_prediction, X, w, input_grad=False)
        K.sgd_update(w, d_w, lr=2 / eigenvalues.sum())
    weights, losses = [w.copy()], []
    for _ in range(steps):
        graph.replay()
        weights.append(w.copy())
        losses.append(float(loss))
    best = np.linalg.lstsq(X, y)[0]
    lowest = float(K.squared_error(X @ best, y)[0])
    return np.hstack(weights), (np.array(losses) - lowest) / (losses[0] - lowest), hessian, best


# %%
# Both feature sets are centred, so no intercept is needed, and both have the same minimum in different units. Without
# centring the condition number would be far worse: a mean that is large relative to the spread adds a large eigenvalue.

centred = measured - measured.mean(axis=0)
with_intercept = np.column_stack([measured, np.ones(len(measured))])
print(f"not centred, with an intercept: condition number {np.linalg.cond(with_intercept) ** 2:.2g}")
runs = {
    "raw": descend(centred, steps=500),
    "standardised": descend(centred / centred.std(axis=0), steps=500),
}
for name, (_, excess, hessian, _) in runs.items():
    reached = np.flatnonzero(excess < 1e-3)
    when = f"after {reached[0]} steps" if len(reached) else f"not within {len(excess)} steps"
    print(f"{name:>12}: condition number {np.linalg.cond(hessian):.1f}, 0.1 % of the first excess {when}")

# %%
# Contours show the loss. For raw features they form a long narrow valley, in which the path oscillates between the
# walls and advances slowly.

figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
for i, (name, (weights, excess, hessian, best)) in enumerate(runs.items()):
    span = 1.35 * np.abs(weights - best).max()
    grid = np.meshgrid(*(np.linspace(b - span, b + span, 200) for b in best.ravel()))
    offsets = np.stack([g.ravel() for g in grid]) - best
    bowl = np.sum(offsets * (hessian @ offsets), axis=0).reshape(grid[0].shape)
    axes[i].contour(
        *grid, bowl, levels=np.geomspace(bowl.max() / 1e4, bowl.max(), 9), colors="0.75", linewidths=0.8
    )
    axes[i].plot(*weights, "o-", color=f"C{i}", markersize=3, linewidth=1)
    axes[i].plot(*best, "k*", markersize=11)
    axes[i].set(title=f"{name} features", xlabel="weight of body mass index")
    axes[2].loglog(
        np.arange(1, len(excess) + 1), np.maximum(excess, 1e-16), label=name, linestyle=("-", "--")[i]
    )
axes[0].set_ylabel("weight of cholesterol")
axes[2].set(xlabel="step", ylabel="excess loss / first excess loss", ylim=(1e-9, 2))
axes[2].legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
figure.savefig("feature_scaling.png", dpi=150)
