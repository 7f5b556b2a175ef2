"""A Gaussian process around known functions of uncertain weight: a bowl whose centre and depth the data may move.

Alphabet. X: `n x (d + k)`, features that the kernel sees, then values of k known functions. Y: `n x 1`. w: their
weights, normal beforehand with mean m and standard deviations v, `k`. theta: log lengthscales, `g`, log output scale s,
log noise sd. K: covariance of Y less `X m` with the weights integrated out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from botorch.acquisition.objective import PosteriorTransform
from botorch.posteriors.gpytorch import GPyTorchPosterior
from botorch.posteriors.posterior import Posterior
from gpytorch.distributions.multivariate_normal import MultivariateNormal
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular
from torch import Tensor
from typing_extensions import override

from gp.array_kernels import Ard, matern, squared_distances
from gp.data import check_data
from gp.errors import InvalidDataError, NotPositiveDefiniteError
from gp.matern import matern52
from gp.matern import squared_distances as tensor_squared_distances
from gp.models.base import SingleOutputModel, check_output_indices, check_test_inputs
from gp.quasi_newton import minimize

FloatArray = NDArray[np.float64]

_LENGTHSCALE_LOG_SD: Final = 0.5
"""Standard deviations of the priors of the log lengthscales,"""
_SCALE_LOG_SD: Final = 0.7
"""of the log output scale,"""
_NOISE_LOG_SD: Final = 0.5
"""and of the log noise."""
_BOUND: Final = 4.0
"""Where each is searched, in those on either side of its median."""
_JITTER: Final = 1e-9
"""Variance added to every observation, in units of the output scale's median squared."""


