"""Tolerances of whole models."""

from __future__ import annotations

import numpy as np

from .rounding import eps


def discriminant_tolerance(dtype, d, offset, scale):
    """Discriminant functions of features of correlations near the identity, whose inverse errs by few eps a feature.

    Means are `offset` deviations from zero, and rounded in float64: the differences between them err by as much.
    """
    return 100.0 * (np.sqrt(d) * eps(dtype) + offset * eps(np.float64)) * scale


def principal_axes_tolerance(dtype, n, d):
    """Variances and residuals of axes, in units of the largest variance: sums of n products, and a backward stable
    decomposition; the axes themselves are rounded.
    """
    return (10.0 * d + 4.0 * np.sqrt(n)) * eps(dtype)
