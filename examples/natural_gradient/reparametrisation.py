"""
One model in other parameters
=============================

A normal distribution does not depend on its parametrisation: by mean and standard deviation, by mean and logarithm of
the deviation, or by the natural parameters μ / σ² and −1 / (2σ²). A logistic regression is the same on features and on
invertible linear mixtures of them. Gradient descent does depend on the parametrisation: with θ = θ(φ) and J = ∂θ/∂φ the
gradient with respect to φ is Jᵀg, and a step along it changes θ by JJᵀg. Every parametrisation therefore has its own
path.

The Fisher matrix with respect to φ is JᵀFJ, and the natural gradient is (JᵀFJ)⁻¹Jᵀg = J⁻¹F⁻¹g. A step along it changes
θ by F⁻¹g, as before. This is exact for linear maps, and holds up to the square of the step's length for other maps.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D

from steepest import fisher, nn

plt.style.use("petroff10")


def descend(net, loss, X, y, start, of_start, derivatives, to_theta, lr, n_steps, natural):
    """Descend in the parameters φ of a model whose network has the parameters θ(φ); return the path of θ."""
    phi, path = of_start(start), [start]
    weight = net.parameters()[0]
    for _ in range(n_steps):
        weight.value[...] = to_theta(phi).reshape(weight.value.shape)
        _, d_outputs = loss(net.forward(X), y)
        net.backward(d_outputs)
        J = derivatives(phi)
        step = J.T @ weight.grad.ravel()
        if natural:
            step = np.linalg.solve(J.T @ fisher.FisherMatrix(net, loss, X).to_dense() @ J, step)
        phi = phi - lr * step
        path.append(to_theta(phi))
    return np.array(path)


# %%
# The network of a normal distribution has the parameters (μ, s) with s = 2 log σ. Each row below has a map to other
# parameters, its derivatives J, and the inverse map.

normal = {
    "mean, deviation": (
        lambda t: np.array([t[0], np.exp(t[1] / 2)]),
        lambda f: np.diag([1, 2 / f[1]]),
        lambda f: np.array([f[0], 2 * np.log(f[1])]),
    ),
    "mean, log σ": (
        lambda t: np.array([t[0], t[1] / 2]),
        lambda f: np.diag([1.0, 2.0]),
        lambda f: np.array([f[0], 2 * f[1]]),
    ),
    "natural parameters": (
        lambda t: np.array([t[0], -0.5]) * np.exp(-t[1]),
        lambda f: np.array([[-0.5 / f[1], 0.5 * f[0] / f[1] ** 2], [0, -1 / f[1]]]),
        lambda f: np.array([-0.5 * f[0] / f[1], -np.log(-2 * f[1])]),
    ),
}
data = np.random.default_rng(0).normal(1.0, 0.6, 50)[:, None]
net, loss, ones = (
    nn.Network([nn.Linear(1, 2, bias=False)], dtype=np.float64),
    nn.Gaussian(),
    np.ones_like(data),
)
start = np.array([-1.0, 2 * np.log(1.6)])
normal_paths = {}
for name, maps in normal.items():
    for natural in (False, True):
        lr, n_steps = (0.01, 500) if natural else (0.005, 4000)
        normal_paths[name, natural] = descend(net, loss, ones, data, start, *maps, lr, n_steps, natural)

# %%
# A logistic regression on two features, and on two mixtures of them: weights v of the features XM are weights Mv of X.
# The map is linear, so the natural paths have the same points up to rounding errors, for every step length.

rng = np.random.default_rng(1)
X = rng.standard_normal((200, 2)) @ [[1.0, 0.0], [0.6, 0.5]]
y = (rng.random((200, 1)) < 1 / (1 + np.exp(-X @ [[1.5], [-1.0]]))).astype(np.float64)
mixtures = {
    "raw features": np.eye(2),
    "sum, difference": np.array([[1.0, 0.3], [1.0, -0.3]]),
    "other units": np.diag([0.4, 2.0]),
}
logistic, bernoulli = nn.Network([nn.Linear(2, 1, bias=False)], dtype=np.float64), nn.BinaryCrossEntropy()
logistic_paths = {}
for name, M in mixtures.items():
    # Default arguments bind this M instead of the last one.
    maps = (lambda t, M=M: np.linalg.solve(M, t), lambda f, M=M: M, lambda f, M=M: M @ f)
    for natural in (False, True):
        lr, n_steps = (0.1, 120) if natural else (0.5, 2000)
        path = descend(logistic, bernoulli, X, y, np.array([-1.5, 1.5]), *maps, lr, n_steps, natural)
        logistic_paths[name, natural] = path


def gap(paths, natural):
    """The largest distance between two paths, after the same number of steps."""
    of_kind = np.array([path for (_, kind), path in paths.items() if kind == natural])
    return np.linalg.norm(of_kind[:, None] - of_kind[None], axis=-1).max()


for model, paths in (("normal distribution", normal_paths), ("logistic regression", logistic_paths)):
    print(
        f"{model}: paths of the gradient up to {gap(paths, False):.2f} apart, natural {gap(paths, True):.1e}"
    )

# %%
# All paths are drawn in the same coordinates. The paths of the natural gradient coincide.

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
means, deviations = np.meshgrid(np.linspace(-1.3, 1.6, 200), np.linspace(0.4, 2.6, 200))
nll = np.log(deviations) + (data.var() + (means - data.mean()) ** 2) / (2 * deviations**2)
w1, w2 = np.meshgrid(np.linspace(-1.9, 2.6, 200), np.linspace(-2.0, 3.2, 200))
margins = (2 * y[:, :, None] - 1) * (X[:, :1, None] * w1.ravel() + X[:, 1:, None] * w2.ravel()).reshape(
    len(X), 1, -1
)
cross_entropy = np.logaddexp(0, -margins).mean(axis=(0, 1)).reshape(w1.shape)
left.contour(
    means,
    deviations,
    nll,
    nll.min() + np.geomspace(0.005, 5, 14),
    colors="0.85",
    linewidths=0.8,
    linestyles="-",
)
lowest = cross_entropy.min()
right.contour(
    w1, w2, cross_entropy, lowest + np.geomspace(0.002, 2, 14), colors="0.85", linewidths=0.8, linestyles="-"
)
for panel, paths in ((left, normal_paths), (right, logistic_paths)):
    for i, ((_, natural), path) in enumerate(paths.items()):
        points = np.column_stack([path[:, 0], np.exp(path[:, 1] / 2)]) if panel is left else path
        color = f"C{i // 2}"
        if natural:
            # The widest line is drawn first, so that all lines stay visible.
            panel.plot(*points.T, color=color, linewidth=9 - 3.2 * (i // 2), solid_capstyle="butt", zorder=3)
        else:
            panel.plot(*points.T, "--", color=color, linewidth=1.8, zorder=4)
    panel.plot(*points[0], "ko", markersize=6, zorder=5)
    handles = [Line2D([], [], color=f"C{i}", linewidth=3) for i in range(3)]
    names = list(dict.fromkeys(name for name, _ in paths))
    panel.legend(handles, names, loc="upper right")
left.plot(data.mean(), data.std(), "k*", markersize=11, zorder=5)
at_lowest = np.unravel_index(cross_entropy.argmin(), cross_entropy.shape)
right.plot(w1[at_lowest], w2[at_lowest], "k*", markersize=11, zorder=5)
left.set(xlabel="mean μ", ylabel="deviation σ", title="normal distribution", ylim=(0.4, 2.6))
right.set(xlabel="weight of feature 1", ylabel="weight of feature 2", title="logistic regression")
figure.legend(
    [Line2D([], [], color="0.3", linestyle="--", linewidth=1.8), Line2D([], [], color="0.3", linewidth=5)],
    ["gradient", "natural gradient"],
    loc="outside lower center",
    ncols=2,
)
figure.savefig("reparametrisation.png", dpi=150)
