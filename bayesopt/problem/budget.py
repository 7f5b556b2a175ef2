"""What may be spent: a number of trials, a total cost in the user's own unit, or both."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from typing_extensions import override

from bayesopt.errors import InvalidBudgetError
from bayesopt.problem.arguments import non_negative, whole_number

_COST_QUANTILE = 0.9
"""A further trial is taken to cost this quantile of the costs seen: nine in ten such trials fit what is left."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The most that a study may spend; None sets no limit.

    Example:
        >>> Budget(trials=40, cost=3600.0)
        Budget(trials=40, cost=3600.0)
    """

    trials: int | None = None
    """How many trials may be asked for; failed ones count, trials evaluated elsewhere and lost ones do not."""
    cost: float | None = None
    """Sum of the costs told, in whatever unit they are told: seconds, tokens, money."""

    def __post_init__(self) -> None:
        """Refuse limits that cannot be counted.

        Raises:
            InvalidBudgetError: If `trials` is no positive whole number or `cost` no positive finite number.
        """
        if self.trials is not None:
            trials = whole_number("Budget(trials=...)", self.trials, at_least=1, error=InvalidBudgetError)
            object.__setattr__(self, "trials", trials)
        if self.cost is not None:
            cost = non_negative("Budget(cost=...)", self.cost, InvalidBudgetError)
            if cost == 0:
                raise InvalidBudgetError("Budget(cost=...): a cost of 0 buys nothing; give a positive number or None.")
            object.__setattr__(self, "cost", cost)


@dataclass(frozen=True)
class Spending:
    """A budget together with what has been spent of it."""

    limit: Budget
    """The most that may be spent."""
    spent_trials: int
    """Trials asked for that ended, failed ones included."""
    pending: int
    """Trials asked for that have not ended."""
    costs: tuple[float, ...]
    """Every cost told or charged for a failure, in the user's unit."""

    @property
    def trials(self) -> int | None:
        """How many trials may be asked for; None without a limit."""
        return self.limit.trials

    @property
    def cost(self) -> float | None:
        """The most that all trials together may cost; None without a limit."""
        return self.limit.cost

    @cached_property
    def spent_cost(self) -> float:
        """Sum of the costs told so far; infinite when it exceeds what a float can hold."""
        try:
            return math.fsum(self.costs)
        except OverflowError:
            return math.inf

    @cached_property
    def typical_cost(self) -> float:
        """What one more trial is taken to cost: a high quantile of the costs seen, 0 while there are none."""
        return float(np.quantile(self.costs, _COST_QUANTILE, method="higher")) if self.costs else 0.0

    @property
    def remaining_trials(self) -> int | None:
        """How many more trials may be asked for; None without a limit."""
        return None if self.limit.trials is None else max(0, self.limit.trials - self.spent_trials - self.pending)

    @property
    def remaining_cost(self) -> float | None:
        """What is left once every pending trial has cost the typical amount; None without a limit."""
        if self.limit.cost is None:
            return None
        return max(0.0, self.limit.cost - self.spent_cost - self.pending * self.typical_cost)

    def admits(self, n: int) -> int:
        """How many of `n` further trials fit what is left."""
        admitted = n
        if self.remaining_trials is not None:
            admitted = min(admitted, self.remaining_trials)
        if self.remaining_cost is not None:
            if self.typical_cost > 0:
                # One part in 1e9 forgives the rounding of sums such as 0.1 + 0.2.
                admitted = int(min(admitted, self.remaining_cost / self.typical_cost * (1 + 1e-9)))
            elif self.remaining_cost <= 0:
                admitted = 0
        return admitted

    @property
    def exhausted(self) -> str | None:
        """Which limit stops the next trial, in words; None while one more fits."""
        if self.admits(1):
            return None
        if self.remaining_trials == 0:
            return f"budget: all {self.limit.trials} trials are used"
        return (
            f"budget: {self.spent_cost:g} of {self.limit.cost:g} is spent"
            + (f", {self.pending} trials are pending" if self.pending else "")
            + f", and a further trial may cost {self.typical_cost:g}"
        )

    @override
    def __str__(self) -> str:
        """One line: trials and cost spent, each beside its limit."""
        trials = f"{self.spent_trials}" if self.limit.trials is None else f"{self.spent_trials} of {self.limit.trials}"
        parts = [f"{trials} trials"]
        if self.limit.cost is not None:
            parts.append(f"cost {self.spent_cost:g} of {self.limit.cost:g}")
        elif self.costs:
            parts.append(f"cost {self.spent_cost:g}")
        if self.pending:
            parts.append(f"{self.pending} pending")
        return ", ".join(parts)
