"""End a study that stands still."""

import numpy as np
from typing_extensions import override

from bayesopt.problem.arguments import non_negative, whole_number
from bayesopt.record.history import History
from bayesopt.strategies.base import EndingRule


class NoImprovement(EndingRule):
    """Ends after a number of told trials in a row none of which is better, by more than a tolerance.

    Simple, and it needs no model; it ends too early where a model would see what is left to gain. Prefer
    `NotWorthTheCost`.

    Example:
        >>> import bayesopt as bo
        >>> rule = bo.strategies.NoImprovement(trials=10)
        >>> study = bo.Study(bo.Space({"x": bo.Float(0.0, 1.0)}), minimize="loss", until=rule)
    """

    def __init__(self, trials: int, tolerance: float = 0.0) -> None:
        """Choose the patience.

        Args:
            trials: How many trials in a row.
            tolerance: An improvement by no more than this is none, in units of the objective.

        Raises:
            InvalidInputError: If `trials` is no positive whole number, or the tolerance negative.
        """
        self.trials = whole_number("trials", trials, at_least=1)
        self.tolerance = non_negative("tolerance", tolerance)

    @override
    def why_end(self, history: History, rng: np.random.Generator) -> str | None:
        """Whether the study stands still, as in `EndingRule.why_end`.

        Args:
            history: What was told.
            rng: Not needed.

        Returns:
            The reason, or None, also while nothing feasible was told.
        """
        values = np.where(history.feasible, history.objective, -np.inf)
        earlier = values[: -self.trials].max(initial=-np.inf)
        if earlier == -np.inf or values[-self.trials :].max() > earlier + self.tolerance:
            return None
        return f"no improvement: the last {self.trials} trials found none"
