"""Schedules of the learning rate: values written out by hand, identities, and agreement with PyTorch's."""

from __future__ import annotations

import math

import numpy as np
import pytest

from steepest.optim import schedules as S

SCHEDULES = [
    S.Constant(0.3),
    S.InverseScaling(0.5),
    S.InverseScaling(0.5, 1.0),
    S.Step(0.4, 3, 0.5),
    S.Cosine(0.2, 10, 0.01),
    S.WarmUp(4, S.Constant(0.3)),
    S.WarmUp(2, S.WarmUp(3, S.Cosine(0.2, 5))),
    S.OneCycle(1.0, 20),
    S.OneCycle(1.0, 2, rising=0.1),
]
schedules = pytest.mark.parametrize("schedule", SCHEDULES, ids=str)


def close(actual, expected):
    # A few float64 operations, cosines among them.
    np.testing.assert_allclose(actual, expected, rtol=1e-14, atol=1e-16)


@schedules
def test_numbers_and_arrays(schedule):
    rates = schedule.rates(30)
    assert rates.shape == (30,)
    assert rates.dtype == np.float64
    assert (rates >= 0).all()
    assert np.isfinite(rates).all()
    assert isinstance(schedule(7), float)
    assert [schedule(t) for t in range(30)] == rates.tolist()
    steps = np.array([[0, 29], [5, 5]])
    assert (schedule(steps) == rates[steps]).all()


def test_values():
    close(S.Constant(0.3).rates(3), [0.3] * 3)
    close(S.InverseScaling(0.5).rates(4), [0.5, 0.5 / math.sqrt(2), 0.5 / math.sqrt(3), 0.25])
    close(S.Step(0.4, 2, 0.5).rates(6), [0.4, 0.4, 0.2, 0.2, 0.1, 0.1])
    close(
        S.Cosine(1.0, 4, 0.2).rates(6),
        [1.0, 0.6 + 0.4 / math.sqrt(2), 0.6, 0.6 - 0.4 / math.sqrt(2), 0.2, 0.2],
    )
    close(S.WarmUp(3, S.Step(0.8, 1, 0.5)).rates(6), [0.2, 0.4, 0.6, 0.8, 0.4, 0.2])


def test_one_cycle():
    schedule = S.OneCycle(0.5, 100)
    rates = schedule.rates(110)
    close(rates[0], 0.02)
    close(rates[29], 0.5)
    assert rates.argmax() == 29
    assert (np.diff(rates[:30]) > 0).all()
    assert (np.diff(rates[29:100]) < 0).all()
    # The difference of two numbers near 1/2 leaves their rounding.
    np.testing.assert_allclose(rates[99:], 2e-6, rtol=0, atol=1e-16)


@pytest.mark.parametrize("steps", [10, 33, 100])
def test_agrees_with_pytorch(steps):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")

    def rates(make):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
        scheduler, found = make(optimizer), []
        for _ in range(steps):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        return found

    of = torch.optim.lr_scheduler
    pairs = [
        (S.Step(0.5, 4, 0.3), lambda o: of.StepLR(o, 4, 0.3)),
        (S.Cosine(0.5, steps, 0.01), lambda o: of.CosineAnnealingLR(o, steps, 0.01)),
        (S.OneCycle(0.5, steps), lambda o: of.OneCycleLR(o, 0.5, steps, cycle_momentum=False)),
    ]
    for schedule, make in pairs:
        # PyTorch's cosine goes from rate to rate, and adds up a rounding a step.
        np.testing.assert_allclose(schedule.rates(steps), rates(make), rtol=1e-12, atol=1e-15)


# ------------------------------------------------------------------------------------------------- adaptive


def test_adaptive_divides_a_rate_that_no_longer_helps():
    adaptive = S.Adaptive(1.0, divide_by=4.0, tol=0.1, patience=2, smallest=0.2)
    assert [adaptive(loss) for loss in (5.0, 4.0, 3.95, 3.94, 3.93)] == [1.0, 1.0, 1.0, 1.0, 0.25]
    # A loss that falls by the tolerance starts the count anew.
    assert [adaptive(loss) for loss in (3.9, 3.9, 3.0, 3.0, 3.0)] == [0.25] * 5
    assert adaptive(3.0) == 0.0625
    assert not adaptive.finished
    for _ in range(3):
        assert adaptive(3.0) == 0.0625
    assert adaptive.finished


def test_adaptive_counts_nan_as_no_improvement():
    adaptive = S.Adaptive(1.0, patience=1)
    assert [adaptive(loss) for loss in (2.0, math.nan, math.nan, 1.0)] == [1.0, 1.0, 0.2, 0.2]
    assert S.Adaptive(1.0, patience=0)(math.inf) == 0.2


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: S.Constant(-1.0), r"^\[Constant\] rate must be in \[0, inf\), got -1.0"),
        (lambda: S.InverseScaling(0.1, math.nan), r"^\[InverseScaling\] power"),
        (lambda: S.Step(0.1, 0), r"^\[Step\] every must be at least 1, got 0"),
        (lambda: S.Step(0.1, 1, -1.0), r"^\[Step\] factor"),
        (lambda: S.Cosine(0.1, 0), r"^\[Cosine\] steps"),
        (lambda: S.Cosine(0.1, 3, math.inf), r"^\[Cosine\] final"),
        (lambda: S.WarmUp(0, S.Constant(1.0)), r"^\[WarmUp\] steps"),
        (lambda: S.OneCycle(0.1, 1), r"^\[OneCycle\] steps must be at least 2"),
        (lambda: S.OneCycle(0.1, 9, rising=1.0), r"^\[OneCycle\] rising must be in \(0, 1\)"),
        (lambda: S.OneCycle(0.1, 9, divide_by=0.5), r"^\[OneCycle\] divide_by"),
        (lambda: S.Adaptive(math.nan), r"^\[Adaptive\] rate"),
        (lambda: S.Adaptive(0.1, divide_by=1.0), r"^\[Adaptive\] divide_by must be in \(1, inf\)"),
        (lambda: S.Adaptive(0.1, patience=-1), r"^\[Adaptive\] patience"),
    ],
)
def test_errors(make, match):
    with pytest.raises(ValueError, match=match):
        make()
