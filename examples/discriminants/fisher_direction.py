"""
Fisher's direction
==================

The data are two species of iris [#fisher]_ with two measurements. The projected means are farthest apart along the line
through the class means. But the flowers of a species also vary most along nearly the same line, since long sepals go
with long petals. Fisher's direction W⁻¹(μ₁ − μ₀), with the within-class covariance W, accepts a smaller distance
between the means for a much smaller variance. It maximises J, the squared distance of the projected means over the
variance of the projected classes.

.. [#fisher] R. A. Fisher, "The use of multiple measurements in taxonomic problems", Annals of Eugenics 7, 1936.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_iris

from steepest import plots
from steepest.discriminant_analysis import LinearDiscriminantAnalysis

plt.style.use("petroff10")

iris = load_iris()
two, lengths = iris.target > 0, [0, 2]
X, y = iris.data[two][:, lengths], iris.target[two]
lda = LinearDiscriminantAnalysis(store_covariance=True).fit(X, y)
difference = lda.means_[1] - lda.means_[0]
directions = {"difference of the means": difference, "Fisher's discriminant": lda.coef_[0]}


def criterion(w):
    """Squared distance of the projected means over the variance within the projected classes."""
    return (w @ difference) ** 2 / (w @ lda.covariance_ @ w)


def misclassified(w):
    """Proportion of flowers on the wrong side of the midpoint between the projected means."""
    wrong = np.mean(((X - lda.means_.mean(axis=0)) @ w > 0) != (y == 2))
    return min(wrong, 1 - wrong)


def angle(w):
    return np.degrees(np.arctan2(w[1], w[0])) % 180


for name, w in directions.items():
    print(f"{name}: {angle(w):5.1f}°, J = {criterion(w):.2f}, {misclassified(w):.0%} misclassified")

# %%
# Among all directions of the plane none has a larger J than Fisher's. J is not the error rate, which may be lower in
# another direction; for normal classes with equal covariances the two criteria agree.

angles = np.arange(0, 180.5, 0.5)
turned = [np.array([np.cos(a), np.sin(a)]) for a in np.radians(angles)]
values, errors = np.array([(criterion(w), misclassified(w)) for w in turned]).T
print(f"of {len(angles)} directions: J is largest at {angles[values.argmax()]}°, {values.max():.2f}")
print(f"fewest misclassified at {angles[errors.argmin()]}°: {errors.min():.0%}")

# %%
# The top row shows both projections, with equal scales on the axes. The bottom row shows J and the error rate of every
# direction.

figure = plt.figure(figsize=(9, 7), layout="constrained")
above, below = figure.subfigures(2, 1, height_ratios=(4, 3))
for panel in plots.fisher_discriminant(X, y, labels=iris.target_names[1:], figure=above):
    panel.set(xlabel=iris.feature_names[lengths[0]], ylabel=iris.feature_names[lengths[1]])
left, right = below.subplots(1, 2)
left.plot(angles, values, color="0.3")
right.plot(angles, 100 * errors, color="0.3")
for color, mark, (name, w) in zip(("C1", "C2"), "sD", directions.items(), strict=True):
    left.plot(angle(w), criterion(w), mark, color=color, markersize=8, label=name)
    right.plot(angle(w), 100 * misclassified(w), mark, color=color, markersize=8)
left.set(ylabel="Fisher's criterion J", ylim=(0, 13))
left.legend(loc="upper left")
right.set(ylabel="misclassified, %", ylim=(0, None))
for panel in (left, right):
    panel.set(xlabel="angle of the direction (°)", xticks=range(0, 181, 30))
figure.savefig("fisher_direction.png", dpi=150)
