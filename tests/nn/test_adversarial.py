"""Adversarial training: the exact dynamics of the Dirac-GAN, the losses, the R1 penalty, clipping, and turns."""

from __future__ import annotations

import math

import numpy as np
import pytest

import steepest
from steepest import kernels as K
from steepest import nn, optim
from steepest.training.adversarial import (
    DiscriminatorSteps,
    GeneratorSteps,
    Judge,
    Latent,
    SimultaneousSteps,
    clip_parameters,
    generator_input,
)
from steepest.training.adversarial_losses import ADVERSARIAL_LOSSES, AdversarialLoss
from steepest.training.batches import Batches, Samples
from steepest.training.gradient_penalty import GradientPenalty, length_of
from steepest.training.trainer import Trainer

RATE = 0.2


class Point(nn.CustomLayer):
    """A point, whatever comes in: the generator of a Dirac-GAN."""

    def output_shape(self, *shapes):
        return (1,)

    def parameters(self, *shapes):
        return {"place": nn.ParameterSpec((1,))}

    def forward(self, inputs, parameters):
        return K.copy(np.broadcast_to(parameters["place"], (len(inputs[0]), 1)))

    def vjp(self, d, inputs, output, parameters):
        return (None,), {"place": K.sum(d, axis=0)}


def dirac_gan(loss, *, r1=0.0, simultaneous=True, n=4, start=(1.0, 0.3)):
    """The Dirac-GAN at (theta, psi): all samples lie at 0, all generated ones at theta, and the score is psi x.

    L. Mescheder, A. Geiger, S. Nowozin, "Which training methods for GANs do actually converge?", ICML 2018.
    """
    generator = nn.Network([nn.Input(1), Point()], dtype=np.float64)
    discriminator = nn.Network([nn.Linear(1, 1, bias=False)], dtype=np.float64)
    generator.parameters()[0].value[...], discriminator.parameters()[0].value[...] = start
    judge, latent = Judge(discriminator), Latent(generator, 1, seed=0)
    X = np.zeros((n, 1))
    penalty = GradientPenalty(discriminator, r1, length_of(X)) if r1 else None
    loss = AdversarialLoss(loss)
    programs = [
        DiscriminatorSteps(judge, latent, loss, optim.SGD(discriminator.parameters(), RATE), penalty=penalty),
        GeneratorSteps(judge, latent, loss, optim.SGD(generator.parameters(), RATE)),
    ]
    named = {"both": SimultaneousSteps(*programs)} if simultaneous else dict(zip("dg", programs, strict=True))
    return Trainer(named, Batches(Samples(X, np.zeros(n, np.uint8))), n), generator, discriminator


def path_of(loss, steps, **options):
    """The places (theta, psi) after each step."""
    trainer, generator, discriminator = dirac_gan(loss, **options)
    path = []
    for step in range(steps):
        trainer.run_epoch(step)
        path.append([float(net.parameters()[0].value.item()) for net in (generator, discriminator)])
    return np.array(path)


def test_simultaneous_steps_of_the_dirac_gan_grow():
    """With f(t) = t, a step turns (theta, psi) and makes it longer by sqrt(1 + rate^2), exactly."""
    path = path_of("wasserstein", 30)
    turn = np.array([[1.0, RATE], [-RATE, 1.0]])
    expected = [np.linalg.matrix_power(turn, k) @ [1.0, 0.3] for k in range(1, 31)]
    np.testing.assert_allclose(path, expected, rtol=1e-12)
    lengths = np.linalg.norm(path, axis=1)
    np.testing.assert_allclose(lengths[1:] / lengths[:-1], math.sqrt(1 + RATE**2), rtol=1e-12)


def test_alternating_steps_of_the_dirac_gan_stay_on_an_ellipse():
    """The second step sees the first one: the determinant is 1, and theta^2 + psi^2 - rate theta psi is kept."""
    theta, psi = path_of("wasserstein", 60, simultaneous=False).T
    kept = 1.0 + 0.3**2 - RATE * 0.3
    np.testing.assert_allclose(theta**2 + psi**2 - RATE * theta * psi, kept, rtol=1e-12)


def sigmoid(t):
    return 1 / (1 + math.exp(-t))


def non_saturating(steps, r1, start):
    """The same by hand, for f(t) = -log(1 + exp(-t))."""
    (theta, psi), path = start, []
    for _ in range(steps):
        t = theta * psi
        theta, psi = theta + RATE * sigmoid(-t) * psi, psi - RATE * (sigmoid(t) * theta + r1 * psi)
        path.append((theta, psi))
    return np.array(path)


