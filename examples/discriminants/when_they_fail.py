"""
Where projections lose the classes
==================================

Linear discriminant analysis assumes normal classes with equal covariances and different means. Principal component
analysis assumes that directions of large variance matter. One or both assumptions fail for these four pairs of classes,
each projected on a single axis:

- *Small variance.* The difference between the classes is small relative to their common spread, so the first component
  misses it.
- *Equal means.* The classes differ in their variance. Their means differ by chance alone, so the discriminant axis is
  random. The first component runs along the larger variance.
- *One around the other.* One class lies on both sides of the other, so the means are equal. It also makes W large in
  the direction of the difference, so that W⁻¹ turns the axis away from this direction.
- *Outliers.* Three outliers among 300 samples move the mean of their class and increase W, which turns the discriminant
  axis. A covariance of the innermost samples of each class [#rousseeuw]_ repairs most of this.

.. [#rousseeuw] P. J. Rousseeuw and K. Van Driessen, "A fast algorithm for the minimum covariance determinant
   estimator", Technometrics 41, 1999.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.covariance import MinCovDet
from sklearn.neighbors import KNeighborsClassifier

from steepest import plots
from steepest.decomposition import PCA
from steepest.discriminant_analysis import LinearDiscriminantAnalysis

plt.style.use("petroff10")
N = 300
rng = np.random.default_rng(0)
y = np.arange(N) % 2
is_second = y == 1


def small_variance():
    return rng.normal(size=(N, 2)) * [3.0, 0.5] + np.outer(y, [0.0, 2.0])


def equal_means():
    X = rng.normal(size=(N, 2))
    X[:, 0] *= np.where(is_second, 5.0, 0.7)
    return X @ [[0.8, 0.6], [-0.6, 0.8]]


def around():
    X = rng.normal(size=(N, 2))
    X[is_second, 0] += rng.choice([-5.0, 5.0], is_second.sum())
    return X


def without_outliers():
    return rng.normal(size=(N, 2)) @ [[1.5, 1.1], [0.0, 0.5]] + np.outer(y, [2.5, 0.0])


def outliers():
    X = without_outliers()
    X[[1, 3, 5]] = [[-13.0, 9.5], [-11.5, 10.5], [-12.0, 9.0]]
    return X


# %%
# Models are fitted to one sample of the classes and tested on another one without outliers. The scores are the accuracy
# of 15 nearest neighbours along the axis, and of the discriminant analysis itself.

cases = {
    "small variance": (small_variance(), small_variance()),
    "equal means": (equal_means(), equal_means()),
    "one around the other": (around(), around()),
    "outliers": (outliers(), without_outliers()),
}
models = {
    name: {"PCA": PCA(1).fit(X), "LDA": LinearDiscriminantAnalysis().fit(X, y)}
    for name, (X, _) in cases.items()
}
kept = {}
for name, (X, X_new) in cases.items():
    for kind, model in models[name].items():
        neighbours = KNeighborsClassifier(15).fit(model.transform(X), y)
        kept[name, kind] = neighbours.score(model.transform(X_new), y)
    print(
        f"{name:>20}: neighbours along the component {kept[name, 'PCA']:.0%}, along the discriminant axis "
        f"{kept[name, 'LDA']:.0%}; decisions {models[name]['LDA'].score(X_new, y):.0%} right"
    )
X, X_new = cases["outliers"]
robust = LinearDiscriminantAnalysis(covariance_estimator=MinCovDet(random_state=0)).fit(X, y)
print(f"outliers, covariance of the innermost samples: decisions {robust.score(X_new, y):.0%} right")

# %%
# Each column shows one pair of classes: at the top the training samples with both axes through their mean, below them
# new samples along each axis.

figure, axes = plt.subplots(3, 4, figsize=(12, 8), height_ratios=(5, 3, 3), layout="constrained")
for panels, (name, (X, X_new)) in zip(axes.T, cases.items(), strict=True):
    plots.projection(X, y, ax=panels[0], labels=["first class", "second class"])
    half = 0.35 * np.ptp(X, axis=0).max()
    for style, (kind, model) in zip(("k-", "k--"), models[name].items(), strict=True):
        axis = model.components_[0] if kind == "PCA" else model.scalings_[:, 0]
        ends = X.mean(axis=0) + np.outer([-half, half], axis / np.linalg.norm(axis))
        panels[0].plot(
            *ends.T, style, linewidth=2, label="first component" if kind == "PCA" else "discriminant axis"
        )
    panels[0].set(title=name, xlabel="feature 1", ylabel="feature 2")
    panels[0].set_aspect("equal", adjustable="datalim")
    for panel, (kind, model) in zip(panels[1:], models[name].items(), strict=True):
        plots.projection(model.transform(X_new), y, ax=panel)
        panel.set(title=f"neighbours {kept[name, kind]:.0%} right", ylabel="")
        panel.set_xlabel("first component" if kind == "PCA" else "discriminant axis")
    for panel in panels:
        panel.get_legend().remove()
    for points in panels[0].collections:
        points.set_sizes([10])
for panel in axes[1:, 0]:
    panel.set_ylabel("new samples")
figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, markerscale=2)
figure.savefig("when_they_fail.png", dpi=150)
