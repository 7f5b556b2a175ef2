"""The exact Gaussian process for small data: Matérn-5/2 with closed-form gradients, fitted in milliseconds.

Alphabet. X: `n x d` features. Y: `n x 1`. y: Y less its offset, over its scale. g: groups of features that share a
lengthscale. l: lengthscales, `g`. r²: squared distance in units of the lengthscales. m: test points. c: columns of
targets that share one kernel matrix (fantasies). b: hyperparameter vectors evaluated at once.

The kernel has unit variance on y, `k(r) = (1 + s + s²/3) exp(-s)` with `s = sqrt(5) r`, and is written as a function
of r² throughout: `dk/d(r²) = -(5/6)(1 + s) exp(-s)` is finite where points coincide, while `dr/dX` is not.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from botorch.acquisition.objective import PosteriorTransform
from botorch.models.model import Model
from botorch.posteriors.gpytorch import GPyTorchPosterior
from botorch.posteriors.posterior import Posterior
from gpytorch.distributions.multivariate_normal import MultivariateNormal
from torch import Tensor
from typing_extensions import override

from gp.errors import InvalidDataError, NotPositiveDefiniteError
from gp.linalg.cholesky import safe_cholesky
from gp.quasi_newton import FloatArray, minimize

LENGTHSCALE_MEDIAN: Final = 0.5
"""Median of the lengthscale prior in one dimension, in units of the cube's side; it grows with sqrt(g)."""
LENGTHSCALE_LOG_SD: Final = 0.7
"""Standard deviation of the log lengthscale under its prior."""
LENGTHSCALE_BOUNDS: Final = (0.025, 1e3)
"""Where the lengthscales are searched, in units of the cube's side."""
NOISE_LOG_MEAN: Final = -4.0
"""Mean of the log noise variance under its prior, in units of the variance of Y."""
NOISE_LOG_SD: Final = 1.0
"""Standard deviation of the log noise variance under its prior."""
NOISE_BOUNDS: Final = (1e-4, 4.0)
"""Where the noise variance is searched, in units of the variance of Y."""
KNOWN_NOISE_FLOOR: Final = 1e-6
"""Least variance of a value whose noise is known, zero included, in units of the variance of Y: keeps K well posed."""
_LEAST_VARIANCE: Final = 1e-12
"""Least predictive variance in units of the variance of Y; below it the difference of ones holds no digit."""
_RESTARTS: Final = ((1.0, 1.0), (2.0, 0.3), (0.5, 30.0))
"""Starts of the fit: factors on the prior's modes of lengthscale and noise (smooth and clean, rough and noisy)."""
_SQRT_5: Final = math.sqrt(5.0)
_LOG_2PI: Final = math.log(2.0 * math.pi)


def _matern(r2: Tensor) -> tuple[Tensor, Tensor]:
    """The kernel and its derivative with respect to r²."""
    s = r2.clamp_min(0.0).sqrt().mul_(_SQRT_5)
    decay = torch.exp(-s)
    slope = (1.0 + s) * decay
    return slope + s.square() * decay / 3.0, slope.mul_(-5.0 / 6.0)


class _Matern(torch.autograd.Function):
    """The kernel as a function of r², differentiable also where r² is 0."""

    @staticmethod
    @override
    def forward(ctx: Any, r2: Tensor) -> Tensor:
        value, slope = _matern(r2)
        ctx.save_for_backward(slope)
        return value

    @staticmethod
    @override
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors
        return grad_outputs[0] * slope


def _squared_distances(A: Tensor, B: Tensor) -> Tensor:
    """Squared Euclidean distances between the rows of `... x m x d` and `... x n x d`; never negative."""
    products = A @ B.mT
    return (A.square().sum(-1)[..., :, None] + B.square().sum(-1)[..., None, :] - 2.0 * products).clamp_min(0.0)


