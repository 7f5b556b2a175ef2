"""A page of the table of trials."""

from typing import Any, Final, Literal, get_args

from bayesopt.errors import InvalidInputError
from bayesopt.problem.outcomes import Outcomes
from bayesopt.problem.space import Space
from bayesopt.web.axes import axes_of
from bayesopt.web.snapshot import Kind, Snapshot
from bayesopt.web.texts import REASON_WIDTH, number_text, shortened, value_text

PAGE: Final = 25
"""Trials on one page."""
Order = Literal["newest", "oldest", "best"]


def rows_of(snapshot: Snapshot, order: str, show: str) -> list[int]:
    """Positions of the trials that a table lists.

    Args:
        snapshot: The study at one moment.
        order: 'newest' or 'oldest' by id, or 'best': feasible trials by objective, the others after them.
        show: A kind of trial, or 'all'.

    Returns:
        The positions.

    Raises:
        InvalidInputError: If the order or the kind is unknown.
    """
    if order not in get_args(Order):
        raise InvalidInputError(f"order: expected {', '.join(get_args(Order))}, got {shortened(order)!r}.")
    if show not in ("all", *get_args(Kind)):
        raise InvalidInputError(f"show: expected all, {', '.join(get_args(Kind))}, got {shortened(show)!r}.")
    rows = range(len(snapshot.trials))
    if order == "best":
        others = sorted((row for row in rows if snapshot.kinds[row] != "feasible"), reverse=True)
        listed = [*snapshot.ranked, *others]
    else:
        listed = list(rows if order == "oldest" else reversed(rows))
    return [row for row in listed if show in ("all", snapshot.kinds[row])]


def table(snapshot: Snapshot, space: Space, outcomes: Outcomes, *, page: int, order: str, show: str) -> dict[str, Any]:
    """One page of trials as texts, JSON.

    Args:
        snapshot: The study at one moment.
        space: Names the parameters.
        outcomes: Names the outcomes.
        page: Which, from 1; one behind the last is the last.
        order: As in `rows_of`.
        show: As in `rows_of`.

    Returns:
        `columns`, and `rows` with the trial's `id`, `kind` and `cells`; `page`, `pages` and the number `total`.
    """
    listed = rows_of(snapshot, order, show)
    pages = max(1, -(-len(listed) // PAGE))
    page = min(page, pages)
    axes = axes_of(space)
    columns = [*map(shortened, outcomes.names), *(axis.label for axis in axes), "cost", "note"]
    rows = []
    for row in listed[(page - 1) * PAGE : page * PAGE]:
        trial = snapshot.trials[row]
        told = [number_text(trial.values.get(name)) if trial.values else "" for name in outcomes.names]
        params = ["–" if a.name not in trial.params else value_text(_part(trial.params[a.name], a.share)) for a in axes]
        cost = "" if trial.cost is None else f"{trial.cost:.4g}"
        cells = [*told, *params, cost, shortened(trial.reason, REASON_WIDTH) if trial.reason else ""]
        rows.append({"id": trial.id, "kind": snapshot.kinds[row], "cells": cells})
    return {
        "columns": columns,
        "rows": rows,
        "page": page,
        "pages": pages,
        "total": len(listed),
        "first": (page - 1) * PAGE + 1 if listed else 0,
    }


def _part(value: Any, share: str | None) -> Any:
    return value if share is None else value[share]
