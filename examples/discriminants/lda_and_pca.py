"""
Discriminant axes beside principal components
=============================================

Principal components are the directions of the largest variance, and ignore the classes. Discriminant axes are the
directions along which the class means are far apart, relative to the standard deviations within the classes
[#hastie]_. In a chemical analysis of wines from three growers one feature, proline, has values in the hundreds, and
dominates the first component unless the features are standardised. Discriminant axes do not depend on units: raw and
standardised features give the same axes.

.. [#hastie] T. Hastie, R. Tibshirani, J. Friedman, "The elements of statistical learning", 2nd edition, 2009, §4.3.3
   and §14.5.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits, load_wine
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from steepest import plots
from steepest.decomposition import PCA
from steepest.discriminant_analysis import LinearDiscriminantAnalysis

plt.style.use("petroff10")

wine = load_wine()
raw, standardised = PCA(2).fit(wine.data), make_pipeline(StandardScaler(), PCA(2)).fit(wine.data)
lda = LinearDiscriminantAnalysis().fit(wine.data, wine.target)
proline = wine.feature_names.index("proline")
print(
    f"first component: {raw.explained_variance_ratio_[0]:.1%} of the raw variance, proline's weight "
    f"{abs(raw.components_[0, proline]):.4f}; {standardised[-1].explained_variance_ratio_[0]:.1%} if standardised"
)
scaled = StandardScaler().fit_transform(wine.data)
moved = LinearDiscriminantAnalysis().fit_transform(scaled, wine.target) - lda.transform(wine.data)
print(f"discriminant axes of standardised features differ by at most {np.abs(moved).max():.0e}")

# %%
# Digits have ten classes, and therefore nine discriminant axes. Both models are fitted to the same images. Test images
# are classified by the nearest class mean along the first few axes of each model. Pixels that hardly vary are left out.

digits = load_digits()
X_train, X_test, y_train, y_test = train_test_split(
    digits.data, digits.target, stratify=digits.target, random_state=0
)
inked = X_train.std(axis=0) > 0.1
X_train, X_test = X_train[:, inked], X_test[:, inked]
models = {
    "PCA": PCA().fit(X_train),
    "LDA": LinearDiscriminantAnalysis().fit(X_train, y_train),
}


def accuracies(model, counts):
    """Test accuracy of the nearest class mean along the first k axes, for each k in `counts`."""
    Z_train, Z_test = model.transform(X_train), model.transform(X_test)
    return [NearestCentroid().fit(Z_train[:, :k], y_train).score(Z_test[:, :k], y_test) for k in counts]


counts = {"PCA": range(1, 31), "LDA": range(1, 10)}
accuracy = {name: accuracies(model, counts[name]) for name, model in models.items()}
for name, values in accuracy.items():
    print(
        f"{name}: {values[1]:.1%} of new digits right along 2 axes, {values[8]:.1%} along 9, at most {max(values):.1%}"
    )

# %%
# The top row shows the training samples of the wines, with all 13 features. The bottom row shows test digits.

figure = plt.figure(figsize=(11, 8), layout="constrained")
above, below = figure.subfigures(2, 1)
plots.projections(
    wine.data,
    wine.target,
    {"PCA, raw features": raw, "PCA, standardised": standardised, "LDA, raw or standardised": lda},
    labels=[f"grower {i}" for i in (1, 2, 3)],
    name="axis",
    figure=above,
)
pictures, curves = below.subfigures(1, 2, width_ratios=(2.2, 1))
plots.projections(X_test, y_test, models, name="axis", figure=pictures)
panel = curves.subplots()
for name, style in (("PCA", "s--"), ("LDA", "o-")):
    panel.plot(counts[name], accuracy[name], style, markersize=4, label=name)
panel.set(title="new digits, nearest class mean", xlabel="number of axes", ylabel="accuracy", ylim=(0, 1))
panel.legend(loc="lower right")
figure.savefig("lda_and_pca.png", dpi=150)
