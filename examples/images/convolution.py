"""
What a convolution sees
=======================

A convolution slides a small filter over an image. Each number of its output is the sum of the pixels under the
filter, multiplied by the filter's weights: large where the image looks like the filter. Filters written by hand blur
an image or find its edges. A network learns its own from examples. As the same filter is applied everywhere, a
pattern that moves in the image moves in the output."""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits, load_sample_image

from steepest import nn, optim, plots

figure = plt.figure(figsize=(11, 9), layout="constrained")
above, between, below = figure.subfigures(3, 1, height_ratios=(5, 5, 4))

# %%
# Four filters by hand: the mean of 25 pixels, which blurs; the difference of a pixel and its surroundings; and the
# slopes across and down, after I. Sobel. A convolution is a layer of a network whose weights may be written like any
# array.

photo = (
    load_sample_image("china.jpg")[40:360:2, 60:580:2].mean(axis=2, keepdims=True).astype(np.float32) / 255
)
mean, centre = np.full((5, 5), 1 / 25), np.zeros((5, 5))
centre[2, 2] = 1
slope = np.outer([-1, -2, 0, 2, 1], [1, 4, 6, 4, 1]) / 48
by_hand = {"blur": mean, "surroundings": centre - mean, "slope across": slope.T, "slope down": slope}

net = nn.Network([nn.Input(photo.shape), nn.Conv2d(1, 4, 5, bias=False)])
net.parameters()[0].value[...] = np.stack(list(by_hand.values()), axis=-1)[:, :, None]
outputs = net.predict(photo[None])[0]

grid = above.subplots(2, 5, height_ratios=(1, 2.4))
grid[0, 0].set_axis_off()
grid[1, 0].imshow(photo[:, :, 0], cmap="gray")
grid[1, 0].set_xlabel("photograph")
for column, (name, weights) in enumerate(by_hand.items()):
    small, large = grid[:, column + 1]
    output = outputs[:, :, column]
    for panel, numbers, limit in (
        (small, weights, np.abs(weights).max()),
        (large, output, np.percentile(np.abs(output), 99)),
    ):
        look = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
        panel.imshow(numbers, **({"cmap": "gray"} if panel is large and name == "blur" else look))
    large.set_xlabel(name)
for panel in grid.ravel():
    panel.set(xticks=[], yticks=[])
above.suptitle("filters by hand, and what they see; red is positive, blue negative")

# %%
# A network learns eight filters while it learns to tell digits apart, here enlarged to 24 x 24 pixels. The penalty on
# the weights removes what is left of the random numbers that the filters start with.

digits = load_digits()
X = np.kron(digits.images / 16, np.ones((3, 3))).astype(np.float32)[..., None]
y = digits.target
test = slice(1300, None)
layers = [nn.Conv2d(1, 8, 7), nn.ReLU(), nn.MaxPool2d(3), nn.Flatten(), nn.Linear(288, 10)]
net = nn.Network([nn.Input((24, 24, 1)), *layers], seed=1)
loss, optimizer = nn.SoftmaxCrossEntropy(), optim.Adam(net.parameters(), lr=3e-3, weight_decay=1.0)
rng = np.random.default_rng(0)
for _ in range(400):
    rows = rng.integers(1300, size=64)
    _, d_logits = loss(net.forward(X[rows]), y[rows])
    net.backward(d_logits)
    optimizer.step()
accuracy = np.mean(net.predict(X[test]).argmax(axis=1) == y[test])
print(f"eight learned filters: test accuracy {accuracy:.2f}")
digit = X[test][8]
left, right = between.subplots(1, 2)
plots.filters(net, ax=left, columns=4)
plots.feature_maps(net, digit, ax=right, columns=4)
between.suptitle("learned filters, and their maps of a digit")

# %%
# A convolution commutes with shifts: the maps of a shifted image are the shifted maps. Maxima over windows of 3 x 3
# pixels do so for shifts by whole windows only; after a shift by one pixel, some maxima change.

image = np.zeros((24, 24, 1), np.float32)
image[1:17, 1:17, 0] = np.kron(digits.images[2] / 16, np.ones((2, 2)))
place = (slice(None), slice(None), 2)  # the map of the third filter
panels = iter(below.subplots(1, 6))
for name, shift in (("an image", 0), ("shifted", 6)):
    moved = np.roll(image, (shift, shift), axis=(0, 1))
    look = {"cmap": "viridis", "vmin": 0, "vmax": net.predict(image[None], layers=slice(2))[0][place].max()}
    stages = {name: moved[:, :, 0]}
    stages["its map of the third filter"] = net.predict(moved[None], layers=slice(2))[0][place]
    stages["after max pooling"] = net.predict(moved[None], layers=slice(3))[0][place]
    for title, numbers in stages.items():
        panel = next(panels)
        panel.imshow(numbers, **({"cmap": "gray_r"} if title == name else look))
        panel.set(xticks=[], yticks=[])
        panel.set_xlabel(title)

below.suptitle("maps move with the image")

for shift in (6, 1):
    moved = np.roll(image, (shift, shift), axis=(0, 1))
    for stage, layers, step in (("map", slice(2), 1), ("pooled map", slice(3), 3)):
        first, second = net.predict(np.stack([image, moved]), layers=layers)
        back = shift // step
        change = np.abs(first[: len(first) - back, : len(first) - back] - second[back:, back:])
        print(f"shift by {shift}: the {stage} changes by {change.mean() / first.mean():.0%}")
figure.savefig("convolution.png", dpi=150)
