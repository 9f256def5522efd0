"""The convolutional networks of the benchmarks: shapes, initial weights, training in float64, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from bench.oracle import reference

SIDE, CLASSES = 28, 10
LR = 1e-3


@dataclass(frozen=True)
class Net:
    """Convolutions, each with ReLU and the maximum of 2 x 2 pixels behind it, then dense layers with ReLU between.

    Attributes
    ----------
    maps : tuple of (int, int, int)
        For each convolution its maps, rows of the window, and zeros around the image.
    hidden : tuple of int
        Units of the dense layers in front of the output.
    """

    maps: tuple[tuple[int, int, int], ...]
    hidden: tuple[int, ...] = ()

    def sides(self) -> list[tuple[int, int]]:
        """Rows of the image before each convolution, and of its output."""
        found, side = [], SIDE
        for _, window, padding in self.maps:
            after = side + 2 * padding - window + 1
            found.append((side, after))
            side = after // 2
        return found

    @property
    def last(self) -> tuple[int, int]:
        """Rows and channels of the last pooled image."""
        return self.sides()[-1][1] // 2, self.maps[-1][0]

    def widths(self) -> list[int]:
        """Inputs and outputs of the dense layers."""
        side, channels = self.last
        return [side * side * channels, *self.hidden, CLASSES]

    def initial_parameters(self) -> list[np.ndarray]:
        """Weights (rows, columns, channels, maps), then (n_in, n_out), with their biases: float32, Glorot uniform."""
        rng = np.random.default_rng(0)
        channels = [1, *(maps for maps, _, _ in self.maps)]
        shapes = [
            (window, window, before, after)
            for (before, after), (_, window, _) in zip(pairwise(channels), self.maps, strict=True)
        ]
        shapes += list(pairwise(self.widths()))
        params = []
        for shape in shapes:
            window = int(np.prod(shape[:-2]))
            limit = np.sqrt(6 / (window * (shape[-2] + shape[-1])))
            params += [rng.uniform(-limit, limit, shape).astype(np.float32), np.zeros(shape[-1], np.float32)]
        return params

    def forward_flops(self, batch: int, *, skip_first: bool = False) -> float:
        """Operations of the products of a forward pass, or of all layers but the first."""
        channels = [1, *(maps for maps, _, _ in self.maps)]
        layers = [
            after**2 * window**2 * c_in * c_out
            for (_, after), (c_in, c_out), (_, window, _) in zip(
                self.sides(), pairwise(channels), self.maps, strict=True
            )
        ]
        layers += [a * b for a, b in pairwise(self.widths())]
        return 2.0 * batch * sum(layers[skip_first:])

    def step_flops(self, batch: int) -> float:
        """Operations of the products of a training step."""
        return 2 * self.forward_flops(batch) + self.forward_flops(batch, skip_first=True)

    def values(self, params: list[np.ndarray], x: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Inputs of all layers and the output, and the positions of the maxima, in float64."""
        values, positions = [x.astype(np.float64)], []
        for i, (_, _, padding) in enumerate(self.maps):
            y = reference.conv2d(values[-1], params[2 * i], params[2 * i + 1], "relu", padding=padding)
            pooled, index = reference.max_pool2d(y, 2)
            values += [y, pooled]
            positions.append(index)
        values.append(values[-1].reshape(len(x), -1))
        for i in range(len(self.maps), len(params) // 2):
            name = "identity" if i == len(params) // 2 - 1 else "relu"
            values.append(reference.linear(values[-1], params[2 * i], params[2 * i + 1], name))
        return values, positions

    def trained(self, params: list[np.ndarray], batches) -> list[np.ndarray]:
        """Parameters after one Adam step on each (x, y), in float64."""
        params = [p.astype(np.float64) for p in params]
        moments = [(np.zeros(p.shape), np.zeros(p.shape)) for p in params]
        convolutions = len(self.maps)
        for step, (x, y) in enumerate(batches, 1):
            values, positions = self.values(params, x)
            d = reference.softmax_cross_entropy(values[-1], y)[1]
            grads = [None] * len(params)
            for i in reversed(range(convolutions, len(params) // 2)):
                given = values[i + convolutions + 1]
                made_by = "relu" if i > convolutions else "identity"
                d, *grads[2 * i : 2 * i + 2] = reference.linear_backward(d, given, params[2 * i], made_by)
            d = d.reshape(values[2 * convolutions].shape)
            for i in reversed(range(convolutions)):
                y_conv = values[2 * i + 1]
                d = reference.max_pool2d_backward(d, positions[i], 2, d_x=np.empty(y_conv.shape)) * (
                    y_conv > 0
                )
                d, *grads[2 * i : 2 * i + 2] = reference.conv2d_backward(
                    d, values[2 * i], params[2 * i], padding=self.maps[i][2]
                )
            for i, g in enumerate(grads):
                params[i], *moments[i] = reference.update("adam", params[i], g, moments[i], lr=LR, step=step)
        return params


NETS = {
    "LeNet-5": Net(((6, 5, 2), (16, 5, 0)), (120, 84)),
    # The network of Keras' example for MNIST, without its dropout.
    "32 and 64 maps of 3 × 3": Net(((32, 3, 0), (64, 3, 0))),
}


def random_images(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images (rows, 28, 28, 1) in [0, 1), and labels that depend on them."""
    rng = np.random.default_rng(1)
    x = rng.random((rows, SIDE, SIDE, 1), dtype=np.float32)
    teacher = rng.standard_normal((SIDE * SIDE, CLASSES), dtype=np.float32)
    return x, ((x.reshape(rows, -1) - 0.5) @ teacher).argmax(axis=1)
