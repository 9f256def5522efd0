"""
A ring of Gaussians
===================

Eight narrow Gaussians lie on a circle. A plain generative adversarial network follows the discriminator from one to the
next and loses some of them, with other settings all but one: its mode collapses. With the relativistic loss, which
compares each sample with a generated one, and the R1 penalty, which keeps the discriminator flat where the samples lie,
the generator finds all.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np

from steepest.neural_network import GAN

MODES, DEVIATION = 8, 0.05
angles = 2 * np.pi * np.arange(MODES) / MODES
centres = 2 * np.column_stack([np.cos(angles), np.sin(angles)])
rng = np.random.default_rng(0)
X = centres[rng.integers(MODES, size=4000)] + DEVIATION * rng.standard_normal((4000, 2))
X = X.astype(np.float32)


def found(samples):
    """The number of Gaussians with 1 % of the samples within four standard deviations."""
    distances = np.linalg.norm(samples[:, None] - centres, axis=2)
    return int(((distances < 4 * DEVIATION).mean(axis=0) >= 0.01).sum())


# %%
# Both networks have two hidden layers of 64 units, and take as many steps.

shared = {
    "n_latent": 8,
    "generator": (64, 64),
    "discriminator": (64, 64),
    "batch_size": 128,
    "learning_rate_init": 2e-3,
    "beta_1": 0.0,
    "average_decay": 0.99,
    "max_iter": 160,
    "random_state": 0,
}
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the guard may name the collapse
    plain = GAN(**shared).fit(X)
penalised = GAN(loss="relativistic", r1=1.0, **shared).fit(X)

figure, axes = plt.subplots(1, 3, figsize=(12, 4.2), sharex=True, sharey=True)
for ax, (name, points) in zip(
    axes,
    {
        "data": X[:2000],
        "plain": plain.sample(2000, seed=1),
        "relativistic, with R1": penalised.sample(2000, seed=1),
    }.items(),
    strict=True,
):
    modes = found(points)
    print(f"{name}: {modes} of {MODES} Gaussians")
    ax.scatter(*points.T, s=3, alpha=0.4)
    ax.set_title(f"{name}: {modes} of {MODES}")
    ax.set_aspect("equal")
    ax.set_xlim(-2.7, 2.7)
    ax.set_ylim(-2.7, 2.7)
figure.tight_layout()
figure.savefig("ring_of_gaussians.png", dpi=100)
