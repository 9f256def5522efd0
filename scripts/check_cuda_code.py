"""Check compiled CUDA kernels, in the module of a wheel or in cubin files, for faults that only a GPU would show.

Usage: python scripts/check_cuda_code.py (WHEEL | FILE.so | FILE.cubin) ...

* Strings in device memory: their addresses, passed on by device code, mean nothing to the host.
* More registers than a multiprocessor has for the largest block of a kernel, whose launch would fail.
* Local memory (register spills) in kernels that LOCAL_BYTES does not list, or more of it than listed.
* A ticket (an atomic addition whose result is used) without a fence before and after it: the last block might not see
  what the other blocks wrote.

`cuobjdump`, from the CUDA toolkit or from PyPI's nvidia-cuda-cuobjdump, extracts the kernels from a module. The script
reads the cubin files itself, which takes a second: they are ELF files, and an instruction has 16 bytes, the lowest nine
bits of which are the operation code.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REGISTERS = 65_536  # registers of a multiprocessor; a thread gets a multiple of eight
MOST_THREADS = 1024  # threads of a block, unless the kernel sets a lower limit

# Known bytes of local memory per kernel: for an indexed counter in sampling kernels, around the slow path of a division
# in pooling, for register spills in the others. A kernel that takes more needs a closer look.
LOCAL_BYTES = {
    "activation_backward_kernel": 8,  # for Mish
    "avg_pool2d_backward_kernel": 24,
    "convolution_kernel": 16,
    "differentiate_rows_kernel": 8,
    "divergence_of_items_kernel": 16,
    "draw_counts_kernel": 40,
    "draw_items_kernel": 40,
    "gemm_kernel": 32,
    "item_loss_kernel": 8,
    "linear_sgd_kernel": 16,  # for log-cosh
    "max_pool2d_backward_kernel": 16,
    "max_pool2d_gather_kernel": 8,
    "multiply_classes_kernel": 64,
    "multiply_inputs_kernel": 40,
    "multiply_items_kernel": 16,
    "softmax_backward_kernel": 8,
    "walk_back_kernel": 16,
    "walk_kernel": 16,
    "walk_tangent_kernel": 24,
}

# Operation codes: the lowest nine bits of an instruction, from compute capability 7.0 on.
FENCE, TICKET = 0x192, 0x1A8

STRING = re.compile(rb"[\x20-\x7e]{4,}\x00")
LENGTH = re.compile(r"\d+")


@dataclass
class Kernel:
    """A kernel of a cubin file."""

    symbol: str
    registers: int
    local_bytes: int
    threads: int  # number of threads in the largest block
    code: bytes

    @property
    def name(self) -> str:
        """The kernel's name in the source."""
        # In a mangled name, the length of an identifier stands before it. Other digits can stand before the length.
        for digits in LENGTH.finditer(self.symbol):
            for start in range(digits.start(), digits.end()):
                end = digits.end() + int(self.symbol[start : digits.end()])
                identifier = self.symbol[digits.end() : end]
                if identifier.endswith("_kernel") and identifier[0].isalpha():
                    return identifier
        return self.symbol

    def instructions(self) -> list[int]:
        """Return the operation codes of the instructions in order."""
        return [word & 0x1FF for word, _ in struct.iter_unpack("<QQ", self.code)]


