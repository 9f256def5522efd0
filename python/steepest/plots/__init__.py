"""Plots of models and of what they do. Matplotlib is imported when one is drawn, without pyplot: no window is needed.

All functions draw into the axes that they are given as `ax`, or into those of a new figure, and return the axes:
``ax.figure.savefig(path)`` saves the picture. Classes differ by colour, from a palette for all kinds of colour vision
(M. Okabe, K. Ito, "Color universal design", 2008), and by the form of their markers.
"""

from ._classes import confusion_matrix, decision_regions, projection
from ._images import reconstructions, weight_images
from ._learning_curve import learning_curve
from ._topology import network_topology

__all__ = [
    "confusion_matrix",
    "decision_regions",
    "learning_curve",
    "network_topology",
    "projection",
    "reconstructions",
    "weight_images",
]
