"""Find the modes of a ring of Gaussians with a GAN: `python -m bench.ring_gan [--seeds N] [--epochs N]`.

Eight Gaussians of standard deviation 0.02 lie on a circle of radius 2 (L. Metz et al., "Unrolled generative adversarial
networks", ICLR 2017). A mode is found if at least 20 of 2500 generated samples lie within three standard deviations of
it. A plain GAN finds one mode, an unrolled one 7.6, VEEGAN 8 (A. Srivastava et al., "VEEGAN: reducing mode collapse in
GANs using implicit variational learning", NIPS 2017, table 1, by a weaker criterion). `--plain` trains a GAN without
the relativistic loss and the R1 penalty.

The program prints a line for each seed, and exits with status 1 if all modes are found for fewer than four of five.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings

import numpy as np

MODES, RADIUS, DEVIATION = 8, 2.0, 0.02
SAMPLES, FEWEST = 2500, 20
SETTINGS = {"loss": "relativistic", "r1": 1.0, "beta_1": 0.0}


def centres() -> np.ndarray:
    """The means of the Gaussians, (MODES, 2)."""
    angles = 2 * np.pi * np.arange(MODES) / MODES
    return RADIUS * np.column_stack([np.cos(angles), np.sin(angles)])


def ring(n: int, seed: int) -> np.ndarray:
    """Draw samples from the ring."""
    rng = np.random.default_rng(seed)
    return (centres()[rng.integers(MODES, size=n)] + DEVIATION * rng.standard_normal((n, 2))).astype(
        np.float32
    )


def counts(samples: np.ndarray) -> np.ndarray:
    """The number of samples within three standard deviations of each mode."""
    distances = np.linalg.norm(samples[:, None] - centres(), axis=2)
    return (distances < 3 * DEVIATION).sum(axis=0)


def train(seed: int, epochs: int, plain: bool = False):
    """Fit a GAN to 10,000 samples."""
    from steepest.neural_network import GAN

    return GAN(16, batch_size=256, max_iter=epochs, random_state=seed, **({} if plain else SETTINGS)).fit(
        ring(10_000, seed)
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args()
    complete = 0
    for seed in range(options.seeds):
        begun = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = train(seed, options.epochs, options.plain)
        found = counts(model.sample(SAMPLES, seed=1))
        complete += int((found >= FEWEST).all())
        print(
            f"seed {seed}: {(found >= FEWEST).sum()} of {MODES} modes, {found.sum() / SAMPLES:.0%} of the samples near "
            f"one, {time.perf_counter() - begun:.0f} s"
            + "".join(f"; {str(one.message).split(':')[0]}" for one in caught),
            flush=True,
        )
    print(f"all modes: {complete} of {options.seeds} seeds")
    return 0 if complete >= 0.8 * options.seeds else 1


if __name__ == "__main__":
    sys.exit(main())
