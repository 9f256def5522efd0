"""Training steps of a variational autoencoder and of a generative adversarial network on rows of 784 pixels.

The variational autoencoder is that of PyTorch's examples, 784-400-20 with ReLU and the Bernoulli likelihood, at a batch
size of 128. The adversarial networks have two hidden layers of 256 units, the relativistic loss and the R1 penalty,
which PyTorch differentiates twice; a step is one of both. All use Adam, and draw their own normal numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from bench.harness import OURS, Case, Contestant, Options
from bench.peers import Peers

PIXELS, LR = 784, 1e-3
VAE_BATCH, VAE_HIDDEN, VAE_CODE = 128, 400, 20
GAN_BATCH, GAN_HIDDEN, GAN_LATENT, R1 = 64, 256, 64, 1.0
# Losses are means over a batch, for other draws in each library: some standard errors.
TOLERANCE = 0.05


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    yield vae_case(options, peers)
    yield gan_case(options, peers)


def pixels(n: int) -> np.ndarray:
    """Pixels in [0, 1], most of them dark."""
    return (np.random.default_rng(0).random((n, PIXELS)) ** 4).astype(np.float32)


def uniform_weights(widths: list[tuple[int, int]], seed: int) -> list[np.ndarray]:
    """Weights (n_in, n_out) and biases of linear layers, in the order of the layers."""
    rng = np.random.default_rng(seed)
    found = []
    for n_in, n_out in widths:
        bound = n_in**-0.5
        found += [rng.uniform(-bound, bound, (n_in, n_out)), rng.uniform(-bound, bound, n_out)]
    return [array.astype(np.float32) for array in found]


def set_values(network, values: list[np.ndarray]) -> None:
    from steepest._runtime.memory import assign

    for parameter, value in zip(network.parameters(), values, strict=True):
        assign(parameter.value, value)


def torch_network(torch, widths: list[tuple[int, int]], values: list[np.ndarray], activation, device):
    """Linear layers with an activation between them."""
    layers = []
    for (n_in, n_out), weight, bias in zip(widths, values[::2], values[1::2], strict=True):
        layer = torch.nn.Linear(n_in, n_out)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight.T.copy()))
            layer.bias.copy_(torch.from_numpy(bias))
        layers += [layer, activation]
    return torch.nn.Sequential(*layers[:-1]).to(device.compute)


# --------------------------------------------------------------------------------------- variational autoencoder

ENCODER = [(PIXELS, VAE_HIDDEN), (VAE_HIDDEN, 2 * VAE_CODE)]
DECODER = [(VAE_CODE, VAE_HIDDEN), (VAE_HIDDEN, PIXELS)]


def vae_case(options: Options, peers: Peers) -> Case:
    import steepest
    from steepest import kernels as K
    from steepest import nn, optim
    from steepest.training.batches import Batch
    from steepest.training.variational import VariationalDescent

    device, X = options.device, pixels(VAE_BATCH)
    start = [uniform_weights(ENCODER, 1), uniform_weights(DECODER, 2)]
    x = nn.Input(PIXELS)
    code = nn.Linear(*ENCODER[1])(nn.ReLU()(nn.Linear(*ENCODER[0])(x)))
    encoder = nn.Network(x, [code, nn.SampleGaussian()(code)], device=device.compute)
    decoder = nn.Network([nn.Linear(*DECODER[0]), nn.ReLU(), nn.Linear(*DECODER[1])], device=device.compute)
    rule = optim.Adam([*encoder.parameters(), *decoder.parameters()], LR)
    program = VariationalDescent(encoder, decoder, lambda z, t: K.log_loss(z, t, reduction="sum"), rule)
    batch = Batch(device.xp.asarray(X), device.xp.zeros(VAE_BATCH, np.uint8), None)
    with steepest.capture() as graph:
        program.step(batch)

    def reset() -> None:
        for network, values in zip((encoder, decoder), start, strict=True):
            set_values(network, values)

    def result() -> dict[str, np.ndarray]:
        reset()
        program.begin()
        graph.replay()
        return {"loss": np.asarray(program.end(1).loss / VAE_BATCH)}

    def build_torch(label, torch):
        f, given = torch.nn.functional, device.tensor(torch, X)
        parts = [
            torch_network(torch, widths, values, torch.nn.ReLU(), device)
            for widths, values in zip((ENCODER, DECODER), start, strict=True)
        ]
        parameters = [p for part in parts for p in part.parameters()]
        optimizer = torch.optim.Adam(parameters, LR, fused=True)

        def loss_of():
            mean, s = parts[0](given).chunk(2, dim=1)
            z = mean + torch.exp(0.5 * s) * torch.randn_like(mean)
            likely = f.binary_cross_entropy_with_logits(parts[1](z), given, reduction="sum")
            return (likely + 0.5 * (mean**2 + s.exp() - 1 - s).sum()) / VAE_BATCH

        def call():
            optimizer.zero_grad(set_to_none=True)
            loss_of().backward()
            optimizer.step()

        return Contestant(label, call, lambda: {"loss": np.asarray(float(loss_of().detach()))})

    expected = vae_loss(start, X.astype(np.float64))
    return Case(
        f"variational autoencoder {PIXELS}-{VAE_HIDDEN}-{VAE_CODE}, batch {VAE_BATCH}",
        [
            Contestant(OURS, graph.replay, result, prepare=reset),
            peers.contestant("PyTorch", "torch", build_torch),
        ],
        oracle={"loss": np.asarray(expected)},
        tolerance={"loss": np.asarray(TOLERANCE * expected)},
        params={"batch": VAE_BATCH},
    )


def layered(x, values: list[np.ndarray], f: Callable) -> np.ndarray:
    """Linear layers with an activation between them, in float64."""
    for i in range(0, len(values), 2):
        x = (f(x) if i else x) @ values[i].astype(np.float64) + values[i + 1]
    return x


def vae_loss(start, x: np.ndarray) -> float:
    """The negative evidence lower bound with one draw for each row."""

    def relu(a):
        return np.maximum(a, 0)

    mean, s = np.split(layered(x, start[0], relu), 2, axis=1)
    z = mean + np.exp(s / 2) * np.random.default_rng(3).standard_normal(mean.shape)
    logits = layered(z, start[1], relu)
    likely = (np.logaddexp(0, logits) - x * logits).sum(axis=1)
    return float((likely + 0.5 * (mean**2 + np.exp(s) - 1 - s).sum(axis=1)).mean())


# ------------------------------------------------------------------------------------------ adversarial networks

GENERATOR = [(GAN_LATENT, GAN_HIDDEN), (GAN_HIDDEN, GAN_HIDDEN), (GAN_HIDDEN, PIXELS)]
DISCRIMINATOR = [(PIXELS, GAN_HIDDEN), (GAN_HIDDEN, GAN_HIDDEN), (GAN_HIDDEN, 1)]
SLOPE = 0.2


def gan_case(options: Options, peers: Peers) -> Case:
    import steepest
    from steepest import nn, optim
    from steepest.training.adversarial import DiscriminatorSteps, GeneratorSteps, Judge, Latent
    from steepest.training.adversarial_losses import AdversarialLoss
    from steepest.training.batches import Batch
    from steepest.training.gradient_penalty import GradientPenalty, length_of

    device, X = options.device, pixels(GAN_BATCH)
    start = [uniform_weights(GENERATOR, 1), uniform_weights(DISCRIMINATOR, 2)]

    def network(widths):
        layers = [layer for pair in widths for layer in (nn.Linear(*pair), nn.LeakyReLU(SLOPE))]
        return nn.Network(layers[:-1], device=device.compute)

    generator, discriminator = network(GENERATOR), network(DISCRIMINATOR)
    judge, latent, loss = (
        Judge(discriminator),
        Latent(generator, GAN_LATENT, 5),
        AdversarialLoss("relativistic"),
    )
    players = (
        DiscriminatorSteps(
            judge,
            latent,
            loss,
            optim.Adam(discriminator.parameters(), LR),
            penalty=GradientPenalty(discriminator, R1, length_of(X)),
        ),
        GeneratorSteps(judge, latent, loss, optim.Adam(generator.parameters(), LR)),
    )
    batch = Batch(device.xp.asarray(X), device.xp.zeros(GAN_BATCH, np.uint8), None)
    graphs = []
    for player in players:
        with steepest.capture() as graph:
            player.step(batch)
        graphs.append(graph)

    def call() -> None:
        for graph in graphs:
            graph.replay()

    def reset() -> None:
        for one, values in zip((generator, discriminator), start, strict=True):
            set_values(one, values)

    def result() -> dict[str, np.ndarray]:
        reset()
        players[0].begin()
        graphs[0].replay()
        return {"loss": np.asarray(players[0].end(1).loss / GAN_BATCH)}

    def build_torch(label, torch):
        f, given = torch.nn.functional, device.tensor(torch, X)
        g, d = (
            torch_network(torch, widths, values, torch.nn.LeakyReLU(SLOPE), device)
            for widths, values in zip((GENERATOR, DISCRIMINATOR), start, strict=True)
        )
        of_g, of_d = (torch.optim.Adam(one.parameters(), LR, fused=True) for one in (g, d))

        def made():
            return g(torch.randn(GAN_BATCH, GAN_LATENT, device=given.device))

        def discriminator_loss():
            with torch.no_grad():
                fakes = made()
            real = given.detach().requires_grad_()
            scores = d(real)
            (slopes,) = torch.autograd.grad(scores.sum(), real, create_graph=True)
            penalty = 0.5 * R1 * (slopes**2).sum(dim=1).mean()
            return f.softplus(d(fakes) - scores).mean() + penalty

        def step():
            of_d.zero_grad(set_to_none=True)
            discriminator_loss().backward()
            of_d.step()
            of_g.zero_grad(set_to_none=True)
            with torch.no_grad():
                scores = d(given)
            f.softplus(scores - d(made())).mean().backward()
            of_g.step()

        return Contestant(label, step, lambda: {"loss": np.asarray(float(discriminator_loss().detach()))})

    expected = discriminator_loss_of(start, X.astype(np.float64))
    return Case(
        f"adversarial networks of {GAN_HIDDEN} units with R1, batch {GAN_BATCH}",
        [
            Contestant(OURS, call, result, prepare=reset),
            peers.contestant("PyTorch", "torch", build_torch),
        ],
        oracle={"loss": np.asarray(expected)},
        tolerance={"loss": np.asarray(TOLERANCE * expected)},
        params={"batch": GAN_BATCH},
    )


def discriminator_loss_of(start, x: np.ndarray) -> float:
    """The discriminator's loss with its penalty, by the chain rule."""

    def leaky(a):
        return np.where(a > 0, a, SLOPE * a)

    z = np.random.default_rng(4).standard_normal((len(x), GAN_LATENT))
    fakes = layered(z, start[0], leaky)
    w1, b1, w2, b2, w3, b3 = (value.astype(np.float64) for value in start[1])
    first = x @ w1 + b1
    second = leaky(first) @ w2 + b2
    scores = leaky(second) @ w3 + b3
    slopes = (np.where(second > 0, 1, SLOPE) * w3[:, 0]) @ w2.T * np.where(first > 0, 1, SLOPE) @ w1.T
    penalty = 0.5 * R1 * (slopes**2).sum(axis=1).mean()
    return float(np.logaddexp(0, layered(fakes, start[1], leaky) - scores).mean() + penalty)
