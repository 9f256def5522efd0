"""PyTorch contestants of the Fisher matrix benchmarks: PyTorch's own functions, curvlinops, nngeometry."""

from __future__ import annotations

import numpy as np
from bench.fisher_job import LAYERS, Job
from bench.harness import Contestant


class Model:
    """The network and the batch in PyTorch tensors; weights are (n_out, n_in)."""

    def __init__(self, job: Job, torch):
        self.torch, self.job = torch, job
        layers = []
        for a, b in LAYERS:
            layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
        self.net = torch.nn.Sequential(*layers[:-1])
        self.parameters = list(self.net.parameters())
        self.reset()
        self.x, self.y = torch.from_numpy(job.x), torch.from_numpy(job.y)
        self.loss = torch.nn.CrossEntropyLoss()

    def reset(self) -> None:
        with self.torch.no_grad():
            for p, value in zip(self.parameters, self.vector(self.job.parameters), strict=True):
                p.copy_(value)

    def vector(self, arrays) -> list:
        return [self.torch.from_numpy(np.ascontiguousarray(a.T)) for a in arrays]

    def gradient(self) -> list:
        return self.torch.autograd.grad(self.loss(self.net(self.x), self.y), self.parameters)

    def loader(self, *arrays):
        """A data loader that returns the whole batch without collating single samples."""
        return self.torch.utils.data.DataLoader(
            range(self.job.n), batch_size=self.job.n, collate_fn=lambda _: list(arrays)
        )

    def logarithms(self, x, y):
        """Log-probability of each sample's label, of shape (n, 1)."""
        return self.net(x).log_softmax(1).gather(1, y[:, None])


def numpy_vector(tensors) -> list[np.ndarray]:
    return [t.detach().numpy().T for t in tensors]


def gradient(name: str, job: Job, torch) -> Contestant:
    model = Model(job, torch)
    return Contestant(name, model.gradient, lambda: job.gradient_error(numpy_vector(model.gradient())))


def product(name: str, job: Job, torch) -> Contestant:
    """F v, with J v as the derivative of u -> J^T u; the graphs of both passes are kept."""
    model = Model(job, torch)
    grad, v = torch.autograd.grad, model.vector(job.v)
    z = model.net(model.x)
    p = z.detach().softmax(1)
    u = torch.zeros_like(z, requires_grad=True)
    pulled = grad(z, model.parameters, u, create_graph=True)

    def call():
        moved = grad(pulled, u, v, retain_graph=True)[0]
        curved = p * (moved - (p * moved).sum(1, keepdim=True)) / job.n
        return grad(z, model.parameters, curved, retain_graph=True)

    return Contestant(name, call, lambda: job.product_error(numpy_vector(call())))


def curvlinops_product(name: str, job: Job, torch, curvlinops) -> Contestant:
    model = Model(job, torch)
    v = model.vector(job.v)
    matrix = curvlinops.GGNLinearOperator(
        model.net,
        model.loss,
        model.parameters,
        [(model.x, model.y)],
        check_deterministic=False,
        num_data=job.n,
    )
    return Contestant(name, lambda: matrix @ v, lambda: job.product_error(numpy_vector(matrix @ v)))


def nngeometry_product(name: str, job: Job, torch, nngeometry) -> Contestant:
    from nngeometry.layercollection import LayerCollection
    from nngeometry.metrics import FIM
    from nngeometry.object import PMatImplicit, PVector

    model = Model(job, torch)
    layers = LayerCollection.from_model(model.net)
    v = model.vector(job.v)
    pairs = dict(zip(layers.layers, zip(v[::2], v[1::2], strict=True), strict=True))
    vector = PVector(layers, dict_repr=pairs)
    matrix = FIM(model.net, model.loader(model.x), PMatImplicit, layer_collection=layers)

    def call():
        return matrix.mv(vector).to_dict()

    def result():
        return job.product_error(numpy_vector([t for pair in call().values() for t in pair]))

    return Contestant(name, call, result)


def curvlinops_factors(name: str, job: Job, torch, curvlinops) -> Contestant:
    model = Model(job, torch)

    def call():
        matrix = curvlinops.KFACLinearOperator(
            model.net,
            model.loss,
            model.parameters,
            [(model.x, model.y)],
            fisher_type="mc",
            mc_samples=1,
            separate_weight_and_bias=False,
            check_deterministic=False,
            num_data=job.n,
            num_per_example_loss_terms=1,
        )
        matrix.compute_kronecker_factors()
        return [(a, matrix._gradient_covariances[at]) for at, a in matrix._input_covariances.items()]

    def result():
        return job.factors_error([(a.numpy(), g.numpy()) for a, g in call()])

    return Contestant(name, call, result)


def nngeometry_factors(name: str, job: Job, torch, nngeometry) -> Contestant:
    from nngeometry.metrics import FIM_MonteCarlo
    from nngeometry.object import PMatKFAC

    model = Model(job, torch)
    loader = model.loader(model.x)

    def call():
        return FIM_MonteCarlo(model.net, loader, PMatKFAC, trials=1).data

    def result():
        return job.factors_error([(a.detach().numpy(), g.detach().numpy()) for a, g in call().values()])

    return Contestant(name, call, result)


def formed_gram(name: str, job: Job, torch) -> Contestant:
    """The Gram matrix of per-sample gradients from torch.func."""
    model = Model(job, torch)
    parameters = {k: p.detach() for k, p in model.net.named_parameters()}

    def loss(values, x, y):
        z = torch.func.functional_call(model.net, values, (x[None],))
        return torch.nn.functional.cross_entropy(z, y[None])

    rows = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))

    def call():
        scores = torch.cat([g.flatten(1) for g in rows(parameters, model.x, model.y).values()], 1)
        return scores @ scores.T

    return Contestant(name, call, lambda: job.gram_error(call().numpy()), max_rounds=3)


def nngeometry_gram(name: str, job: Job, torch, nngeometry) -> Contestant:
    from nngeometry.gram import GramMatrix

    model = Model(job, torch)
    loader = model.loader(model.x, model.y)

    def call():
        return GramMatrix(model.net, loader, function=model.logarithms).data

    def result():
        return job.gram_error(call().detach().numpy().reshape(job.n, job.n))

    return Contestant(name, call, result)


def nngeometry_step(name: str, job: Job, torch, nngeometry) -> Contestant:
    """A natural-gradient step from the SVD of the matrix of per-sample gradients."""
    from nngeometry.backend import TorchHooksJacobianBackend
    from nngeometry.layercollection import LayerCollection
    from nngeometry.object import PMatLowRank, PVector

    model = Model(job, torch)
    loader = model.loader(model.x, model.y)
    layers = LayerCollection.from_model(model.net)

    def call():
        generator = TorchHooksJacobianBackend(model.net, function=model.logarithms, layer_collection=layers)
        matrix = PMatLowRank(generator, examples=loader)
        g = model.gradient()
        pairs = dict(zip(layers.layers, zip(g[::2], g[1::2], strict=True), strict=True))
        direction = matrix.solve(PVector(layers, dict_repr=pairs), regul=job.damping).to_dict()
        with torch.no_grad():
            for p, d in zip(model.parameters, [t for pair in direction.values() for t in pair], strict=True):
                p -= d

    def result():
        model.reset()
        call()
        return job.step_error(numpy_vector(model.parameters))

    return Contestant(name, call, result, prepare=model.reset, max_rounds=2)
