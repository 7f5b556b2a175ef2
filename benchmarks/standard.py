"""Claim: with tens of trials the default strategy comes closer to known minima than random and Sobol search.

Baselines: `RandomSearch` and `SobolSearch`, same problems, same seeds. Metric: median regret of the configuration that
the study returns, by its true value. Beside it the range over seeds, how many times smaller the default's median is,
and the processor time of an ask after the start. A lost comparison stays in the table.
"""

import argparse
import platform
from collections.abc import Sequence

import _problems
import numpy as np
from _problems import Problem, Run, run

import bayesopt as bo
from bayesopt.strategies import ExpectedImprovement, Strategy

STRATEGIES: dict[str, Strategy] = {
    "default": ExpectedImprovement(),
    "random": bo.strategies.RandomSearch(),
    "sobol": bo.strategies.SobolSearch(),
}


def main() -> None:
    """Run everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="runs of each strategy on each problem")
    parser.add_argument("--first-seed", type=int, default=0, help="the runs use this seed and those after it")
    parser.add_argument("--problems", nargs="*", metavar="PART", help="only problems whose name contains one of these")
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, {platform.machine()}, {options.seeds} seeds", flush=True)
    print(
        f"{'problem':<26} {'strategy':<8} {'regret':>9}  {'least':>9} {'most':>9} {'ratio':>7} {'ask ms':>7} {'p95':>6}"
    )
    for problem in _problems.ALL:
        if options.problems and not any(part.lower() in problem.name.lower() for part in options.problems):
            continue
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        compare(problem, seeds)


def compare(problem: Problem, seeds: Sequence[int]) -> None:
    """Print one problem's rows: the default first, then each baseline with the ratio of median regrets."""
    ours = float("nan")
    for name, strategy in STRATEGIES.items():
        runs = [run(problem, strategy, seed) for seed in seeds]
        regret = np.array([r.returned - problem.minimum for r in runs])
        median = float(np.median(regret))
        ours = median if name == "default" else ours
        ratio = "" if name == "default" else f"{median / max(ours, 1e-12):.3g}"
        asks = np.concatenate([_after_the_start(r) for r in runs])
        print(
            f"{problem.name:<26} {name:<8} {median:9.4g}  {regret.min():9.4g} {regret.max():9.4g} {ratio:>7} "
            f"{np.median(asks):7.1f} {np.quantile(asks, 0.95):6.1f}" + _extra(problem, runs),
            flush=True,
        )


def _after_the_start(result: Run) -> np.ndarray:
    return np.array(result.ask_ms[20:])  # no start is longer than 20 trials


def _extra(problem: Problem, runs: Sequence[Run]) -> str:
    """What the raw best would have been worth under noise; how many trials broke."""
    if problem.noise_sd:
        return f"  raw best {np.median([r.raw_best for r in runs]) - problem.minimum:.4g}"
    failed = [r.n_failed for r in runs]
    return f"  {np.median(failed):g} of {problem.trials} broke" if any(failed) else ""


if __name__ == "__main__":
    main()
