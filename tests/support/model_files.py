"""Modified model files, as another program or an earlier version would have written them."""

from __future__ import annotations

import json

from safetensors import safe_open
from safetensors.numpy import save_file

import steepest

# Metadata keys of files that the first versions wrote.
FIRST_KEYS = ("format", "format_version", "steepest_version", "model")


def parts(path):
    """Return the metadata strings, the decoded model description and the tensors of a file of `steepest.save`."""
    with safe_open(path, framework="np") as file:
        header = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return header, json.loads(header["model"]), tensors


def rewrite(path, model, tensors, **strings):
    """Write a file without a checksum, as the first versions did; `model` is a JSON object or raw text."""
    text = model if isinstance(model, str) else json.dumps(model)
    known = {"format": "steepest", "format_version": "1", "steepest_version": "9.1"}
    save_file(tensors, path, {**known, "model": text, **strings})


def save_as_first_versions(model, path):
    """Write a model into a file without a checksum."""
    steepest.save(model, path)
    header, description, tensors = parts(path)
    rewrite(path, description, tensors, steepest_version=header["steepest_version"])
