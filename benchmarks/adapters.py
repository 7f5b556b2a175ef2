"""Claim: whichever engine drives the search, it finds what the native loop finds: the same trials, seed by seed.

Baseline: `Study.run` in this process. Beside it the sampler in a study of Optuna, the searcher in a Tuner on a local
cluster of Ray, and `Study.run` on a local cluster of Dask, one trial at a time, the same space, seeds and number of
trials, in one process. Metric: simple regret (best value seen less the minimum), and in how many runs every trial was
the native loop's. A route that differs stays in the table. Needs the extra `integrations`.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import optuna
import ray
from distributed import Client, LocalCluster
from one_thread import restart_with_one_thread
from problems.problem import Params, Problem
from problems.smooth import BRANIN, HARTMANN3
from ray import tune
from tables import machine, table

import bayesopt as bo
from bayesopt.integrations.optuna import PriorwiseSampler
from bayesopt.integrations.ray import PriorwiseSearch

RESULT = Path(__file__).parent / "results" / "adapters.md"
PROBLEMS = (BRANIN, HARTMANN3)
TRIALS = 20
SEEDS = (11, 12, 13)
Route = Callable[[Problem, int], list[tuple[Params, float]]]


def native(problem: Problem, seed: int, **options: Any) -> list[tuple[Params, float]]:
    """What the loop tried, and what came of it."""
    study = bo.Study(problem.space, minimize="y", budget=bo.Budget(trials=TRIALS), seed=seed)
    study.run(problem.outcomes, progress=False, **options)
    return [(trial.params, trial.values["y"] or 0.0) for trial in study.trials]


def through_optuna(problem: Problem, seed: int) -> list[tuple[Params, float]]:
    """The same by `optuna.Study.optimize`."""
    study = optuna.create_study(sampler=PriorwiseSampler(problem.space, seed=seed))

    def objective(trial: optuna.Trial) -> float:
        ranges = problem.space.items()
        return problem.outcomes({name: trial.suggest_float(name, each.low, each.high) for name, each in ranges})["y"]

    study.optimize(objective, n_trials=TRIALS)
    return [(trial.params, trial.value) for trial in study.trials]


def through_ray(problem: Problem, seed: int) -> list[tuple[Params, float]]:
    """The same by `ray.tune.Tuner.fit`."""
    search = PriorwiseSearch(problem.space, metric="y", mode="min", seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        tune.Tuner(
            problem.outcomes,
            tune_config=tune.TuneConfig(
                search_alg=search, num_samples=TRIALS, max_concurrent_trials=1, reuse_actors=True
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        ).fit()
    return [(trial.params, trial.values["y"] or 0.0) for trial in search.study.trials]


def main() -> None:
    """Run every route, print and write the table."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    here = os.fspath(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])  # for the workers of both
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        routes: dict[str, Route] = {
            "native": native,
            "Optuna": through_optuna,
            "Dask": lambda problem, seed: native(problem, seed, executor=client.get_executor(pure=False)),
            "Ray": through_ray,
        }
        runs = {
            (problem.name, seed, name): route(problem, seed)
            for problem in PROBLEMS
            for seed in SEEDS
            for name, route in routes.items()
        }
    ray.shutdown()
    rows = []
    for problem in PROBLEMS:
        cells = []
        for name in routes:
            tried = [runs[problem.name, seed, name] for seed in SEEDS]
            regret = median(min(value for _, value in run) - problem.minimum for run in tried)
            same = sum(run == runs[problem.name, seed, "native"] for run, seed in zip(tried, SEEDS, strict=True))
            cells.append(f"{regret:.3g} ({same} of {len(SEEDS)})")
        rows.append([problem.name, *cells])
    versions = [f"{name} {version(name)}" for name in ("priorwise", "optuna", "ray", "distributed")]
    text = "\n\n".join([
        "# One search, four engines: `benchmarks/adapters.py`",
        "Claim: whichever engine drives the search, it finds what the native loop finds, trial by trial.",
        machine({"version": each} for each in versions),
        f"Median simple regret after {TRIALS} trials, {len(SEEDS)} seeds; in brackets the runs whose every trial is "
        "the native loop's.",
        table(["problem", *routes], rows),
    ])
    print(text)
    RESULT.write_text(text + "\n")


if __name__ == "__main__":
    restart_with_one_thread()
    sys.exit(main())
