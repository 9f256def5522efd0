"""
The empirical Fisher matrix, and what it is not
===============================================

The Fisher matrix is the covariance of the score over observations from the *model*. The empirical Fisher matrix uses
the observed targets instead: Σ gᵢgᵢᵀ / n, from per-sample gradients that are available anyway. The two are close only
if the model is true and has been fitted. Elsewhere they differ in size and shape [#kunstner]_: for least squares the
Fisher matrix is XᵀX / n, and the empirical one is Σ eᵢ² xᵢxᵢᵀ / n, with the errors e.

Far from the minimum the errors are large, and the steps F⁻¹g become short. At a perfect fit the errors vanish, and the
steps have no bound. Both are the opposite of the desired behaviour. In addition, the points that fit worst determine
the direction.

.. [#kunstner] F. Kunstner, L. Balles, P. Hennig, "Limitations of the empirical Fisher approximation for natural
   gradient descent", NeurIPS 2019.
"""

import matplotlib.pyplot as plt
import numpy as np

from steepest import fisher, nn

plt.style.use("petroff10")

# %%
# The model is a line through 200 points with errors of variance 1. Half the squared error is its negative
# log-likelihood, and the model is true.

rng = np.random.default_rng(0)
x = rng.exponential(1.0, (200, 1))
y = 1.0 + 1.5 * x + rng.standard_normal((200, 1))
loss = nn.MeanSquaredError(half=True)
net = nn.Network([nn.Linear(1, 1)], dtype=np.float64)
slope, intercept = net.parameters()
design = np.column_stack([x, np.ones_like(x)])
best = np.linalg.lstsq(design, y)[0].ravel()


def gradient(theta):
    slope.value[...], intercept.value[...] = theta
    _, d_outputs = loss(net.forward(x), y)
    net.backward(d_outputs)
    return np.concatenate([slope.grad.ravel(), intercept.grad.ravel()])


def natural(theta, kind="exact"):
    g = gradient(theta)
    return fisher.FisherMatrix(net, loss, x, y, kind=kind).solve(g, damping=1e-8)


def excess(theta):
    return np.mean((design @ (theta - best)) ** 2) / 2


rules = {
    "gradient": gradient,
    "natural gradient": natural,
    "empirical Fisher matrix": lambda theta: natural(theta, "empirical"),
}


def descend(direction, start, lr, n_steps):
    path = [np.asarray(start, dtype=np.float64)]
    for _ in range(n_steps):
        path.append(path[-1] - lr * direction(path[-1]))
        if not excess(path[-1]) < 1e6:
            break
    return np.array(path)


# %%
# Each rule gets the best of 25 learning rates: the lowest excess loss after 50 steps, and the largest rate among
# equals.

start = np.array([-1.5, 4.0])
rates = np.geomspace(1e-3, 1e3, 25)
curves = {}
for name, direction in rules.items():
    tried = [[max(excess(theta), 1e-16) for theta in descend(direction, start, lr, 50)] for lr in rates]
    lr, curves[name] = min(zip(rates, tried, strict=True), key=lambda pair: (pair[1][-1], -pair[0]))
    print(f"{name}: best learning rate {lr:.2g}, excess loss after 50 steps {curves[name][-1]:.1e}")
for where, theta in (("the least loss", best), ("the start", start)):
    gradient(theta)
    exact, empirical = (fisher.FisherMatrix(net, loss, x, y, kind=k) for k in ("exact", "empirical"))
    print(
        f"at {where} the eigenvalues are {exact.eigenvalues().round(2)}, "
        f"of the empirical matrix {empirical.eigenvalues().round(2)}"
    )

# %%
# Arrows show the step of each rule at every point, up to a largest length, and lines show paths of small steps. From
# every point the natural gradient points straight to the least-squares solution, and reaches it in one step. With the
# empirical matrix the paths take slow detours until the errors have the variance of the model, where both rules nearly
# agree.

figure, axes = plt.subplots(2, 2, figsize=(9, 8), layout="constrained")
axes = axes.ravel()
grid = np.meshgrid(np.linspace(-2.2, 4.7, 12), np.linspace(-2.5, 5.5, 12))
fine = np.meshgrid(np.linspace(-2.5, 5, 150), np.linspace(-2.8, 5.8, 150))
offsets = np.stack([g.ravel() for g in fine]) - best[:, None]
heights = (0.5 * ((design @ offsets) ** 2).mean(axis=0)).reshape(fine[0].shape)
starts = [(-1.5, 4.0), (4.2, 4.5), (-1.8, -1.5), (3.8, -2.0)]
for i, (panel, (name, direction)) in enumerate(zip(axes, rules.items(), strict=False)):
    panel.contour(*fine, heights, np.geomspace(0.02, 40, 9), colors="0.85", linewidths=0.8)
    arrows = np.array([-direction(theta) for theta in np.stack([g.ravel() for g in grid], axis=1)])
    lengths = np.linalg.norm(arrows, axis=1, keepdims=True)
    arrows *= 0.55 * np.minimum(1, lengths / np.median(lengths)) / lengths
    panel.quiver(*grid, *arrows.T, color="0.45", angles="xy", scale_units="xy", scale=1, width=0.006)
    for begin in starts:
        path = descend(direction, begin, 0.02 if i < 2 else 0.1, 600)
        panel.plot(*path.T, color=f"C{i}", linewidth=2.2)
        panel.plot(*begin, "o", color=f"C{i}", markersize=5)
    panel.plot(*best, "k*", markersize=11)
    panel.set(title=name, xlabel="slope", ylabel="intercept", xlim=(-2.5, 5), ylim=(-2.8, 5.8))
for style, (name, curve) in zip(("--", "-", ":"), curves.items(), strict=True):
    axes[3].semilogy(curve, style, label=name)
axes[3].set(
    xlabel="step", ylabel="loss above the least", title="best of 25 learning rates", ylim=(1e-16, 1e6)
)
axes[3].legend(loc="upper right")
figure.savefig("empirical_fisher.png", dpi=150)