@pytest.mark.parametrize("r1", [0.0, 0.5])
def test_the_non_saturating_dirac_gan_is_that_by_hand(r1):
    start = (1.0, 0.3)
    path = path_of("non_saturating", 50, r1=r1, start=start)
    # The penalty's gradient is a difference quotient: eps^(2/3) of it.
    tolerance = 1e-12 if r1 == 0 else 1e-8
    np.testing.assert_allclose(path, non_saturating(50, r1, start), rtol=tolerance, atol=tolerance)


def test_near_the_equilibrium_f_is_a_half():
    path = path_of("non_saturating", 20, start=(1e-4, 2e-4))
    lengths = np.linalg.norm(path, axis=1)
    # What is left out has the order of the squared length.
    np.testing.assert_allclose(lengths[1:] / lengths[:-1], math.sqrt(1 + (RATE / 2) ** 2), rtol=1e-7)


def test_r1_converges_where_plain_training_does_not():
    plain, penalised = (path_of("non_saturating", 300, r1=r1) for r1 in (0.0, 1.0))
    assert np.linalg.norm(plain[-1]) > 0.5
    assert np.linalg.norm(penalised[-1]) < 1e-3


# ------------------------------------------------------------------------------------------------------ losses


ALONE = [name for name in ADVERSARIAL_LOSSES if not AdversarialLoss(name).compares_pairs]


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", ALONE)
def test_losses_are_their_formulas(name, dtype, rng):
    scores = (3 * rng.standard_normal((9, 1))).astype(dtype)
    z = scores.astype(np.float64)[:, 0]
    formulas = {
        "non_saturating": [np.logaddexp(0, -z), np.logaddexp(0, z), np.logaddexp(0, -z)],
        "least_squares": [(z - 1) ** 2 / 2, z**2 / 2, (z - 1) ** 2 / 2],
        "hinge": [np.maximum(0, 1 - z), np.maximum(0, 1 + z), -z],
        "wasserstein": [-z, z, -z],
    }
    loss, step = AdversarialLoss(name), 1e-6
    for part, expected in zip((loss.of_real, loss.of_fake, loss.of_generator), formulas[name], strict=True):
        value, d = part(scores)
        assert value.dtype == np.float64
        # Items of at most ten, of which each has a few rounding errors.
        np.testing.assert_allclose(value, expected.mean(), atol=40 * np.finfo(dtype).eps)
        differences = [
            (float(part(z[:, None] + move)[0]) - float(part(z[:, None] - move)[0])) / (2 * step)
            for move in step * np.eye(9)[:, :, None]
        ]
        np.testing.assert_allclose(d[:, 0], differences, atol=1e-7)


@pytest.mark.parametrize("name", ADVERSARIAL_LOSSES)
def test_the_losses_at_the_equilibrium(name):
    """Where the discriminator can tell nothing apart, its best score is the same for both."""
    loss = AdversarialLoss(name)
    guess = np.full((1, 1), 0.5 if name == "least_squares" else 0.0)
    if loss.compares_pairs:
        values = [float(loss.of_pairs(guess, guess)[0])] * 2
    else:
        values = float(loss.of_real(guess)[0] + loss.of_fake(guess)[0]), float(loss.of_generator(guess)[0])
    if loss.at_equilibrium is not None:
        np.testing.assert_allclose(values, loss.at_equilibrium, rtol=1e-12)


# --------------------------------------------------------------------------------------------------- the penalty


def penalised(activation, dtype, n_out=1):
    layers = [nn.Linear(3, 16), activation, nn.Linear(16, 8), activation, nn.Linear(8, n_out)]
    return nn.Network(layers, seed=3, dtype=dtype)


