"""Oracles of convolutions: sums over the taps of a window, each a product of the image's pixels with a matrix."""

from __future__ import annotations

import numpy as np

from .activations import _value, activation_backward
from .arrays import f64
from .rounding import absolute, dot, elementary, eps


def _pair(given):
    return (given, given) if np.ndim(given) == 0 else tuple(given)


def _sides(padding, sizes, taps, strides, dilations):
    """The zeros before and after the rows, and the columns, of an image of some sizes."""
    if padding == "valid":
        return [(0, 0), (0, 0)]
    if padding == "same":
        sides = []
        for n, k, s, d in zip(sizes, taps, strides, dilations, strict=True):
            lacking = max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n)
            sides.append((lacking // 2, lacking - lacking // 2))
        return sides
    return [_pair(side) for side in _pair(padding)] if np.ndim(padding) < 2 else [tuple(s) for s in padding]


def _grouped(a, groups):
    """Channels as (group, channel of the group)."""
    return a.reshape(*a.shape[:-1], groups, a.shape[-1] // groups)


def _weights_of(weight, groups):
    """(rows, columns, group, channel in, channel out)"""
    return np.moveaxis(_grouped(f64(weight), groups), 3, 2)


class _Windows:
    """The pixels of an image that each tap of a window reads, for outputs of some height and width."""

    def __init__(self, weight, height, width, stride, dilation):
        self.taps = np.shape(weight)[:2]
        self.size, self.stride, self.dilation = (height, width), _pair(stride), _pair(dilation)

    def __iter__(self):
        """Yield (tap, slices of a padded image)."""
        for tap in np.ndindex(*self.taps):
            firsts = [t * d for t, d in zip(tap, self.dilation, strict=True)]
            yield (
                tap,
                tuple(
                    slice(first, first + (n - 1) * s + 1, s)
                    for first, n, s in zip(firsts, self.size, self.stride, strict=True)
                ),
            )


def _padded(x, sides):
    return np.pad(f64(x), [(0, 0), *sides, (0, 0)])


def _outputs(padded, weight, stride, dilation):
    return [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(
            padded.shape[1:3], np.shape(weight)[:2], _pair(stride), _pair(dilation), strict=True
        )
    ]


def conv2d(x, weight, bias=None, activation="identity", *, stride=1, padding=0, dilation=1, groups=1):
    """f(x * weight + bias)."""
    sides = _sides(padding, np.shape(x)[1:3], np.shape(weight)[:2], _pair(stride), _pair(dilation))
    padded, w = _padded(x, sides), _weights_of(weight, groups)
    height, width = _outputs(padded, weight, stride, dilation)
    out = np.zeros((len(padded), height, width, np.shape(weight)[3]))
    with np.errstate(all="ignore"):
        for (i, j), (rows, columns) in _Windows(weight, height, width, stride, dilation):
            pixels = _grouped(padded[:, rows, columns], groups)
            out += np.einsum("nyxgc,gck->nyxgk", pixels, w[i, j]).reshape(out.shape)
        return _value(out if bias is None else out + f64(bias), activation)


def conv2d_transpose(
    x,
    weight,
    bias=None,
    activation="identity",
    *,
    stride=1,
    padding=0,
    output_padding=0,
    dilation=1,
    groups=1,
):
    """f(sum of the multiples of the weights that the pixels of x add to the result + bias)."""
    strides, dilations, more = _pair(stride), _pair(dilation), _pair(output_padding)
    taps, (n, height, width) = np.shape(weight)[:2], np.shape(x)[:3]
    full = [
        (a - 1) * s + d * (k - 1) + 1
        for a, k, s, d in zip((height, width), taps, strides, dilations, strict=True)
    ]
    if padding == "same":
        image = [height * strides[0], width * strides[1]]
        sides = _sides(padding, image, taps, strides, dilations)
    else:
        sides = _sides(padding, (), taps, strides, dilations)
        image = [a - sum(side) + e for a, side, e in zip(full, sides, more, strict=True)]
    room = [max(a, side[0] + size) for a, side, size in zip(full, sides, image, strict=True)]
    out = np.zeros((n, *room, np.shape(weight)[2] * groups))
    pixels, w = _grouped(f64(x), groups), _weights_of(weight, groups)
    with np.errstate(all="ignore"):
        for (i, j), (rows, columns) in _Windows(weight, height, width, stride, dilation):
            added = np.einsum("nyxgk,gck->nyxgc", pixels, w[i, j])
            out[:, rows, columns] += added.reshape(n, height, width, -1)
        (top, _), (left, _) = sides
        out = out[:, top : top + image[0], left : left + image[1]]
        return _value(out if bias is None else out + f64(bias), activation)


def conv2d_backward(
    d_out, x, weight, *, activation="identity", l2=0.0, stride=1, padding=0, dilation=1, groups=1
):
    """(d_x, d_weight, d_bias); `activation` is the function that produced x."""
    sides = _sides(padding, np.shape(x)[1:3], np.shape(weight)[:2], _pair(stride), _pair(dilation))
    padded, w = _padded(x, sides), _weights_of(weight, groups)
    _, height, width, _ = np.shape(d_out)
    d_w, d_padded = l2 * f64(weight), np.zeros(padded.shape)
    gradients = _grouped(f64(d_out), groups)
    with np.errstate(all="ignore"):
        for (i, j), (rows, columns) in _Windows(weight, height, width, stride, dilation):
            pixels = _grouped(padded[:, rows, columns], groups)
            d_w[i, j] += np.einsum("nyxgc,nyxgk->cgk", pixels, gradients).reshape(d_w.shape[2:])
            added = np.einsum("nyxgk,gck->nyxgc", gradients, w[i, j])
            d_padded[:, rows, columns] += added.reshape(*added.shape[:3], -1)
    (top, _), (left, _) = sides
    d_x = d_padded[:, top : top + np.shape(x)[1], left : left + np.shape(x)[2]]
    return activation_backward(d_x, x, activation), d_w, f64(d_out).sum(axis=(0, 1, 2))


def _finite(a):
    return np.nan_to_num(absolute(a), posinf=0.0)


def conv2d_tolerance(dtype, x, weight, bias, y, lipschitz, **options):
    """Dot products of all taps and channels of a group, and the bias; times the Lipschitz constant of f; f's error."""
    terms = int(np.prod(np.shape(weight)[:3]))
    sums = dot(dtype, terms, conv2d(_finite(x), _finite(weight), **options))
    return lipschitz * (sums + (0.0 if bias is None else eps(dtype) * absolute(bias))) + elementary(dtype, y)


def conv2d_transpose_tolerance(dtype, x, weight, bias, y, lipschitz, **options):
    """As `conv2d`, with at most all taps and the channels of a group of x in each sum."""
    terms = int(np.prod(np.shape(weight)[:2])) * np.shape(x)[3] // options.get("groups", 1)
    sums = dot(dtype, terms, conv2d_transpose(_finite(x), _finite(weight), **options))
    return lipschitz * (sums + (0.0 if bias is None else eps(dtype) * absolute(bias))) + elementary(dtype, y)


def conv2d_backward_tolerance(dtype, d_out, x, weight, derivative, l2=0.0, **options):
    """Dot products; d_x is scaled by f' (2 rounding errors), and l2 weight is added to d_weight (2)."""
    sizes = conv2d_backward(_finite(d_out), _finite(x), _finite(weight), **options)
    terms = int(np.prod(np.shape(weight)[:2])) * np.shape(weight)[3] // options.get("groups", 1)
    places = int(np.prod(np.shape(d_out)[:3]))
    d_x = dot(dtype, terms, sizes[0]) * np.abs(derivative) + 4.0 * eps(dtype) * sizes[0]
    d_w = dot(dtype, places, sizes[1]) + 2.0 * eps(dtype) * abs(l2) * absolute(weight)
    return d_x, d_w, dot(dtype, places, sizes[2])


def _images(m, channels):
    """Images whose rows are divided over threads and blocks, or a few pixels."""
    return (4, 21, 23, channels) if m.n > 100 else (2, 5, 6, channels)


def _conv2d(m):
    n, height, width, _ = _images(m, 1)
    args = (m.normal(n, height, width, 6), m.normal(3, 3, 6, m.c), m.normal(m.c))
    return m.case("conv2d", args, {"out": m.empty(n, height, width, m.c)}, activation="tanh", padding="same")


def _conv2d_depthwise(m):
    n, height, width, _ = _images(m, 1)
    args = (m.normal(n, height, width, m.k), m.normal(3, 3, 1, m.k), m.normal(m.k))
    return m.case("conv2d", args, {"out": m.empty(n, height, width, m.k)}, padding=1, groups=m.k)


def _conv2d_transpose(m):
    n, height, width, _ = _images(m, 1)
    args = (m.normal(n, height, width, 6), m.normal(4, 4, m.c, 6), m.normal(m.c))
    out = {"out": m.empty(n, 2 * height, 2 * width, m.c)}
    return m.case("conv2d_transpose", args, out, activation="tanh", stride=2, padding=1)


def _conv2d_backward(m):
    n, height, width, _ = _images(m, 1)
    args = (m.normal(n, height, width, m.c), m.normal(n, height, width, 6), m.normal(3, 3, 6, m.c))
    outputs = {"d_x": m.empty(n, height, width, 6), "d_weight": m.empty(3, 3, 6, m.c), "d_bias": m.empty(m.c)}
    return m.case("conv2d_backward", args, outputs, activation="tanh", l2=0.1, padding=1)


def _conv2d_backward_accumulating(m):
    case = _conv2d_backward(m)
    case.kwargs["accumulate"] = True
    return case


CASES = {
    "conv2d": _conv2d,
    "conv2d/depthwise": _conv2d_depthwise,
    "conv2d_transpose": _conv2d_transpose,
    "conv2d_backward": _conv2d_backward,
    "conv2d_backward/accumulate": _conv2d_backward_accumulating,
}
