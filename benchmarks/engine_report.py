"""The engine's table and figure from the file of runs.

Alphabet. regret: true value of what was recommended minus the problem's minimum; score: the median regret over seeds
divided by Sobol's, not less than a floor. Scores are averaged over problems by the geometric mean.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from optimizers.catalogue import OPTIMIZERS
from problems.everything import ALL
from problems.problem import Problem
from tables import bold, machine, table

RESULTS = Path(__file__).parent / "results"
OURS: Final = "priorwise"
BASELINE: Final = "sobol"
FLOORS: Final = (1e-4, 1e-3, 1e-2)
"""Scores below a floor count as it: a problem solved to that part of Sobol's regret is solved."""

_BOOTSTRAPS: Final = 500
_LEAST_SPREAD: Final = 1e-12
"""A standard error below this is a rounding: one run a problem, or the baseline itself."""
_FAMILIES: Final = ("smooth", "multimodal", "noisy", "mixed", "constrained", "real")

Run = Mapping[str, Any]
Regrets = dict[tuple[str, str], np.ndarray]
"""Problem and optimizer to the regrets of its runs."""


def write_report(runs: Sequence[Run], problems: Sequence[Problem], folder: Path = RESULTS) -> Path:
    """Write `engine.md` and `engine.png`.

    Args:
        runs: Every run; of those of one problem, optimizer and seed the last counts.
        problems: Which problems to report, in the order of the table.
        folder: Where to.

    Returns:
        The table's path.
    """
    kept = {(run["problem"], run["optimizer"], run["seed"]): run for run in runs}
    names = {problem.name for problem in problems}
    kept = {key: run for key, run in kept.items() if key[0] in names}
    present = {key[1] for key in kept}
    optimizers = [name for name in OPTIMIZERS if name in present]
    minima = {problem.name: _minimum(problem, kept.values()) for problem in problems}
    replayed = {problem.name for problem in problems if problem.instances}
    regrets = {
        when: _regrets(problems, kept.values(), minima, lambda run, when=when: _outcome(run, when, replayed))
        for when in ("half", "full")
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "engine.md"
    sections = [
        _header(kept.values(), optimizers),
        _families_table(regrets, problems, optimizers),
        _floors_table(regrets["full"], problems, optimizers),
        _problems_table(regrets["full"], problems, optimizers),
        _lost(regrets["full"], problems, optimizers),
        _seconds(kept.values(), optimizers),
        _broken(kept.values(), optimizers),
        "![Best so far against the spent part of the budget](engine.png)",
    ]
    path.write_text("\n\n".join(section for section in sections if section) + "\n")
    _plot(problems, kept.values(), minima, optimizers, folder / "engine.png")
    print(f"{len(kept)} runs: {path}")
    return path


_AVERAGED = {problem.name for problem in ALL if problem.instances}
"""Problems of many surfaces, whose protocol asks for the mean over them."""

# -- numbers ----------------------------------------------------------------------------------------------------------


def _minimum(problem: Problem, runs: Sequence[Run]) -> float:
    """The stated minimum; where nobody knows it, the least of it and of everything that any run has seen."""
    if problem.instances:
        return 0.0  # kept as regrets
    if problem.argmin is not None or problem.family != "real":
        return problem.minimum
    seen = [value for run in runs if run["problem"] == problem.name for value in run["best"] if value is not None]
    return min([problem.minimum, *seen])


def _outcome(run: Run, when: str, replayed: Collection[str]) -> float | None:
    """What a run is judged by: its recommendation, or the best so far where a table of measurements is replayed."""
    if run["problem"] not in replayed:
        return run[when]
    best = run["best"]
    spent = len(best) if when == "full" else math.ceil(len(best) / 2)
    return best[spent - 1] if best else None


def _regrets(
    problems: Sequence[Problem],
    runs: Sequence[Run],
    minima: Mapping[str, float],
    value: Callable[[Run], float | None],
) -> Regrets:
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    charged = {problem.name: problem.infeasible_regret for problem in problems}
    for run in runs:
        name = run["problem"]
        v = value(run)
        found[name, run["optimizer"]].append(charged[name] if v is None else max(v - minima[name], 0.0))
    return {key: np.array(values) for key, values in found.items()}


def _scores(medians: Mapping[tuple[str, str], float], problems: Sequence[Problem], name: str) -> np.ndarray:
    """Unfloored scores of one optimizer on the problems that it and the baseline have run."""
    keys = [p.name for p in problems if (p.name, name) in medians and (p.name, BASELINE) in medians]
    return np.array([medians[key, name] / medians[key, BASELINE] if medians[key, BASELINE] else 1.0 for key in keys])


def _mean(scores: np.ndarray, floor: float = FLOORS[0]) -> float:
    return math.exp(np.log(np.maximum(scores, floor)).mean()) if len(scores) else math.nan


def _medians(regrets: Regrets) -> dict[tuple[str, str], float]:
    """The median over seeds, or the mean where each run is on another surface."""
    return {
        key: float(np.mean(values) if key[0] in _AVERAGED else np.median(values)) for key, values in regrets.items()
    }


def _standard_error(regrets: Regrets, problems: Sequence[Problem], name: str, floor: float = FLOORS[0]) -> float:
    """Of the geometric mean, by drawing the seeds of every problem anew, the baseline's too."""
    rng = np.random.default_rng(0)
    wanted = {p.name for p in problems}
    means = []
    for _ in range(_BOOTSTRAPS):
        drawn = {
            key: values[rng.integers(len(values), size=len(values))]
            for key, values in regrets.items()
            if key[0] in wanted and key[1] in (name, BASELINE)
        }
        means.append(_mean(_scores(_medians(drawn), problems, name), floor))
    return float(np.std(means))


# -- text -------------------------------------------------------------------------------------------------------------


def _header(runs: Sequence[Run], optimizers: Sequence[str]) -> str:
    return "\n".join([
        "# The engine beside its peers: `benchmarks/engine.py`",
        "",
        "Claim: in tens of trials the default engine comes closer to known minima than the engines users would pick "
        "instead.",
        "",
        f"{machine(runs)} Every tool has its defaults and is told the "
        "same min(2d, d+4) scrambled Sobol points first, which count as trials; none is told whether there is noise "
        "(but SMAC3, which asks its user that).",
        "",
        "Regret: true value of the configuration that the tool itself recommends, minus the minimum; a run that "
        "recommends nothing feasible is charged the largest regret among feasible Sobol points. The language models "
        "are a replay of measured grids, where each grid point answers once and a configuration asked again means "
        "another one: there the best so far counts, and the mean over surfaces. Score: median regret "
        "over seeds divided by Sobol's, so that Sobol is 1 and less is better. A tool that breaks off is scored by "
        "what it had. SMAC3 knows no outcome constraints and is told the worst objective seen plus the violation; "
        "shares of a whole are weights divided by their sum for every tool but ours; bayes_opt is given logarithms, "
        "and random points until one is feasible. BoTorch's loop maximises the probability of feasibility until one "
        "is, and beside constraints is held to 50 iterations, without which one ask took minutes.",
        "",
        "Not compared: HEBO, whose current release pins numpy below 1.25 (an older one would install); BayBE and "
        "scikit-optimize, which install beside the others, for want of time; SMAC3's Gaussian process, whose asks take "
        "2 to 11 s.",
    ])


def _families_table(regrets: Mapping[str, Regrets], problems: Sequence[Problem], optimizers: Sequence[str]) -> str:
    rows = []
    for family in (*_FAMILIES, "all"):
        members = [p for p in problems if family in (p.family, "all")]
        for when in ("half", "full"):
            medians = _medians(regrets[when])
            means = {name: _mean(_scores(medians, members, name)) for name in optimizers}
            cells = []
            for name in optimizers:
                n = len(_scores(medians, members, name))
                error = _standard_error(regrets[when], members, name) if n else math.nan
                part = "" if n == len(members) else f" ({n} of {len(members)})"
                spread = f" ± {error:.1g}" if error > _LEAST_SPREAD else ""
                cells.append("-" if not n else f"{means[name]:.3g}{spread}{part}")
            rows.append([f"{family}, {when}", *bold(cells, list(means.values())), _ahead(means)])
    won = _won(_medians(regrets["full"]), problems, optimizers)
    rows.append(["problems won", *(f"{won[name]} of {len(problems)}" for name in optimizers), ""])
    title = (
        "## Geometric mean of the scores\n\nAt half and at the full budget, ± bootstrap standard error over seeds, "
        "scores below 1e-4 counting as 1e-4. The last column says how many times smaller ours is than the best "
        "peer's. A problem is won by whoever has the least score, by all who share it."
    )
    return title + "\n\n" + table(["family", *optimizers, "best peer / ours"], rows)


def _ahead(means: Mapping[str, float]) -> str:
    peers = [value for name, value in means.items() if name != OURS and not math.isnan(value)]
    ours = means.get(OURS, math.nan)
    return f"{min(peers) / ours:.2f}" if peers and not math.isnan(ours) else "-"


def _won(medians: Mapping[tuple[str, str], float], problems: Sequence[Problem], names: Sequence[str]) -> Counter[str]:
    won: Counter[str] = Counter()
    for problem in problems:
        scores = {name: _mean(_scores(medians, [problem], name)) for name in names if (problem.name, name) in medians}
        won.update(name for name, score in scores.items() if score == min(scores.values()))
    return won


def _floors_table(regrets: Regrets, problems: Sequence[Problem], optimizers: Sequence[str]) -> str:
    medians = _medians(regrets)
    rows = []
    for floor in FLOORS:
        means = {name: _mean(_scores(medians, problems, name), floor) for name in optimizers}
        cells = ["-" if math.isnan(mean) else f"{mean:.3g}" for mean in means.values()]
        rows.append([f"{floor:g}", *bold(cells, list(means.values())), _ahead(means)])
    return "All problems, full budget, by floor:\n\n" + table(["floor", *optimizers, "best peer / ours"], rows)


def _problems_table(regrets: Regrets, problems: Sequence[Problem], optimizers: Sequence[str]) -> str:
    medians = _medians(regrets)
    rows = []
    for problem in problems:
        values = [medians.get((problem.name, name), math.nan) for name in optimizers]
        cells = [
            "-" if math.isnan(value) else f"{value:.3g} ({len(regrets[problem.name, name])})"
            for name, value in zip(optimizers, values, strict=True)
        ]
        rows.append([f"{problem.name}, {problem.trials}", problem.family, *bold(cells, values)])
    title = "## Median regret at the full budget\n\nBeside each problem its trials; in brackets the number of runs."
    return title + "\n\n" + table(["problem", "family", *optimizers], rows)


def _lost(regrets: Regrets, problems: Sequence[Problem], optimizers: Sequence[str]) -> str:
    medians = _medians(regrets)
    lines = []
    for problem in problems:
        scores = {
            name: _mean(_scores(medians, [problem], name)) for name in optimizers if (problem.name, name) in medians
        }
        ours = scores.pop(OURS, None)
        if ours is None or not scores or min(scores.values()) >= ours:
            continue
        best = min(scores, key=scores.__getitem__)
        lines.append(f"- {problem.name}: {best} is {ours / scores[best]:.2f} times closer.")
    if OURS not in optimizers:
        return ""
    return "Lost by priorwise:\n\n" + ("\n".join(lines) or "- none.")


def _seconds(runs: Sequence[Run], optimizers: Sequence[str]) -> str:
    rows = []
    for key, what in (("cpu", "median"), ("cpu_p95", "95 % quantile")):
        cells = []
        for name in optimizers:
            values = [run[key] for run in runs if run["optimizer"] == name and run[key] is not None]
            cells.append(f"{np.median(values):.2g}" if values else "-")
        rows.append([what, *cells])
    title = (
        "## Process CPU seconds of one ask and tell\n\nMedian over runs; other work shared the machine, so "
        "`ask_time.md` is the place to compare times."
    )
    return title + "\n\n" + table(["", *optimizers], rows)


def _broken(runs: Sequence[Run], optimizers: Sequence[str]) -> str:
    lines = []
    for name in optimizers:
        for (problem, error), count in Counter(
            (run["problem"], run["error"]) for run in runs if run["optimizer"] == name and run["error"]
        ).items():
            lines.append(f"- {name}, {problem}, {count} runs: {error}")
    return "Runs that broke off:\n\n" + ("\n".join(lines) or "- none.")


# -- figure -----------------------------------------------------------------------------------------------------------


def _plot(
    problems: Sequence[Problem],
    runs: Sequence[Run],
    minima: Mapping[str, float],
    optimizers: Sequence[str],
    path: Path,
) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    fractions = np.linspace(0.1, 1.0, 19)
    final = _medians(_regrets(problems, runs, minima, lambda run: run["best"][-1] if run["best"] else None))
    scale = {p.name: final.get((p.name, BASELINE)) for p in problems}
    curves: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    for problem in problems:
        if not scale[problem.name]:
            continue
        at = [math.ceil(fraction * problem.trials) - 1 for fraction in fractions]
        columns = [
            _medians(_regrets([problem], [r for r in runs if r["problem"] == problem.name], minima, _best_after(i)))
            for i in at
        ]
        for name in optimizers:
            if (problem.name, name) in columns[0]:
                medians = np.array([column[problem.name, name] for column in columns])
                curves[problem.family, name].append(np.maximum(medians / scale[problem.name], FLOORS[0]))
    families = [family for family in _FAMILIES if any(key[0] == family for key in curves)]
    if not families:
        return
    figure, axes = plt.subplots(2, 3, figsize=(10, 6), sharex=True, constrained_layout=True)
    colours = dict(zip(optimizers, plt.get_cmap("tab10").colors, strict=False))
    for axis, family in zip(axes.flat, families, strict=False):
        for name in optimizers:
            if curve := curves.get((family, name)):
                axis.semilogy(
                    fractions,
                    np.exp(np.log(curve).mean(0)),
                    color=colours[name],
                    linewidth=2.4 if name == OURS else 1.1,
                    zorder=3 if name == OURS else 2,
                    label=name,
                )
        axis.set_title(family, fontsize=10)
        axis.grid(alpha=0.3)
    handles = {
        label: handle for axis in axes.flat for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles), fontsize=8)
    figure.supxlabel("spent part of the budget", fontsize=9)
    figure.supylabel("best true feasible value so far: regret, Sobol's last being 1", fontsize=9)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _best_after(i: int) -> Callable[[Run], float | None]:
    """The least true value after trial `i`; of a run that broke off before, after its last."""
    return lambda run: run["best"][min(i, len(run["best"]) - 1)] if run["best"] else None