def exact_penalty(values, activation, x, weights):
    """``mean_i |g_i|^2`` with the gradient g_i of the weighted outputs, by the chain rule."""
    w1, b1, w2, b2, w3, _ = values
    if activation.name == "tanh":
        f, slope = np.tanh, lambda y: 1 - np.tanh(y) ** 2
    else:
        f, slope = (lambda y: np.where(y > 0, y, 0.2 * y)), lambda y: np.where(y > 0, 1.0, 0.2)
    first = x @ w1 + b1
    second = f(first) @ w2 + b2
    g = ((weights @ w3.T * slope(second)) @ w2.T * slope(first)) @ w1.T
    return (g**2).sum(axis=1).mean()


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("activation", [nn.Tanh(), nn.Activation("leaky_relu", 0.2)], ids=str)
def test_the_gradient_of_the_r1_penalty(activation, dtype, labels, rng):
    """The penalty's gradient, a difference along each sample's own gradient, is that of the exact penalty."""
    n, strength = 20, 2.0
    net = penalised(activation, dtype, 3 if labels else 1)
    x = rng.standard_normal((n, 3)).astype(dtype)
    y = np.eye(2, dtype=dtype)[rng.integers(2, size=n)] if labels else None
    judge = Judge(net)
    net.backward(0 * judge.spread(judge.scores(x, y)))
    value = GradientPenalty(net, strength, length_of(x)).add_gradient(x, judge.spread)
    weights = np.ones((n, 1)) if y is None else np.column_stack([np.ones(n), y])
    values = [p.value.astype(np.float64) for p in net.parameters()]
    wide = x.astype(np.float64)
    exact = strength / 2 * exact_penalty(values, activation, wide, weights)
    np.testing.assert_allclose(value, exact, rtol=20 * np.finfo(dtype).eps)
    # Both errors of the difference in the penalty are of the order eps^(2/3); leaky ReLU has rounding errors alone.
    tolerance = 10 * np.finfo(dtype).eps ** (2 / 3 if activation.name == "tanh" else 1)
    step = 1e-6
    for place, parameter in enumerate(net.parameters()):
        expected = np.empty(parameter.value.shape)
        for item in np.ndindex(expected.shape):
            found = []
            for sign in (1, -1):
                moved = [array.copy() for array in values]
                moved[place][item] += sign * step
                found.append(strength / 2 * exact_penalty(moved, activation, wide, weights))
            expected[item] = (found[0] - found[1]) / (2 * step)
        np.testing.assert_allclose(
            parameter.grad, expected, rtol=0, atol=max(tolerance, 1e-9), err_msg=parameter.name
        )


def test_the_gradient_of_the_r1_penalty_of_convolutions(rng):
    """By differences of the penalty itself, in which the units keep their signs."""
    layers = [nn.Reshape((6, 6, 1)), nn.Conv2d(1, 4, 4, stride=2, padding=1), nn.LeakyReLU(), nn.Flatten()]
    net = nn.Network([nn.Input(36), *layers, nn.Linear(36, 1)], seed=3, dtype=np.float64)
    x, ones = rng.standard_normal((5, 36)), np.ones((5, 1))
    net.forward(x)
    net.backward(0 * ones)
    GradientPenalty(net, 2.0, length_of(x)).add_gradient(x, lambda d: d)
    found = net.grad_arena.copy()

    def penalty():
        net.forward(x)
        return (net.backward(ones, inputs=True, parameters=False) ** 2).sum(axis=1).mean()

    for place in rng.choice(np.flatnonzero(net.arena), 30, replace=False):
        kept, values, step = net.arena[place], [], 1e-6
        for sign in (1, -1):
            net.arena[place] = kept + sign * step
            values.append(penalty())
        net.arena[place] = kept
        np.testing.assert_allclose(found[place], (values[0] - values[1]) / (2 * step), rtol=0, atol=1e-8)


def test_a_frozen_layer_gets_no_gradient_of_the_penalty(rng):
    net = nn.Network([nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)], seed=1, dtype=np.float64)
    net.freeze(0)
    x = rng.standard_normal((5, 3))
    net.backward(0 * net.forward(x))
    before = net.grad_arena.copy()
    GradientPenalty(net, 2.0, 1.0).add_gradient(x, lambda d: d)
    of_first, of_last = (net.parameters()[i] for i in (0, 2))
    assert not of_first.grad.any()
    assert of_last.grad.any()
    assert (net.grad_arena != before).any()


def test_pairs_of_scores(rng):
    """The relativistic loss and both gradients, by differences, and a step of both players with it."""
    better, worse = rng.standard_normal((2, 9, 1))
    value, d = AdversarialLoss("relativistic").of_pairs(better, worse)
    np.testing.assert_allclose(value, np.logaddexp(0, worse - better).mean(), rtol=1e-12)
    np.testing.assert_allclose(d, -1 / (1 + np.exp(better - worse)) / 9, rtol=1e-12)


