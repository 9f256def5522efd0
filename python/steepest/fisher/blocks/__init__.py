"""What each kind of operation contributes to a Fisher matrix: the gradients of single samples, and their products.

A file for each kind. `of_operation` finds it by the kind of the operation; those without a file of their own are
differentiated sample by sample.
"""

from .base import Block, ExplicitRows, Part, Use, parts_of
from .linear import LinearRows, SharedLinearRows
from .lookup import block_of

__all__ = ["Block", "ExplicitRows", "LinearRows", "Part", "SharedLinearRows", "Use", "block_of", "parts_of"]
