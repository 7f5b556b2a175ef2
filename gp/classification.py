"""Gaussian process classification of two labels on arrays, a probit: evidence, fit and prediction.

What `gp.regression` is for outcomes that are measured, for outcomes that happen or do not. Hyperparameters are found by
Laplace's evidence, whose gradient has a closed form; predictions are those of expectation propagation, whose sites are
a regression with targets and noises of its own, so that what takes a `Predictor` takes this one. `inference` has both
methods for any batch, likelihood and device; these few dozen rows are visited so often that tensors would take four
times as long.

Alphabet. X: `n x d` features. y: labels 1 and 0, `n`; side: 1 and -1. k: kernel of unit variance; s²: variance of the
latent function f. m: its mean over `sqrt(1 + s²)`, so that a prior on m is one on the share of ones. theta: the
kernel's hyperparameters, log s², then m, `h`. b: hyperparameter vectors. K: `s² k`. z: `side f`. r: `phi(z) / Phi(z)`.
W: minus the second derivative of the log likelihood in f. `B = I + W^1/2 K W^1/2 = L L'`. a: `K^-1` times f less its
mean.

Reference: Rasmussen and Williams, "Gaussian Processes for Machine Learning", sections 3.4 to 3.6 and 5.5.
"""

import functools
import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from gp.array_kernels import Contraction, FloatArray, Kernel
from gp.errors import NotPositiveDefiniteError
from gp.quasi_newton import minimize
from gp.regression import Predictor, cholesky, inverse_of_factor

RULE: Final = (0.9, 4.6, 0.5)
"""Probability beforehand that labels follow a rule, so that the latent function jumps, and mean and standard deviation
of log s² then. With a mean of 1 a fifth of the runs that started where trials break never left that region; with a
standard deviation of 1.5 a third more trials broke on two problems of five."""
CHANCE: Final = (0.1, 0.0, 1.0)
"""The same for labels that are mostly chance."""
LOG_VARIANCE_BOUNDS: Final = (math.log(0.05), math.log(1e3))
"""Where log s² is searched: beyond, all labels are as good as certain or as good as chance."""
MEAN_SD: Final = 1.0
"""Standard deviation of m under its prior, which is centred at 0: even odds."""
MEAN_BOUND: Final = 4.0
"""Where m is searched, on either side of 0."""
TOLERANCE: Final = 1e-3
"""Nats at which a fit ends: of labels, a thousandth says nothing."""
_RESTARTS: Final = ((0.4, RULE[1]), (1.0, RULE[1]), (1.0, CHANCE[1]))
"""Starts of a search: factors on the prior's modes of the lengthscales, and log s²."""
_MAX_STEPS: Final = 50
"""Of Newton's method: 5 to 10 are normal."""
_MAX_HALVINGS: Final = 20
"""Of one step."""
_GAIN: Final = 1e-10
"""Newton's method ends where a step gains less, in nats: as it converges quadratically, the mode is then exact."""
_DAMPING: Final = (0.7, 0.3)
"""Share of each site's move that is made, in the first half of the sweeps and in the second: undamped, sites that move
together overshoot."""
_MAX_SWEEPS: Final = 60
"""Over all sites; 20 to 30 are normal. Where they still move then, they move by little."""
_STILL: Final = 1e-6
"""Sites that move by less than this, in units of the posterior's standard deviation, stand still."""
_LEAST_PRECISION: Final = 1e-10
"""Of a site, in units of `1 / s²`: one below tells nothing, and its mean is far away."""
_LOG_2PI: Final = math.log(2.0 * math.pi)


class _Mode(NamedTuple):
    """The most likely latent values, and what the evidence and its gradient need of them."""

    a: FloatArray
    slope: FloatArray
    weight: FloatArray
    weight_slope: FloatArray
    inverse_factor: FloatArray
    log_evidence: float


