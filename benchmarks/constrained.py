"""Claim: under constraints the default engine finds the best feasible trial in tens of trials, the first one soonest.

Baselines: Optuna's Gaussian-process sampler, BoTorch's constrained noisy and analytic expected improvement, SCBO,
CONFIG and Sobol search, all with the same starts. Metric: median least true feasible value at the end, median trial of
the first feasible one, and process CPU seconds of an ask. A lost comparison stays in the table.

Runs are kept in a file of JSON lines, one a run, and those that it holds are not run again: an interrupted benchmark
goes on where it stopped, with as many runs of every optimizer as it could finish.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from constrained_report import write_report
from one_thread import restart_with_one_thread
from optimizers.catalogue import CONSTRAINED
from optimizers.priorwise import Priorwise
from problems.constrained import GEARS, SUITE
from runs import pack, read, run_missing, unpack, wanted

ROOT = Path(__file__).parents[1]
RUNS_FILE = ROOT / "build" / "bench" / "constrained_runs.jsonl"
ARCHIVE = Path(__file__).parent / "results" / "constrained_runs.jsonl.gz"
"""The runs behind the committed table, from which a fresh clone goes on."""
OPTIMIZERS = ("priorwise", "sobol", "optuna-gp", *CONSTRAINED)
SLOW = "botorch"
"""Beside several constraints one ask takes it minutes, so it gets fewer seeds."""
_SEEDS, _SLOW_SEEDS = 10, 2
_TIMED = range(45, 55)
"""Trials whose asks are timed."""


def main() -> None:
    """Run what the file lacks, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimizers", nargs="*", metavar="NAME", default=[*OPTIMIZERS, SLOW], help="only these")
    parser.add_argument("--problems", nargs="*", metavar="PART", help="only problems whose name contains one of these")
    parser.add_argument("--seeds", type=int, default=_SEEDS, help="runs of each optimizer on each problem")
    parser.add_argument("--first-seed", type=int, default=0, help="the runs use this seed and those after it")
    parser.add_argument("--runs", type=Path, default=RUNS_FILE, help="the file of runs")
    parser.add_argument("--report", action="store_true", help="run nothing, only write the table")
    options = parser.parse_args()
    parts = [part.lower() for part in options.problems or [""]]
    problems = [problem for problem in SUITE if any(part in problem.name.lower() for part in parts)]
    if options.runs == RUNS_FILE:
        unpack(ARCHIVE, RUNS_FILE)
    if not options.report:
        quick = [name for name in options.optimizers if name != SLOW]
        run_missing(options.runs, wanted(problems, quick, options.seeds, options.first_seed))
        if SLOW in options.optimizers:
            seeds = min(options.seeds, _SLOW_SEEDS)
            run_missing(options.runs, wanted(problems, [SLOW], seeds, options.first_seed))
    write_report(read(options.runs), SUITE, milliseconds_of_asks())
    if options.runs == RUNS_FILE:
        pack(RUNS_FILE, ARCHIVE)


def milliseconds_of_asks() -> np.ndarray:
    """CPU milliseconds of our asks and tells under 11 constraints in 7 dimensions, in two runs of their own."""
    seconds = []
    for seed in (100, 101):
        optimizer = Priorwise(GEARS, seed)
        for trial in range(_TIMED.stop):
            started = time.process_time()
            params = optimizer.ask()
            asked = time.process_time()
            outcomes = GEARS.outcomes(params)
            telling = time.process_time()
            optimizer.tell(params, outcomes)
            if trial in _TIMED:
                seconds.append(asked - started + time.process_time() - telling)
    return 1e3 * np.array(seconds)


if __name__ == "__main__":
    restart_with_one_thread()
    main()
