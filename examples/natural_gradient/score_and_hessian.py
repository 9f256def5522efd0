"""
Covariance of the score, and expected Hessian
=============================================

The Fisher matrix has two definitions. It is the covariance of the score, the gradient of −log p(y | x; θ), over
observations y from the model. It is also the expected Hessian of −log p(y | x; θ) over the same observations. The first
measures how much the gradient varies, the second how the loss curves. They are equal because Σ p(y) = 1: its first
derivative says that the mean score is 0, and its second derivative says that both matrices are equal.

Here a small network predicts the probabilities of three classes. ``steepest.fisher`` gives its Fisher matrix in closed
form. The other two matrices are Monte Carlo estimates from classes sampled from the model: the covariance of
``fisher.score``, and the Hessian from finite differences of the gradient of ``nn.SoftmaxCrossEntropy``.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import softmax

from steepest import fisher, nn

plt.style.use("petroff10")
rng = np.random.default_rng(0)
net = nn.Network([nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 3)], seed=1, dtype=np.float64)
loss = nn.SoftmaxCrossEntropy()
X = rng.standard_normal((10, 2))
F = fisher.FisherMatrix(net, loss, X).to_dense()
theta = np.concatenate([p.value.ravel() for p in net.parameters()])


def gradient_at(theta, X, y):
    for p, part in zip(net.parameters(), np.split(theta, ends), strict=True):
        p.value[...] = part.reshape(p.value.shape)
    _, d_outputs = loss(net.forward(X), y)
    net.backward(d_outputs)
    return np.concatenate([p.grad.ravel() for p in net.parameters()])


ends = np.cumsum([p.value.size for p in net.parameters()])[:-1]
likely = softmax(net.predict(X), axis=1)


def estimates(n_draws):
    """The covariance of the score and the mean Hessian, from `n_draws` classes sampled for each row."""
    X_drawn = np.repeat(X, n_draws, axis=0)
    y = np.concatenate([rng.choice(3, n_draws, p=row) for row in likely])
    scores = fisher.score(net, loss, X_drawn, y)
    covariance = scores.T @ scores / len(scores)
    steps = 1e-5 * np.eye(len(theta))
    hessian = [gradient_at(theta + h, X_drawn, y) - gradient_at(theta - h, X_drawn, y) for h in steps]
    gradient_at(theta, X, y[: len(X)])  # restores the parameters
    return covariance, np.array(hessian) / 2e-5, scores.mean(axis=0)


# %%
# Both errors fall with the square root of the number of samples, and so does the mean of the score.

numbers = [10, 30, 100, 300, 1000, 3000]
errors = np.empty((len(numbers), 5, 3))
for i, n_draws in enumerate(numbers):
    for repeat in range(5):
        covariance, hessian, mean = estimates(n_draws)
        distances = [np.linalg.norm(matrix - F) / np.linalg.norm(F) for matrix in (covariance, hessian)]
        errors[i, repeat] = *distances, np.linalg.norm(mean) / np.sqrt(np.trace(F))
names = ("covariance of the score", "mean Hessian", "mean of the score, should be 0")
slopes = np.polyfit(np.log(numbers), np.log(errors).mean(axis=1), 1)[0]
for name, slope, error in zip(names, slopes, errors[-1].mean(axis=0), strict=True):
    print(f"{name}: relative error {error:.3f} with {numbers[-1]} draws a row, falling as n^{slope:.2f}")

# %%
# The pictures show the matrices of the network's 21 parameters, with few and with many samples.

figure = plt.figure(figsize=(11, 4.2), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=(5, 3))
panels = left.subplots(2, 3)
limit = np.abs(F).max()
shown = [estimates(n)[:2] for n in (2, 3000)]
for row, n_draws, (covariance, hessian) in zip(panels, (2, 3000), shown, strict=True):
    row[0].set_ylabel(f"{n_draws} draws a row")
    for panel, matrix in zip(row, (covariance, hessian, F), strict=True):
        image = panel.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit)
        panel.set(xticks=[], yticks=[])
for panel, name in zip(panels[0], ("covariance of the score", "mean Hessian", "Fisher matrix"), strict=True):
    panel.set_title(name, fontsize=10)
left.colorbar(image, ax=panels, shrink=0.7)
panel = right.subplots()
for i, (mark, name) in enumerate(zip("os^", names, strict=True)):
    panel.loglog(numbers, errors[:, :, i].mean(axis=1), mark, color=f"C{i}", label=name)
    panel.vlines(numbers, errors[:, :, i].min(axis=1), errors[:, :, i].max(axis=1), color=f"C{i}", alpha=0.5)
panel.loglog(numbers, 2 / np.sqrt(numbers), "--", color="0.5", label="∝ 1 / √n", zorder=0)
panel.set(xlabel="draws a row, n", ylabel="relative error", ylim=(None, 8))
panel.legend(loc="upper right")
figure.savefig("score_and_hessian.png", dpi=150)
