"""
As many features as samples
===========================

The within-class covariance W is estimated from n − k independent deviations, for n samples of k classes. If the number
of features approaches n − k, some directions have almost no variance by chance, and W⁻¹ gives them the largest weight.
The training samples are then separated without an error, but new samples are classified little better than by chance.
With more features W is singular, its pseudo-inverse leaves out the directions without variance, and part of the
accuracy returns [#raudys]_.

Shrinkage avoids the drop in accuracy. It moves W towards a multiple of the identity by an amount from Ledoit and Wolf's
formula [#ledoit]_. A projection on the first few principal components also avoids it, if the classes differ along these
components, as digits do.

.. [#raudys] S. Raudys and R. P. W. Duin, "Expected classification error of the Fisher linear classifier with
   pseudo-inverse covariance matrix", Pattern Recognition Letters 19, 1998.
.. [#ledoit] O. Ledoit and M. Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal of
   Multivariate Analysis 88, 2004.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline

from steepest.decomposition import PCA
from steepest.discriminant_analysis import LinearDiscriminantAnalysis

plt.style.use("petroff10")
# The example fits more features than deviations on purpose, of which LDA would warn.
warnings.filterwarnings("ignore", category=UserWarning)

models = {
    "LDA": LinearDiscriminantAnalysis(),
    "LDA, shrunk": LinearDiscriminantAnalysis(shrinkage="auto"),
    "PCA to 15, then LDA": make_pipeline(PCA(15, svd_solver="covariance_eigh"), LinearDiscriminantAnalysis()),
}


def accuracies(draw, size, repeats):
    """Training and test accuracy of each model, averaged over repeated samples."""
    scores = np.zeros((len(models), 2))
    for seed in range(repeats):
        X, y, X_new, y_new = draw(size, np.random.default_rng(seed))
        for i, model in enumerate(models.values()):
            model.fit(X, y)
            scores[i] += model.score(X, y), model.score(X_new, y_new)
    return scores / repeats


# %%
# The data are two normal classes of 30 samples each. Their means differ by one standard deviation in each of the first
# five features; the other features are noise.


def normal_classes(d, rng, n=60, n_new=500):
    y = np.arange(n + n_new) % 2
    X = rng.normal(size=(n + n_new, d))
    X[:, :5] += y[:, None]
    return X[:n], y[:n], X[n:], y[n:]


features = [15, 20, 30, 40, 50, 55, 58, 61, 66, 80, 110, 150]
by_features = np.array([accuracies(normal_classes, d, repeats=8) for d in features])

# %%
# Digits show the same effect from the other side: with 64 pixels and a growing number of images, more images first make
# the accuracy worse.

digits = load_digits()


def images(n, rng):
    order = rng.permutation(len(digits.target))
    first, rest = order[:n], order[n:]
    return digits.data[first], digits.target[first], digits.data[rest], digits.target[rest]


counts = [25, 30, 40, 50, 55, 60, 65, 70, 80, 100, 150, 250, 600]
by_images = np.array([accuracies(images, n, repeats=3) for n in counts])
for what, sizes, scores in (("features", features, by_features), ("images", counts, by_images)):
    worst = scores[:, 0, 1].argmin()
    trained, *new = scores[worst, 0, 0], *scores[worst, :, 1]
    print(
        f"{sizes[worst]} {what}: LDA {trained:.0%} right in training, {new[0]:.0%} on new samples; "
        f"shrunk {new[1]:.0%}, after PCA {new[2]:.0%}"
    )

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), sharey=True, layout="constrained")
for panel, sizes, scores in ((left, features, by_features), (right, counts, by_images)):
    for i, (name, mark) in enumerate(zip(models, "osD", strict=True)):
        panel.semilogx(sizes, scores[:, i, 0], ":", color=f"C{i}")
        panel.semilogx(sizes, scores[:, i, 1], "-", marker=mark, markersize=4, color=f"C{i}", label=name)
left.axvline(58, color="0.7", linewidth=1)
left.text(59, 0.33, "n − 2 = 58", color="0.4")
left.set(title="60 samples of two normal classes", xlabel="number of features", ylabel="accuracy")
right.set(title="digits of 64 pixels", xlabel="number of images", ylim=(0.3, 1.02))
left.set_xticks([20, 40, 60, 100, 150], ["20", "40", "60", "100", "150"])
right.set_xticks([25, 50, 100, 250, 600], ["25", "50", "100", "250", "600"])
for panel in (left, right):
    panel.minorticks_off()
handles, named = left.get_legend_handles_labels()
handles += [plt.Line2D([], [], color="0.3", linestyle=style) for style in ("-", ":")]
figure.legend(handles, [*named, "new samples", "training"], loc="outside lower center", ncols=5)
figure.savefig("many_features.png", dpi=150)
