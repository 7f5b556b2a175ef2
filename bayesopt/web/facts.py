"""What the page says of a study in words and single numbers."""

from typing import Any, Final, get_args

from bayesopt.problem.beliefs import Prior, Standing, Standings
from bayesopt.problem.budget import Budget
from bayesopt.strategies.prior_guided import AT_ODDS
from bayesopt.study import Study
from bayesopt.web.adviser import Adviser
from bayesopt.web.beliefs import belief_text
from bayesopt.web.proposal import why
from bayesopt.web.snapshot import Kind, Snapshot
from bayesopt.web.texts import REASON_WIDTH, json_number, number_text, shortened, value_text

_FAILURES_SHOWN: Final = 5
"""How many of the latest failures are named."""
_TEXT_WIDTH: Final = 600
"""Characters of a sentence of the study's own, which may quote any configuration."""
_VALUE_WIDTH: Final = 400
"""Characters of a parameter's value where one trial is looked at."""
_STORY_WIDTH: Final = 4000
"""Characters of a failure's reason there."""


def facts(study: Study, snapshot: Snapshot, adviser: Adviser) -> dict[str, Any]:
    """Goal, state, best trial, verdict, budget, last proposal, beliefs and failures, JSON.

    Args:
        study: Its declaration is read.
        snapshot: The study at one moment.
        adviser: Asked where only a model can tell.

    Returns:
        One entry a panel.
    """
    outcomes = study.outcomes
    return {
        "name": shortened(study.name, 120),
        "direction": outcomes.objective.direction,
        "objective": shortened(outcomes.objective.name),
        "constraints": [
            {"name": shortened(c.name), "symbol": "≤" if c.symbol == "<=" else "≥", "bound": c.bound}
            for c in outcomes.constraints
        ],
        "state": _state(snapshot),
        "counts": _counts(snapshot),
        "best": _best(study, snapshot),
        "verdict": _verdict(study, snapshot, adviser),
        "budget": _budget(snapshot),
        "proposal": _proposal(study, snapshot),
        "beliefs": _beliefs(study, snapshot, adviser),
        "failures": [
            {"id": t.id, "reason": shortened(t.reason or "no reason given", REASON_WIDTH)}
            for t in [t for t, kind in zip(snapshot.trials, snapshot.kinds, strict=True) if kind == "failed"][
                -_FAILURES_SHOWN:
            ]
        ],
    }


def details(study: Study, snapshot: Snapshot, row: int) -> dict[str, Any]:
    """Everything that is known of the trial at a position, JSON."""
    trial = snapshot.trials[row]
    return {
        "id": trial.id,
        "kind": snapshot.kinds[row],
        "why": _why(study, snapshot, row),
        "values": _named_values(study, snapshot, row),
        "params": [(shortened(name), shortened(value_text(v), _VALUE_WIDTH)) for name, v in trial.params.items()],
        "cost": None if trial.cost is None else number_text(trial.cost),
        "reason": trial.reason[:_STORY_WIDTH] if trial.reason else None,
        "asked_at": trial.asked_at,
        "told_at": trial.told_at,
    }


def _state(snapshot: Snapshot) -> dict[str, Any]:
    pending = snapshot.counts["pending"]
    running = f"{pending} {'trial is' if pending == 1 else 'trials are'} being evaluated"
    if snapshot.why_stopped is not None:
        return {
            "is_over": True,
            "text": shortened(snapshot.why_stopped, _TEXT_WIDTH) + (f"; {running}" if pending else ""),
        }
    return {"is_over": False, "text": running if pending else "nothing is being evaluated now"}


def _counts(snapshot: Snapshot) -> list[tuple[Kind, int]]:
    return [(kind, snapshot.counts[kind]) for kind in get_args(Kind) if snapshot.counts[kind]]


def _best(study: Study, snapshot: Snapshot) -> dict[str, Any] | None:
    """The best trial as far as it is known without fitting a model."""
    if not snapshot.ranked:
        return None
    row, note = snapshot.ranked[0], None
    judged = next((at for at, trial in enumerate(snapshot.trials) if trial.id == snapshot.recommended), None)
    if study.noise != 0.0 and judged is not None:
        if judged != row:
            note = f"judged by a model, which takes the better value of trial {snapshot.trials[row].id} for luck"
        row = judged
    elif study.noise != 0.0 and len(snapshot.ranked) > 1:
        note = "as measured, luck included"
    trial = snapshot.trials[row]
    return {
        "id": trial.id,
        "value": number_text(trial.values[snapshot.objective]),
        "note": note,
        "values": _named_values(study, snapshot, row),
        "params": [(shortened(name), shortened(value_text(v), 120)) for name, v in trial.params.items()],
    }


