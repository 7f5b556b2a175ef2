"""Runs of an optimizer on a problem, and the file that keeps them: what the tables of optimizers have in common."""

import fcntl
import gzip
import json
import math
import time
import traceback
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from optimizers.catalogue import load
from optimizers.optimizer import Optimizer, n_starts, sobol_points
from problems.problem import Evaluate, Params, Problem

Run = dict[str, Any]
"""One line of the file; `run` says what it holds."""


def wanted(
    problems: Sequence[Problem], optimizers: Sequence[str], n_seeds: int | None, first_seed: int
) -> Iterator[tuple[Problem, str, int]]:
    """What to run, seed by seed, so that an interrupted benchmark holds as many runs of everything.

    Args:
        problems: Which problems.
        optimizers: Which optimizers.
        n_seeds: Runs of each on each; None for the number that a problem itself asks for.
        first_seed: The first seed; the others follow it.

    Yields:
        Problem, name of the optimizer and seed.
    """
    most = n_seeds or max(problem.n_seeds for problem in problems)
    for seed, name, problem in product(range(most), optimizers, problems):
        if n_seeds is not None or seed < problem.n_seeds:
            yield problem, name, first_seed + seed


def run_missing(runs: Path, todo: Iterator[tuple[Problem, str, int]], *, again: bool = False) -> None:
    """Run what a file lacks and add it there, one line a run.

    Args:
        runs: The file; other processes may add to it meanwhile.
        todo: As from `wanted`.
        again: Run also what the file holds.
    """
    for problem, name, seed in todo:
        if again or (problem.name, name, seed) not in {key(done) for done in read(runs)}:
            result = run(problem, name, seed)
            append(runs, result)
            print(line(result), flush=True)


def unpack(archive: Path, runs: Path) -> None:
    """Begin a file of runs that does not exist from those behind the committed table, if there are any."""
    if not runs.exists() and archive.exists():
        runs.parent.mkdir(parents=True, exist_ok=True)
        runs.write_bytes(gzip.decompress(archive.read_bytes()))


def pack(runs: Path, archive: Path) -> None:
    """Keep the runs of a file for the repository; of two with the same key the newer."""
    last = {key(result): json.dumps(result) for result in read(runs)}
    archive.write_bytes(gzip.compress(("\n".join(last.values()) + "\n").encode(), mtime=0))


def run(problem: Problem, name: str, seed: int) -> Run:
    """Spend a problem's trials with one optimizer.

    Args:
        problem: What to minimise.
        name: Which optimizer.
        seed: Of the start, of the optimizer and of the noise.

    Returns:
        `half` and `full`: true value of the configuration recommended at half and at the whole budget, None where
        there is none or it is not feasible; `best`: least true feasible value after each trial, likewise; `cpu`
        and `cpu_p95`: median and 95 % quantile of the process CPU seconds of one ask and tell; `error`: how the
        optimizer broke off, None where it did not.
    """
    surface = problem.instance(seed)
    evaluate = surface.evaluator()
    noise = np.random.default_rng([seed, 1])
    starts = sobol_points(surface, seed, n_starts(surface))
    kind, distribution = load(name)
    best, seconds, error = [math.inf], [], None
    seen: dict[str, dict[str, float]] = {}
    half = None
    try:
        optimizer = kind(surface, seed)
        for trial in range(surface.trials):
            started = time.process_time()
            params = starts[trial] if trial < len(starts) else optimizer.ask()
            asked = time.process_time()
            true = evaluate(params)
            seen.setdefault(json.dumps(params, sort_keys=True, default=str), true)
            best.append(min(best[-1], surface.true_value(true)))
            told = true | {"y": true["y"] + surface.noise_sd * noise.standard_normal()}
            telling = time.process_time()
            optimizer.tell(params, told)
            if trial >= len(starts):
                seconds.append(asked - started + time.process_time() - telling)
            if trial + 1 == math.ceil(surface.trials / 2):
                half = _recommended(surface, optimizer, seen)
        full = _recommended(surface, optimizer, seen)
    except Exception as failure:  # a peer that breaks is a result, scored by what it had until then
        error = traceback.format_exception_only(failure)[-1].strip()[:300]
        full = best[-1]
        half = best[min(len(best) - 1, math.ceil(surface.trials / 2))] if half is None else half
    return {
        "problem": problem.name,
        "optimizer": name,
        "seed": seed,
        "half": _number(surface, half),
        "full": _number(surface, full),
        "best": [_number(surface, value) for value in best[1:]],
        "cpu": float(np.median(seconds)) if seconds else None,
        "cpu_p95": float(np.quantile(seconds, 0.95)) if seconds else None,
        "error": error,
        "version": f"{distribution} {version(distribution)}",
    }


def _recommended(problem: Problem, optimizer: Optimizer, seen: dict[str, dict[str, float]]) -> float:
    params: Params | None = optimizer.recommend()
    if params is None:
        return math.inf
    evaluate: Evaluate = problem.outcomes
    return problem.true_value(seen.get(json.dumps(params, sort_keys=True, default=str)) or evaluate(params))


def _number(problem: Problem, value: float) -> float | None:
    """A value for the file: of a surface, in units of the regret that counts there."""
    if not math.isfinite(value):
        return None
    return (value - problem.minimum) / problem.unit if problem.new_evaluate else value


def read(path: Path) -> list[Run]:
    """The runs of a file, none where there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def append(path: Path, result: Run) -> None:
    """Add a run to a file while no other process does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(result) + "\n")


def key(result: Run) -> tuple[str, str, int]:
    """Problem, optimizer and seed: of two runs that share them the newer counts."""
    return result["problem"], result["optimizer"], result["seed"]


def line(result: Run) -> str:
    """A run as a line for the screen."""
    shown = [f"{result[key]:.5g}" if result[key] is not None else "-" for key in ("half", "full", "cpu", "cpu_p95")]
    return " ".join([result["problem"], result["optimizer"], str(result["seed"]), *shown, result["error"] or ""])
