"""Arrays, kernel calls and checks against the oracle for every update rule of the registry."""

from __future__ import annotations

import inspect
import itertools

import numpy as np
import reference
import tolerances
from backends import assert_close, identical, lay_out

from steepest import kernels as K

SHAPES = [(784, 33), (33,), (7, 5), (1,), (0, 4), (4, 0), (0,), (129, 17)]
RULES = tuple(K.UPDATE_RULES)
# The oracle's name of a keyword -> the kernel's name.
KEYWORDS = {"decay": "weight_decay"}


def make(rng, rule, dtype, shapes=SHAPES, layout="c"):
    """Return (params, grads, *states), with |grads| well above l2 * |params|."""
    kinds = {"velocities": rng.standard_normal, "exp_avg": rng.standard_normal}
    arrays = [
        [rng.standard_normal(s) for s in shapes],
        [np.sign(rng.standard_normal(s)) * (0.5 + rng.random(s)) for s in shapes],
        *([kinds.get(name, rng.random)(s) for s in shapes] for name in K.UPDATE_RULES[rule][1]),
    ]
    return [[lay_out(a.astype(dtype), layout) for a in group] for group in arrays]


def call(rule, p, g, *states, lr=0.1, step=2, **options):
    """Call the kernel of an update rule with the oracle's names of its keywords."""
    function = getattr(K, K.UPDATE_RULES[rule][0])
    options = {KEYWORDS.get(k, k): v for k, v in options.items()}
    options = {**reference.UPDATE_RULES[rule].keywords, **options}
    count = (step,) if "step" in inspect.signature(function).parameters else ()
    return function(p, g, *states, *count, lr=lr, **options)


def check(rule, p, g, *states, lr=0.1, step=2, max_norm=None, penalised=None, **options):
    """Compare one call with the oracle, tensor by tensor."""
    names = ("params", *K.UPDATE_RULES[rule][1])
    common = {"lr": float(lr), "step": int(step), "clip": reference.clipping(g, max_norm)}
    count = sum(a.size for a in g)
    own = [
        {
            k: v
            for k, v in options.items()
            if penalised is None or penalised[i] or k not in ("l2", "decay", "l1")
        }
        for i in range(len(p))
    ]
    rows = list(zip(p, g, zip(*states, strict=True) if states else [()] * len(p), own, strict=True))
    expected = [reference.update(rule, a, b, s, **common, **o) for a, b, s, o in rows]
    tolerance = [tolerances.update(rule, a.dtype, a, b, s, count=count, **common, **o) for a, b, s, o in rows]
    before = [a.copy() for a in g]
    extra = {} if max_norm is None else {"max_norm": max_norm}
    extra |= {} if penalised is None else {"penalised": penalised}
    assert call(rule, p, g, *states, lr=lr, step=step, **extra, **options) is None
    for i in range(len(p)):
        for name, group, e, t in zip(names, (p, *states), expected[i], tolerance[i], strict=True):
            assert_close(group[i], e, t, f"{rule}: {name}[{i}]")
        assert identical(g[i], before[i])


def every_byte(groups):
    return [a.tobytes() for a in itertools.chain(*groups)]
