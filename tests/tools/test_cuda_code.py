"""`scripts/check_cuda_code.py` finds planted faults in compiled kernels."""

from __future__ import annotations

import shutil
import struct
import subprocess

import pytest
from scripts import check_cuda_code
from scripts.check_cuda_code import FENCE, TICKET, Cubin, Kernel, faults_of, strings_in

OTHER = 0x981


def kernel(instructions=(), registers=32, local_bytes=0, threads=256, name="sum_kernel"):
    code = b"".join(struct.pack("<QQ", 0xABC00000 | i, 0) for i in instructions)
    return Kernel(f"_ZN8steepest4cuda{len(name)}{name}IfEEvv", registers, local_bytes, threads, code)


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("_ZN8steepest4cuda10sum_kernelIfEEvv", "sum_kernel"),
        ("_ZN8steepest4cuda17max_pool2d_kernelILi4EfEEvv", "max_pool2d_kernel"),
        ("_ZN4cuda31_GLOBAL__N__27_13_sum_cu_b7_3516_10sum_kernelIfEEvv", "sum_kernel"),
        ("_ZN4cuda30_GLOBAL__N__27_13_sum_cu_b7_35110sum_kernelIfEEvv", "sum_kernel"),
        ("sum", "sum"),
    ],
)
def test_name_of_a_kernel(symbol, name):
    assert Kernel(symbol, 32, 0, 256, b"").name == name


@pytest.mark.parametrize(
    ("registers", "threads", "fits"),
    [(64, 1024, True), (65, 1024, False), (255, 256, True), (168, 512, False)],
)
def test_registers(registers, threads, fits):
    faults = list(faults_of(kernel(registers=registers, threads=threads)))
    assert (not faults) == fits
    assert fits or "cannot be launched" in faults[0]


def test_local_memory():
    assert list(faults_of(kernel(local_bytes=40, name="draw_items_kernel"))) == []
    (fault,) = faults_of(kernel(local_bytes=48, name="draw_items_kernel"))
    assert fault == "48 bytes of local memory, where 40 are known"
    assert len(list(faults_of(kernel(local_bytes=8)))) == 1


def test_fences():
    assert list(faults_of(kernel([OTHER, FENCE, OTHER, TICKET, OTHER, FENCE]))) == []
    for instructions in ([TICKET, FENCE], [FENCE, TICKET], [OTHER, TICKET]):
        assert len(list(faults_of(kernel(instructions)))) == 1


def test_strings():
    assert strings_in(b"\x00take_rows\x00\xff\xfeabc\x00") == ["take_rows"]


SOURCE = """
struct Operation { static constexpr const char* kName = "operation"; };
struct Report { const char* name; };
__global__ void name_kernel(Report* report) { report->name = Operation::kName; }
__global__ void ticket_kernel(unsigned* ticket, int* last) { *last = atomicAdd(ticket, 1u); }
__global__ void fenced_kernel(unsigned* ticket, int* last) {
    __threadfence();
    const unsigned taken = atomicAdd(ticket, 1u);
    __threadfence();
    *last = taken;
}
__global__ void indexed_kernel(const int* at, int* out) {
    int counts[6] = {};
    for (int i = 0; i < 50; ++i) ++counts[at[i]];
    for (int i = 0; i < 6; ++i) out[i] = counts[i];
}
"""


@pytest.mark.skipif(not shutil.which("nvcc"), reason="there is no CUDA compiler")
@pytest.mark.parametrize("target", ["sm_80", "sm_90a"])
def test_compiled_kernels(tmp_path, target, capsys):
    source, compiled = tmp_path / "kernels.cu", tmp_path / "kernels.cubin"
    source.write_text(SOURCE)
    command = ["nvcc", f"-arch={target}", "-std=c++20", "-cubin", "-o", compiled, source]
    subprocess.run(command, check=True, capture_output=True)
    cubin = Cubin(compiled.read_bytes())
    assert cubin.strings() == ["operation"]
    faults = {k.name: " ".join(faults_of(k)) for k in cubin.kernels()}
    assert faults["name_kernel"] == faults["fenced_kernel"] == ""
    assert "without a fence" in faults["ticket_kernel"]
    assert "24 bytes of local memory" in faults["indexed_kernel"]
    assert check_cuda_code.main([compiled]) == 1
    assert "4 kernels, 2 of them with tickets, 3 faults" in capsys.readouterr().out
