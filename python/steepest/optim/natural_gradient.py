"""The natural gradient: steps of equal divergence instead of equal length."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from steepest._memory import assign, to_device, to_host
from steepest.fisher import FisherMatrix
from steepest.nn import Loss, Network

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]

# Levenberg's and Marquardt's rule, with Martens' and Grosse's factors.
_POOR, _GOOD, _FACTOR = 0.25, 0.75, 1.5
# By which a step that cannot be taken raises the damping.
_REJECTED = 4.0


@dataclass(frozen=True)
class Certificate:
    """What a step was expected to do, and what it did.

    Attributes
    ----------
    loss, new_loss : float
        Of the batch, with the penalty, before and after the step; the same where it was taken back.
    predicted : float
        Change of the loss by the quadratic model ``g^T d + d^T F d / 2``.
    ratio : float
        The actual change divided by the predicted one, 1 where the model is exact; nan where nothing was predicted.
    predicted_kl, kl : float
        Divergence of the distributions after the step from those before it, in nats a row: by ``d^T F d / 2``, and as
        computed from the outputs.
    residual : float
        Of the equations that were solved for the step, see `steepest.fisher.SolveReport`.
    damping : float
        What was added to the diagonal.
    length : float
        What the natural gradient was multiplied by.
    accepted : bool
        Whether the step was taken. It is not where the loss became infinite or NaN, or rose with `adapt_damping`.
    """

    loss: float
    new_loss: float
    predicted: float
    ratio: float
    predicted_kl: float
    kl: float
    residual: float
    damping: float
    length: float
    accepted: bool


class NaturalGradient:
    """Natural-gradient descent, ``theta -= lr (F + damping I)^-1 g``, with the Fisher matrix F of the batch.

    Of all steps of the same divergence KL(p(theta) || p(theta + d)), the one along ``F^-1 g`` lowers the loss most, as
    far as its first derivative tells: the minimum of ``g^T d + (d^T F d / 2 - c) / lr``, with a multiplier 1 / lr for
    the ball of divergence c (S. Amari, "Natural gradient works efficiently in learning", 1998).

    Parameters
    ----------
    net : Network
        To train, as for `steepest.fisher.FisherMatrix`.
    loss : Loss
        The negative log-likelihood of a distribution, as there.
    lr : float, default=1.0
        Length of the step, in (0, inf).
    damping : float, default=1e-3
        Added to the diagonal of F; not negative.
    kind : {"exact", "monte_carlo", "empirical"}, default="exact"
        Of the Fisher matrix.
    structure : {"dense", "block", "kfac", "ekfac", "diagonal"}, default="kfac"
        Of the Fisher matrix that is solved with. What a step is expected to do is computed with all of it.
    solver : {"auto", "cholesky", "gram", "cg"}, default="auto"
        Of the dense structure.
    adapt_damping : bool, default=False
        Whether damping grows by 3/2 after a step whose ratio is below 1/4, and shrinks by 2/3 after one above 3/4
        (J. Moré, "The Levenberg-Marquardt algorithm", 1978); and steps that raise the loss are taken back. It needs
        batches that are large enough for their loss to tell.
    kl_clip : float or None, default=None
        The largest predicted divergence of a step, in nats a row; longer ones are shortened to it.
    momentum : float, default=0.0
        Share of the last step that is added to the next, in [0, 1).
    l2 : float, default=0.0
        Strength of an L2 penalty ``l2 / 2 * sum(w**2)`` of the weights, not of the biases.
    seed : int, default=0
        Of the observations that the kind ``"monte_carlo"`` draws, another for each step.

    Attributes
    ----------
    damping : float
        As given, or as it has been adapted.
    certificate : Certificate or None
        Of the last step.

    Raises
    ------
    ValueError
        A number is out of range, or as of `FisherMatrix`.

    Examples
    --------
    >>> import numpy as np
    >>> from steepest import nn, optim
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 3))
    >>> y = (X.sum(axis=1) > 0).astype(np.int64)
    >>> net = nn.Network([nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)], dtype=np.float64)
    >>> opt = optim.NaturalGradient(net, nn.SoftmaxCrossEntropy(), kl_clip=0.1)
    >>> losses = [opt.step(X, y).loss for _ in range(20)]
    >>> bool(losses[-1] < 0.1 * losses[0])
    True
    """

    def __init__(
        self,
        net: Network,
        loss: Loss,
        lr: float = 1.0,
        *,
        damping: float = 1e-3,
        kind: str = "exact",
        structure: str = "kfac",
        solver: str = "auto",
        adapt_damping: bool = False,
        kl_clip: float | None = None,
        momentum: float = 0.0,
        l2: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._require("lr", lr, 0.0, math.inf, open_below=True)
        self._require("damping", damping, 0.0, math.inf)
        self._require("momentum", momentum, 0.0, 1.0)
        self._require("l2", l2, 0.0, math.inf)
        if kl_clip is not None:
            self._require("kl_clip", kl_clip, 0.0, math.inf, open_below=True)
        self.net, self.loss, self.lr, self.damping = net, loss, lr, damping
        self.kind, self.structure, self.solver = kind, structure, solver
        self.adapt_damping, self.kl_clip, self.momentum, self.l2 = adapt_damping, kl_clip, momentum, l2
        self.seed = seed
        self.certificate: Certificate | None = None
        self._steps = 0
        self._last: Float64 | None = None
        self._penalised = np.concatenate(
            [np.full(p.value.size, float(p.name.endswith("weight"))) for p in net.parameters()]
        )

    def step(self, X: Array, y: Array, sample_weight: Array | None = None) -> Certificate:
        """Take a step on a batch.

        Parameters
        ----------
        X : ndarray of shape (n, n_in)
            Inputs.
        y : ndarray
            Targets, as of the loss.
        sample_weight : ndarray of shape (n,), default=None
            Weights of the rows, of the network's dtype.

        Returns
        -------
        Certificate
            What the step did. The parameters are those from before it where it was not accepted; the damping is raised
            then.

        Raises
        ------
        ValueError, TypeError
            X, y or the weights are not as described; nothing has changed then.
        """
        parameters = self.net.parameters()
        before = self._flat([p.value for p in parameters])
        whole = FisherMatrix(
            self.net,
            self.loss,
            X,
            y,
            kind=self.kind,
            solver=self.solver,
            seed=self.seed + self._steps,
            sample_weight=sample_weight,
        )
        curvature = whole if self.structure == "dense" else whole.with_structure(self.structure)
        value = self._loss_of(whole.output, y, sample_weight)
        gradient = self._gradient(X, y, sample_weight, before)

        direction = -curvature.solve(gradient, self.damping + self.l2)
        report = curvature.report
        assert report is not None
        length = self.lr
        move = length * direction if self._last is None else length * direction + self.momentum * self._last
        product = whole @ move
        predicted_kl = 0.5 * float(move @ product) / whole.scale
        if self.kl_clip is not None and predicted_kl > self.kl_clip:
            shorter = math.sqrt(self.kl_clip / predicted_kl)
            move, product, length = shorter * move, shorter * product, shorter * length
            predicted_kl = self.kl_clip
        penalised = self.l2 * float((self._penalised * move**2).sum())
        predicted = float(gradient @ move) + 0.5 * (float(move @ product) + penalised)

        self._set(before + move)
        outputs = self.net.predict(X)
        new_value = self._loss_of(outputs, y, sample_weight)
        change = new_value - value
        ratio = change / predicted if predicted else math.nan
        accepted = math.isfinite(new_value) and not (self.adapt_damping and change > 0)
        damping, kl = self.damping, math.nan
        if accepted:
            kl = whole.divergence(outputs)
            self._last = move
            if self.adapt_damping and math.isfinite(ratio):
                self.damping *= _FACTOR if ratio < _POOR else 1 / _FACTOR if ratio > _GOOD else 1.0
        else:
            self._set(before)
            new_value, self._last = value, None
            # Damping of 0 would stay there.
            self.damping = max(self.damping, 1e-8) * _REJECTED
        self._steps += 1
        self.certificate = Certificate(
            value, new_value, predicted, ratio, predicted_kl, kl, report.residual, damping, length, accepted
        )
        return self.certificate

    # --------------------------------------------------------------------------------------------------- internals

    def _gradient(self, X: Array, y: Array, sample_weight: Array | None, theta: Float64) -> Float64:
        """Return the gradient of the penalised loss, with dropout."""
        _, d = self.loss(self.net.forward(X), y, sample_weight)
        self.net.backward(d)
        return self._flat([p.grad for p in self.net.parameters()]) + self.l2 * self._penalised * theta

    def _loss_of(self, outputs: Array, y: Array, sample_weight: Array | None) -> float:
        """Return the penalised loss of the present parameters and their outputs."""
        try:
            value = float(self.loss(outputs, y, sample_weight)[0])
        except FloatingPointError:  # a kernel found that it is not finite
            value = math.inf
        theta = self._flat([p.value for p in self.net.parameters()])
        return value + 0.5 * self.l2 * float((self._penalised * theta**2).sum())

    def _flat(self, arrays: list[Array]) -> Float64:
        return np.concatenate([to_host(a).astype(np.float64).ravel() for a in arrays])

    def _set(self, theta: Float64) -> None:
        start = 0
        for p in self.net.parameters():
            size = p.value.size
            values = theta[start : start + size].reshape(p.value.shape).astype(self.net.dtype)
            assign(p.value, to_device(values, self.net.device))
            start += size

    def _require(self, name: str, value: float, low: float, high: float, *, open_below: bool = False) -> None:
        if not (low < value < high or (value == low and not open_below)):
            bracket = "(" if open_below else "["
            raise ValueError(f"[NaturalGradient] {name} must be in {bracket}{low:g}, {high:g}), got {value}")
