"""Whether any configuration can satisfy every constraint: a claim about a whole space, with its evidence.

Alphabet. K: constraints. chance: an upper bound on the probability that a point is feasible, see `LogChance`.

What is claimed rests on four cautions. (1) Mean and spread of a margin were estimated, so its tail is Student's and its
variance is that of universal kriging. (2) Learned noise is counted as if it were variation that more trials would show.
(3) Constraints may go together, so their chances multiply only as far as their correlation lets them. (4) Many places
that were not looked at have many chances, so what is bounded is the expected number of feasible regions.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bayesopt.acquisition.log_chance import LogChance, Tail, largest_eigenvalue
from bayesopt.acquisition.maximize import maximize
from bayesopt.acquisition.pool import draw_pool
from bayesopt.long_history import shortened
from bayesopt.problem.verdict import LEAST_TOLD
from bayesopt.record.history import History
from bayesopt.surrogate import FeatureMap, fit_margins_cautiously
from gp.errors import GPError
from gp.models.exact import ExactGP
from gp.threads import single_threaded

FloatArray = NDArray[np.float64]

MOST_EXPECTED: Final = 1e-4
"""Feasible regions, over the whole space, that may still be expected where none is said to exist."""
MOST_CHANCE: Final = 1e-2
"""Chance that any single point may still have then. Single points lie at the edge of what was measured, where the model
is checked by what is near; the expectation lives on what is far from any trial, so it must be the smaller one."""
N_NEAR: Final = 128
"""Points of the largest chances that are looked at again under each draw."""
CONSECUTIVE: Final = 3
"""Tells in a row after each of which the claim must hold."""
N_DRAWS: Final = 3
"""Draws of the hyperparameters a tell, besides the most probable ones, under each of which it must hold."""
N_POINTS: Final = 2048
"""Points over which the expectation is taken under the most probable hyperparameters; under a draw, over a share."""
N_CANDIDATES: Final = 512
"""Points among which the searches for the point of largest chance and of least violation start."""
N_STARTS: Final = 16
"""Searches for the point of largest chance."""
_MARGIN_SD: Final = 2.0
"""Standard deviations below their means at which margins are compared."""
_STEP: Final = 1e-4
"""Step of a log hyperparameter by which the curvature of its posterior is measured."""


@dataclass(frozen=True)
class Claim:
    """What can be said of a history in which nothing feasible was told."""

    holds: bool
    """Whether the constraints cannot be met, as far as the models can tell."""
    expected: float
    """Upper bound on the expected number of feasible regions, the largest under the hyperparameters looked at."""
    chance: float
    """Upper bound on the probability that any one point is feasible, the largest likewise."""
    point: FloatArray
    """Where the constraints may be violated least, `d`: where the worst of their margins, each taken two standard
    deviations below its mean and in spreads of its told values, is least among the points looked at."""
    binding: int
    """The constraint with that worst margin,"""
    margin: float
    """and the margin."""


def claim(history: History) -> Claim | None:
    """Judge whether the constraints can be met.

    The claim is a function of what was told alone. It is made when, under the most probable hyperparameters and under
    draws from their posterior, after each of the last `CONSECUTIVE` tells, at most `MOST_EXPECTED` feasible regions are
    expected and no point has a chance above `MOST_CHANCE`.

    Args:
        history: What was told, with at least one constraint.

    Returns:
        The judgement; None where there is too little to judge by: fewer told trials than `LEAST_TOLD` a column of the
        cube, no constraint that was ever measured, or models that cannot be fitted.
    """
    n = len(history.X)
    if n - CONSECUTIVE + 1 < LEAST_TOLD * history.space.dim:
        return None
    expected = chance = 0.0
    memory: dict[str, Any] | None = None
    features = FeatureMap(history.space)
    with single_threaded():
        for n_told in range(n - CONSECUTIVE + 1, n + 1):
            before = _first(history, n_told)
            before, _ = shortened(before, features(before.X), features(before.failed))
            models, memory = fit_margins_cautiously(before, features, memory)
            try:
                one = _judge(before, features, models)
            except (GPError, np.linalg.LinAlgError):
                return None
            if one is None or not one.holds:
                return one
            last = one
            expected, chance = max(expected, one.expected), max(chance, one.chance)
    return dataclasses.replace(last, expected=expected, chance=chance)


def _first(history: History, n: int) -> History:
    """The history of the first n told trials."""
    told = ("ids", "X", "objective", "objective_sd", "constraints", "constraints_sd", "costs")
    none = np.zeros((0, history.space.dim))
    return dataclasses.replace(history, failed=none, **{name: getattr(history, name)[:n] for name in told})


def _judge(history: History, features: FeatureMap, models: tuple[ExactGP | None, ...]) -> Claim | None:
    measured = [k for k, model in enumerate(models) if model is not None]
    fitted = [model for model in models if model is not None]
    if not fitted:
        return None
    # What is drawn depends on the number of trials alone, so that reading a verdict twice reads the same.
    rng = np.random.default_rng(np.random.SeedSequence(history.seed, spawn_key=(len(history.X),)))
    tails = [Tail(model) for model in fitted]
    chance = LogChance(tails, features, largest_eigenvalue(history.constraints[:, measured], tails))
    pool = history.space.sample(N_POINTS, rng)
    if len(pool) < N_DRAWS:
        return None
    log_chance, n_regions = chance.log_chance_and_regions(pool)
    best = pool[np.argsort(-log_chance, kind="stable")[:3]]
    none = np.zeros((0, history.space.dim))
    point = maximize(chance, history.space, best, none, rng, n_samples=N_CANDIDATES, n_starts=N_STARTS)
    if point is None:
        return None
    expected, highest = _expected(log_chance, n_regions), math.exp(chance.values(point[None])[0])
    near = np.concatenate([point[None], pool[np.argsort(-log_chance, kind="stable")[:N_NEAR]]])
    if _is_enough(expected, highest):
        drawn = [_laplace_draws(model, rng) for model in fitted]
        for row in range(N_DRAWS):
            others = [Tail(model, theta[row]) for model, theta in zip(fitted, drawn, strict=True)]
            other = dataclasses.replace(chance, tails=others)
            expected = max(expected, _expected(*other.log_chance_and_regions(pool[row::N_DRAWS])))
            highest = max(highest, math.exp(other.values(near).max()))
    start = np.concatenate([history.X, point[None], pool[:N_CANDIDATES]])
    worst, _ = _worst_margin(tails, features(start))
    moved = draw_pool(history.space, start[np.argsort(worst, kind="stable")[:3]], rng)
    looked_at = np.concatenate([start, moved])
    worst, binding = _worst_margin(tails, features(looked_at))
    least = int(np.argmin(worst))
    which = measured[int(binding[least])]
    return Claim(_is_enough(expected, highest), expected, highest, looked_at[least], which, float(worst[least]))


def _worst_margin(tails: list[Tail], Z: FloatArray) -> tuple[FloatArray, NDArray[np.intp]]:
    """The largest optimistic margin at points with features `m x F`, and whose it is, `m` each."""
    there = [tail.at(Z) for tail in tails]
    optimistic = np.stack([margin.mean - _MARGIN_SD * margin.sd for margin in there], 1)
    return optimistic.max(1), optimistic.argmax(1)


def _is_enough(expected: float, chance: float) -> bool:
    return expected <= MOST_EXPECTED and chance <= MOST_CHANCE


def _expected(log_chance: FloatArray, n_regions: FloatArray) -> float:
    return float(np.mean(np.exp(log_chance) * n_regions))


def _laplace_draws(model: ExactGP, rng: np.random.Generator) -> FloatArray:
    """Hyperparameters drawn from the normal distribution that their posterior is like near its maximum.

    In no direction is it taken to be wider than the prior, as the curvature would have it where the fit stopped early.

    Args:
        model: The fitted model.
        rng: Draws them.

    Returns:
        `N_DRAWS x h`, within the bounds of the fit.
    """
    regression, theta = model.regression, model.hyperparameters
    steps = np.vstack([theta, theta + _STEP * np.eye(len(theta))])
    evidence_slopes, prior_slopes = regression.log_evidence(steps)[1], regression.log_prior(steps)[1]
    prior_sd = (((prior_slopes[0] - prior_slopes[1:]) / _STEP).diagonal()) ** -0.5
    curvature = (evidence_slopes[0] - evidence_slopes[1:]) / _STEP * np.outer(prior_sd, prior_sd)
    values, vectors = np.linalg.eigh(0.5 * (curvature + curvature.T))
    normals = rng.standard_normal((N_DRAWS, len(theta))) / np.sqrt(1.0 + np.maximum(values, 0.0))
    drawn: FloatArray = np.clip(theta + prior_sd * (normals @ vectors.T), *regression.bounds())
    return drawn