def _named_values(study: Study, snapshot: Snapshot, row: int) -> list[tuple[str, str, str]]:
    """The outcomes of a trial: name, value, and the bounds that they are held against."""
    trial = snapshot.trials[row]
    bounds: dict[str, str] = {}
    for c in study.outcomes.constraints:
        sign = "≤" if c.symbol == "<=" else "≥"
        bounds[c.name] = f"{bounds[c.name]}, " if c.name in bounds else ""
        bounds[c.name] += f"{sign} {c.bound:g}"
    return [(shortened(name), number_text(value), bounds.get(name, "")) for name, value in trial.values.items()]


def _verdict(study: Study, snapshot: Snapshot, adviser: Adviser) -> dict[str, Any]:
    if not study.outcomes.constraints or snapshot.ranked:
        verdict, is_current = study.verdict, True
    else:
        opinion, is_current = adviser.opinion(snapshot)
        if opinion is None:
            return {"status": "undecided", "evidence": "a model is looking at it", "is_current": False}
        if opinion.verdict is None:
            return {"status": "undecided", "evidence": f"no model could be fitted: {_said(opinion.error)}"} | {
                "is_current": is_current
            }
        verdict = opinion.verdict
    return {"status": str(verdict), "evidence": shortened(verdict.evidence, _TEXT_WIDTH), "is_current": is_current}


def _budget(snapshot: Snapshot) -> dict[str, Any]:
    """Trials and cost, each spent, limit and what is left."""
    spending = snapshot.budget
    return {
        "is_known": spending.limit != Budget(),
        "trials": {
            "spent": spending.spent_trials,
            "pending": spending.pending,
            "limit": spending.limit.trials,
            "left": spending.remaining_trials,
        },
        "cost": {
            "is_told": bool(spending.costs),
            "spent": json_number(spending.spent_cost),
            "limit": json_number(spending.limit.cost),
            "left": json_number(spending.remaining_cost),
        },
    }


def _proposal(study: Study, snapshot: Snapshot) -> dict[str, Any] | None:
    """The trial that was handed out last, and why."""
    asked = [row for row, trial in enumerate(snapshot.trials) if trial.asked_at is not None]
    if not asked:
        return None
    row = max(asked, key=lambda row: (snapshot.trials[row].asked_at or 0.0, row))
    return {"id": snapshot.trials[row].id, "kind": snapshot.kinds[row], "why": _why(study, snapshot, row)}


def _why(study: Study, snapshot: Snapshot, row: int) -> str:
    # A trial that carries a sentence of its strategy knows better than what can be read off the record afterwards.
    trial = snapshot.trials[row]
    return shortened(trial.why if trial.grounds else why(snapshot, row, study.space), _TEXT_WIDTH)


def _beliefs(study: Study, snapshot: Snapshot, adviser: Adviser) -> dict[str, Any] | None:
    """What is left of each belief; None where none was declared."""
    priors = [prior for prior in study.priors if isinstance(prior, Prior)]
    if not priors:
        return None
    opinion, is_current = adviser.opinion(snapshot)
    standings = None if opinion is None else opinion.beliefs
    judged: list[Standing | None] = [None] * len(priors)
    if standings is not None and len(standings) == len(priors):
        judged = list(standings)
    objective = study.outcomes.objective.name
    return {
        "is_current": is_current,
        "error": None if opinion is None or opinion.error is None else _said(opinion.error),
        "n_told": None if standings is None else standings.n_told,
        "each": [
            {"text": belief_text(prior, study.space, objective)} | _standing(standing)
            for prior, standing in zip(priors, judged, strict=True)
        ],
        "all": _standing(standings) if standings is not None and len(priors) > 1 else None,
    }


def _standing(standing: Standing | Standings | None) -> dict[str, Any]:
    if standing is None:
        return {"probability": None}
    return {
        "probability": json_number(standing.probability, 3),
        "log_bayes_factor": json_number(standing.log_bayes_factor, 3),
        "is_at_odds": standing.probability < AT_ODDS,
    }


def _said(error: str | None) -> str:
    return shortened(error or "no reason given", REASON_WIDTH)
