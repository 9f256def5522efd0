"""Images and windows for the tests of pooling."""

from __future__ import annotations

import numpy as np
from backends import LAYOUTS

# The transposed slice is one of a matrix.
IMAGE_LAYOUTS = tuple(layout for layout in LAYOUTS if layout != "transposed_slice")

# (shape, size, stride, padding). Widths and channels lie around those of vectors, in runs and in groups of windows.
WINDOWS = [
    *(((2, 4, 6, c), 2, None, 0) for c in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 33, 70)),
    *(((2, 5, w, 1), 2, None, 0) for w in (2, 3, 15, 16, 17, 31, 32, 33, 34, 63, 64, 65, 131)),
    *(((1, 5, w, 3), 2, None, 0) for w in (11, 12, 13, 21, 22, 23)),
    *(((2, 7, 8, c), 3, 2, 1) for c in (1, 3, 16, 18)),
    *(((2, 6, 9, c), 3, 1, 1) for c in (1, 3, 16)),
    *(((2, 7, 9, c), 3, None, 0) for c in (1, 4, 17)),
    *(((2, 5, 20, c), 2, 1, 0) for c in (1, 5)),
    *(((1, 7, 40, c), (2, 5), (3, 5), 0) for c in (1, 2, 3)),
    *(((1, 7, 11, c), 2, 3, 1) for c in (1, 4, 16)),
    ((2, 5, 7, 5), (2, 3), (1, 2), (1, 0)),
    ((2, 5, 7, 5), (3, 2), (2, 1), (0, 1)),
    ((2, 5, 7, 3), (1, 3), (1, 1), (0, 2)),
    ((1, 1, 37, 1), (1, 4), (1, 3), (0, 2)),
    ((2, 3, 4, 5), 1, None, 0),
    ((2, 5, 7, 5), 1, 2, 0),
    ((2, 5, 7, 17), (5, 7), None, 0),
    ((1, 16, 16, 9), 16, None, 0),
    ((2, 2, 3, 5), 4, 1, 3),
    ((1, 3, 90, 1), (2, 3), (2, 40), (1, 0)),
    ((0, 4, 6, 3), 2, None, 0),
    ((2, 4, 6, 0), 2, None, 0),
]


def layouts_of(shape):
    return IMAGE_LAYOUTS if 0 not in shape else ("c",)


def channels_first(x):
    """A copy of x whose items lie in memory as (n, c, h, w)."""
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)


def into(function, like):
    """A function of the same arguments whose output d_x may be left out; `like` gives its shape."""

    def call(*args, d_x=None, **options):
        return function(*args, d_x=np.full(like.shape, 77, like.dtype) if d_x is None else d_x, **options)

    call.__name__ = function.__name__
    return call
