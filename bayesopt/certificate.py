"""Whether any configuration can satisfy every constraint: a claim about a whole space, with its evidence.

Alphabet. K: constraints. u: how many standard deviations a margin's mean lies above 0, the bound. z: the normal
quantile of the same tail probability. chance: an upper bound on the probability that a point is feasible. lambda: the
largest eigenvalue of the correlation between the constraints. F: features. m: points.

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
from scipy.special import log_ndtr

from bayesopt.acquisition.loop_terms import log_ndtr_and_slope
from bayesopt.acquisition.maximize import maximize
from bayesopt.long_history import shortened
from bayesopt.problem.space import Space
from bayesopt.record.history import History
from bayesopt.surrogate import FeatureMap, fit_margins_cautiously
from gp.errors import GPError
from gp.models.exact import ExactGP
from gp.regression import Prediction
from gp.threads import single_threaded

FloatArray = NDArray[np.float64]

MOST_EXPECTED: Final = 1e-4
"""Feasible regions that may still be expected where none is said to exist."""
LEAST_TOLD: Final = 10
"""Told trials a column of the cube before which nothing is claimed."""
CONSECUTIVE: Final = 3
"""Tells in a row after each of which the claim must hold."""
N_DRAWS: Final = 3
"""Draws of the hyperparameters a tell, besides the most probable ones, under each of which it must hold."""
N_POINTS: Final = 2048
"""Points over which the expectation is taken under the most probable hyperparameters,"""
N_POINTS_DRAW: Final = 512
"""and under a draw of them."""
N_STARTS: Final = 16
"""Searches for the point of largest chance."""
_MARGIN_SD: Final = 2.0
"""Standard deviations below the mean at which `Claim.margin` is read."""
_STEP: Final = 1e-4
"""Step of a log hyperparameter by which the curvature of its posterior is measured."""
_TINY: Final = 1e-12
"""Where the root of Student's statistic is as good as the statistic itself."""
_CURVATURE: Final = 5.0 / 3.0
"""Minus the second derivative of the Matérn-5/2 kernel at distance 0, of lengthscale 1."""


@dataclass(frozen=True)
class Claim:
    """What can be said of a history in which nothing feasible was told."""

    holds: bool
    """Whether the constraints cannot be met, as far as the models can tell."""
    expected: float
    """Upper bound on the expected number of feasible regions, the largest under the hyperparameters looked at."""
    point: FloatArray
    """Where a feasible outcome is least unlikely, `d`."""
    binding: int
    """The constraint that is surest to be broken there."""
    margin: float
    """That constraint's mean less two standard deviations there, in spreads of its told margins."""


def claim(history: History) -> Claim | None:
    """Judge whether the constraints can be met.

    The claim is a function of what was told alone. It is made when, under the most probable hyperparameters and under
    draws from their posterior, after each of the last `CONSECUTIVE` tells, no point has a chance above `MOST_EXPECTED`
    and no more feasible regions than that are expected anywhere.

    Args:
        history: What was told, with at least one constraint.

    Returns:
        The judgement; None where there is too little to judge by: fewer told trials than `LEAST_TOLD` a column of the
        cube, no constraint that was ever measured, or models that cannot be fitted.
    """
    n = len(history.X)
    if n - CONSECUTIVE + 1 < LEAST_TOLD * history.space.dim:
        return None
    worst: Claim | None = None
    memory: dict[str, Any] | None = None
    features = FeatureMap(history.space)
    with single_threaded():
        for n_told in range(n - CONSECUTIVE + 1, n + 1):
            before = _first(history, n_told)
            before, _ = shortened(before, features(before.X), features(before.failed))
            models, memory = fit_margins_cautiously(before, features, memory)
            try:
                one = _judge(before, features, models)
            except GPError:
                return None
            if one is None or not one.holds:
                return one
            if worst is None or one.expected > worst.expected:
                worst = one
    return worst


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
    tails = [_Tail(model) for model in fitted]
    chance = Chance(tails, features, _largest_eigenvalue(history.constraints[:, measured], tails))
    pool = history.space.sample(N_POINTS, rng)
    log_chance, n_regions = chance.log_chance_and_regions(pool)
    best = pool[np.argsort(-log_chance, kind="stable")[:3]]
    none = np.zeros((0, history.space.dim))
    point = maximize(chance, history.space, best, none, rng, n_samples=N_POINTS_DRAW, n_starts=N_STARTS)
    if point is None:
        return None
    highest = float(chance.values(point[None])[0])
    expected = max(_expected(log_chance, n_regions), math.exp(highest))
    near = np.concatenate([point[None], pool[np.argsort(-log_chance, kind="stable")[:N_POINTS_DRAW]]])
    for row in range(N_DRAWS if expected <= MOST_EXPECTED else 0):
        drawn = [_Tail(model, _laplace_draw(model, rng)) for model in fitted]
        other = dataclasses.replace(chance, tails=drawn)
        log_chance, n_regions = other.log_chance_and_regions(pool[row * N_POINTS_DRAW : (row + 1) * N_POINTS_DRAW])
        highest = float(other.values(near).max())
        expected = max(expected, _expected(log_chance, n_regions), math.exp(highest))
        if expected > MOST_EXPECTED:
            break
    predictions = [tail.at(features(point[None])) for tail in tails]
    binding = int(np.argmax([float(prediction.z[0]) for prediction in predictions]))
    margin = float(predictions[binding].mean[0] - _MARGIN_SD * predictions[binding].sd[0])
    return Claim(expected <= MOST_EXPECTED, expected, point, measured[binding], margin)


