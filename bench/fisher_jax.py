"""JAX contestants of the Fisher matrix benchmarks, compiled: JAX's own functions, and kfac-jax."""

from __future__ import annotations

import numpy as np
from bench.fisher_job import LAYERS, Job
from bench.harness import Contestant


class Model:
    """The network and the batch in JAX arrays."""

    def __init__(self, job: Job, jax):
        jnp = jax.numpy
        self.jax = jax
        self.parameters = [jnp.asarray(p) for p in job.parameters]
        self.v = [jnp.asarray(a) for a in job.v]
        self.x, self.y = jnp.asarray(job.x), jnp.asarray(job.y.astype(np.int32))

    def logits(self, parameters, x, shifts=None):
        """The network's logits; `shifts` are added to the outputs of the layers."""
        for i in range(len(LAYERS)):
            x = x @ parameters[2 * i] + parameters[2 * i + 1]
            if shifts is not None:
                x = x + shifts[i]
            if i < len(LAYERS) - 1:
                x = self.jax.nn.relu(x)
        return x

    def inputs(self, parameters, x):
        """The inputs of all layers."""
        found = [x]
        for i in range(len(LAYERS) - 1):
            found.append(self.jax.nn.relu(found[-1] @ parameters[2 * i] + parameters[2 * i + 1]))
        return found

    def loss(self, parameters, x, y):
        return -self.jax.numpy.take_along_axis(
            self.jax.nn.log_softmax(self.logits(parameters, x)), y[:, None], 1
        ).mean()

    def scores(self, parameters, x, y):
        """Per-sample gradients, of shape (n, P)."""

        def of_one(x, y):
            g = self.jax.grad(self.loss)(parameters, x[None], y[None])
            return self.jax.numpy.concatenate([a.ravel() for a in g])

        return self.jax.vmap(of_one)(x, y)


def contestant(name: str, jax, call, error, **rest) -> Contestant:
    """A contestant that times `call`, which returns JAX arrays; `error` returns their errors."""
    return Contestant(name, lambda: jax.block_until_ready(call()), lambda: error(call()), **rest)


def gradient(name: str, job: Job, jax) -> Contestant:
    model = Model(job, jax)
    run = jax.jit(jax.grad(model.loss))
    return contestant(name, jax, lambda: run(model.parameters, model.x, model.y), job.gradient_error)


def product(name: str, job: Job, jax) -> Contestant:
    """F v, with a forward pass that is linearised once, since this package also keeps it."""
    model = Model(job, jax)
    z, tangent = jax.linearize(lambda p: model.logits(p, model.x), model.parameters)
    transposed = jax.linear_transpose(tangent, model.parameters)
    p = jax.nn.softmax(z)

    @jax.jit
    def run(v):
        moved = tangent(v)
        curved = p * (moved - (p * moved).sum(1, keepdims=True)) / job.n
        return transposed(curved)[0]

    return contestant(name, jax, lambda: run(model.v), job.product_error)


def factors(name: str, job: Job, jax) -> Contestant:
    """K-FAC factors with one Monte Carlo label a sample; gradients by shifts give those at the layers' outputs."""
    model, jnp = Model(job, jax), jax.numpy

    @jax.jit
    def run(parameters, x, key):
        shifts = [jnp.zeros((len(x), m), x.dtype) for _, m in LAYERS]
        z, pull = jax.vjp(lambda s: model.logits(parameters, x, s), shifts)
        drawn = jax.nn.one_hot(jax.random.categorical(key, z), z.shape[1], dtype=z.dtype)
        grads = pull(jax.nn.softmax(z) - drawn)[0]
        rows = [jnp.c_[a, jnp.ones((len(a), 1), a.dtype)] for a in model.inputs(parameters, x)]
        return [(a.T @ a / len(x), d.T @ d / len(x)) for a, d in zip(rows, grads, strict=True)]

    key = jax.random.PRNGKey(0)
    return contestant(name, jax, lambda: run(model.parameters, model.x, key), job.factors_error)


def formed_gram(name: str, job: Job, jax) -> Contestant:
    """The Gram matrix of per-sample gradients from vmap."""
    model = Model(job, jax)

    @jax.jit
    def run(parameters, x, y):
        scores = model.scores(parameters, x, y)
        return scores @ scores.T

    def error(gram):
        return job.gram_error(gram)

    return contestant(name, jax, lambda: run(model.parameters, model.x, model.y), error, max_rounds=3)


def step(name: str, job: Job, jax) -> Contestant:
    """A natural-gradient step from per-sample gradients and a Cholesky factor of their Gram matrix."""
    model, jnp = Model(job, jax), jax.numpy

    @jax.jit
    def run(parameters, x, y):
        scores = model.scores(parameters, x, y) / jnp.sqrt(job.n)
        g = scores.sum(0) / jnp.sqrt(job.n)
        factor = jax.scipy.linalg.cho_factor(scores @ scores.T + job.damping * jnp.eye(job.n))
        direction = (g - scores.T @ jax.scipy.linalg.cho_solve(factor, scores @ g)) / job.damping
        parts = jnp.split(direction, np.cumsum([p.size for p in parameters])[:-1])
        return [p - d.reshape(p.shape) for p, d in zip(parameters, parts, strict=True)]

    return contestant(name, jax, lambda: run(model.parameters, model.x, model.y), job.step_error)


def kfac_function(model: Model, kfac_jax):
    """The loss as kfac-jax expects it: a function of parameters and batch that registers its type."""

    def function(parameters, batch):
        x, y = batch
        z = model.logits(parameters, x)
        kfac_jax.register_softmax_cross_entropy_loss(z, y)
        return model.loss(parameters, x, y)

    return function


def kfac_product(name: str, job: Job, jax, kfac_jax) -> Contestant:
    model = Model(job, jax)
    curvature = kfac_jax.ImplicitExactCurvature(kfac_function(model, kfac_jax))
    run = jax.jit(lambda p, batch, v: curvature.multiply_fisher((p, batch), v))
    batch = (model.x, model.y)
    return contestant(name, jax, lambda: run(model.parameters, batch, model.v), job.product_error)


def kfac_factors(name: str, job: Job, jax, kfac_jax) -> Contestant:
    model = Model(job, jax)
    curvature = kfac_jax.BlockDiagonalCurvature(kfac_function(model, kfac_jax))
    arguments = (model.parameters, (model.x, model.y))
    key = jax.random.PRNGKey(0)
    empty = curvature.init(key, arguments, None, None)

    @jax.jit
    def run(state, parameters, batch, key):
        return curvature.update_curvature_matrix_estimate(
            state, 0.0, 1.0, 0.0, job.n, key, (parameters, batch), "fisher_gradients"
        )

    def error(state):
        blocks = {i: block.factors for i, block in enumerate(state.blocks_states)}
        pairs = [tuple(np.asarray(f.value) for f in factors) for factors in blocks.values()]
        # kfac-jax has its own order of the layers and of the two factors of each layer.
        found = [next(pair for pair in pairs if {len(f) for f in pair} == {p + 1, m}) for p, m in LAYERS]
        return job.factors_error([sorted(pair, key=len, reverse=True) for pair in found])

    return contestant(name, jax, lambda: run(empty, *arguments, key), error)
