"""`BoltzmannFisher`: the covariance of the sufficient statistics over all joint states, and its products."""

from __future__ import annotations

import numpy as np
import pytest
from boltzmann_reference import Joint

from steepest.fisher import BoltzmannFisher

SHAPES = [(1, 1), (3, 4), (4, 3), (2, 6)]


def make(rng, n_hidden, n_visible):
    return (
        rng.standard_normal((n_hidden, n_visible)),
        rng.standard_normal(n_hidden),
        rng.standard_normal(n_visible),
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_the_covariance_of_the_statistics(rng, shape):
    parameters = make(rng, *shape)
    matrix, joint = BoltzmannFisher(*parameters), Joint(*parameters)
    expected = joint.covariance()
    assert matrix.shape == expected.shape
    np.testing.assert_allclose(matrix.to_dense(), expected, atol=1e-14)
    np.testing.assert_allclose(matrix.mean, joint.p @ joint.statistics(), atol=1e-14)
    np.testing.assert_allclose(matrix.diagonal(), np.diag(expected), atol=1e-14)
    assert matrix.trace() == pytest.approx(np.trace(expected), rel=1e-12)
    assert matrix.log_partition == pytest.approx(joint.log_partition, rel=1e-13)
    for v in rng.standard_normal((3, len(expected))):
        np.testing.assert_allclose(matrix @ v, expected @ v, atol=1e-13)


def test_it_is_the_hessian_of_log_z(rng):
    parameters = make(rng, 3, 2)
    flat = np.concatenate([p.ravel() for p in parameters])
    dense, step = BoltzmannFisher(*parameters).to_dense(), 1e-5
    for i in range(len(flat)):
        means = []
        for side in (step, -step):
            moved = flat.copy()
            moved[i] += side
            means.append(BoltzmannFisher(moved[:6].reshape(3, 2), moved[6:9], moved[9:]).mean)
        np.testing.assert_allclose((means[0] - means[1]) / (2 * step), dense[i], atol=1e-9)


def test_solve(rng):
    matrix = BoltzmannFisher(*make(rng, 4, 5))
    g = rng.standard_normal(len(matrix.mean))
    x = matrix.solve(g, 0.01)
    np.testing.assert_allclose(matrix @ x + 0.01 * x, g, atol=1e-11)
    assert matrix.eigenvalues()[0] > -1e-15


def test_errors(rng):
    components, hidden, visible = make(rng, 2, 3)
    with pytest.raises(ValueError, match=r"^\[BoltzmannFisher\] components of shape \(2, 3\) do not match"):
        BoltzmannFisher(components, visible, hidden)
    with pytest.raises(ValueError, match=r"^\[BoltzmannFisher\] .*at most 20 units"):
        BoltzmannFisher(np.zeros((21, 22)), np.zeros(21), np.zeros(22))
    matrix = BoltzmannFisher(components, hidden, visible)
    with pytest.raises(ValueError, match=r"^\[BoltzmannFisher\] the vector has shape \(3,\)"):
        matrix @ np.ones(3)
    with pytest.raises(ValueError, match=r"^\[BoltzmannFisher\] .*damping of at least 0"):
        matrix.solve(np.ones(11), -1.0)
    # A hidden unit that is always 0 leaves its own parameters without information.
    constant = BoltzmannFisher(components, np.array([-1e4, 0.0]), visible)
    with pytest.raises(ValueError, match=r"^\[BoltzmannFisher\] F \+ 0 I is singular"):
        constant.solve(np.ones(11))