@pytest.mark.parametrize("name", ADVERSARIAL_LOSSES)
def test_gradients_of_both_players_are_differences(name, rng):
    """The gradient of each player, for fixed inputs of the generator, by differences of the loss that it counts."""
    discriminator, generator = players(loss=name, dtype=np.float64)
    X = rng.standard_normal((6, 3))
    batch = Batches(Samples(X, np.zeros(6, np.uint8)), shuffle=False).take(6)
    for player in (discriminator, generator):

        def loss_of(player=player):
            player.latent._draws[...] = 7
            player.begin()
            player.differentiate(batch)
            return player.end(1).loss / 6

        loss_of()
        arena, found, step = player.network.arena, player.network.grad_arena.copy(), 1e-6
        for place in np.flatnonzero(arena):
            kept, values = arena[place], []
            for sign in (1, -1):
                arena[place] = kept + sign * step
                values.append(loss_of())
            arena[place] = kept
            np.testing.assert_allclose(
                found[place], (values[0] - values[1]) / (2 * step), rtol=1e-6, atol=1e-9
            )


def test_a_discriminator_that_is_flat_has_no_penalty():
    net = nn.Network([nn.Linear(3, 1, init=0.0)])
    x = np.ones((4, 3), np.float32)
    net.backward(net.forward(x))
    assert float(GradientPenalty(net, 5.0, 1.0).add_gradient(x, lambda d: d)) < 1e-29
    assert np.isfinite(net.grad_arena).all()


def test_length_of_samples():
    assert length_of(np.array([[3.0, 4.0], [0.0, 0.0]])) == pytest.approx(math.sqrt(12.5))
    assert length_of(np.full((3, 4), 255, np.uint8)) == pytest.approx(2.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_clipped_parameters(dtype):
    arena = np.array([-2, -0.5, -0.25, 0, 0.125, 0.5, 8], dtype)
    clip_parameters(arena, 0.5)
    np.testing.assert_array_equal(arena, np.array([-0.5, -0.5, -0.25, 0, 0.125, 0.5, 0.5], dtype))


# --------------------------------------------------------------------------------------------------------- turns


def players(period=1, loss="hinge", dtype=np.float32):
    generator = nn.Network([nn.Linear(2, 3)], seed=1, dtype=dtype)
    discriminator = nn.Network([nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)], seed=2, dtype=dtype)
    judge, latent, loss = Judge(discriminator), Latent(generator, 2, seed=0), AdversarialLoss(loss)
    return (
        DiscriminatorSteps(judge, latent, loss, optim.Adam(discriminator.parameters())),
        GeneratorSteps(judge, latent, loss, optim.Adam(generator.parameters()), period=period),
    )


def steps_of(player):
    return int(np.ravel(player.optimizer.state_dict()["steps"])[0])


@pytest.mark.parametrize("period", [1, 2, 3])
def test_the_generator_takes_its_turns(period, rng):
    """Over epochs of five batches: one step of the generator for so many of the discriminator."""
    discriminator, generator = players(period=period)
    X = rng.standard_normal((47, 3)).astype(np.float32)
    trainer = Trainer(
        {"discriminator": discriminator, "generator": generator},
        Batches(Samples(X, np.zeros(47, np.uint8))),
        10,
    )
    for epoch in range(3):
        trainer.run_epoch(epoch)
        steps = 5 * (epoch + 1)
        assert steps_of(discriminator) == steps
        assert steps_of(generator) == steps // period
        assert trainer.losses == {
            "discriminator": pytest.approx(discriminator.mean_loss),
            "generator": pytest.approx(generator.mean_loss),
        }


def test_captured_turns_are_those_of_calls(rng):
    X = rng.standard_normal((30, 3)).astype(np.float32)

    def trained(captured):
        programs = dict(zip("dg", players(), strict=True))
        if not captured:
            for program in programs.values():
                program.captured = False
        trainer = Trainer(programs, Batches(Samples(X, np.zeros(30, np.uint8)), seed=3), 10)
        for epoch in range(3):
            trainer.run_epoch(epoch)
        return [program.network.arena.tobytes() for program in programs.values()]

    assert trained(True) == trained(False)


def test_inputs_of_a_generator():
    labels = np.eye(3, dtype=np.float32)[[0, 2, 2, 1]]
    like = np.empty(0, np.float32)
    z = generator_input(4, 5, labels, like, seed=7, stream=1)
    np.testing.assert_array_equal(z[:, 5:], labels)
    np.testing.assert_array_equal(z[:, :5], generator_input(4, 5, None, like, seed=7, stream=1))
    assert not np.array_equal(z[:, :5], generator_input(4, 5, None, like, seed=7, stream=2))
    counter = np.zeros((), np.int64)
    with steepest.capture() as graph:
        K.increment(counter)
        drawn = generator_input(4, 5, None, like, seed=7, stream=counter)
    for stream in (1, 2):
        graph.replay()
        np.testing.assert_array_equal(drawn, generator_input(4, 5, None, like, seed=7, stream=stream))
