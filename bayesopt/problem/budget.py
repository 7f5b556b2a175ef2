"""What may be spent: trials, and what they cost on one meter or several."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Final

import numpy as np
from typing_extensions import override

from bayesopt.errors import InvalidBudgetError
from bayesopt.problem.arguments import non_negative, whole_number

METERS: Final = ("cost", "money", "seconds", "tokens")
"""What a trial's cost can be counted in; `cost` is whatever the user counts."""
COST_QUANTILE: Final = 0.9
"""Of the costs seen, this quantile is what a further trial is taken to cost while configurations tell nothing."""
FITS: Final = 0.98
"""Probability with which a trial of learned cost must fit. Towards its end a run admits several that just about do, and
all of them together are to fit with 90 %; at 90 % each, 7 % of simulated runs overspent, by up to 0.6 %."""
ROUNDING: Final = 1e-9
"""One part in 1e9 of a limit forgives the rounding of sums such as 0.1 + 0.2."""

CostOf = Callable[[dict[str, Any]], float | Mapping[str, float]]
"""From a configuration to what evaluating it costs: one number, or one by the name of each meter."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The most that a study may spend; None sets no limit.

    Several limits hold together: the tightest counts. A configuration is proposed only if it fits what is left, for
    sure where `cost_of` is known; otherwise with a probability, by what the trials so far have cost, that makes the
    last trials of a study fit together in nine of ten studies.

    Example:
        >>> Budget(trials=40, cost=3600.0)
        Budget(trials=40, cost=3600.0)
        >>> Budget(seconds=3600.0, tokens=2e9).charge({"seconds": 31, "tokens": 1e7})
        {'seconds': 31.0, 'tokens': 10000000.0}
    """

    trials: int | None = None
    """How many trials may be asked for; failed ones count, trials evaluated elsewhere and lost ones do not."""
    cost: float | None = None
    """Sum of the costs told, in whatever unit they are told."""
    money: float | None = None
    """Sum of the money told, in the user's currency."""
    seconds: float | None = None
    """Sum of the seconds told; `Study.run` measures what an evaluation does not tell."""
    tokens: float | None = None
    """Sum of the tokens told."""
    cost_of: CostOf | None = None
    """What a configuration costs where that is known beforehand; trials are then never asked that do not fit, and
    charged this unless they are told with something else. None to learn it."""
    confirm: int = 0
    """How many repetitions of the best configuration are held back while others are tried, and asked for in the end:
    under noise the best of many trials is partly luck."""

    def __post_init__(self) -> None:
        """Refuse limits that cannot be counted.

        Raises:
            InvalidBudgetError: If `trials` is no positive whole number, a meter no positive finite number, `cost_of`
                no function, or `confirm` no whole number that leaves a trial to be confirmed.
        """
        if self.trials is not None:
            trials = whole_number("Budget(trials=...)", self.trials, at_least=1, error=InvalidBudgetError)
            object.__setattr__(self, "trials", trials)
        for meter in METERS:
            if (given := getattr(self, meter)) is None:
                continue
            limit = non_negative(f"Budget({meter}=...)", given, InvalidBudgetError)
            if limit == 0:
                raise InvalidBudgetError(
                    f"Budget({meter}=...): a {meter} of 0 buys nothing; give a positive number or None."
                )
            object.__setattr__(self, meter, limit)
        if self.cost_of is not None and not callable(self.cost_of):
            raise InvalidBudgetError(
                f"Budget(cost_of=...): expected a function from a configuration to its cost, got {self.cost_of!r}."
            )
        confirm = whole_number("Budget(confirm=...)", self.confirm, at_least=0, error=InvalidBudgetError)
        if self.trials is not None and confirm >= self.trials:
            raise InvalidBudgetError(
                f"Budget(confirm={confirm}): of {self.trials} trials one at least must be left to be confirmed."
            )

    @property
    def limits(self) -> dict[str, float]:
        """The limited meters and their limits, in the order of `METERS`."""
        return {meter: limit for meter in METERS if (limit := getattr(self, meter)) is not None}

    def charge(self, cost: Any, *, required: bool = True) -> dict[str, float]:
        """What was told of a trial's cost, by meter.

        Args:
            cost: One number, or a dict from meters to numbers. A number counts on the only limited meter, or as `cost`.
            required: Whether every limited meter must be told.

        Returns:
            Meter to cost.

        Raises:
            InvalidBudgetError: If a meter is missing, unknown, or no number of at least 0.
        """
        limits = self.limits
        if cost is None:
            told: dict[str, Any] = {}
        elif isinstance(cost, Mapping):
            told = {str(meter): number for meter, number in cost.items()}
        else:
            told = {self._meter_of_a_number(limits, cost): cost}
        if unknown := [meter for meter in told if meter not in METERS]:
            raise InvalidBudgetError(f"cost: there is no meter {unknown[0]!r}; the meters are {', '.join(METERS)}.")
        charge = {
            meter: non_negative("cost" if meter == "cost" else f"cost[{meter!r}]", number, InvalidBudgetError)
            for meter, number in told.items()
        }
        if required and (missing := [meter for meter in limits if meter not in charge]):
            example = "..." if missing == ["cost"] else "{" + ", ".join(f"{meter!r}: ..." for meter in limits) + "}"
            limited = " and ".join(f"a {meter} of {limits[meter]:g}" for meter in missing)
            raise InvalidBudgetError(
                f"cost: this study's budget is limited to {limited}, "
                f"so every trial is told with what it cost: tell(trial, values, cost={example})."
            )
        return charge

    def price(self, charge: Mapping[str, float]) -> float | None:
        """What a trial cost, in one number for strategies that weigh costs.

        Args:
            charge: What it cost, by meter.

        Returns:
            The largest share of a limit that it took, in the unit of the first limited meter: with one meter, its cost.
            Without a limit the cost on the first meter told. None where something is missing.
        """
        limits = self.limits
        if not limits:
            return next((charge[meter] for meter in METERS if meter in charge), None)
        if any(meter not in charge for meter in limits):
            return None
        return next(iter(limits.values())) * max(charge[meter] / limit for meter, limit in limits.items())

    @staticmethod
    def _meter_of_a_number(limits: Mapping[str, float], cost: Any) -> str:
        if "cost" in limits or not limits:
            return "cost"
        if len(limits) > 1:
            raise InvalidBudgetError(
                f"cost: this study's budget limits {' and '.join(limits)}, so {cost!r} could be either; "
                f"tell a dict: cost={{{', '.join(f'{meter!r}: ...' for meter in limits)}}}."
            )
        return next(iter(limits))

    @override
    def __repr__(self) -> str:
        """What was given."""
        given = [(part.name, getattr(self, part.name)) for part in fields(self)]
        return f"Budget({', '.join(f'{name}={value!r}' for name, value in given if value not in (None, 0))})"


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
    charged: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """The same on the other meters, by their names."""

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
        return self.spent("cost")

    @cached_property
    def typical_cost(self) -> float:
        """What one more trial is taken to cost: a high quantile of the costs seen, 0 while there are none."""
        return self.typical("cost")

    @property
    def remaining_trials(self) -> int | None:
        """How many more trials may be asked for; None without a limit."""
        return None if self.limit.trials is None else max(0, self.limit.trials - self.spent_trials - self.pending)

    @property
    def remaining_cost(self) -> float | None:
        """What is left once every pending trial has cost the typical amount; None without a limit."""
        return self.remaining("cost")

    def charges(self, meter: str) -> tuple[float, ...]:
        """Everything that was charged on a meter."""
        return self.costs if meter == "cost" else self.charged.get(meter, ())

    def spent(self, meter: str) -> float:
        """What is spent on a meter; infinite when it exceeds what a float can hold."""
        try:
            return math.fsum(self.charges(meter))
        except OverflowError:
            return math.inf

    def typical(self, meter: str) -> float:
        """What one more trial is taken to cost on a meter, whatever its configuration; 0 while nothing was charged."""
        return typical(self.charges(meter))

    def remaining(self, meter: str) -> float | None:
        """What is left on a meter once every pending trial has cost the typical amount; None without a limit."""
        limit = self.limit.limits.get(meter)
        return None if limit is None else max(0.0, limit - self.spent(meter) - self.pending * self.typical(meter))

    @property
    def share_left(self) -> float:
        """What is left of the tightest limit, as a share of it, pending trials not counted; 1 without a limit."""
        shares = [1.0 - self.spent(meter) / limit for meter, limit in self.limit.limits.items()]
        if self.limit.trials is not None:
            shares.append(1.0 - self.spent_trials / self.limit.trials)
        return max(0.0, min(shares, default=1.0))

    def admits(self, n: int) -> int:
        """How many of `n` further trials of typical cost fit what is left."""
        admitted = n
        if self.remaining_trials is not None:
            admitted = min(admitted, self.remaining_trials)
        for meter in self.limit.limits:
            left, each = self.remaining(meter), self.typical(meter)
            assert left is not None  # the meter is limited
            if each > 0:
                admitted = int(min(admitted, left / each * (1 + ROUNDING)))
            elif left <= 0:
                admitted = 0
        return admitted

    @property
    def exhausted(self) -> str | None:
        """Which limit stops the next trial, if that costs what is typical, in words; None while one more fits."""
        if self.admits(1):
            return None
        return self.used_up({meter: self.typical(meter) for meter in self.limit.limits})

    def used_up(self, least: Mapping[str, float]) -> str:
        """Which limit stops the next trial, in words.

        Args:
            least: What a further trial may cost on the meters that may stop it.

        Returns:
            The text.
        """
        if self.remaining_trials == 0:
            return f"budget: all {self.limit.trials} trials are used"
        limits = self.limit.limits
        meter = max(least, key=lambda name: (self.spent(name) + least[name]) / limits[name])
        unit = "" if meter == "cost" else f" {meter}"
        return (
            f"budget: {self.spent(meter):g} of {limits[meter]:g}{unit} is spent"
            + (f", {self.pending} trials are pending" if self.pending else "")
            + f", and a further trial may cost {least[meter]:g}"
        )

    @override
    def __str__(self) -> str:
        """One line: trials and costs spent, each beside its limit."""
        trials = f"{self.spent_trials}" if self.limit.trials is None else f"{self.spent_trials} of {self.limit.trials}"
        parts = [f"{trials} trials"]
        limits = self.limit.limits
        for meter in METERS:
            if meter in limits:
                parts.append(f"{meter} {self.spent(meter):g} of {limits[meter]:g}")
            elif self.charges(meter):
                parts.append(f"{meter} {self.spent(meter):g}")
        if self.pending:
            parts.append(f"{self.pending} pending")
        return ", ".join(parts)


def typical(costs: tuple[float, ...]) -> float:
    """A high quantile of costs, one that was seen; 0 without any."""
    return float(np.quantile(costs, COST_QUANTILE, method="higher")) if costs else 0.0
