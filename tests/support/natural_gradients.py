"""Batches and networks for tests of the natural gradient."""

from __future__ import annotations

import numpy as np
from fisher_cases import flat

from steepest import nn

LOSS = nn.SoftmaxCrossEntropy()


def batches(count, n=20, dtype=np.float64):
    rng = np.random.default_rng(7)
    return [(rng.standard_normal((n, 3)).astype(dtype), rng.integers(0, 3, n)) for _ in range(count)]


def parameters_of(net):
    return flat([p.value for p in net.parameters()]).copy()
