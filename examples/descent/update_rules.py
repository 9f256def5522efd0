"""
Update rules side by side
=========================

All runs have the same network, mini-batches and start, and differ only in the update rule. Each rule is shown at the
best of seven learning rates by training loss, since a comparison at a common rate depends on luck. The features have
scales from 1 to 0.01, like raw measurements. One step size for all weights is then too small for some of them, whereas
AdaGrad, RMSprop and Adam scale each weight's step by its past gradients.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler

import steepest
from steepest import kernels as K
from steepest import nn, optim

plt.style.use("petroff10")
BATCH, EPOCHS = 64, 20

X, y = load_digits(return_X_y=True)
X = (StandardScaler().fit_transform(X) * np.geomspace(1, 0.01, 64)).astype(np.float32)

RULES = {
    "SGD": (optim.SGD, 1.0),
    "Momentum": (optim.Momentum, 0.1),
    "Nesterov": (optim.Nesterov, 0.1),
    "AdaGrad": (optim.AdaGrad, 0.1),
    "RMSprop": (optim.RMSprop, 0.01),
    "Adam": (optim.Adam, 0.01),
}
FACTORS = 10.0 ** np.arange(-1.5, 1.6, 0.5)


def train(rule, lr):
    """Mean training loss of every epoch; infinite after training diverges."""
    net = nn.Network([nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10)], seed=0)
    loss, optimizer = nn.SoftmaxCrossEntropy(), rule(net.parameters(), lr=lr)
    order, cursor, total = np.arange(len(X)), np.zeros((), np.int64), np.zeros(())
    x_batch, y_batch = np.empty((BATCH, 64), np.float32), np.empty(BATCH, y.dtype)
    with steepest.capture() as graph:
        K.take_rows(X, order, x_batch, start=cursor)
        K.take_rows(y, order, y_batch, start=cursor)
        value, d_logits = loss(net.forward(x_batch), y_batch)
        K.require_finite(value)
        net.backward(d_logits)
        optimizer.step()
        K.accumulate(total, value)
        K.increment(cursor, BATCH)
    losses, steps = np.full(EPOCHS, np.inf), len(X) // BATCH
    for epoch in range(EPOCHS):
        order[:] = K.permutation(len(X), seed=0, stream=epoch)
        cursor[...], total[...] = 0, 0.0
        try:
            graph.replay(steps)
        except steepest.DivergenceError:
            break
        losses[epoch] = total / steps
    return losses


# %%
# The left plot shows the best run of each rule. The right plot shows the loss of the last epoch against the learning
# rate, relative to the best rate: a wide minimum means that a rule tolerates other rates.

figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4.2), layout="constrained")
for i, (name, (rule, scale)) in enumerate(RULES.items()):
    rates = scale * FACTORS
    runs = [train(rule, lr) for lr in rates]
    best = int(np.argmin([losses[-1] for losses in runs]))
    print(f"{name:>9}: best learning rate {rates[best]:.2g}, training loss {runs[best][-1]:.2e}")
    style = {"color": f"C{i}", "linestyle": ("-", "--", "-.")[i % 3], "label": name}
    left.semilogy(np.arange(1, EPOCHS + 1), runs[best], **style)
    right.loglog(rates / rates[best], [losses[-1] for losses in runs], marker="o", markersize=4, **style)
left.set(xlabel="epoch", ylabel="mean training loss (nats)", xticks=range(0, EPOCHS + 1, 5))
right.set(xlabel="learning rate / best learning rate", ylabel=f"training loss of epoch {EPOCHS} (nats)")
figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=6)
figure.savefig("update_rules.png", dpi=150)
