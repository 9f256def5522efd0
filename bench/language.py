"""The language model of the benchmarks: its weights, its loss in float64, and the same model in PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TOKENS = 65


@dataclass(frozen=True)
class Size:
    """Layers, heads and units of a Transformer without dropout, and the length of its window."""

    layers: int
    heads: int
    units: int
    context: int

    @property
    def name(self) -> str:
        return f"{self.layers} layers, {self.heads} heads, {self.units} units, context {self.context}"

    def flops(self, tokens: int) -> float:
        """Operations of the products of a forward pass: those with weights, and those of attention."""
        weights = 12 * self.layers * self.units**2 + self.units * TOKENS
        return 2.0 * tokens * (weights + self.layers * self.units * self.context)


def network(size: Size, device: str = "cpu", tokens: int = TOKENS):
    """The model as a user of this package writes it."""
    from steepest import nn

    return nn.Network(
        [
            nn.Input(size.context, dtype=np.int64),
            nn.Embedding(tokens, size.units),
            nn.PositionalEncoding(size.context, "learned"),
            nn.TransformerEncoder(size.units, size.heads, size.layers, causal=True),
            nn.Linear(size.units, tokens),
        ],
        device=device,
    )


def weights_of(net) -> dict[str, np.ndarray]:
    return {p.name: np.array(p.value) for p in net.parameters()}


def _norm(x, p, name):
    mean = x.mean(axis=-1, keepdims=True)
    xh = (x - mean) / np.sqrt(((x - mean) ** 2).mean(axis=-1, keepdims=True) + 1e-5)
    return xh * p[f"{name}.weight"] + p[f"{name}.bias"]


def _linear(x, p, name):
    return x @ p[f"{name}.weight"] + p[f"{name}.bias"]


def scores(size: Size, p: dict[str, np.ndarray], ids: np.ndarray) -> np.ndarray:
    """Scores of the next tokens in float64, from the equations."""
    from scipy.special import erf, softmax

    p = {name: value.astype(np.float64) for name, value in p.items()}
    n, steps = ids.shape
    x = p["0.weight"][ids] + p["1.weight"][:steps]
    mask = np.where(np.tril(np.ones((steps, steps), bool)), 0.0, -np.inf)
    for i in range(size.layers):
        qkv = _linear(_norm(x, p, f"2.{i}_attention_norm"), p, f"2.{i}_attention.query_key_value")
        q, k, v = qkv.reshape(n, steps, 3, size.heads, -1).transpose(2, 0, 3, 1, 4)
        share = softmax(q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1]) + mask, axis=-1)
        heads = (share @ v).transpose(0, 2, 1, 3).reshape(n, steps, -1)
        x = x + _linear(heads, p, f"2.{i}_attention.output")
        hidden = _linear(_norm(x, p, f"2.{i}_perceptron_norm"), p, f"2.{i}_perceptron0")
        hidden = hidden * 0.5 * (1 + erf(hidden / np.sqrt(2)))
        x = x + _linear(hidden, p, f"2.{i}_perceptron2")
    return _linear(_norm(x, p, "2.norm"), p, "3")


def loss(size: Size, p: dict[str, np.ndarray], ids: np.ndarray, targets: np.ndarray) -> float:
    from scipy.special import log_softmax

    z = log_softmax(scores(size, p, ids), axis=-1)
    return float(-np.take_along_axis(z, targets[..., None], axis=-1).mean())


def torch_model(torch, size: Size, p: dict[str, np.ndarray], tokens: int = TOKENS):
    """The model as a user of PyTorch writes it, with these weights, and its parameters by our names."""
    F, theirs = torch.nn.functional, torch.nn

    class Block(theirs.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = theirs.LayerNorm(size.units), theirs.LayerNorm(size.units)
            self.qkv = theirs.Linear(size.units, 3 * size.units)
            self.out = theirs.Linear(size.units, size.units)
            self.up, self.down = (
                theirs.Linear(size.units, 4 * size.units),
                theirs.Linear(4 * size.units, size.units),
            )

        def forward(self, x, cache=None):
            n, steps, units = x.shape
            shape = (n, steps, size.heads, units // size.heads)
            q, k, v = (a.view(shape).transpose(1, 2) for a in self.qkv(self.norm1(x)).split(units, dim=2))
            if cache is not None:
                if cache:
                    k, v = torch.cat([cache[0], k], dim=2), torch.cat([cache[1], v], dim=2)
                cache[:] = [k, v]
            y = F.scaled_dot_product_attention(q, k, v, is_causal=steps > 1)
            x = x + self.out(y.transpose(1, 2).reshape(n, steps, units))
            return x + self.down(F.gelu(self.up(self.norm2(x))))

    class Model(theirs.Module):
        def __init__(self):
            super().__init__()
            self.tokens = theirs.Embedding(tokens, size.units)
            self.positions = theirs.Embedding(size.context, size.units)
            self.blocks = theirs.ModuleList(Block() for _ in range(size.layers))
            self.norm, self.head = theirs.LayerNorm(size.units), theirs.Linear(size.units, tokens)

        def forward(self, ids, caches=None, first=0):
            x = self.tokens(ids) + self.positions(torch.arange(first, first + ids.shape[1]))
            for i, block in enumerate(self.blocks):
                x = block(x, None if caches is None else caches[i])
            return self.head(self.norm(x))

    model = Model()
    named = {"0.weight": model.tokens.weight, "1.weight": model.positions.weight}
    parts = {"2.norm": model.norm, "3": model.head}
    for i, block in enumerate(model.blocks):
        parts |= {
            f"2.{i}_attention_norm": block.norm1,
            f"2.{i}_attention.query_key_value": block.qkv,
            f"2.{i}_attention.output": block.out,
            f"2.{i}_perceptron_norm": block.norm2,
            f"2.{i}_perceptron0": block.up,
            f"2.{i}_perceptron2": block.down,
        }
    for name, part in parts.items():
        named |= {f"{name}.weight": part.weight, f"{name}.bias": part.bias}
    with torch.no_grad():
        for name, parameter in named.items():
            value = p[name].T if parameter.ndim == 2 and name not in ("0.weight", "1.weight") else p[name]
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))
    return model, named