def faults_of(kernel: Kernel) -> Iterator[str]:
    """Yield a sentence for each fault of a kernel."""
    registers = -(-kernel.registers // 8) * 8
    if registers * kernel.threads > REGISTERS:
        yield f"{kernel.threads} threads of {kernel.registers} registers cannot be launched: set __launch_bounds__"
    allowed = LOCAL_BYTES.get(kernel.name, 0)
    if kernel.local_bytes > allowed:
        yield f"{kernel.local_bytes} bytes of local memory, where {allowed} are known"
    instructions = kernel.instructions()
    for at in (i for i, what in enumerate(instructions) if what == TICKET):
        if FENCE not in instructions[:at] or FENCE not in instructions[at:]:
            yield "a ticket is taken without a fence before and after it"


def strings_in(data: bytes) -> list[str]:
    """Find the strings among the bytes of a section."""
    return [found[0][:-1].decode() for found in STRING.finditer(data)]


class Cubin:
    """The parts of a cubin file that the checks look at."""

    def __init__(self, data: bytes):
        (table,) = struct.unpack_from("<Q", data, 40)
        size, count, names = struct.unpack_from("<HHH", data, 58)
        headers = [struct.unpack_from("<IIQQQQIIQQ", data, table + i * size) for i in range(count)]
        at = headers[names][4]
        self.sections: list[tuple[str, bytes]] = []
        for name, kind, _, _, offset, length, *_ in headers:
            no_bits = kind == 8
            begin = at + name
            text = data[begin : data.index(b"\0", begin)].decode()
            self.sections.append((text, b"" if no_bits else data[offset : offset + length]))
        self._section = dict(self.sections)

    def strings(self) -> list[str]:
        """Find the strings in initialised device memory."""
        return strings_in(self._section.get(".nv.global.init", b""))

    def kernels(self) -> list[Kernel]:
        """Describe the kernels."""
        symbols = self._symbols()
        registers = self._of_symbols(0x2F)
        frames = self._of_symbols(0x11)
        found = []
        for name, code in self.sections:
            if not name.startswith(".text."):
                continue
            symbol = name.removeprefix(".text.")
            own = dict(self._attributes(f".nv.info.{symbol}"))
            threads = struct.unpack("<III", own[0x05]) if 0x05 in own else (MOST_THREADS, 1, 1)
            at = symbols.index(symbol)
            found.append(
                Kernel(symbol, registers[at], frames.get(at, 0), threads[0] * threads[1] * threads[2], code)
            )
        return found

    def _symbols(self) -> list[str]:
        names = self._section[".strtab"]
        entries = struct.iter_unpack("<IBBHQQ", self._section[".symtab"])
        return [names[entry[0] : names.index(b"\0", entry[0])].decode() for entry in entries]

    def _attributes(self, section: str) -> Iterator[tuple[int, bytes]]:
        """Read the attributes of a section .nv.info, by number."""
        data, at = self._section.get(section, b""), 0
        while at < len(data):
            form, number, length = struct.unpack_from("<BBH", data, at)
            at += 4
            if form == 4:  # a value of `length` bytes; other forms store the value in the length field
                yield number, data[at : at + length]
                at += length

    def _of_symbols(self, number: int) -> dict[int, int]:
        """Look up the value of an attribute for each symbol that has it."""
        return dict(struct.unpack("<II", value) for n, value in self._attributes(".nv.info") if n == number)


def cuobjdump() -> Path | str:
    """Find cuobjdump on the path, or in this environment's packages."""
    installed = (p for entry in sys.path for p in Path(entry).glob("nvidia/*/bin/cuobjdump"))
    return shutil.which("cuobjdump") or next(installed, "cuobjdump")


def cubins(path: Path, folder: Path) -> list[Path]:
    """Return the cubin files in a file; those of a module or wheel are unpacked into `folder`."""
    if path.suffix == ".cubin":
        return [path]
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            (name,) = (n for n in wheel.namelist() if Path(n).match("_cuda*.so"))
            path = Path(wheel.extract(name, folder))
    command = [cuobjdump(), "--extract-elf", "all", path.absolute()]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return sorted(folder.glob("*.cubin"))


def main(paths: list[Path]) -> int:
    faults: dict[str, None] = {}  # a set in order, since every target has the same faults
    kernels = tickets = 0
    for path in paths:
        with tempfile.TemporaryDirectory() as folder:
            for file in cubins(path, Path(folder)):
                cubin = Cubin(file.read_bytes())
                for text in cubin.strings():
                    faults[f"device memory holds the string {text!r}"] = None
                for kernel in cubin.kernels():
                    kernels += 1
                    tickets += TICKET in kernel.instructions()
                    for fault in faults_of(kernel):
                        faults[f"{kernel.name}: {fault}"] = None
    for fault in faults:
        print(f"check_cuda_code: {fault}")
    print(f"check_cuda_code: {kernels} kernels, {tickets} of them with tickets, {len(faults)} faults")
    # No tickets at all means that the operation codes have changed.
    return int(bool(faults) or not tickets)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main([Path(a) for a in sys.argv[1:]]))
