"""
Where a sorting Transformer looks
=================================

A Transformer gets eight different numbers from 0 to 15, and is asked for them in order. Each output is a choice among
the sixteen numbers, made by all steps at once. The pictures show the weights of the attention in its two layers for a
single sequence: row i is the i-th output, and a bright square in column j means that it looks at the j-th number. In
the first layer, the first output looks for the smallest number and the last one for the largest. The weights are
computed from the layers' own queries and keys [#vaswani]_.

.. [#vaswani] A. Vaswani et al., "Attention is all you need", NeurIPS 2017.
"""

import matplotlib.pyplot as plt
import numpy as np

import steepest
from steepest import kernels as K
from steepest import nn, optim

plt.style.use("petroff10")
NUMBERS, LENGTH, UNITS, HEADS, BATCH, STEPS = 16, 8, 32, 2, 64, 3000

rng = np.random.default_rng(0)
X = np.argsort(rng.random((40_000, NUMBERS)), axis=1)[:, :LENGTH]
y = np.sort(X, axis=1)
X_test, y_test = X[:500], y[:500]

layers = [
    nn.Input(LENGTH, dtype=np.int64),
    nn.Embedding(NUMBERS, UNITS),
    nn.PositionalEncoding(LENGTH, "learned"),
    nn.TransformerEncoder(UNITS, HEADS, n_layers=2),
    nn.Linear(UNITS, NUMBERS),
]
net = nn.Network(layers, seed=0)
loss, optimizer = nn.SoftmaxCrossEntropy(), optim.Adam(net.parameters(), lr=3e-3)

order = np.concatenate(
    [500 + rng.permutation(len(X) - 500) for _ in range(-(-STEPS * BATCH // (len(X) - 500)))]
)
cursor, total = np.zeros((), np.int64), np.zeros(())
x_batch, y_batch = np.empty((BATCH, LENGTH), np.int64), np.empty((BATCH, LENGTH), np.int64)
with steepest.capture() as graph:
    K.take_rows(X, order, x_batch, start=cursor)
    K.take_rows(y, order, y_batch, start=cursor)
    value, d = loss(net.forward(x_batch), y_batch)
    net.backward(d)
    optimizer.step()
    K.increment(cursor, BATCH)
graph.replay(STEPS)
right = (net.predict(X_test).argmax(axis=2) == y_test).all(axis=1).mean()
print(f"{right:.1%} of 500 new sequences are sorted without a fault")


def attention_weights(ids):
    """Return the weights of all heads in both layers, (layers, heads, outputs, inputs), for one sequence."""
    p = {parameter.name: parameter.value for parameter in net.parameters()}
    x, found = p["0.weight"][ids] + p["1.weight"], []
    for i in range(2):
        normed, _, _ = K.layer_norm(x, p[f"2.{i}_attention_norm.weight"], p[f"2.{i}_attention_norm.bias"])
        part = f"2.{i}_attention"
        qkv = K.linear(normed, p[f"{part}.query_key_value.weight"], p[f"{part}.query_key_value.bias"])
        q, k, _ = qkv.reshape(LENGTH, 3, HEADS, -1).transpose(1, 2, 0, 3)
        scores = np.ascontiguousarray(q @ k.swapaxes(1, 2) / np.sqrt(q.shape[2]))
        found.append(K.softmax(scores.reshape(-1, LENGTH)).reshape(HEADS, LENGTH, LENGTH))
        heads, _ = K.attention(*np.split(qkv, 3, axis=1), HEADS)
        x = x + K.linear(heads, p[f"{part}.output.weight"], p[f"{part}.output.bias"])
        normed, _, _ = K.layer_norm(x, p[f"2.{i}_perceptron_norm.weight"], p[f"2.{i}_perceptron_norm.bias"])
        hidden = K.gelu(K.linear(normed, p[f"2.{i}_perceptron0.weight"], p[f"2.{i}_perceptron0.bias"]))
        x = x + K.linear(hidden, p[f"2.{i}_perceptron2.weight"], p[f"2.{i}_perceptron2.bias"])
    return np.array(found)


ids = X_test[0]
weights = attention_weights(ids)
figure, axes = plt.subplots(1, 4, figsize=(11, 3.2), layout="constrained")
for ax, picture, (layer, head) in zip(
    axes, weights.reshape(4, LENGTH, LENGTH), np.ndindex(2, HEADS), strict=True
):
    ax.imshow(picture, vmin=0, vmax=1, cmap="magma")
    ax.set(
        title=f"layer {layer + 1}, head {head + 1}",
        xlabel="input",
        xticks=range(LENGTH),
        yticks=range(LENGTH),
    )
    ax.set_xticklabels(ids)
    ax.set_yticklabels(np.sort(ids))
axes[0].set_ylabel("sorted output")
figure.savefig("sorting.png", dpi=150)
