"""What the losses of a generative adversarial network say about its training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from steepest._runtime.arrays import Array
from steepest._runtime.memory import array_namespace
from steepest.training.adversarial_losses import AdversarialLoss

# Epochs at the end of a fit whose mean losses are looked at: a fifth of all, and at least three.
_PART, _FEWEST = 5, 3
# The discriminator has won if its loss is below this fraction of that of guessing.
_WON = 0.05
# The losses have grown without bounds if one exceeds this multiple of that of guessing, or for scores that have no
# zero, of one.
_LARGE = 50.0
# The generator makes few different samples if their total variance is below this fraction of that of the data.
_NARROW = 0.1

ADVICE = {
    "discriminator_won": (
        "the discriminator tells all samples from generated ones, so that the generator learns nothing: pass r1 "
        "(such as r1=1.0), lower discriminator_learning_rate_init, or take fewer discriminator_steps"
    ),
    "divergence": (
        "the losses grow without bounds: lower learning_rate_init, pass r1 (such as r1=1.0), or with "
        "loss='wasserstein' clip (such as clip=0.05)"
    ),
    "mode_collapse": (
        "the generated samples hardly differ from each other: pass loss='relativistic' with r1 (such as r1=1.0) and "
        "beta_1=0, lower both learning rates, or take a larger batch_size or more discriminator_steps"
    ),
}


def total_variance(X: Array) -> float:
    """Return the sum of the variances of the columns; items of uint8 are divided by 255."""
    xp, scale = array_namespace(X), 255.0 if X.dtype == np.uint8 else 1.0
    return float(xp.var(X, axis=0, dtype=np.float64).sum()) / scale**2


def diagnose(
    loss: AdversarialLoss,
    discriminator_losses: Sequence[float],
    generator_losses: Sequence[float],
    spread: float,
) -> list[str]:
    """Return the names of what has gone wrong by the end of a training, keys of `ADVICE`.

    A discriminator that has won has losses near 0, and diverging players have losses far above those of guessing.
    Where the generator makes one kind of sample after the other, the discriminator catches up with each: the losses
    swing about those of guessing, which a sound training does as well in a small way; samples tell the two apart.

    Parameters
    ----------
    loss : AdversarialLoss
        The losses.
    discriminator_losses, generator_losses : sequence of float
        Means over each epoch.
    spread : float
        Total variance of generated samples divided by that of the data.
    """
    n = max(len(discriminator_losses) // _PART, _FEWEST)
    if len(discriminator_losses) < n:
        return []
    last = [np.asarray(losses[-n:], np.float64) for losses in (discriminator_losses, generator_losses)]
    of_discriminator, of_generator = (float(part.mean()) for part in last)
    guessing = loss.at_equilibrium
    scale = 1.0 if guessing is None else guessing[0]
    found = []
    if max(abs(of_discriminator), abs(of_generator)) > _LARGE * scale:
        found.append("divergence")
    elif guessing is not None and of_discriminator < _WON * guessing[0]:
        found.append("discriminator_won")
    if not spread >= _NARROW:
        found.append("mode_collapse")
    return found
