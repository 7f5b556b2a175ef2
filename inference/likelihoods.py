"""What an observation says of a latent value: log densities, with what Newton's method needs of them in closed form.

Alphabet. f: latent values, `... x n`. y: observations, `... x n`. z: signed latent value in a binary model. r: ratio
phi(z) / Phi(z) of the standard normal. p: a probability. mean, variance: of a Gaussian belief about f.

The derivatives are written out because autograd would need three graphs for them, one in the other, at every step.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from inference.errors import InvalidInputError

_NODES: Final = 64
"""Of Gauss-Hermite quadrature around the mode of the integrand: log densities are then right to 1e-6 under variances to
4 and to 3e-4 under 25."""
_LONGEST: Final = 2.0
"""Step towards that mode, at most, in units of f: the exponential of a longer one may overshoot by far."""
_STEPS: Final = 80
"""Towards it, at most; from nearby it takes five."""
_LEAST_COUNT: Final = 0.1
"""Mean count below which counts say no more than that there were none."""
_GRID: Final = 400
"""Points of the trapezoidal rule over the precision of a Student-t observation."""
_LOG_2PI: Final = math.log(2.0 * math.pi)


class Terms(NamedTuple):
    """An observation's log density as a function of f, near a value of f."""

    log_density: Tensor
    """`... x n`, as all of these."""
    slope: Tensor
    """Its first derivative."""
    weight: Tensor
    """Minus its second derivative, or the mean of that over observations where it can be negative; positive."""
    weight_slope: Tensor
    """Minus the derivative of `weight`: the third derivative, or 0 where the weight is constant."""
    step_weight: Tensor
    """The curvature that a step towards the mode supposes: `weight`, or what gets there sooner; not negative."""


