"""Claim: each part of the default engine pays for itself.

Baseline: the engine as it is. Each other row takes one part away, or adds one that was left out; same starts, same
seeds, which are not those of `engine.py`. Metric: geometric mean over problems and seeds of the regret at the full
budget over the engine's own (above 1: the part pays), with the standard error of the mean over seeds, and the median
seconds of process CPU of an ask and tell. A part that does not pay stays in the table.
"""

import argparse
import datetime
import os
import platform
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from one_thread import restart_with_one_thread

import bayesopt.acquisition.pool
import bayesopt.strategies.model_based
import bayesopt.surrogate
import bayesopt.warm_start
import gp.regression
from bayesopt.acquisition.base import LogUtility
from bayesopt.acquisition.local_search import Acquisition
from bayesopt.strategies import ExpectedImprovement
from bayesopt.surrogate import Surrogate

ROOT = Path(__file__).parents[1]
RUNS_FILE = ROOT / "build" / "bench" / "ablation_runs.jsonl"
RESULT = Path(__file__).parent / "results" / "ablation.md"
FIRST_SEED = 200
FLOOR = 1e-3
"""Regrets below this part of the first one seen count as it: solved."""
N_DRAWS = 4
"""Hyperparameter vectors over which the marginalised engine averages."""
_NAMES = (
    *("Branin", "Hartmann-3", "Hartmann-6", "Rosenbrock-4", "Levy-4", "Ackley-5", "Michalewicz-5"),
    *("Styblinski-Tang-10", "Branin, noise sd 5", "Hartmann-6, noise sd 0.1", "Hartmann-6, noise sd 0.25"),
    *("training", "solver options", "Gramacy", "tension-compression spring", "Hartmann-6 in a ball"),
)


