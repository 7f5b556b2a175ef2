"""What is left of a budget, and which configurations fit it.

Alphabet. U: `m x d` points of the unit cube. R: what is left on a meter once everything pending is paid.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from bayesopt.problem.affordable import AffordableSpace
from bayesopt.problem.budget import ROUNDING, Budget, Spending, typical
from bayesopt.problem.costs import Prices, ceiling, is_flat
from bayesopt.problem.space import Space
from bayesopt.record.ledger import Trials

if TYPE_CHECKING:
    from bayesopt.cost_model import CostModel

FloatArray = NDArray[np.float64]

_POOL: Final = 512
"""Configurations among which one is sought that still fits."""
_NEAREST: Final = 4
"""Cheapest of them that a closer look is taken around,"""
_MOVES: Final = 64
"""with this many moves each."""
_MOVE: Final = 0.05
"""Standard deviation of those, in sides of the cube."""
_LISTED: Final = 2_000
"""Largest space whose every configuration is looked at instead."""


def account(limit: Budget, trials: Trials) -> Spending:
    """What trials have spent of a budget; those from elsewhere are free, and of the lost ones the costs count."""
    charged = [trial for trial in trials.values() if trial.source != "external"]
    states = [trial.state for trial in charged if not trial.lost]
    meters: dict[str, list[float]] = {}
    for trial in charged:
        for meter, cost in trial.meters.items():
            meters.setdefault(meter, []).append(cost)
    return Spending(
        limit,
        spent_trials=states.count("complete") + states.count("failed"),
        pending=states.count("pending"),
        costs=tuple(trial.cost for trial in charged if trial.cost is not None),
        charged={meter: tuple(costs) for meter, costs in meters.items()},
    )


@dataclass(frozen=True)
class Purse:
    """What is left of a budget, configuration by configuration."""

    space: Space
    """What can be tried."""
    spending: Spending
    """What is spent."""
    left: Mapping[str, float]
    """R of every limited meter, less what is held back."""
    prices: Prices | None
    """What configurations cost; None while nothing is known."""
    tried: FloatArray
    """Configurations that will not be proposed again, `t x d`."""
    seed: int
    """Draws the configurations that are looked at."""

    def fits(self, U: FloatArray) -> NDArray[np.bool_]:
        """Which of `m x d` points fit what is left on every limited meter, surely or with probability `FITS`."""
        fits = np.ones(len(U), dtype=np.bool_)
        if self.is_ample or len(U) == 0:
            return fits
        for meter, cost in self.at_most(U).items():
            if meter in self.left:
                fits &= cost <= self.left[meter] * (1.0 + ROUNDING)
        # Where trials cost nothing, what is overspent must still end it.
        return fits if all(left > 0 for left in self.left.values()) else np.zeros(len(U), dtype=np.bool_)

    def at_most(self, U: FloatArray) -> Mapping[str, FloatArray]:
        """What points, `m x d`, may cost, by meter; nothing while nothing is known."""
        if self.prices is None:
            return {meter: np.zeros(len(U)) for meter in self.left}
        return self.prices.at_most(U)

    @cached_property
    def is_ample(self) -> bool:
        """Whether any configuration fits, which needs no model to see."""
        return self._suffices_for(1)

    @cached_property
    def witnesses(self) -> FloatArray:
        """Untried configurations that fit, the cheapest first, `k x d`; as far as a search can tell all there are."""
        pool, worst = self._cheapest
        return pool[worst <= 1.0 + ROUNDING]

    @property
    def affordable(self) -> Space:
        """The space without what does not fit."""
        return self.space if self.is_ample else AffordableSpace(self.space, self.fits, lambda: self.witnesses)

    def most(self, n: int) -> int:
        """How many of `n` further trials may fit, if they are the cheapest."""
        if n == 0 or self._suffices_for(n):
            return n
        if len(self.witnesses) == 0:
            return 0
        most = float(n)
        for meter, cost in self.at_most(self.witnesses[:1]).items():
            if meter in self.left and cost[0] > 0:
                most = min(most, self.left[meter] / cost[0] * (1.0 + ROUNDING))
        return int(most)

    @property
    def exhausted(self) -> str | None:
        """Why no further configuration fits, in words; None while one does."""
        if self.is_ample or len(self.witnesses):
            return None
        pool, _ = self._cheapest
        cheapest = self.at_most(pool[:1])
        least = {meter: float(cheapest[meter][0]) if len(pool) else 0.0 for meter in self.left}
        return self.spending.used_up(least)

    def paying(self, U: FloatArray) -> "Purse":
        """The purse after further configurations, `m x d` points, are pending."""
        if not self.left or len(U) == 0:
            return self
        costs = self.at_most(U)
        left = {meter: max(0.0, left - math.fsum(costs.get(meter, ()))) for meter, left in self.left.items()}
        return replace(self, left=left, tried=np.vstack([self.tried, U]))

    @cached_property
    def _cheapest(self) -> tuple[FloatArray, FloatArray]:
        """Untried configurations by the largest share of R that they may cost on any meter, and those shares."""
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, self.space.dim]))
        if self.space.size is not None and self.space.size <= _LISTED:
            pool = self.space.enumerate(_LISTED)
        else:
            pool = self.space.sample(_POOL, rng)
            around = pool[np.argsort(self._shares(pool), kind="stable")[:_NEAREST]]
            is_ordered = np.array([column.kind != "categorical" for column in self.space.columns])
            near = np.repeat(around, _MOVES, axis=0)
            near = near + _MOVE * is_ordered * rng.standard_normal(near.shape)
            near = self.space.snap(np.clip(near, 0.0, 1.0))
            pool = np.concatenate([pool, near[self.space.is_allowed(near)]])
        tried = {point.tobytes() for point in self.tried}
        pool = pool[[point.tobytes() not in tried for point in pool]] if len(pool) else pool
        shares = self._shares(pool)
        order = np.argsort(shares, kind="stable")
        return pool[order], shares[order]

    def _suffices_for(self, n: int) -> bool:
        """Whether n trials fit, whatever their configurations."""
        ceiling = {} if self.prices is None else self.prices.ceiling()
        return all(
            left > 0 and n * ceiling.get(meter, 0.0) <= left * (1.0 + ROUNDING) for meter, left in self.left.items()
        )

    def _shares(self, U: FloatArray) -> FloatArray:
        shares = np.zeros(len(U))
        for meter, cost in self.at_most(U).items():
            if meter in self.left:
                left = self.left[meter]
                shares = np.maximum(shares, cost / left if left > 0 else np.full(len(U), math.inf))
        return shares


@dataclass(frozen=True)
class LearnedCosts:
    """What trials have cost, and by a model what others will; the model is fitted only where the answer hangs on it."""

    space: Space
    """Where the configurations are from."""
    X: FloatArray
    """Configurations that were charged, `n x d` points of the unit cube."""
    charges: Sequence[Mapping[str, float]]
    """What each was charged, by meter."""
    killed: NDArray[np.bool_]
    """Which of them were killed at a limit and would have cost more, `n`."""
    budget: Budget
    """Says which meters count, and what a price is."""

    def ceiling(self) -> Mapping[str, float]:
        """See `Prices.ceiling`."""
        return {meter: ceiling(*self._of(meter)) for meter in self.budget.limits}

    def at_most(self, U: FloatArray) -> Mapping[str, FloatArray]:
        """See `Prices.at_most`."""
        costs = {meter: self._of(meter) for meter in self.budget.limits}
        if all(is_flat(*told) for told in costs.values()):
            return {meter: np.full(len(U), typical(tuple(told))) for meter, (told, _) in costs.items()}
        return self._model.at_most(U)

    def log_expected(self, U: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See `Prices.log_expected`."""
        return self._model.log_expected(U)

    @cached_property
    def _model(self) -> "CostModel":
        from bayesopt.cost_model import CostModel  # late: it brings torch

        return CostModel(self.space, self.X, self.charges, self.killed, self.budget)

    def _of(self, meter: str) -> tuple[FloatArray, NDArray[np.bool_]]:
        rows = [row for row, charge in enumerate(self.charges) if meter in charge]
        return np.array([self.charges[row][meter] for row in rows]), self.killed[rows]
