"""Depthwise convolutions with the square windows that the CPU walks along rows with: edges, layouts and threads."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from backends import identical, on_each_number_of_threads
from test_convolution import IMAGE_LAYOUTS, check_backward, check_forward, gradient_for, make, normal

from steepest import kernels as K

# Windows that the CPU walks along rows with, and images of fewer and more rows and columns than it takes together.
WALKED = [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1)]
LAYOUTS = IMAGE_LAYOUTS[:-1]
WALKED_IMAGES = [(1, 1), (1, 4), (2, 3), (3, 2), (4, 1), (5, 5), (6, 9), (13, 7)]


@pytest.mark.parametrize(("size", "stride"), WALKED)
def test_depthwise_windows(rng, dtype, size, stride):
    """Padding on each side, none to wider than the window; whole vectors of channels, part of one, and both."""
    last = size - 1
    paddings = [size // 2, ((last, 0), (1, size + 1)), ((0, last), (last, 0)), last, ((1, 3), (size, size))]
    cases = [*zip(WALKED_IMAGES, [*paddings, *paddings], strict=False), ((size, size + 4), 0), ((15, 12), 0)]
    for i, ((rows, columns), padding) in enumerate(cases):
        channels, layouts = (3, 16, 37)[i % 3], ("c", LAYOUTS[i % len(LAYOUTS)])
        options = {"padding": padding, "stride": stride, "groups": channels}
        x, w, b = make(rng, dtype, (2, rows, columns, channels), (size, size), channels, channels)
        check_forward("conv2d", x, w, b, ("identity", "tanh")[i % 2], layouts, **options)
        x = reference.activation(x, "relu").astype(dtype)
        d_out = gradient_for(rng, x, w, **options)
        check_backward(d_out, x, w, ("relu", "identity")[i % 2], 0.1, layouts, **options)
        if stride == 1:
            check_forward("conv2d_transpose", d_out, w, b, ("tanh", "identity")[i % 2], layouts, **options)


@pytest.mark.parametrize(("size", "stride"), WALKED)
def test_depthwise_leaves_out_what_does_not_exist(rng, dtype, size, stride):
    """Infinite pixels at the edges reach the outputs and the sums of the taps that see them, and no other."""
    w = np.ones((size, size, 1, 2), dtype)
    options = {"stride": stride, "groups": 2}
    for column in (0, 1, -2, -1):
        x, seen = normal(rng, dtype, 1, size + 6, size + 3, 2), np.zeros((1, size + 6, size + 3, 2))
        x[0, 4, column, 1], seen[0, 4, column, 1] = np.inf, 1.0
        y = K.conv2d(x, w, padding=(0, 2), **options)
        np.testing.assert_array_equal(
            np.isinf(y), reference.conv2d(seen, np.ones(w.shape), padding=(0, 2), **options) > 0
        )
        assert not np.isnan(y).any()
        d_out = np.ones(y.shape, dtype)
        _, d_weight, _ = K.conv2d_backward(d_out, x, w, padding=(0, 2), **options)
        sums = reference.conv2d_backward(d_out, seen, w, padding=(0, 2), **options)[1]
        np.testing.assert_array_equal(np.isinf(d_weight), sums > 0)
        assert not np.isnan(d_weight).any()


@pytest.mark.cpu_only("a GPU has no teams")
@pytest.mark.parametrize("images", [1, 3, 20], ids=str)
def test_threads_change_nothing(rng, dtype, images):
    """Fewer chunks of images than threads, which share out channels, and as many chunks as there can be."""
    x, w, b = make(rng, dtype, (images, 11, 9, 70), (3, 3), 70, 70)
    options = {"padding": 1, "groups": 70}
    d_out = gradient_for(rng, x, w, **options)
    results = [
        [K.conv2d(x, w, b, "tanh", **options), *K.conv2d_backward(d_out, x, w, **options)]
        for _ in on_each_number_of_threads()
    ]
    for others in results[1:]:
        assert all(identical(a, b) for a, b in zip(results[0], others, strict=True))
