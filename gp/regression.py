"""Exact Gaussian process regression on arrays: evidence, fit and prediction with closed-form gradients.

The engine room of `gp.models.exact`. Its matrices are small (tens to hundreds of rows) and its calls many, so it works
on numpy arrays: an operation on a few numbers costs a third of what it costs on tensors, and no graph is built.

Alphabet. X: `n x d` features. y: targets, `n`. m: test points. c: columns of targets that share one kernel matrix
(fantasies). a: anchors. D: noise variances. L: Cholesky factor of `K = k + D`. theta: the kernel's hyperparameters,
then the log noise variance if that is learned, `h`. b: hyperparameter vectors.
"""

import dataclasses
import functools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotri, dtrtri

from gp.array_kernels import FloatArray, Kernel, Values
from gp.errors import NotPositiveDefiniteError
from gp.quasi_newton import minimize

NOISE_LOG_MODE: Final = -8.0
"""Mean of the log noise variance under its prior, in units of the variance of Y."""
NOISE_LOG_SD: Final = 2.5
"""Standard deviation of the log noise variance under its prior: wide, so that exact outcomes are seen as such."""
NOISE_BOUNDS: Final = (1e-7, 4.0)
"""Where the noise variance is searched, in units of the variance of Y."""
LEAST_VARIANCE: Final = 1e-12
"""Least predictive variance in units of the variance of y; below it the difference of ones holds no digit."""
TOLERANCE: Final = 1e-4
"""Nats at which a fit ends: 1e-7 cost 50 evaluations instead of 35 and gained 2e-4 nats."""
_RESTARTS: Final = ((1.0, 1.0), (2.0, 0.3), (0.5, 300.0), (0.5, 0.003))
"""Starts of a search: factors on the prior's modes of lengthscale and noise (smooth, very smooth, rough and noisy,
rough and clean). Without the last, a rough function without noise passed for a noisy one, 20 nats below its best."""
_JITTERS: Final = (0.0, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4)
"""Diagonal shifts tried in turn where K is not positive definite in floats, relative to its unit diagonal."""
_AT_ONCE: Final = 2**14
"""Most kernel values between test points and conditioning points whose slopes are computed along with them;"""
_ROWS: Final = 64
"""Rows of a triangle of K that are made at once."""
_PIECE: Final = 2**15
"""and most that are worked on at once: what is larger leaves the processor's cache."""
_LOG_2PI: Final = math.log(2.0 * math.pi)


def cholesky(K: FloatArray, name: str) -> FloatArray:
    """Lower Cholesky factor, shifted on the diagonal only where that is needed.

    Args:
        K: Symmetric, `n x n`, with a diagonal of about 1.
        name: What the matrix is, for the message.

    Returns:
        L with `L L' = K + shift I`.

    Raises:
        NotPositiveDefiniteError: If an entry is not finite, or the largest shift is not enough.
    """
    for jitter in _JITTERS:
        L, info = dpotrf(K if jitter == 0.0 else K + jitter * np.eye(len(K)), lower=1, clean=1)
        if info == 0 and np.isfinite(L).all():
            factor: FloatArray = L
            return factor
    if not np.isfinite(K).all():
        cause = "it holds values that are not finite"
    else:
        cause = f"it is not positive definite at jitter {_JITTERS[-1]:g}"
    raise NotPositiveDefiniteError(
        f"{name} ({len(K)} x {len(K)}): {cause}. Likely causes: (a) duplicate rows with almost no noise: merge them or "
        "raise the noise; (b) a lengthscale far above the data's range: check its prior."
    )


@dataclass(frozen=True)
class Trend:
    """A prior mean that contains a known function, whose values are the last feature: `a + b times the feature`."""

    mean: float
    """Mean of b under its normal prior, in units of y a unit of the feature,"""
    sd: float
    """and its standard deviation."""


@dataclass(frozen=True)
class Anchors:
    """Points whose covariance with many test points is asked for."""

    scaled: FloatArray | None
    """The points over their lengthscales, `a x d`; None where `half` says it all."""
    half: FloatArray
    """`k(anchors, X) L^-T`, `a x n`; without `scaled`, that less what the prior covariance comes to in its stead."""

    def __getitem__(self, rows: slice) -> "Anchors":
        """Some of the anchors."""
        return Anchors(None if self.scaled is None else self.scaled[rows], self.half[rows])


