"""Losses of generative adversarial networks, of the scores that a discriminator gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from steepest import kernels as K
from steepest._runtime.arrays import Array, Float64Array
from steepest._runtime.memory import array_namespace, scalar_like

Result = tuple[Float64Array, Array]

# kept by hand: type checkers take names from the source
AdversarialName: TypeAlias = Literal[
    "non_saturating", "least_squares", "hinge", "wasserstein", "relativistic"
]


@dataclass(frozen=True)
class AdversarialLoss:
    """What a discriminator and a generator minimise.

    The discriminator D minimises the mean of `of_real` over samples x and of `of_fake` over generated ones G(z); the
    generator minimises the mean of `of_generator`:

    ================  =================  =================  ================
    name              of D(x)            of D(G(z))         of the generator
    ================  =================  =================  ================
    non_saturating    log(1 + exp(-D))   log(1 + exp(D))    log(1 + exp(-D))
    least_squares     (D - 1)^2 / 2      D^2 / 2            (D - 1)^2 / 2
    hinge             max(0, 1 - D)      max(0, 1 + D)      -D
    wasserstein       -D                 D                  -D
    ================  =================  =================  ================

    The relativistic loss compares scores in pairs, by `of_pairs`: the discriminator minimises the mean of
    log(1 + exp(D(G(z)) - D(x))), the generator that of log(1 + exp(D(x) - D(G(z)))). A generator that misses a part of
    the samples is no local minimum then (R. Sun, T. Fang, A. Schwing, "Towards a better global loss landscape of GANs",
    NeurIPS 2020).

    I. Goodfellow et al., "Generative adversarial nets", NIPS 2014; X. Mao et al., "Least squares generative adversarial
    networks", ICCV 2017; J. H. Lim, J. C. Ye, "Geometric GAN", 2017; M. Arjovsky, S. Chintala, L. Bottou, "Wasserstein
    generative adversarial networks", ICML 2017; A. Jolicoeur-Martineau, "The relativistic discriminator", ICLR 2019.

    Parameters
    ----------
    name : {"non_saturating", "least_squares", "hinge", "wasserstein", "relativistic"}
        The loss.
    """

    name: AdversarialName

    @property
    def compares_pairs(self) -> bool:
        """Whether `of_pairs` is the loss of both, instead of the three losses of scores alone."""
        return self.name == "relativistic"

    @staticmethod
    def of_pairs(better: Array, worse: Array) -> Result:
        """Return the loss of scores (n, 1), of which the first should be higher, and its gradient by these."""
        xp = array_namespace(better)
        difference = K.add(better, K.multiply(worse, scalar_like(-1.0, worse)))
        return K.log_loss(difference, xp.ones(difference.shape, difference.dtype))

    def of_real(self, score: Array) -> Result:
        """Return the discriminator's loss of scores (n, 1) of samples, float64, and its gradient by the scores."""
        return self._of(score, self.name, 1.0)

    def of_fake(self, score: Array) -> Result:
        """Return the discriminator's loss of scores of generated samples, and its gradient."""
        return self._of(score, self.name, 0.0 if self.name in ("non_saturating", "least_squares") else -1.0)

    def of_generator(self, score: Array) -> Result:
        """Return the generator's loss of scores of generated samples, and its gradient."""
        return self._of(score, "wasserstein" if self.name == "hinge" else self.name, 1.0)

    @property
    def at_equilibrium(self) -> tuple[float, float] | None:
        """The two losses where the discriminator can tell nothing apart; None if the scores have no zero."""
        return _AT_EQUILIBRIUM[self.name]

    @staticmethod
    def _of(score: Array, name: str, target: float) -> Result:
        xp = array_namespace(score)
        targets = xp.full(score.shape, target, score.dtype)
        if name == "non_saturating":
            return K.log_loss(score, targets)
        if name == "least_squares":
            return K.squared_error(score, targets, half=True)
        if name == "hinge":
            return K.hinge(score, targets)
        return _mean_of(score, -target)


def _mean_of(score: Array, sign: float) -> Result:
    """Return the mean score times a sign in float64, and its gradient.

    The softplus of a score less the softplus of its negative is the score itself.
    """
    xp = array_namespace(score)
    value, _ = K.log_loss(score, xp.full(score.shape, float(sign < 0), score.dtype))
    other, _ = K.log_loss(score, xp.full(score.shape, float(sign > 0), score.dtype))
    K.accumulate(value, other, scale=-1.0)
    return value, xp.full(score.shape, sign / len(score), score.dtype)


_LOG_2 = 0.6931471805599453
_AT_EQUILIBRIUM: dict[str, tuple[float, float] | None] = {
    "non_saturating": (2 * _LOG_2, _LOG_2),
    "least_squares": (0.25, 0.125),
    "hinge": (2.0, 0.0),
    "wasserstein": None,
    "relativistic": (_LOG_2, _LOG_2),
}
ADVERSARIAL_LOSSES: tuple[str, ...] = get_args(AdversarialName)
assert set(_AT_EQUILIBRIUM) == set(ADVERSARIAL_LOSSES)
