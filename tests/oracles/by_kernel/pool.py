"""Pooling, written from its definition: a loop over the windows, all images and channels at once."""

from __future__ import annotations

import numpy as np

from .arrays import f64
from .rounding import absolute, dot


def _pair(value):
    return (value, value) if np.ndim(value) == 0 else tuple(value)


class Pooling:
    """The windows over images of one shape (n, h, w, c)."""

    def __init__(self, shape, size, stride=None, padding=0):
        self.shape, self.size, self.padding = shape, _pair(size), _pair(padding)
        self.stride = self.size if stride is None else _pair(stride)
        n, h, w, c = shape
        self.counts = [
            (extent + 2 * p - s) // step + 1
            for extent, s, step, p in zip((h, w), self.size, self.stride, self.padding, strict=True)
        ]
        self.pooled_shape = (n, *self.counts, c)

    def windows(self):
        """Yield each window, and its items as (position, row, column), without those in the padding."""
        _, h, w, _ = self.shape
        for i, k in np.ndindex(*self.counts):
            top, left = i * self.stride[0] - self.padding[0], k * self.stride[1] - self.padding[1]
            places = [(u * self.size[1] + v, top + u, left + v) for u, v in np.ndindex(*self.size)]
            yield (i, k), [(p, r, q) for p, r, q in places if 0 <= r < h and 0 <= q < w]

    def most_windows(self):
        """The largest number of windows that contain an item."""
        rows, columns = (-(-s // step) for s, step in zip(self.size, self.stride, strict=True))
        return rows * columns


def max_pool2d(x, size, stride=None, padding=0):
    """The maxima, and their positions: the first of several, or the first NaN."""
    pooling = Pooling(x.shape, size, stride, padding)
    y, index = np.empty(pooling.pooled_shape), np.empty(pooling.pooled_shape, np.uint8)
    for (i, k), items in pooling.windows():
        values = np.stack([f64(x[:, r, q]) for _, r, q in items])
        first = np.argmax(values, axis=0)  # of NumPy, for which NaN is the largest, too
        y[:, i, k] = np.take_along_axis(values, first[None], axis=0)[0]
        index[:, i, k] = np.array([p for p, _, _ in items])[first]
    return y, index


def max_pool2d_backward(d_y, index, size, stride=None, padding=0, *, d_x):
    """d_y of each window, added to the item at its position; d_x gives the shape."""
    result = np.zeros(d_x.shape)
    for (i, k), items in Pooling(d_x.shape, size, stride, padding).windows():
        for p, r, q in items:
            result[:, r, q] += np.where(index[:, i, k] == p, f64(d_y[:, i, k]), 0.0)
    return result


def max_pool2d_backward_tolerance(dtype, d_y, index, size, stride=None, padding=0, *, d_x):
    """A sum of as many terms as windows contain an item."""
    terms = Pooling(d_x.shape, size, stride, padding).most_windows()
    return dot(dtype, terms, max_pool2d_backward(absolute(d_y), index, size, stride, padding, d_x=d_x))


def max_pool2d_gather(dx, index, size, stride=None, padding=0):
    """dx at the position of each window."""
    pooling = Pooling(dx.shape, size, stride, padding)
    result = np.zeros(pooling.pooled_shape)
    for (i, k), items in pooling.windows():
        for p, r, q in items:
            result[:, i, k] = np.where(index[:, i, k] == p, f64(dx[:, r, q]), result[:, i, k])
    return result


def avg_pool2d(x, size, stride=None, padding=0, *, count_padding=False):
    """The sum over each window, divided by the number of its items or of its places."""
    pooling = Pooling(x.shape, size, stride, padding)
    result = np.empty(pooling.pooled_shape)
    for (i, k), items in pooling.windows():
        count = np.prod(pooling.size) if count_padding else len(items)
        with np.errstate(invalid="ignore"):
            result[:, i, k] = sum(f64(x[:, r, q]) for _, r, q in items) / count
    return result


def avg_pool2d_tolerance(dtype, x, size, stride=None, padding=0, *, count_padding=False):
    """A sum of as many terms as a window has, divided: `dot` has room for the division."""
    magnitude = avg_pool2d(absolute(x), size, stride, padding, count_padding=count_padding)
    return dot(dtype, np.prod(_pair(size)), np.nan_to_num(magnitude, posinf=0.0))


def avg_pool2d_backward(d_y, size, stride=None, padding=0, *, d_x, count_padding=False):
    """d_y of each window divided by its count, added to all its items; d_x gives the shape."""
    pooling = Pooling(d_x.shape, size, stride, padding)
    result = np.zeros(d_x.shape)
    for (i, k), items in pooling.windows():
        count = np.prod(pooling.size) if count_padding else len(items)
        for _, r, q in items:
            result[:, r, q] += f64(d_y[:, i, k]) / count
    return result


def avg_pool2d_backward_tolerance(dtype, d_y, size, stride=None, padding=0, *, d_x, count_padding=False):
    """A sum of as many terms as windows contain an item, each divided, perhaps by a rounded reciprocal: 2 eps more."""
    terms = Pooling(d_x.shape, size, stride, padding).most_windows()
    magnitude = avg_pool2d_backward(
        absolute(d_y), size, stride, padding, d_x=d_x, count_padding=count_padding
    )
    return 2.0 * dot(dtype, terms, magnitude)


def _images(m):
    """A batch of images that grows with the maker's size: (5, 4, 4, 17), or (67, 19, 19, 17)."""
    return (m.c, 4 + m.n // 100, 4 + m.k // 20, 17)


def _forward(name, *geometry, **options):
    def make(m):
        pooling = Pooling(_images(m), *geometry)
        outputs = {"out": m.empty(*pooling.pooled_shape)}
        if name == "max_pool2d":
            outputs["index"] = np.full(pooling.pooled_shape, 77, np.uint8)
        return m.case(name, (m.normal(*pooling.shape), *geometry), outputs, **options)

    return make


def _with_positions(name, *geometry):
    """Random positions, of which some lie in the padding."""

    def make(m):
        pooling = Pooling(_images(m), *geometry)
        index = m.rng.integers(0, np.prod(pooling.size), pooling.pooled_shape, np.uint8)
        backward = name == "max_pool2d_backward"
        shapes = (pooling.pooled_shape, pooling.shape)[:: 1 if backward else -1]
        outputs = {"d_x" if backward else "out": m.empty(*shapes[1])}
        return m.case(name, (m.normal(*shapes[0]), index, *geometry), outputs)

    return make


def _avg_backward(*geometry, **options):
    def make(m):
        pooling = Pooling(_images(m), *geometry)
        d_y = m.normal(*pooling.pooled_shape)
        return m.case("avg_pool2d_backward", (d_y, *geometry), {"d_x": m.empty(*pooling.shape)}, **options)

    return make


CASES = {
    "max_pool2d/apart": _forward("max_pool2d", 2),
    "max_pool2d/overlapping": _forward("max_pool2d", 3, 2, 1),
    "max_pool2d_backward/apart": _with_positions("max_pool2d_backward", 2),
    "max_pool2d_backward/overlapping": _with_positions("max_pool2d_backward", 3, 2, 1),
    "max_pool2d_gather/overlapping": _with_positions("max_pool2d_gather", 3, 2, 1),
    "avg_pool2d/apart": _forward("avg_pool2d", 2),
    "avg_pool2d/overlapping": _forward("avg_pool2d", 3, 1, 1, count_padding=True),
    "avg_pool2d_backward/apart": _avg_backward(2),
    "avg_pool2d_backward/overlapping": _avg_backward(3, 1, 1),
}
