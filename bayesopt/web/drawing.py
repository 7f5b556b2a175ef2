"""What the page draws: so few trials, however many there are, that a browser draws them at once.

Alphabet. n: trials that are drawn, A: axes, K: constraints.
"""

import statistics
from typing import Any, Final

from bayesopt.problem.outcomes import Outcomes
from bayesopt.problem.space import Space
from bayesopt.web.axes import axes_of
from bayesopt.web.snapshot import Snapshot
from bayesopt.web.texts import json_number

MOST_DRAWN: Final = 600
"""Trials that are drawn at most; more lines than this hide one another."""
MOST_HEIGHTS: Final = 18_000
"""Heights that are sent at most: of a space with many axes fewer trials are drawn,"""
LEAST_DRAWN: Final = 60
"""but never fewer than these."""
MOST_STEPS: Final = 300
"""Steps of the best so far that are drawn at most."""
_HUGE: Final = 1e100
"""Larger values are drawn as this, so that differences stay numbers."""
_OUTLYING_IQR: Final = 4.0
"""Interquartile ranges beyond the worse quartile from which a value is drawn at the edge instead of to scale."""


class Drawing:
    """Draws snapshots of one study; no configuration ever changes, so each one's heights are found once."""

    def __init__(self, space: Space, outcomes: Outcomes) -> None:
        """Nothing drawn yet.

        Args:
            space: Whose axes are drawn.
            outcomes: Whose constraints are.
        """
        self._outcomes = outcomes
        self._axes = axes_of(space)
        self._most = max(LEAST_DRAWN, min(MOST_DRAWN, MOST_HEIGHTS // len(self._axes)))
        self._heights: dict[int, list[float | None]] = {}
        self._shown_axes = [
            {"label": axis.label, "ticks": axis.ticks(), "conditional": axis.parameter.active_if is not None}
            for axis in self._axes
        ]

    def draw(self, snapshot: Snapshot) -> dict[str, Any]:
        """Axes, and trials as columns of equal length, JSON.

        Args:
            snapshot: The study at one moment.

        Returns:
            `axes`, `A` of them; `trials` with `id`, `kind`, `order` among those that ended, `spent` then, `value`,
            `constraints` (`K x n`) and `heights` (`n x A`); `best`, the steps of the best so far; and `range`, what of
            the objective is drawn to scale.
        """
        order = {row: place for place, row in enumerate(snapshot.ended)}
        rows = self._picked(snapshot)
        ended = [order.get(row) for row in rows]
        return {
            "axes": self._shown_axes,
            "n_candidates": len(snapshot.ended) + snapshot.counts["pending"],
            "n_ended": len(snapshot.ended),
            "cost_told": any(snapshot.spent[-1:]),
            "spent": json_number(snapshot.spent[-1] if snapshot.spent else 0.0),
            "trials": {
                "id": [snapshot.trials[row].id for row in rows],
                "kind": [snapshot.kinds[row] for row in rows],
                "order": [None if place is None else place + 1 for place in ended],
                "spent": [None if place is None else json_number(snapshot.spent[place]) for place in ended],
                "value": [_drawable(snapshot.values[row]) for row in rows],
                "constraints": [
                    [_drawable(self._told(snapshot, row, c.name)) for row in rows] for c in self._outcomes.constraints
                ],
                "heights": [self._heights_of(snapshot, row) for row in rows],
            },
            "best": _steps(snapshot),
            "range": _range(snapshot),
        }

    def _picked(self, snapshot: Snapshot) -> list[int]:
        """Positions of the trials that are drawn: all, or the best, the latest and an even spread of the others."""
        pending = [row for row, kind in enumerate(snapshot.kinds) if kind == "pending"][-self._most // 4 :]
        n, ended = self._most - len(pending), snapshot.ended
        if len(ended) > n:
            sure = {*snapshot.ranked[: n // 4], *ended[-(n // 4) :]}
            others = [row for row in ended if row not in sure]
            n_others = n - len(sure)
            spread = {others[i * len(others) // n_others] for i in range(n_others)}
            ended = [row for row in ended if row in sure or row in spread]
        return [*ended, *pending]

    def _told(self, snapshot: Snapshot, row: int, name: str) -> float | None:
        trial = snapshot.trials[row]
        return trial.values.get(name) if trial.state == "complete" else None

    def _heights_of(self, snapshot: Snapshot, row: int) -> list[float | None]:
        trial = snapshot.trials[row]
        if trial.id not in self._heights:
            heights = (axis.height(trial.params) for axis in self._axes)
            self._heights[trial.id] = [None if height is None else round(height, 4) for height in heights]
        return self._heights[trial.id]


def _drawable(value: float | None) -> float | None:
    number = json_number(value)
    return None if number is None else min(max(number, -_HUGE), _HUGE)


def _steps(snapshot: Snapshot) -> dict[str, list[float | None]]:
    """Where the best feasible value was bettered: the place among the trials that ended, the cost then, the value."""
    steps: list[tuple[int, float, float]] = []
    for place, row in enumerate(snapshot.ended):
        if snapshot.kinds[row] == "feasible":
            value = snapshot.values[row]
            if not steps or snapshot.sign * value > snapshot.sign * steps[-1][2]:
                steps.append((place + 1, snapshot.spent[place], value))
    if len(steps) > MOST_STEPS:
        steps = [steps[round(i * (len(steps) - 1) / (MOST_STEPS - 1))] for i in range(MOST_STEPS)]
    return {
        "order": [place for place, _, _ in steps],
        "spent": [json_number(spent) for _, spent, _ in steps],
        "value": [_drawable(value) for _, _, value in steps],
    }


def _range(snapshot: Snapshot) -> tuple[float, float] | None:
    """Least and greatest objective that is drawn to scale: far ones on the worse side would flatten all others."""
    told = [value for row in snapshot.ended if (value := _drawable(snapshot.values[row])) is not None]
    if not told:
        return None
    oriented = sorted(snapshot.sign * value for value in told)
    worst = oriented[0]
    if len(oriented) > 1:
        worse, _, better = statistics.quantiles(oriented, n=4, method="inclusive")
        worst = max(worst, worse - _OUTLYING_IQR * (better - worse)) if better > worse else worst
    if snapshot.ranked:  # the curve itself always ends to scale
        worst = min(worst, snapshot.sign * (_drawable(snapshot.values[snapshot.ranked[0]]) or 0.0))
    bounds = sorted((snapshot.sign * worst, snapshot.sign * oriented[-1]))
    return bounds[0], bounds[1]
