"""Training of a generator and a discriminator against each other: two programs, or one with both steps."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from steepest import kernels as K
from steepest._runtime.arrays import Array, Float64Array, Int64Array
from steepest._runtime.memory import aligned_empty, aligned_zeros, array_namespace, scalar_like, to_host
from steepest.nn import Network
from steepest.nn.ops.sample_gaussian import standard_normal
from steepest.optim import Optimizer, ParameterAverage

from .adversarial_losses import AdversarialLoss
from .batches import Batch
from .gradient_penalty import GradientPenalty
from .programs import Program, Totals, lower_rate


def generator_input(
    n: int, n_latent: int, labels: Array | None, like: Array, *, seed: int, stream: int | Int64Array
) -> Array:
    """Return what a generator takes: standard normal numbers and, behind them, rows of labels, if there are any.

    Parameters
    ----------
    n, n_latent : int
        Number of rows, and of normal numbers in each.
    labels : ndarray of shape (n, n_classes) or None
        A one at the class of each row.
    like : ndarray
        An array of the dtype and on the device of the result.
    seed, stream : int
        Seed and stream of the numbers; the stream of a captured step is a 0-d int64 array.
    """
    width = n_latent + (0 if labels is None else labels.shape[1])
    z = aligned_empty((n, width), like.dtype, "cpu" if array_namespace(like) is np else "cuda")
    standard_normal((n, n_latent), seed, stream, like, out=z[:, :n_latent])
    if labels is not None:
        K.copy(labels, out=z[:, n_latent:])
    return z


class Judge:
    """Scores by a discriminator.

    With labels, a score is ``f(x) + sum_k y_k v_k(x)`` of the 1 + n_classes outputs (f, v): for a last layer that is
    linear, the projection discriminator (T. Miyato, M. Koyama, "cGANs with projection discriminator", ICLR 2018).

    Parameters
    ----------
    network : Network
        The discriminator.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self._chosen: Array | None = None

    def scores(self, x: Array, labels: Array | None) -> Array:
        """Return the scores (n, 1) of samples, in a forward pass as in training."""
        outputs = self.network.forward(x)
        self._chosen = None if labels is None else with_ones(labels)
        return score_of(outputs, self._chosen)

    def spread(self, d_score: Array) -> Array:
        """Return the gradient by the outputs from that by the scores, for the rows of the last pass or twice them."""
        chosen = self._chosen
        if chosen is None:
            return d_score
        d = aligned_empty((len(d_score), chosen.shape[1]), d_score.dtype, self.network.device)
        for start in range(0, len(d_score), len(chosen)):
            rows = slice(start, start + len(chosen))
            K.multiply(chosen, d_score[rows], out=d[rows])
        return d


def score_of(outputs: Array, chosen: Array | None) -> Array:
    """Return the scores (n, 1) from the outputs of a discriminator, and a one beside the labels, if there are any."""
    if chosen is None:
        return outputs
    return K.sum(K.multiply(outputs, chosen), axis=1).reshape(-1, 1)


def with_ones(labels: Array) -> Array:
    """Return a one beside each row of labels, for the output that counts with every label."""
    xp, (n, n_classes) = array_namespace(labels), labels.shape
    chosen: Array = xp.empty((n, 1 + n_classes), labels.dtype)
    K.copy(xp.ones((n, 1), labels.dtype), out=chosen[:, :1])
    K.copy(labels, out=chosen[:, 1:])
    return chosen


class Latent:
    """The generator's inputs in the steps of a training.

    Parameters
    ----------
    generator : Network
        The generator.
    n_latent : int
        Normal numbers in each row.
    seed : int
        Seed of the numbers.
    """

    def __init__(self, generator: Network, n_latent: int, seed: int) -> None:
        self.generator, self.n_latent, self._seed = generator, n_latent, seed
        self._draws: Int64Array = aligned_zeros((), np.int64, generator.device)

    def fakes(self, n: int, labels: Array | None) -> Array:
        """Return generated samples for new inputs, in a forward pass as in training."""
        K.increment(self._draws)
        z = generator_input(
            n, self.n_latent, labels, self.generator.arena, seed=self._seed, stream=self._draws
        )
        fakes: Array = self.generator.forward(z)
        return fakes


