"""The error of an environment that cannot go on."""

from __future__ import annotations


class BrokenEnvironmentError(RuntimeError):
    """An environment raised an exception, or returned something that is not a valid step.

    The agent keeps the policy of the last complete iteration. An exception of the environment is the ``__cause__``.
    """