def _expected(log_chance: FloatArray, n_regions: FloatArray) -> float:
    return float(np.mean(np.exp(log_chance) * n_regions))


@dataclass(frozen=True)
class _Margin:
    """A margin at some points, by one model."""

    mean: FloatArray
    """Means less the bound, `m`, in spreads of the told margins."""
    sd: FloatArray
    """Standard deviations that all that was estimated is counted in, `m`."""
    z: FloatArray
    """Normal quantiles of the probability that the margin is positive, `m`."""
    along_mean: FloatArray
    """Derivative of z with respect to the mean, `m`,"""
    along_variance: FloatArray
    """and to the variance of Student's distribution, `m`."""
    prediction: Prediction
    """Of the data, and in a second column of a constant 1."""


class _Tail:
    """The probability that a margin is positive, when its mean and spread had to be learned from the same few trials.

    With mean and variance integrated out under flat priors, a margin at x given the lengthscales has Student's
    distribution with n - 1 degrees of freedom about the kriging mean, and its variance is that of universal kriging,
    `s² + (1 - k' K^-1 1)² / (1' K^-1 1)`, times the variance that the whitened data show. That is never taken for less
    than the model has.

    References: Santner, Williams and Notz, "The Design and Analysis of Computer Experiments", section 4.1; for z,
    Wallace 1959, "Bounds on normal approximations to Student's and the chi-square distributions".
    """

    def __init__(self, model: ExactGP, theta: FloatArray | None = None) -> None:
        """Condition a model.

        Args:
            model: The fitted model of a margin.
            theta: Its hyperparameters; None for those that it has.
        """
        regression = model.regression
        self.theta = model.hyperparameters if theta is None else theta
        predictor = model.predictor if theta is None else regression.condition(theta)
        self.white = predictor.white[:, 0]
        """Whitened data, `n`."""
        self.lengthscales = predictor.lengthscales
        """One a feature, `F`."""
        ones = predictor.inverse_factor.sum(1)
        self._information = float(ones @ ones)
        self._dof = max(1, len(self.white) - 1)
        self._inflation = max(1.0, float(self.white @ self.white) / self._dof)
        self._noise = math.exp(self.theta[-1]) if regression.learns_noise else 0.0
        self._constant = predictor.mean + model.offset / model.scale
        self._predictor = dataclasses.replace(
            predictor, white=np.stack([self.white, ones], 1), mean=0.0, offset=0.0, scale=1.0
        )

    def at(self, Z: FloatArray) -> _Margin:
        """The margin at points with features `m x F`."""
        prediction = self._predictor.predict(Z)
        mean = self._constant + prediction.mean[:, 0]
        short = 1.0 - prediction.mean[:, 1]
        variance = self._inflation * (prediction.variance + self._noise + short**2 / self._information)
        sd = np.sqrt(variance)
        u = mean / sd
        shrink = (8.0 * self._dof + 1.0) / (8.0 * self._dof + 3.0)
        root = np.sqrt(self._dof * np.log1p(u * u / self._dof))
        slope = np.where(root > _TINY, np.abs(u) / np.maximum(root, _TINY), 1.0) * shrink / (1.0 + u * u / self._dof)
        return _Margin(mean, sd, shrink * np.sign(u) * root, slope / sd, -0.5 * slope * u / variance, prediction)

    def pullback(self, margin: _Margin, weights: FloatArray) -> FloatArray:
        """Gradient of `sum(weights z)` with respect to the features, `m x F`."""
        short = 1.0 - margin.prediction.mean[:, 1]
        variance = self._inflation * weights * margin.along_variance
        along_short = 2.0 * variance * short / self._information
        along_mean = np.stack([weights * margin.along_mean, -along_short], 1)
        return margin.prediction.pullback(along_mean, variance)