@dataclass(frozen=True)
class Prediction:
    """Means and variances at test points, and the way back from them to the points."""

    mean: FloatArray
    """Posterior means, `m x c`, in units of Y."""
    variance: FloatArray
    """Posterior variances of the latent function, `m`, in units of Y squared; shared by the columns."""
    _predictor: "Predictor"
    _scaled: FloatArray
    _values: Values | None
    _half: FloatArray

    def covariance(self, anchors: Anchors) -> FloatArray:
        """Posterior covariances of the latent function at the test points with it at some others.

        Args:
            anchors: The others, as `Predictor.anchor` prepared them.

        Returns:
            Covariances, `m x a`, in units of Y squared.
        """
        covariance = self._half @ anchors.half.T
        np.negative(covariance, out=covariance)
        if anchors.scaled is not None:
            covariance += self._predictor.values(self._scaled, anchors.scaled)
        covariance *= self._predictor.scale**2
        return covariance

    def pullback(
        self,
        grad_mean: FloatArray,
        grad_variance: FloatArray,
        anchors: Anchors | None = None,
        grad_covariance: FloatArray | None = None,
    ) -> FloatArray:
        """Gradient with respect to the test points of a function of the means, variances and covariances.

        Args:
            grad_mean: The function's derivatives with respect to `mean`, `m x c`.
            grad_variance: Its derivatives with respect to `variance`, `m`.
            anchors: The points whose `covariance` it uses, if it does.
            grad_covariance: Its derivatives with respect to those, `m x a`.

        Returns:
            Derivatives with respect to the features of each test point, `m x d`.
        """
        p = self._predictor
        half = (-2.0 * p.scale**2) * grad_variance[:, None] * self._half
        along = None if grad_covariance is None else p.scale**2 * grad_covariance
        if anchors is not None and along is not None:
            half -= along @ anchors.half
        weights = half @ p.inverse_factor
        weights += (p.scale * grad_mean) @ p.alpha.T
        values = p.between(self._scaled, p.scaled_X) if self._values is None else self._values
        gradient = values.pullback(weights)
        if anchors is not None and along is not None and anchors.scaled is not None:
            gradient += p.between(self._scaled, anchors.scaled).pullback(along)
        if p.slope != 0.0:
            gradient[:, -1] += p.scale * p.slope * grad_mean.sum(1)
        return gradient


