"""An upper bound on the probability that a point satisfies every constraint: where a feasible one may still hide.

Alphabet. K: constraints. u: how many standard deviations a margin's mean lies above 0, the bound. z: the normal
quantile of the same tail probability. lambda: the largest eigenvalue of the correlation between the constraints. U:
`m x d` points of the unit cube. Z: `m x F` features.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from bayesopt.acquisition.loop_terms import log_ndtr_and_slope
from bayesopt.problem.space import Space
from bayesopt.surrogate import FeatureMap
from gp.models.exact import ExactGP
from gp.regression import Prediction

FloatArray = NDArray[np.float64]

_TINY: Final = 1e-12
"""Where the root of Student's statistic is as good as the statistic itself."""
_CURVATURE: Final = 5.0 / 3.0
"""Minus the second derivative of the Matérn-5/2 kernel at distance 0, of lengthscale 1."""


@dataclass(frozen=True)
class TailAt:
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


class Tail:
    """The probability that a margin is positive, or above some value.

    Its mean and spread had to be learned from the same few trials, and the tail is as wide as that makes it.

    With mean and variance integrated out under flat priors, a margin at x given the lengthscales has Student's
    distribution with n - 1 degrees of freedom about the kriging mean, and its variance is that of universal kriging,
    `s² + (1 - k' K^-1 1)² / (1' K^-1 1)`, times the variance that the whitened data show. That is never taken for less
    than the model has.

    References: Santner, Williams and Notz, "The Design and Analysis of Computer Experiments", section 4.1; for z,
    Wallace 1959, "Bounds on normal approximations to Student's and the chi-square distributions".
    """

    def __init__(self, model: ExactGP, theta: FloatArray | None = None, *, above: float = 0.0) -> None:
        """Condition a model.

        Args:
            model: The fitted model of a margin.
            theta: Its hyperparameters; None for those that it has.
            above: What the margin must exceed, on its model's scale, where that is not the bound.
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
        self._constant = predictor.mean + (model.offset - above) / model.scale
        self._predictor = dataclasses.replace(
            predictor, white=np.stack([self.white, ones], 1), mean=0.0, offset=0.0, scale=1.0
        )

    def at(self, Z: FloatArray) -> TailAt:
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
        return TailAt(mean, sd, shrink * np.sign(u) * root, slope / sd, -0.5 * slope * u / variance, prediction)

    def pullback(self, margin: TailAt, weights: FloatArray) -> FloatArray:
        """Gradient of `sum(weights z)` with respect to the features, `m x F`."""
        short = 1.0 - margin.prediction.mean[:, 1]
        variance = self._inflation * weights * margin.along_variance
        along_short = 2.0 * variance * short / self._information
        along_mean = np.stack([weights * margin.along_mean, -along_short], 1)
        return margin.prediction.pullback(along_mean, variance)


@dataclass(frozen=True)
class LogChance:
    """Log of an upper bound on the probability that a point satisfies every constraint.

    `min(min_k log P_k, sum_k log P_k / lambda)`: the first holds whatever the constraints have to do with one another,
    the second is Hölder's inequality for Gaussian vectors whose correlation has the largest eigenvalue lambda, which is
    1 when they are independent and K when they are one and the same.

    Reference: Chen, Dafnis and Paouris 2015, "Improved Hölder and reverse Hölder inequalities for Gaussian random
    vectors".
    """

    tails: list[Tail]
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


def largest_eigenvalue(margins: FloatArray, tails: list[Tail]) -> float:
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
