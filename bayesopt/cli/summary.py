"""A study in the terminal: at a glance, its best trial, its trials as a table."""

import shutil
from collections.abc import Sequence
from typing import Any, Final

from bayesopt.problem.budget import Budget
from bayesopt.record.trial import Trial
from bayesopt.report import outcomes_text, value_text
from bayesopt.study import Study

_TOP: Final = 5
"""How many of the best trials `show` lists."""

_FAILURES_SHOWN: Final = 3
"""How many of the latest failures `show` names."""

_REASON_WIDTH: Final = 160
"""Characters of a failure's reason on one line."""

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
"""Heights of a curve that is drawn in text."""

_CURVE_WIDTH: Final = 40
"""Characters of such a curve."""


def summary(study: Study, storage: str) -> list[str]:
    """A study at a glance, without a model."""
    objective, constraints = study.outcomes.objective, study.outcomes.constraints
    goal = f"{objective.direction} {objective.name}"
    if constraints:
        goal += ", subject to " + " and ".join(f"{c.name} {c.symbol} {c.bound:g}" for c in constraints)
    facts = [("Goal", goal), ("Spent", str(study.budget)), ("State", study.why_stopped or _open_state(study))]
    if constraints:
        facts.append(("Verdict", f"{study.verdict}: {study.verdict.evidence}"))
    if curve := _curve_text(study):
        facts.append(("Progress", curve))
    lines = [f"Study {study.name!r} in {storage}", *(f"  {key:<10}{text}" for key, text in facts), ""]
    best, note = judged_best(study)
    lines += [nothing_best(study)] if best is None else best_lines(study, best, note)
    ranked = _ranked(study)
    if len(ranked) > 1:
        lines += ["", f"Best {min(_TOP, len(ranked))} of {len(ranked)} feasible trials, as measured"]
        lines += table(study, ranked[:_TOP])
    failed = [trial for trial in study.trials if trial.state == "failed"]
    if failed:
        lines += ["", f"Failed: {len(failed)} of {len(study.trials)} trials"]
        lines += [
            f"  trial {trial.id}: {first_line(trial.reason or 'no reason')}" for trial in failed[-_FAILURES_SHOWN:]
        ]
    return lines


def _open_state(study: Study) -> str:
    return "can go on" if study.budget.limit != Budget() else "can go on; its budget is not stored with it"


def judged_best(study: Study) -> tuple[Trial | None, str | None]:
    """The best trial as far as it is known without fitting a model, and what there is to say about that."""
    observed = study.best_observed
    if observed is None or study.noise == 0.0:
        return observed, None
    judged = study.recommended
    if judged is None:
        n_told = sum(trial.state == "complete" for trial in study.trials)
        return observed, f"as measured; no model has judged these {n_told} told trials yet" if n_told > 1 else None
    if judged.id != observed.id:
        return judged, f"judged by a model; it takes trial {observed.id}'s {outcomes_text(observed)} for luck"
    return judged, None


def nothing_best(study: Study) -> str:
    """Why there is no best trial."""
    if not any(trial.state == "complete" for trial in study.trials):
        return "No best trial yet: none has been told."
    return f"No best trial yet: {study.verdict.evidence}."


def best_lines(study: Study, best: Trial, note: str | None) -> list[str]:
    """The best trial's outcomes and parameters, a line each."""
    bounds = {c.name: f"  ({c.symbol} {c.bound:g})" for c in study.outcomes.constraints}
    rows = [
        (name, ("unknown" if value is None else f"{value:.6g}") + bounds.get(name, ""))
        for name, value in best.values.items()
    ]
    params = [(name, value_text(value)) for name, value in best.params.items()]
    width = max(len(name) for name, _ in rows + params)
    lines = [f"Best: trial {best.id}" + (f" ({note})" if note else "")]
    return lines + [f"  {name:<{width}}  {text}" for name, text in [*rows, *params]]


def _curve_text(study: Study) -> str:
    """The best feasible objective so far, as a line of blocks from the first to the last trial."""
    history = study.history
    rows = history.feasible.nonzero()[0]
    if len(rows) < 2:
        return ""
    best = [max(history.objective[rows[: i + 1]]) for i in range(len(rows))]
    picked = [best[round(i * (len(best) - 1) / (_CURVE_WIDTH - 1))] for i in range(_CURVE_WIDTH)]
    shown = picked if len(best) > _CURVE_WIDTH else best
    low, high = min(shown), max(shown)
    # A difference that a float cannot hold, as between -1e308 and 1e308, is halved before it is taken.
    span = high / 2 - low / 2
    height = [0 if span == 0 else round((value / 2 - low / 2) / span * (len(_BLOCKS) - 1)) for value in shown]
    sign = study.outcomes.objective.sign
    if sign < 0:
        height = [len(_BLOCKS) - 1 - h for h in height]
    blocks = "".join(_BLOCKS[h] for h in height)
    return f"{sign * best[0]:.4g} {blocks} {sign * best[-1]:.4g}"


def _ranked(study: Study) -> list[Trial]:
    """The feasible trials, the best first."""
    history = study.history
    trials = {trial.id: trial for trial in study.trials}
    rows = sorted(history.feasible.nonzero()[0], key=lambda row: -history.objective[row])
    return [trials[int(history.ids[row])] for row in rows]


def table(study: Study, trials: Sequence[Trial]) -> list[str]:
    """Trials in aligned columns; those that do not fit the terminal are left out, the last ones first."""
    names = study.outcomes.names
    columns = ["trial", *names, *study.space.names]
    rows = [
        [
            str(trial.id),
            *(_outcome_cell(study, trial, name) for name in names),
            *(cell(trial.params.get(name)) for name in study.space.names),
        ]
        for trial in trials
    ]
    widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
    room = shutil.get_terminal_size((120, 24)).columns
    kept = len(columns)
    while kept > 1 + len(names) and sum(widths[:kept]) + 2 * kept > room:
        kept -= 1
    left_out = ["  ..."] if kept < len(columns) else [""]
    return [
        ("  " + "  ".join(f"{text:>{width}}" for text, width in zip(row[:kept], widths, strict=False)) + left_out[0])
        for row in [columns, *rows]
    ]


def _outcome_cell(study: Study, trial: Trial, name: str) -> str:
    """An outcome; one that breaks a constraint carries an exclamation mark."""
    value = trial.values.get(name)
    if trial.state != "complete" or value is None:
        return "unknown" if trial.state == "complete" else trial.state
    bounds = [constraint for constraint in study.outcomes.constraints if constraint.name == name]
    return ("!" if any(bound.margin(value) > 0 for bound in bounds) else "") + cell(value)


def cell(value: Any) -> str:
    """A value as a table has room for it."""
    if isinstance(value, dict):
        return "/".join(f"{share:.2f}" for share in value.values())
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def first_line(text: str) -> str:
    """The start of a text that may have many lines."""
    lines = text.strip().splitlines() or [""]
    return lines[0][:_REASON_WIDTH]
