"""Claim: in tens of trials the default engine comes closer to known minima than the engines users would pick instead.

Baselines: Optuna, Ax, BoTorch's tutorial loop, SMAC3, bayesian-optimization, Sobol and random search, each with its
defaults and the same starts. Metric: true regret of the configuration that a tool itself recommends, at half and at
the whole budget; the median over seeds, divided by Sobol's, and the geometric mean of that over problems. A lost
comparison stays in the table.

Runs are kept in a file of JSON lines, one a run, and those that it holds are not run again: an interrupted benchmark
goes on where it stopped, and processes that run different optimizers can share the file.
"""

import argparse
from pathlib import Path

from one_thread import restart_with_one_thread
from optimizers.catalogue import OPTIMIZERS
from problems.everything import ALL
from runs import pack, read, run_missing, unpack, wanted

ROOT = Path(__file__).parents[1]
RUNS_FILE = ROOT / "build" / "bench" / "engine_runs.jsonl"
ARCHIVE = Path(__file__).parent / "results" / "engine_runs.jsonl.gz"
"""The runs behind the committed table, from which a fresh clone goes on."""


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
    if options.runs == RUNS_FILE:
        unpack(ARCHIVE, RUNS_FILE)
    if not options.report:
        todo = wanted(problems, options.optimizers, options.seeds, options.first_seed)
        run_missing(options.runs, todo, again=options.again)
    from engine_report import write_report  # late: plotting is for the report alone

    write_report(read(options.runs), ALL)
    if options.runs == RUNS_FILE:
        pack(RUNS_FILE, ARCHIVE)


if __name__ == "__main__":
    restart_with_one_thread()
    main()
