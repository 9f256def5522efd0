"""In-place updates of lists of arrays by every update rule of the registry."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tolerances
from backends import LAYOUTS, SIZES, assert_close, identical
from updates import RULES, SHAPES, call, check, every_byte, make

from steepest import kernels as K

# Keywords are the oracle's. The values of `max_norm` lie far below and far above the norm of the gradients of `make`.
ADJUSTMENTS = {
    "l2": {"l2": 0.01},
    "decay": {"decay": 0.3},
    "l1": {"l1": 0.4},
    "clipped": {"max_norm": 3.0},
    "not clipped": {"max_norm": 1e6},
    "all": {"l2": 0.01, "decay": 0.3, "l1": 0.4, "max_norm": 50.0},
}
rules = pytest.mark.parametrize("rule", RULES)
rules_and_numbers = pytest.mark.parametrize(
    ("rule", "numbers"), [(r, n) for r in RULES for n in reference.UPDATE_RULES[r].numbers], ids=str
)


def test_every_rule_has_an_oracle():
    assert set(RULES) == set(reference.UPDATE_RULES)


@rules_and_numbers
def test_step(rng, dtype, rule, numbers):
    check(rule, *make(rng, rule, dtype), **numbers)


@pytest.mark.parametrize("adjustments", ADJUSTMENTS.values(), ids=list(ADJUSTMENTS))
@rules
def test_clipping_and_penalties(rng, dtype, rule, adjustments):
    check(rule, *make(rng, rule, dtype), **adjustments)


@rules
def test_penalties_on_some_tensors(rng, dtype, rule):
    penalised = [i % 2 == 0 for i in range(len(SHAPES))]
    for adjustments in (ADJUSTMENTS["all"], {"l2": 0.01, "decay": 0.3, "l1": 0.4}):
        check(rule, *make(rng, rule, dtype), penalised=penalised, **adjustments)


@rules
def test_tensors_that_are_spared_are_updated_as_without_penalties(rng, dtype, rule):
    first, second = (make(np.random.default_rng(3), rule, dtype) for _ in range(2))
    call(rule, *first)
    call(rule, *second, l1=0.3, l2=0.1, decay=0.2, penalised=[False] * len(SHAPES))
    assert every_byte(first) == every_byte(second)


@pytest.mark.parametrize("step", [1, 2, 10, 1000, 10**9])
def test_adam_counts_its_steps(rng, dtype, step):
    check("adam", *make(rng, "adam", dtype), step=step)


@rules
def test_many_steps_follow_the_oracle(rng, dtype, rule):
    options = {"lr": 0.01, "l2": 1e-3, "decay": 1e-2, "l1": 1e-2}
    shapes = [(40,), (3, 5)]
    p, _, *states = make(rng, rule, dtype, shapes)
    for group in states:
        for a in group:
            a[...] = 0
    rows = [[a.astype(np.float64) for a in tensors] for tensors in zip(p, *states, strict=True)]
    total = 0.0
    for step in range(1, 31):
        g = make(rng, rule, dtype, shapes)[1]
        clip = reference.clipping(g, 5.0)
        for i, row in enumerate(rows):
            # An earlier error reaches the parameters at most twice: directly and through the velocity.
            tolerance = tolerances.update(
                rule, dtype, row[0], g[i], row[1:], step=step, clip=clip, count=55, **options
            )
            total += max(np.max(t, initial=0.0) for t in tolerance[:1])
            rows[i] = list(reference.update(rule, row[0], g[i], row[1:], step=step, clip=clip, **options))
        call(rule, p, g, *states, step=step, max_norm=5.0, **options)
    for array, row in zip(p, rows, strict=True):
        assert_close(array, row[0], 2.0 * total, rule)


@rules
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(rng, dtype, rule, layout):
    check(rule, *make(rng, rule, dtype, [(9, 17), (33,), (70, 65)], layout))
    check(rule, *make(rng, rule, dtype, [(9, 17), (33,), (70, 65)], layout), **ADJUSTMENTS["all"])


@rules
def test_every_length(rng, dtype, rule):
    for n in SIZES:
        check(rule, *make(rng, rule, dtype, [(n,)], "at_end"))
        check(rule, *make(rng, rule, dtype, [(n,)], "at_end"), l1=0.1, max_norm=0.2)


@rules
def test_threads(rng, dtype, threads, rule):
    shapes = [(500, 300), (3,), (70001,)]
    check(rule, *make(rng, rule, dtype, shapes))
    check(rule, *make(rng, rule, dtype, shapes), **ADJUSTMENTS["all"])


def test_many_tensors(rng, dtype):
    """More tensors than one CUDA launch takes, for updates and for norms."""
    shapes = [(1 + i % 7, 5) for i in range(150)]
    check("sgd", *make(rng, "sgd", dtype, shapes), max_norm=0.5, l1=0.1)


def test_single_arrays_stand_for_lists_of_one(rng, dtype):
    (p,), (g,), (m,), (v,) = make(rng, "adam", dtype, [(8, 9)])
    lists = [[a.copy()] for a in (p, g, m, v)]
    K.sgd_update(p, g, m, lr=0.1, momentum=0.9)
    K.sgd_update(*lists[:3], lr=0.1, momentum=0.9)
    assert identical(p, lists[0][0])
    K.adam_update(p, g, m, v, 1)
    K.adam_update(*lists, 1)
    assert identical(p, lists[0][0])
    assert identical(v, lists[3][0])


def test_empty_lists(dtype):
    assert K.sgd_update([], [], lr=0.1) is None
    assert K.sgd_update([], [], lr=0.1, max_norm=1.0) is None
    assert K.sgd_update([np.zeros((0, 3), dtype)], [np.zeros((0, 3), dtype)], lr=0.1, max_norm=1.0) is None


def test_momentum_of_zero_forgets(rng, dtype):
    p, g, v = make(rng, "momentum", dtype)
    K.sgd_update(p, g, v, lr=0.5)
    for velocity, gradient in zip(v, g, strict=True):
        assert (velocity == dtype(-0.5) * gradient).all()


@rules
def test_learning_rate_and_step_from_arrays(rng, dtype, rule):
    step, lr = np.array(4), np.array(0.01)
    check(rule, *make(rng, rule, dtype), lr=lr, step=step, l1=0.1, decay=0.1)
    assert step == 4
    assert lr == 0.01


def test_first_adam_step_is_lr_in_the_direction_of_the_gradient(dtype):
    # With zero moments, m_hat = g and v_hat = g^2, whatever the betas.
    g = np.array([3.0, -1e-3, 250.0], dtype)
    p, m, v = (np.zeros(3, dtype) for _ in range(3))
    K.adam_update(p, g, m, v, 1, lr=0.5, eps=0.0)
    # Eight rounding errors: m, v, two bias corrections, a square root and a quotient.
    np.testing.assert_allclose(p, -0.5 * np.sign(g), rtol=4 * tolerances.eps(dtype), atol=0)


@pytest.mark.parametrize("step", [0, -3])
def test_a_counter_that_was_not_started_counts_as_one(rng, dtype, step):
    first, second = (make(np.random.default_rng(3), "adam", dtype) for _ in range(2))
    call("adam", *first, step=np.array(1))
    call("adam", *second, step=np.array(step))
    assert every_byte(first) == every_byte(second)
    assert all(np.isfinite(a).all() for a in second[0])


# ------------------------------------------------------------------------------------------------- clipping


@pytest.mark.parametrize("layout", ["c", "strided"])
def test_a_clipped_step_is_as_long_as_the_largest_norm(rng, dtype, layout):
    p, g = make(rng, "sgd", dtype, layout=layout)
    for a in p:
        a[...] = 0
    K.sgd_update(p, g, lr=1.0, max_norm=0.25)
    count = sum(a.size for a in p)
    norm = np.sqrt(sum((a.astype(np.float64) ** 2).sum() for a in p))
    # Items are rounded twice and the factor once; each norm errs like the root of a float64 sum of `count` terms.
    bound = 3 * tolerances.eps(dtype) + 2 * (1 + np.sqrt(count)) * tolerances.eps(np.float64)
    np.testing.assert_allclose(norm, 0.25, rtol=bound)


@rules
def test_a_norm_that_is_not_reached_changes_no_bit(rule, dtype):
    first, second = (make(np.random.default_rng(3), rule, dtype) for _ in range(2))
    call(rule, *first)
    call(rule, *second, max_norm=1e4)
    assert every_byte(first) == every_byte(second)


def test_a_norm_in_float64_does_not_overflow(rng):
    """The squares of these gradients overflow in float32."""
    p, g = [np.zeros(33, np.float32)], [np.full(33, 1e30, np.float32)]
    K.sgd_update(p, g, lr=1.0, max_norm=1.0)
    np.testing.assert_allclose(p[0], -1 / np.sqrt(33), rtol=3 * tolerances.eps(np.float32))


@pytest.mark.parametrize("max_norm", [1.0, 1e-30])
@pytest.mark.parametrize("size", [1e30, 1e37, 1e38, 3e38])
def test_a_factor_below_the_normal_numbers(size, max_norm):
    """The factor max_norm / norm underflows in float32, but its product with the gradient is a normal number."""
    p = [np.zeros(33, np.float32), np.zeros(2, np.float32)]
    g = [np.zeros(33, np.float32), np.array([size, 0], np.float32)]
    K.sgd_update(p, g, lr=1.0, max_norm=max_norm)
    np.testing.assert_allclose(p[1], [-max_norm, 0], rtol=4 * tolerances.eps(np.float32))


@pytest.mark.parametrize("place", [0, 17, 32])
def test_nan_gradient_stays_in_its_item(rng, dtype, place):
    for options in ({}, {"max_norm": 1.0}, {"l1": 0.1, "l2": 0.1}):
        p, g, v = make(rng, "momentum", dtype, [(33,)])
        g[0][place] = np.nan
        K.sgd_update(p, g, v, lr=0.1, momentum=0.9, **options)
        assert np.flatnonzero(np.isnan(p[0])).tolist() == [place]


def test_an_infinite_gradient_silences_the_others(rng, dtype):
    p, g = make(rng, "sgd", dtype, [(33,), (5,)])
    before = [a.copy() for a in p]
    g[0][4] = np.inf
    K.sgd_update(p, g, lr=0.1, max_norm=1.0)
    assert np.flatnonzero(np.isnan(p[0])).tolist() == [4]
    assert identical(p[1], before[1])
    assert identical(np.delete(p[0], 4), np.delete(before[0], 4))


# --------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"l1": -1.0}, r"\] l1 is -1; it must be finite and not negative"),
        ({"l1": float("nan")}, r"\] l1 is nan"),
        ({"decay": -0.5}, r"\] weight_decay is -0.5; it must be finite"),
        ({"decay": float("inf")}, r"\] weight_decay is inf"),
        ({"max_norm": 0.0}, r"\] max_norm is 0; it must be above 0"),
        ({"max_norm": float("nan")}, r"\] max_norm is nan"),
        ({"penalised": [True]}, r"\] penalised has 1 items, but params has 2"),
    ],
    ids=str,
)
@rules
def test_errors(rng, rule, options, match):
    arrays = make(rng, rule, np.float32, [(3,), (4,)])
    before = every_byte(arrays)
    with pytest.raises(ValueError, match=rf"^\[{K.UPDATE_RULES[rule][0]}{match}"):
        call(rule, *arrays, **options)
    assert every_byte(arrays) == before


def test_errors_of_single_rules(rng):
    p, g, s = (a[0] for a in make(rng, "rmsprop", np.float32, [(3,)]))
    with pytest.raises(ValueError, match=r"^\[rmsprop_update\] rho is 1; it must be in \[0, 1\)"):
        K.rmsprop_update(p, g, s, rho=1.0)
    with pytest.raises(TypeError, match=r"^\[adagrad_update\] sum_sq must be arrays, not None"):
        K.adagrad_update(p, g, None)
    with pytest.raises(ValueError, match=r"^\[adagrad_update\] sum_sq overlaps grads in memory"):
        K.adagrad_update(p, g, g)
    with pytest.raises(TypeError):
        K.adam_update(p, g, s, s.copy(), None)


def test_subnormal_numbers_survive_outside_the_kernel(rng, dtype):
    # A kernel may flush subnormals while it runs, but must restore the processor's mode.
    for rule in RULES:
        check(rule, *make(rng, rule, dtype), max_norm=1.0)
    K.softmax_cross_entropy(np.ones((2, 3), dtype), np.array([0, 1]))
    subnormal = np.full(1, tolerances.tiny(dtype), dtype) * dtype(0.5)
    assert subnormal > 0
