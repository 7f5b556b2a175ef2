"""Claim: with a law of the field a training run is tuned in five trials to 0.0006 nats, without one in ten to 0.0017.

Baselines: Optuna's TPE and GPSampler, BoTorch's SingleTaskGP with qLogEI, random search and the formulas alone, all on
the same tables of real language-model runs, in one process; metric: nats above the table's best after 5, 10 and 20
runs. Then what laws of learning curves foretell, what an end predicted from half a run misses, which schedules laws
like, and what hundreds of penalties gain by hypergradients. Real measurements are read from the folder named by
BAYESOPT_DATA; without it the sections that need them say so. A lost comparison stays in the table.
"""

import argparse
import os
from importlib.metadata import version
from pathlib import Path

from one_thread import restart_with_one_thread
from tables import machine
from training_sections import curves, penalties, rules, surfaces

RESULT = Path(__file__).parent / "results" / "training.md"
DATA = Path(os.environ.get("BAYESOPT_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))
PEERS = ("priorwise", "optuna", "botorch", "gpytorch")


def main() -> None:
    """Measure, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="seeds 0 .. n - 1 of each tuner on each surface")
    parser.add_argument(
        "--slow-seeds", type=int, default=1, help="the same of the tuners whose asks are dear; 0 leaves them out"
    )
    parser.add_argument("--surfaces", type=int, help="the first so many surfaces only; then nothing is written")
    parser.add_argument("--tuners", nargs="*", metavar="NAME", help="these rows only; then nothing is written")
    options = parser.parse_args()
    sections = ["# Training runs: `benchmarks/training.py`", machine([{"version": f"{p} {version(p)}"} for p in PEERS])]
    if (DATA / "steplaw").is_dir():
        some = surfaces.load(DATA)[: options.surfaces]
        sections.append(surfaces.section(some, options.seeds, options.slow_seeds, options.tuners))
        sections.append(rules.section(some))
    else:
        sections.append(f"No tables of training runs in {DATA / 'steplaw'}: set BAYESOPT_DATA.")
    if (DATA / "lrcurves").is_dir():
        known = curves.load(DATA)
        sections += [curves.laws_section(known), curves.stopping_section(known), curves.design_section(known, DATA)]
    else:
        sections.append(f"No learning curves in {DATA / 'lrcurves'}: set BAYESOPT_DATA.")
    sections.append(penalties.section(5))
    text = "\n\n".join(sections)
    print(text)
    if options.surfaces is None and options.tuners is None and (DATA / "steplaw").is_dir():
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(text + "\n")


if __name__ == "__main__":
    restart_with_one_thread()
    main()
