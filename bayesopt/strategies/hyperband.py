"""Hyperband: successive halving from several first rungs, since nobody knows how early a run shows what it is worth.

Alphabet. s: a bracket, `0 .. s_max`; its runs are first compared at `first_step * eta^s`.
"""

import math
from typing import Final

from typing_extensions import override

from bayesopt.record.curves import Curves, Run
from bayesopt.strategies.successive_halving import Predict, SuccessiveHalving

_GOLDEN: Final = 0.5 * (math.sqrt(5.0) - 1.0)
"""Multiples of it, modulo 1, fill the unit interval evenly: any stretch of trials holds each bracket's share."""


class Hyperband(SuccessiveHalving):
    """Each trial belongs to a bracket; a late one looks at its runs longer before it stops any.

    Bracket s gets the share of the trials that the synchronous form gives it, so that each spends about the same. Which
    trial belongs where follows from its number alone.

    References: Li et al. 2018, "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization"; Li et al.
    2020, "A System for Massively Parallel Hyperparameter Tuning", for the asynchronous form.

    Example:
        >>> rule = Hyperband(first_step=1, last_step=27)
        >>> [rule.bracket(trial) for trial in range(8)]
        [0, 3, 0, 0, 1, 0, 0, 1]
    """

    def __init__(
        self, first_step: float, last_step: float, *, eta: float = 3.0, predict: Predict | None = None
    ) -> None:
        """Lay out the brackets; arguments and errors as in `SuccessiveHalving`."""
        super().__init__(first_step, last_step, eta=eta, predict=predict)
        s_max = len(self.rungs)
        # The bracket with k rungs begins (s_max + 1) / (k + 1) eta^k runs; the last one, with none, finishes all.
        sizes = [math.ceil((s_max + 1) / (k + 1) * self.eta**k) for k in range(s_max, -1, -1)]
        self._ends = [sum(sizes[: s + 1]) / sum(sizes) for s in range(len(sizes))]

    def bracket(self, trial_id: int) -> int:
        """The bracket of a trial."""
        place = math.fmod((trial_id + 0.5) * _GOLDEN, 1.0)
        return next((s for s, end in enumerate(self._ends) if place < end), len(self._ends) - 1)

    @override
    def _is_hopeless(self, curves: Curves) -> bool:
        s = self.bracket(curves.mine.id)
        peers: list[Run] = [run for run in (*curves.others, *curves.running) if self.bracket(run.id) == s]
        return self._loses_among(curves, self.rungs[s:], peers)
