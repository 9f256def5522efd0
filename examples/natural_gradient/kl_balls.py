"""
Steepest descent by divergence
==============================

The negative gradient is the direction in which a loss falls most for a step of a given length in the parameters. Steps
of equal length may be very different changes of the model. Moving the mean of a normal distribution by 0.1 hardly
matters for a standard deviation of 10, but gives a completely different distribution for 0.01.

The natural gradient [#amari]_ is the direction in which the loss falls most for a given divergence
KL(p(θ) ‖ p(θ + d)). For short steps the divergence is ½ dᵀFd with the Fisher matrix F. Balls of equal divergence are
then ellipses, which differ for every θ, and the direction is F⁻¹g.

.. [#amari] S. Amari, "Natural gradient works efficiently in learning", Neural Computation 10, 1998.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D

from steepest import fisher, nn

plt.style.use("petroff10")

# %%
# A network with a constant input represents a normal distribution: its two weights are the mean μ and the log-variance
# s of ``nn.Gaussian``. In (μ, σ), with s = 2 log σ, the chain rule gives the matrix JᵀFJ and the gradient Jᵀg with the
# derivatives J = diag(1, 2 / σ).

loss = nn.Gaussian(reduction="sum")
data = np.random.default_rng(0).normal(0.5, 0.8, 40)[:, None]
ones = np.ones_like(data)


def fisher_and_gradient(mean, deviation):
    """Fisher matrix, and gradient of the data's mean negative log-likelihood, with respect to (mean, deviation)."""
    net = nn.Network([nn.Linear(1, 2, bias=False)], dtype=np.float64)
    weight = net.parameters()[0]
    weight.value[...] = [[mean, 2 * np.log(deviation)]]
    _, d_outputs = loss(net.forward(ones), data)
    net.backward(d_outputs)
    J = np.diag([1, 2 / deviation])
    return J.T @ fisher.FisherMatrix(net, loss, ones).to_dense() @ J, J.T @ weight.grad.ravel()


def divergence(mean, deviation, other_mean, other_deviation):
    """KL(p || q) of two normal distributions."""
    ratio = (deviation / other_deviation) ** 2
    return 0.5 * (ratio - 1 - np.log(ratio) + ((mean - other_mean) / other_deviation) ** 2)


for deviation in (0.5, 1.0, 2.0):
    F, _ = fisher_and_gradient(0.0, deviation)
    print(
        f"σ = {deviation}: F = diag({F[0, 0]:.2f}, {F[1, 1]:.2f}); a step of (0.1, 0.1) has the divergence "
        f"{divergence(0, deviation, 0.1, deviation + 0.1):.4f}, and by F {0.005 * F.sum():.4f}"
    )

# %%
# The left plot shows the sets of distributions within a divergence of 0.05 of nine others, and their approximations by
# ellipses of F; a Euclidean ball has the same size everywhere. The right plot shows a loss, and the directions of
# steepest descent in both measures. The μ component of the natural gradient is μ minus the mean of the data for every
# σ, so a step of length 1 ends at the mean. The gradient is this divided by σ².

means, deviations = np.meshgrid(np.linspace(-2.2, 2.2, 400), np.linspace(0.12, 2.6, 400))
turn = np.linspace(0, 2 * np.pi, 100)
circle = np.stack([np.cos(turn), np.sin(turn)])
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.1), layout="constrained")
for mean in (-1.4, 0.0, 1.4):
    for deviation in (0.4, 1.0, 1.9):
        left.plot(mean, deviation, "k.", markersize=4)
        F, _ = fisher_and_gradient(mean, deviation)
        ellipse = np.sqrt(0.1) * np.linalg.inv(np.linalg.cholesky(F)).T @ circle
        left.contour(means, deviations, divergence(mean, deviation, means, deviations), [0.05], colors="C0")
        left.plot(mean + ellipse[0], deviation + ellipse[1], "--", color="C1", linewidth=1.3)
        left.plot(mean + 0.25 * circle[0], deviation + 0.25 * circle[1], ":", color="0.45", linewidth=1.3)
left.legend(
    [Line2D([], [], color=c, linestyle=s) for c, s in (("C0", "-"), ("C1", "--"), ("0.45", ":"))],
    ["KL divergence of 0.05", "½ dᵀFd = 0.05", "length of 0.25"],
    loc="lower center",
    bbox_to_anchor=(0.5, 1),
    ncols=3,
    frameon=False,
)

nll = np.log(deviations) + (data.var() + (means - data.mean()) ** 2) / (2 * deviations**2)
levels = nll.min() + np.geomspace(0.01, 100, 28)
right.contour(means, deviations, nll, levels=levels, colors="0.8", linewidths=0.8)
for mean in (-1.6, -0.5, 1.5):
    for deviation in (0.5, 1.2, 2.1):
        F, g = fisher_and_gradient(mean, deviation)
        for color, direction in (("C2", -g), ("C0", -np.linalg.solve(F, g))):
            tip = 0.42 * direction / np.linalg.norm(direction)
            right.annotate(
                "",
                (mean + tip[0], deviation + tip[1]),
                (mean, deviation),
                arrowprops={
                    "arrowstyle": "-|>",
                    "color": color,
                    "linewidth": 1.8,
                    "shrinkA": 0,
                    "shrinkB": 0,
                },
            )
right.plot(data.mean(), data.std(), "k*", markersize=11)
right.legend(
    [
        Line2D([], [], color="C2"),
        Line2D([], [], color="C0"),
        Line2D([], [], color="k", marker="*", linestyle=""),
    ],
    ["−gradient", "−natural gradient", "least loss"],
    loc="lower center",
    bbox_to_anchor=(0.5, 1),
    ncols=3,
    frameon=False,
)
for panel in (left, right):
    panel.set(xlabel="mean μ", ylabel="deviation σ", xlim=(-2.2, 2.2), ylim=(0, 2.6), aspect="equal")
figure.savefig("kl_balls.png", dpi=150)
