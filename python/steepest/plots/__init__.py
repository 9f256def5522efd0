"""Plots of models and of what they do. Matplotlib is imported when one is drawn, without pyplot: no window is needed.

Functions of one panel draw into the axes that they are given as `ax`, or into those of a new figure, and return the
axes: ``ax.figure.savefig(path)`` saves the picture. Functions of several panels add them in a row to the figure or
subfigure that they are given as `figure`, or to a new figure, and return an array of their axes. Classes differ by
colour, from a palette for all kinds of colour vision (M. Okabe, K. Ito, "Color universal design", 2008), and by the
form of their markers.
"""

from ._classes import confusion_matrix, decision_regions
from ._fisher import fisher_discriminant
from ._images import reconstructions, weight_images
from ._learning_curve import learning_curve
from ._projections import projection, projections
from ._topology import network_topology

__all__ = [
    "confusion_matrix",
    "decision_regions",
    "fisher_discriminant",
    "learning_curve",
    "network_topology",
    "projection",
    "projections",
    "reconstructions",
    "weight_images",
]
