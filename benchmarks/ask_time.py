"""Claim: an ask with its tell costs at most a fifth of what the best Gaussian-process peer takes, at 20 to 300 trials.

Baselines: the peers of `engine.py`, with their defaults, in the same process and in turn. Metric: median and 95 %
quantile of the process CPU seconds of one ask and tell, fit included, on noisy Hartmann-6 after n told Sobol points;
the first ask of each is discarded. Then ours alone: over dimensions, and how it grows to 5,000 trials and 100
dimensions, in fresh processes with their peak memory. A lost comparison stays in the table.
"""

import argparse
import datetime
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from one_thread import restart_with_one_thread
from optimizers.catalogue import OPTIMIZERS, load
from optimizers.optimizer import Optimizer, sobol_points
from problems.noisy import HARTMANN6_025
from problems.problem import Params, Problem, box
from problems.smooth import BRANIN, HARTMANN6, hartmann6

RESULT = Path(__file__).parent / "results" / "ask_time.md"
OURS = "priorwise"
GAUSSIAN_PROCESSES = ("optuna-gp", "botorch", "ax", "bayes_opt")
"""The peers that the claim is about."""
_ASKS = {OURS: 11, "optuna-tpe": 11, "optuna-gp": 9, "smac": 11}
_ASKS_OF_THE_SLOW = 5
_LONG_RUN = 500
"""Trials of the run from end to end."""
_GROWTH = ((6, 1000), (6, 5000), (50, 100), (100, 100))
"""Dimensions and trials."""


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [name for name in OPTIMIZERS if name not in ("sobol", "random")]
    parser.add_argument(
        "--optimizers", nargs="*", metavar="NAME", default=names, help="only these; then nothing is written"
    )
    parser.add_argument("--grown", nargs=2, type=int, metavar=("D", "N"), help="measure ours at one size and print it")
    options = parser.parse_args()
    if options.grown:
        print(_grown(*options.grown))
        return
    sections = [_header(), *_compared(options.optimizers)]
    if OURS in options.optimizers:
        sections += [_over_dimensions(), _growth(), _long_run()]
    if options.optimizers == names:
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text("\n\n".join(sections) + "\n")


def seconds_of_asks(optimizers: dict[str, Optimizer], problem: Problem, asks: dict[str, int]) -> dict[str, np.ndarray]:
    """CPU seconds of asks and tells, the optimizers in turn.

    Args:
        optimizers: Which have been told something, by name.
        problem: What they are told of.
        asks: How many asks of each count; one before them does not.

    Returns:
        Name to seconds.
    """
    noise = np.random.default_rng(1)
    seconds: dict[str, list[float]] = {name: [] for name in optimizers}
    for turn in range(1 + max(asks.values())):
        for name, optimizer in optimizers.items():
            if turn > asks[name]:
                continue
            started = time.process_time()
            params = optimizer.ask()
            asked = time.process_time()
            told = _told(problem, params, noise)
            telling = time.process_time()
            optimizer.tell(params, told)
            seconds[name].append(asked - started + time.process_time() - telling)
    return {name: np.array(values[1:]) for name, values in seconds.items()}


def _told(problem: Problem, params: Params, noise: np.random.Generator) -> dict[str, float]:
    outcomes = problem.outcomes(params)
    return outcomes | {"y": outcomes["y"] + problem.noise_sd * noise.standard_normal()}


def _after(name: str, problem: Problem, n: int, seed: int = 0) -> Optimizer:
    """An optimizer that was told n Sobol points."""
    optimizer = load(name)[0](replace(problem, trials=n + 100), seed)
    noise = np.random.default_rng(seed)
    for params in sobol_points(problem, seed, n):
        optimizer.tell(params, _told(problem, params, noise))
    return optimizer


def _header() -> str:
    packages = (
        "priorwise",
        "torch",
        "numpy",
        "scipy",
        "optuna",
        "botorch",
        "ax-platform",
        "smac",
        "bayesian-optimization",
    )
    return "\n".join([
        "# Seconds of an ask: `benchmarks/ask_time.py`",
        "",
        f"{datetime.date.today()}; {os.cpu_count()} cores ({platform.machine()}, virtual machine), one thread; "
        f"Python {platform.python_version()}, {', '.join(f'{name} {version(name)}' for name in packages)}.",
    ])


