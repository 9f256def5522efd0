"""`steepest._cuda` for NumPy arrays: runs the tests of the operations on a GPU.

A call copies the whole buffer behind each array to the GPU and makes the same view of the copy. Strides, alignment,
margins and overlaps therefore stay as the test set them up. After the call, even a failed one, the buffers are copied
back. A graph copies before and after each replay. Arguments that are no arrays, or whose dtype CuPy lacks, go to the
kernels unchanged, which reject them.
"""

from __future__ import annotations

import ctypes
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

_CUPY_KINDS = "?bhilqBHILQefdFD"  # dtype characters
_ALIGNMENT = 512  # bytes, of CuPy's allocations
# Functions that neither take nor return arrays.
_PLAIN = frozenset({"DivergenceError", "info", "is_capturing", "synchronize"})


@dataclass
class _Copy:
    """A buffer in host memory and its copy on the GPU."""

    owner: np.ndarray  # keeps the memory alive
    host: np.ndarray  # its bytes
    device: Any  # the bytes of the copy, on the GPU

    def upload(self):
        self.device.set(self.host)

    def download(self):
        changed = self.device.get()
        # Only changed buffers are written back: read-only memory, such as a mapped file, cannot be written.
        if (changed != self.host).any():
            self.host[...] = changed


class _Memories:
    """The copies that a call or a graph uses."""

    def __init__(self, cupy):
        self._cupy = cupy
        self._copies = {}  # address -> _Copy
        self._arrays = {}  # id of a CuPy array -> (that array, the NumPy array that it stands for)

    def upload(self):
        for copy in self._copies.values():
            copy.upload()

    def download(self):
        for copy in self._copies.values():
            copy.download()

    def to_device(self, value):
        """Return the GPU array that replaces the argument `value`."""
        if isinstance(value, list):
            return [self.to_device(item) for item in value]
        if (
            not isinstance(value, np.ndarray)
            or value.dtype.char not in _CUPY_KINDS
            or not value.dtype.isnative
        ):
            return value
        if value.size == 0:
            array = self._cupy.empty(value.shape, value.dtype)
        else:
            copy = self._copy_of(value)
            memory = copy.device.data + (value.ctypes.data - copy.host.ctypes.data)
            array = self._cupy.ndarray(value.shape, value.dtype, memptr=memory, strides=value.strides)
        self._arrays[id(array)] = (array, value)
        return array

    def to_host(self, value):
        """Return the host array for the result `value` of a kernel: the array that the test passed, or a new one."""
        if isinstance(value, tuple):
            return tuple(self.to_host(item) for item in value)
        if not isinstance(value, self._cupy.ndarray):
            return value
        if id(value) in self._arrays:
            return self._arrays[id(value)][1]
        host = value.get()
        if host.size:
            # The kernel allocated this result during capture; from now on it has a host copy.
            data = self._cupy.ndarray((host.nbytes,), np.uint8, memptr=value.data)
            self._copies[host.ctypes.data] = _Copy(host, _bytes_at(host.ctypes.data, host.nbytes), data)
        return host

    def _copy_of(self, array):
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        low, high = np.lib.array_utils.byte_bounds(owner)
        if low not in self._copies:
            start = low % _ALIGNMENT
            device = self._cupy.empty(start + high - low, np.uint8)[start:]
            self._copies[low] = _Copy(owner, _bytes_at(low, high - low), device)
            self._copies[low].upload()
        return self._copies[low]


def _bytes_at(address, n):
    return np.frombuffer((ctypes.c_uint8 * n).from_address(address), np.uint8)


class _Graph:
    """A graph of the GPU, with the memories that it uses."""

    def __init__(self, cupy, module):
        self.memories = _Memories(cupy)
        self.graph = module.Graph()

    def __len__(self):
        return len(self.graph)

    def operations(self):
        return self.graph.operations()

    def launches(self):
        return self.graph.launches()

    def replay(self, n=1):
        return self._run(self.graph.replay, n)

    def profile(self, n):
        return self._run(self.graph.profile, n)

    def _run(self, function, n):
        self.memories.upload()
        try:
            return function(n)
        finally:
            self.memories.download()


class OnDevice:
    """The module that replaces the CPU kernels in tests on a GPU."""

    def __init__(self, cupy, module):
        self._cupy, self._module = cupy, module
        self._thread = threading.local()

    def Graph(self):
        return _Graph(self._cupy, self._module)

    def begin_capture(self, graph):
        self._module.begin_capture(graph.graph)
        self._thread.recording = graph

    def end_capture(self, graph):
        self._thread.recording = None
        self._module.end_capture(graph.graph)

    def __getattr__(self, name):
        value = getattr(self._module, name)
        if name in _PLAIN or not callable(value):
            return value
        return lambda *args, **kwargs: self._call(value, args, kwargs)

    def _call(self, function, args, kwargs):
        recording = getattr(self._thread, "recording", None)
        memories = _Memories(self._cupy) if recording is None else recording.memories
        args = [memories.to_device(a) for a in args]
        kwargs = {k: memories.to_device(v) for k, v in kwargs.items()}
        if recording is not None:
            return memories.to_host(function(*args, **kwargs))
        try:
            result = function(*args, **kwargs)
            # Errors that the kernel detects in the data are raised here.
            self._module.synchronize()
        finally:
            memories.download()
        return memories.to_host(result)
