"""What configurations cost: what a strategy may ask of that, and costs that are known beforehand.

Alphabet. U: `m x d` points of the unit cube. c: cost on one meter.
"""

import math
from collections.abc import Mapping
from typing import Any, Final, Protocol

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
_MOST_KNOWN: Final = 200_000
"""Configurations whose cost is kept; then they are asked for again."""
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
        """By meter, the cost that is not exceeded with probability `budget.FITS`, `m`, at `m x d` points."""
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

    def charge(self, params: dict[str, Any]) -> dict[str, float]:
        """What one configuration costs by meter.

        Args:
            params: The configuration.

        Returns:
            Meter to cost.

        Raises:
            InvalidBudgetError: If `cost_of` fails or returns no cost.
        """
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
        keys = [u.tobytes() for u in U]
        new = [row for row, key in enumerate(keys) if key not in self._known]
        if len(self._known) + len(new) > _MOST_KNOWN:
            self._known.clear()
            new = list(range(len(U)))
        for row, params in zip(new, self.space.decode_all(U[new]) if new else (), strict=True):
            charge = self.charge(params)
            self._known[keys[row]] = tuple(charge.get(meter, 0.0) for meter in self._meters)
        rows = np.array([self._known[key] for key in keys]).reshape(len(U), len(self._meters))
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
        limits = self.budget.limits
        if not limits:
            return np.log(np.maximum(next(iter(costs.values())), LEAST))
        shares = np.stack([costs[meter] / limit for meter, limit in limits.items()])
        log_price: FloatArray = np.log(np.maximum(next(iter(limits.values())) * shares.max(0), LEAST))
        return log_price
