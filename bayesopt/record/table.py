"""Trials as a flat table, for data frames and files."""

from collections.abc import Sequence
from typing import Any

from bayesopt.problem.outcomes import Outcomes
from bayesopt.problem.parameters import Simplex
from bayesopt.problem.space import Space
from bayesopt.record.trial import Trial

_FACTS = ("cost", "reason", "source", "lost", "asked_at", "told_at")
"""What stands behind the parameters and the outcomes."""


def records(trials: Sequence[Trial], space: Space, outcomes: Outcomes) -> list[dict[str, Any]]:
    """One flat dict a trial: id, state, parameters, outcomes, cost, reason, source, times.

    Args:
        trials: The rows.
        space: Names the parameters; each share of a `Simplex` is a column of its own, `mixture.web`.
        outcomes: The declared outcomes, which come before others that were told.

    Returns:
        Dicts with the same keys in the same order, None where a trial has no value. A parameter or outcome that is
        named like another column is called `params.NAME` or `values.NAME`.
    """
    told = dict.fromkeys([*outcomes.names, *(name for trial in trials for name in trial.values)])
    taken = {"id", "state", *_FACTS}
    param_columns = _columns("params", space.names, taken)
    value_columns = _columns("values", told, taken | set(param_columns.values()))
    return [_record(trial, space, param_columns, value_columns) for trial in trials]


def _columns(role: str, names: Any, taken: set[str]) -> dict[str, str]:
    return {name: f"{role}.{name}" if name in taken else name for name in names}


def _record(trial: Trial, space: Space, param_columns: dict[str, str], value_columns: dict[str, str]) -> dict[str, Any]:
    record: dict[str, Any] = {"id": trial.id, "state": trial.state}
    for name, column in param_columns.items():
        value, parameter = trial.params.get(name), space[name]
        if isinstance(parameter, Simplex):
            record |= {f"{column}.{share}": None if value is None else value[share] for share in parameter.names}
        else:
            record[column] = value
    record |= {column: trial.values.get(name) for name, column in value_columns.items()}
    return record | {fact: getattr(trial, fact) for fact in _FACTS}
