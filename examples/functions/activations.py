"""
Activation functions and their derivatives
==========================================

The plot shows all of `steepest.kernels.ACTIVATIONS` as the kernels compute them: the values from
`steepest.kernels.activation`, and the derivatives from `steepest.kernels.activation_backward` with a gradient of ones.
Derivatives are computed from the function's output, which a layer keeps anyway. The exceptions are the activations in
``INPUT_DERIVATIVES``, which fall before they rise and take some values twice, so their output does not determine the
derivative.
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
