"""Peak bandwidth and arithmetic rate of a CUDA device, measured in the same run as the benchmarks, without steepest.

Bandwidth: a copy of 1 GiB within device memory, counting bytes read and bytes written. Rate: the fastest of a few large
bfloat16 products of PyTorch on normal random data, which draw more power, and so run at lower clocks, than products of
zeros. Float32 kernels cannot approach this rate without the tensor cores. Rows therefore also have the peak of float32
multiply-adds, computed from the device's stated clock instead of measured.
"""

from __future__ import annotations

from bench.device import Cuda
from bench.peers import Peers, PeerUnavailableError
from bench.roofline import Bound

GIB = 1 << 30
PRODUCTS = (4096, 8192)
# Float32 multiply-adds per multiprocessor and clock cycle, by compute capability; 128 for all others.
LANES = {(8, 0): 64, (7, 0): 64, (7, 5): 64}


class Ceiling:
    """GFLOP/s of the largest bfloat16 product and GB/s of a copy; sampling again keeps the best."""

    def __init__(
        self, device: Cuda, peers: Peers, *, copied: int = GIB, products=PRODUCTS, samples: int = 10
    ):
        self.device = device
        self.copied, self.samples = copied, samples
        self.gflops = self.gbps = 0.0
        try:
            self.products = [self._product(peers.load("torch"), n) for n in products]
            self.method = "device copy; bfloat16 product of PyTorch"
        except PeerUnavailableError:
            self.products = []
            self.method = "device copy; no PyTorch for a bfloat16 product"

    def close(self) -> None:
        self.products = []

    def _product(self, torch, n: int):
        """Return (number of floating-point operations, a call that does them)."""
        where = {"device": self.device.compute, "dtype": torch.bfloat16}
        a, b = torch.randn(n, n, **where), torch.randn(n, n, **where)
        out = torch.empty(n, n, **where)
        return 2.0 * n**3, lambda: torch.mm(a, b, out=out)

    def _best(self, call) -> float:
        """Smallest time of a call in seconds, measured with events."""
        contestant = _Call(call)
        self.device.seconds(contestant, 1)
        return min(self.device.seconds(contestant, 2) / 2 for _ in range(self.samples))

    def sample_peak(self) -> float:
        """Measure the products again; return the highest GFLOP/s seen so far, 0 without PyTorch."""
        for flops, call in self.products:
            self.gflops = max(self.gflops, flops / self._best(call) / 1e9)
        return self.gflops

    def bandwidth(self) -> float:
        """Measure the copy again; return the highest GB/s seen so far, reads plus writes."""
        xp = self.device.xp
        source = xp.ones(self.copied // 4, "float32")
        target = xp.zeros_like(source)
        seconds = self._best(lambda: xp.copyto(target, source))
        self.gbps = max(self.gbps, 2 * self.copied / seconds / 1e9)
        return self.gbps

    def bound(self, flops: float, moved: float, working_set: float) -> Bound:
        """Lower bound of the time for `flops` operations and `moved` bytes.

        Device memory does not bound work on data in the cache; only the rate does.
        """
        peak = self.sample_peak() if flops else 0.0
        gbps = self.bandwidth() if moved and working_set > self.device.l2_bytes else 0.0
        compute = flops / peak / 1e9 if peak else 0.0
        memory = moved / gbps / 1e9 if gbps else 0.0
        return Bound(max(compute, memory), "compute" if compute >= memory else "memory", peak, gbps)

    def float32_peak(self) -> float:
        """GFLOP/s of float32 multiply-adds at the device's highest stated clock; 0 if it states none."""
        p = self.device.properties
        khz = self.device.xp.cuda.Device().attributes.get("ClockRate", 0)
        return 2e-6 * khz * p["multiProcessorCount"] * LANES.get((p["major"], p["minor"]), 128)

    def describe(self, bound: Bound) -> dict[str, object]:
        """The bound as a dict for a row."""
        name = "copy bandwidth" if bound.by == "memory" else "bfloat16 product"
        computed = {"float32_gflops_by_clock": float(f"{self.float32_peak():.4g}")}
        return bound.describe() | {"method": self.method, "name": name} | computed


class _Call:
    """A call that the device's clock can time."""

    wait = None

    def __init__(self, call):
        self.call = call