@dataclass(frozen=True)
class Predictor:
    """A conditioned Gaussian process with everything precomputed."""

    kernel: Kernel
    """What the prior covariance is,"""
    theta: FloatArray
    """and its hyperparameters."""
    scaled_X: FloatArray
    """Conditioning points over their lengthscales, `n x d`."""
    lengthscales: FloatArray
    """One a feature, `d`."""
    inverse_factor: FloatArray
    """`L^-1`, `n x n`."""
    diagonal: FloatArray
    """Noise variances of the targets on the scale of y, `n`."""
    targets: FloatArray
    """Targets on the scale of y, `n x c`."""
    white: FloatArray
    """`L^-1` times the centred targets, `n x c`."""
    mean: float
    """The prior mean on y, but for a trend."""
    slope: float = 0.0
    """What the prior mean on y gains with a unit of the last feature: the posterior mean of the trend's b."""
    slope_sd: float = 0.0
    """The posterior standard deviation of b, which predictions leave out as they do that of the constant."""
    offset: float = 0.0
    """What y = 0 stands for, in units of Y."""
    scale: float = 1.0
    """What a unit of y stands for, in units of Y."""

    @functools.cached_property
    def alpha(self) -> FloatArray:
        """`K^-1` times the centred targets, `n x c`."""
        solved: FloatArray = self.inverse_factor.T @ self.white
        return solved

    def prior_mean(self, scaled: FloatArray) -> float | FloatArray:
        """The prior mean on y at points over their lengthscales, `m x d`: one number, or with a trend `m x 1`."""
        if self.slope == 0.0:
            return self.mean
        return self.mean + (self.slope * self.lengthscales[-1]) * scaled[:, -1:]

    def between(self, scaled: FloatArray, others: FloatArray) -> Values:
        """Prior covariances on the scale of y between points over their lengthscales, `m x d` and `n x d`."""
        return self.kernel.between(self.theta, scaled, others)

    def values(self, scaled: FloatArray, others: FloatArray) -> FloatArray:
        """The same values alone, `m x n`."""
        rows = max(1, _PIECE // len(others))
        if len(scaled) <= rows:
            return self.kernel.values(self.theta, scaled, others)
        k = np.empty((len(scaled), len(others)))
        for first in range(0, len(scaled), rows):
            k[first : first + rows] = self.kernel.values(self.theta, scaled[first : first + rows], others)
        return k

    def fitted(self) -> tuple[FloatArray, FloatArray]:
        """Posterior at the conditioning points themselves, without another product of matrices.

        Since `K = k + D`, the mean there is `y - D alpha` and the variance `D - D² diag(K^-1)`.

        Returns:
            Means, `n x c`, and latent variances, `n`, as `predict` gives them.
        """
        mean = self.targets - self.diagonal[:, None] * self.alpha
        precision = np.einsum("ij,ij->j", self.inverse_factor, self.inverse_factor)
        variance = np.maximum(self.diagonal - self.diagonal**2 * precision, LEAST_VARIANCE)
        return self.offset + self.scale * mean, self.scale**2 * variance

    def predict(self, X: FloatArray) -> Prediction:
        """Posterior at `m x d` test points, each on its own; cost `O(m n (n + d + c))`."""
        scaled = X / self.lengthscales
        values = None
        if len(X) * len(self.scaled_X) <= _AT_ONCE:
            values = self.between(scaled, self.scaled_X)
            half = values.k @ self.inverse_factor.T
        else:  # a pool: what only `pullback` needs is made when that is called
            half = self.values(scaled, self.scaled_X) @ self.inverse_factor.T
        variance = np.maximum(1.0 - np.einsum("ij,ij->i", half, half), LEAST_VARIANCE)
        mean = half @ self.white + self.prior_mean(scaled)
        return Prediction(self.offset + self.scale * mean, self.scale**2 * variance, self, scaled, values, half)

    def anchor(self, X: FloatArray) -> Anchors:
        """Prepare `a x d` points for `Prediction.covariance`."""
        scaled = X / self.lengthscales
        return Anchors(scaled, self.values(scaled, self.scaled_X) @ self.inverse_factor.T)

    def anchor_rows(self, rows: NDArray[np.intp]) -> Anchors:
        """Prepare some of the conditioning points themselves, which needs no further value of the kernel.

        Since `K = k + D`, the posterior covariance of f at x with it at those points is `k(x, X) K^-1 D`.

        Args:
            rows: Which, `a`.

        Returns:
            They, for `Prediction.covariance`.
        """
        return Anchors(None, -(self.inverse_factor[:, rows] * self.diagonal[rows]).T)

    def joint(self, X: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Joint posterior at `p x d` points on the scale of y.

        Args:
            X: Where, `p x d`.

        Returns:
            Means `p x c`, covariances of the latent function `p x p`, and `k(X, .) L^-T`, `p x n`, which `append`
            takes.
        """
        scaled = X / self.lengthscales
        half = self.values(scaled, self.scaled_X) @ self.inverse_factor.T
        covariance = self.values(scaled, scaled) - half @ half.T
        return half @ self.white + self.prior_mean(scaled), covariance, half

    def append(
        self, X: FloatArray, targets: FloatArray, noise: FloatArray, joint: tuple[FloatArray, FloatArray, FloatArray]
    ) -> "Predictor":
        """The posterior after more observations, by further rows of the Cholesky factor: `O(p n²)`.

        Args:
            X: Where they were made, `p x d`.
            targets: Observations, `p x c` on the scale of y.
            noise: Their noise variances on that scale, `p`.
            joint: What `joint(X)` gave.

        Returns:
            A new predictor with the same hyperparameters and prior mean.
        """
        mean, covariance, half = joint
        n, p, c = len(self.scaled_X), len(X), targets.shape[1]
        corner = inverse_of_factor(cholesky(covariance + np.diag(noise), "covariance of the appended points"))
        inverse = np.zeros((n + p, n + p))
        inverse[:n, :n] = self.inverse_factor
        inverse[n:, :n] = -(corner @ half) @ self.inverse_factor
        inverse[n:, n:] = corner
        return dataclasses.replace(
            self,
            scaled_X=np.concatenate([self.scaled_X, X / self.lengthscales]),
            inverse_factor=inverse,
            diagonal=np.concatenate([self.diagonal, noise]),
            targets=np.concatenate([np.broadcast_to(self.targets, (n, c)), targets]),
            white=np.concatenate([np.broadcast_to(self.white, (n, c)), corner @ (targets - mean)]),
        )


def inverse_of_factor(L: FloatArray) -> FloatArray:
    """Inverse of a lower triangular matrix with a positive diagonal."""
    inverse, _ = dtrtri(L, lower=1)
    result: FloatArray = inverse
    return result


@dataclass(frozen=True)
class Regression:
    """Targets at points, with a prior over the hyperparameters of the kernel that explains them."""

    X: FloatArray
    """Features, `n x d`."""
    y: FloatArray
    """Targets, `n`, of variance about 1."""
    known_variance: FloatArray
    """Noise variance of each target, `n`; 0 where it is learned."""
    unknown: FloatArray
    """1 where the noise is learned, else 0, `n`."""
    kernel: Kernel
    """The prior covariance."""
    center: bool
    """Whether the prior mean is free, or 0."""
    trend: Trend | None = None
    """What the prior mean has besides the constant."""

    @functools.cached_property
    def learns_noise(self) -> bool:
        """Whether theta ends with a log noise variance."""
        return bool(self.unknown.any())

    @functools.cached_property
    def _pairs(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of a triangle of K, `p = n (n - 1) / 2` each: half the work, since k is symmetric."""
        rows, columns = np.tril_indices(len(self.y), -1)
        return rows, columns

    @functools.cached_property
    def _distances(self) -> FloatArray:
        return self.kernel.pair_distances(self.X, *self._pairs)

    def without_noise(self, variance: float) -> "Regression":
        """The same targets as if each had a small known noise variance and nothing were left to learn of it."""
        known = np.where(self.unknown > 0, variance, self.known_variance)
        return dataclasses.replace(self, known_variance=known, unknown=np.zeros_like(self.unknown))

    def subset(self, rows: NDArray[np.intp]) -> "Regression":
        """The same with some of its rows only."""
        return dataclasses.replace(
            self, X=self.X[rows], y=self.y[rows], known_variance=self.known_variance[rows], unknown=self.unknown[rows]
        )

    def diagonal(self, theta: FloatArray) -> FloatArray:
        """Noise variances of the targets, `n`."""
        return self.known_variance + (math.exp(theta[-1]) * self.unknown if self.learns_noise else 0.0)

    @functools.cached_property
    def _prior(self) -> tuple[FloatArray, FloatArray]:
        mean, sd = self.kernel.prior()
        if self.learns_noise:
            mean, sd = np.append(mean, NOISE_LOG_MODE), np.append(sd, NOISE_LOG_SD)
        return mean, sd

    def prior_mode(self) -> FloatArray:
        """Hyperparameters of largest prior density, `h`."""
        return self._prior[0].copy()

    def log_prior(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Log density of theta, and its gradient.

        Args:
            theta: Hyperparameter vectors, `b x h`.

        Returns:
            Log densities, `b`, and their gradients with respect to `theta`, `b x h`.
        """
        mean, sd = self._prior
        z = (theta - mean) / sd
        return -0.5 * (z * z).sum(1) - np.log(sd).sum() - 0.5 * _LOG_2PI * len(sd), -z / sd

    def log_evidence(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Log marginal likelihood of y at the best constant mean, and its gradient.

        With `a = K^-1 (y - mean)` the gradient is `1/2 tr((a a' - K^-1) dK)`: the profiled mean adds nothing, since
        the evidence is stationary in it. A trend's b is integrated out: with values h of its function and b of mean m
        and variance v, y less `m h` has the covariance `K + v h h'` in the place of K.

        Args:
            theta: Hyperparameter vectors, `b x h`.

        Returns:
            Log evidences, `b`, -infinity where K cannot be factored; gradients, `b x h`.
        """
        values = np.empty(len(theta))
        gradients = np.zeros(theta.shape)
        for row, one in enumerate(theta):
            values[row] = self._evidence(one, gradients[row])
        return values, gradients

    def _evidence(self, theta: FloatArray, gradient: FloatArray) -> float:
        y, n = self.y, len(self.y)
        shape = theta[:-1] if self.learns_noise else theta
        k, contract = self.kernel.of_pairs(shape, self._distances)
        pairs = self._pairs
        K = np.zeros((n, n))
        K[pairs] = k
        K.flat[:: n + 1] = 1.0 + self.diagonal(theta)
        # LAPACK's order is by columns: K's lower triangle is the upper one of its transpose.
        L, info = dpotrf(K.T, lower=0, clean=0, overwrite_a=1)
        if info != 0:
            return -math.inf
        log_det = 2.0 * np.log(L.diagonal()).sum()
        triangle, _ = dpotri(L, lower=0, overwrite_c=1)  # the other triangle was and is 0
        inverse = triangle + triangle.T
        inverse.flat[:: n + 1] *= 0.5
        if self.trend is not None:
            h = self.X[:, -1]
            towards = inverse @ h
            precision = self.trend.sd**-2 + float(h @ towards)
            inverse -= np.outer(towards, towards) / precision
            log_det += math.log(self.trend.sd**2 * precision)
            y = y - self.trend.mean * h
        alpha = inverse @ y
        if self.center:
            ones = inverse.sum(1)
            mean = alpha.sum() / ones.sum()
            alpha -= mean * ones
            value = -0.5 * float((y - mean) @ alpha + log_det + n * _LOG_2PI)
        else:
            value = -0.5 * float(y @ alpha + log_det + n * _LOG_2PI)
        if self.learns_noise:
            gradient[-1] = 0.5 * math.exp(theta[-1]) * ((alpha * alpha - inverse.diagonal()) @ self.unknown)
        # Each pair stands for two entries of K, so that the half of the trace is gone.
        gradient[: len(shape)] = contract(alpha[pairs[0]] * alpha[pairs[1]] - inverse[pairs])
        return value

    def search_starts(self) -> FloatArray:
        """Hyperparameter vectors that cover the prior, `b x h`: where a fit starts that knows nothing yet."""
        factors = np.log(np.array(_RESTARTS if self.learns_noise else _RESTARTS[:-1]))
        starts = np.tile(self.prior_mode(), (len(factors), 1))
        starts[:, : self.kernel.n_lengthscales] += factors[:, :1]
        if self.learns_noise:
            starts[:, -1] += factors[:, 1]
        return starts

    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Where theta is searched, `h` each."""
        lower, upper = self.kernel.bounds()
        if self.learns_noise:
            least, most = np.log(NOISE_BOUNDS)
            lower, upper = np.append(lower, least), np.append(upper, most)
        return lower, upper

    def fit(self, starts: FloatArray, max_evaluations: int, tolerance: float = TOLERANCE) -> FloatArray:
        """Hyperparameters where evidence times prior is largest.

        Args:
            starts: Vectors to start from, `b x h`.
            max_evaluations: Evaluations of the whole stack of starts, at most.
            tolerance: A start is done when a step gains less, in nats.

        Returns:
            The best vector found, `h`.

        Raises:
            NotPositiveDefiniteError: If the kernel matrix cannot be factored at any start.
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
            gradient_tolerance=1e-3,
            decrease_tolerance=tolerance,
        )
        if not np.isfinite(values).any():
            n = len(self.y)
            raise NotPositiveDefiniteError(
                f"K_XX ({n} x {n}) cannot be factored at any of {len(starts)} starts of the fit. Likely causes: (a) "
                "many duplicate rows with noise=0.0: merge them or let the noise be learned; (b) features that are "
                "not scaled to about the unit cube."
            )
        best: FloatArray = found[int(np.argmin(values))]
        return best

    def condition(self, theta: FloatArray) -> Predictor:
        """The posterior given hyperparameters.

        Args:
            theta: Hyperparameters, `h`.

        Returns:
            It, on the scale of y.

        Raises:
            NotPositiveDefiniteError: If K cannot be factored with any jitter.
        """
        shape = theta[:-1] if self.learns_noise else theta
        lengthscales = self.kernel.lengthscales(shape)
        scaled = self.X / lengthscales
        k, n = np.zeros((len(scaled), len(scaled))), len(scaled)
        for first in range(0, n, _ROWS):  # a triangle is enough
            end = min(first + _ROWS, n)
            k[first:end, :end] = self.kernel.values(shape, scaled[first:end], scaled[:end])
        diagonal = self.diagonal(theta)
        k.flat[:: len(k) + 1] = 1.0 + diagonal
        inverse_factor = inverse_of_factor(cholesky(k, "K_XX"))
        ones = inverse_factor.sum(1)
        white = inverse_factor @ self.y
        slope, slope_sd = 0.0, 0.0
        if self.trend is not None:
            h, prior_precision = inverse_factor @ self.X[:, -1], self.trend.sd**-2
            along = h - (ones @ h) / (ones @ ones) * ones if self.center else h  # what no constant explains
            precision = along @ along + prior_precision
            slope = float((along @ white + prior_precision * self.trend.mean) / precision)
            slope_sd = float(precision**-0.5)
            white = white - slope * h
        mean = float(ones @ white / (ones @ ones)) if self.center else 0.0
        white = (white - mean * ones)[:, None]
        return Predictor(
            self.kernel,
            shape,
            scaled,
            lengthscales,
            inverse_factor,
            diagonal,
            self.y[:, None],
            white,
            mean,
            slope,
            slope_sd,
        )
