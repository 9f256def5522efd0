"""Training of an encoder and a decoder by the evidence lower bound."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.memory import aligned_zeros, array_namespace, scalar_like, to_host
from steepest.nn import Network
from steepest.optim import Optimizer

from .batches import Batch
from .programs import Program, Totals, lower_rate

# A loss of outputs for targets: its value and its gradient by the outputs.
LossOfOutputs = Callable[[Array, Array], tuple[Float64Array, Array]]


def prior_divergence(code: Array, beta: float = 1.0) -> tuple[Float64Array, Array]:
    """Return the divergence of Gaussians from the standard normal distribution, and beta times its gradient.

    ``KL(N(m, exp(s)) || N(0, 1)) = sum_j (m_j^2 + exp(s_j) - 1 - s_j) / 2`` in nats, a mean over the rows. Its gradient
    is ``(m, (exp(s) - 1) / 2) / n``.

    Parameters
    ----------
    code : ndarray of shape (n, 2 k)
        Means m and, behind them, log-variances s.
    beta : float, default=1.0
        Factor of the gradient.

    Returns
    -------
    value : ndarray of shape (), float64
        The mean divergence.
    d_code : ndarray of shape (n, 2 k)
        Its gradient times beta.
    """
    xp, n, k = array_namespace(code), len(code), code.shape[1] // 2
    value = K.output_divergence(code, xp.zeros(code.shape, code.dtype), "gaussian_learned_variance")
    d_code = xp.empty(code.shape, code.dtype)
    d_mean, d_log_variance = d_code[:, :k], d_code[:, k:]
    K.multiply(code[:, :k], scalar_like(beta / n, code), out=d_mean)
    K.exp(code[:, k:], out=d_log_variance)
    K.add(d_log_variance, scalar_like(-1.0, code), out=d_log_variance)
    K.multiply(d_log_variance, scalar_like(0.5 * beta / n, code), out=d_log_variance)
    return value, d_code


class VariationalDescent(Program):
    """Mini-batch steps on ``reconstruction + beta * divergence``, the negative evidence lower bound.

    D. Kingma, M. Welling, "Auto-encoding variational Bayes", ICLR 2014; beta is that of I. Higgins et al., "beta-VAE",
    ICLR 2017.

    Parameters
    ----------
    encoder : Network
        Its outputs are the code, of means and log-variances, and a draw from it, as `nn.SampleGaussian` makes.
    decoder : Network
        Makes the parameters of the distribution of the samples from a draw.
    loss : callable
        Of these parameters and the samples: the mean negative log-likelihood of a row, and its gradient.
    optimizer : Optimizer
        Optimizer of the parameters of both.
    beta : float, default=1.0
        Weight of the divergence.
    constant : float, default=0.0
        What the negative log-likelihood of a row has beside `loss`.

    Attributes
    ----------
    reconstruction, divergence : float
        Means of the two parts over the samples of the last epoch.
    """

    def __init__(
        self,
        encoder: Network,
        decoder: Network,
        loss: LossOfOutputs,
        optimizer: Optimizer,
        beta: float = 1.0,
        *,
        constant: float = 0.0,
    ) -> None:
        self.network, self.decoder, self.loss, self.optimizer = encoder, decoder, loss, optimizer
        self.beta, self._constant = beta, constant
        self.reconstruction = self.divergence = float("nan")
        self._totals = aligned_zeros((3,), np.float64, encoder.device)
        self._reconstruction, self._divergence, self._rows = (
            self._totals[i : i + 1].reshape(()) for i in range(3)
        )

    @property
    def networks(self) -> list[Network]:
        """Encoder and decoder."""
        return [self.network, self.decoder]

    @property
    def remedy(self) -> str:
        """Advice to lower the learning rate."""
        return lower_rate(self.optimizer)

    def step(self, batch: Batch) -> None:
        """Take a step on a batch, whose inputs are the targets, too."""
        x = batch.x
        assert not isinstance(x, tuple)
        code, z = self.network.forward(x)
        value, d_output = self.loss(self.decoder.forward(z), x)
        divergence_value, d_code = prior_divergence(code, self.beta)
        K.require_finite(value)
        K.require_finite(divergence_value)
        for total, part in (
            (self._reconstruction, value),
            (self._divergence, divergence_value),
            (self._rows, 1.0),
        ):
            K.accumulate(total, part, scale=len(batch))
        d_z = self.decoder.backward(d_output, inputs=True)
        self.network.backward([d_code, d_z])
        self.optimizer.step()

    def begin(self) -> None:
        """Begin an epoch: reset the totals."""
        self._totals[...] = 0

    def end(self, steps: int) -> Totals:
        """Return the totals of an epoch."""
        self.require_finite_parameters(steps)
        reconstruction, kl, rows = to_host(self._totals).tolist()
        reconstruction += self._constant * rows
        self.reconstruction, self.divergence = reconstruction / rows, kl / rows
        return Totals(reconstruction + self.beta * kl, None)
