"""Checkpoints of training runs: `save_checkpoint` and `load_checkpoint`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from steepest._saving.container import CHECKPOINT, FilePath, read_file, require_device, write_file
from steepest._saving.run_reader import decode_run
from steepest._saving.run_state import encode_run


def save_checkpoint(path: FilePath, /, **items: Any) -> None:
    """Save the state of a training run to one file, from which the run continues bit for bit.

    Call it between two steps, with everything that changes while you train. The file is in the safetensors format and
    holds no code. It is written as `save` writes: at any time `path` is the complete old file or the complete new one.

    Parameters
    ----------
    path : path
        The file, which is replaced.
    **items : object
        What to save, by names of your choice:

        - a `steepest.nn.Network`: parameters, layers, seed and number of passes, which decides the dropout masks;
        - an optimizer of `steepest.optim`, `NaturalGradient` too: the arrays of its rule, the learning rate, and the
          schedule that it follows with its position. Its network must be saved by the same call;
        - a `numpy.random.Generator` or `numpy.random.RandomState`: the state of its bit generator, but not the seed
          sequence that `spawn` uses;
        - `steepest.optim.schedules.Adaptive`;
        - plain data: numbers, strings, None, arrays, losses, schedules; lists, tuples and dicts of all of these.

        Several networks and optimizers may be there. Objects that are there twice are saved once.

    Raises
    ------
    TypeError
        If an item cannot be stored as data, or an optimizer updates parameters of a network that is not there.
        Estimators are saved by `save`. Nothing is written then.
    OSError
        If the file cannot be written. An old file at `path` is unchanged.

    See Also
    --------
    load_checkpoint : restore the items.

    Examples
    --------
    >>> import steepest
    >>> from steepest import nn, optim
    >>> net = nn.Network([nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)])
    >>> opt = optim.Adam(net.parameters())
    >>> steepest.save_checkpoint("/tmp/run.safetensors", network=net, optimizer=opt, epoch=3)
    >>> steepest.load_checkpoint("/tmp/run.safetensors")["epoch"]
    3
    """
    write_file(path, CHECKPOINT, lambda: encode_run(items))


def load_checkpoint(
    path: FilePath, *, into: Mapping[str, Any] | None = None, device: str | None = None
) -> dict[str, Any]:
    """Restore the state of a training run from a file that `save_checkpoint` has written.

    Without `into`, all objects are made anew, and the optimizers update the networks that are returned. With `into`,
    your own objects take the saved states in place: a program makes them as for a new run, and captured graphs of
    them stay valid. Networks with custom layers, and optimizers of your own classes, need `into`, since files hold no
    code.

    Parameters
    ----------
    path : path
        The file.
    into : mapping of str to object, optional
        Networks, optimizers, random states, `Adaptive` schedules and arrays by the names of the saved items. They must
        be made like the saved ones, and an optimizer needs its network beside it. Only states are loaded: parameters,
        moments, learning rates, positions. Nothing changes unless everything fits.
    device : {"cpu", "cuda"} or None, default=None
        Device of the networks that are made, and of their optimizers; None for the CPU. Objects of `into` stay where
        they are.

    Returns
    -------
    dict of str to object
        All saved items by name. Those of `into` are your own objects.

    Raises
    ------
    FileNotFoundError, OSError
        If the file does not exist or cannot be read.
    ValueError
        If the file is damaged, no checkpoint, or from a newer version; or if an object of `into` is another network or
        optimizer than the saved one. The message names the difference.
    TypeError
        If `into` is no mapping.
    MemoryError
        If the objects do not fit into memory.
    RuntimeError
        If `device` is "cuda" and CUDA is not available.

    See Also
    --------
    save_checkpoint : write such a file.

    Examples
    --------
    >>> import steepest
    >>> from steepest import nn, optim
    >>> net = nn.Network([nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)])
    >>> run = {"network": net, "optimizer": optim.SGD(net.parameters(), 0.1)}
    >>> steepest.save_checkpoint("/tmp/run.safetensors", **run, epoch=3)
    >>> steepest.load_checkpoint("/tmp/run.safetensors", into=run)["network"] is net
    True
    """
    require_device(device, "load_checkpoint")
    if into is not None and not isinstance(into, Mapping):
        raise TypeError(
            f"[load_checkpoint] into must be a dict of objects by name, got {type(into).__name__}"
        )
    return read_file(
        path,
        CHECKPOINT,
        lambda description, tensors: decode_run(description, tensors, into or {}, device),
    )
