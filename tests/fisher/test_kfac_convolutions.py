"""K-FAC of convolutions and normalisations: factors by their definition, and where it equals that of linear maps."""

from __future__ import annotations

import numpy as np
import pytest
from convolutional_networks import CASES, Window
from fisher_cases import KINDS, STRUCTURES, assert_close

from steepest import fisher, nn, optim
from steepest.fisher.blocks import base

LOSS = nn.SoftmaxCrossEntropy()
KRONECKER = ("kfac", "kfac_reduce", "ekfac")
cases = pytest.mark.parametrize("name", CASES)


def matrix(name, structure, n=6, weighted=True, **options):
    net, X = CASES[name].network(), CASES[name].inputs(n)
    weight = np.random.default_rng(2).uniform(0.5, 2, n) if weighted else np.ones(n)
    F = fisher.FisherMatrix(
        net,
        LOSS,
        X,
        np.arange(n) % 3,
        structure=structure,
        sample_weight=weight if weighted else None,
        **options,
    )
    return F, net, X, weight / weight.sum()


def same_group(case, shape):
    """The matrices of a convolution's groups as places in its weights and bias, a column of each for each group."""
    size, columns = int(np.prod(shape[:-1])), shape[-1] // case.window.groups
    rows = size + (case.layer.bias and not case.is_transposed)
    places = np.arange(rows * shape[-1]).reshape(rows, shape[-1])
    return [places[:, g * columns : (g + 1) * columns].ravel() for g in range(case.window.groups)]


@cases
@pytest.mark.parametrize("structure", ["kfac", "kfac_reduce"])
@pytest.mark.parametrize("weighted", [True, False])
def test_the_factors_are_those_of_the_definition(name, structure, weighted):
    """A Kronecker product for each group, and nothing between groups; bias of a transposed one: its exact block."""
    case, (F, net, X, shares) = CASES[name], matrix(name, structure, weighted=weighted)
    w = net.parameters()[0].value
    size = w.size + case.layer.bias * case.layer.out_channels
    expected = np.zeros((size, size))
    pairs = zip(*case.factors(net, X, shares, reduce=structure == "kfac_reduce"), strict=True)
    for places, (A, G) in zip(same_group(case, w.shape), pairs, strict=True):
        expected[np.ix_(places, places)] = np.kron(A, G)
    if case.is_transposed and case.layer.bias:
        expected[w.size :, w.size :] = F.with_structure("block").to_dense()[w.size : size, w.size : size]
    assert_close(F.to_dense()[:size, :size], expected)


@cases
@pytest.mark.parametrize("structure", KRONECKER)
@pytest.mark.parametrize("kind", KINDS)
def test_operations_are_those_of_the_matrix(name, structure, kind, rng):
    F = matrix(name, structure, kind=kind, n_samples=2)[0]
    dense, v = F.to_dense(), rng.standard_normal(F.size)
    damped = dense + 0.1 * np.eye(F.size)
    np.testing.assert_allclose(dense, dense.T, rtol=0, atol=1e-14)
    assert_close(F @ v, dense @ v)
    assert_close(F.diagonal(), np.diag(dense))
    assert_close(F.eigenvalues(), np.maximum(np.linalg.eigvalsh(dense), 0))
    assert_close(F.solve(v, 0.1), np.linalg.solve(damped, v))
    root = F.inverse_sqrt(0.1)
    assert_close(root @ (root @ v), np.linalg.solve(damped, v))
    assert np.isfinite(F.solve(v)).all()
    if structure == "ekfac":
        exact, kfac = (F.with_structure(other).to_dense() for other in ("block", "kfac"))
        assert F.trace() == pytest.approx(np.trace(exact), rel=1e-10)
        assert np.linalg.norm(exact - dense) <= np.linalg.norm(exact - kfac)


@cases
@pytest.mark.parametrize("split", ["pi", "even"])
def test_damping_split_between_the_factors(name, split, rng):
    F = matrix(name, "kfac")[0]
    v, found = rng.standard_normal(F.size), np.zeros(F.size)
    inverse = F.inverse(0.3, split=split)
    stacks = [stack for part in F.layout.blocks for stack in part.stacks]
    for (a, g), stack, of_v, of_found in zip(
        F._structure.kronecker, stacks, F.layout.stacks(v), F.layout.stacks(found), strict=True
    ):
        for group in range(stack.groups):
            at = group if stack.groups > 1 else ...
            A, G = a[at], g[at]
            pi = np.sqrt(np.trace(A) / len(A) / (np.trace(G) / len(G))) if split == "pi" else 1.0
            A, G = A + pi * np.sqrt(0.3) * np.eye(len(A)), G + np.sqrt(0.3) / pi * np.eye(len(G))
            of_found[at] = np.linalg.solve(A, of_v[at]) @ np.linalg.inv(G)
    assert_close(inverse @ v, found)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("bias", [True, False])
