"""Gaussian process regression through inducing points, their distribution solved for: as a BoTorch model.

Alphabet. X: `n x d` features. y: outcomes less their offset, over their scale. Z: `m x d` inducing points. s2: noise
variance of y. A: `L_zz^-1 K_zx / s`. B: `I + A A^T`.
"""

import copy
import math
from typing import Any, Final, NamedTuple

import torch
from botorch.acquisition.objective import PosteriorTransform
from botorch.models.utils.inducing_point_allocators import GreedyVarianceReduction
from botorch.posteriors.gpytorch import GPyTorchPosterior
from botorch.posteriors.posterior import Posterior
from gpytorch.constraints.constraints import GreaterThan
from gpytorch.distributions.multivariate_normal import MultivariateNormal
from gpytorch.kernels.kernel import Kernel
from gpytorch.kernels.matern_kernel import MaternKernel
from gpytorch.kernels.scale_kernel import ScaleKernel
from gpytorch.likelihoods.gaussian_likelihood import GaussianLikelihood
from gpytorch.means.constant_mean import ConstantMean
from gpytorch.module import Module
from gpytorch.priors.torch_priors import LogNormalPrior
from torch import Tensor
from typing_extensions import override

from gp.errors import InvalidDataError
from gp.fitting import FitReport, fit_hyperparameters
from gp.linalg.cholesky import safe_cholesky
from gp.models.base import (
    OutcomeScale,
    SingleOutputModel,
    all_equal,
    check_inputs,
    check_output_indices,
    check_test_inputs,
    reach,
)

_JITTER: Final = 1e-6
"""Added to K_zz, relative to its mean diagonal: inducing points come close to one another while they move."""
_NOISE_FLOOR: Final = 1e-6
"""Least noise variance of y."""
_NOISE_START: Final = 0.1
"""Noise variance of y where the search begins: from much less the bound has a maximum that explains all as signal."""
_LENGTHSCALE_START: Final = 0.3
"""In units of each feature's range."""


