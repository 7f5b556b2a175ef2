"""The exact Gaussian process for small data as a BoTorch model: Matérn-5/2, fitted in milliseconds.

Alphabet. X: `n x d` features. Y: `n x 1`. y: Y less its offset, over its scale. g: groups of features that share a
lengthscale. m: test points. b: hyperparameter vectors evaluated at once.

The algebra of fitting and of the loop's predictions is `gp.regression`, on arrays; `posterior` is differentiable by
autograd and stays on the device of its input.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from botorch.acquisition.objective import PosteriorTransform
from botorch.posteriors.gpytorch import GPyTorchPosterior
from botorch.posteriors.posterior import Posterior
from gpytorch.distributions.multivariate_normal import MultivariateNormal
from torch import Tensor
from typing_extensions import override

from gp.array_kernels import UNSEEN, Anova, Ard, FloatArray
from gp.data import check_data
from gp.errors import InvalidDataError
from gp.matern import matern52, squared_distances
from gp.models.base import SingleOutputModel, check_output_indices, check_test_inputs
from gp.regression import LEAST_VARIANCE, TOLERANCE, Predictor, Regression, Trend, cholesky

_LEFT_OPEN: Final = 0.1
"""What a trend leaves open has, as one more observation beside the data, this share of the variance of Y: what two or
three values leave of a line says nothing of how far the next one lies from it."""
KNOWN_NOISE_FLOOR: Final = 1e-6
"""Least variance of a value whose noise is known, zero included, in units of the variance of Y: keeps K well posed."""


class ExactGP(SingleOutputModel):
    """Gaussian process regression with a Matérn-5/2 kernel, one lengthscale a group of features.

    Hyperparameters are those of maximum posterior density after `fit`, and the prior's modes before it. The prior mean
    is a constant: at its generalised least squares value for the hyperparameters at hand (profiled, so the evidence
    carries no term for its uncertainty), or zero with `center=False`. With a `trend` a known function comes on top,
    times a coefficient that the evidence integrates over and predictions take at its posterior mean; y is then Y over
    what the function leaves open.

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
        additive: bool = False,
        trend: Trend | None = None,
    ) -> None:
        """Standardise the data and put the hyperparameters at their prior's modes.

        Args:
            train_X: Features, `n x d`, float64; scaled so that a side of the search space has length about 1.
            train_Y: Observations, `n x 1`.
            train_Yvar: Known noise variances, `n x 1`, in units of Y squared; nan where unknown, None where all are.
            groups: For each feature the index of its lengthscale, `0 .. g - 1`, or -1 for one that the kernel does not
                look at; None gives each its own.
            noise: Standard deviation of the noise of the values without a known variance, in units of Y; 0.0 for
                deterministic ones, None to learn it.
            center: Whether Y is centred and the prior mean free; otherwise Y is divided by its root mean square and the
                prior mean stays 0, so that a sign in Y keeps its meaning.
            lengthscale_median: Median of the log-normal lengthscale prior; None for `0.5 sqrt(g)`.
            additive: Whether the kernel is `Anova`, for sums of functions of few variables, instead of `Ard`.
            trend: A known function in the prior mean, whose values are the last feature, one of group -1; its
                coefficient is in units of Y a unit of that feature.

        Raises:
            InvalidDataError: If a shape, a dtype or a value cannot be used.
        """
        super().__init__()
        check_data(train_X, train_Y, train_Yvar)
        d = train_X.shape[1]
        self.groups = tuple(range(d)) if groups is None else tuple(groups)
        n_groups = max(self.groups, default=-1) + 1
        if len(self.groups) != d or set(self.groups) - {UNSEEN} != set(range(max(n_groups, 1))):
            raise InvalidDataError(
                f"groups: expected one index a feature ({d} of them), using every one of 0 .. g - 1 and at most -1 "
                f"beside them, got {self.groups}."
            )
        if trend is not None and not (center and self.groups[-1] == UNSEEN and trend.sd > 0):
            raise InvalidDataError(
                f"trend: expected a positive sd, a last feature of group -1 and center=True, got {trend}, the group "
                f"{self.groups[-1]} and center={center}."
            )
        if noise is not None and not (math.isfinite(noise) and noise >= 0):
            raise InvalidDataError(f"noise: expected a finite standard deviation >= 0, or None, got {noise!r}.")
        self.center = center
        self.offset = float(train_Y.mean()) if center else 0.0
        self.scale = _spread(train_Y - self.offset)
        if trend is not None:
            self.scale = _left_open(train_Y[:, 0] - self.offset, train_X[:, -1], trend)
        self.train_X, self.train_Y = train_X, train_Y
        y = _array(train_Y)[:, 0]
        unknown = np.ones(len(y), dtype=bool) if train_Yvar is None else np.isnan(_array(train_Yvar)[:, 0])
        known = np.zeros(len(y)) if train_Yvar is None else np.nan_to_num(_array(train_Yvar)[:, 0])
        if noise is not None:
            known = np.where(unknown, noise**2, known)
            unknown = np.zeros_like(unknown)
        group_array = np.array(self.groups, dtype=np.intp)
        self.regression = Regression(
            X=_array(train_X),
            y=(y - self.offset) / self.scale,
            known_variance=np.where(unknown, 0.0, known / self.scale**2 + KNOWN_NOISE_FLOOR),
            unknown=unknown.astype(np.float64),
            kernel=Anova(group_array) if additive else Ard(group_array, lengthscale_median),
            center=center,
            trend=None if trend is None else Trend(trend.mean / self.scale, trend.sd / self.scale),
        )
        self._cached: Predictor | None = None
        self.hyperparameters = self.regression.prior_mode()

    # -- hyperparameters ------------------------------------------------------------------------------------------

    @property
    def hyperparameters(self) -> FloatArray:
        """Log lengthscales, `g`, what else the kernel has, then the log noise variance of y if that is learned."""
        return self._theta

    @hyperparameters.setter
    def hyperparameters(self, theta: FloatArray) -> None:
        self._theta = np.array(theta, dtype=np.float64)
        self._cached = None

    @property
    def learns_noise(self) -> bool:
        """Whether the noise of some value is learned."""
        return self.regression.learns_noise

    @property
    def lengthscales(self) -> Tensor:
        """One lengthscale a feature, `d`."""
        return torch.as_tensor(self.regression.kernel.lengthscales(self._theta)).to(self.train_X)

    @property
    def noise_variance(self) -> float:
        """Noise variance of a further observation, in units of Y squared: the learned one, else the median known."""
        if self.learns_noise:
            return float(np.exp(self._theta[-1])) * self.scale**2
        return float(np.median(self.regression.known_variance)) * self.scale**2

    @property
    def noise_variances(self) -> Tensor:
        """Noise variance of each observation, `n x 1`, in units of Y squared."""
        return torch.as_tensor(self.regression.diagonal(self._theta)).to(self.train_Y)[:, None] * self.scale**2

    @property
    def log_posterior(self) -> float:
        """Log evidence plus log prior at the present hyperparameters, of the standardised values y."""
        theta = self._theta[None]
        return float(self.regression.log_evidence(theta)[0][0] + self.regression.log_prior(theta)[0][0])

    def fit(
        self, *, starts: FloatArray | None = None, max_evaluations: int = 30, tolerance: float = TOLERANCE
    ) -> "ExactGP":
        """Move the hyperparameters to the maximum of evidence times prior.

        Args:
            starts: Hyperparameter vectors to start from, `b x h`; None for three that cover the prior.
            max_evaluations: Evaluations of the whole stack of starts, at most.
            tolerance: A start is done when a step gains less, in nats.

        Returns:
            This model.

        Raises:
            NotPositiveDefiniteError: If the kernel matrix cannot be factored at any start.
        """
        starts = self.regression.search_starts() if starts is None else starts
        self.hyperparameters = self.regression.fit(starts, max_evaluations, tolerance)
        return self

    # -- prediction -----------------------------------------------------------------------------------------------

    @property
    def predictor(self) -> Predictor:
        """The posterior at the present hyperparameters on arrays, for prediction without a graph."""
        if self._cached is None:
            on_y = self.regression.condition(self._theta)
            self._cached = dataclasses.replace(on_y, offset=self.offset, scale=self.scale)
        return self._cached

    def fantasies(self, X: FloatArray, normals: FloatArray) -> tuple[Predictor, FloatArray]:
        """Posteriors after pretended observations at X, one for each joint draw of them.

        The draws shift the mean and share the variance, so that a single factorisation serves them all.

        Args:
            X: Where to pretend, `p x d`.
            normals: Standard normal numbers, `p x c`; each column makes one joint draw from the noisy posterior at X.

        Returns:
            The posteriors, with `c` columns of means, and the pretended observations, `p x c`, in units of Y.
        """
        joint = mean, covariance, _ = self.predictor.joint(X)
        noise = np.full(len(X), self.noise_variance / self.scale**2)
        drawn = mean + cholesky(covariance + np.diag(noise), "fantasy covariance") @ normals
        return self.predictor.append(X, drawn, noise, joint), self.offset + self.scale * drawn

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
        check_test_inputs(X, self.train_X.shape[-1])
        check_output_indices(output_indices)
        p = self.predictor
        lengthscales, scaled_X, inverse_factor, white = (
            torch.as_tensor(array).to(X) for array in (p.lengthscales, p.scaled_X, p.inverse_factor, p.white[:, 0])
        )
        scaled = X / lengthscales
        half = _between(p, scaled, scaled_X) @ inverse_factor.mT
        mean = p.mean + half @ white
        if p.slope != 0.0:
            mean = mean + p.slope * X[..., -1]
        covariance = _between(p, scaled, scaled) - half @ half.mT
        eye = torch.eye(X.shape[-2]).to(X)
        covariance = self.scale**2 * (covariance + LEAST_VARIANCE * eye)
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
        check_data(X, Y, noise)
        if X.shape[-1] != self.train_X.shape[-1]:
            raise InvalidDataError(f"X: expected `k x d` with d={self.train_X.shape[-1]}, got {tuple(X.shape)}.")
        variance = torch.full_like(Y, self.noise_variance) if noise is None else noise
        after = object.__new__(type(self))
        after.__dict__.update(self.__dict__)
        after.train_X, after.train_Y = torch.cat([self.train_X, X]), torch.cat([self.train_Y, Y])
        new_X, new_Y, variances = _array(X), _array(Y), _array(variance)[:, 0] / self.scale**2
        y = (new_Y - self.offset) / self.scale
        before = self.regression
        after.regression = dataclasses.replace(
            before,
            X=np.concatenate([before.X, new_X]),
            y=np.concatenate([before.y, y[:, 0]]),
            known_variance=np.concatenate([before.known_variance, variances]),
            unknown=np.concatenate([before.unknown, np.zeros(len(y))]),
        )
        after._cached = self.predictor.append(new_X, y, variances, self.predictor.joint(new_X))
        return after


