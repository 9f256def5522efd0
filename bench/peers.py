"""The other libraries, each optional: one that is missing gives a contestant that is reported as skipped."""

from __future__ import annotations

import importlib
import traceback
import warnings
from collections.abc import Callable, Iterable

from bench.harness import Contestant

MODULES = {"numpy": "numpy", "torch": "torch", "jax": "jax", "sklearn": "sklearn"}


class PeerUnavailableError(Exception):
    """Why a peer does not take part."""


class Peers:
    """Imports the peers that are wanted, once each, with their thread settings."""

    def __init__(self, threads: int, wanted: Iterable[str] = tuple(MODULES)):
        self.threads = threads
        self.wanted = set(wanted)
        self._loaded: dict[str, object] = {}

    def load(self, name: str):
        """The module, or PeerUnavailableError."""
        if name not in self.wanted:
            raise PeerUnavailableError("not among the peers asked for")
        if name not in self._loaded:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    module = importlib.import_module(MODULES[name])
            except ImportError as error:
                raise PeerUnavailableError(f"not installed ({error})") from error
            if name == "torch":
                module.set_num_threads(self.threads)
            self._loaded[name] = module
        return self._loaded[name]

    def contestant(self, label: str, name: str, build: Callable[..., Contestant]) -> Contestant:
        """`build(label, module)`, or a skipped contestant that says why the peer cannot take part.

        Only a peer may fail here (a compiler that is missing, an option that this version lacks).
        """
        try:
            return build(label, self.load(name))
        except PeerUnavailableError as error:
            return Contestant.skip(label, str(error))
        except Exception as error:
            reason = traceback.format_exception_only(error)[-1].strip().splitlines()[0]
            return Contestant.skip(label, f"failed: {reason[:160]}")
