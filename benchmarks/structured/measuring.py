"""Seconds of the processor and peak memory of a call, and growth exponents."""

import ctypes
import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def timed(calls: dict[str, Callable[[], Any]], repeats: dict[str, int]) -> dict[str, float]:
    """Median seconds of calls that take turns, each once before without being timed where it is repeated.

    Args:
        calls: By name.
        repeats: How often each.

    Returns:
        Name to seconds.
    """
    for name, call in calls.items():
        if repeats[name] > 1:
            call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(max(repeats.values())):
        for name, call in calls.items():
            if turn < repeats[name]:
                started = time.process_time()
                call()
                seconds[name].append(time.process_time() - started)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def extra_megabytes(call: Callable[[], Any]) -> float:
    """How far resident memory rises above where it was while a call runs (Linux)."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before must not serve the call
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to the present
    before = _kilobytes("VmRSS")
    call()
    return (_kilobytes("VmHWM") - before) / 1024


def _kilobytes(field: str) -> int:
    return int(Path("/proc/self/status").read_text().split(field + ":")[1].split()[0])


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """Slope of log seconds over log sizes."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
