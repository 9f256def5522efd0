"""Plots of models, their data and their training: decision regions, projections, learning curves, weights, networks.

The functions import Matplotlib when they draw, without pyplot, so that no window opens. Functions with one panel draw
into the axes `ax`, or into a new figure, and return the axes; ``ax.figure.savefig(path)`` saves the picture. Functions
with several panels add them in a row to the figure or subfigure `figure`, or to a new figure, and return an array of
their axes. Classes differ by the form of their markers and by colour, from a palette for all kinds of colour vision
(M. Okabe, K. Ito, "Color universal design", 2008).
"""

from ._classes import confusion_matrix, decision_regions
from ._convolution import feature_maps, filters
from ._fisher import fisher_discriminant
from ._images import image_grid, reconstructions, weight_images
from ._learning_curve import learning_curve
from ._projections import projection, projections
from ._return_curve import return_curve
from ._saliency import saliency
from ._topology import network_topology

__all__ = [
    "confusion_matrix",
    "decision_regions",
    "feature_maps",
    "filters",
    "fisher_discriminant",
    "image_grid",
    "learning_curve",
    "network_topology",
    "projection",
    "projections",
    "reconstructions",
    "return_curve",
    "saliency",
    "weight_images",
]
