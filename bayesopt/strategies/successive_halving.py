"""Successive halving: at each rung of a run, only the best share of those that got there goes on.

Alphabet. eta: one in eta goes on. rung: a step at which runs are compared, `first_step * eta^k`.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from typing_extensions import override

from bayesopt.errors import InvalidInputError
from bayesopt.record.curves import Curves, Run
from bayesopt.strategies.base import CurveRule

Predict = Callable[[Mapping[str, Any], Mapping[float, float]], float]
"""From a configuration and its curve so far, step to objective, to the value that the run will end with."""


class SuccessiveHalving(CurveRule):
    """ASHA's stopping form: a run that reaches a rung goes on if it is in the best 1 / eta of those that have.

    Runs are judged as they come, running and stopped ones counting like complete ones, so that no worker waits. A run
    is judged once a rung, by the first value reported there or later. Raw values of runs whose learning rates follow
    different schedules cannot be compared half-way: give `predict`, a law or a forecast of how runs end, and runs are
    ranked by that.

    Reference: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning".

    Example:
        >>> import bayesopt as bo
        >>> rule = bo.strategies.SuccessiveHalving(first_step=1, last_step=27)
        >>> rule.rungs
        (1.0, 3.0, 9.0)
    """

    def __init__(
        self, first_step: float, last_step: float, *, eta: float = 3.0, predict: Predict | None = None
    ) -> None:
        """Lay out the rungs.

        Args:
            first_step: The first one, in the unit of the reported steps; a tenth of a run or more says something.
            last_step: Where a run ends; there is no rung there.
            eta: One in eta goes on.
            predict: Called with a run's parameters and its curve up to the rung, in the units of the objective; None
                to compare the values there.

        Raises:
            InvalidInputError: If the steps are not positive and in order, eta is not above 1, or `predict` is no
                function.
        """
        if not (0 < first_step < last_step < math.inf):
            raise InvalidInputError(
                f"first_step, last_step: expected positive numbers in order, got {first_step!r} and {last_step!r}."
            )
        if not 1 < eta < math.inf:
            raise InvalidInputError(f"eta: one in eta goes on; expected a number above 1, such as 3, got {eta!r}.")
        if predict is not None and not callable(predict):
            raise InvalidInputError(f"predict: expected a function of params and a curve, or None, got {predict!r}.")
        self.eta, self.predict = float(eta), predict
        n = math.ceil(math.log(last_step / first_step, eta) - 1e-9)
        self.rungs: tuple[float, ...] = tuple(first_step * eta**k for k in range(n))
        """Steps at which runs are compared."""

    @override
    def _is_hopeless(self, curves: Curves) -> bool:
        return self._loses_among(curves, self.rungs, [*curves.others, *curves.running])

    def _loses_among(self, curves: Curves, rungs: tuple[float, ...], others: list[Run]) -> bool:
        """Whether a run has just reached a rung and is not in the best share of those that have reached it."""
        steps = sorted(curves.mine.curve)
        reached = [rung for rung in rungs if rung <= steps[-1]]
        if not reached or (len(steps) > 1 and steps[-2] >= reached[-1]):
            return False
        mine = self._score(curves.mine, reached[-1], curves.sign)
        peers = [self._score(run, reached[-1], curves.sign) for run in others]
        there = [score for score in peers if score is not None]
        n_on = int((len(there) + 1) / self.eta)
        if mine is None or n_on == 0:
            return False  # too few have got there to tell
        return sum(score > mine for score in there) >= n_on

    def _score(self, run: Run, rung: float, sign: float) -> float | None:
        """What a run was worth at a rung, larger being better; None if it has not got there."""
        at = min((step for step in run.curve if step >= rung), default=None)
        if at is None:
            return None
        if self.predict is None:
            score = run.curve[at]
        else:
            known = {step: sign * value for step, value in sorted(run.curve.items()) if step <= at}
            score = sign * float(self.predict(run.params, known))
        return score if math.isfinite(score) else -math.inf
