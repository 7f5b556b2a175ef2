"""A study as it was at one look: every panel of the page shows the same moment."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Literal

from bayesopt.problem.budget import Spending
from bayesopt.problem.outcomes import Outcomes
from bayesopt.record.trial import Trial
from bayesopt.study import Study

Kind = Literal["feasible", "infeasible", "unmeasured", "failed", "lost", "pending", "queued"]

ENDED: tuple[Kind, ...] = ("feasible", "infeasible", "unmeasured", "failed")
"""What a trial may be that has ended; a lost one has not, nobody knows how it would."""


@dataclass(frozen=True)
class Snapshot:
    """Trials of one moment, and what is known of each."""

    trials: Sequence[Trial]
    """In the order of their ids."""
    kinds: Sequence[Kind]
    """One a trial."""
    budget: Spending
    why_stopped: str | None
    recommended: int | None
    """The trial that a model judged best, where that is on record."""
    sign: float
    """1 where a larger objective is better, else -1."""
    objective: str
    """Its name."""

    @classmethod
    def of(cls, study: Study) -> "Snapshot":
        """The study now. Reads, and fits no model."""
        trials = study.trials
        judged = study.recommended
        return cls(
            trials,
            [kind_of(trial, study.outcomes) for trial in trials],
            study.budget,
            study.why_stopped,
            None if judged is None else judged.id,
            study.outcomes.objective.sign,
            study.outcomes.objective.name,
        )

    @cached_property
    def ended(self) -> list[int]:
        """Positions of the trials that have ended, in the order of their ends."""
        rows = [row for row, kind in enumerate(self.kinds) if kind in ENDED]
        return sorted(rows, key=lambda row: (self.trials[row].told_at or 0.0, row))

    @cached_property
    def spent(self) -> list[float]:
        """Cost spent when each of `ended` had ended."""
        charged = (self.trials[row] for row in self.ended)
        return list(accumulate((t.cost or 0.0) if t.source != "external" else 0.0 for t in charged))

    @cached_property
    def ranked(self) -> list[int]:
        """Positions of the feasible trials, the best first, the earliest among equals."""
        rows = [row for row, kind in enumerate(self.kinds) if kind == "feasible"]
        return sorted(rows, key=lambda row: -self.sign * self.values[row])

    @cached_property
    def values(self) -> list[float]:
        """The objective of each trial, nan where none was told."""
        told = (trial.values.get(self.objective) if trial.state == "complete" else None for trial in self.trials)
        return [math.nan if value is None else value for value in told]

    @cached_property
    def counts(self) -> Counter[Kind]:
        """How many trials there are of each kind."""
        return Counter(self.kinds)


def kind_of(trial: Trial, outcomes: Outcomes) -> Kind:
    """What has become of a trial; 'unmeasured' if no measured constraint is broken and some are not measured."""
    if trial.state == "complete":
        margins = outcomes.margins(trial.values)
        if any(margin > 0 for margin in margins):
            return "infeasible"
        return "unmeasured" if any(map(math.isnan, margins)) else "feasible"
    if trial.state == "failed":
        return "lost" if trial.lost else "failed"
    return trial.state
