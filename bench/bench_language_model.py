"""A small language model, a Transformer of characters: a training step with AdamW, and a step of generation.

The training step of steepest is replayed from a graph; PyTorch runs its own eagerly and compiled. In generation, a
sequence of half a window is there, and the scores of the next token are wanted: with a cache of keys and values, and in
PyTorch also without, as short programs do it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from bench import language
from bench.device import to_host
from bench.harness import OURS, Case, Contestant, Options
from bench.language import Size
from bench.peers import Peers, PeerUnavailableError, compiled

SMALL = Size(4, 4, 128, 64)
TINY = Size(1, 2, 16, 8)
BATCH = 12
LR, WEIGHT_DECAY = 1e-3, 0.1
# Of the derivative along a direction: its rounding errors are those of some thousand sums.
SLOPE_TOLERANCE = 1e-4


def cases(options: Options, peers: Peers) -> Iterator[Case]:
    size = TINY if options.quick else SMALL
    yield step_case(size, 2 if options.quick else BATCH, options, peers)
    if options.device.name == "cpu":
        yield generation_case(size, options, peers)


def step_case(size: Size, batch: int, options: Options, peers: Peers) -> Case:
    import steepest
    from steepest import nn, optim

    device, xp = options.device, options.device.xp
    rng = np.random.default_rng(1)
    ids, targets = (rng.integers(0, language.TOKENS, (batch, size.context)) for _ in range(2))
    net = language.network(size, device.compute)
    start = initial(net)
    direction = {name: rng.standard_normal(v.shape) for name, v in start.items()}
    expected, tolerance = oracle(size, start, direction, ids, targets)

    given, wanted = xp.asarray(ids), xp.asarray(targets)
    loss = nn.SoftmaxCrossEntropy()
    optimizer = optim.AdamW(net.parameters(), LR, weight_decay=WEIGHT_DECAY, max_norm=1.0)

    def gradients():
        value, d = loss(net.forward(given), wanted)
        net.backward(d)
        return value

    with steepest.capture() as graph:
        value = gradients()
        optimizer.step()

    def reset():
        for p in net.parameters():
            p.value[...] = xp.asarray(start[p.name])

    def result():
        reset()
        value = gradients()
        slope = sum(
            float((to_host(p.grad) * direction[p.name]).sum(dtype=np.float64)) for p in net.parameters()
        )
        return {"loss": np.asarray(float(value)), "slope": np.asarray(slope)}

    def build_torch(label, torch):
        if options.quick and "compiled" in label:
            raise PeerUnavailableError("not compiled in a quick run")
        model, named = language.torch_model(torch, size, start)
        model = model.to(device.compute)
        x, y = device.tensor(torch, ids), device.tensor(torch, targets).reshape(-1)
        rule = torch.optim.AdamW(model.parameters(), LR, weight_decay=WEIGHT_DECAY, fused=True)

        def loss_of():
            return torch.nn.functional.cross_entropy(model(x).reshape(-1, language.TOKENS), y)

        run = compiled(torch, loss_of) if "compiled" in label else loss_of

        def call():
            rule.zero_grad()
            run().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            rule.step()

        def torch_result():
            rule.zero_grad()
            value = run()
            value.backward()
            slope = 0.0
            for name, parameter in named.items():
                grad = parameter.grad.detach().cpu().numpy()
                is_table = name in ("0.weight", "1.weight")
                slope += float(
                    ((grad if is_table or grad.ndim == 1 else grad.T) * direction[name]).sum(dtype=np.float64)
                )
            return {"loss": np.asarray(float(value.detach())), "slope": np.asarray(slope)}

        return Contestant(label, call, torch_result)

    tokens = batch * size.context
    del value
    return Case(
        f"training step, {size.name}, batch {batch}",
        [
            Contestant(OURS, graph.replay, result, prepare=reset),
            peers.contestant("PyTorch", "torch", build_torch),
            peers.contestant("PyTorch compiled", "torch", build_torch),
        ],
        oracle=expected,
        tolerance=tolerance,
        flops=3 * size.flops(tokens),
        params={"size": size.name, "batch": batch},
        peer_tolerance=1.0,
    )


def initial(net) -> dict[str, np.ndarray]:
    """The initial weights, with biases and norms that are not trivial."""
    rng = np.random.default_rng(0)
    return {
        p.name: (to_host(p.value) + 0.02 * rng.standard_normal(p.value.shape)).astype(np.float32)
        for p in net.parameters()
    }


def oracle(size: Size, start, direction, ids, targets):
    """The loss and its derivative along a direction in float64, the latter by central differences."""
    step = 1e-5

    def moved(distance: float) -> float:
        return language.loss(size, {k: v + distance * direction[k] for k, v in start.items()}, ids, targets)

    value, slope = moved(0.0), (moved(step) - moved(-step)) / (2 * step)
    length = np.sqrt(sum((v**2).sum() for v in direction.values()))
    return (
        {"loss": np.asarray(value), "slope": np.asarray(slope)},
        {"loss": np.asarray(1e-5 * value), "slope": np.asarray(SLOPE_TOLERANCE * length)},
    )


def generation_case(size: Size, options: Options, peers: Peers) -> Case:
    rng = np.random.default_rng(2)
    half = size.context // 2
    ids = rng.integers(0, language.TOKENS, (1, half + 1))
    net = language.network(size)
    start = initial(net)
    for p in net.parameters():
        p.value[...] = start[p.name]
    expected = language.scores(size, start, ids)[:, -1]
    stream = net.stream()

    def begin():
        stream.reset()
        for t in range(half):
            stream.step(ids[:, t])

    def result():
        begin()
        return {"scores": stream.step(ids[:, half])}

    def build_torch(label, torch):
        model, _ = language.torch_model(torch, size, start)
        model.eval()
        x, last = torch.from_numpy(ids), torch.from_numpy(ids[:, half:])
        cached = "cache" in label
        caches: list[list] = [[] for _ in range(size.layers)]

        @torch.inference_mode()
        def prepare():
            caches[:] = [[] for _ in range(size.layers)]
            if cached:
                model(x[:, :half], caches)

        @torch.inference_mode()
        def call():
            if not cached:
                for _ in range(size.context - half - 1):
                    model(x)[:, -1]
                return
            kept = [list(cache) for cache in caches]
            for i in range(size.context - half - 1):
                model(last, caches, half + i)
            caches[:] = kept

        @torch.inference_mode()
        def torch_result():
            prepare()
            z = model(last, caches, half)[:, -1] if cached else model(x)[:, -1]
            return {"scores": z.numpy()}

        return Contestant(label, call, torch_result, size.context - half - 1, prepare=prepare)

    def ours():
        for _ in range(size.context - half - 1):
            stream.step(ids[:, half])
        begin()  # which takes steps, too

    return Case(
        f"a step of generation, {size.name}",
        [
            Contestant(OURS, ours, result, size.context - 1, prepare=begin),
            peers.contestant("PyTorch with a cache", "torch", build_torch),
            peers.contestant("PyTorch", "torch", build_torch),
        ],
        oracle={"scores": expected},
        tolerance={"scores": np.asarray(1e-4 * np.abs(expected).max())},
        flops=size.flops(1),
        params={"size": size.name},
        peer_tolerance=1.0,
    )
