"""Oracles of `take_images` and `mix_rows`: padding, slices and flips of NumPy, and Philox in Python integers."""

from __future__ import annotations

import numpy as np

from .arrays import f64
from .random import words_of
from .rounding import absolute, eps, tiny


def _pair(value):
    return (value, value) if np.ndim(value) == 0 else tuple(value)


def _below(word, n):
    return (word * n) >> 32


def draws(shape, position, *, crop=None, shift=0, cutout=0, mixup=0.0, seed, stream=0, **flips):
    """What is drawn for the image at a position: the window's place in the padding, flips, cutout centre, weight."""
    (h, w), (oh, ow), (dy, dx) = shape, crop or shape, _pair(shift)
    window, centre, mixing = (words_of(4 * position + k, seed, stream) for k in range(3))
    return {
        "place": (_below(window[0], h + 2 * dy - oh + 1), _below(window[1], w + 2 * dx - ow + 1)),
        "flip": flips.get("flip", False) and window[2] >= 2**31,
        "flip_vertical": flips.get("flip_vertical", False) and window[3] >= 2**31,
        "centre": (_below(centre[0], oh), _below(centre[1], ow)) if cutout else None,
        "weight": _symmetric_beta(mixup, mixing) if mixup else 1.0,
    }


def _symmetric_beta(alpha, words):
    """Devroye's line for Beta(alpha, alpha), in long double, to a multiple of 2**-24."""
    wide = np.longdouble
    low, high = ((a | b << 32) for a, b in (words[:2], words[2:]))
    u, v = ((wide(bits >> 12) + wide(0.5)) * wide(2) ** -52 for bits in (low, high))
    with np.errstate(over="ignore"):
        t = np.sqrt(u ** (-1 / wide(alpha)) - 1) * np.cos(v * wide(np.pi) / 2)
        weight = 0.5 + t / (2 * np.sqrt(1 + t * t)) if np.isfinite(t * t) else wide(1)
    weight = 1 - weight if high & 1 else weight
    return float(np.floor(weight * 2**24 + wide(0.5)) / 2**24)


def _augmented(image, position, fill, options):
    """One image in float64, before it is mixed, and its weight."""
    h, w, _ = image.shape
    oh, ow = _pair(options.get("crop") or (h, w))
    dy, dx = _pair(options.get("shift", 0))
    if options.get("seed") is None:
        top, left = (h - oh) // 2, (w - ow) // 2
        return image[top : top + oh, left : left + ow], 1.0
    drawn = draws((h, w), position, **{**options, "crop": (oh, ow)})
    padded = np.pad(image, ((dy, dy), (dx, dx), (0, 0)), constant_values=fill)
    top, left = drawn["place"]
    out = padded[top : top + oh, left : left + ow]
    out = out[:: -1 if drawn["flip_vertical"] else 1, :: -1 if drawn["flip"] else 1].copy()
    if drawn["centre"]:
        size = options["cutout"]
        top, left = (c - size // 2 for c in drawn["centre"])
        out[max(top, 0) : max(top + size, 0), max(left, 0) : max(left + size, 0)] = fill
    return out, drawn["weight"]


def take_images(images, rows, *, start=0, scale=None, offset=0.0, fill=0.0, batch=None, **options):
    """The mini-batch in float64, and the mixing weights."""
    scale = (1.0 / 255.0 if images.dtype == np.uint8 else 1.0) if scale is None else scale
    values = f64(images[..., None] if images.ndim == 3 else images) * f64(scale) + f64(offset)
    start, stream = int(start or 0), int(options.pop("stream", 0)) % 2**64
    rows = rows[start:] if batch is None else rows[start : start + batch]
    made = [
        _augmented(values[row], start + i, fill, {**options, "stream": stream}) for i, row in enumerate(rows)
    ]
    out, weights = np.stack([image for image, _ in made]), np.array([weight for _, weight in made])
    if options.get("mixup"):
        out = mix_rows(out.reshape(len(out), -1), weights).reshape(out.shape)
    return (out[..., 0] if images.ndim == 3 else out), weights


def take_images_tolerance(dtype, images, rows, *, scale=None, offset=0.0, fill=0.0, **options):
    """The factor, its product and the sum are rounded, then two products and the sum of a mixture: 3 eps in all."""
    scale = (1.0 / 255.0 if images.dtype == np.uint8 else 1.0) if scale is None else scale
    numbers = {"scale": absolute(scale), "offset": absolute(offset), "fill": abs(fill)}
    kept = images if images.dtype == np.uint8 else np.abs(images)
    return 3.0 * eps(dtype) * take_images(kept, rows, **numbers, **options)[0] + tiny(dtype)


def mix_rows(x, weights):
    """w x_i + (1 - w) x_(i+1)."""
    x, w = f64(x), f64(weights).reshape(-1, *[1] * (np.ndim(x) - 1))
    return w * x + (1.0 - w) * np.roll(x, -1, axis=0)


def mix_rows_tolerance(dtype, x, weights):
    """1 - w, two products and a sum: 2 eps of the terms."""
    return 2.0 * eps(dtype) * mix_rows(absolute(x), weights) + tiny(dtype)


def _images(m, images):
    h, w, c = (7 if m.n < 100 else 12), m.k // 3, 3
    batch = max(2, m.n // 20)
    outputs = {"out": m.empty(batch, h - 1, w, c), "mix_weights": m.empty(batch)}
    options = {
        "scale": (0.5, 2.0, 1.25),
        "offset": (0.0, -1.0, 0.25),
        "crop": (h - 1, w),
        "shift": (1, 2),
        "flip": True,
        "flip_vertical": True,
        "cutout": 3,
        "fill": 0.25,
        "mixup": 0.5,
        "seed": 5,
        "stream": np.array(3),
    }
    args = (images(batch + 4, h, w, c), m.rng.permutation(batch + 4))
    return m.case("take_images", args, outputs, start=np.array(2), **options)


def _of_numbers(m):
    return _images(m, m.normal)


def _of_bytes(m):
    return _images(m, lambda *shape: m.rng.integers(0, 256, shape, np.uint8))


def _mix_rows(m):
    return m.case("mix_rows", (m.normal(m.n, m.c), m.positive(m.n)), {"out": m.empty(m.n, m.c)})


CASES = {
    "take_images/float": _of_numbers,
    "take_images/uint8": _of_bytes,
    "mix_rows": _mix_rows,
}
