"""What configurations cost where nobody knows beforehand: a Gaussian process on the log of each meter.

Alphabet. Z: features of configurations, `m x F`. y: log cost. L: log of the cost at which a run was killed, so that its
y would have been at least L. n: trials whose cost was told.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import stdtrit

from bayesopt.acquisition.loop_terms import log_ndtr_and_slope
from bayesopt.problem.budget import FITS, Budget, typical
from bayesopt.problem.costs import LEAST, MARGIN, is_flat, logs
from bayesopt.problem.space import Space
from bayesopt.surrogate import FeatureMap
from gp.errors import GPError
from gp.models.exact import ExactGP
from gp.threads import single_threaded

FloatArray = NDArray[np.float64]

_MOST_COSTS: Final = 200
"""Trials that the model knows, the newest."""
_SWEEPS: Final = 4
"""Rounds over the killed runs; each is a small correction to the one before."""
_VAGUE: Final = 1e8
"""Variance, in units of the variance of y, of what is known of a run before its limit is taken into account."""


@dataclass(frozen=True)
class CostModel:
    """What trials have cost, and what others will; fitted where it is first asked."""

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

    def at_most(self, U: FloatArray) -> Mapping[str, FloatArray]:
        """See `Prices.at_most`: with several meters all of them together have that probability."""
        return {meter: model.at_most(self._features(U)) for meter, model in self._meters.items()}

    def log_expected(self, U: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See `Prices.log_expected`: of a lognormal cost, the mean of the log and half its variance."""
        Z = self._features(U)
        value, along = self._price.log_expected(Z)
        return value, self._features.pullback(U, along)

    @functools.cached_property
    def _features(self) -> FeatureMap:
        return FeatureMap(self.space)

    @functools.cached_property
    def _meters(self) -> dict[str, "LogCost"]:
        limits = self.budget.limits
        level = 1.0 - (1.0 - FITS) / max(1, len(limits))  # whatever their dependence, together they hold
        return {meter: self._fit(*self._of(meter), level) for meter in limits}

    @functools.cached_property
    def _price(self) -> "LogCost":
        if len(self.budget.limits) == 1:
            return next(iter(self._meters.values()))
        prices = [self.budget.price(charge) for charge in self.charges]
        rows = np.array([row for row, price in enumerate(prices) if price is not None], dtype=np.intp)
        costs = np.array([price for price in prices if price is not None])
        return self._fit(costs, self.X[rows], self.killed[rows], FITS)

    def _of(self, meter: str) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
        rows = [row for row, charge in enumerate(self.charges) if meter in charge]
        return np.array([self.charges[row][meter] for row in rows]), self.X[rows], self.killed[rows]

    def _fit(self, costs: FloatArray, X: FloatArray, killed: NDArray[np.bool_], level: float) -> "LogCost":
        newest = slice(-_MOST_COSTS, None)
        return LogCost.fit(self._features, X[newest], costs[newest], killed[newest], level)


