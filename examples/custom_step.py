"""
A training step by kernels alone
================================

Capture your own training step and replay it: softmax regression with momentum, without layers or optimizers.

Values that change from step to step live in small arrays, here the cursor into the shuffled rows and the summed loss,
since a capture freezes Python numbers. An epoch is then a single call without any Python code.
"""

import matplotlib.pyplot as plt
import numpy as np

import steepest
from steepest import datasets
from steepest import kernels as K

BATCH, EPOCHS = 32, 20

X, y = datasets.load_digits()
n, n_features = X.shape
w = np.zeros((n_features, 10), np.float32)
b = np.zeros(10, np.float32)
velocities = [np.zeros_like(w), np.zeros_like(b)]
order = np.arange(n)
cursor = np.zeros((), np.int64)
total = np.zeros(())


def step():
    """A step on one mini-batch: gather rows, forward pass, loss, backward pass, update."""
    x_batch = K.take_rows(X, order, out=np.empty((BATCH, n_features), X.dtype), start=cursor)
    y_batch = K.take_rows(y, order, out=np.empty(BATCH, y.dtype), start=cursor)
    K.increment(cursor, by=BATCH)
    logits = K.linear(x_batch, w, b)
    loss, d_logits = K.softmax_cross_entropy(logits, y_batch)
    _, d_w, d_b = K.linear_backward(d_logits, x_batch, w, input_grad=False)
    K.sgd_update([w, b], [d_w, d_b], velocities, lr=0.05, momentum=0.9, nesterov=True)
    K.accumulate(total, loss)


with steepest.capture() as graph:
    step()
print(f"captured {len(graph)} operations: {', '.join(graph.operations)}")

steps = n // BATCH
losses = []
for epoch in range(EPOCHS):
    order[...] = K.permutation(n, seed=0, stream=epoch)
    cursor[...] = 0
    total[...] = 0
    graph.replay(steps)
    losses.append(total / steps)
    if epoch % 5 == 4:
        print(f"epoch {epoch + 1}: loss {losses[-1]:.4f}")

print(f"training accuracy {1 - K.zero_one_loss(K.linear(X, w, b), y):.3f}")

# %%
# The weights of a softmax regression are pictures themselves: they show the pixels for and against each digit.

figure, axes = plt.subplots(2, 5, figsize=(7, 3.4), layout="constrained")
for digit, panel in enumerate(axes.flat):
    image = panel.imshow(w[:, digit].reshape(8, 8), cmap="PuOr", vmin=-abs(w).max(), vmax=abs(w).max())
    panel.set(title=digit, xticks=[], yticks=[])
figure.colorbar(image, ax=axes, label="weight")
figure.savefig("custom_step.png", dpi=150)
