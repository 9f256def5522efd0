"""Tolerances of whole models."""

from __future__ import annotations

import numpy as np

from .rounding import eps


def discriminant_tolerance(dtype, d, offset, scale):
    """Discriminant functions of nearly uncorrelated features; the inverse covariance errs by a few eps a feature.

    Means lie `offset` standard deviations from zero and are rounded in float64, which limits the accuracy of their
    differences to offset · eps(float64).
    """
    return 100.0 * (np.sqrt(d) * eps(dtype) + offset * eps(np.float64)) * scale


def principal_axes_tolerance(dtype, n, d):
    """Error of variances and residuals of the principal axes, in units of the largest variance.
    Its parts are sums of n products, a backward stable decomposition, and the rounding of the axes.
    """
    return (10.0 * d + 4.0 * np.sqrt(n)) * eps(dtype)