def test_a_window_of_one_pixel_is_a_linear_map_at_every_position(structure, bias, rng):
    X, y = rng.standard_normal((5, 3, 4, 2)), np.arange(5) % 3
    layers = [
        nn.Conv2d(2, 3, 1, bias=bias),
        nn.Linear(2, 3, bias=bias),
        nn.ConvTranspose2d(2, 3, 1, bias=False),
    ]
    found = []
    for layer in layers[: 2 if bias else 3]:
        net = nn.Network(
            [nn.Input((3, 4, 2)), layer, nn.Tanh(), nn.Flatten(), nn.Linear(36, 3)], seed=1, dtype=np.float64
        )
        values = np.random.default_rng(0)
        for p in net.parameters():
            own = 0.5 * values.standard_normal(p.value.size)
            if isinstance(layer, nn.ConvTranspose2d) and p.name == "0.weight":
                p.value[0, 0] = own.reshape(2, 3).T  # channels out, channels in
            else:
                p.value[...] = own.reshape(p.value.shape)
        F = fisher.FisherMatrix(net, LOSS, X, y, structure=structure)
        order = np.arange(F.size)
        if isinstance(layer, nn.ConvTranspose2d):
            order[:6] = order[:6].reshape(3, 2).T.ravel()
        found.append(F.to_dense()[np.ix_(order, order)])
    for other in found[1:]:
        assert_close(other, found[0])


@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_window_of_the_whole_image_is_a_linear_map(structure, rng):
    X, y = rng.standard_normal((5, 3, 4, 2)), np.arange(5) % 3
    flat, window = [nn.Flatten(), nn.Linear(24, 5)], [nn.Conv2d(2, 5, (3, 4)), nn.Flatten()]
    found = []
    for layers in (flat, window):
        net = nn.Network([nn.Input((3, 4, 2)), *layers, nn.Tanh(), nn.Linear(5, 3)], dtype=np.float64)
        values = np.random.default_rng(0)
        for p in net.parameters():
            p.value[...] = 0.5 * values.standard_normal(p.value.size).reshape(p.value.shape)
        found.append(fisher.FisherMatrix(net, LOSS, X, y, structure=structure).to_dense())
    assert_close(found[1], found[0])


@pytest.mark.parametrize(
    ("structure", "head"), [("kfac", nn.Flatten()), ("kfac_reduce", nn.GlobalAvgPool2d())]
)
def test_where_kfac_is_exact(structure, head, rng):
    """One input for all positions, and a linear network with the squared error: expand for positions with losses of
    their own, reduce for the loss of their mean (Eschenhagen et al., 2023)."""
    net = nn.Network([nn.Input((3, 3, 2)), nn.Conv2d(2, 3, 2, bias=False, stride=1), head], dtype=np.float64)
    exact = fisher.FisherMatrix(net, nn.MeanSquaredError(), rng.standard_normal((6, 3, 3, 2)))
    assert_close(exact.with_structure(structure).to_dense(), exact.to_dense())
    other = {"kfac": "kfac_reduce", "kfac_reduce": "kfac"}[structure]
    assert np.abs(exact.with_structure(other).to_dense() - exact.to_dense()).max() > 0.01


@pytest.mark.not_when_slow("it takes thousands of gradients")
def test_samples_of_the_factors(rng):
    """The factors of sampled labels tend to those of the exact kind, with an error of 1 / sqrt(samples)."""
    for name in ("grouped", "transposed"):
        F = matrix(name, "kfac")[0]
        sampled = matrix(name, "kfac", kind="monte_carlo", n_samples=2000)[0]
        error = np.linalg.norm(sampled.to_dense() - F.to_dense()) / np.linalg.norm(F.to_dense())
        assert 0 < error < 3 / np.sqrt(2000)


@pytest.mark.parametrize("structure", KRONECKER)
def test_factors_in_blocks_of_samples(structure, monkeypatch):
    """Windows of one sample at a time, and gradients of two, add up to those of the batch."""
    from steepest.fisher import _batch
    from steepest.fisher.blocks import patches

    for name in ("grouped", "transposed", "sequences"):
        whole = matrix(name, structure, n=7)[0].to_dense()
        with monkeypatch.context() as patch:
            patch.setattr(patches, "_ITEMS", 1)
            patch.setattr(patches, "_WINDOWS", 1)
            assert_close(matrix(name, structure, n=7)[0].to_dense(), whole)
            numbers = matrix(name, structure)[0]._batch.tape.numbers_of_a_row
            patch.setattr(_batch, "_BLOCK_BYTES", 3 * 2 * 8 * (numbers + 100))
            F = matrix(name, structure, n=7)[0]
            assert len(list(F._batch.factors_by_blocks())) > 1
            assert_close(F.to_dense(), whole)


