"""What each kind of operation contributes to a Fisher matrix: the gradients of single samples, and their products.

A file for each kind. `block_of` finds it by the kind of the operation; those without a file of their own are
differentiated sample by sample.
"""

from .base import Block, ExplicitRows, Part, Stack, Use
from .convolution import ConvolutionPass, ConvolutionRows
from .linear import LinearRows, SharedLinearRows
from .lookup import block_of
from .parts import parts_of

__all__ = [
    "Block",
    "ConvolutionPass",
    "ConvolutionRows",
    "ExplicitRows",
    "LinearRows",
    "Part",
    "SharedLinearRows",
    "Stack",
    "Use",
    "block_of",
    "parts_of",
]