class Likelihood(ABC):
    """Independent observations, each of its own latent value."""

    @property
    def is_binary(self) -> bool:
        """Whether observations are 0 or 1."""
        return False

    @property
    def is_probit(self) -> bool:
        """Whether they are labels with the probit's link, whose moments under a normal belief have a closed form."""
        return False

    @abstractmethod
    def terms(self, f: Tensor, y: Tensor) -> Terms:
        """Log density with its derivatives.

        Args:
            f: Latent values, `... x n`.
            y: Observations that broadcast with them.

        Returns:
            The terms.
        """

    @abstractmethod
    def check(self, y: Tensor) -> None:
        """Refuse observations that cannot be.

        Args:
            y: Of any shape.

        Raises:
            InvalidInputError: If a value is not of the kind that this likelihood is of.
        """

    @abstractmethod
    def typical(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Where latent values lie before anything is known of their places: what priors can be relative to.

        Args:
            y: Observations, of any shape.

        Returns:
            A centre and a spread, scalars.
        """

    @abstractmethod
    def predictive_mean(self, mean: Tensor, variance: Tensor) -> Tensor:
        """Mean of an observation whose latent value is believed normal.

        Args:
            mean: Of the belief, any shape.
            variance: Likewise.

        Returns:
            The mean, in the same shape; for binary observations the probability of a 1.
        """

    def log_predictive(self, y: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """Log density of an observation whose latent value is believed normal.

        By Gauss-Hermite quadrature with its nodes around the mode of the integrand, so that a sharp observation of a
        vague value is not missed.

        Args:
            y: Observations.
            mean: Of the beliefs, the same shape.
            variance: Likewise.

        Returns:
            The log densities.
        """
        centre, spread = self._mode(y, mean, variance)
        x, w = np.polynomial.hermite.hermgauss(_NODES)
        nodes = torch.as_tensor(math.sqrt(2.0) * x).to(mean)
        log_weights = torch.as_tensor(np.log(w) + x * x + 0.5 * math.log(2.0)).to(mean)
        f = centre[..., None] + spread[..., None] * nodes
        log_belief = _log_normal(f - mean[..., None], variance[..., None])
        return torch.logsumexp(self.terms(f, y[..., None]).log_density + log_belief + log_weights, -1) + spread.log()

    @torch.no_grad()  # the integral does not depend on where its nodes are
    def _mode(self, y: Tensor, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Mode of the product of belief and likelihood, and its spread: by curvature, each point on its own."""
        f = mean
        for _ in range(_STEPS):
            terms = self.terms(f, y)
            step = (terms.slope - (f - mean) / variance) / (terms.weight + 1.0 / variance)
            f = f + step.clamp(-_LONGEST, _LONGEST)
            if bool((step.abs() < 1e-6).all()):
                break
        return f, (self.terms(f, y).weight + 1.0 / variance).rsqrt()


@dataclass(frozen=True)
class Gaussian(Likelihood):
    """A value with normal noise: with it every approximation is exact."""

    variance: float
    """Of the noise."""

    def __post_init__(self) -> None:
        """Refuse a variance that is none."""
        _positive("variance", self.variance)

    @override
    def terms(self, f: Tensor, y: Tensor) -> Terms:
        """As in `Likelihood`."""
        residual = y - f
        weight = torch.full_like(residual, 1.0 / self.variance)
        log_density = -0.5 * (residual.square() / self.variance + math.log(self.variance) + _LOG_2PI)
        return Terms(log_density, residual / self.variance, weight, torch.zeros_like(residual), weight)

    @override
    def check(self, y: Tensor) -> None:
        """As in `Likelihood`: finite values."""
        _check(y, torch.isfinite(y), "finite values")

    @override
    def typical(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Median and spread of the observations themselves."""
        return _median_and_spread(y)

    @override
    def predictive_mean(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The mean itself."""
        return mean

    @override
    def log_predictive(self, y: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """As in `Likelihood`, in closed form."""
        return _log_normal(y - mean, variance + self.variance)


@dataclass(frozen=True)
class Bernoulli(Likelihood):
    """Labels 0 and 1, the 1 with probability `Phi(f)` (probit) or `1 / (1 + exp(-f))` (logit).

    Reference: Rasmussen and Williams, "Gaussian Processes for Machine Learning", section 3.4.

    Example:
        >>> Bernoulli().predictive_mean(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 3.0])).round(decimals=4)
        tensor([0.5000, 0.8413])
    """

    link: Literal["probit", "logit"] = "probit"
    """From the latent value to the probability."""

    def __post_init__(self) -> None:
        """Refuse a link that does not exist."""
        if self.link not in ("probit", "logit"):
            raise InvalidInputError(f"link: expected 'probit' or 'logit', got {self.link!r}.")

    @property
    @override
    def is_binary(self) -> bool:
        """Always."""
        return True

    @property
    @override
    def is_probit(self) -> bool:
        """Whether the link is."""
        return self.link == "probit"

    @override
    def terms(self, f: Tensor, y: Tensor) -> Terms:
        """As in `Likelihood`."""
        if self.link == "logit":
            p = torch.sigmoid(f)
            weight = p * (1.0 - p)
            signed = torch.where(y > 0.5, f, -f)
            return Terms(torch.nn.functional.logsigmoid(signed), y - p, weight, -weight * (1.0 - 2.0 * p), weight)
        sign = 2.0 * y - 1.0
        z = sign * f
        log_density = torch.special.log_ndtr(z)
        r = mills_ratio(z, log_density)
        weight = r * (z + r)
        return Terms(log_density, sign * r, weight, sign * (weight * (z + 2.0 * r) - r), weight)

    @override
    def check(self, y: Tensor) -> None:
        """As in `Likelihood`: 0 or 1."""
        _check(y, (y == 0) | (y == 1), "labels 0 and 1 as floats (turn -1 and 1 into them by `(y + 1) / 2`)")

    @override
    def typical(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Even odds, and one."""
        return torch.zeros_like(y.mean()), torch.ones_like(y.mean())

    @override
    def predictive_mean(self, mean: Tensor, variance: Tensor) -> Tensor:
        """Probability of a 1."""
        return self.log_predictive(torch.ones_like(mean), mean, variance).exp()

    @override
    def log_predictive(self, y: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """As in `Likelihood`; of the probit in closed form, which keeps all digits in the tail.

        Args:
            y: Labels.
            mean: Of the beliefs, the same shape.
            variance: Likewise.

        Returns:
            Log probabilities.
        """
        if self.link == "logit":
            return super().log_predictive(y, mean, variance)
        return torch.special.log_ndtr((2.0 * y - 1.0) * mean / (1.0 + variance).sqrt())


class _Counts(Likelihood):
    """Whole numbers from 0 on whose mean is the exponential of f."""

    @override
    def check(self, y: Tensor) -> None:
        """As in `Likelihood`: 0, 1, 2, ..."""
        _check(y, torch.isfinite(y) & (y >= 0) & (y == y.round()), "counts 0, 1, 2, ... as floats")

    @override
    def typical(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Log of the mean count, and one."""
        return y.mean().clamp_min(_LEAST_COUNT).log(), torch.ones_like(y.mean())

    @override
    def predictive_mean(self, mean: Tensor, variance: Tensor) -> Tensor:
        """Mean of the log-normal rate."""
        return (mean + 0.5 * variance).exp()


@dataclass(frozen=True)
class Poisson(_Counts):
    """Counts with mean `exp(f)`.

    Example:
        >>> Poisson().predictive_mean(torch.zeros(1), torch.tensor([2.0])).round(decimals=4)
        tensor([2.7183])
    """

    @override
    def terms(self, f: Tensor, y: Tensor) -> Terms:
        """As in `Likelihood`."""
        rate = f.exp()
        return Terms(y * f - rate - torch.lgamma(y + 1.0), y - rate, rate, -rate, rate)


@dataclass(frozen=True)
class NegativeBinomial(_Counts):
    """Counts with mean `mu = exp(f)` and variance `mu + mu² / concentration`: more spread than Poisson's."""

    concentration: float
    """Towards infinity this is Poisson's."""

    def __post_init__(self) -> None:
        """Refuse a concentration that is none."""
        _positive("concentration", self.concentration)

    @override
    def terms(self, f: Tensor, y: Tensor) -> Terms:
        """As in `Likelihood`."""
        k = self.concentration
        logit = f - math.log(k)
        p = torch.sigmoid(logit)
        constant = torch.lgamma(y + k) - math.lgamma(k) - torch.lgamma(y + 1.0)
        log_density = constant + y * logit - (y + k) * torch.nn.functional.softplus(logit)
        weight = (y + k) * p * (1.0 - p)
        return Terms(log_density, y - (y + k) * p, weight, -weight * (1.0 - 2.0 * p), weight)


@dataclass(frozen=True)
class StudentT(Likelihood):
    """A value with heavy-tailed noise: an outlier is disbelieved, not followed.

    Its log density is not concave in f. The posterior takes the mean curvature `(df + 1) / ((df + 3) scale²)`, Fisher's
    information, at the true mode: as it is constant, the gradient of the evidence is exact, which clipping negative
    curvatures would make wrong. Only the steps towards the mode clip them: with Fisher's they took over a hundred.

    Reference: Vanhatalo, Jylanki and Vehtari 2009, "Gaussian process regression with Student-t likelihood".
    """

    df: float
    """Degrees of freedom; 4 is a common choice."""
    scale: float
    """In units of y; for many degrees of freedom the standard deviation of the noise."""

    def __post_init__(self) -> None:
        """Refuse parameters that are none."""
        _positive("df", self.df)
        _positive("scale", self.scale)

    @override
    def terms(self, f: Tensor, y: Tensor) -> Terms:
        """As in `Likelihood`."""
        df, s2 = self.df, self.scale**2
        residual = y - f
        spread = df * s2 + residual.square()
        constant = math.lgamma(0.5 * (df + 1.0)) - math.lgamma(0.5 * df) - 0.5 * math.log(math.pi * df * s2)
        log_density = constant - 0.5 * (df + 1.0) * torch.log1p(residual.square() / (df * s2))
        weight = torch.full_like(residual, (df + 1.0) / ((df + 3.0) * s2))
        curvature = (df + 1.0) * (df * s2 - residual.square()) / spread.square()
        return Terms(
            log_density, (df + 1.0) * residual / spread, weight, torch.zeros_like(residual), curvature.clamp_min(0.0)
        )

    @override
    def check(self, y: Tensor) -> None:
        """As in `Likelihood`: finite values."""
        _check(y, torch.isfinite(y), "finite values")

    @override
    def typical(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Median and spread of the observations themselves."""
        return _median_and_spread(y)

    @override
    def predictive_mean(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The latent mean, the centre of symmetry also where df <= 1 leaves the observation without a mean."""
        return mean

    @override
    def log_predictive(self, y: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """As in `Likelihood`, as a mixture of normal densities over the observation's precision.

        In f the integrand may have two modes, the belief's and the observation's; in the log precision it has one.

        Args:
            y: Observations.
            mean: Of the beliefs, the same shape.
            variance: Likewise.

        Returns:
            The log densities.
        """
        half, reach = 0.5 * self.df, 64.0 / self.df + math.sqrt(128.0 / self.df)
        # left of it for outliers, which speak for a small precision: up to 100 scales away
        t = torch.linspace(-reach - math.log(1e4), math.log1p(reach), _GRID).to(mean)
        log_weights = half * (math.log(half) + t - t.exp()) - math.lgamma(half) + (t[1] - t[0]).log()
        total = variance[..., None] + self.scale**2 * (-t).exp()
        return torch.logsumexp(_log_normal((y - mean)[..., None], total) + log_weights, -1)


def mills_ratio(z: Tensor, log_cdf: Tensor) -> Tensor:
    """`phi(z) / Phi(z)` of the standard normal, which grows like -z to the left.

    Args:
        z: Any shape.
        log_cdf: `log Phi(z)`, which the caller has.

    Returns:
        The ratio.
    """
    return (-0.5 * z.square() - 0.5 * _LOG_2PI - log_cdf).exp()


def _log_normal(x: Tensor, variance: Tensor) -> Tensor:
    return -0.5 * (x.square() / variance + variance.log() + _LOG_2PI)


def _median_and_spread(y: Tensor) -> tuple[Tensor, Tensor]:
    """Outliers leave both where they are; the spread is a standard deviation where values are normal."""
    median = y.median()
    spread = 1.4826 * (y - median).abs().median()
    return median, torch.where(spread > 0, spread, torch.ones_like(spread))


def _positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise InvalidInputError(f"{name}: expected a positive finite number, got {value!r}.")


def _check(y: Tensor, good: Tensor, wanted: str) -> None:
    if not bool(good.all()):
        raise InvalidInputError(f"y: expected {wanted}, got {y[~good].flatten()[:3].tolist()}.")
