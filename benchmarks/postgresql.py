"""Claim: sixteen processes share one study on a real PostgreSQL server, and no trial is lost or doubled.

Each process asks, evaluates a function that costs nothing, and tells, until the study's trials are used up: the
worst case, since real evaluations leave the storage alone meanwhile. An ask holds the study while the strategy thinks,
so that asks follow one another and a trial is chosen knowing all others. Metric: wall seconds of asks and tells as
their process sees them, waiting included, and trials a second of all processes together from the first ask to the last
tell. Needs a server: `scripts/with_postgresql.sh .venv/bin/python benchmarks/postgresql.py`.
"""

import argparse
import multiprocessing
import os
import sys
import time
import uuid
from importlib.metadata import version
from pathlib import Path

import numpy as np
from one_thread import restart_with_one_thread
from tables import machine, table

import bayesopt as bo

RESULT = Path(__file__).parent / "results" / "postgresql.md"
SPACE = bo.Space({f"x{i}": bo.Float(0.0, 1.0) for i in range(4)})
STRATEGIES = {"random search": bo.strategies.RandomSearch, "the default": bo.strategies.ExpectedImprovement}


def main() -> None:
    """Run both strategies, check that nothing is missing, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--trials", type=int, default=1000)
    options = parser.parse_args()
    storage = os.environ.get("BAYESOPT_TEST_POSTGRESQL")
    if storage is None:
        sys.exit("No server: run this by scripts/with_postgresql.sh, or name one in BAYESOPT_TEST_POSTGRESQL.")
    rows = [_row(name, storage, options.workers, options.trials) for name in STRATEGIES]
    head = ["strategy", "trials a second", "ask, median", "ask, p95", "ask, longest", "tell, median", "tell, p95"]
    versions = [{"version": f"{name} {version(name)}"} for name in ("priorwise", "SQLAlchemy", "psycopg")]
    text = (
        f"# PostgreSQL: `benchmarks/postgresql.py`\n\n{machine(versions)}\n\n"
        f"{options.workers} processes, {options.trials} trials of 4 parameters, wall milliseconds. All were "
        f"told once.\n\n{table(head, rows)}\n"
    )
    print(text)
    RESULT.write_text(text)


def _row(strategy: str, storage: str, n_workers: int, n_trials: int) -> list[str]:
    name = f"scale {uuid.uuid4().hex}"
    _open(storage, name, strategy, n_trials).close()
    context = multiprocessing.get_context("spawn")
    with context.Pool(n_workers) as pool:
        parts = pool.starmap(_work, [(storage, name, strategy, n_trials)] * n_workers, chunksize=1)
    asks, tells = (np.array([seconds for part in parts for seconds in part[which]]) for which in (0, 1))
    began, ended = min(part[2] for part in parts), max(part[3] for part in parts)
    with _open(storage, name, strategy, n_trials) as study:
        trials = study.trials
    assert [trial.id for trial in trials] == list(range(n_trials))
    assert all(trial.state == "complete" for trial in trials)
    assert len(tells) == n_trials
    milliseconds = [np.median(asks), np.quantile(asks, 0.95), asks.max(), np.median(tells), np.quantile(tells, 0.95)]
    return [strategy, f"{n_trials / (ended - began):.1f}", *(f"{1e3 * seconds:.0f}" for seconds in milliseconds)]


def _open(storage: str, name: str, strategy: str, n_trials: int) -> bo.Study:
    return bo.Study(
        SPACE,
        minimize="loss",
        budget=bo.Budget(trials=n_trials),
        storage=storage,
        name=name,
        strategy=STRATEGIES[strategy](),
        seed=0,
    )


def _work(storage: str, name: str, strategy: str, n_trials: int) -> tuple[list[float], list[float], float, float]:
    """Seconds of each ask that gave a trial and of each tell, and when the first began and the last ended."""
    import bayesopt.surrogate  # noqa: F401 - so that no ask is charged with loading torch

    asks, tells = [], []
    with _open(storage, name, strategy, n_trials) as study:
        began = time.time()
        while True:
            started = time.perf_counter()
            trial = study.ask()
            if trial is None:
                break
            asks.append(time.perf_counter() - started)
            loss = sum((value - 0.3) ** 2 for value in trial.params.values())
            started = time.perf_counter()
            study.tell(trial, {"loss": loss})
            tells.append(time.perf_counter() - started)
        return asks, tells, began, time.time()


if __name__ == "__main__":
    restart_with_one_thread()
    main()
