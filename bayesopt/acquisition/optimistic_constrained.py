"""The optimistic auxiliary problem: the best that the objective may be where every constraint may still hold.

Alphabet. U: `m x d` points of the unit cube. C: inequalities, `<= 0` where they hold: one a measured constraint, one
for survival while trials fail, one for a violation budget. width: how many standard deviations a bound lies from its
mean. violation: the sum of the positive parts of the inequalities' values.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr
from typing_extensions import override

from bayesopt.acquisition.base import without_hope_at_failures
from bayesopt.acquisition.local_search import LocalSearch
from bayesopt.acquisition.log_chance import Tail
from bayesopt.acquisition.loop_terms import log_ndtr_and_slope
from bayesopt.acquisition.maximize import maximize
from bayesopt.acquisition.pool import N_STARTS, START_DISTANCE, bounded, draw_moves, draw_samples, separate
from bayesopt.surrogate import Surrogate
from gp.models.exact import ExactGP
from gp.regression import Prediction, Predictor

FloatArray = NDArray[np.float64]

TOLERANCE: Final = 1e-6
"""Violation up to which a point passes for one of the auxiliary problem's, in spreads of the outcomes."""
PHASE_ONE_STARTS: Final = 16
"""Searches for a point without violation before it is said that there is none."""
SURVIVAL_WIDTH: Final = 2.0
"""Width of the optimistic bound on a trial's label, of which a positive value means survival."""
_WORSE_THAN_ANY: Final = 1e9
"""Taken off the value of points with a violation; no objective on the model's scale comes near."""
_MOST_ITERATIONS: Final = 60
"""Of one sequential quadratic programme."""
_PRECISION: Final = 1e-7
"""Gain, in spreads of the outcomes, at which a search ends."""
_BACKTRACKS: Final = 32
"""Points looked at on the way from where it ended back to its start."""


@dataclass(frozen=True)
class ViolationBudget:
    """What the next trial may still violate, and how sure it must be to keep to that."""

    remaining: FloatArray
    """Most violation of each constraint, `K`, in its own units; infinite where there is no limit."""
    risk: float
    """Probability with which the next trial may exceed any of them."""


