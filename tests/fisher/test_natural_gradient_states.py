"""State dicts of the natural gradient: they resume training, are copies, and are validated."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from fisher_cases import STRUCTURES, network
from natural_gradients import LOSS, batches, parameters_of

from steepest import nn, optim


def resumed(opt, net, **options):
    """Make an optimizer for a copy of `net` and load the pickled state of `opt`."""
    other = nn.Network(net.layers, dtype=net.dtype)
    for own, p in zip(other.parameters(), net.parameters(), strict=True):
        own.value[...] = p.value
    state = pickle.loads(pickle.dumps(opt.state_dict()))
    twin = optim.NaturalGradient(other, LOSS, **options)
    twin.load_state_dict(state)
    return twin


AVERAGES = (
    {},
    {"factor_decay": 0.9},
    {"factor_decay": 0.9, "factor_period": 2, "inverse_period": 3},
    {"factor_period": 2, "inverse_period": 3},
)


@pytest.mark.parametrize(
    ("structure", "momentum_rule", "averaged"),
    # Every structure with every momentum rule; the ways of averaging rotate over these pairs.
    [
        (structure, rule, AVERAGES[(i + j) % 4])
        for i, structure in enumerate(STRUCTURES)
        for j, rule in enumerate(("step", "gradient", "model", "spring"))
    ],
    ids=str,
)
def test_a_state_goes_on(structure, momentum_rule, averaged):
    """After any step a state restores averages, cached inverse, samples, damping and momentum, bit for bit."""
    options = {
        "structure": structure,
        "momentum_rule": momentum_rule,
        "momentum": 0.7,
        "damping": 0.1,
        "kind": "monte_carlo",
        "adapt_damping": True,
        # Without averages, a dense matrix that is not formed is not saved.
        "solver": "auto" if structure != "dense" or "factor_decay" in averaged else "cholesky",
        **averaged,
    }
    net, data = network(3, (4, 3)), batches(5)
    opt, twins = optim.NaturalGradient(net, LOSS, 0.3, seed=5, **options), []
    for X, y in data:
        done = opt.step(X, y)
        for twin in twins:
            other = twin.step(X, y)
            assert parameters_of(twin.net).tobytes() == parameters_of(net).tobytes()
            assert (other.accepted, other.new_loss, twin.damping) == (
                done.accepted,
                done.new_loss,
                opt.damping,
            )
        twins.append(resumed(opt, net, **options))
        assert (twins[-1].lr, twins[-1].damping, twins[-1].seed) == (0.3, opt.damping, 5)


def test_a_state_is_a_copy():
    X, y = batches(1)[0]
    opt = optim.NaturalGradient(network(3), LOSS, momentum=0.5, factor_decay=0.9, inverse_period=2)
    opt.step(X, y)
    state = opt.state_dict()
    before = pickle.dumps(state)
    opt.step(X, y)
    twin = optim.NaturalGradient(network(3), LOSS, momentum=0.5, factor_decay=0.9, inverse_period=2)
    twin.load_state_dict(state)
    # A state saved before the next step equals the loaded one.
    np.testing.assert_equal(twin.state_dict(), state)
    for _ in range(3):
        twin.step(X, y)
    assert pickle.dumps(state) == before


def test_states_of_others_are_refused():
    X, y = batches(1)[0]
    net, options = network(3), {"structure": "kfac", "momentum": 0.5, "factor_decay": 0.9}
    opt = optim.NaturalGradient(net, LOSS, **options)
    opt.step(X, y)
    before = opt.state_dict()
    other = {**before, "lr": 0.5, "damping": 0.5, "steps": 9, "last": []}
    for state, text in (
        (optim.SGD(net.parameters()).state_dict(), "cannot load the state of SGD"),
        ({**before, "structure": "ekfac"}, "is that of structure='ekfac', not 'kfac'"),
        ({**before, "momentum_rule": "spring"}, "is that of momentum_rule='spring', not 'step'"),
        ({**before, "last": [np.zeros(7)]}, "another network than one of 31 parameters"),
        ({**other, "lr": "fast"}, "incomplete or damaged: .*fast"),
        ({**other, "damping": -1.0}, r"damping must be in \[0, inf\), got -1"),
        ({**other, "steps": 2.5}, "incomplete or damaged"),
        ({**other, "last": [np.zeros(31, complex)]}, "incomplete or damaged"),
        ({**other, "averages": [np.array(["a"])]}, "incomplete or damaged"),
        ({**other, "inverse": [1.0, 1.0]}, "incomplete or damaged"),
        ({**other, "batches": ["a", 1]}, "incomplete or damaged"),
        ({**other, "settled": "low"}, "incomplete or damaged: .*low"),
        ({**other, "taken": [np.zeros(7), 1.0]}, "incomplete or damaged"),
        (
            {key: value for key, value in other.items() if key != "inverted"},
            "incomplete or damaged: .*inverted",
        ),
    ):
        with pytest.raises(ValueError, match=rf"^\[NaturalGradient\] .*{text}"):
            opt.load_state_dict(state)
        np.testing.assert_equal(opt.state_dict(), before)
    # The next step detects averages of wrong shapes, and changes no parameter.
    opt.load_state_dict({**before, "averages": before["averages"][:1]})
    theta = parameters_of(net)
    with pytest.raises(ValueError, match="the averages have the shapes"):
        opt.step(X, y)
    np.testing.assert_array_equal(parameters_of(net), theta)