@dataclass(frozen=True)
class Classification:
    """Labels at points, with a prior over the hyperparameters of the latent function that explains them.

    Example:
        >>> from gp.array_kernels import Ard
        >>> X = np.linspace(0.0, 1.0, 8)[:, None]
        >>> labels = Classification(X, (X[:, 0] > 0.5).astype(float), Ard(np.zeros(1, dtype=np.intp)))
        >>> theta = labels.fit(labels.search_starts(), max_evaluations=20)
        >>> np.sign(labels.condition(theta).predict(X[[0, -1]]).mean[:, 0])
        array([-1.,  1.])
    """

    X: FloatArray
    """Features, `n x d`."""
    y: FloatArray
    """Labels 0 and 1, `n`."""
    kernel: Kernel
    """The prior covariance over s²."""

    @functools.cached_property
    def _pairs(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        rows, columns = np.tril_indices(len(self.y), -1)
        return rows, columns

    @functools.cached_property
    def _distances(self) -> FloatArray:
        return self.kernel.pair_distances(self.X, *self._pairs)

    @functools.cached_property
    def _side(self) -> FloatArray:
        return 2.0 * self.y - 1.0

    @functools.cached_property
    def _prior(self) -> tuple[FloatArray, FloatArray]:
        # of the hyperparameters that have one normal prior: all but log s²
        mean, sd = self.kernel.prior()
        return np.append(mean, 0.0), np.append(sd, MEAN_SD)

    def prior_mode(self) -> FloatArray:
        """Hyperparameters of largest prior density, `h`."""
        return np.insert(self._prior[0], -1, RULE[1])

    def log_prior(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Log density of theta, `b`, and its gradient, `b x h`, of `b x h` vectors."""
        mean, sd = self._prior
        z = (np.delete(theta, -2, axis=1) - mean) / sd
        weights, means, sds = np.transpose([RULE, CHANCE])
        u = (theta[:, -2, None] - means) / sds
        logs = np.log(weights / sds) - 0.5 * u * u
        either = np.logaddexp(*logs.T)
        log_density = -0.5 * (z * z).sum(1) - np.log(sd).sum() + either - 0.5 * _LOG_2PI * theta.shape[1]
        along = -(np.exp(logs - either[:, None]) * u / sds).sum(1)
        return log_density, np.insert(-z / sd, -1, along, axis=1)

    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Where theta is searched, `h` each."""
        lower, upper = self.kernel.bounds()
        return (
            np.append(lower, [LOG_VARIANCE_BOUNDS[0], -MEAN_BOUND]),
            np.append(upper, [LOG_VARIANCE_BOUNDS[1], MEAN_BOUND]),
        )

    def search_starts(self) -> FloatArray:
        """Hyperparameter vectors that cover the prior, `b x h`: where a fit starts that knows nothing yet."""
        starts = np.tile(self.prior_mode(), (len(_RESTARTS), 1))
        factors, starts[:, -2] = np.transpose(_RESTARTS)
        starts[:, : self.kernel.n_lengthscales] += np.log(factors)[:, None]
        return starts

    def subset(self, rows: NDArray[np.intp]) -> "Classification":
        """The same with some of its rows only."""
        return Classification(self.X[rows], self.y[rows], self.kernel)

    def log_evidence(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Laplace's log evidence of the labels, and its gradient.

        Args:
            theta: Hyperparameter vectors, `b x h`.

        Returns:
            Log evidences, `b`, and gradients, `b x h`.

        Raises:
            NotPositiveDefiniteError: If B cannot be factored.
        """
        gradient = np.empty_like(theta)
        evidence = np.array([self._evidence(one, slot) for one, slot in zip(theta, gradient, strict=True)])
        return evidence, gradient

    def _evidence(self, theta: FloatArray, gradient: FloatArray) -> float:
        rows, columns = self._pairs
        variance = math.exp(theta[-2])
        spread = math.sqrt(1.0 + variance)
        K, contract = self._covariance(theta)
        mode = _newton(K, theta[-1] * spread, self._side)
        # What log|B| loses as the mode moves, through the weights; then (I + K W)^-T of it.
        inverse_root = mode.inverse_factor * np.sqrt(mode.weight)  # L^-1 W^1/2
        R = inverse_root.T @ inverse_root
        left = K.diagonal() - np.einsum("ij,ij->j", inverse_root @ K, inverse_root @ K)
        along_mode = -0.5 * left * mode.weight_slope
        u = along_mode - R @ (K @ along_mode)
        along_K = 0.5 * (np.outer(mode.a, mode.a) - R + np.outer(mode.slope, u) + np.outer(u, mode.slope))
        along_m = float((mode.a + u).sum())
        gradient[:-2] = contract(2.0 * variance * along_K[rows, columns])  # a pair is two entries of K
        gradient[-2] = np.vdot(along_K, K) + along_m * theta[-1] * 0.5 * variance / spread
        gradient[-1] = along_m * spread
        return mode.log_evidence

    def _covariance(self, theta: FloatArray) -> tuple[FloatArray, Contraction]:
        n, rows, columns = len(self.y), *self._pairs
        k, contract = self.kernel.of_pairs(theta[:-2], self._distances)
        K = np.empty((n, n))
        K[rows, columns] = K[columns, rows] = math.exp(theta[-2]) * k
        K.flat[:: n + 1] = math.exp(theta[-2])
        return K, contract

    def fit(self, starts: FloatArray, max_evaluations: int, tolerance: float = TOLERANCE) -> FloatArray:
        """Hyperparameters where evidence times prior is largest.

        Args:
            starts: Vectors to start from, `b x h`.
            max_evaluations: Evaluations of the whole stack of starts, at most.
            tolerance: A fit ends when a step gains fewer nats.

        Returns:
            The best vector found, `h`.

        Raises:
            NotPositiveDefiniteError: If the evidence cannot be computed.
        """
        lower, upper = self.bounds()

        def loss(theta: FloatArray) -> tuple[FloatArray, FloatArray]:
            evidence, evidence_gradient = self.log_evidence(theta)
            prior, prior_gradient = self.log_prior(theta)
            return -(evidence + prior), -(evidence_gradient + prior_gradient)

        found, values = minimize(
            loss,
            starts,
            lower,
            upper,
            max_evaluations=max_evaluations,
            gradient_tolerance=1e-2,
            decrease_tolerance=tolerance,
        )
        best: FloatArray = found[int(np.argmin(values))]
        return best

    def condition(self, theta: FloatArray) -> Predictor:
        """The posterior of the latent function given hyperparameters, by expectation propagation.

        Args:
            theta: Hyperparameters, `h`.

        Returns:
            It, on the scale of f: a label is 1 with probability `Phi(mean / sqrt(1 + variance))`.

        Raises:
            NotPositiveDefiniteError: If a matrix cannot be factored.
        """
        variance = math.exp(theta[-2])
        m = float(theta[-1]) * math.sqrt(1.0 + variance)
        K, _ = self._covariance(theta)
        precision, location = _sites(K, m, self._side)
        lengthscales = self.kernel.lengthscales(theta[:-2])
        # On the scale of y the prior has unit variance and no mean.
        precision = np.maximum(precision * variance, _LEAST_PRECISION)
        targets = location * math.sqrt(variance) / precision
        K /= variance
        K.flat[:: len(K) + 1] += 1.0 / precision
        inverse_factor = inverse_of_factor(cholesky(K, "K_XX of the labels' sites"))
        return Predictor(
            kernel=self.kernel,
            theta=theta[:-2],
            scaled_X=self.X / lengthscales,
            lengthscales=lengthscales,
            inverse_factor=inverse_factor,
            diagonal=1.0 / precision,
            targets=targets[:, None],
            white=(inverse_factor @ targets)[:, None],
            mean=0.0,
            offset=m,
            scale=math.sqrt(variance),
        )


class Classifier:
    """A classification with its hyperparameters: to a loop what a `gp.models.exact.ExactGP` of an outcome is."""

    noise_variance: Final = 1.0
    """What the probit adds to the variance of f before a label is read off its sign."""

    def __init__(self, X: FloatArray, y: FloatArray, kernel: Kernel) -> None:
        """Put the hyperparameters at their prior's modes.

        Args:
            X: Features, `n x d`.
            y: Labels 0 and 1, `n`.
            kernel: The prior covariance over the latent function's variance.
        """
        self.regression = Classification(X, y, kernel)
        self.hyperparameters = self.regression.prior_mode()

    def fit(self, *, starts: FloatArray, max_evaluations: int, tolerance: float = TOLERANCE) -> None:
        """Move the hyperparameters to the maximum of evidence times prior, as `Classification.fit` finds it."""
        self.hyperparameters = self.regression.fit(starts, max_evaluations, tolerance)

    @functools.cached_property
    def predictor(self) -> Predictor:
        """The posterior of the latent function; asked for once the fit is over."""
        return self.regression.condition(self.hyperparameters)


def _newton(K: FloatArray, m: float, side: FloatArray) -> _Mode:
    """The mode of `log p(y | f) - (f - m)' K^-1 (f - m) / 2`, by damped Newton steps on a."""
    a = np.zeros(len(side))
    f = np.full(len(side), m)
    log_likelihood, slope, weight, weight_slope = _terms(f, side)
    psi = float(log_likelihood.sum())
    for _ in range(_MAX_STEPS):
        root = np.sqrt(weight)
        target = weight * (f - m) + slope
        inverse_factor = _inverse_factor_of_B(K, root)
        direction = target - root * (inverse_factor.T @ (inverse_factor @ (root * (K @ target)))) - a
        share = 1.0
        for _ in range(_MAX_HALVINGS):
            trial = a + share * direction
            shift = K @ trial
            terms = _terms(m + shift, side)
            new = float(terms[0].sum() - 0.5 * trial @ shift)
            if new >= psi - _GAIN:
                break
            share *= 0.5
        else:
            break  # nothing is left to gain but rounding
        gain = new - psi
        a, f, psi = trial, m + shift, new
        _, slope, weight, weight_slope = terms
        if gain < _GAIN:
            break
    inverse_factor = _inverse_factor_of_B(K, np.sqrt(weight))
    half_log_det = -float(np.log(inverse_factor.diagonal()).sum())
    return _Mode(a, slope, weight, weight_slope, inverse_factor, psi - half_log_det)


def _terms(f: FloatArray, side: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Log likelihoods at latent values `n`, their slopes, minus their second derivatives, and those' slopes."""
    z = side * f
    log_likelihood, r = _log_ndtr_and_ratio(z)
    weight = r * (z + r)
    return log_likelihood, side * r, weight, side * (r - weight * (z + 2.0 * r))


def _log_ndtr_and_ratio(z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """`log Phi(z)`, and `phi(z) / Phi(z)`, which is `d log Phi / dz`."""
    log_likelihood = log_ndtr(z)
    ratio: FloatArray = np.exp(-0.5 * z * z - 0.5 * _LOG_2PI - log_likelihood)
    return log_likelihood, ratio


def _inverse_factor_of_B(K: FloatArray, root: FloatArray) -> FloatArray:
    B = K * root * root[:, None]
    B.flat[:: len(B) + 1] += 1.0
    if not np.isfinite(B).all():
        raise NotPositiveDefiniteError("K_XX of the labels has entries that are not finite.")
    return inverse_of_factor(cholesky(B, "I + W^1/2 K W^1/2 of the labels"))


def _sites(K: FloatArray, m: float, side: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Normal factors in the place of the labels' likelihoods, such that each marginal is matched.

    Args:
        K: Prior covariance, `n x n`.
        m: Prior mean.
        side: Labels 1 and -1, `n`.

    Returns:
        Precisions of the factors, `n`, and precisions times means about the prior mean, `n`.
    """
    mode = _newton(K, m, side)
    # Laplace's own factors, as a start: the slope at f is what they have to give, `a = location - W (f - m)`.
    weight = mode.weight
    location = weight * (K @ mode.a) + mode.slope
    mean, variance = _marginals(K, weight, location)
    for sweep in range(_MAX_SWEEPS):
        left = 1.0 - weight * variance
        cavity_variance = variance / left
        cavity = (mean - variance * location) / left
        total = 1.0 + cavity_variance
        z = side * (m + cavity) / np.sqrt(total)
        _, r = _log_ndtr_and_ratio(z)
        curvature = r * (z + r) / total
        shrunk = 1.0 - cavity_variance * curvature
        share = _DAMPING[2 * sweep >= _MAX_SWEEPS]
        weight = weight + share * (curvature / shrunk - weight)
        matched = (cavity * curvature + side * r / np.sqrt(total)) / shrunk
        location = location + share * (matched - location)
        before = mean, variance
        mean, variance = _marginals(K, weight, location)
        moved = np.abs(mean - before[0]) / np.sqrt(before[1]) + np.abs(np.log(variance / before[1]))
        if moved.max() <= _STILL:
            break
    return weight, location


def _marginals(K: FloatArray, weight: FloatArray, location: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Posterior means about the prior mean, and variances, `n` each, under factors."""
    root = np.sqrt(weight)
    narrowed = _inverse_factor_of_B(K, root) @ (root[:, None] * K)
    covariance_times = K @ location - narrowed.T @ (narrowed @ location)
    return covariance_times, K.diagonal() - np.einsum("ij,ij->j", narrowed, narrowed)
