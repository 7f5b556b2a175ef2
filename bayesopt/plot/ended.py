"""The trials that ended, as the pictures show them."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bayesopt.record.trial import Trial
from bayesopt.study import Study

FloatArray = NDArray[np.float64]

OUTLYING_IQR: Final = 4.0
"""Interquartile ranges beyond the worse quartile from which a value is drawn at the edge instead of to scale."""
HUGE: Final = 1e100
"""Larger values are drawn as this: matplotlib squares what it draws."""


@dataclass(frozen=True)
class Ended:
    """The trials that ended, in the order of their ends."""

    trials: list[Trial]
    kinds: NDArray[np.str_]
    """'feasible', 'infeasible' or 'failed' for each."""
    values: FloatArray
    """The objective of each, nan where it failed."""
    best: FloatArray
    """Best feasible objective up to each, nan before the first."""


def ended_trials(study: Study) -> Ended:
    """The told and the failed trials of a study; lost ones have not ended, nobody knows how they would."""
    ended = [t for t in study.trials if t.state == "complete" or (t.state == "failed" and not t.lost)]
    ended.sort(key=lambda trial: (trial.told_at or 0.0, trial.id))
    kinds = [
        "failed"
        if trial.state == "failed"
        else "feasible"
        if all(margin <= 0 for margin in study.outcomes.margins(trial.values))
        else "infeasible"
        for trial in ended
    ]
    name, sign = study.outcomes.objective.name, study.outcomes.objective.sign
    values = [math.nan if kind == "failed" else trial.values[name] for trial, kind in zip(ended, kinds, strict=True)]
    feasible = np.clip([v if k == "feasible" else math.nan for v, k in zip(values, kinds, strict=True)], -HUGE, HUGE)
    best = sign * np.fmax.accumulate(sign * feasible) if ended else np.zeros(0)
    return Ended(ended, np.array(kinds, dtype=str), np.clip(np.array(values, dtype=float), -HUGE, HUGE), best)


def value_range(study: Study, ended: Ended) -> tuple[float, float]:
    """Least and greatest objective that is drawn to scale: far ones on the worse side would flatten all others."""
    values = ended.values[np.isfinite(ended.values)]
    if not len(values):
        return 0.0, 1.0
    sign = study.outcomes.objective.sign
    oriented = sign * values
    worse, better = np.quantile(oriented, [0.25, 0.75])
    least = max(oriented.min(), worse - OUTLYING_IQR * (better - worse)) if better > worse else oriented.min()
    if np.isfinite(ended.best).any():  # the curve itself is always to scale
        least = min(least, np.nanmin(sign * ended.best[-1:]))
    bounds = sign * np.array([least, oriented.max()])
    return float(bounds.min()), float(bounds.max())


def costs_told(study: Study) -> bool:
    """Whether there is a cost to draw."""
    return any(trial.cost for trial in study.trials)