@dataclass(frozen=True)
class LogCost:
    """One meter: `log c` is normal at every configuration, or all cost the same."""

    level: float
    """Probability with which `at_most` holds."""
    dearest: float
    """A high quantile of the costs seen."""
    model: ExactGP | None
    """Of y; None while costs say nothing of configurations."""
    n: int
    """How many costs it has seen."""

    @classmethod
    def fit(
        cls, features: FeatureMap, X: FloatArray, costs: FloatArray, killed: NDArray[np.bool_], level: float
    ) -> "LogCost":
        """Fit the model to costs: the same costs give the same model.

        Runs that were killed at a limit count as right-censored, by expectation propagation: each becomes the normal
        observation that has the moments of "y is at least L" given all the others.

        Args:
            features: What the model sees of a configuration.
            X: Configurations, `n x d`.
            costs: Of each, `n`, at least 0.
            killed: Which costs are lower bounds, `n`.
            level: As the field.

        Returns:
            The model.

        Reference: Rasmussen and Williams, "Gaussian Processes for Machine Learning", section 3.6, for the algorithm.
        """
        dearest = typical(tuple(costs.tolist()))
        nothing = cls(level, dearest, None, len(costs))
        if is_flat(costs, killed):
            return nothing
        try:
            with single_threaded():
                return cls(level, dearest, _censored(features, features(X), logs(costs), killed), len(costs))
        except GPError:
            return nothing  # the dearest cost is the cautious guess

    def at_most(self, Z: FloatArray) -> FloatArray:
        """The cost that is not exceeded with probability `level`, `m`, at features `m x F`.

        The spread of few costs is itself uncertain: the quantile is Student's, with n - 1 degrees of freedom.

        Args:
            Z: The features.

        Returns:
            Costs, of which the median alone, with a margin, is the least.
        """
        if self.model is None:
            return np.full(len(Z), self.dearest)
        mean, variance = self._predict(Z)
        n = self.n
        quantile = float(stdtrit(n - 1, self.level)) * math.sqrt((n + 1) / (n - 1))
        with np.errstate(over="ignore"):
            bound: FloatArray = np.exp(np.maximum(mean + quantile * np.sqrt(variance), mean + math.log(MARGIN)))
        return bound

    def log_expected(self, Z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Log of the expected cost, `m`, and its gradients, `m x F`, at features `m x F`."""
        if self.model is None:
            return np.full(len(Z), math.log(max(self.dearest, LEAST))), np.zeros_like(Z)
        prediction = self.model.predictor.predict(Z)
        value = prediction.mean[:, 0] + 0.5 * (prediction.variance + self.model.noise_variance)
        ones = np.ones((len(Z), 1))
        return value, prediction.pullback(ones, 0.5 * ones[:, 0])

    def _predict(self, Z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and variance of the y that one more trial would have."""
        assert self.model is not None  # held by the callers
        prediction = self.model.predictor.predict(Z)
        return prediction.mean[:, 0], prediction.variance + self.model.noise_variance


def _censored(features: FeatureMap, Z: FloatArray, y: FloatArray, killed: NDArray[np.bool_]) -> ExactGP:
    """The model of y where some of it are lower bounds."""

    def model(rows: NDArray[Any], y: FloatArray, variance: FloatArray) -> ExactGP:
        X, Y, Yvar = (torch.as_tensor(part) for part in (Z[rows], y[rows, None], variance[rows, None]))
        return ExactGP(X, Y, Yvar, groups=features.groups)

    everything = np.arange(len(y))
    exact = np.full(len(y), math.nan)
    if not killed.any():
        return model(everything, y, exact).fit()
    seen = np.flatnonzero(~killed)
    # The limits themselves would pull the hyperparameters to where no run ended.
    fitted = model(seen, y, exact).fit()
    noise, unit = fitted.noise_variance, fitted.scale**2
    mean, variance = y.copy(), np.where(killed, _VAGUE * unit, exact)

    def conditioned(rows: NDArray[Any]) -> ExactGP:
        """The fitted model after what is known of the killed runs among some rows."""
        of_killed = rows[killed[rows]]
        if len(of_killed) == 0:
            return fitted
        parts = (torch.as_tensor(part) for part in (Z[of_killed], mean[of_killed, None], variance[of_killed, None]))
        return fitted.condition_on_observations(*parts)

    for _ in range(_SWEEPS):
        for row in np.flatnonzero(killed):
            others = everything[everything != row]
            prediction = conditioned(others).predictor.predict(Z[row : row + 1])
            m, v = float(prediction.mean[0, 0]), float(prediction.variance[0])
            total = v + noise
            z = (m - y[row]) / math.sqrt(total)
            slope = float(log_ndtr_and_slope(np.array(z))[1])
            shrinkage = v / total * slope * (slope + z)  # the variance after, v (1 - shrinkage)
            if shrinkage < 1.0 / _VAGUE:
                variance[row], mean[row] = _VAGUE * unit, m  # the others say as much already
                continue
            after_m, after_v = m + v * slope / math.sqrt(total), v * max(1.0 - shrinkage, 1.0 / _VAGUE)
            variance[row] = 1.0 / (1.0 / after_v - 1.0 / v)
            mean[row] = variance[row] * (after_m / after_v - m / v)
    return conditioned(everything)
