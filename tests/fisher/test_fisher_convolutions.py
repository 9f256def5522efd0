"""Fisher matrices of convolutions and normalisations: the exact one by complex steps, and its parts."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
from convolutional_networks import CASES, output_roots
from fisher_cases import assert_close

from steepest import fisher, nn
from steepest.fisher.blocks import ConvolutionRows, convolution, patches

LOSS = nn.SoftmaxCrossEntropy()
cases = pytest.mark.parametrize("name", CASES)


def exact(name, n=6, kind="exact", dtype=np.float64, **options):
    """Return the matrix of a case with weighted samples, and its network, inputs, labels and normalised weights."""
    net, X = CASES[name].network(dtype), CASES[name].inputs(n).astype(dtype)
    y, weight = np.arange(n) % 3, np.random.default_rng(2).uniform(0.5, 2, n)
    F = fisher.FisherMatrix(net, LOSS, X, y, kind=kind, sample_weight=weight, **options)
    return F, net, X, y, weight / weight.sum()


def twice():
    """A convolution that is called twice."""
    x, conv = nn.Input((4, 3, 2)), nn.Conv2d(2, 2, 3, padding=1)
    h = nn.Tanh()(conv(nn.Tanh()(conv(x))))
    return nn.Network(x, nn.Linear(24, 3)(nn.Flatten()(h)), dtype=np.float64, seed=3)


@cases
def test_the_matrix_is_that_of_complex_steps(name, rng):
    F, net, X, y, shares = exact(name)
    J, z = CASES[name].jacobian(net, X)
    roots = np.einsum("ncp,ncr->nrp", J, output_roots(z)) * np.sqrt(shares)[:, None, None]
    expected = np.einsum("nrp,nrq->pq", roots, roots)
    v = rng.standard_normal(F.size)
    assert_close(net.predict(X), z)
    assert_close(F.to_dense(), expected)
    assert_close(F @ v, expected @ v)
    assert_close(F.with_structure("diagonal").diagonal(), np.diag(expected))
    layers = [p.name.rpartition(".")[0] for p in net.parameters() for _ in range(p.value.size)]
    same = np.array(layers)[:, None] == np.array(layers)
    assert_close(F.with_structure("block").to_dense(), np.where(same, expected, 0.0))
    solution = np.linalg.solve(expected + 0.1 * np.eye(F.size), v)
    for solver in ("cholesky", "gram", "cg"):
        assert_close(exact(name, solver=solver)[0].solve(v, 0.1), solution, 1e-8)
    scores = np.einsum("nc,ncp->np", scipy.special.softmax(z, axis=1) - np.eye(3)[y], J)
    assert_close(fisher.score(net, LOSS, X, y), scores)
    assert_close(fisher.score_norms(net, LOSS, X, y), np.linalg.norm(scores, axis=1))
    empirical = exact(name, kind="empirical")[0]
    assert_close(empirical.to_dense(), np.einsum("n,np,nq->pq", shares, scores, scores))
    assert_close(empirical @ v, np.einsum("n,np,nq,q->p", shares, scores, scores, v))


@pytest.mark.parametrize("by_windows", [True, False])
@pytest.mark.parametrize("kind", ["exact", "empirical"])
@pytest.mark.parametrize("name", [*CASES, "twice"])
def test_inner_products_either_way_and_in_blocks(name, kind, by_windows, monkeypatch, rng):
    """Products of windows, and of gradients, block by block, are those of the rows of all samples."""
    if name == "twice":
        net, X, y = twice(), rng.standard_normal((5, 4, 3, 2)), np.arange(5) % 3
        F = fisher.FisherMatrix(net, LOSS, X, y, kind=kind)
    else:
        F = exact(name, kind=kind)[0]
    factors = F._batch.factors
    rows, block = factors.rows(slice(0, 1)), factors.blocks[0]
    assert isinstance(block, ConvolutionRows)
    monkeypatch.setattr(ConvolutionRows, "_is_cheaper_by_windows", lambda self, others: by_windows)
    stack = block.part.stacks[0]
    u, v = (rng.standard_normal((*stack.shape[:-2], side, side)) for side in stack.shape[-2:])
    for items in (1, 1 << 22):  # one sample at a time, and all of them
        monkeypatch.setattr(convolution, "_ITEMS", items)
        norms, gram = np.zeros(len(rows)), np.ones((len(rows), len(rows)))
        block.add_squared_norms(norms)
        block.add_gram(gram)
        assert_close(norms, (rows**2).sum(axis=1))
        assert_close(gram - 1, rows @ rows.T)
        np.testing.assert_array_equal(gram, gram.T)
        assert_close(block.squares().ravel(), (rows**2).sum(axis=0))
        along = np.swapaxes(u, -1, -2) @ stack.of(rows) @ v
        assert_close(block.moments_along(u, v, stack), (along**2).sum(axis=0))
    vector, combined = rng.standard_normal(rows.shape[1]), np.empty((rows.shape[1], 1))
    assert_close(block.times(vector.reshape(-1, 1)), rows @ vector)
    u = rng.standard_normal(len(rows))
    block.combine(u, combined)
    assert_close(combined[:, 0], rows.T @ u)


def test_a_convolution_that_is_called_twice(rng):
    """The gradient of a sample is the sum over the calls, which differentiation of each sample gives."""
    net, X, y = twice(), rng.standard_normal((5, 4, 3, 2)), np.arange(5) % 3
    scores = []
    for i in range(5):
        _, d = LOSS(net.forward(X[i : i + 1]), y[i : i + 1])
        net.backward(d)
        scores.append(np.concatenate([p.grad.ravel() for p in net.parameters()]))
    assert_close(fisher.score(net, LOSS, X, y), np.array(scores))


def test_the_cheaper_inner_products_are_taken():
    """A window on a large image gives many small products, a large window on a small one few large products."""
    wide = nn.Network([nn.Input((12, 12, 1)), nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(200, 2)])
    deep = nn.Network([nn.Input((3, 3, 16)), nn.Conv2d(16, 32, 2), nn.Flatten(), nn.Linear(128, 2)])
    for net, cheaper in ((wide, False), (deep, True)):
        X = np.zeros((4, *net._architecture.inputs[0].shape), np.float32)
        block = fisher.FisherMatrix(net, LOSS, X)._batch.factors.blocks[0]
        assert block._is_cheaper_by_windows(1) == block._is_cheaper_by_windows(4) == cheaper


@cases
def test_windows_are_those_of_the_loops(name, rng):
    case = CASES[name]
    net = case.network()
    step, w = fisher.FisherMatrix(net, LOSS, case.inputs())._batch.tape.steps[0], net.parameters()[0].value
    x, as_image = case.as_images(case.inputs(), w)
    values = {p.name: p.value for p in net.parameters()}
    z = case.preactivations(values, case.inputs())
    images, counts = (rng.standard_normal(z.shape), x.shape[1:3]) if case.is_transposed else (x, z.shape[1:3])
    expected = case.window.windows(images, as_image.shape[:2], counts)
    geometry, axes = step.node.operation.geometry, w.ndim - 2
    own = images if axes == 2 else images[:, 0]
    found = patches.patches(own, geometry, w.shape[:-2], counts[2 - axes :], ones=True)
    np.testing.assert_array_equal(found[..., :-1], expected)
    np.testing.assert_array_equal(found[..., -1], 1.0)
    # A view with other strides has the same windows.
    turned = np.asfortranarray(own)
    np.testing.assert_array_equal(
        patches.patches(turned, geometry, w.shape[:-2], counts[2 - axes :]), expected
    )


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.norm])
def test_float32(name):
    """Entries of F are sums of products of numbers that are each rounded a few times; a norm divides small ones."""
    single, double = exact(name, dtype=np.float32)[0], exact(name)[0]
    assert_close(single.to_dense(), double.to_dense(), 64 * np.finfo(np.float32).eps)
    v = np.random.default_rng(0).standard_normal(single.size)
    assert_close(single @ v, double @ v, 64 * np.finfo(np.float32).eps)


@pytest.mark.not_when_slow("it takes thousands of gradients")
def test_samples_of_the_exact_matrix(rng):
    """Sampled labels give the exact matrix in the mean, with an error of 1 / sqrt(samples)."""
    F = exact("grouped")[0]
    sampled = exact("grouped", kind="monte_carlo", n_samples=2000)[0]
    error = np.linalg.norm(sampled.to_dense() - F.to_dense()) / np.linalg.norm(F.to_dense())
    assert error < 3 / np.sqrt(2000)
