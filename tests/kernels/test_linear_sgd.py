"""`linear_sgd`: steps on single samples, against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import tolerances
from backends import LAYOUTS, assert_close, identical, lay_out
from reference import POINTWISE_LOSSES, LinearSgd

import steepest
from steepest import kernels as K

# Loss -> value of its parameter in these tests.
KINDS = {name: loss.parameter for name, loss in POINTWISE_LOSSES.items()}


def make(rng, dtype, n, d, k, kind="log_loss"):
    x = (rng.standard_normal((n, d)) / np.sqrt(d)).astype(dtype)
    score = x @ rng.standard_normal((d, k))
    target = POINTWISE_LOSSES[kind].targets.of_score(rng, score)
    return x, target.astype(dtype)


class State:
    """The arrays of `linear_sgd`, in a layout."""

    def __init__(self, rng, dtype, d, k, layout="c", *, l1=False, average=False, intercept=True):
        def of(values):
            return lay_out(np.asarray(values, dtype), layout)

        self.w = of(0.1 * rng.standard_normal((d, k)))
        self.b = of(0.1 * rng.standard_normal(k)) if intercept else None
        self.step = np.zeros((), np.int64)
        self.options = {}
        if l1:
            self.options |= {"l1_applied": of(np.zeros((d, k))), "l1_total": np.zeros(k)}
        if average:
            self.options |= {"average_w": of(np.zeros((d, k))), "average_b": of(np.zeros(k))}

    def epoch(self, x, target, **options):
        return K.linear_sgd(x, target, self.w, self.b, self.step, **self.options, **options)

    def oracle(self, average_start=None):
        return LinearSgd(self.w, self.b, average_start)

    def arrays(self):
        arrays = [self.w, self.step, *self.options.values()]
        return arrays if self.b is None else [*arrays, self.b]


def assert_agrees(state, oracle, x, scale=1.0):
    t = scale * tolerances.linear_sgd(state.w.dtype, oracle.t, x, oracle.largest)
    assert_close(state.w, oracle.w, t, "w")
    if state.b is not None:
        assert_close(state.b, oracle.b, t, "b")
    if "average_w" in state.options:
        assert_close(state.options["average_w"], oracle.average_w, t, "average_w")
        assert_close(state.options["average_b"], oracle.average_b, t, "average_b")
    assert state.step == oracle.t


def check_epochs(
    rng, dtype, shape, kind, *, epochs=2, layout="c", average_start=None, intercept=True, **options
):
    n, d, k = shape
    x, target = make(rng, dtype, n, d, k, kind)
    options = {"kind": kind, "parameter": KINDS[kind], "lr": 0.1, **options}
    average = average_start is not None
    l1 = options.get("l1", 0.0) > 0
    state = State(rng, dtype, d, k, layout, l1=l1, average=average, intercept=intercept)
    oracle = state.oracle(average_start)
    if average:
        state.options["average_start"] = average_start
    arrays = {name: value for name, value in options.items() if isinstance(value, np.ndarray)}
    placed = {**options, **{name: lay_out(value, layout) for name, value in arrays.items()}}
    for _ in range(epochs):
        objective = state.epoch(lay_out(x, layout), lay_out(target, layout), **placed)
        expected = oracle.epoch(x, target, **options)
        # Losses are Lipschitz in the weights here, and the objective sums n of them.
        t = n * tolerances.linear_sgd(dtype, oracle.t, x, oracle.largest)
        assert_close(objective, expected, t * (1 + np.abs(expected).max() / max(n, 1)), "objective")
    assert_agrees(state, oracle, x)


PENALTIES = ({}, {"l2": 0.01}, {"l1": 0.002}, {"l1": 0.001, "l2": 0.01})


@pytest.mark.parametrize(
    ("kind", "penalty"),
    [
        pytest.param(
            kind,
            penalty,
            marks=[pytest.mark.not_when_slow("each loss runs with one penalty")] if (i + j) % 4 else [],
        )
        for i, kind in enumerate(KINDS)
        for j, penalty in enumerate(PENALTIES)
    ],
    ids=str,
)
def test_losses_and_penalties(rng, dtype, kind, penalty):
    check_epochs(rng, dtype, (150, 21, 2), kind, **penalty)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(rng, dtype, layout):
    weights = {
        "sample_weight": rng.random(90).astype(dtype),
        "class_weight": (0.5 + rng.random((2, 3))).astype(dtype),
        "order": rng.integers(0, 90, 140),
    }
    check_epochs(
        rng, dtype, (90, 17, 3), "log_loss", layout=layout, average_start=30, l1=0.001, l2=0.01, **weights
    )


@pytest.mark.parametrize("d", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100, 129])
def test_widths(rng, dtype, d):
    check_epochs(rng, dtype, (70, d, 1), "hinge", l1=0.001, l2=0.01)
    check_epochs(rng, dtype, (70, d, 1), "log_loss", l2=0.01)
    check_epochs(rng, dtype, (70, d, 1), "squared_error", average_start=1)


@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 127, 128, 129])
def test_blocks_of_samples(rng, dtype, n):
    check_epochs(rng, dtype, (n, 5, 2), "log_loss", epochs=3, average_start=60, l1=0.001, l2=0.1)


@pytest.mark.parametrize(
    "rate",
    [
        {"lr": 0.05},
        {"lr": np.array(0.05)},
        {"lr": 0.5, "power": 0.5},
        {"lr": 0.3, "power": 0.25},
        {"lr": 20.0, "power": 1.0, "t0": 99.5},
        {"lr": 5.0, "power": 0.7, "t0": 10.0},
    ],
    ids=str,
)
def test_rates(rng, dtype, rate):
    check_epochs(rng, dtype, (150, 9, 1), "log_loss", l2=0.01, **rate)


@pytest.mark.parametrize(
    ("kind", "passive_aggressive"),
    [("hinge", 1), ("hinge", 2), ("absolute_error", 1), ("absolute_error", 2), ("squared_error", 1)],
)
def test_passive_aggressive(rng, dtype, kind, passive_aggressive):
    n, d = 130, 9
    x, target = make(rng, dtype, n, d, 2, kind)
    x[[0, 7, 64]] = 0
    state = State(rng, dtype, d, 2)
    oracle = state.oracle()
    for _ in range(2):
        options = {
            "kind": kind,
            "parameter": KINDS[kind],
            "lr": 0.3,
            "passive_aggressive": passive_aggressive,
        }
        state.epoch(x, target, **options)
        oracle.epoch(x, target, **options)
    # A step has length loss / |x|², and |x|² is about 1 here.
    assert_agrees(state, oracle, x, 10.0)


def test_a_penalty_that_leaves_nothing(rng, dtype):
    """A learning rate of at least 1 / l2 sets the weights to zero before the step."""
    check_epochs(rng, dtype, (20, 6, 1), "squared_error", lr=0.5, l2=2.0)
    check_epochs(rng, dtype, (20, 6, 1), "squared_error", lr=0.5, l2=3.0)


def test_penalties_that_weaken(rng, dtype):
    """The decay factor 1 - rate l2 grows from a few hundredths in the first steps to nearly 1 in the last."""
    check_epochs(rng, dtype, (200, 6, 2), "log_loss", lr=60.0, power=1.0, t0=60.0, l2=0.95)


def test_rows_that_no_step_is_taken_along(rng, dtype):
    """The squared norms of rows of weight 0 overflow, which must not affect the other rows."""
    x, target = make(rng, dtype, 41, 7, 1, "hinge")
    x[::3, 2] = np.sqrt(np.finfo(dtype).max) * 4
    weight = np.ones(41, dtype)
    weight[::3] = 0
    state = State(rng, dtype, 7, 1)
    oracle = state.oracle()
    state.epoch(x, target, lr=0.1, l2=0.01, kind="hinge", sample_weight=weight)
    oracle.epoch(x, target, "hinge", parameter=1.0, lr=0.1, l2=0.01, sample_weight=weight)
    assert_agrees(state, oracle, x[weight > 0])


@pytest.mark.not_when_slow("its 50,000 steps are sequential; the shorter fits run the same code")
def test_weak_penalties_add_up(dtype):
    """A decay factor 1 - rate l2 that float32 would round to 1 still acts over many steps."""
    x, target = np.zeros((5000, 3), dtype), np.zeros((5000, 1), dtype)
    w, step = np.ones((3, 1), dtype), np.zeros((), np.int64)
    for _ in range(10):
        K.linear_sgd(x, target, w, None, step, lr=1e-3, l2=1e-5, kind="squared_error")
    assert_close(w, np.full((3, 1), (1 - 1e-8) ** 50_000), 2000 * tolerances.eps(dtype), "w")
    assert (w < 1).all()


def test_classes_against_the_others(rng, dtype):
    x, _ = make(rng, dtype, 120, 8, 4)
    labels = rng.integers(0, 4, 120)
    for kind, low in [("hinge", -1.0), ("log_loss", 0.0)]:
        by_id, by_target = (
            State(np.random.default_rng(1), dtype, 8, 4),
            State(np.random.default_rng(1), dtype, 8, 4),
        )
        by_id.epoch(x, labels.astype(np.uint8), lr=0.1, kind=kind)
        target = np.where(labels[:, None] == np.arange(4), 1.0, low).astype(dtype)
        by_target.epoch(x, target, lr=0.1, kind=kind)
        assert identical(by_id.w, by_target.w)
    single, target = (
        State(np.random.default_rng(1), dtype, 8, 1),
        State(np.random.default_rng(1), dtype, 8, 1),
    )
    single.epoch(x, np.where(labels > 1, 1, -1), lr=0.1, kind="hinge")
    target.epoch(x, np.where(labels > 1, 1.0, -1.0).astype(dtype), lr=0.1, kind="hinge")
    assert identical(single.w, target.w)


@pytest.mark.cpu_only("threads are the CPU's")
@pytest.mark.parametrize("penalties", [{"l1": 1e-3, "l2": 1e-2, "average_start": 50}, {"l2": 1e-2}], ids=str)
def test_threads_and_calls_change_nothing(rng, dtype, penalties):
    x, target = make(rng, dtype, 400, 30, 5)
    options = {"lr": 0.1, "power": 0.5, **penalties}
    every = "l1" in penalties
    before = steepest.get_num_threads()
    states = []
    for threads in (1, 2, 3):
        steepest.set_num_threads(threads)
        state = State(np.random.default_rng(1), dtype, 30, 5, l1=every, average=every)
        state.epoch(x, target, **options)
        states.append(state)
    steepest.set_num_threads(before)
    for other in states[1:]:
        assert all(identical(a, b) for a, b in zip(states[0].arrays(), other.arrays(), strict=True))


def test_captured_epochs(rng, dtype):
    x, target = make(rng, dtype, 100, 12, 2)
    eager, captured = (State(np.random.default_rng(1), dtype, 12, 2, l1=True, average=True) for _ in range(2))
    options = {"power": 0.5, "l1": 1e-3, "l2": 1e-2}
    lr = np.array(0.1)
    with steepest.capture() as graph:
        captured.epoch(x, target, lr=lr, **options)
    graph.replay(3)
    for _ in range(3):
        eager.epoch(x, target, lr=0.1, **options)
    assert all(identical(a, b) for a, b in zip(eager.arrays(), captured.arrays(), strict=True))


# ---------------------------------------------------------------------------------------------------- bad input


def arguments():
    return {
        "x": np.ones((10, 3)),
        "target": np.ones(10),
        "w": np.full((3, 1), 7.0),
        "b": np.full(1, 7.0),
        "step": np.zeros((), np.int64),
        "lr": 0.1,
    }


@pytest.mark.parametrize(("index", "position"), [(10, 3), (-1, 0), (2**62, 5)])
def test_bad_order(index, position):
    given = arguments()
    order = np.arange(6)
    order[position] = index
    with pytest.raises(
        IndexError, match=rf"^\[linear_sgd\] index {index} at position {position} is outside 0\.\.9"
    ):
        K.linear_sgd(**given, order=order)
    assert (given["w"] == 7.0).all()
    assert given["step"] == 0


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"kind": "softmax_cross_entropy"}, ValueError),
        ({"parameter": 1.0}, ValueError),
        ({"kind": "quantile", "parameter": 1.0}, ValueError),
        ({"target": np.zeros(9)}, ValueError),
        ({"target": np.zeros(9, np.int64)}, ValueError),
        ({"target": np.zeros((10, 2))}, ValueError),
        ({"target": np.zeros(10, np.float32)}, TypeError),
        ({"x": np.ones((10, 4))}, ValueError),
        ({"b": np.zeros(2)}, ValueError),
        ({"step": 0}, TypeError),
        ({"step": None}, TypeError),
        ({"step": np.zeros((), np.int32)}, TypeError),
        ({"sample_weight": np.ones(9)}, ValueError),
        ({"class_weight": np.ones((1, 2))}, ValueError),
        ({"order": np.arange(5, dtype=np.int32)}, TypeError),
        ({"l1": 0.1}, ValueError),
        ({"l1": -0.1}, ValueError),
        ({"l2": -0.1}, ValueError),
        ({"l1": 0.1, "l1_applied": np.zeros((3, 1))}, ValueError),
        ({"l1": 0.1, "l1_applied": np.zeros((3, 2)), "l1_total": np.zeros(1)}, ValueError),
        ({"t0": -1.0}, ValueError),
        ({"average_w": np.zeros((2, 1)), "average_b": np.zeros(1)}, ValueError),
        ({"average_start": 0}, ValueError),
        ({"passive_aggressive": 3}, ValueError),
        ({"passive_aggressive": 1, "power": 0.5}, ValueError),
        ({"objective": np.zeros(2)}, ValueError),
    ],
    ids=str,
)
def test_bad_arguments(changes, error):
    given = {**arguments(), **changes}
    with pytest.raises(error, match=r"^\[linear_sgd\] "):
        K.linear_sgd(**given)
    assert (given["w"] == 7.0).all()
