"""End a study when the best trial is within a tolerance of the best there can be, as far as the model knows.

Alphabet. UCB, LCB: posterior mean plus and minus sqrt(beta) standard deviations. t: told trials. D: candidates.
"""

import dataclasses
import math
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from bayesopt.errors import InvalidInputError
from bayesopt.problem.arguments import non_negative, probability
from bayesopt.record.history import History
from bayesopt.strategies.base import EndingRule

if TYPE_CHECKING:
    from bayesopt.surrogate import Surrogate

FloatArray = NDArray[np.float64]

_MIN_TOLD: Final = 5
"""Told trials below which a bound says nothing."""
_CANDIDATES: Final = 1_000
"""Size of D in beta."""


class RegretBelow(EndingRule):
    """Ends where `max over all x of UCB - max over told x of LCB <= tolerance`, twice in a row.

    `beta = (2 / 5) log(D t² pi² / (6 delta))`. For a user who knows a noise floor but no price: the tolerance may be
    the standard deviation from seed to seed, or for k-fold cross-validation that of the folds times
    `sqrt(1 / k + 1 / (k - 1))`.

    Reference: Makarova et al. 2022, "Automatic Termination for Hyperparameter Optimization".

    Example:
        >>> import bayesopt as bo
        >>> rule = bo.strategies.RegretBelow(0.01)
        >>> study = bo.Study(bo.Space({"x": bo.Float(0.0, 1.0)}), minimize="loss", until=rule)
    """

    def __init__(self, tolerance: float, *, delta: float = 0.1) -> None:
        """Choose the tolerance.

        Args:
            tolerance: The regret that does not matter, in units of the objective.
            delta: Probability that the bounds may fail.

        Raises:
            InvalidInputError: If the tolerance is no positive number, or delta not between 0 and 1.
        """
        self.tolerance = non_negative("tolerance", tolerance)
        if self.tolerance == 0:
            raise InvalidInputError("tolerance: no search ends with a regret of 0 for sure; give a positive number.")
        self.delta = probability("delta", delta)

    @override
    def why_end(self, history: History, rng: np.random.Generator) -> str | None:
        """Whether the regret is small enough, as in `EndingRule.why_end`.

        Args:
            history: What was told.
            rng: Draws where the maximum is sought.

        Returns:
            The reason, or None.
        """
        if len(history.X) <= _MIN_TOLD:
            return None
        gap = self.gap(history, rng)
        if gap is None or gap > self.tolerance:
            return None
        last = slice(None, -1)
        rows = {name: getattr(history, name)[last] for name in ("ids", "X", "objective", "objective_sd", "costs")}
        rows |= {name: getattr(history, name)[last] for name in ("constraints", "constraints_sd")}
        before = self.gap(dataclasses.replace(history, **rows), rng)
        if before is None or before > self.tolerance:
            return None
        return f"regret: at most {gap:.3g} is left to gain, within the tolerance of {self.tolerance:g}"

    def gap(self, history: History, rng: np.random.Generator) -> float | None:
        """The bound on what is left to gain, in units of the objective.

        Args:
            history: What was told.
            rng: Draws where the maximum is sought.

        Returns:
            The bound; None while no told trial is probably feasible, or where the model breaks down.
        """
        # late: these bring torch, which a study that only stores and shows trials never needs
        from bayesopt.acquisition.maximize import N_INCUMBENTS, maximize
        from bayesopt.surrogate import fit_surrogate
        from gp.threads import single_threaded

        with single_threaded():
            try:
                surrogate = fit_surrogate(history)
            except ArithmeticError:
                return None
            counts = surrogate.told_probability_feasible >= 0.5
            if not counts.any():
                return None
            beta = 0.4 * math.log(_CANDIDATES * len(history.X) ** 2 * math.pi**2 / (6.0 * self.delta))
            bound = _UpperBound(surrogate, math.sqrt(beta))
            mean, sd = surrogate.told_mean_sd
            incumbents = history.X[surrogate.rows[surrogate.promising_rows(N_INCUMBENTS)]]
            u = maximize(bound, history.space, incumbents, np.zeros((0, history.space.dim)), rng)
            upper = float((mean + bound.width * sd)[counts].max())
            if u is not None:
                upper = max(upper, float(bound.values(u[None])[0]))
            lower = float((mean - bound.width * sd)[counts].max())
            ends = surrogate.scale.to_units(np.array([lower, upper]))
        return float(ends[1] - ends[0])


class _UpperBound:
    """UCB of the objective, on the scale of its model."""

    def __init__(self, surrogate: "Surrogate", width: float) -> None:
        assert surrogate.objective is not None  # a trial was told
        self._surrogate, self._predictor, self.width = surrogate, surrogate.objective.predictor, width

    def values(self, U: FloatArray) -> FloatArray:
        prediction = self._predictor.predict(self._surrogate.features(U))
        return prediction.mean[:, 0] + self.width * np.sqrt(prediction.variance)

    def value_and_gradient(self, U: FloatArray) -> tuple[FloatArray, FloatArray]:
        prediction = self._predictor.predict(self._surrogate.features(U))
        sd = np.sqrt(prediction.variance)
        gradient = prediction.pullback(np.ones((len(U), 1)), 0.5 * self.width / sd)
        return prediction.mean[:, 0] + self.width * sd, self._surrogate.features.pullback(U, gradient)
