"""ChebCB: a bandit that fits a Chebyshev series of the context to the costs of each arm, for comparison.

Alphabet. c: the context, one number in [a, b]; z: scaled to [-1, 1]. d: arms. m: terms of a series. y: predicted loss
in units of K N. K: range of the losses, L: their Lipschitz constant, N: the series' bound. t: pulls, from 1.
"""

import math
from typing import Any, Final

import numpy as np
from numpy.polynomial.chebyshev import chebvander
from numpy.typing import NDArray

from bayesopt.errors import InvalidInputError
from bayesopt.tuners.arms import Arms
from bayesopt.tuners.picking import Status

FloatArray = NDArray[np.float64]

TERMS: Final = 6
"""m, as in the published experiments."""
_SWEEPS: Final = 50
"""Of coordinate descent for one fit, from where the last one ended."""


class ChebyshevBandit:
    """Inverse-gap weighting over least-squares fits whose coefficients keep to the decay of a Lipschitz function.

    Ranges must be known beforehand, as the method's own bounds need them. Contexts outside are moved to the edge;
    solves that broke down are learned as the largest cost.

    Reference: Khodak et al. 2023, "Learning to Relax" (arXiv 2310.02246); Foster and Rakhlin 2020, "Beyond UCB" for the
    weighting.
    """

    def __init__(
        self, contexts: tuple[float, float], costs: tuple[float, float], *, log_floor: float | None = None
    ) -> None:
        """A bandit for contexts and costs within given ranges.

        Args:
            contexts: The least and the greatest context.
            costs: The least and the greatest cost.
            log_floor: Where given, the series is one of `log(c + log_floor)`.

        Raises:
            InvalidInputError: If a range is empty or the logarithm is not defined on it.
        """
        if not (contexts[0] < contexts[1] and 0 <= costs[0] < costs[1]):
            raise InvalidInputError(
                f"contexts and costs: expected two numbers each, the first less than the second, got {contexts!r} and "
                f"{costs!r}."
            )
        if log_floor is not None and contexts[0] + log_floor <= 0:
            raise InvalidInputError(
                f"log_floor: expected more than {-contexts[0]:g}, so that a logarithm exists, got {log_floor!r}."
            )
        self._log_floor = log_floor
        self._range = self._scaled(contexts[0]), self._scaled(contexts[1])
        width = self._range[1] - self._range[0]
        self._largest = costs[1]
        self._K = costs[1]
        slope = (costs[1] - costs[0]) / width
        self._N = 2.0 + 4.0 * width * slope / self._K * (1.0 + math.log(TERMS))
        self._alpha = (
            (math.pi + 2.0 / math.pi * math.log(2 * TERMS + 1))
            * width
            * slope
            / (2.0 * self._K * self._N * (TERMS + 1))
        )
        bounds = [1.0 / self._N, *(2.0 * width * slope / (self._K * self._N * j) for j in range(1, TERMS))]
        self._bounds = np.array(bounds)

    def start(self, arms: Arms, context_dim: int, *, is_counted: bool) -> None:
        """Begin with nothing known.

        Raises:
            InvalidInputError: If there is not exactly one number in a context.
        """
        if context_dim != 1:
            raise InvalidInputError(f"ChebyshevBandit: expected context_dim=1, got {context_dim}.")
        self._arms = arms
        d = len(arms)
        self._gram, self._moment = np.zeros((d, TERMS, TERMS)), np.zeros((d, TERMS))
        self._theta = np.zeros((d, TERMS))
        self._t, self._squared_errors = 0, 0.0

    def probabilities(self, context: FloatArray) -> FloatArray:
        """What each arm is drawn with, `d`."""
        y = self._padded(self._theta) @ self._features(context)
        d, t = len(y), self._t + 1
        eta = 2.0 * t * math.sqrt(d * t / (self._squared_errors + 2.0 * self._alpha**2 * t))
        best = int(y.argmin())
        p = 1.0 / (d + eta * (y - y[best]))
        p[best] = 0.0
        p[best] = 1.0 - p.sum()
        return p

    def pick(self, context: FloatArray, rng: np.random.Generator) -> int:
        """An arm, drawn."""
        return int(rng.choice(len(self._arms), p=self.probabilities(context)))

    def learn(self, arm: int, context: FloatArray, cost: float | None, status: Status, *, is_more: bool) -> None:
        """Fit the arm's series again."""
        features = self._features(context)
        loss = (max(self._largest if cost is None else cost, 1.0) - 1.0) / (self._K * self._N)
        self._gram, self._moment, self._theta = map(self._padded, (self._gram, self._moment, self._theta))
        self._squared_errors += float(self._theta[arm] @ features - loss) ** 2
        self._gram[arm] += np.outer(features, features)
        self._moment[arm] += loss * features
        self._t += 1
        self._theta[arm] = self._fitted(self._gram[arm], self._moment[arm], self._theta[arm])

    def recommend(self, context: FloatArray) -> int:
        """The arm whose series is least."""
        return int((self._padded(self._theta) @ self._features(context)).argmin())

    def state_dict(self) -> dict[str, Any]:
        """What was learned, in JSON values."""
        return {
            "gram": self._gram.tolist(),
            "moment": self._moment.tolist(),
            "theta": self._theta.tolist(),
            "t": self._t,
            "squared_errors": self._squared_errors,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Know what another knew."""
        self._gram, self._moment, self._theta = (np.array(state[key]) for key in ("gram", "moment", "theta"))
        self._t, self._squared_errors = int(state["t"]), float(state["squared_errors"])

    def _scaled(self, context: float) -> float:
        return float(context) if self._log_floor is None else math.log(context + self._log_floor)

    def _features(self, context: FloatArray) -> FloatArray:
        a, b = self._range
        lowest = a if self._log_floor is None else math.exp(a) - self._log_floor
        z = 2.0 * (self._scaled(max(float(context[0]), lowest)) - a) / (b - a) - 1.0
        features: FloatArray = chebvander(np.clip([z], -1.0, 1.0), TERMS - 1)[0]
        return features

    def _padded(self, rows: FloatArray) -> FloatArray:
        """Zeros for arms that came later."""
        return np.concatenate([rows, np.zeros((len(self._arms) - len(rows), *rows.shape[1:]))])

    def _fitted(self, gram: FloatArray, moment: FloatArray, theta: FloatArray) -> FloatArray:
        """Least squares within the bounds, by coordinate descent: exact for a convex function in a box."""
        theta = theta.copy()
        for _ in range(_SWEEPS):
            before = theta.copy()
            for j in range(TERMS):
                if gram[j, j] > 0:
                    step = (moment[j] - gram[j] @ theta) / gram[j, j]
                    theta[j] = min(max(theta[j] + step, -self._bounds[j]), self._bounds[j])
            if np.abs(theta - before).max() < 1e-10:
                break
        return theta