@pytest.mark.parametrize("structure", ["kfac", "kfac_reduce"])
def test_the_factors_of_a_convolution_that_is_called_twice(structure, rng):
    """The positions of both calls count as those of one."""
    x, conv = nn.Input((4, 3, 2)), nn.Conv2d(2, 2, 3, padding=1)
    h = nn.Tanh()(conv(nn.Tanh()(conv(x))))
    net = nn.Network(x, nn.Linear(24, 3)(nn.Flatten()(h)), dtype=np.float64, seed=3)
    X, window = rng.standard_normal((5, 4, 3, 2)), Window(((1, 1), (1, 1)))
    w, b = (p.value for p in net.parameters()[:2])
    F = fisher.FisherMatrix(net, LOSS, X, structure=structure)
    seen = [window.windows(image, (3, 3))[0] for image in (X, np.tanh(window.convolved(X, w, b)))]
    inputs = np.concatenate([np.concatenate(seen, axis=1), np.ones((5, 24, 1))], axis=-1)
    grads = np.concatenate([use.d.reshape(15, 12, 2) for use in F._batch.factors.blocks[0].passes], axis=1)
    if structure == "kfac_reduce":
        inputs, grads = inputs.mean(axis=1, keepdims=True), grads.sum(axis=1, keepdims=True)
    A, G = F._structure.kronecker[0]
    assert_close(A, np.einsum("nti,ntj->ij", inputs, inputs) / (5 * inputs.shape[1]))
    assert_close(G, np.einsum("nti,ntj->ij", grads, grads))


@pytest.mark.parametrize("structure", ["kfac", "ekfac"])
def test_averages_of_batches(structure, rng):
    """Factors are averaged group by group, and EKFAC's moments carried to the new eigenvectors of each group."""
    net, X = CASES["grouped"].network(), CASES["grouped"].inputs(10)
    F = fisher.FisherMatrix(net, LOSS, X[:5], structure=structure)
    single = [fisher.FisherMatrix(net, LOSS, x, structure=structure) for x in (X[:5], X[5:])]
    old, new = (f._structure for f in single)
    F.update(X[5:], decay=0.25)
    for a, b, c in zip(old.kronecker, new.kronecker, F._structure.kronecker, strict=True):
        for first, second, found in zip(a, b, c, strict=True):
            assert_close(found, 0.25 * first + 0.75 * second)
    if structure == "ekfac":
        for k, (_, u, _, v) in enumerate(F._structure.bases[:1]):
            for group in range(2):
                basis = np.kron(u[group], v[group])
                _, old_u, _, old_v = old.bases[k]
                before = np.kron(old_u[group], old_v[group])
                carried = (before * old.values[k][group].ravel()) @ before.T
                expected = 0.25 * np.diag(basis.T @ carried @ basis) + 0.75 * (
                    second_moments(single[1], u, v)[group].ravel()
                )
                assert_close(F._structure.values[k][group].ravel(), expected)


def second_moments(F, u, v):
    block = F._batch.factors.blocks[0]
    stack = block.part.stacks[0]
    along = np.swapaxes(u, -1, -2) @ stack.of(block.rows()) @ v
    return (along**2).sum(axis=0)


def test_long_normalisations_have_a_block_for_each_channel(monkeypatch):
    """Up to 1024 parameters the exact block, and beyond that weight and bias of each channel."""
    names = [name for name, case in CASES.items() if case.norm]
    assert {type(CASES[name].norm[0]) for name in names} == {
        nn.BatchNorm,
        nn.LayerNorm,
        nn.RMSNorm,
        nn.GroupNorm,
    }
    for name in names:
        net = CASES[name].network()
        places = [k for k, p in enumerate(net.parameters()) if p.name.startswith("2.")]
        sizes = np.cumsum([0, *(p.value.size for p in net.parameters())])
        norm = slice(sizes[places[0]], sizes[places[-1] + 1])
        block = matrix(name, "block")[0].to_dense()[norm, norm]
        assert_close(matrix(name, "kfac")[0].to_dense()[norm, norm], block)
        monkeypatch.setattr(base, "_LARGEST_EXACT_NORM", 0)
        channel = np.tile(np.arange(net.parameters()[places[0]].value.size), len(places))
        for structure in KRONECKER:
            F = matrix(name, structure)[0]
            assert_close(F.to_dense()[norm, norm], np.where(channel[:, None] == channel, block, 0.0))
        v = np.ones(F.size)
        assert_close(F.solve(v, 0.1), np.linalg.solve(F.to_dense() + 0.1 * np.eye(F.size), v))
        monkeypatch.undo()