def _compared(names: Sequence[str]) -> Iterator[str]:
    print("d = 6, noisy Hartmann-6: median (95 % quantile) of the CPU seconds of one ask and tell", flush=True)
    lines = ["| n | " + " | ".join(names) + " | best GP peer / ours |", "| --- " * (len(names) + 2) + "|"]
    for n in (20, 100, 300):
        optimizers = {name: _after(name, HARTMANN6_025, n) for name in names}
        seconds = seconds_of_asks(
            optimizers, HARTMANN6_025, {name: _ASKS.get(name, _ASKS_OF_THE_SLOW) for name in names}
        )
        cells = [f"{np.median(s):.3g} ({np.quantile(s, 0.95):.3g})" for s in seconds.values()]
        peers = [float(np.median(seconds[name])) for name in GAUSSIAN_PROCESSES if name in seconds]
        ratio = f"{min(peers) / np.median(seconds[OURS]):.1f}" if peers and OURS in seconds else "-"
        lines.append(f"| {n} | " + " | ".join(cells) + f" | {ratio} |")
        print(lines[-1], flush=True)
    yield (
        "CPU seconds of one ask and tell on noisy Hartmann-6 (d = 6) after n told points: median (95 % quantile). "
        "SMAC3 refits every few asks: its quantile holds the fit.\n\n" + "\n".join(lines)
    )


def _embedded(d: int) -> Problem:
    """A noisy function of d dimensions: Branin, or Hartmann-6 of the first six."""
    if d == BRANIN.space.dim:
        return replace(BRANIN, noise_sd=5.0)
    return replace(
        HARTMANN6_025,
        space=box(d, 0.0, 1.0),
        outcomes=lambda params: hartmann6({f"x{i}": params[f"x{i}"] for i in range(6)}),
        argmin=None,
    )


def _over_dimensions() -> str:
    sizes = (20, 50, 100, 150)
    lines = ["| d | " + " | ".join(f"n = {n}" for n in sizes) + " |", "| --- " * (len(sizes) + 1) + "|"]
    for d in (2, 6, 10):
        problem, cells = _embedded(d), []
        for n in sizes:
            seconds = np.concatenate([
                seconds_of_asks({OURS: _after(OURS, problem, n, seed)}, problem, {OURS: 10})[OURS] for seed in (0, 1)
            ])
            cells.append(f"{1e3 * np.median(seconds):.0f} ({1e3 * np.quantile(seconds, 0.95):.0f})")
        lines.append(f"| {d} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    return "Ours, milliseconds: median (95 % quantile) of 20 asks.\n\n" + "\n".join(lines)


def _growth() -> str:
    lines = ["| d | n | ask, s | 95 % quantile | peak memory, MB |", "| --- | --- | --- | --- | --- |"]
    for d, n in _GROWTH:
        command = [sys.executable, __file__, "--grown", str(d), str(n)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        lines.append(result.stdout.strip() or f"| {d} | {n} | failed: {result.stderr.strip().splitlines()[-1]} | | |")
        print(lines[-1], flush=True)
    return "Ours as it grows, each size in a fresh process.\n\n" + "\n".join(lines)


def _long_run() -> str:
    """One run of 500 trials of Hartmann-6 without noise, from the first ask to the last tell."""
    problem = replace(HARTMANN6, trials=_LONG_RUN)
    optimizer = load(OURS)[0](problem, 0)
    started = time.process_time()
    best = np.inf
    for _ in range(_LONG_RUN):
        params = optimizer.ask()
        outcomes = problem.outcomes(params)
        optimizer.tell(params, outcomes)
        best = min(best, outcomes["y"])
    seconds = time.process_time() - started
    line = (
        f"A run of {_LONG_RUN} trials of Hartmann-6 end to end: {seconds:.0f} s of CPU in all, regret "
        f"{best - problem.minimum:.2g}."
    )
    print(line, flush=True)
    return line


def _peak_megabytes() -> float:
    """Peak resident memory of this process; what `resource` tells counts that of the process that started it too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def _grown(d: int, n: int) -> str:
    problem = _embedded(d)
    seconds = seconds_of_asks({OURS: _after(OURS, problem, n)}, problem, {OURS: 9})[OURS]
    megabytes = _peak_megabytes()
    return f"| {d} | {n} | {np.median(seconds):.3g} | {np.quantile(seconds, 0.95):.3g} | {megabytes:.0f} |"


if __name__ == "__main__":
    restart_with_one_thread()
    main()
