"""The table of constrained optimizers from the file of runs.

Alphabet. end: least true feasible value after the last trial, infinite without a feasible one; first: number of the
first feasible trial, likewise.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from optimizers.catalogue import CONSTRAINED, OPTIMIZERS
from problems.problem import Problem
from tables import bold, machine, table

RESULTS = Path(__file__).parent / "results"
OURS: Final = "priorwise"
_SAME: Final = 1e-6
"""Medians that differ by less than this part of the minimum are tied: the minima are known to about as many digits."""

Run = Mapping[str, Any]
Runs = Mapping[tuple[str, str], Mapping[int, Run]]
"""Problem and optimizer to the run of each seed."""


def write_report(
    runs: Sequence[Run], problems: Sequence[Problem], milliseconds: Sequence[float], folder: Path = RESULTS
) -> Path:
    """Write `constrained.md`.

    Args:
        runs: Every run; of those of one problem, optimizer and seed the last counts.
        problems: Which problems to report, in the order of the table.
        milliseconds: Of our asks with as many constraints as the suite has at most.
        folder: Where to.

    Returns:
        The table's path.
    """
    kept: dict[tuple[str, str], dict[int, Run]] = {}
    for run in runs:
        kept.setdefault((run["problem"], run["optimizer"]), {})[run["seed"]] = run
    present = {optimizer for _, optimizer in kept}
    names = [name for name in (*OPTIMIZERS, *CONSTRAINED) if name in present]
    every = [run for several in kept.values() for run in several.values()]
    sections = [
        _header(every),
        _ends(kept, problems, names),
        _firsts(kept, problems, names),
        _seed_by_seed(kept, problems, names),
        _seconds(kept, problems, names, milliseconds),
        _broken(every),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "constrained.md"
    path.write_text("\n\n".join(sections) + "\n")
    print(f"{len(every)} runs: {path}")
    return path


# -- numbers ----------------------------------------------------------------------------------------------------------


def end(run: Run) -> float:
    """The least true feasible value of a run."""
    last = run["best"][-1] if run["best"] else None
    return math.inf if last is None else float(last)


def first(run: Run) -> float:
    """The number of the first feasible trial of a run, from 1."""
    return next((trial for trial, value in enumerate(run["best"], start=1) if value is not None), math.inf)


def _medians(runs: Runs, problem: Problem, names: Sequence[str], what: Any) -> list[float]:
    """One an optimizer; nan without a run."""
    several = [runs.get((problem.name, name), {}).values() for name in names]
    return [float(np.median([what(run) for run in some])) if some else math.nan for some in several]


def _verdict(runs: Runs, problems: Sequence[Problem], names: Sequence[str], what: Any) -> str:
    """Ours against every peer, each on the seeds that both have run; `what` is the smaller the better."""
    decided = reached = alone = 0
    fewest = math.inf
    for problem in problems:
        ours = runs.get((problem.name, OURS), {})
        theirs = [runs.get((problem.name, name), {}) for name in names if name != OURS]
        shared = [sorted(ours.keys() & some.keys()) for some in theirs]
        if not shared or not all(shared):
            continue
        decided += 1
        fewest = min(fewest, *(len(seeds) for seeds in shared))
        tie = _SAME * abs(problem.minimum)
        medians = [
            tuple(float(np.median([what(side[seed]) for seed in seeds])) for side in (ours, some))
            for some, seeds in zip(theirs, shared, strict=True)
        ]
        reached += all(mine <= their + tie for mine, their in medians)
        alone += all(mine < their - tie for mine, their in medians)
    seeds = f", the fewest of them {fewest}" if decided else ""
    return (
        f"Of the {decided} problems of {len(problems)} on which every tool of the table has run, priorwise is best or "
        f"tied for it on {reached} and best alone on {alone}, against each peer on the seeds that both have run{seeds}."
    )


# -- text -------------------------------------------------------------------------------------------------------------


def _header(runs: Sequence[Run]) -> str:
    return "\n\n".join([
        "# Constrained optimizers side by side: `benchmarks/constrained.py`",
        "Claim: under constraints the default engine finds the best feasible trial in tens of trials, and the first "
        "one soonest.",
        f"{machine(runs)} Every tool is told the same min(2d, d+4) scrambled Sobol points first, which count as "
        "trials; none is told that there is no noise.",
        "botorch: its tutorial's loop, `qLogNoisyExpectedImprovement` with constraints, held to 50 iterations an ask; "
        "log-cei: the same with its analytic `LogConstrainedExpectedImprovement`; scbo: Thompson samples in a trust "
        "region, from BoTorch's `ConstrainedMaxPosteriorSampling`; config: lower bounds 3 standard deviations wide, "
        "the best of 8,192 Sobol points, with hyperparameters fitted at every ask, since its fixed ones are for "
        "functions drawn from a known prior. The minima were found by differential evolution and by enumeration. "
        "Pressure vessel and welded beam are those of their sources: BoTorch's versions have other minima.",
    ])


def _ends(runs: Runs, problems: Sequence[Problem], names: Sequence[str]) -> str:
    rows = []
    for problem in problems:
        medians = _medians(runs, problem, names, end)
        cells = []
        for name, median in zip(names, medians, strict=True):
            ends = [end(run) for run in runs.get((problem.name, name), {}).values()]
            share = np.isfinite(ends).mean() if ends else 1.0
            part = "" if share == 1.0 else f", {share:.0%} feasible"
            shown = f"{median:.6g}" if math.isfinite(median) else "none"
            cells.append(f"{shown} ({len(ends)}{part})" if ends else "-")
        rows.append([f"{problem.name}, {problem.trials}", f"{problem.minimum:.6g}", *bold(cells, medians)])
    title = (
        "## Median least feasible value\n\nBeside each problem its trials; in brackets the number of runs, and the "
        "share of those that found a feasible trial where it is not all of them. Medians of few runs are leads."
    )
    return "\n\n".join([title, table(["problem", "minimum", *names], rows), _verdict(runs, problems, names, end)])


def _firsts(runs: Runs, problems: Sequence[Problem], names: Sequence[str]) -> str:
    rows = []
    for problem in problems:
        medians = _medians(runs, problem, names, first)
        cells = ["-" if math.isnan(m) else f"{m:g}" if math.isfinite(m) else "none" for m in medians]
        rows.append([problem.name, *bold(cells, medians)])
    title = "## Median number of the first feasible trial\n\nThe start is common, so it is often there."
    return "\n\n".join([title, table(["problem", *names], rows), _verdict(runs, problems, names, first)])


def _seed_by_seed(runs: Runs, problems: Sequence[Problem], names: Sequence[str]) -> str:
    peers = [name for name in names if name != OURS]
    rows = []
    for problem in problems:
        ours = runs.get((problem.name, OURS), {})
        cells = []
        for name in peers:
            theirs = runs.get((problem.name, name), {})
            shared = sorted(ours.keys() & theirs.keys())
            cells.append(f"{sum(end(ours[seed]) < end(theirs[seed]) for seed in shared)} of {len(shared)}")
        rows.append([problem.name, *cells])
    title = "## Seeds on which priorwise ends lower\n\nOf those that both have run."
    return title + "\n\n" + table(["problem", *peers], rows)


def _seconds(runs: Runs, problems: Sequence[Problem], names: Sequence[str], milliseconds: Sequence[float]) -> str:
    rows = []
    for problem in problems:
        medians = _medians(runs, problem, names, lambda run: math.nan if run["cpu"] is None else run["cpu"])
        rows.append([problem.name, *("-" if math.isnan(m) else f"{m:.2g}" for m in medians)])
    title = (
        "## Process CPU seconds of one ask and tell\n\nMedian over runs of the median over a run; other work shared "
        "the machine, so that seconds compare only roughly."
    )
    most = max(problems, key=lambda problem: len(problem.subject_to))
    ask = (
        f"An ask of priorwise with {len(most.subject_to)} constraints ({most.name}, d = {most.space.dim}, 45 to 55 "
        f"trials told): median {np.median(milliseconds):.0f} ms, 95 % quantile {np.quantile(milliseconds, 0.95):.0f} "
        "ms; a search of the hyperparameters, at every tenth of growth, is the dearest."
    )
    return "\n\n".join([title, table(["problem", *names], rows), ask])


def _broken(runs: Sequence[Run]) -> str:
    counts = Counter((run["optimizer"], run["problem"], run["error"]) for run in runs if run["error"])
    lines = [f"- {name}, {problem}, {count} runs: {error}" for (name, problem, error), count in counts.items()]
    return "Runs that broke off:\n\n" + ("\n".join(lines) or "- none.")