class _Part(Program):
    """What the two programs have in common: an optimizer, and totals of losses."""

    def __init__(self, network: Network, optimizer: Optimizer, period: int = 1) -> None:
        self.network, self.optimizer, self.period = network, optimizer, period
        self.mean_loss = float("nan")
        self._totals = aligned_zeros((2,), np.float64, network.device)
        self._loss, self._rows = (self._totals[i : i + 1].reshape(()) for i in range(2))

    @property
    def remedy(self) -> str:
        """Advice to lower the learning rate, or to keep the discriminator's scores from growing."""
        return f"{lower_rate(self.optimizer)}, or pass r1, such as r1=1.0"

    def step(self, batch: Batch) -> None:
        """Take a step on a batch."""
        self.differentiate(batch)
        self.update()

    @abstractmethod
    def differentiate(self, batch: Batch) -> None:
        """Compute the gradients by the parameters of the network."""

    def _count(self, values: list[Float64Array], n: int) -> None:
        """Add the mean losses of n rows to the totals; DivergenceError unless they are finite."""
        for value in values:
            K.require_finite(value)
        for value in values:
            K.accumulate(self._loss, value, scale=n)
        K.accumulate(self._rows, 1.0, scale=n)

    def begin(self) -> None:
        """Begin an epoch: reset the totals."""
        self._totals[...] = 0

    def end(self, steps: int) -> Totals:
        """Return the totals of an epoch, which may have had no step if it is not the program's turn."""
        self.require_finite_parameters(steps)
        loss, rows = to_host(self._totals).tolist()
        if rows:
            self.mean_loss = loss / rows
        return Totals(loss, None, rows or None)

    def update(self) -> None:
        """Change the parameters by the gradients that are there."""
        self.optimizer.step()


def labels_of(batch: Batch) -> Array | None:
    """Return the rows of labels of a batch, or None if its targets are place holders."""
    return batch.y if batch.y.ndim == 2 else None


class DiscriminatorSteps(_Part):
    """Steps of the discriminator: low losses for scores that tell samples and generated ones apart.

    Parameters
    ----------
    judge : Judge
        The discriminator.
    latent : Latent
        The generator and its inputs; it is not changed.
    loss : AdversarialLoss
        The losses.
    optimizer : Optimizer
        Optimizer of the discriminator.
    penalty : GradientPenalty or None, default=None
        The R1 penalty.
    clip : float or None, default=None
        Bound of the size of each parameter after a step.
    """

    def __init__(
        self,
        judge: Judge,
        latent: Latent,
        loss: AdversarialLoss,
        optimizer: Optimizer,
        *,
        penalty: GradientPenalty | None = None,
        clip: float | None = None,
    ) -> None:
        super().__init__(judge.network, optimizer)
        self.judge, self.latent, self.loss, self.penalty, self.clip = judge, latent, loss, penalty, clip

    def differentiate(self, batch: Batch) -> None:
        """Compute the gradients by the parameters of the discriminator."""
        x, labels, judge = batch.x, labels_of(batch), self.judge
        assert not isinstance(x, tuple)
        fakes = self.latent.fakes(len(batch), labels)
        if self.loss.compares_pairs:
            real = K.copy(judge.scores(x, labels))
            value, d = self.loss.of_pairs(real, judge.scores(fakes, labels))
            self.network.backward(judge.spread(K.multiply(d, scalar_like(-1.0, d))))
            judge.scores(x, labels)
            values = [value]
        else:
            of_fake, d_fake = self.loss.of_fake(judge.scores(fakes, labels))
            self.network.backward(judge.spread(d_fake))
            of_real, d = self.loss.of_real(judge.scores(x, labels))
            values = [of_real, of_fake]
        self.network.backward(judge.spread(d), accumulate=True)
        if self.penalty is not None:
            values.append(self.penalty.add_gradient(x, judge.spread))
        self._count(values, len(batch))

    def update(self) -> None:
        """Change the parameters by the gradients that are there, and clip them."""
        super().update()
        if self.clip is not None:
            clip_parameters(self.network.arena, self.clip)


