"""
A Transformer learns to write
=============================

A language model reads characters, and learns which one comes next. It begins with the frequencies of the letters, goes
on to words that could be words, and then to the layout and the tone of its text. What is written below are samples of
one model while it learns: each goes on from a line break, and each next character is drawn with the probability that
the model gives it.

The program takes the text in the file that the environment variable ``TEXT`` names, or Shakespeare's plays if it finds
``shared/data/shakespeare/plays.txt`` beside a folder above. Otherwise it takes the docstrings of NumPy.
"""

import os
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from steepest.callbacks import Callback
from steepest.neural_network import LanguageModel

plt.style.use("petroff10")

named = [Path(os.environ["TEXT"])] if "TEXT" in os.environ else []
places = [
    *named,
    *(parent / "shared" / "data" / "shakespeare" / "plays.txt" for parent in Path.cwd().parents),
]
file = next((place for place in places if place.is_file()), None)
if file is not None:
    name, text = file.name, file.read_text(encoding="utf-8")[:1_000_000]
else:
    documented = (getattr(np, each).__doc__ for each in sorted(dir(np)))
    name, text = "docstrings of NumPy", "\n".join(doc for doc in documented if doc)
    text = text.encode("ascii", "ignore").decode()


class Samples(Callback):
    """Keeps what the model writes as it learns."""

    def __init__(self):
        self.texts = {}

    def epoch_done(self, model, epoch):
        if epoch.number in (1, 4, 10, 20):
            self.texts[model.n_steps_] = model.sample(420, seed=5)


samples = Samples()
model = LanguageModel(
    n_units=64, n_layers=2, context=64, batch_size=16, max_steps=1000, learning_rate_init=3e-3, random_state=0,
    callbacks=[samples],
)  # fmt: skip
model.fit(text)
print(
    f"{name}: {len(text)} characters, {len(model.vocabulary_)} different ones, {model.n_parameters_} parameters"
)
print(f"perplexity on the last tenth: {np.exp(model.validation_loss_curve_[-1]):.2f}")
for steps, sample in samples.texts.items():
    print(f"after {steps} steps:\n{textwrap.indent(sample.strip(), '    ')}")

figure, axes = plt.subplots(1, 5, figsize=(14, 4), width_ratios=[1.1, 1, 1, 1, 1], layout="constrained")
steps = np.linspace(0, model.n_steps_, 21)[1:]
axes[0].plot(steps, model.loss_curve_, label="training")
axes[0].plot(steps, model.validation_loss_curve_, label="last tenth of the text")
axes[0].set(xlabel="step", ylabel="nats a character", title=name)
axes[0].legend()
for ax, (steps, sample) in zip(axes[1:], samples.texts.items(), strict=True):
    lines = [part for line in sample.strip().splitlines() for part in textwrap.wrap(line, 26) or [""]]
    ax.text(0, 1, "\n".join(lines[:20]), va="top", family="monospace", fontsize=8, transform=ax.transAxes)
    ax.set(title=f"after {steps} steps")
    ax.axis("off")
figure.savefig("writing.png", dpi=150)