@dataclass(frozen=True)
class Prediction:
    """Means and variances at test points, and the way back from them to the points."""

    mean: Tensor
    """Posterior means, `m x c`, in units of Y."""
    variance: Tensor
    """Posterior variances of the latent function, `m`, in units of Y squared; shared by the columns."""
    _predictor: "Predictor"
    _scaled: Tensor
    _slope: Tensor
    _solved: Tensor

    def pullback(self, grad_mean: Tensor, grad_variance: Tensor) -> Tensor:
        """Gradient with respect to the test points of a function of the means and variances.

        Args:
            grad_mean: The function's derivatives with respect to `mean`, `m x c`.
            grad_variance: Its derivatives with respect to `variance`, `m`.

        Returns:
            Derivatives with respect to the features of each test point, `m x d`.
        """
        p = self._predictor
        weights = (p.scale * grad_mean) @ p.alpha.mT
        weights -= (2.0 * p.scale**2) * grad_variance[:, None] * self._solved
        weights *= self._slope
        return (weights.sum(1, keepdim=True) * self._scaled - weights @ p.scaled_X) * (2.0 / p.lengthscales)


@dataclass(frozen=True)
class Predictor:
    """A conditioned Gaussian process with everything precomputed: predicts without building a graph."""

    scaled_X: Tensor
    """Conditioning points over their lengthscales, `n x d`."""
    lengthscales: Tensor
    """One a feature, `d`."""
    inverse_factor: Tensor
    """Inverse of the Cholesky factor of the kernel matrix, `n x n`."""
    alpha: Tensor
    """Kernel matrix solved against the centred targets, `n x c`."""
    mean: Tensor
    """The prior mean on y, a scalar."""
    offset: float
    """What y = 0 stands for, in units of Y."""
    scale: float
    """What a unit of y stands for, in units of Y."""

    def predict(self, X: Tensor) -> Prediction:
        """Posterior at `m x d` test points, each on its own; cost `O(m n (n + d + c))`."""
        scaled = X / self.lengthscales
        k, slope = _matern(_squared_distances(scaled, self.scaled_X))
        half = k @ self.inverse_factor.mT
        variance = (1.0 - half.square().sum(1)).clamp_min(_LEAST_VARIANCE)
        return Prediction(
            mean=self.offset + self.scale * (self.mean + k @ self.alpha),
            variance=self.scale**2 * variance,
            _predictor=self,
            _scaled=scaled,
            _slope=slope,
            _solved=half @ self.inverse_factor,
        )