class BasisGP(SingleOutputModel):
    """`Y = sum_j w_j h_j + f + noise` with normal weights w and a Matérn-5/2 process f.

    The weights are integrated out, so that few data leave them uncertain and many settle them. In contrast to
    `ExactGP` the output scale and the noise have a prior in units of Y: what is left of a law is known to be small.
    Hyperparameters are those of maximum posterior density after `fit`, and the prior's medians before it.

    Reference: Rasmussen and Williams, "Gaussian Processes for Machine Learning", section 2.7.

    Example:
        >>> x = torch.linspace(0, 1, 6).double()[:, None]
        >>> X = torch.cat([x, torch.ones_like(x), x**2], dim=1)
        >>> model = BasisGP(X, 1.0 + 3.0 * x**2, weight_sd=[10.0, 10.0], scale=0.01, noise=0.001).fit()
        >>> model.weights[0].round(1).tolist()
        [1.0, 3.0]
    """

    def __init__(
        self,
        train_X: Tensor,
        train_Y: Tensor,
        train_Yvar: Tensor | None = None,
        *,
        weight_sd: Sequence[float],
        weight_mean: Sequence[float] | None = None,
        scale: float,
        noise: float,
        groups: Sequence[int] | None = None,
        lengthscale: float = 0.5,
    ) -> None:
        """Check the data and put the hyperparameters at their prior's medians.

        Args:
            train_X: Features, then function values, `n x (d + k)`.
            train_Y: Observations, `n x 1`.
            train_Yvar: Known variances of observations besides the noise, `n x 1`; nan or None for 0.
            weight_sd: Standard deviation of each weight beforehand, `k >= 1`; positive.
            weight_mean: Its mean; None for 0.
            scale: Median of the output scale of f, in units of Y.
            noise: Median of the noise's standard deviation, in units of Y.
            groups: For each feature the index of its lengthscale, `0 .. g - 1`; None gives each its own.
            lengthscale: Median of the lengthscales, in units of the features.

        Raises:
            InvalidDataError: If a shape or a value cannot be used.
        """
        super().__init__()
        check_data(train_X, train_Y, train_Yvar)
        self._sd = np.asarray(weight_sd, dtype=np.float64)
        self._mean = np.zeros(len(self._sd)) if weight_mean is None else np.asarray(weight_mean, dtype=np.float64)
        d = train_X.shape[1] - len(self._sd)
        if d < 1 or len(self._sd) < 1 or self._mean.shape != self._sd.shape or not (self._sd > 0).all():
            raise InvalidDataError(
                f"weight_sd: expected 1 to {train_X.shape[1] - 1} positive numbers, one a function in the last columns "
                f"of X, and as many means, got {list(weight_sd)} and {weight_mean}."
            )
        if not (scale > 0 and noise > 0 and lengthscale > 0):
            raise InvalidDataError(
                f"BasisGP: expected scale, noise and lengthscale > 0, got {scale!r}, {noise!r} and {lengthscale!r}."
            )
        group_array = np.arange(d) if groups is None else np.asarray(groups, dtype=np.intp)
        if len(group_array) != d or set(group_array.tolist()) != set(range(int(group_array.max(initial=0)) + 1)):
            raise InvalidDataError(f"groups: expected {d} indices that use every one of 0 .. g - 1, got {groups}.")
        self.train_X, self.train_Y = train_X, train_Y
        self._kernel, self._d = Ard(group_array), d
        g = self._kernel.n_lengthscales
        self._medians = np.log(np.array([lengthscale] * g + [scale, noise]))
        self._spreads = np.array([_LENGTHSCALE_LOG_SD] * g + [_SCALE_LOG_SD, _NOISE_LOG_SD])
        X = _array(train_X)
        self._Z, self._H = X[:, :d], X[:, d:]
        self._y = _array(train_Y)[:, 0] - self._H @ self._mean
        known = np.zeros(len(X)) if train_Yvar is None else np.nan_to_num(_array(train_Yvar)[:, 0])
        self._known = known + _JITTER * scale**2
        self._among_weights = (self._H * self._sd**2) @ self._H.T
        self._pairs = np.tril_indices(len(X), -1)
        rows, columns = self._pairs
        self._distances = np.zeros((g, len(rows)))
        for column, group in zip(self._Z.T, group_array, strict=True):
            self._distances[group] += np.square(column[rows] - column[columns])
        self.hyperparameters = self._medians.copy()

    @property
    def hyperparameters(self) -> FloatArray:
        """Log lengthscales, `g`, log output scale and log noise, in units of Y."""
        return self._theta

    @hyperparameters.setter
    def hyperparameters(self, theta: FloatArray) -> None:
        self._theta = np.array(theta, dtype=np.float64)
        self._cached: _Solved | None = None

    def fit(self, *, max_evaluations: int = 40) -> "BasisGP":
        """Move the hyperparameters to the maximum of evidence times prior.

        Args:
            max_evaluations: Evaluations of each of three starts, at most.

        Returns:
            This model.

        Raises:
            NotPositiveDefiniteError: If K cannot be factored at any start.
        """
        moves = np.zeros((3, len(self._medians)))
        moves[1, -2], moves[2, :-2] = 1.0, -1.0  # a larger f; a rougher one
        reach = _BOUND * self._spreads
        found, losses = minimize(
            self._losses,
            self._medians + moves * self._spreads,
            self._medians - reach,
            self._medians + reach,
            max_evaluations=max_evaluations,
            gradient_tolerance=1e-3,
            decrease_tolerance=1e-5,
        )
        if not np.isfinite(losses).any():
            raise NotPositiveDefiniteError(
                f"K ({len(self._y)} x {len(self._y)}) cannot be factored at any start of the fit; the known functions "
                "may be larger than 1e7 times the noise: give them in smaller units, or raise noise=."
            )
        self.hyperparameters = found[int(np.argmin(losses))]
        return self

    def log_posterior(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Log evidence plus log prior density (up to its constant) of hyperparameters, and the gradient.

        Args:
            theta: As `hyperparameters`.

        Returns:
            The sum, -infinity where K cannot be factored, and its gradient.
        """
        g, n = self._kernel.n_lengthscales, len(self._y)
        variance, noise = math.exp(2.0 * theta[g]), math.exp(2.0 * theta[g + 1])
        k, contract = self._kernel.of_pairs(theta[:g], self._distances)
        M = np.eye(n)
        M[self._pairs] = k
        M.T[self._pairs] = k
        K = variance * M + self._among_weights
        K.flat[:: n + 1] += noise + self._known
        try:
            L = np.linalg.cholesky(K)
        except np.linalg.LinAlgError:
            return -math.inf, np.zeros(len(theta))
        inverse = cho_solve((L, True), np.eye(n))
        alpha = inverse @ self._y
        z = (theta - self._medians) / self._spreads
        value = -0.5 * float(self._y @ alpha) - float(np.log(L.diagonal()).sum()) - 0.5 * n * math.log(2.0 * math.pi)
        W = np.outer(alpha, alpha) - inverse
        # a pair stands for two entries of K, so that the half of the trace is gone
        of_lengthscales = contract(variance * W[self._pairs])
        gradient = np.concatenate([of_lengthscales, [variance * float((W * M).sum()), noise * float(W.trace())]])
        return value - 0.5 * float(z @ z), gradient - z / self._spreads

    def _losses(self, thetas: FloatArray) -> tuple[FloatArray, FloatArray]:
        each = [self.log_posterior(theta) for theta in thetas]
        return np.array([-value for value, _ in each]), np.array([-gradient for _, gradient in each])

    # -- what it says -------------------------------------------------------------------------------------------------

    @property
    def _solved(self) -> "_Solved":
        if self._cached is None:
            g, n = self._kernel.n_lengthscales, len(self._y)
            variance = math.exp(2.0 * self._theta[g])
            lengthscales = self._kernel.lengthscales(self._theta[:g])
            scaled = self._Z / lengthscales
            K = variance * matern(squared_distances(scaled, scaled))[0] + self._among_weights
            K.flat[:: n + 1] += math.exp(2.0 * self._theta[g + 1]) + self._known
            try:
                L = np.linalg.cholesky(K)
            except np.linalg.LinAlgError:
                raise NotPositiveDefiniteError(f"K ({n} x {n}) cannot be factored; raise noise=.") from None
            self._cached = _Solved(scaled, lengthscales, variance, np.asarray(L), cho_solve((L, True), self._y))
        return self._cached

    @property
    def weights(self) -> tuple[FloatArray, FloatArray]:
        """Posterior mean, `k`, and covariance, `k x k`, of the weights."""
        solved = self._solved
        towards = self._H * self._sd**2
        half = solve_triangular(solved.L, towards, lower=True)
        return self._mean + towards.T @ solved.alpha, np.diag(self._sd**2) - half.T @ half

    @property
    def noise_variance(self) -> float:
        """Variance of a further observation's noise, in units of Y squared."""
        return math.exp(2.0 * self._theta[-1])

    def predict(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Posterior mean and standard deviation on arrays, without noise.

        Args:
            X: Features, then function values, `m x (d + k)`.

        Returns:
            Means and standard deviations, `m` each, in units of Y.
        """
        solved = self._solved
        Z, H = X[:, : self._d], X[:, self._d :]
        k = solved.variance * matern(squared_distances(Z / solved.lengthscales, solved.scaled))[0]
        k += (H * self._sd**2) @ self._H.T
        half = solve_triangular(solved.L, k.T, lower=True)
        variance = solved.variance + (H**2) @ self._sd**2 - np.einsum("nm,nm->m", half, half)
        return H @ self._mean + k @ solved.alpha, np.sqrt(np.maximum(variance, _JITTER * solved.variance))

    def believing(self, X: FloatArray) -> "BasisGP":
        """The model after observations at X that turn out as expected; hyperparameters stay as they are.

        Args:
            X: Features, then function values, `p x (d + k)`.

        Returns:
            A new model; this one is left alone.
        """
        new_X = torch.as_tensor(X).to(self.train_X)
        expected = torch.as_tensor(self.predict(X)[0][:, None]).to(self.train_Y)
        zero, g = _JITTER * math.exp(2.0 * self._medians[-2]), self._kernel.n_lengthscales
        after = BasisGP(
            torch.cat([self.train_X, new_X]),
            torch.cat([self.train_Y, expected]),
            torch.as_tensor(np.append(self._known - zero, np.zeros(len(X)))[:, None]).to(self.train_Y).clamp_min(0.0),
            weight_sd=self._sd.tolist(),
            weight_mean=self._mean.tolist(),
            scale=math.exp(self._medians[g]),
            noise=math.exp(self._medians[g + 1]),
            groups=self._kernel.groups.tolist(),
            lengthscale=math.exp(self._medians[0]),
        )
        after.hyperparameters = self.hyperparameters
        return after

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
            X: Features, then function values, `... x q x (d + k)`.
            output_indices: None or `[0]`.
            observation_noise: True for the posterior of observations; a tensor gives their noise variances in units of
                Y squared, broadcast to `... x q`.
            posterior_transform: Applied to the result.

        Returns:
            A `GPyTorchPosterior` in units of Y, mean `... x q x 1`.

        Raises:
            InvalidDataError: If X has another number of columns, or another output is asked for.
        """
        check_test_inputs(X, self.train_X.shape[-1])
        check_output_indices(output_indices)
        solved = self._solved
        scaled, lengthscales, L, alpha, H, mean, variances = (
            torch.as_tensor(array).to(X)
            for array in (solved.scaled, solved.lengthscales, solved.L, solved.alpha, self._H, self._mean, self._sd**2)
        )
        z, h = X[..., : self._d] / lengthscales, X[..., self._d :]

        def covariance(a: Tensor, g: Tensor, b: Tensor, f: Tensor) -> Tensor:
            return solved.variance * matern52(tensor_squared_distances(a, b)) + (g * variances) @ f.mT

        k = covariance(z, h, scaled, H)
        half = torch.linalg.solve_triangular(L, k.mT, upper=False)
        jitter = _JITTER * solved.variance * torch.eye(X.shape[-2]).to(X)
        joint = covariance(z, h, z, h) - half.mT @ half + jitter
        if isinstance(observation_noise, Tensor):
            joint = joint + torch.diag_embed(observation_noise.expand(joint.shape[:-1]))
        elif observation_noise:
            joint = joint + self.noise_variance * torch.eye(X.shape[-2]).to(X)
        posterior = GPyTorchPosterior(MultivariateNormal(h @ mean + k @ alpha, joint))
        return posterior if posterior_transform is None else posterior_transform(posterior)


@dataclass(frozen=True)
class _Solved:
    """What predictions need at fixed hyperparameters."""

    scaled: FloatArray
    """Features over their lengthscales, `n x d`."""
    lengthscales: FloatArray
    """One a feature, `d`."""
    variance: float
    """Of f."""
    L: FloatArray
    """Cholesky factor of K."""
    alpha: FloatArray
    """`K^-1 (Y - X m)`, `n`."""


def _array(tensor: Tensor) -> FloatArray:
    return tensor.detach().cpu().numpy().astype(np.float64)
