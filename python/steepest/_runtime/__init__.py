"""Shared runtime of the package: backends, device memory, capture and replay, threads, argument checks."""