class ExactGP(Model):
    """Gaussian process regression with a Matérn-5/2 kernel, one lengthscale a group of features.

    Hyperparameters are those of maximum posterior density after `fit`, and the prior's modes before it. The prior mean
    is a constant: at its generalised least squares value for the hyperparameters at hand (profiled, so the evidence
    carries no term for its uncertainty), or zero with `center=False`.

    Reference: Rasmussen and Williams, "Gaussian Processes for Machine Learning", chapters 2 and 5; Hvarfner et al.
    2024, "Vanilla Bayesian Optimization Performs Great in High Dimensions", for a prior that grows with the dimension.

    Example:
        >>> X = torch.linspace(0, 1, 8).double()[:, None]
        >>> model = ExactGP(X, torch.sin(6 * X), noise=0.0).fit()
        >>> (model.posterior(X).mean - torch.sin(6 * X)).abs().max() < 1e-4
        tensor(True)
    """

    def __init__(
        self,
        train_X: Tensor,
        train_Y: Tensor,
        train_Yvar: Tensor | None = None,
        *,
        groups: Sequence[int] | None = None,
        noise: float | None = None,
        center: bool = True,
        lengthscale_median: float | None = None,
    ) -> None:
        """Standardise the data and put the hyperparameters at their prior's modes.

        Args:
            train_X: Features, `n x d`, float64; scaled so that a side of the search space has length about 1.
            train_Y: Observations, `n x 1`.
            train_Yvar: Known noise variances, `n x 1`, in units of Y squared; nan where unknown, None where all are.
            groups: For each feature the index of its lengthscale, `0 .. g - 1`; None gives each its own.
            noise: Standard deviation of the noise of the values without a known variance, in units of Y; 0.0 for
                deterministic ones, None to learn it.
            center: Whether Y is centred and the prior mean free; otherwise Y is divided by its root mean square and the
                prior mean stays 0, so that a sign in Y keeps its meaning.
            lengthscale_median: Median of the log-normal lengthscale prior; None for `0.5 sqrt(g)`.

        Raises:
            InvalidDataError: If a shape, a dtype or a value cannot be used.
        """
        super().__init__()
        _check_data(train_X, train_Y, train_Yvar)
        d = train_X.shape[1]
        self.groups = tuple(range(d)) if groups is None else tuple(groups)
        self.n_lengthscales = max(self.groups, default=-1) + 1
        if len(self.groups) != d or set(self.groups) != set(range(self.n_lengthscales)):
            raise InvalidDataError(
                f"groups: expected one index a feature ({d} of them), using every one of 0 .. g - 1, got {self.groups}."
            )
        if noise is not None and not (math.isfinite(noise) and noise >= 0):
            raise InvalidDataError(f"noise: expected a finite standard deviation >= 0, or None, got {noise!r}.")
        self.center = center
        self.offset = float(train_Y.mean()) if center else 0.0
        self.scale = _spread(train_Y - self.offset)
        self.train_X, self.train_Y = train_X, train_Y
        self._y = ((train_Y - self.offset) / self.scale)[:, 0]
        unknown = torch.ones_like(self._y, dtype=torch.bool) if train_Yvar is None else train_Yvar[:, 0].isnan()
        known = torch.zeros_like(self._y) if train_Yvar is None else train_Yvar[:, 0].nan_to_num(0.0)
        if noise is not None:
            known = torch.where(unknown, noise**2, known)
            unknown = torch.zeros_like(unknown)
        self._known_variance = torch.where(unknown, 0.0, known / self.scale**2 + KNOWN_NOISE_FLOOR)
        self._unknown = unknown.to(self._y)
        self.learns_noise = bool(unknown.any())
        median = (
            LENGTHSCALE_MEDIAN * math.sqrt(self.n_lengthscales) if lengthscale_median is None else lengthscale_median
        )
        self._lengthscale_log_median = math.log(median)
        self._cached: Predictor | None = None
        self.hyperparameters = self._prior_mode()

    # -- hyperparameters ------------------------------------------------------------------------------------------

    @property
    def hyperparameters(self) -> FloatArray:
        """Log lengthscales, `g`, then the log noise variance of y if that is learned."""
        return self._theta

    @hyperparameters.setter
    def hyperparameters(self, theta: FloatArray) -> None:
        self._theta = np.array(theta, dtype=np.float64)
        self._cached = None

    @property
    def lengthscales(self) -> Tensor:
        """One lengthscale a feature, `d`."""
        scales = np.exp(self._theta[: self.n_lengthscales])
        return torch.as_tensor(scales[list(self.groups)]).to(self.train_X)

    @property
    def noise_variance(self) -> float:
        """Noise variance of a further observation, in units of Y squared: the learned one, else the median known."""
        if self.learns_noise:
            return float(np.exp(self._theta[-1])) * self.scale**2
        return float(self._known_variance.median()) * self.scale**2

    def _prior_mode(self) -> FloatArray:
        mode = np.full(self.n_lengthscales + self.learns_noise, self._lengthscale_log_median - LENGTHSCALE_LOG_SD**2)
        if self.learns_noise:
            mode[-1] = NOISE_LOG_MEAN - NOISE_LOG_SD**2
        return mode

    def log_prior(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Log density of lengthscales and noise variance (not of their logs), and its gradient.

        Args:
            theta: Hyperparameter vectors, `b x h`.

        Returns:
            Log densities, `b`, and their gradients with respect to `theta`, `b x h`.
        """
        mean = np.full(theta.shape[1], self._lengthscale_log_median)
        sd = np.full(theta.shape[1], LENGTHSCALE_LOG_SD)
        if self.learns_noise:
            mean[-1], sd[-1] = NOISE_LOG_MEAN, NOISE_LOG_SD
        z = (theta - mean) / sd
        constant = -np.log(sd).sum() - 0.5 * _LOG_2PI * theta.shape[1]
        return (-theta - 0.5 * z * z).sum(1) + constant, -1.0 - z / sd

    def log_evidence(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Log marginal likelihood of y at the best constant mean, and its gradient; no graph is built.

        With `K = k + noise` and `a = K^-1 (y - mean)`, the gradient is `1/2 tr((a a' - K^-1) dK)`: the profiled mean
        adds nothing, since the evidence is stationary in it.

        Args:
            theta: Hyperparameter vectors, `b x h`.

        Returns:
            Log evidences of the standardised values y, `b`, -infinity where K cannot be factored; gradients with
            respect to `theta`, `b x h`.
        """
        y = self._y
        n, g = y.shape[0], self.n_lengthscales
        t = torch.as_tensor(theta).to(y)
        precision = torch.exp(-2.0 * t[:, :g])
        k, slope = _matern((precision @ self._group_distances).view(-1, n, n))
        diagonal = self._known_variance.expand(len(t), n)
        if self.learns_noise:
            noise = torch.exp(t[:, -1:])
            diagonal = diagonal + noise * self._unknown
        k.diagonal(dim1=1, dim2=2).add_(diagonal)
        L, info = torch.linalg.cholesky_ex(k)
        L = torch.where((info == 0)[:, None, None], L, torch.eye(n).to(y))
        inverse = torch.cholesky_inverse(L)
        solved = inverse @ y
        mean = solved.sum(1) / inverse.sum((1, 2)) if self.center else torch.zeros_like(solved[:, 0])
        alpha = solved - mean[:, None] * inverse.sum(2)
        residual = y - mean[:, None]
        log_det = 2.0 * L.diagonal(dim1=1, dim2=2).log().sum(1)
        value = -0.5 * (residual * alpha).sum(1) - 0.5 * log_det - 0.5 * n * _LOG_2PI
        inner = alpha[:, :, None] * alpha[:, None, :] - inverse
        gradient = torch.zeros_like(t)
        gradient[:, :g] = -precision * ((inner * slope).view(-1, n * n) @ self._group_distances.mT)
        if self.learns_noise:
            gradient[:, -1] = 0.5 * noise[:, 0] * (inner.diagonal(dim1=1, dim2=2) @ self._unknown)
        value = torch.where(info == 0, value, -math.inf)
        return value.cpu().numpy(), gradient.cpu().numpy()

    @property
    def log_posterior(self) -> float:
        """Log evidence plus log prior at the present hyperparameters, of the standardised values y."""
        theta = self._theta[None]
        return float(self.log_evidence(theta)[0][0] + self.log_prior(theta)[0][0])

    @property
    def _group_distances(self) -> Tensor:
        """Squared distances along each group's features, `g x n²`."""
        if self._distances is None:
            differences = self.train_X[:, None, :] - self.train_X[None, :, :]
            groups = torch.tensor(self.groups, device=self.train_X.device)
            flat = differences.square_().view(-1, len(self.groups)).mT
            shape = (self.n_lengthscales, flat.shape[1])
            self._distances = torch.zeros(shape).to(flat).index_add_(0, groups, flat)
        return self._distances

    _distances: Tensor | None = None

    def fit(self, *, starts: FloatArray | None = None, max_evaluations: int = 30) -> "ExactGP":
        """Move the hyperparameters to the maximum of evidence times prior.

        Args:
            starts: Hyperparameter vectors to start from, `b x h`; None for three that cover the prior.
            max_evaluations: Evaluations of the whole stack of starts, at most.

        Returns:
            This model.

        Raises:
            NotPositiveDefiniteError: If the kernel matrix cannot be factored at any start.
        """
        if starts is None:
            starts = np.tile(self._prior_mode(), (len(_RESTARTS), 1))
            factors = np.log(np.array(_RESTARTS))
            starts[:, : self.n_lengthscales] += factors[:, :1]
            if self.learns_noise:
                starts[:, -1] += factors[:, 1]
        lower = np.full(starts.shape[1], math.log(LENGTHSCALE_BOUNDS[0]))
        upper = np.full(starts.shape[1], math.log(LENGTHSCALE_BOUNDS[1]))
        if self.learns_noise:
            lower[-1], upper[-1] = np.log(NOISE_BOUNDS)

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
            decrease_tolerance=1e-4,  # in nats: 1e-7 cost 50 evaluations instead of 35 and gained 2e-4 nats
        )
        if not np.isfinite(values).any():
            raise NotPositiveDefiniteError(
                f"K_XX ({len(self._y)} x {len(self._y)}) cannot be factored at any of {len(starts)} starts of the fit. "
                "Likely causes: (a) many duplicate rows with noise=0.0: merge them or let the noise be learned; "
                "(b) features that are not scaled to about the unit cube."
            )
        self.hyperparameters = found[int(np.argmin(values))]
        return self

    # -- prediction -----------------------------------------------------------------------------------------------

    @property
    def predictor(self) -> Predictor:
        """The posterior at the present hyperparameters, for prediction without a graph."""
        if self._cached is None:
            self._cached = self._condition(self.train_X, self._diagonal, self._y[:, None])
        return self._cached

    @property
    def _diagonal(self) -> Tensor:
        noise = math.exp(self._theta[-1]) if self.learns_noise else 0.0
        return self._known_variance + noise * self._unknown

    def _condition(self, X: Tensor, diagonal: Tensor, targets: Tensor, mean: Tensor | None = None) -> Predictor:
        """Condition on targets (`n x c`, on the scale of y) at X; `mean` is None where it is to be estimated."""
        lengthscales = self.lengthscales
        scaled = X / lengthscales
        k, _ = _matern(_squared_distances(scaled, scaled))
        k.diagonal().copy_(1.0 + diagonal)
        L = safe_cholesky(k, "K_XX")
        inverse_factor = torch.linalg.solve_triangular(L, torch.eye(len(L)).to(L), upper=False)
        if mean is None:
            ones = inverse_factor.sum(1)
            best = (ones @ (inverse_factor @ targets[:, 0])) / ones.square().sum()
            mean = best if self.center else torch.zeros_like(best)
        alpha = inverse_factor.mT @ (inverse_factor @ (targets - mean))
        return Predictor(scaled, lengthscales, inverse_factor, alpha, mean, self.offset, self.scale)

    def fantasies(self, X: Tensor, normals: Tensor) -> tuple[Predictor, Tensor]:
        """Posteriors after pretended observations at X, one for each joint draw of them.

        The draws shift the mean and share the variance, so that a single factorisation serves them all.

        Args:
            X: Where to pretend, `p x d`.
            normals: Standard normal numbers, `p x c`; each column makes one joint draw from the noisy posterior at X.

        Returns:
            The posteriors, with `c` columns of means, and the pretended observations, `p x c`, in units of Y.
        """
        base = self.predictor
        scaled = X / base.lengthscales
        half = _matern(_squared_distances(scaled, base.scaled_X))[0] @ base.inverse_factor.mT
        noise = self.noise_variance / self.scale**2
        k = _matern(_squared_distances(scaled, scaled))[0] - half @ half.mT
        k.diagonal().add_(noise)
        mean = base.mean + half @ (base.inverse_factor @ (self._y - base.mean))
        drawn = mean[:, None] + safe_cholesky(k, "fantasy covariance") @ normals
        targets = torch.cat([self._y[:, None].expand(-1, drawn.shape[1]), drawn])
        diagonal = torch.cat([self._diagonal, drawn.new_full((len(X),), noise)])
        after = self._condition(torch.cat([self.train_X, X]), diagonal, targets, base.mean)
        return after, self.offset + self.scale * drawn

    @property
    @override
    def num_outputs(self) -> int:
        """Always 1."""
        return 1

    @property
    @override
    def batch_shape(self) -> torch.Size:
        """Always empty: one model, not a batch."""
        return torch.Size()

    @override
    def posterior(
        self,
        X: Tensor,
        output_indices: list[int] | None = None,
        observation_noise: bool | Tensor = False,
        posterior_transform: PosteriorTransform | None = None,
    ) -> Posterior:
        """Joint posterior at q test points, differentiable with respect to them.

        Args:
            X: Features, `... x q x d`.
            output_indices: None or `[0]`.
            observation_noise: True for the posterior of observations; a tensor gives their noise variances in units of
                Y squared, broadcast to `... x q`.
            posterior_transform: Applied to the result.

        Returns:
            A `GPyTorchPosterior` in units of Y, mean `... x q x 1`.

        Raises:
            InvalidDataError: If X has another number of features, or another output is asked for.
        """
        if X.shape[-1] != self.train_X.shape[-1]:
            raise InvalidDataError(f"X: expected `... x q x d` with d={self.train_X.shape[-1]}, got {tuple(X.shape)}.")
        if output_indices not in (None, [0]):
            raise InvalidDataError(f"output_indices: there is one output, expected None or [0], got {output_indices}.")
        p = self.predictor
        scaled = X / p.lengthscales
        half = _Matern.apply(_squared_distances(scaled, p.scaled_X)) @ p.inverse_factor.mT
        mean = p.mean + half @ (p.inverse_factor @ (self._y - p.mean))
        covariance = _Matern.apply(_squared_distances(scaled, scaled)) - half @ half.mT
        eye = torch.eye(X.shape[-2]).to(X)
        covariance = self.scale**2 * (covariance + _LEAST_VARIANCE * eye)
        if isinstance(observation_noise, Tensor):
            covariance = covariance + torch.diag_embed(observation_noise.expand(covariance.shape[:-1]))
        elif observation_noise:
            covariance = covariance + self.noise_variance * eye
        posterior = GPyTorchPosterior(MultivariateNormal(self.offset + self.scale * mean, covariance))
        return posterior if posterior_transform is None else posterior_transform(posterior)

    @override
    def condition_on_observations(self, X: Tensor, Y: Tensor, noise: Tensor | None = None, **_: Any) -> "ExactGP":
        """The model after further observations; hyperparameters, scaling and prior mean stay as they are.

        Args:
            X: Features, `k x d`.
            Y: Observations, `k x 1`.
            noise: Their noise variances, `k x 1`, in units of Y squared; None for those of this model.

        Returns:
            A new model; this one is left alone.

        Raises:
            InvalidDataError: If a shape or value cannot be used.
        """
        _check_data(X, Y, noise)
        if X.shape[-1] != self.train_X.shape[-1]:
            raise InvalidDataError(f"X: expected `k x d` with d={self.train_X.shape[-1]}, got {tuple(X.shape)}.")
        variance = torch.full_like(Y, self.noise_variance) if noise is None else noise
        after = object.__new__(type(self))
        after.__dict__.update(self.__dict__)
        after.train_X, after.train_Y = torch.cat([self.train_X, X]), torch.cat([self.train_Y, Y])
        after._y = ((after.train_Y - self.offset) / self.scale)[:, 0]
        after._known_variance = torch.cat([self._known_variance, variance[:, 0] / self.scale**2])
        after._unknown = torch.cat([self._unknown, torch.zeros_like(Y[:, 0])])
        after._distances = None
        after._cached = after._condition(after.train_X, after._diagonal, after._y[:, None], self.predictor.mean)
        return after


