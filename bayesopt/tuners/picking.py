"""What decides which arm a solver's tuner pulls next: what every strategy answers, and Thompson sampling.

Alphabet. c: a context, `k`. z: log cost. Arms are known by their number in `Arms`.
"""

import math
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from bayesopt.tuners.arms import Arms
from bayesopt.tuners.cost_model import CostModel

FloatArray = NDArray[np.float64]
Status = Literal["ok", "maxiter", "breakdown", "error"]

_HALF_A_COUNT: Final = 0.5
"""Iterations by which two arms may differ and still be as good as one another: counts are whole numbers."""


class PickingStrategy(Protocol):
    """A bandit over arms that sees a context."""

    def start(self, arms: Arms, context_dim: int, *, is_counted: bool) -> None:
        """Begin with nothing known; called once, by the tuner."""
        ...

    def pick(self, context: FloatArray, rng: np.random.Generator) -> int:
        """The arm to pull."""
        ...

    def learn(self, arm: int, context: FloatArray, cost: float | None, status: Status, *, is_more: bool) -> None:
        """What an arm cost; None where that says nothing. Where more follows at once, what is dear can wait for it."""
        ...

    def recommend(self, context: FloatArray) -> int:
        """The arm that is believed best; of counted costs, the middle of those within half a count."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What was learned, in JSON values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Know what another of its kind knew."""
        ...


class ThompsonSampling:
    """Pulls the arm whose draw from the posterior of log cost, failures priced in, is least.

    Arms are drawn independently, with less than the posterior's standard deviation: joint draws at full width explored
    longer than a thousand solves repay.

    Reference: Thompson 1933, "On the likelihood that one unknown probability exceeds another".
    """

    def __init__(self, width: float = 0.35) -> None:
        """A sampler.

        Args:
            width: Standard deviation of a draw, in posterior standard deviations.
        """
        self.width = width

    def start(self, arms: Arms, context_dim: int, *, is_counted: bool) -> None:
        """Begin with nothing known."""
        self.arms = arms
        self.model = CostModel(context_dim, arms.groups, is_counted=is_counted)
        self._best = 0

    def pick(self, context: FloatArray, rng: np.random.Generator) -> int:
        """The arm whose draw is least; in a large space that may be a new one."""
        if self.model.told == 0:
            return int(rng.integers(len(self.arms)))
        proposed = self.arms.proposals(self._best, rng)
        Z = np.concatenate([self.arms.Z, self.arms.features(proposed)]) if len(proposed) else self.arms.Z
        mean, variance = self.model.predict(context, Z)
        mean = mean + self.model.log_attempts(context, Z)
        self._best = int(mean[: len(self.arms)].argmin())
        chosen = int(np.argmin(mean + self.width * np.sqrt(variance) * rng.standard_normal(len(mean))))
        return chosen if chosen < len(self.arms) else self.arms.add(proposed[chosen - len(self.arms)])

    def learn(self, arm: int, context: FloatArray, cost: float | None, status: Status, *, is_more: bool) -> None:
        """Fold a solve into the model: a cost at `maxiter` is a lower bound, one that broke down a failure."""
        z = math.log(cost) if cost is not None and status in ("ok", "maxiter") else None
        self.model.tell(context, arm, self.arms.Z, z, is_censored=status == "maxiter", is_more=is_more)

    def recommend(self, context: FloatArray) -> int:
        """The arm of least posterior mean; of counted costs, the one nearest to the middle of its ties."""
        mean, _ = self.model.predict(context, self.arms.Z)
        mean = mean + self.model.log_attempts(context, self.arms.Z)
        least = float(mean.min())
        tolerance = math.log1p(_HALF_A_COUNT * math.exp(-least)) if self.model.is_counted else 0.0
        tied = np.flatnonzero(mean <= least + tolerance)
        Z = self.arms.Z[tied]
        return int(tied[np.square(Z - Z.mean(0)).sum(1).argmin()])

    def state_dict(self) -> dict[str, Any]:
        """What the model knows."""
        return {"model": self.model.state_dict(), "best": self._best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Know what another sampler knew; the arms are loaded before."""
        self.model.load_state_dict(state["model"], self.arms.Z)
        self._best = int(state["best"])
