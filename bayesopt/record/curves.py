"""Learning curves of a study's trials, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bayesopt.problem.space import Space
from bayesopt.record.trial import Trial

Curve = Mapping[float, float]
"""Step to value of the objective, turned so that larger is better; perhaps not finite."""


@dataclass(frozen=True)
class Run:
    """A configuration and what was reported of it."""

    params: Mapping[str, Any]
    """The configuration."""
    curve: Curve
    """Its curve; may be empty."""
    id: int = field(default=0, compare=False)
    """The number of its trial."""


@dataclass(frozen=True)
class Curves:
    """The run that is being judged, and what it is compared with."""

    space: Space
    """Where the configurations are from."""
    mine: Run
    """The run in question."""
    others: Sequence[Run]
    """The trials that are complete, and reported a value at all."""
    running: Sequence[Run] = ()
    """The others that are under way and have."""
    sign: float = 1.0
    """What turns a curve back into the objective's own units: -1 where smaller is better."""

    @classmethod
    def of(
        cls, space: Space, trial: Trial, trials: Sequence[Trial], reports: Mapping[int, Curve], sign: float
    ) -> "Curves":
        """From the records of a study.

        Args:
            space: Its space.
            trial: The run in question.
            trials: All its trials.
            reports: Step to objective in its own units, by the id of the trial.
            sign: 1.0 where larger is better, -1.0 where smaller is.

        Returns:
            The curves.
        """

        def run(one: Trial) -> Run:
            return Run(one.params, {step: sign * value for step, value in reports.get(one.id, {}).items()}, one.id)

        def others(state: str) -> list[Run]:
            return [run(one) for one in trials if one.state == state and one.id != trial.id and reports.get(one.id)]

        return cls(space, run(trial), others("complete"), others("pending"), sign)
