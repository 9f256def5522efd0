"""A Transformer of characters, trained whole: `python -m bench.character_model --text FILE [--steps N] [--rounds N]`.

`LanguageModel` and the same recipe in PyTorch take turns, each in a process of its own: 4 layers, 4 heads, 128
channels, windows of 64 characters at random places, 12 in a step, AdamW with one schedule, and gradients of norm 1 at
most. PyTorch starts from the initial weights of nanoGPT (A. Karpathy, 2022): normal, with the deviation 0.02, and less
before a residual sum. The loss is that of the last tenth of the text, in windows that follow one another.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from bench import language
from bench.language import Size

SIZE, BATCH, RATE, BETAS, DECAY = Size(4, 4, 128, 64), 12, 1e-3, (0.9, 0.99), 0.1


def train_ours(text: str, steps: int, seed: int) -> dict[str, float]:
    from steepest.neural_network import LanguageModel

    model = LanguageModel(
        n_units=SIZE.units,
        n_layers=SIZE.layers,
        n_heads=SIZE.heads,
        context=SIZE.context,
        max_steps=steps,
        batch_size=BATCH,
        learning_rate_init=RATE,
        alpha=DECAY,
        beta_1=BETAS[0],
        beta_2=BETAS[1],
        validation_fraction=0.0,
        random_state=seed,
    )
    trained, held_out = parts(text)
    begun = time.perf_counter()
    model.fit(trained)
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "loss": -model.score(held_out)}


def train_torch(text: str, steps: int, seed: int) -> dict[str, float]:
    import torch

    trained, held_out = parts(text)
    vocabulary = {token: i for i, token in enumerate(sorted(set(trained)))}
    ids, validation = (torch.tensor([vocabulary[c] for c in part]) for part in (trained, held_out))
    torch.manual_seed(seed)
    places = np.random.default_rng(seed)
    model = torch_model(torch, len(vocabulary))
    decaying = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim == 1]
    rule = torch.optim.AdamW(
        [{"params": decaying, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}],
        RATE,
        BETAS,
        fused=True,
    )
    rising = max(steps // 20, 1)

    def share(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - rising) / max(steps - rising, 1)))

    schedule = torch.optim.lr_scheduler.LambdaLR(rule, share)
    loss_of = torch.nn.functional.cross_entropy
    begun = time.perf_counter()
    for _ in range(steps):
        starts = torch.from_numpy(places.integers(len(ids) - SIZE.context, size=BATCH))
        windows = ids[starts[:, None] + torch.arange(SIZE.context + 1)]
        rule.zero_grad(set_to_none=True)
        loss_of(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        rule.step()
        schedule.step()
    seconds = time.perf_counter() - begun
    whole = (len(validation) - 1) // SIZE.context
    x, y = (validation[i : i + whole * SIZE.context].view(whole, SIZE.context) for i in (0, 1))
    with torch.no_grad():
        losses = [
            loss_of(model(x[i : i + 64]).flatten(0, 1), y[i : i + 64].flatten(), reduction="sum").item()
            for i in range(0, whole, 64)
        ]
    return {"seconds": seconds, "loss": sum(losses) / y.numel()}


def torch_model(torch, tokens: int):
    """The model of `bench.language` for so many tokens, with nanoGPT's initial weights."""
    shapes = weights(tokens)
    model, named = language.torch_model(torch, SIZE, shapes, tokens)
    with torch.no_grad():
        for name, parameter in named.items():
            if parameter.ndim > 1:
                inner = "output" in name or "perceptron2" in name
                parameter.normal_(0, 0.02 / math.sqrt(2 * SIZE.layers) if inner else 0.02)
            elif name.endswith("bias"):
                parameter.zero_()
            else:
                parameter.fill_(1)
    return model


def weights(tokens: int) -> dict[str, np.ndarray]:
    return language.weights_of(language.network(SIZE, tokens=tokens))


def parts(text: str) -> tuple[str, str]:
    """The text to learn, and its last tenth, without characters that the first part has not."""
    end = len(text) - len(text) // 10
    known = set(text[:end])
    return text[:end], "".join(c for c in text[end:] if c in known)


CONTESTANTS = {"steepest": train_ours, "PyTorch": train_torch}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, required=True, help="file to learn")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=1, help="fits of each, with other seeds")
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        text = options.text.read_text(encoding="utf-8")
        print(json.dumps(CONTESTANTS[options.contestant](text, options.steps, options.seed)))
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTESTANTS}
    for seed in range(options.rounds):
        for name, results in found.items():
            own = ["--contestant", name, "--seed", str(seed), "--steps", str(options.steps)]
            command = [sys.executable, "-m", "bench.character_model", "--text", str(options.text), *own]
            result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
            results.append(result)
            print(
                f"{name:9} seed {seed}: {result['seconds']:6.1f} s, validation loss {result['loss']:.4f}",
                flush=True,
            )
    ours, theirs = (np.array([r["seconds"] for r in results]) for results in found.values())
    print(f"PyTorch takes {np.median(theirs / ours):.2f} times as long")


if __name__ == "__main__":
    main()