class _Average:
    """The log of the mean of several acquisition functions that come as logs."""

    def __init__(self, parts: list[LogUtility]) -> None:
        self._parts = parts

    def values(self, U: np.ndarray) -> np.ndarray:
        return _log_mean_exp(np.stack([part.values(U) for part in self._parts]))[0]

    def value_and_gradient(self, U: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, gradients = zip(*(part.value_and_gradient(U) for part in self._parts), strict=True)
        value, share = _log_mean_exp(np.stack(values))
        return value, (share[:, :, None] * np.stack(gradients)).sum(0)


def _log_mean_exp(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    largest = np.maximum(values.max(0), -1e300)
    weights = np.exp(values - largest)
    return largest + np.log(weights.mean(0)), weights / np.maximum(weights.sum(0), 1e-300)


class Marginalised(ExpectedImprovement):
    """The default averaged over draws from Laplace's approximation to the posterior of the hyperparameters."""

    def _acquisition(
        self, surrogate: Surrogate, pending: np.ndarray, normals: np.ndarray, rng: np.random.Generator
    ) -> tuple[Acquisition, Acquisition | None]:
        model = surrogate.objective
        mode = model.hyperparameters
        posterior = model.regression
        step = 1e-3

        def slope(theta: np.ndarray) -> np.ndarray:
            return (posterior.log_evidence(theta[None])[1] + posterior.log_prior(theta[None])[1])[0]

        hessian = np.array([
            (slope(mode + move) - slope(mode - move)) / (2 * step) for move in step * np.eye(len(mode))
        ])
        eigenvalues, vectors = np.linalg.eigh(-0.5 * (hessian + hessian.T))
        _, prior_sd = posterior._prior
        spread = vectors / np.sqrt(np.maximum(eigenvalues, 1.0 / prior_sd.max() ** 2))
        draws = mode + rng.standard_normal((N_DRAWS - 1, len(mode))) @ spread.T
        acquisitions, guides = [], []
        try:
            for theta in [mode, *draws]:
                model.hyperparameters = theta
                for name in ("told_mean_sd", "told_probability_feasible"):
                    surrogate.__dict__.pop(name, None)
                exact, guide = super()._acquisition(surrogate, pending, normals, rng)
                acquisitions.append(exact)
                guides.append(exact if guide is None else guide)
        finally:
            model.hyperparameters = mode
        return _Average(acquisitions), _Average(guides)


def _attributes(*changes: tuple[object, str, object]) -> Callable[[], ExitStack]:
    def enter() -> ExitStack:
        stack = ExitStack()
        for where, name, value in changes:
            stack.enter_context(mock.patch.object(where, name, value))
        return stack

    return enter


_LOOP = bayesopt.strategies.model_based
VARIANTS: dict[str, tuple[Callable[[], ExitStack], type[ExpectedImprovement]]] = {
    "the engine": (_attributes(), ExpectedImprovement),
    "no curved scale of the objective": (
        _attributes((bayesopt.surrogate, "_NATS_TO_WARP", float("inf"))),
        ExpectedImprovement,
    ),
    "no learned order of interaction": (_attributes((bayesopt.surrogate, "_MOST_ANOVA", 0)), ExpectedImprovement),
    "no trust region": (_attributes((_LOOP, "REGION_SIDE", 1e9)), ExpectedImprovement),
    "no moves around the incumbents": (
        _attributes((bayesopt.acquisition.pool, "N_PERTURBATIONS", 0)),
        ExpectedImprovement,
    ),
    "starts wherever the pool looks best": (
        _attributes((bayesopt.acquisition.pool, "SHARE_NEAR", 1.0)),
        ExpectedImprovement,
    ),
    "no warm start: a search at every ask": (
        _attributes((bayesopt.warm_start.Remembered, "needs_search", lambda self, n: n != self.searched_at)),
        ExpectedImprovement,
    ),
    "no polish between searches": (
        _attributes((bayesopt.warm_start.Remembered, "needs_polish", lambda self, n: False)),
        ExpectedImprovement,
    ),
    "no start of the fit that is rough and clean": (
        _attributes((gp.regression, "_RESTARTS", gp.regression._RESTARTS[:3])),
        ExpectedImprovement,
    ),
    "expected improvement also under noise": (
        _attributes((Surrogate, "is_clean", property(lambda self: True))),
        ExpectedImprovement,
    ),
    f"averaged over {N_DRAWS} hyperparameter draws": (_attributes(), Marginalised),
}


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="runs of each variant on each problem")
    parser.add_argument("--runs", type=Path, default=RUNS_FILE, help="the file of runs")
    parser.add_argument("--report", action="store_true", help="run nothing, only write the table")
    options = parser.parse_args()
    import runs  # late: the threads must be set before numpy starts them
    from problems.everything import ALL

    problems = [problem for problem in ALL if problem.name in _NAMES]
    done = {(run["variant"], run["problem"], run["seed"]) for run in runs.read(options.runs)}
    for seed in range(FIRST_SEED, FIRST_SEED + options.seeds):
        for variant, (enter, kind) in VARIANTS.items():
            for problem in problems if not options.report else []:
                if (variant, problem.name, seed) not in done:
                    with enter(), _strategy(kind):
                        result = runs.run(problem, "priorwise", seed)
                    runs.append(options.runs, result | {"variant": variant})
        print(f"seed {seed} done", flush=True)
    table = report(runs.read(options.runs), {problem.name: problem.minimum for problem in problems})
    RESULT.write_text(table + "\n")
    print(table)


@contextmanager
def _strategy(kind: type[ExpectedImprovement]) -> Iterator[None]:
    """Let studies without a strategy of their own use this one."""
    with mock.patch("bayesopt.study.ExpectedImprovement", kind):
        yield


def report(runs: list[dict[str, Any]], minima: dict[str, float]) -> str:
    """The table."""
    finals: dict[str, dict[tuple[str, int], float]] = defaultdict(dict)
    starts: dict[str, list[float]] = defaultdict(list)
    seconds: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        name = run["problem"]
        final = np.inf if run["full"] is None else run["full"] - minima[name]
        finals[run["variant"]][name, run["seed"]] = final
        seconds[run["variant"]].append(run["cpu"])
        starts[name].append(next(value for value in run["best"] if value is not None) - minima[name])
    scale = {name: float(np.median(values)) for name, values in starts.items()}
    base = next(iter(VARIANTS))
    rows = []
    for variant in VARIANTS:
        seeds = sorted({seed for _, seed in finals[variant]} & {seed for _, seed in finals[base]})
        names = [name for name in scale if all((name, seed) in finals[variant] for seed in seeds)]
        logs = np.array([
            [_log_score(finals[variant][name, seed], scale[name]) for name in names] for seed in seeds
        ]) - np.array([[_log_score(finals[base][name, seed], scale[name]) for name in names] for seed in seeds])
        mean, error = logs.mean(), logs.mean(1).std(ddof=1) / np.sqrt(len(seeds))
        spread = "" if variant == base else f" ± {np.exp(mean) * error:.2f}"
        milliseconds = 1e3 * np.median(seconds[variant])
        worse = (np.median(logs, 0) > 0).sum()
        rows.append(
            f"| {variant} | {np.exp(mean):.2f}{spread} | {worse} of {len(names)} | {milliseconds:.0f} | {len(seeds)} |"
        )
    own = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "scipy"))
    return "\n".join([
        "# What each part of the engine buys: `benchmarks/ablation.py`",
        "",
        f"{datetime.date.today()}; {os.cpu_count()} cores ({platform.machine()}, virtual machine) with other work on "
        f"them, one thread; Python {platform.python_version()}, {own}; seeds from {FIRST_SEED} on, not those of "
        "`engine.py`.",
        "",
        "Regret at the full budget over the engine's own on the same problem and seed, geometric mean over both; above "
        f"1 the part pays. Regrets count from {FLOOR:g} of the first one seen on; a standard error is that of the mean "
        "over seeds. Runs that differ at all soon differ in everything, so an unlucky engine shows as a column of "
        "figures below 1: what counts is the distance between rows.",
        "",
        "| variant | regret over the engine's | worse on | ask, ms CPU | seeds |",
        "| --- | --- | --- | --- | --- |",
        *rows,
    ])


def _log_score(regret: float, scale: float) -> float:
    return float(np.log(np.clip(regret / scale, FLOOR, 1.0)))


if __name__ == "__main__":
    restart_with_one_thread()
    main()
