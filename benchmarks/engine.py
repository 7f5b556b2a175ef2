"""Claim: in tens of trials the default engine comes closer to known minima than the engines users would pick instead.

Baselines: Optuna, Ax, BoTorch's tutorial loop, SMAC3, bayesian-optimization, Sobol and random search, each with its
defaults and the same starts. Metric: true regret of the configuration that a tool itself recommends, at half and at
the whole budget; the median over seeds, divided by Sobol's, and the geometric mean of that over problems. A lost
comparison stays in the table.

Runs are kept in a file of JSON lines, one a run, and those that it holds are not run again: an interrupted benchmark
goes on where it stopped, and processes that run different optimizers can share the file.
"""

import argparse
import fcntl
import gzip
import json
import math
import time
import traceback
from collections.abc import Iterator
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from one_thread import restart_with_one_thread
from optimizers.catalogue import OPTIMIZERS, load
from optimizers.optimizer import Optimizer, n_starts, sobol_points
from problems.everything import ALL
from problems.problem import Evaluate, Params, Problem

ROOT = Path(__file__).parents[1]
RUNS_FILE = ROOT / "build" / "bench" / "engine_runs.jsonl"
ARCHIVE = Path(__file__).parent / "results" / "engine_runs.jsonl.gz"
"""The runs behind the committed table, from which a fresh clone goes on."""

Run = dict[str, Any]
"""One line of the file; `run` says what it holds."""


def main() -> None:
    """Run what the file lacks, then write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimizers", nargs="*", metavar="NAME", default=list(OPTIMIZERS), help="only these")
    parser.add_argument("--problems", nargs="*", metavar="PART", help="only problems whose name contains one of these")
    parser.add_argument("--seeds", type=int, help="runs of each optimizer on each problem, if not the problem's own")
    parser.add_argument("--first-seed", type=int, default=0, help="the runs use this seed and those after it")
    parser.add_argument("--runs", type=Path, default=RUNS_FILE, help="the file of runs")
    parser.add_argument("--again", action="store_true", help="run also what the file holds; the newer run counts")
    parser.add_argument("--report", action="store_true", help="run nothing, only write the report")
    options = parser.parse_args()
    problems = [
        p for p in ALL if not options.problems or any(part.lower() in p.name.lower() for part in options.problems)
    ]
    if not any(problem.instances for problem in ALL):
        print("The language-model surfaces are absent (BAYESOPT_DATA names their folder): that problem is left out.")
    if options.runs == RUNS_FILE and not RUNS_FILE.exists() and ARCHIVE.exists():
        RUNS_FILE.parent.mkdir(parents=True, exist_ok=True)
        RUNS_FILE.write_bytes(gzip.decompress(ARCHIVE.read_bytes()))
    if not options.report:
        for problem, name, seed in _wanted(problems, options.optimizers, options.seeds, options.first_seed):
            if options.again or (problem.name, name, seed) not in {_key(done) for done in read(options.runs)}:
                result = run(problem, name, seed)
                append(options.runs, result)
                print(_line(result), flush=True)
    from engine_report import write_report  # late: plotting is for the report alone

    runs = read(options.runs)
    write_report(runs, ALL)
    if options.runs == RUNS_FILE:
        last = {_key(result): json.dumps(result) for result in runs}  # the newer of two equal runs counts
        ARCHIVE.write_bytes(gzip.compress(("\n".join(last.values()) + "\n").encode(), mtime=0))


def _wanted(
    problems: list[Problem], optimizers: list[str], n_seeds: int | None, first_seed: int
) -> Iterator[tuple[Problem, str, int]]:
    """What to run, seed by seed, so that an interrupted benchmark holds as many runs of everything."""
    most = n_seeds or max(problem.n_seeds for problem in problems)
    for seed, name, problem in product(range(most), optimizers, problems):
        if n_seeds is not None or seed < problem.n_seeds:
            yield problem, name, first_seed + seed


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


def _key(result: Run) -> tuple[str, str, int]:
    return result["problem"], result["optimizer"], result["seed"]


def _line(result: Run) -> str:
    shown = [f"{result[key]:.5g}" if result[key] is not None else "-" for key in ("half", "full", "cpu", "cpu_p95")]
    return " ".join([result["problem"], result["optimizer"], str(result["seed"]), *shown, result["error"] or ""])


if __name__ == "__main__":
    restart_with_one_thread()
    main()
