"""Fisher matrices of small networks, and their outputs as functions of the parameters, for tests."""

from __future__ import annotations

from fisher_cases import (
    LOSSES,
    inputs,
    network,
    targets,
)

from steepest import fisher, nn


def make(name, kind="exact", structure="dense", n=6, hidden=(4,), activation=nn.Tanh, **options):
    loss, n_out = LOSSES[name]
    net, X = network(n_out, hidden, activation), inputs(n)
    return fisher.FisherMatrix(
        net, loss, X, targets(loss, n, n_out), kind=kind, structure=structure, **options
    )