def test_a_convolution_of_many_parameters(rng):
    """Only the sides of the factors count: 577 and 32 for 18,464 parameters."""
    layers = [nn.Conv2d(64, 32, 3), nn.LayerNorm(32), nn.ReLU(), nn.GlobalAvgPool2d(), nn.Linear(32, 3)]
    net = nn.Network([nn.Input((4, 4, 64)), *layers], seed=0)
    X, y = rng.standard_normal((30, 4, 4, 64)).astype(np.float32), np.arange(30) % 3
    optimizer = optim.NaturalGradient(net, LOSS, split="pi", kind="monte_carlo")
    losses = [optimizer.step(X, y).loss for _ in range(4)]
    assert optimizer._curvature.matrix._structure.kronecker[0][0].shape == (577, 577)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_cuda(cupy, name, structure, rng):
    on_cpu, X = CASES[name].network(), CASES[name].inputs()
    on_cuda, y = on_cpu.to("cuda"), np.arange(6) % 3
    expected = fisher.FisherMatrix(on_cpu, LOSS, X, structure=structure)
    F = fisher.FisherMatrix(on_cuda, LOSS, cupy.asarray(X), structure=structure)
    v = rng.standard_normal(F.size)
    assert_close(F.to_dense(), expected.to_dense())
    assert_close(F @ v, expected @ v)
    assert_close(F.solve(v, 0.1), expected.solve(v, 0.1), 1e-8)
    norms = fisher.score_norms(on_cuda, LOSS, cupy.asarray(X), cupy.asarray(y))
    assert_close(cupy.asnumpy(norms), fisher.score_norms(on_cpu, LOSS, X, y))
    optimizer, other = (optim.NaturalGradient(n, LOSS, 0.1, structure=structure) for n in (on_cuda, on_cpu))
    done, by_cpu = optimizer.step(cupy.asarray(X), cupy.asarray(y)), other.step(X, y)
    assert done.new_loss < done.loss
    assert done.new_loss == pytest.approx(by_cpu.new_loss, rel=1e-9)


@pytest.mark.not_when_slow("it takes many steps")
@pytest.mark.parametrize("structure", STRUCTURES)
def test_training(structure, rng):
    """Images with a bright quarter, by convolutions with groups, pooling and norms, and from a saved state."""
    X = 0.3 * rng.standard_normal((60, 8, 8, 2))
    y = np.arange(60) % 4
    for image, label in zip(X, y, strict=True):
        image[4 * (label // 2) :, 4 * (label % 2) :][:4, :4] += 0.5
    layers = [
        nn.Conv2d(2, 4, 3, padding=1, groups=2),
        nn.GroupNorm(4, num_groups=2),
        nn.Tanh(),
        nn.MaxPool2d(2),
    ]
    layers += [nn.Conv2d(4, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(27, 4)]

    def make():
        net = nn.Network([nn.Input((8, 8, 2)), *layers], seed=0, dtype=np.float64)
        return net, optim.NaturalGradient(net, LOSS, structure=structure, factor_decay=0.9, inverse_period=2)

    net, optimizer = make()
    losses = [optimizer.step(X, y).loss for _ in range(12)]
    assert losses[-1] < 0.5 * losses[0]
    other, twin = make()
    other.arena[...] = net.arena
    twin.load_state_dict(optimizer.state_dict())
    for i in range(3):
        assert twin.step(X[i::3], y[i::3]) == optimizer.step(X[i::3], y[i::3])
    np.testing.assert_array_equal(other.arena, net.arena)


def test_the_rank_of_a_group(rng):
    """Two equal channels of the first group leave 6 of its 12 window items and the 1 of the bias: in float32, too."""
    net, X = CASES["grouped"].network(np.float32), CASES["grouped"].inputs().astype(np.float32)
    X[..., 1] = X[..., 0]
    structure = fisher.FisherMatrix(net, LOSS, X, structure="kfac")._structure
    kept = structure.nonzero(structure.values)[0]
    assert kept.shape == (2, 13, 3)
    assert kept.any(axis=2).sum(axis=1).tolist() == [7, 13]
    assert kept.any(axis=1).all()
