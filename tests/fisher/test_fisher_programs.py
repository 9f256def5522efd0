"""Fisher matrices of networks that are no chain: the exact one from complex steps, and K-FAC where it is exact."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
import scipy.linalg
import scipy.special
from programs import (
    Complex,
    Lookup,
    arguments,
    bilinear,
    diamond,
    listed,
    recurrent,
    residual,
    siamese,
    tied,
    two_inputs,
    two_outputs,
    written_out,
)

from steepest import fisher, nn, optim
from steepest import kernels as K
from steepest.fisher._structures import STRUCTURES

NETWORKS = [residual, siamese, tied, two_inputs, two_outputs, diamond, recurrent, bilinear]
networks = pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)
LOSS = nn.SoftmaxCrossEntropy()
LOSSES = (LOSS, nn.MeanSquaredError(half=True, reduction="sum"), nn.Poisson(reduction="sum"))


def loss_of(make):
    return LOSSES if make is two_outputs else LOSS


def given(inputs):
    return tuple(inputs) if len(inputs) > 1 else inputs[0]


def jacobian(make, net, inputs):
    """The derivatives of all outputs, side by side, by all parameters, of shape (n, c, P), and the outputs."""
    values = {p.name: p.value.astype(complex) for p in net.parameters()}
    found, step = [], 1e-30
    for p in net.parameters():
        array = values[p.name]
        for at in np.ndindex(array.shape):
            array[at] += 1j * step
            found.append(np.hstack(written_out(make, Complex(), values, inputs)).imag / step)
            array[at] -= 1j * step
    return np.stack(found, axis=-1), [z.real for z in written_out(make, Complex(), values, inputs)]


def fisher_of_output(z, loss):
    """The Fisher matrix of each row of an output, of shape (n, c, c)."""
    if isinstance(loss, nn.SoftmaxCrossEntropy):
        p = scipy.special.softmax(z, axis=1)
        return np.einsum("nc,cd->ncd", p, np.eye(z.shape[1])) - np.einsum("nc,nd->ncd", p, p)
    return (np.exp(z) if isinstance(loss, nn.Poisson) else np.ones_like(z))[:, :, None] * np.eye(z.shape[1])


def each_loss(make):
    return LOSSES if make is two_outputs else [LOSS]


def exact_matrix(make, net, inputs):
    J, outputs = jacobian(make, net, inputs)
    blocks = [fisher_of_output(z, loss) for z, loss in zip(outputs, each_loss(make), strict=True)]
    H = np.stack([scipy.linalg.block_diag(*rows) for rows in zip(*blocks, strict=True)])
    return np.einsum("ncp,ncd,ndq->pq", J, H, J, optimize=True) / len(J)


def targets_of(make, outputs, rng):
    """Targets of each output, and their gradients of the loss of each row."""
    targets, grads = [], []
    for z, loss in zip(outputs, each_loss(make), strict=True):
        if isinstance(loss, nn.SoftmaxCrossEntropy):
            y = rng.integers(0, z.shape[1], len(z))
            d = scipy.special.softmax(z, axis=1) - np.eye(z.shape[1])[y]
        else:
            y = rng.poisson(1.5, z.shape).astype(float)
            d = (np.exp(z) if isinstance(loss, nn.Poisson) else z) - y
        targets.append(y)
        grads.append(d)
    return given(targets), np.hstack(grads)


def close(found, expected, factor=1e-10):
    np.testing.assert_allclose(found, expected, rtol=0, atol=factor * np.abs(expected).max())


@networks
def test_the_exact_matrix(make, rng):
    net = make()
    inputs = arguments(net, rng, 7)
    X = given(inputs)
    expected = exact_matrix(make, net, inputs)
    loss = loss_of(make)
    F = fisher.FisherMatrix(net, loss, X)
    close(F.to_dense(), expected)
    v = rng.standard_normal(F.size)
    close(F @ v, expected @ v)
    close(F.with_structure("diagonal").diagonal(), np.diag(expected))
    blocks = F.with_structure("block").to_dense()
    layers = [p.name.rpartition(".")[0] for p in net.parameters() for _ in range(p.value.size)]
    same = np.array(layers)[:, None] == np.array(layers)
    close(blocks, np.where(same, expected, 0.0))
    by_solver = [
        fisher.FisherMatrix(net, loss, X, solver=solver).solve(v, 0.1)
        for solver in ("cholesky", "gram", "cg")
    ]
    want = np.linalg.solve(expected + 0.1 * np.eye(len(expected)), v)
    for found in by_solver:
        close(found, want, 1e-8)
    J, outputs = jacobian(make, net, inputs)
    y, d = targets_of(make, outputs, rng)
    scores = np.einsum("nc,ncp->np", d, J)
    close(fisher.score(net, loss, X, y), scores)
    close(fisher.score_norms(net, loss, X, y), np.linalg.norm(scores, axis=1))
    close(fisher.FisherMatrix(net, loss, X, y, kind="empirical").to_dense(), scores.T @ scores / len(J))


@networks
@pytest.mark.parametrize("structure", STRUCTURES)
def test_natural_gradient_training(make, structure, rng):
    net = make()
    inputs = arguments(net, rng, 40)
    X = given(inputs)
    outputs = listed(net.predict(*inputs))
    targets = given([outputs[0].argmax(axis=1), *outputs[1:]])
    for p in net.parameters():
        p.value[...] += 0.3 * rng.standard_normal(p.value.shape)
    optimizer = optim.NaturalGradient(net, loss_of(make), structure=structure)
    losses = [optimizer.step(X, targets).loss for _ in range(12)]
    assert losses[-1] < losses[0]
    assert losses == sorted(losses, reverse=True)


@dataclass(frozen=True)
class MeanOfPositions(nn.CustomLayer):
    capturable = False

    def output_shape(self, *shapes):
        return shapes[0][1:]

    def forward(self, inputs, parameters):
        return inputs[0].mean(axis=1)

    def vjp(self, d, inputs, output, parameters):
        positions = inputs[0].shape[1]
        return (np.repeat(d[:, None], positions, axis=1) / positions,), {}

    def jvp(self, inputs, output, parameters, moved_inputs, moved_parameters):
        return moved_inputs[0].mean(axis=1)


class Weighted(nn.CustomLayer):
    """The product of an input with a constant and with factors that are learned."""

    arity = (2, 2)

    def output_shape(self, *shapes):
        return shapes[0]

    def parameters(self, *shapes):
        return {"factor": nn.ParameterSpec(tuple(shapes[0]), 0.5)}

    def forward(self, inputs, parameters):
        return inputs[0] * inputs[1] * parameters["factor"]

    def vjp(self, d, inputs, output, parameters):
        scaled = d * inputs[1]
        return (scaled * parameters["factor"], None), {"factor": (scaled * inputs[0]).sum(axis=0)}


@pytest.mark.parametrize("structure", ["kfac", "kfac_reduce"])
@pytest.mark.parametrize("weighted", [True, False])
def test_kfac_of_tied_weights(structure, weighted, rng):
    """One product for two: factors of equal traces are added, and the product has the trace of the sum."""
    net, X = tied(), rng.standard_normal((8, 5))
    weight = rng.uniform(0.5, 2, 8) if weighted else np.ones(8)
    F = fisher.FisherMatrix(
        net, nn.MeanSquaredError(reduction="sum"), X, structure=structure, sample_weight=weight
    )
    w, b = net.parameters()[0].value, net.parameters()[1].value
    hidden = 1 / (1 + np.exp(-(X @ w + b)))
    rate = weight / weight.sum()
    inputs = np.hstack([X, np.ones((8, 1))])
    A = np.einsum("n,ni,nj->ij", rate, inputs, inputs)
    back = w[None] * (hidden * (1 - hidden))[:, None]  # (n, outputs, units)
    G = F.scale * np.einsum("n,nci,ncj->ij", rate, back, back)
    B = F.scale * np.pad(np.eye(5), (0, 1))
    H = np.einsum("n,ni,nj->ij", rate, hidden, hidden)
    trace = np.trace(A) * np.trace(G) + np.trace(B) * np.trace(H)
    A, G = A * np.sqrt(np.trace(G) / np.trace(A)), G * np.sqrt(np.trace(A) / np.trace(G))
    B, H = B * np.sqrt(np.trace(H) / np.trace(B)), H * np.sqrt(np.trace(B) / np.trace(H))
    product = np.kron(A + B, G + H)
    close(F.to_dense()[:18, :18], product * trace / np.trace(product))
    # The decoder's bias is a block of its own.
    close(F.to_dense()[18:, 18:], F.scale * np.eye(5))
    F.update(X, decay=0.5, sample_weight=weight)
    close(F.to_dense()[:18, :18], product * trace / np.trace(product))


@pytest.mark.parametrize("structure", ["kfac", "kfac_reduce"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_kfac_of_shared_weights_is_exact_for_linear_networks(structure, bias, weighted, rng):
    """Eschenhagen et al. (2023): expand where each position has a loss of its own, reduce where their mean has one."""
    layers = [nn.Input((3, 4)), nn.Linear(4, 2, bias=bias)]
    layers.append(nn.Flatten() if structure == "kfac" else MeanOfPositions())
    net = nn.Network(layers, dtype=np.float64)
    X, weight = rng.standard_normal((9, 3, 4)), rng.uniform(0.5, 2, 9) if weighted else None
    exact = fisher.FisherMatrix(net, nn.MeanSquaredError(), X, sample_weight=weight)
    close(exact.with_structure(structure).to_dense(), exact.to_dense())
    other = "kfac_reduce" if structure == "kfac" else "kfac"
    assert np.abs(exact.with_structure(other).to_dense() - exact.to_dense()).max() > 0.01


def test_averages_of_shared_weights(rng):
    """An average of batches has the moments of both."""
    net, batches = recurrent(), rng.standard_normal((2, 5, 4, 5))
    for structure in ("kfac", "kfac_reduce"):
        F = fisher.FisherMatrix(net, LOSS, batches[0], structure=structure)
        factors = [
            fisher.FisherMatrix(net, LOSS, X, structure=structure)._structure.kronecker for X in batches
        ]
        F.update(batches[1], decay=0.25)
        for first, second, found in zip(*factors, F._structure.kronecker, strict=True):
            for a, b, c in zip(first, second, found, strict=True):
                np.testing.assert_allclose(c, 0.25 * a + 0.75 * b, rtol=1e-12, atol=1e-15)


def test_several_outputs(rng):
    """The divergence adds up, sampled targets of the outputs are independent, and weights and dropout count."""
    net = two_outputs()
    X = arguments(net, rng, 9)[0]
    weight = rng.uniform(0.5, 2, 9)
    F = fisher.FisherMatrix(net, LOSSES, X, sample_weight=weight)
    outputs = net.predict(X)
    others = tuple(z + 0.1 * rng.standard_normal(z.shape) for z in outputs)
    assert F.divergence(outputs) == 0.0
    names = ("categorical", "gaussian", "poisson")
    parts = [
        K.output_divergence(z, other, name, weight / weight.sum())
        for z, other, name in zip(outputs, others, names, strict=True)
    ]
    np.testing.assert_allclose(F.divergence(others), sum(parts), rtol=1e-12)
    for wrong in (others[::-1], others[:2], (*others, X), (), np.hstack([*others, X])):
        with pytest.raises(ValueError, match=r"\[FisherMatrix\] the outputs have the shape"):
            F.divergence(wrong)
    assert F.scale == 1.0
    sampled = fisher.FisherMatrix(net, LOSSES, X, kind="monte_carlo", n_samples=4000, sample_weight=weight)
    error = np.abs(sampled.to_dense() - F.to_dense()).max() / np.abs(F.to_dense()).max()
    assert error < 6 / np.sqrt(4000)  # scores of Poisson targets have a kurtosis of a few
    with_dropout = nn.Network(
        x := nn.Input(5), [nn.Linear(5, 3)(nn.Dropout(0.5)(x)), nn.Linear(5, 2)(x)], dtype=np.float64
    )
    optimizer = optim.NaturalGradient(with_dropout, list(LOSSES[:2]), l2=0.01)
    y = (rng.integers(0, 3, 9), rng.standard_normal((9, 2)))
    first = [optimizer.step(X, y, weight).loss for _ in range(5)]
    assert first[-1] < first[0]
    twin = pickle.loads(pickle.dumps((with_dropout, optimizer)))[1]
    assert twin.step(X, y, weight) == optimizer.step(X, y, weight)


def test_an_output_without_parameters(rng):
    """It adds nothing to the matrix, and its loss is a constant."""
    x = nn.Input(4)
    net = nn.Network(x, [nn.Linear(4, 3)(x), nn.Tanh()(x)], seed=1, dtype=np.float64)
    alone = nn.Network([nn.Linear(4, 3)], seed=1, dtype=np.float64)
    X, v = rng.standard_normal((6, 4)), rng.standard_normal(15)
    close(fisher.FisherMatrix(net, LOSSES[:2], X) @ v, fisher.FisherMatrix(alone, LOSS, X) @ v)
    close(fisher.FisherMatrix(net, LOSSES[:2], X).to_dense(), fisher.FisherMatrix(alone, LOSS, X).to_dense())


def test_products_of_one_matrix_on_several_threads(rng):
    net = nn.Network([nn.Linear(30, 40), nn.Tanh(), nn.Linear(40, 5)], dtype=np.float64)
    F = fisher.FisherMatrix(net, LOSS, rng.standard_normal((50, 30)))
    vectors = rng.standard_normal((40, F.size))
    expected = [F @ v for v in vectors]
    with ThreadPoolExecutor(4) as pool:
        for found, wanted in zip(pool.map(F.__matmul__, vectors), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_what_has_no_matrix(rng):
    net = two_outputs()
    X = arguments(net, rng)[0]
    with pytest.raises(
        ValueError,
        match="got SoftmaxCrossEntropy for a network of 3 outputs: pass a tuple with a loss for each",
    ):
        fisher.FisherMatrix(net, LOSS, X)
    with pytest.raises(ValueError, match="got 2 losses for a network of 3 outputs"):
        optim.NaturalGradient(net, LOSSES[:2])
    with pytest.raises(ValueError, match=r"are 1, 1, 0\.16\d* times .* take reduction='sum', and half=True"):
        fisher.FisherMatrix(net, (LOSS, LOSSES[1], nn.MeanSquaredError(half=True)), X)
    with pytest.raises(ValueError, match="y must be a tuple of 3 arrays, one for each output, got ndarray"):
        fisher.FisherMatrix(net, LOSSES, X, np.zeros(6), kind="empirical")
    with pytest.raises(ValueError, match="y must be a tuple of 3 arrays, one for each output, got NoneType"):
        optim.NaturalGradient(net, LOSSES).step(X, None)
    with pytest.raises(ValueError, match="got a class: pass SoftmaxCrossEntropy"):
        optim.NaturalGradient(net, (nn.SoftmaxCrossEntropy, *LOSSES[1:]))
    with pytest.raises(ValueError, match="for a network of one output: pass the loss itself"):
        fisher.FisherMatrix(tied(), (LOSS,), X)
    y = (np.zeros(6, int), np.zeros((6, 3)), np.zeros((6, 6)))
    with pytest.raises(ValueError, match=r"y\[1\] has shape \(6, 3\); it must be \(6, 2\)"):
        fisher.FisherMatrix(net, LOSSES, X, y, kind="empirical")
    x = nn.Input((2, 3))
    with pytest.raises(ValueError, match=r"outputs that are vectors .* got samples of shape \(2, 4\)"):
        fisher.FisherMatrix(nn.Network(x, nn.Linear(3, 4)(x)), LOSS, np.zeros((5, 2, 3), np.float32))
    x = nn.Input(5000)
    wide = nn.Network(x, nn.Linear(5000, 2)(Weighted()(x, nn.Constant(np.ones(5000)))))
    F = fisher.FisherMatrix(wide, nn.MeanSquaredError(), np.zeros((3, 5000), np.float32))
    with pytest.raises(ValueError, match=r"structure='kfac' has no factors for the 5000 parameters 0.factor"):
        F.with_structure("kfac")
    words = nn.Input(4, dtype=np.int64)
    net = nn.Network(words, nn.Linear(12, 2)(nn.Flatten()(Lookup()(words))), dtype=np.float64)
    X = rng.integers(0, 7, (6, 4))
    matrix = fisher.FisherMatrix(net, LOSS, X, structure="block").to_dense()
    assert (np.linalg.eigvalsh(matrix) > -1e-12).all()
    with pytest.raises(NotImplementedError, match="has no jvp"):
        fisher.FisherMatrix(net, LOSS, X) @ np.ones(net.arena.size)[: 21 + 26]


def test_constants_have_no_batch_axis(rng):
    x = nn.Input(3)
    net = nn.Network(x, Weighted()(x, nn.Constant([1.0, -2.0, 0.5])), dtype=np.float64)
    X, y = rng.standard_normal((7, 3)), rng.integers(0, 3, 7)
    z = net.predict(X)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    close(fisher.score(net, LOSS, X, y), (p - np.eye(3)[y]) * X * [1.0, -2.0, 0.5])