class GeneratorSteps(_Part):
    """Steps of the generator: low losses for generated samples that the discriminator takes for samples.

    Parameters
    ----------
    judge, latent, loss, optimizer
        As of `DiscriminatorSteps`, with the optimizer of the generator.
    period : int, default=1
        The generator takes a step on one of so many batches.
    average : ParameterAverage or None, default=None
        The moving average of the generator.
    """

    def __init__(
        self,
        judge: Judge,
        latent: Latent,
        loss: AdversarialLoss,
        optimizer: Optimizer,
        *,
        period: int = 1,
        average: ParameterAverage | None = None,
    ) -> None:
        super().__init__(latent.generator, optimizer, period)
        self.judge, self.latent, self.loss, self.average = judge, latent, loss, average

    def differentiate(self, batch: Batch) -> None:
        """Compute the gradients by the parameters of the generator."""
        x, labels, judge = batch.x, labels_of(batch), self.judge
        assert not isinstance(x, tuple)
        real = K.copy(judge.scores(x, labels)) if self.loss.compares_pairs else None
        scores = judge.scores(self.latent.fakes(len(batch), labels), labels)
        value, d = self.loss.of_generator(scores) if real is None else self.loss.of_pairs(scores, real)
        self._count([value], len(batch))
        d_fakes = judge.network.backward(judge.spread(d), inputs=True, parameters=False)
        self.network.backward(d_fakes)

    def update(self) -> None:
        """Change the parameters by the gradients that are there, and let them join the average."""
        super().update()
        if self.average is not None:
            self.average.update()


class SimultaneousSteps(Program):
    """A step of both at once, by gradients at the same parameters, as the analysis of adversarial training has it.

    Parameters
    ----------
    discriminator : DiscriminatorSteps
        The one.
    generator : GeneratorSteps
        The other.
    """

    def __init__(self, discriminator: DiscriminatorSteps, generator: GeneratorSteps) -> None:
        self.network = discriminator.network
        self.discriminator, self.generator = discriminator, generator

    @property
    def networks(self) -> list[Network]:
        """Discriminator and generator."""
        return [self.network, self.generator.network]

    @property
    def remedy(self) -> str:
        """As of one of them."""
        return self.discriminator.remedy

    def step(self, batch: Batch) -> None:
        """Take both steps on a batch."""
        self.discriminator.differentiate(batch)
        self.generator.differentiate(batch)
        self.discriminator.update()
        self.generator.update()

    def begin(self) -> None:
        """Begin an epoch of both."""
        self.discriminator.begin()
        self.generator.begin()

    def end(self, steps: int) -> Totals:
        """Return the sums of both totals."""
        found = self.discriminator.end(steps), self.generator.end(steps)
        return Totals(sum(one.loss for one in found), None)


def clip_parameters(arena: Array, bound: float) -> None:
    """Bring every parameter into [-bound, bound]; those within keep their bits.

    What a parameter exceeds a bound by is the ReLU of the difference.
    """
    minus_bound, minus = (scalar_like(value, arena) for value in (-bound, -1.0))
    above = K.activation(K.add(arena, minus_bound), "relu")
    below = K.activation(K.add(K.multiply(arena, minus), minus_bound), "relu")
    K.multiply(above, minus, out=arena, accumulate=True)
    K.add(arena, below, out=arena)