@dataclass(frozen=True)
class Chance:
    """Log of an upper bound on the probability that a point satisfies every constraint.

    `min(min_k log P_k, sum_k log P_k / lambda)`: the first holds whatever the constraints have to do with one another,
    the second is Hölder's inequality for Gaussian vectors whose correlation has the largest eigenvalue lambda, which is
    1 when they are independent and K when they are one and the same.

    Reference: Chen, Dafnis and Paouris 2015, "Improved Hölder and reverse Hölder inequalities for Gaussian random
    vectors".
    """

    tails: list[_Tail]
    """The constraints that were measured."""
    features: FeatureMap
    """Where their models live."""
    eigenvalue: float
    """lambda."""

    def values(self, U: FloatArray) -> FloatArray:
        """Log chances, `m`, of `m x d` points of the unit cube."""
        Z = self.features(U)
        return self._combined(np.stack([log_ndtr(-tail.at(Z).z) for tail in self.tails], 1))[0]

    def value_and_gradient(self, U: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Log chances, `m`, and their gradients with respect to `m x d` points."""
        Z = self.features(U)
        margins = [tail.at(Z) for tail in self.tails]
        logs, slopes = zip(*(log_ndtr_and_slope(-margin.z) for margin in margins), strict=True)
        value, weights = self._combined(np.stack(logs, 1))
        gradient = np.zeros_like(Z)
        for k, (tail, margin) in enumerate(zip(self.tails, margins, strict=True)):
            gradient += tail.pullback(margin, -weights[:, k] * slopes[k])
        return value, self.features.pullback(U, gradient)

    def log_chance_and_regions(self, U: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Log chances, and how many separate regions as likely as this the whole space has room for, `m` each.

        Where a smooth process exceeds a level of u standard deviations it does so in islands, of which there are
        `prod_j (1 + u sqrt(k_j / 2 pi))` times the probability of one point, with k_j the curvature of its kernel along
        side j of the cube. Several constraints at levels u_k make islands like those of one with `u² k = sum u_k² k_k`.

        Args:
            U: Points of the unit cube, `m x d`.

        Returns:
            Both.

        Reference: Adler and Taylor, "Random Fields and Geometry", theorem 12.4.1, of which this keeps the terms of
        highest power in u.
        """
        Z = self.features(U)
        z = np.stack([tail.at(Z).z for tail in self.tails], 1)
        precision = np.stack([tail.lengthscales for tail in self.tails]) ** -2.0
        curvature = _CURVATURE * np.maximum(z, 0.0) ** 2 @ precision
        along = 1.0 + np.sqrt(curvature / (2.0 * math.pi))
        groups = np.array(self.features.groups)
        n_regions = np.ones(len(U))
        for group, most in enumerate(_levels(self.features.space)):
            n_regions *= np.minimum(along[:, groups == group].prod(1), most)
        return self._combined(log_ndtr(-z))[0], n_regions

    def _combined(self, logs: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Log chances from those of the constraints, `m x K`, and the weights of these in it."""
        surest, together = logs.min(1), logs.sum(1) / self.eigenvalue
        alone = np.arange(logs.shape[1]) == logs.argmin(1)[:, None]
        weights = np.where((together < surest)[:, None], 1.0 / self.eigenvalue, alone)
        return np.minimum(surest, together), weights


def _levels(space: Space) -> list[float]:
    """How many values each group of features can have, infinite for continuous ones; one group a parameter."""
    levels = [[c.levels for c in space.columns if c.parameter == name] for name in space.names]
    counts = [math.inf if first is None else float(first) for first, *_ in levels]
    return [count for count in counts if count > 1] or [1.0]


def _largest_eigenvalue(margins: FloatArray, tails: list[_Tail]) -> float:
    """Largest eigenvalue of the correlation between the constraints, from their whitened data.

    Args:
        margins: Told margins, `n x K`, nan where not measured.
        tails: The models of each.

    Returns:
        From 1 to K; K where too few trials have every margin.
    """
    K = len(tails)
    white = np.full(margins.shape, math.nan)
    for k, tail in enumerate(tails):
        white[np.isfinite(margins[:, k]), k] = tail.white
    complete = white[np.isfinite(white).all(1)]
    norms = np.sqrt(np.square(complete).sum(0))
    if len(complete) <= 2 * K or not norms.all():
        return float(K)
    correlation = (complete.T @ complete) / np.outer(norms, norms)
    return float(np.linalg.eigvalsh(correlation)[-1])


def _laplace_draw(model: ExactGP, rng: np.random.Generator) -> FloatArray:
    """Hyperparameters drawn from the normal distribution that their posterior is like near its maximum, `h`.

    In no direction is it taken to be wider than the prior, as the curvature would have it where the fit stopped early.
    """
    regression, theta = model.regression, model.hyperparameters
    steps = np.vstack([theta, theta + _STEP * np.eye(len(theta))])
    evidence_slopes, prior_slopes = regression.log_evidence(steps)[1], regression.log_prior(steps)[1]
    prior_sd = (((prior_slopes[0] - prior_slopes[1:]) / _STEP).diagonal()) ** -0.5
    curvature = (evidence_slopes[0] - evidence_slopes[1:]) / _STEP * np.outer(prior_sd, prior_sd)
    values, vectors = np.linalg.eigh(0.5 * (curvature + curvature.T))
    normals = rng.standard_normal(len(theta)) / np.sqrt(1.0 + np.maximum(values, 0.0))
    drawn: FloatArray = np.clip(theta + prior_sd * (vectors @ normals), *regression.bounds())
    return drawn
