"""Operations of a program, which hold no parameters: each is `forward`, `vjp` and `jvp` in terms of kernels."""

from .activation import ActivationOperation
from .base import Operation, Reverse
from .dropout import DropoutOperation
from .linear import LinearOperation
from .prelu import PReLUOperation
from .softmax import SoftmaxOperation

__all__ = [
    "ActivationOperation",
    "DropoutOperation",
    "LinearOperation",
    "Operation",
    "PReLUOperation",
    "Reverse",
    "SoftmaxOperation",
]
