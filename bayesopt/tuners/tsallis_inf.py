"""Tsallis-INF: a bandit without a context that is safe against any sequence of costs, for comparison.

Alphabet. d: arms. t: pulls, from 1. S: estimated sums of the losses, `d`. eta: learning rate. p: probabilities, `d`.
"""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bayesopt.tuners.arms import Arms
from bayesopt.tuners.picking import Status

FloatArray = NDArray[np.float64]

_NEWTON_STEPS: Final = 60
"""More than ever needed: each at least halves the distance where the sum is steep, and squares it near the end."""


class TsallisINF:
    """Draws an arm from the mirror-descent distribution of the Tsallis entropy of order 1/2.

    It competes with the best single arm. Costs of solves that broke down are learned as the largest seen.

    Reference: Zimmert and Seldin 2021, "Tsallis-INF: An Optimal Algorithm for Stochastic and Adversarial Bandits".
    """

    def start(self, arms: Arms, context_dim: int, *, is_counted: bool) -> None:
        """Begin with nothing known."""
        self._arms = arms
        self._sums = np.zeros(len(arms))
        self._t = 0
        self._mean = self._largest = 0.0

    def probabilities(self) -> FloatArray:
        """What each arm is drawn with, `d`: `4 / (eta (S_i - x))²` with the x that makes them sum to 1."""
        eta = 2.0 / math.sqrt(self._t + 1)
        sums = np.zeros(len(self._arms))
        sums[: len(self._sums)] = self._sums  # an arm told of for the first time has lost nothing yet
        S = sums / self._mean if self._mean > 0 else sums
        # From the right of the root, where the largest term alone is 1, convexity makes each step fall short of it.
        x = float(S.min()) - 2.0 / eta
        for _ in range(_NEWTON_STEPS):
            p = 4.0 / (eta * (S - x)) ** 2
            step = float((p.sum() - 1.0) / (eta * (p**1.5).sum()))
            x -= step
            if abs(step) < 1e-14 * max(1.0, abs(x)):
                break
        p = 4.0 / (eta * (S - x)) ** 2
        probabilities: FloatArray = p / p.sum()
        return probabilities

    def pick(self, context: FloatArray, rng: np.random.Generator) -> int:
        """An arm, drawn."""
        return int(rng.choice(len(self._arms), p=self.probabilities()))

    def learn(self, arm: int, context: FloatArray, cost: float | None, status: Status, *, is_more: bool) -> None:
        """Add a cost to the arm's sum, over the probability that it was drawn with."""
        probability = self.probabilities()[arm]
        self._largest = max(self._largest, cost or 0.0)
        loss = max(self._largest if cost is None else cost, 1.0) - 1.0
        self._sums = np.append(self._sums, np.zeros(len(self._arms) - len(self._sums)))
        self._sums[arm] += loss / probability
        self._t += 1
        self._mean += (loss - self._mean) / self._t

    def recommend(self, context: FloatArray) -> int:
        """The arm that is drawn most."""
        return int(self.probabilities().argmax())

    def state_dict(self) -> dict[str, Any]:
        """What was learned, in JSON values."""
        return {"sums": self._sums.tolist(), "t": self._t, "mean": self._mean, "largest": self._largest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Know what another knew."""
        self._sums = np.array(state["sums"], dtype=np.float64)
        self._t, self._mean, self._largest = int(state["t"]), float(state["mean"]), float(state["largest"])