def _spread(Y: Tensor) -> float:
    """Root mean square, or 1 where all values are (nearly) zero."""
    spread = float(Y.square().mean().sqrt())
    return spread if spread > 1e-12 else 1.0


def _check_data(X: Tensor, Y: Tensor, Yvar: Tensor | None) -> None:
    if X.dim() != 2 or Y.shape != (X.shape[0], 1) or X.shape[0] == 0 or X.shape[1] == 0:
        raise InvalidDataError(
            f"expected X `n x d` and Y `n x 1` with n, d >= 1, got {tuple(X.shape)}, {tuple(Y.shape)}."
        )
    if X.dtype not in (torch.float32, torch.float64) or Y.dtype != X.dtype:
        raise InvalidDataError(f"expected X and Y both float64 or both float32, got {X.dtype} and {Y.dtype}.")
    if not (torch.isfinite(X).all() and torch.isfinite(Y).all()):
        raise InvalidDataError("X and Y must be finite; leave failed observations out.")
    if Yvar is not None and (Yvar.shape != Y.shape or not (Yvar.isnan() | (Yvar >= 0)).all()):
        raise InvalidDataError(
            f"Yvar: expected variances >= 0 (nan where unknown) of shape {tuple(Y.shape)}, got {tuple(Yvar.shape)}."
        )