class OptimisticProblem:
    """`min LCB_0 subject to LCB_i <= 0`, with `LCB = mean - width sd` of the objective turned to be minimised.

    Pending trials count as told what is expected of them, which narrows the bounds there and nothing else. While trials
    fail, their label's optimistic bound must be positive. Under a violation budget with remaining violations `r_i`,
    `sum_i log P(margin_i <= r_i) >= log(1 - risk)` must hold too, by the wide tails of `Tail`: the first trials say
    little of how far a margin can go.

    As an acquisition function of the loop its value is `-LCB_0`, or far below that, by the violation, where there is
    one.

    References: Xu et al. 2023, "Constrained Efficient Global Optimization of Expensive Black-box Functions"; Xu et al.
    2022, "VABO: Violation-Aware Bayesian Optimization", for the budget.
    """

    def __init__(
        self, surrogate: Surrogate, pending: FloatArray, widths: FloatArray, budget: ViolationBudget | None = None
    ) -> None:
        """Condition the models on what is pending.

        Args:
            surrogate: The fitted models; the objective's must exist.
            pending: Trials without an outcome, `p x d`.
            widths: Of the objective, then of each constraint, `1 + K`.
            budget: What may still be violated; None for no limit.
        """
        assert surrogate.objective is not None  # held by the strategies, which start without a model
        self._surrogate = surrogate
        self._pending_Z = surrogate.features(pending)
        self._objective = self._expecting(without_hope_at_failures(surrogate, surrogate.objective))
        self._objective_width = float(widths[0])
        self._bounded: list[tuple[Predictor, float, float]] = []  # predictor, sign, width
        self._budgeted: list[Tail] = []
        for k, (model, scale) in enumerate(zip(surrogate.constraints, surrogate.margin_scales, strict=True)):
            if model is None or scale is None:
                continue
            predictor = self._expecting(model)
            self._bounded.append((predictor, 1.0, float(widths[1 + k])))
            if budget is not None and math.isfinite(budget.remaining[k]):
                self._budgeted.append(Tail(model, above=float(scale.apply(budget.remaining[k : k + 1])[0][0])))
        if surrogate.survival is not None:
            self._bounded.append((surrogate.survival.predictor, -1.0, SURVIVAL_WIDTH))
        self._log_sure = 0.0 if budget is None else math.log1p(-budget.risk)

    def _expecting(self, model: ExactGP) -> Predictor:
        if len(self._pending_Z) == 0:
            return model.predictor
        return model.fantasies(self._pending_Z, np.zeros((len(self._pending_Z), 1)))[0]

    def bounds(self, U: FloatArray) -> tuple[FloatArray, FloatArray]:
        """`LCB_0` on the scale of the objective's model, `m`, and the inequalities' values, `m x C`."""
        Z = self._surrogate.features(U)
        lowest, _ = _optimistic(self._objective.predict(Z), -1.0, self._objective_width)
        values = [_optimistic(p.predict(Z), sign, width)[0] for p, sign, width in self._bounded]
        if self._budgeted:
            values.append(self._log_sure - np.sum([log_ndtr(-tail.at(Z).z) for tail in self._budgeted], axis=0))
        return lowest, np.stack(values, 1) if values else np.zeros((len(U), 0))

    def bounds_and_gradients(self, U: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """The same with their gradients.

        Args:
            U: Points of the unit cube, `m x d`.

        Returns:
            `LCB_0`, `m`, and its gradient, `m x d`; the inequalities, `m x C`, and their gradients, `m x C x d`.
        """
        features = self._surrogate.features
        Z = features(U)
        lowest, gradient = _optimistic(self._objective.predict(Z), -1.0, self._objective_width, with_gradient=True)
        values, gradients = [], []
        for predictor, sign, width in self._bounded:
            value, along = _optimistic(predictor.predict(Z), sign, width, with_gradient=True)
            values.append(value)
            gradients.append(features.pullback(U, along))
        if self._budgeted:
            total, along = np.full(len(U), self._log_sure), np.zeros_like(Z)
            for tail in self._budgeted:
                there = tail.at(Z)
                log_fits, slope = log_ndtr_and_slope(-there.z)
                total -= log_fits
                along += tail.pullback(there, slope)
            values.append(total)
            gradients.append(features.pullback(U, along))
        if not values:
            return lowest, features.pullback(U, gradient), np.zeros((len(U), 0)), np.zeros((len(U), 0, U.shape[1]))
        return lowest, features.pullback(U, gradient), np.stack(values, 1), np.stack(gradients, 1)

    def violation(self, U: FloatArray) -> FloatArray:
        """Total optimistic violation, `m`."""
        total: FloatArray = np.maximum(self.bounds(U)[1], 0.0).sum(1)
        return total

    def values(self, U: FloatArray) -> FloatArray:
        """What `solve` maximises, `m`."""
        lowest, inequalities = self.bounds(U)
        violation = np.maximum(inequalities, 0.0).sum(1)
        return np.where(violation <= TOLERANCE, -lowest, -_WORSE_THAN_ANY - violation)

    def value_and_gradient(self, U: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The same, and its gradient with respect to U, `m x d`."""
        lowest, along_lowest, inequalities, along = self.bounds_and_gradients(U)
        violation, along_violation = _total(inequalities, along)
        keeps = violation <= TOLERANCE
        value = np.where(keeps, -lowest, -_WORSE_THAN_ANY - violation)
        return value, -np.where(keeps[:, None], along_lowest, along_violation)

    def follow(self, U: FloatArray, lower: FloatArray, upper: FloatArray) -> FloatArray:
        """Sequential quadratic programmes from each of `b x d` points within bounds, `b x d` each.

        Where one ends with a violation, or fails, the best point without one on the straight way back to its start is
        taken, which is the start itself at worst.

        Args:
            U: Where they start.
            lower: Lower bounds; a column with equal bounds stays put.
            upper: Upper bounds.

        Returns:
            Where they ended, `b x d`.
        """
        return np.stack([self._programme(*one) for one in zip(U, lower, upper, strict=True)])

    def _programme(self, start: FloatArray, lower: FloatArray, upper: FloatArray) -> FloatArray:
        from scipy.optimize import Bounds, minimize  # late: it takes longer to import than this whole package

        free = upper > lower
        if not free.any():
            return start
        last: dict[bytes, Any] = {}

        def at(x: FloatArray) -> Any:
            key = x.tobytes()
            if key not in last:
                u = start.copy()
                u[free] = np.clip(x, lower[free], upper[free])
                last.clear()
                last[key] = self.bounds_and_gradients(u[None])
            return last[key]

        result = minimize(
            lambda x: (at(x)[0][0], at(x)[1][0, free]),
            start[free],
            jac=True,
            method="SLSQP",
            bounds=Bounds(lower[free], upper[free]),
            constraints={"type": "ineq", "fun": lambda x: -at(x)[2][0], "jac": lambda x: -at(x)[3][0][:, free]},
            options={"maxiter": _MOST_ITERATIONS, "ftol": _PRECISION},
        )
        end = start.copy()
        if np.isfinite(result.x).all():
            end[free] = np.clip(result.x, lower[free], upper[free])
        if self.violation(end[None])[0] <= TOLERANCE and result.success:
            return end
        way = start + np.linspace(1.0, 0.0, _BACKTRACKS)[:, None] * (end - start)
        best: FloatArray = way[int(np.argmax(self.values(way)))]
        return best


def _total(inequalities: FloatArray, along: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The violation, `m`, and its gradient, `m x d`, of inequalities, `m x C`, with gradients, `m x C x d`."""
    broken = inequalities > 0
    return np.where(broken, inequalities, 0.0).sum(1), (broken[:, :, None] * along).sum(1)


@dataclass(frozen=True)
class LeastViolation:
    """Phase 1 as an acquisition function of the loop: its value is minus the violation."""

    problem: OptimisticProblem
    """Whose violation it is."""

    def values(self, U: FloatArray) -> FloatArray:
        """Minus the violation, `m`."""
        return -self.problem.violation(U)

    def value_and_gradient(self, U: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The same, and its gradient with respect to U, `m x d`."""
        _, _, inequalities, along = self.problem.bounds_and_gradients(U)
        violation, gradient = _total(inequalities, along)
        return -violation, -gradient


@dataclass(frozen=True)
class Solution:
    """What the auxiliary problem came to."""

    point: FloatArray
    """Its solution, or the point of least violation where nothing solves it, `d`; it may have been tried before."""
    lowest: float
    """LCB_0 there, on the scale of the objective's model."""
    violation: float
    """Total optimistic violation there; above `TOLERANCE` nothing was found that solves the problem."""


def solve(
    problem: OptimisticProblem, surrogate: Surrogate, incumbents: FloatArray, rng: np.random.Generator
) -> Solution:
    """Solve the auxiliary problem over the space of a surrogate, as far as a search can.

    Phase 1, where no point of a pool is without violation, minimises the violation from `PHASE_ONE_STARTS` starts.
    Phase 2 runs sequential quadratic programmes from the best points without one, in turns with moves over the discrete
    columns.

    Args:
        problem: The problem.
        surrogate: Its models.
        incumbents: Points around which the pool is densest, `k x d`.
        rng: Draws the pool.

    Returns:
        The solution.

    Raises:
        ArithmeticError: If the space has no allowed point to start from.
    """
    space = surrogate.history.space
    samples = draw_samples(space, rng)
    pool = np.concatenate([samples, draw_moves(space, incumbents, rng)])
    if len(pool) == 0 or problem.violation(pool).min() > TOLERANCE:
        none = np.zeros((0, space.dim))
        least = LeastViolation(problem)
        found = maximize(least, space, incumbents, none, rng, n_starts=PHASE_ONE_STARTS, tolerance=_PRECISION)
        if found is None:
            raise ArithmeticError("no allowed configuration was found to start the optimistic problem from.")
        pool = found[None]
    values = problem.values(pool)
    if values.max() > -_WORSE_THAN_ANY:
        starts = separate(pool, values, len(samples), START_DISTANCE * math.sqrt(space.dim), N_STARTS)
        programmes = _Programmes(problem, space, bounded(space, None), rng)
        pool, values = programmes.climb(pool[starts], values[starts])
    point = pool[int(np.argmax(values))]
    return Solution(point, float(problem.bounds(point[None])[0][0]), float(problem.violation(point[None])[0]))


class _Programmes(LocalSearch):
    """A local search that follows no gradient but solves a quadratic programme after another."""

    @override
    def follow(self, U: FloatArray, lower: FloatArray, upper: FloatArray) -> FloatArray:
        assert isinstance(self.acquisition, OptimisticProblem)  # held by `solve`
        return self.acquisition.follow(U, lower, upper)


def _optimistic(
    prediction: Prediction, sign: float, width: float, *, with_gradient: bool = False
) -> tuple[FloatArray, FloatArray]:
    """`sign mean - width sd`, `m`, and if asked for its gradient with respect to the features, `m x F`."""
    sd = np.sqrt(prediction.variance)
    value = sign * prediction.mean[:, 0] - width * sd
    if not with_gradient:
        return value, np.zeros((0, 0))
    return value, prediction.pullback(np.full_like(prediction.mean, sign), -0.5 * width / sd)


def information_gain(model: ExactGP) -> float:
    """Information that the told values of an outcome hold about it, `log det(I + D^-1 k) / 2` in nats.

    Args:
        model: The fitted model, with kernel matrix k and noise variances D.

    Returns:
        The gain, at least 0. Values known without noise hold ever more: about 7 nats each at the least variance used.
    """
    predictor = model.predictor
    log_det_half = -float(np.log(predictor.inverse_factor.diagonal()).sum())
    return log_det_half - 0.5 * float(np.log(predictor.diagonal).sum())


def theoretical_width(norm: float, noise: float, gain: float, n_outcomes: int, delta: float) -> float:
    """`norm + noise sqrt(2 (gain + 1 + ln(n_outcomes / delta)))`: where all bounds hold but with probability delta.

    Args:
        norm: Bound on the norm of the outcome's function in the space of its kernel, of unit variance.
        noise: Bound on its noise, as the standard deviation of a normal distribution with tails as wide.
        gain: As from `information_gain`.
        n_outcomes: How many outcomes must keep to their bounds together.
        delta: Probability that some bound fails somewhere.

    Returns:
        The width, in standard deviations.

    Reference: Chowdhury and Gopalan 2017, "On Kernelized Multi-armed Bandits", theorem 2, with a union bound over the
    outcomes.

    Example:
        >>> round(theoretical_width(2.0, 0.5, 3.0, 2, 0.1), 4)
        3.8703
    """
    return norm + noise * math.sqrt(2.0 * (gain + 1.0 + math.log(n_outcomes / delta)))
