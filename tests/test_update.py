"""`sgd_update` and `adam_update`: in-place updates of lists of arrays."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tolerances
from backends import LAYOUTS, SIZES, assert_close, lay_out

from steepest import kernels as K

SHAPES = [(784, 33), (33,), (7, 5), (1,), (0, 4), (4, 0), (0,), (129, 17)]


def make(rng, dtype, shapes=SHAPES, layout="c"):
    """(params, grads, first state, second state), with |grads| well above weight_decay * |params|."""
    p = [rng.standard_normal(s).astype(dtype) for s in shapes]
    g = [(np.sign(rng.standard_normal(s)) * (0.5 + rng.random(s))).astype(dtype) for s in shapes]
    m = [rng.standard_normal(s).astype(dtype) for s in shapes]
    v = [rng.random(s).astype(dtype) for s in shapes]
    return tuple([lay_out(a, layout) for a in arrays] for arrays in (p, g, m, v))


def check_sgd(p, g, v, *, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
    options = {"momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
    value = float(lr)
    old_v = [None] * len(p) if v is None else [a.copy() for a in v]
    expected = [
        reference.sgd_update(a, b, c, lr=value, **options) for a, b, c in zip(p, g, old_v, strict=True)
    ]
    tolerance = [
        tolerances.sgd_update(
            a.dtype, a, b, 0.0 if c is None else c, lr=value, momentum=momentum, weight_decay=weight_decay
        )
        for a, b, c in zip(p, g, old_v, strict=True)
    ]
    old_g = [a.copy() for a in g]
    assert K.sgd_update(p, g, v, lr=lr, **options) is None
    for i in range(len(p)):
        assert_close(p[i], expected[i][0], tolerance[i][0], f"params[{i}]")
        assert (g[i] == old_g[i]).all()
        if v is not None:
            assert_close(v[i], expected[i][1], tolerance[i][1], f"velocities[{i}]")


def check_adam(p, g, m, v, step, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0):
    betas = {"beta1": beta1, "beta2": beta2, "weight_decay": weight_decay}
    arrays = [[a.copy() for a in group] for group in (p, g, m, v)]
    expected = [
        reference.adam_update(*row, int(step), lr=float(lr), eps=eps, **betas)
        for row in zip(*arrays, strict=True)
    ]
    tolerance = [
        tolerances.adam_update(row[0].dtype, *row, int(step), lr=float(lr), eps_adam=eps, **betas)
        for row in zip(*arrays, strict=True)
    ]
    assert K.adam_update(p, g, m, v, step, lr=lr, eps=eps, **betas) is None
    for i in range(len(p)):
        for name, actual, e, t in zip(
            ("params", "exp_avg", "exp_avg_sq"), (p, m, v), expected[i], tolerance[i], strict=True
        ):
            assert_close(actual[i], e, t, f"{name}[{i}] at step {int(step)}")
        assert (g[i] == arrays[1][i]).all()


@pytest.mark.every_isa
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd(rng, dtype, momentum, nesterov, weight_decay):
    p, g, v, _ = make(rng, dtype)
    check_sgd(p, g, v, lr=0.1, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_sgd_without_velocities(rng, dtype, weight_decay):
    p, g, _, _ = make(rng, dtype)
    check_sgd(p, g, None, lr=0.1, weight_decay=weight_decay)


@pytest.mark.every_isa
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
@pytest.mark.parametrize("step", [1, 2, 10, 1000, 10**9])
def test_adam(rng, dtype, step, weight_decay):
    check_adam(*make(rng, dtype), step, weight_decay=weight_decay)


@pytest.mark.parametrize(
    "options", [{"beta1": 0.0}, {"beta2": 0.5}, {"beta1": 0.5, "beta2": 0.9999}, {"eps": 0.1}], ids=str
)
def test_adam_options(rng, dtype, options):
    check_adam(*make(rng, dtype), 3, lr=0.02, **options)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(rng, dtype, layout):
    p, g, v, _ = make(rng, dtype, [(9, 17), (33,)], layout)
    check_sgd(p, g, v, lr=0.1, momentum=0.9)
    check_adam(*make(rng, dtype, [(9, 17), (33,)], layout), 2)


def test_every_length(rng, dtype):
    for n in SIZES:
        p, g, v, _ = make(rng, dtype, [(n,)], "offset")
        check_sgd(p, g, v, lr=0.1, momentum=0.9, nesterov=True)
        check_adam(*make(rng, dtype, [(n,)], "offset"), 2)


def test_threads(rng, dtype, threads):
    shapes = [(500, 300), (3,), (70001,)]
    p, g, v, _ = make(rng, dtype, shapes)
    check_sgd(p, g, v, lr=0.1, momentum=0.9)
    check_adam(*make(rng, dtype, shapes), 2)


def test_single_arrays_stand_for_lists_of_one(rng, dtype):
    (p,), (g,), (m,), (v,) = make(rng, dtype, [(8, 9)])
    lists = [[a.copy()] for a in (p, g, m, v)]
    K.sgd_update(p, g, m, lr=0.1, momentum=0.9)
    K.sgd_update(*lists[:3], lr=0.1, momentum=0.9)
    assert p.tobytes() == lists[0][0].tobytes()
    K.adam_update(p, g, m, v, 1)
    K.adam_update(*lists, 1)
    assert p.tobytes() == lists[0][0].tobytes()
    assert v.tobytes() == lists[3][0].tobytes()


def test_empty_lists(dtype):
    assert K.sgd_update([], [], lr=0.1) is None


def test_learning_rate_and_step_from_arrays(rng, dtype):
    p, g, v, _ = make(rng, dtype)
    check_sgd(p, g, v, lr=np.array(0.2), momentum=0.5)
    arrays = make(rng, dtype)
    step, lr = np.array(4), np.array(0.01)
    check_adam(*arrays, step, lr=lr)
    assert step == 4
    assert lr == 0.01


def test_first_adam_step_is_lr_in_the_direction_of_the_gradient(dtype):
    # With zero moments, m_hat = g and v_hat = g^2, whatever the betas.
    g = np.array([3.0, -1e-3, 250.0], dtype)
    p, m, v = (np.zeros(3, dtype) for _ in range(3))
    K.adam_update(p, g, m, v, 1, lr=0.5, eps=0.0)
    # m, v, two corrections, a root and a quotient: eight roundings.
    np.testing.assert_allclose(p, -0.5 * np.sign(g), rtol=4 * tolerances.eps(dtype), atol=0)


def test_many_adam_steps_follow_the_oracle(rng):
    p, g, m, v = (arrays[0] for arrays in make(rng, np.float64, [(40,)]))
    q, m2, v2 = p.copy(), m.copy(), v.copy()
    for step in range(1, 51):
        K.adam_update(p, g * np.cos(step), m, v, step, lr=0.01)
        q, m2, v2 = reference.adam_update(q, g * np.cos(step), m2, v2, step, lr=0.01)
    # 50 steps, each within a few eps of |p| and of lr.
    np.testing.assert_allclose(p, q, rtol=0, atol=50 * 8 * tolerances.eps(np.float64) * (np.abs(q).max() + 1))


def test_subnormal_numbers_survive_outside_the_kernel(rng, dtype):
    # A kernel may flush them while it runs, but has to leave the processor's mode as it found it.
    check_adam(*make(rng, dtype), 1)
    K.sgd_update([np.ones(3, dtype)], [np.ones(3, dtype)], lr=0.1)
    K.softmax_cross_entropy(np.ones((2, 3), dtype), np.array([0, 1]))
    subnormal = np.full(1, tolerances.tiny(dtype), dtype) * dtype(0.5)
    assert subnormal > 0


def test_nan_gradient_stays_in_its_element(rng, dtype):
    p, g, v, _ = make(rng, dtype, [(33,)])
    g[0][17] = np.nan
    K.sgd_update(p, g, v, lr=0.1, momentum=0.9)
    assert np.flatnonzero(np.isnan(p[0])).tolist() == [17]
