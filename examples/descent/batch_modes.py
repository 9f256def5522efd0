"""
Batch, stochastic, mini-batch and online descent
================================================

Four batch modes fit a softmax regression. *Batch* descent computes the exact gradient over all training samples for
every step. *Stochastic* descent takes a step after each sample, *mini-batch* descent after every 32 samples, and both
reshuffle the samples for each epoch. *Online* descent sees a stream: every sample once, in order of arrival.

Steps along noisy gradients do not converge while their size is constant. All modes but batch descent therefore lower
the step size like 1 / (1 + t / T) after t samples. The plots show the loss on test samples against the number of
samples used and against the time.
"""

from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np

import steepest
from steepest import kernels as K

plt.style.use("petroff10")
FEATURES, CLASSES, TRAINING = 20, 5, 4096

rng = np.random.default_rng(0)
truth = rng.normal(size=(FEATURES, CLASSES))


def draw(n):
    """Samples of classes whose log-odds are linear in the features."""
    X = rng.normal(size=(n, FEATURES)).astype(np.float32)
    return X, (X @ truth + rng.gumbel(size=(n, CLASSES))).argmax(axis=1)


X_train, y_train = draw(TRAINING)
X_stream, y_stream = draw(20 * TRAINING)
X_test, y_test = draw(20_000)


def descend(X, y, batch, lr, halved_after=np.inf, epochs=1, shuffle=True):
    """Return samples used, seconds and test loss at growing intervals; the evaluation is not timed."""
    w, b = np.zeros((FEATURES, CLASSES), np.float32), np.zeros(CLASSES, np.float32)
    rate = np.array(lr)  # an array, so that the captured step reads the current value
    order, cursor = np.arange(len(X)), np.zeros((), np.int64)
    x_batch, y_batch = np.empty((batch, FEATURES), np.float32), np.empty(batch, y.dtype)
    with steepest.capture() as graph:
        K.take_rows(X, order, x_batch, start=cursor)
        K.take_rows(y, order, y_batch, start=cursor)
        _, d_logits = K.softmax_cross_entropy(K.linear(x_batch, w, b), y_batch)
        _, d_w, d_b = K.linear_backward(d_logits, x_batch, w, input_grad=False)
        K.sgd_update([w, b], [d_w, d_b], lr=rate)
        K.increment(cursor, batch)
    spent, seconds, curve, read_at = 0, 0.0, [], 1
    for epoch in range(epochs):
        if shuffle:
            order[:] = K.permutation(len(X), seed=0, stream=epoch)
        cursor[...] = 0
        while cursor < len(X):
            steps = max(1, min(read_at - spent, len(X) - int(cursor)) // batch)
            begin = perf_counter()
            graph.replay(steps)
            seconds += perf_counter() - begin
            spent += steps * batch
            if spent >= read_at:
                curve.append(
                    (spent, seconds, float(K.softmax_cross_entropy(K.linear(X_test, w, b), y_test)[0]))
                )
                read_at = int(1.2 * spent) + 1
                rate[...] = lr / (1 + spent / halved_after)
    return np.array(curve).T


modes = {
    "batch": descend(X_train, y_train, TRAINING, lr=2.0, epochs=200),
    "stochastic": descend(X_train, y_train, 1, lr=0.05, halved_after=1000, epochs=20),
    "mini-batch of 32": descend(X_train, y_train, 32, lr=0.5, halved_after=4000, epochs=20),
    "online": descend(X_stream, y_stream, 1, lr=0.05, halved_after=1000, shuffle=False),
}
floor = float(K.softmax_cross_entropy((X_test @ truth), y_test)[0])
print(f"test loss of the true model: {floor:.4f}")
for name, (spent, seconds, loss) in modes.items():
    below = np.flatnonzero(loss < 1.1 * floor)[0]
    effort = f"{spent[below]:9,.0f} samples, {1e3 * seconds[below]:6.1f} ms"
    print(f"{name:>16}: within 10 % of it after {effort}; ends {loss[-1] - floor:.4f} above it")

# %%
# A batch step uses thousands of samples for one step, but each sample is cheap, since a matrix product uses the
# processor better than a matrix-vector product. The mini-batch has most of both advantages.
#
# The three modes with a fixed training set end at the same loss: with p parameters and n samples, the test loss of the
# best fit is about p / 2n above that of the true model. The stream has more samples, and ends lower.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), sharey=True, layout="constrained")
for (name, (spent, seconds, loss)), line in zip(modes.items(), ("C0-", "C1--", "C2-.", "C4:"), strict=True):
    left.loglog(spent, loss - floor, line, label=name)
    right.loglog(1e3 * seconds, loss - floor, line, label=name)
left.set(xlabel="samples spent", ylabel="test loss above that of the true model (nats)")
for panel in (left, right):
    panel.axhline((FEATURES + 1) * (CLASSES - 1) / (2 * TRAINING), color="0.7", linewidth=1, label="p / 2n")
figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=5)
right.set(xlabel="time (ms)")
figure.savefig("batch_modes.png", dpi=150)
