"""What configurations cost: what a strategy may ask of that, and costs that are known beforehand.

Alphabet. U: `m x d` points of the unit cube. c: cost on one meter.
"""

import math
from collections.abc import Mapping
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from bayesopt.errors import InvalidBudgetError
from bayesopt.problem.budget import Budget, CostOf, typical
from bayesopt.problem.space import Space

FloatArray = NDArray[np.float64]

LEAST: Final = 1e-9
"""A cost of nothing counts as this share of the largest one where its logarithm is needed."""
MARGIN: Final = 1.3
"""A trial must fit with this factor on its median cost, too: identical runs differed by 23 % on 11 training surfaces,
which a model of few trials has not seen yet."""
_MIN_COSTS: Final = 3
"""Costs that a model needs; with fewer, any configuration is taken to cost what the dearest one did."""
_FLAT: Final = 1e-9
"""Standard deviation of the log costs below which all cost the same."""
_CEILING: Final = 4.0
"""Standard deviations of the log costs by which no configuration is taken to exceed the dearest one."""
_STEP: Final = 1e-4
"""Of the differences along a continuous column, in sides of the cube."""


def logs(costs: FloatArray) -> FloatArray:
    """Logs of costs, `n`, those of nothing being very small; of costs that are all 0, zeros."""
    if costs.max(initial=0.0) == 0:
        return np.zeros(len(costs))
    logs: FloatArray = np.log(np.maximum(costs, LEAST * costs.max()))
    return logs


def is_flat(costs: FloatArray, killed: NDArray[np.bool_]) -> bool:
    """Whether costs say nothing of configurations: too few, or all the same.

    Args:
        costs: What trials were charged, `n`.
        killed: Which of them would have cost more, `n`.

    Returns:
        Whether no model can be made of them.
    """
    return bool((~killed).sum() < _MIN_COSTS or logs(costs).std() < _FLAT)


def ceiling(costs: FloatArray, killed: NDArray[np.bool_]) -> float:
    """A cost that no configuration is taken to exceed; arguments as in `is_flat`."""
    if is_flat(costs, killed):
        return typical(tuple(costs))
    y = logs(costs)
    with np.errstate(over="ignore"):
        return MARGIN * float(np.exp(y.max() + _CEILING * y.std()))


class Prices(Protocol):
    """What configurations cost, known or learned."""

    def ceiling(self) -> Mapping[str, float]:
        """By meter, a cost that `at_most` hardly exceeds anywhere; infinite where that cannot be said cheaply."""
        ...

    def at_most(self, U: FloatArray) -> Mapping[str, FloatArray]:
        """By meter, the cost that is not exceeded with 90 % probability, `m`, at `m x d` points."""
        ...

    def log_expected(self, U: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Log of the expected `Budget.price`, `m`, and its gradients, `m x d`, at `m x d` points."""
        ...


class KnownCosts:
    """Costs that the user knows as a function of the configuration; each configuration is asked for once.

    Example:
        >>> from bayesopt.problem.parameters import Int
        >>> known = KnownCosts(Space({"epochs": Int(1, 4)}), lambda params: 2.0 * params["epochs"], Budget(cost=99))
        >>> known.at_most(known.space.enumerate(4))
        {'cost': array([2., 4., 6., 8.])}
    """

    def __init__(self, space: Space, cost_of: CostOf, budget: Budget) -> None:
        """Nothing is asked yet.

        Args:
            space: Where the configurations are from.
            cost_of: As in `Budget`.
            budget: Says which meters count, and what a price is.
        """
        self.space, self.budget = space, budget
        self._cost_of = cost_of
        self._meters = tuple(budget.limits) or ("cost",)
        self._known: dict[bytes, tuple[float, ...]] = {}

    def charge(self, u: FloatArray) -> dict[str, float]:
        """What one configuration costs by meter, at its point `d`.

        Args:
            u: The point.

        Returns:
            Meter to cost.

        Raises:
            InvalidBudgetError: If `cost_of` fails or returns no cost.
        """
        params = self.space.decode(u)
        try:
            answer = self._cost_of(params)
        except Exception as error:
            raise InvalidBudgetError(f"Budget(cost_of=...) failed at {params!r}: {error!r}") from error
        try:
            return self.budget.charge(answer)
        except InvalidBudgetError as error:
            raise InvalidBudgetError(
                f"Budget(cost_of=...) must return what every limited meter is charged; at {params!r} it returned "
                f"{answer!r}. {error}"
            ) from error

    def ceiling(self) -> Mapping[str, float]:
        """See `Prices.ceiling`."""
        return dict.fromkeys(self._meters, math.inf)

    def at_most(self, U: FloatArray) -> Mapping[str, FloatArray]:
        """See `Prices.at_most`: the costs themselves."""
        rows = np.empty((len(U), len(self._meters)))
        for row, u in enumerate(U):
            key = u.tobytes()
            if key not in self._known:
                charge = self.charge(u)
                self._known[key] = tuple(charge.get(meter, 0.0) for meter in self._meters)
            rows[row] = self._known[key]
        return dict(zip(self._meters, rows.T, strict=True))

    def log_expected(self, U: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See `Prices.log_expected`; gradients by central differences, 0 along unordered options."""
        gradient = np.zeros_like(U)
        for index, column in enumerate(self.space.columns):
            if column.kind == "categorical":
                continue
            step = _STEP if column.levels is None else 1.0 / column.levels
            below, above = U.copy(), U.copy()
            below[:, index] = np.maximum(U[:, index] - step, 0.0)
            above[:, index] = np.minimum(U[:, index] + step, 1.0)
            width = above[:, index] - below[:, index]
            gradient[:, index] = (self._log_price(above) - self._log_price(below)) / width
        return self._log_price(U), gradient

    def _log_price(self, U: FloatArray) -> FloatArray:
        costs = self.at_most(U)
        charges = [dict(zip(costs, row, strict=True)) for row in np.stack(list(costs.values()), 1)]
        price = np.array([self.budget.price(charge) for charge in charges], dtype=np.float64)
        return np.log(np.maximum(price, LEAST))
