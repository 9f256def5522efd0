"""Small networks with convolutions and normalisations, and their outputs as loops, for complex numbers too."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import scipy.special

from steepest import nn

MEAN, VARIANCE = 0.2, 1.5  # the running statistics of all channels of a batch norm
STEP = 1e-30  # of a complex step, whose error is the rounding error of the function alone


@dataclass(frozen=True)
class Window:
    """A convolution as loops: the zeros around each axis, and what `nn.Conv2d` has."""

    sides: tuple = ((0, 0), (0, 0))
    stride: tuple = (1, 1)
    dilation: tuple = (1, 1)
    groups: int = 1
    image: tuple | None = None  # size of a transposed convolution's output

    def counts(self, padded, taps):
        """Return the rows and columns of outputs."""
        both = zip(padded, taps, self.stride, self.dilation, strict=True)
        return [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in both]

    def places(self, counts, taps):
        """Return the place of each output, and the slices of an image that its window covers."""
        for place in np.ndindex(*counts):
            starts = [t * s for t, s in zip(place, self.stride, strict=True)]
            yield (
                place,
                tuple(
                    slice(a, a + d * (k - 1) + 1, d)
                    for a, k, d in zip(starts, taps, self.dilation, strict=True)
                ),
            )

    def padded(self, x):
        return np.pad(x, [(0, 0), *self.sides, (0, 0)])

    def windows(self, x, taps, counts=None):
        """Return what each window sees, of shape (groups, n, places, items)."""
        x = self.padded(x)
        size, counts = x.shape[-1] // self.groups, counts or self.counts(x.shape[1:3], taps)
        seen = [x[:, rows, columns] for _, (rows, columns) in self.places(counts, taps)]
        return np.stack(
            [
                np.stack([w[..., g * size : (g + 1) * size].reshape(len(x), -1) for w in seen], axis=1)
                for g in range(self.groups)
            ]
        )

    def convolved(self, x, w, b):
        """Return a convolution as products of its windows, of shape (n, rows, columns, channels)."""
        taps, columns = w.shape[:2], w.shape[-1] // self.groups
        seen = self.windows(x, taps)
        parts = [
            seen[g] @ w[..., g * columns : (g + 1) * columns].reshape(-1, columns) for g in range(self.groups)
        ]
        out = np.concatenate(parts, axis=-1)
        counts = self.counts(self.padded(x).shape[1:3], taps)
        return (out if b is None else out + b).reshape(len(x), *counts, -1)

    def transposed(self, x, w, b):
        """Return a transposed convolution: every pixel of x adds its multiples of the weights to a window."""
        (top, bottom), (left, right) = self.sides
        height, width = self.image
        size, columns = w.shape[2], w.shape[-1] // self.groups
        out = np.zeros(
            (len(x), top + height + bottom, left + width + right, size * self.groups), np.result_type(x, w)
        )
        for (i, j), (rows, across) in self.places(x.shape[1:3], w.shape[:2]):
            for g in range(self.groups):
                own = slice(g * columns, (g + 1) * columns)
                added = np.einsum("nk,ijck->nijc", x[:, i, j, own], w[..., own])
                out[:, rows, across, g * size : (g + 1) * size] += added
        out = out[:, top : top + height, left : left + width]
        return out if b is None else out + b


@dataclass(frozen=True)
class Case:
    """A layer on images or sequences; behind it come tanh, perhaps a normalisation, and a linear map to three."""

    shape: tuple
    layer: nn.layers.Layer
    window: Window = field(default_factory=Window)
    norm: tuple = ()

    @property
    def is_transposed(self):
        return isinstance(self.layer, nn.ConvTranspose2d)

    def network(self, dtype=np.float64):
        layers = [self.layer, nn.Tanh(), *self.norm[:1], nn.Flatten()]
        size = (
            nn.Network([nn.Input(self.shape), *layers]).predict(np.zeros((1, *self.shape), np.float32)).size
        )
        net = nn.Network([nn.Input(self.shape), *layers, nn.Linear(size, 3)], seed=1, dtype=dtype)
        rng = np.random.default_rng(5)
        for p in net.parameters():
            p.value[...] = 0.5 * rng.standard_normal(p.value.shape)
        for name, state in net._arena.states.items():  # statistics of a batch norm
            state[...] = VARIANCE if name.endswith("var") else MEAN
        return net

    def inputs(self, n=6, dtype=np.float64):
        return np.random.default_rng(3).standard_normal((n, *self.shape)).astype(dtype)

    def as_images(self, x, w):
        return (x, w) if x.ndim == 4 else (x[:, None], w[None])

    def preactivations(self, values, x):
        x, w = self.as_images(x, values["0.weight"])
        apply = self.window.transposed if self.is_transposed else self.window.convolved
        return apply(x, w, values.get("0.bias"))

    def head(self, values, z):
        """Return the outputs from those of the layer before tanh."""
        h = np.tanh(z)
        if self.norm:
            _, normalised = self.norm
            h = normalised(h)
            for role, join in (("weight", np.multiply), ("bias", np.add)):
                if f"2.{role}" in values:
                    h = join(h, values[f"2.{role}"])
        last = max(values, key=lambda name: int(name.split(".")[0])).split(".")[0]
        return h.reshape(len(z), -1) @ values[f"{last}.weight"] + values[f"{last}.bias"]

    def jacobian(self, net, x):
        """Return the derivatives of the outputs by all parameters, of shape (n, 3, P), and the outputs."""
        values = {p.name: p.value.astype(complex) for p in net.parameters()}
        found = []
        for p in net.parameters():
            array = values[p.name]
            for at in np.ndindex(array.shape):
                array[at] += 1j * STEP
                found.append(self.head(values, self.preactivations(values, x)).imag / STEP)
                array[at] -= 1j * STEP
        return np.stack(found, axis=-1), self.head(values, self.preactivations(values, x)).real

    def factors(self, net, x, shares, reduce=False):
        """Return KFC's factors of each group, by the definition: lists of the moments of inputs and of gradients."""
        values = {p.name: p.value for p in net.parameters()}
        z = self.preactivations(values, x).astype(complex)
        J = np.empty((*z.shape, 3))
        for at in np.ndindex(z.shape[1:]):
            z[(slice(None), *at)] += 1j * STEP
            J[(slice(None), *at)] = self.head(values, z).imag / STEP
            z[(slice(None), *at)] -= 1j * STEP
        roots = output_roots(self.head(values, z).real)  # H = roots roots^T
        grads = np.einsum("nyxmc,ncr->nryxm", J, roots)
        images, w = self.as_images(x, values["0.weight"])
        n, taps = len(x), w.shape[:2]
        if self.is_transposed:
            # The inputs are pixels, and the gradients windows.
            counts = images.shape[1:3]
            grads = np.stack([self.window.windows(d, taps, counts) for d in grads.swapaxes(0, 1)], axis=2)
            groups = images.reshape(n, -1, self.window.groups, images.shape[-1] // self.window.groups)
            inputs = np.moveaxis(groups, 2, 0)
        else:
            inputs = self.window.windows(images, taps)
            if "0.bias" in values:
                inputs = np.concatenate([inputs, np.ones((*inputs.shape[:-1], 1))], axis=-1)
            groups = grads.reshape(n, 3, -1, self.window.groups, z.shape[-1] // self.window.groups)
            grads = np.moveaxis(groups, 3, 0)
        of_inputs, of_grads = [], []
        for a, d in zip(inputs, grads, strict=True):
            A, G = 0.0, 0.0
            for i in range(n):
                rows = [a[i].mean(axis=0)] if reduce else a[i]
                A = A + shares[i] * sum(np.outer(row, row) for row in rows) / len(rows)
                for s in range(3):
                    columns = [d[i, s].sum(axis=0)] if reduce else d[i, s]
                    G = G + shares[i] * sum(np.outer(column, column) for column in columns)
            of_inputs.append(A)
            of_grads.append(G)
        return (of_grads, of_inputs) if self.is_transposed else (of_inputs, of_grads)


def output_roots(z):
    """Return square roots of the Fisher matrices of a softmax's logits, diag(p) - p p^T, of shape (n, 3, 3)."""
    p = scipy.special.softmax(z, axis=1)
    values, vectors = np.linalg.eigh(np.einsum("nc,cd->ncd", p, np.eye(3)) - np.einsum("nc,nd->ncd", p, p))
    return vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]


def standardised(axes, centred=True, groups=1):
    """Return a function that normalises images by the statistics over axes of (n, rows, columns, group, channel)."""

    def apply(h):
        parts = h.reshape(*h.shape[:-1], groups, h.shape[-1] // groups)
        if centred:
            parts = parts - parts.mean(axis=axes, keepdims=True)
        parts = parts / np.sqrt((parts**2).mean(axis=axes, keepdims=True) + 1e-5)
        return parts.reshape(h.shape)

    return apply


def by_running_statistics(h):
    return (h - MEAN) / np.sqrt(VARIANCE + 1e-5)


CASES = {
    "images": Case((5, 4, 2), nn.Conv2d(2, 3, 3, padding=1), Window(((1, 1), (1, 1)))),
    "grouped": Case(
        (5, 4, 4),
        nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=((1, 0), (0, 1)), groups=2),
        Window(((1, 0), (0, 1)), (2, 1), groups=2),
    ),
    "depthwise": Case((4, 4, 3), nn.Conv2d(3, 3, 2, groups=3, bias=False), Window(groups=3)),
    "dilated": Case(
        (6, 5, 2),
        nn.Conv2d(2, 2, (2, 3), dilation=(3, 2), padding=((0, 0), (1, 2)), bias=False),
        Window(((0, 0), (1, 2)), dilation=(3, 2)),
        (nn.LayerNorm(2), standardised((-1,))),
    ),
    "sequences": Case(
        (9, 2),
        nn.Conv1d(2, 3, 3, stride=2, padding="same"),
        Window(((0, 0), (1, 1)), (1, 2)),
        (nn.RMSNorm(3), standardised((-1,), centred=False)),
    ),
    "one row": Case(
        (1, 6, 4),
        nn.Conv2d(4, 4, (1, 2)),
        Window(),
        (nn.GroupNorm(4, num_groups=2), standardised((1, 2, -1), groups=2)),
    ),
    "transposed": Case(
        (3, 2, 4),
        nn.ConvTranspose2d(4, 2, (3, 2), stride=2, output_padding=1, groups=2),
        Window(((0, 0), (0, 0)), (2, 2), groups=2, image=(8, 5)),
    ),
    "transposed, cropped": Case(
        (3, 2, 2),
        nn.ConvTranspose2d(2, 3, 3, padding=1, bias=False),
        Window(((1, 1), (1, 1)), image=(3, 2)),
        (nn.BatchNorm(3), by_running_statistics),
    ),
}
