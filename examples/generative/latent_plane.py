"""
The latent plane of a variational autoencoder
=============================================

A variational autoencoder describes each image by a few numbers that are normally distributed. With two of them, all
images it can make lie in a plane, in which the digits have their regions and change gradually into one another.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm
from sklearn.datasets import load_digits

from steepest import plots
from steepest.neural_network import VariationalAutoencoder

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
model = VariationalAutoencoder(
    2, likelihood="bernoulli", max_iter=100, learning_rate_init=2e-3, random_state=0
)
model.fit(X)
print(f"evidence lower bound {model.score(X):.1f} nats an image")

# %%
# The encoder puts each image at a point of the plane, here by class. On the right, the decoder draws what lies at the
# quantiles of the normal distribution, so that each square is equally likely.

codes = model.transform(X)
n = 12
at = norm.ppf((np.arange(n) + 0.5) / n).astype(np.float32)
grid = np.array([(a, b) for b in at[::-1] for a in at])

figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5.6))
points = left.scatter(*codes.T, c=y, cmap="tab10", s=8)
figure.colorbar(points, ax=left, label="digit", ticks=range(10))
left.set_xlabel("first number")
left.set_ylabel("second number")
left.set_title("codes of the images")
plots.image_grid(model.inverse_transform(grid), ax=right, columns=n)
right.set_title("images of the codes")
figure.tight_layout()
figure.savefig("latent_plane.png", dpi=100)