def _between(predictor: Predictor, A: Tensor, B: Tensor) -> Tensor:
    """`Predictor.between` for autograd: `... x m x d` and `... x n x d` points over their lengthscales."""
    kernel = predictor.kernel
    if not isinstance(kernel, Anova):
        return matern52(squared_distances(A, B))
    share = 1.0 / (1.0 + math.exp(-predictor.theta[-1]))
    product = torch.ones(()).to(A)
    for group in range(kernel.n_lengthscales):
        columns = torch.as_tensor(np.flatnonzero(kernel.groups == group), device=A.device)
        each = matern52(squared_distances(A[..., columns], B[..., columns]))
        product = product * (1.0 - share + share * each)
    return product


def _array(tensor: Tensor) -> FloatArray:
    return tensor.detach().cpu().numpy().astype(np.float64)


def _spread(Y: Tensor) -> float:
    """Root mean square, or 1 where all values are (nearly) zero."""
    spread = float(Y.square().mean().sqrt())
    return spread if spread > 1e-12 else 1.0


def _left_open(Y: Tensor, h: Tensor, trend: Trend) -> float:
    """Root mean square of centred values, `n`, less their line in h with a slope within two sd of the expected one."""
    h = h - h.mean()
    size = float(h @ h)
    fitted = float(h @ Y) / size if size > 0 else trend.mean
    slope = min(max(fitted, trend.mean - 2.0 * trend.sd), trend.mean + 2.0 * trend.sd)
    rest = (Y - slope * h).square().sum() + _LEFT_OPEN * Y.square().mean()
    return _spread(rest.sqrt() / math.sqrt(len(Y) + 1.0))
