"""The jobs of the Fisher matrix benchmarks: a network, a batch, and the exact results in float64."""

from __future__ import annotations

import itertools
from functools import cached_property

import numpy as np
import scipy.linalg
import scipy.special
from bench import network

LAYERS = list(itertools.pairwise(network.WIDTHS))
WEIGHTS = sum(a * b for a, b in LAYERS)
PARAMETERS = network.parameter_count()


class Job:
    """The network 784-128-64-10 with ReLU and softmax cross-entropy, and the batch of every contestant.

    Vectors in parameter space are lists [w1, b1, w2, b2, w3, b3] with weights (n_in, n_out). Errors are relative, in
    the Euclidean norm.
    """

    def __init__(self, n: int, damping: float = 0.0):
        self.n, self.damping = n, damping
        self.x, self.y = network.random_digits(n)
        self.parameters = network.initial_parameters()
        rng = np.random.default_rng(n)
        for bias in self.parameters[1::2]:
            bias[...] = 0.1 * rng.standard_normal(len(bias))
        self.v = [rng.standard_normal(p.shape, dtype=np.float32) for p in self.parameters]

    # ------------------------------------------------------------------------------------------- exact results

    @cached_property
    def _pass(self):
        """The inputs of the layers, and the predicted probabilities."""
        values = [self.x.astype(np.float64)]
        for i, (w, b) in enumerate(self._layers(self.parameters)):
            z = values[-1] @ w + b
            values.append(np.maximum(z, 0) if i < len(LAYERS) - 1 else z)
        return values[:-1], scipy.special.softmax(values[-1], axis=1)

    def _layers(self, vector):
        pairs = zip(vector[::2], vector[1::2], strict=True)
        return [(w.astype(np.float64), b.astype(np.float64)) for w, b in pairs]

    def _backward(self, d):
        """Gradients at the layers' outputs, for a gradient d at the logits."""
        inputs, _ = self._pass
        found = [d]
        for (w, _), x in zip(self._layers(self.parameters)[:0:-1], inputs[:0:-1], strict=True):
            found.append((found[-1] @ w.T) * (x > 0))
        return found[::-1]

    def _summed(self, grads):
        """Gradients of weights and biases, from the gradients at the layers' outputs."""
        pairs = zip(self._pass[0], grads, strict=True)
        return [a for x, d in pairs for a in (x.T @ d, d.sum(axis=0))]

    @cached_property
    def _scores(self):
        """Gradients of each sample's own loss at the layers' outputs."""
        return self._backward(self._pass[1] - np.eye(10)[self.y])

    @cached_property
    def gradient(self):
        return [g / self.n for g in self._summed(self._scores)]

    @cached_property
    def product(self):
        """F v with the exact Fisher matrix."""
        inputs, p = self._pass
        moved = 0.0
        for i, ((w, _), (vw, vb)) in enumerate(
            zip(self._layers(self.parameters), self._layers(self.v), strict=True)
        ):
            moved = (moved @ w if i else 0.0) + inputs[i] @ vw + vb
            if i < len(LAYERS) - 1:
                moved *= inputs[i + 1] > 0
        curved = p * (moved - (p * moved).sum(axis=1, keepdims=True))
        return self._summed(self._backward(curved / self.n))

    @cached_property
    def factors(self):
        """(E[a a^T], E[d d^T]) of each layer; a ends with a 1, and d averages over the predicted labels."""
        inputs, p = self._pass
        rows = [np.c_[x, np.ones(self.n)] for x in inputs]
        squares = [np.zeros((m, m)) for _, m in LAYERS]
        for c in range(p.shape[1]):
            weight = p[:, c : c + 1] / self.n
            for total, d in zip(squares, self._backward(p - np.eye(10)[c]), strict=True):
                total += (weight * d).T @ d
        return [(a.T @ a / self.n, g) for a, g in zip(rows, squares, strict=True)]

    @cached_property
    def gram(self):
        """The Gram matrix of the scores."""
        return sum((x @ x.T + 1) * (d @ d.T) for x, d in zip(self._pass[0], self._scores, strict=True))

    @cached_property
    def natural_gradient(self):
        """(S^T S / n + damping I)^-1 g with the scores S of the targets, from their Gram matrix."""
        system = self.gram / self.n + self.damping * np.eye(self.n)
        # S g = S S^T 1 / n, and by the Woodbury identity the result is a combination of scores.
        seen = self.gram.sum(axis=1) / self.n
        weights = (1 / self.n - scipy.linalg.solve(system, seen, assume_a="pos") / self.n) / self.damping
        return self._summed([weights[:, None] * d for d in self._scores])

    # -------------------------------------------------------------------------------------------------- errors

    def gradient_error(self, got) -> dict[str, np.ndarray]:
        return {"gradient": distance(got, self.gradient)}

    def product_error(self, got) -> dict[str, np.ndarray]:
        return {"product": distance(got, self.product)}

    def factors_error(self, got) -> dict[str, np.ndarray]:
        """Errors of the factors after normalisation, since only the product of their scales matters."""
        ones = [(a / a[-1, -1], g * a[-1, -1]) for a, g in got]
        return {
            "inputs": distance([a for a, _ in ones], [a for a, _ in self.factors]),
            "gradients": max(
                distance([g], [want]) for (_, g), (_, want) in zip(ones, self.factors, strict=True)
            ),
        }

    def gram_error(self, got) -> dict[str, np.ndarray]:
        return {"gram": distance([got], [self.gram])}

    def step_error(self, got) -> dict[str, np.ndarray]:
        """Error of parameters after a step of length 1 along the natural gradient."""
        moved = [p - q.astype(np.float64) for p, q in zip(self.parameters, got, strict=True)]
        return {"step": distance(moved, self.natural_gradient)}

    # ---------------------------------------------------------------------------------------------- operations

    @property
    def gradient_flops(self) -> float:
        return network.step_flops(self.n)

    @property
    def product_flops(self) -> float:
        """A forward tangent and a backward gradient; the forward pass is given."""
        return 2.0 * self.n * (2 * WEIGHTS + 2 * (WEIGHTS - LAYERS[0][0] * LAYERS[0][1]))

    @property
    def forward_flops(self) -> float:
        return 2.0 * self.n * WEIGHTS

    @property
    def passes_flops(self) -> float:
        """A forward pass, and a backward pass without weight gradients."""
        return 2.0 * self.n * (2 * WEIGHTS - LAYERS[0][0] * LAYERS[0][1])

    @property
    def gram_triangle_flops(self) -> float:
        """One triangle of the Gram matrices of each layer's inputs and output gradients."""
        return float(self.n) * (self.n + 1) * sum(p + m for p, m in LAYERS)

    @property
    def triangle_flops(self) -> float:
        """One triangle of each Kronecker factor."""
        return float(self.n) * sum((p + 1) * (p + 2) + m * (m + 1) for p, m in LAYERS)

    @property
    def factors_flops(self) -> float:
        """The passes and the triangles of the Kronecker factors."""
        return self.passes_flops + self.triangle_flops

    @property
    def gram_flops(self) -> float:
        """The passes and the triangles of the Gram matrices."""
        return self.passes_flops + self.gram_triangle_flops

    @property
    def step_flops(self) -> float:
        """The gradient, the triangle of the Gram matrix, its factor, and a combination of scores."""
        return self.gradient_flops + self.gram_triangle_flops + self.n**3 / 3 + self.forward_flops


def distance(got, want) -> np.ndarray:
    """Relative Euclidean distance of two lists of arrays: the norm of got - want over the norm of want."""
    difference = sum(np.sum((np.asarray(a, np.float64) - b) ** 2) for a, b in zip(got, want, strict=True))
    return np.sqrt(difference / sum(np.sum(b**2) for b in want))
