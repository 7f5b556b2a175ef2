"""Structured Gaussian processes on a GPU: seconds, memory, and how near they come to what the card can do.

    .venv-bench/bin/python benchmarks/gpu.py [--device cpu]

Needs CUDA and says so where there is none; `--device cpu` runs the same measurements on the processor and writes
nothing. Claim: from 400 x 400 on, evidence and gradient take less time on the GPU than on one core. Metric: median
seconds between synchronisations, double precision. The card's ceilings are measured in the same run: a large matrix
product for its rate in double precision, a large copy for its bandwidth. The products along the axes, which a solution
is made of, are set against both; evidence and gradient against the rate alone, counting matrix products and nothing
else, so that what `eigh` takes shows as what is missing.
"""

import argparse
import datetime
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from tables import table
from torch import Tensor

from gp.linalg.kronecker import mode_products
from gp.models.kronecker import KroneckerGP

RESULT = Path(__file__).parent / "results" / "gpu.md"
_SIZES = (100, 200, 400, 1000, 2000)
_REPEATS = 7


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--sizes", type=int, nargs="+", default=_SIZES, help="cells of an axis")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("No CUDA device here: nothing was measured and no table was written.")
        return
    rate, bandwidth = _rate(device, max(options.sizes)), _bandwidth(device)
    head = ["grid", "evidence and gradient, s", "memory, MB", "share of the rate"]
    head += ["products along both axes, s", "share of the rate", "share of the bandwidth"]
    rows = [_row(n, device, rate, bandwidth) for n in options.sizes]
    text = "\n\n".join([
        "# `benchmarks/gpu.py`",
        f"{datetime.date.today()}; {_name(device)}; Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in ("priorwise", "torch", "gpytorch"))
        + f". Measured ceilings: {rate / 1e12:.2f} TFLOP/s in double precision, {bandwidth / 1e9:.0f} GB/s.",
        table(head, rows),
    ])
    print(text)
    if device.type == "cuda":
        RESULT.write_text(text + "\n")


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    """Median seconds; the first call, in which libraries load, does not count."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    call()
    seconds = []
    for _ in range(_REPEATS):
        wait()
        started = time.perf_counter()
        call()
        wait()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


def _rate(device: torch.device, n: int) -> float:
    A = torch.rand(n, n, dtype=torch.float64, device=device)
    return 2.0 * n**3 / _seconds(lambda: A @ A, device)


def _bandwidth(device: torch.device) -> float:
    source = torch.rand(2**25, dtype=torch.float64, device=device)
    target = torch.empty_like(source)
    return 2.0 * source.numel() * source.element_size() / _seconds(lambda: target.copy_(source), device)


def _row(n: int, device: torch.device, rate: float, bandwidth: float) -> list[str]:
    x = torch.linspace(0, 1, n, dtype=torch.float64, device=device)
    Y = torch.sin(7 * x)[:, None] * torch.cos(5 * x)
    generator = torch.Generator(device).manual_seed(0)
    Y = Y + 0.1 * torch.randn(n, n, dtype=torch.float64, device=device, generator=generator)
    model = KroneckerGP([x, x], Y)
    parameters = list(model.parameters())
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    seconds = _seconds(lambda: torch.autograd.grad(model.evidence(), parameters), device)
    megabytes = (torch.cuda.max_memory_allocated(device) - before) / 2**20 if device.type == "cuda" else float("nan")
    Q: list[Tensor | None] = [K.detach() for K in model.covariances()]
    products = _seconds(lambda: mode_products(Q, Y), device)
    # two transforms of Y, one contraction an axis, and two products an axis that take it back
    flops = (2 + 2 + 4) * 2.0 * n**3
    moved = 8.0 * 4 * n**2 + 8.0 * 2 * n**2
    return [
        f"{n} x {n}",
        f"{seconds:.4f}",
        f"{megabytes:.0f}",
        f"{flops / seconds / rate:.0%}",
        f"{products:.5f}",
        f"{4.0 * n**3 / products / rate:.0%}",
        f"{moved / products / bandwidth:.0%}",
    ]


if __name__ == "__main__":
    main()
