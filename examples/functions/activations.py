"""
Activation functions and their derivatives
==========================================

All of `steepest.kernels.ACTIVATIONS`, as the kernels compute them: `steepest.kernels.activation` forward, and
`steepest.kernels.activation_backward` of a gradient of ones for the derivative. The derivative is computed from the
function's output, which a layer has kept anyway, but for those in ``INPUT_DERIVATIVES``, whose output does not
determine it: they fall before they rise, and so take some values twice.
"""

import matplotlib.pyplot as plt
import numpy as np

from steepest import kernels as K

plt.style.use("petroff10")

x = np.linspace(-5, 5, 1001)
columns = 5
rows = -(-len(K.ACTIVATIONS) // columns)
figure, axes = plt.subplots(
    rows, columns, figsize=(10, 2.2 * rows + 0.6), sharex=True, sharey=True, layout="constrained"
)
for panel, name in zip(axes.flat, K.ACTIVATIONS, strict=False):
    y = K.activation(x, name)
    of_input = name in K.INPUT_DERIVATIVES
    derivative = K.activation_backward(np.ones_like(x), x if of_input else y, name)
    panel.plot(x, y, label="f(x)")
    panel.plot(x, derivative, "--", label="f′(x)")
    panel.set(title=name + (" *" if of_input else ""), ylim=(-1.3, 3))
    panel.grid(alpha=0.3)
    print(f"{name:>13}: from {y.min():6.3f} to {y.max():.3f}, steepest slope {np.abs(derivative).max():.3f}")
for panel in axes[-1]:
    panel.set_xlabel("x")
figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
figure.savefig("activations.png", dpi=150)