class SparseGP(SingleOutputModel, Module):
    """A Gaussian process of many points with Gaussian noise, seen through m inducing points.

    The best distribution of the inducing values is known in closed form, so that all that is searched, by L-BFGS on all
    data, are the hyperparameters and the inducing points: a step costs `n m^2`. The bound is below the evidence, and
    equal to it where Z holds X.

    Reference: Titsias 2009, "Variational Learning of Inducing Variables in Sparse Gaussian Processes"; Burt, Rasmussen
    and van der Wilk 2020, "Convergence of Sparse Variational Inference in Gaussian Processes Regression", for the
    choice of the first inducing points.

    Example:
        >>> X = torch.linspace(0, 1, 200).double()[:, None]
        >>> model = SparseGP(X, torch.sin(9 * X), n_inducing=12)
        >>> report = model.fit()
        >>> bool((model.posterior(X).mean - torch.sin(9 * X)).abs().max() < 0.01)
        True
    """

    train_X: Tensor
    """`n x d`."""
    train_Y: Tensor
    """`n x 1`."""

    def __init__(self, train_X: Tensor, train_Y: Tensor, *, n_inducing: int = 64, kernel: Kernel | None = None) -> None:
        """Standardise the outcomes and place the inducing points where the prior is least sure.

        Args:
            train_X: Features, `n x d`, in any units.
            train_Y: Outcomes, `n x 1`.
            n_inducing: Inducing points at most, m; fewer where those leave nothing open.
            kernel: Prior covariance of y; None for Matérn-5/2 with a lengthscale a feature and a learned variance.

        Raises:
            InvalidDataError: If a shape, a dtype or a value cannot be used.
        """
        super().__init__()
        check_inputs("train_X", train_X)
        _check_outcomes("train_Y", train_Y, train_X)
        if n_inducing < 1:
            raise InvalidDataError(f"n_inducing: expected at least 1, got {n_inducing}.")
        self.register_buffer("train_X", train_X, persistent=False)
        self.register_buffer("train_Y", train_Y, persistent=False)
        self.outcomes = OutcomeScale.of(train_Y)
        self.kernel = _default_kernel(train_X) if kernel is None else kernel
        self.mean = ConstantMean().to(train_X)
        self.likelihood = GaussianLikelihood(
            noise_prior=LogNormalPrior(math.log(0.01), 3.0),
            noise_constraint=GreaterThan(_NOISE_FLOOR, transform=torch.exp, inv_transform=torch.log),
        ).to(train_X)
        self.likelihood.noise = train_X.new_tensor(_NOISE_START)
        self._n_inducing = n_inducing
        self.inducing_points = torch.nn.Parameter(self._allocated(n_inducing))
        self._conditioned: tuple[list[Tensor], _Solved] | None = None

    def _allocated(self, n_inducing: int) -> Tensor:
        with torch.no_grad():
            Z: Tensor = GreedyVarianceReduction().allocate_inducing_points(
                inputs=self.train_X,
                covar_module=self.kernel,
                num_inducing=min(n_inducing, len(self.train_X)),
                input_batch_shape=torch.Size(),
            )
        return Z.clone()

    # -- hyperparameters ------------------------------------------------------------------------------------------

    @property
    def noise_variance(self) -> float:
        """Of an observation, in units of Y squared."""
        return float(self.outcomes.restore_variance(self.likelihood.noise.detach()))

    def evidence(self) -> Tensor:
        """The bound on the log evidence of y at the present hyperparameters, differentiable.

        Returns:
            A scalar.

        Raises:
            NotPositiveDefiniteError: If a covariance is not finite.
        """
        y = self.outcomes.standardise(self.train_Y)[:, 0] - self.mean(self.train_X)
        noise, n = self.likelihood.noise.squeeze(), len(y)
        solved = _solve(self.kernel, self.inducing_points, self.train_X, y, noise)
        trace = self.kernel(self.train_X, diag=True).sum() / noise
        return (
            -0.5 * n * (math.log(2.0 * math.pi) + noise.log())
            - solved.L_B.diagonal().log().sum()
            - 0.5 * y.square().sum() / noise
            + 0.5 * solved.c.square().sum()
            - 0.5 * (trace - solved.A.square().sum())
        )

    def fit(
        self, *, n_draws: int = 0, generator: torch.Generator | None = None, max_iterations: int = 200
    ) -> FitReport:
        """Move hyperparameters and inducing points to the maximum of bound times prior.

        With the hyperparameters found first, the inducing points are placed anew, and all is searched once more.

        Args:
            n_draws: Starts drawn from the priors besides, in the first search.
            generator: Draws them; None for a fresh one of seed 0.
            max_iterations: Of each start.

        Returns:
            How the second search went; the model holds what was found.

        Raises:
            GPError: If the bound cannot be computed at any start.
        """
        self.inducing_points.requires_grad_(False)
        try:
            fit_hyperparameters(
                self, self.evidence, n_draws=n_draws, generator=generator, max_iterations=max_iterations
            )
        finally:
            self.inducing_points.requires_grad_(True)
        self.inducing_points = torch.nn.Parameter(self._allocated(self._n_inducing))
        return fit_hyperparameters(self, self.evidence, n_draws=0, max_iterations=max_iterations)

    # -- prediction -----------------------------------------------------------------------------------------------

    def _state(self) -> "_Solved":
        now = [*self.parameters(), *self.buffers()]
        if self._conditioned is None or not all_equal(self._conditioned[0], now):
            kernel = copy.deepcopy(self.kernel).requires_grad_(False)
            with torch.no_grad():
                y = self.outcomes.standardise(self.train_Y)[:, 0] - self.mean(self.train_X)
                found = _solve(kernel, self.inducing_points, self.train_X, y, self.likelihood.noise.squeeze())
            self._conditioned = ([tensor.detach().clone() for tensor in now], found)
        return self._conditioned[1]

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
            X: Features, `b x q x d`.
            output_indices: None or `[0]`.
            observation_noise: Whether the learned noise is added; a tensor of variances, `b x q x 1`, instead of it.
            posterior_transform: Applied to the result.

        Returns:
            A `GPyTorchPosterior` in the units of Y, mean `b x q x 1`.

        Raises:
            InvalidDataError: If X has another number of features, or an output is asked for that is not there.
        """
        check_test_inputs(X, self.train_X.shape[-1])
        check_output_indices(output_indices)
        state = self._state()
        K_zs = state.kernel(state.Z.expand(*X.shape[:-2], *state.Z.shape), X).to_dense()
        whitened = torch.linalg.solve_triangular(state.L, K_zs, upper=False)
        explained = torch.linalg.solve_triangular(state.L_B, whitened, upper=False)
        mean = (explained.mT @ state.c[:, None]).squeeze(-1) + self.mean(X).detach()
        prior = state.kernel(X).to_dense()
        covariance = prior - whitened.mT @ whitened + explained.mT @ explained
        covariance = covariance + _JITTER * torch.diag_embed(prior.diagonal(dim1=-2, dim2=-1))
        mean, covariance = self.outcomes.restore(mean), self.outcomes.restore_variance(covariance)
        if isinstance(observation_noise, Tensor):
            covariance = covariance + torch.diag_embed(observation_noise.squeeze(-1).expand(mean.shape))
        elif observation_noise:
            covariance = covariance + self.noise_variance * torch.eye(X.shape[-2]).to(X)
        posterior = GPyTorchPosterior(MultivariateNormal(mean, covariance))
        return posterior if posterior_transform is None else posterior_transform(posterior)

    @override
    def condition_on_observations(self, X: Tensor, Y: Tensor, **_: Any) -> "SparseGP":
        """The model after further observations; hyperparameters and inducing points stay as they are.

        Args:
            X: Features, `k x d`.
            Y: Outcomes, `k x 1`.

        Returns:
            A new model; this one is left alone.

        Raises:
            InvalidDataError: If a shape or value cannot be used.
        """
        check_inputs("X", X, like=self.train_X)
        check_test_inputs(X, self.train_X.shape[-1])
        _check_outcomes("Y", Y, X)
        after = copy.deepcopy(self)
        after.register_buffer("train_X", torch.cat([self.train_X, X]), persistent=False)
        after.register_buffer("train_Y", torch.cat([self.train_Y, Y]), persistent=False)
        return after


class _Solved(NamedTuple):
    kernel: Kernel
    Z: Tensor
    L: Tensor
    """Factor of K_zz, `m x m`."""
    A: Tensor
    """`m x n`."""
    L_B: Tensor
    """Factor of B, `m x m`."""
    c: Tensor
    """`L_B^-1 A y / s`, `m`."""


def _solve(kernel: Kernel, Z: Tensor, X: Tensor, y: Tensor, noise: Tensor) -> _Solved:
    K_zz = kernel(Z).to_dense()
    eye = torch.eye(len(Z), dtype=Z.dtype, device=Z.device)
    L = safe_cholesky(K_zz + _JITTER * K_zz.diagonal().mean() * eye, "K_zz")
    A = torch.linalg.solve_triangular(L, kernel(Z, X).to_dense(), upper=False) / noise.sqrt()
    L_B = safe_cholesky(eye + A @ A.mT, "B")
    c = torch.linalg.solve_triangular(L_B, (A @ y)[:, None], upper=False)[:, 0] / noise.sqrt()
    return _Solved(kernel, Z, L, A, L_B, c)


def _default_kernel(X: Tensor) -> Kernel:
    """Matérn-5/2 with BoTorch's lengthscale prior, in units of each feature's range."""
    ranges, d = reach(X), X.shape[-1]
    median = math.exp(math.sqrt(2.0)) * math.sqrt(d) * ranges
    base = MaternKernel(
        nu=2.5,
        ard_num_dims=d,
        lengthscale_prior=LogNormalPrior(median.log(), torch.full_like(ranges, math.sqrt(3.0))),
        lengthscale_constraint=GreaterThan(0.01 * ranges, transform=torch.exp, inv_transform=torch.log),
    ).to(X)
    base.lengthscale = _LENGTHSCALE_START * ranges
    scaled = ScaleKernel(
        base,
        outputscale_prior=LogNormalPrior(0.0, 2.0),
        outputscale_constraint=GreaterThan(1e-4, transform=torch.exp, inv_transform=torch.log),
    ).to(X)
    scaled.outputscale = X.new_tensor(1.0)
    return scaled


def _check_outcomes(name: str, Y: Tensor, X: Tensor) -> None:
    if Y.shape != (len(X), 1) or Y.dtype != X.dtype or not bool(torch.isfinite(Y).all()):
        raise InvalidDataError(
            f"{name}: expected finite values of shape {(len(X), 1)} and {X.dtype}, one a row of X, got "
            f"{tuple(Y.shape)} of {Y.dtype}{'' if torch.isfinite(Y).all() else ' with some that are not finite'}."
        )
