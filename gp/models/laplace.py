"""A Gaussian process behind labels, counts or outliers, found by Laplace's method or EP, as a BoTorch model.

Alphabet. X: `n x d` features. y: observations, `n`. f: latent function, m: its constant prior mean. q: joint test
points, b: batch of them. k: observations added later.
"""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal, NamedTuple

import torch
from botorch.acquisition.objective import PosteriorTransform
from botorch.posteriors.gpytorch import GPyTorchPosterior
from botorch.posteriors.posterior import Posterior
from gpytorch.constraints.constraints import GreaterThan
from gpytorch.distributions.multivariate_normal import MultivariateNormal
from gpytorch.kernels.kernel import Kernel
from gpytorch.kernels.rbf_kernel import RBFKernel
from gpytorch.kernels.scale_kernel import ScaleKernel
from gpytorch.means.constant_mean import ConstantMean
from gpytorch.module import Module
from gpytorch.priors.torch_priors import LogNormalPrior, NormalPrior
from torch import Tensor
from typing_extensions import override

from gp.errors import InvalidDataError, NotPositiveDefiniteError
from gp.fitting import FitReport, fit_hyperparameters, raw_parameters
from gp.models.base import SingleOutputModel, all_equal, check_inputs, check_output_indices, check_test_inputs, reach
from inference.errors import InferenceError, InvalidInputError
from inference.laplace.latent import LatentLaplace
from inference.laplace.sites import LatentPosterior
from inference.likelihoods import Bernoulli, Likelihood

_JITTER: Final = 1e-6
"""Added to the prior variance of f at each point, relative to it: the joint posterior of close points then has a
Cholesky factor."""
_STARTS: Final = (0.4, 1.0)
"""Where the lengthscales of two searches begin, in units of the range of each feature."""
_LENGTHSCALE_MEDIAN: Final = math.exp(math.sqrt(2.0))
"""Median of the lengthscale prior in one dimension, in units of the range; it grows like the root of the dimension."""
_VARIANCE_LOG_MEAN: Final = 1.0
"""Mean of the log variance of f under its prior, in units of its likelihood's typical spread squared: where labels
follow a rule, f must rise steeply."""


class LaplaceGP(SingleOutputModel, Module):
    """A Gaussian process whose observations are labels (the default), counts, or values with outliers.

    `posterior` is that of the latent function; `probability`, `outcome_mean` and `log_predictive` speak of
    observations. Hyperparameters are those of the largest Laplace evidence times prior. Of probit labels the posterior
    is then EP's, as Laplace's draws probabilities towards one half.

    Reference: Rasmussen and Williams, "Gaussian Processes for Machine Learning", chapter 3; Kuss and Rasmussen 2005,
    "Assessing approximate inference for binary Gaussian process classification".

    Example:
        >>> X = torch.linspace(0, 1, 12).double()[:, None]
        >>> model = LaplaceGP(X, (X > 0.5).double())
        >>> report = model.fit()
        >>> (model.probability(torch.tensor([[0.1], [0.9]]).double()) > 0.5).tolist()
        [False, True]
    """

    train_X: Tensor
    """`n x d`."""
    train_Y: Tensor
    """`n x 1`."""

    def __init__(
        self,
        train_X: Tensor,
        train_Y: Tensor,
        *,
        likelihood: Likelihood | None = None,
        kernel: Kernel | None = None,
        posterior: Literal["laplace", "ep"] | None = None,
    ) -> None:
        """Check the data and put the hyperparameters where the search for them begins.

        Args:
            train_X: Features, `n x d`, in any units: the default kernel's priors are relative to each one's range.
            train_Y: Observations, `n x 1`, floats: labels 0 and 1, counts, or values.
            likelihood: Of an observation given its latent value; None for `Bernoulli("probit")`.
            kernel: Prior covariance of f; None for a Gaussian one with a lengthscale a feature and a learned variance.
            posterior: 'ep' or 'laplace'; None for EP where the likelihood is a probit, which EP needs.

        Raises:
            InvalidDataError: If a shape, a dtype, an observation or the posterior cannot be used.
        """
        super().__init__()
        check_inputs("train_X", train_X)
        self.likelihood = Bernoulli("probit") if likelihood is None else likelihood
        _check_outcomes("train_Y", train_Y, train_X, self.likelihood)
        is_probit = self.likelihood.is_probit
        if posterior not in (None, "laplace", "ep") or (posterior == "ep" and not is_probit):
            raise InvalidDataError(
                f"posterior: expected 'laplace', None, or with Bernoulli('probit') also 'ep', got {posterior!r} with "
                f"{self.likelihood}."
            )
        self.uses_ep = is_probit and posterior != "laplace"
        self.register_buffer("train_X", train_X, persistent=False)
        self.register_buffer("train_Y", train_Y, persistent=False)
        centre, spread = self.likelihood.typical(train_Y)
        self.kernel = _default_kernel(train_X, spread) if kernel is None else kernel
        self._has_default_kernel = kernel is None
        self.mean = ConstantMean(constant_prior=NormalPrior(centre, spread)).to(train_X)
        self.mean.constant = centre
        self._conditioned: tuple[list[Tensor], _Conditioned] | None = None

    # -- hyperparameters ------------------------------------------------------------------------------------------

    def evidence(self) -> Tensor:
        """Laplace's log evidence at the present hyperparameters, differentiable with respect to them.

        Returns:
            A scalar.

        Raises:
            NotPositiveDefiniteError: If the prior covariance is not finite.
        """
        K = self.kernel(self.train_X).to_dense()
        with _errors_named():
            return LatentLaplace(self.likelihood).log_evidence(K, self.mean(self.train_X), self.train_Y[:, 0])

    def fit(
        self, *, n_draws: int = 0, generator: torch.Generator | None = None, max_iterations: int = 100
    ) -> FitReport:
        """Move the hyperparameters to the maximum of Laplace's evidence times prior.

        The search begins where they are, and with the default kernel once more from longer lengthscales: of few labels
        the evidence often has two maxima, with a border that bends and with one that does not.

        Args:
            n_draws: Starts drawn from the priors besides.
            generator: Draws them; None for a fresh one of seed 0.
            max_iterations: Of each start.

        Returns:
            How it went; the model holds the hyperparameters.

        Raises:
            GPError: If the evidence cannot be computed at any start.
        """
        starts = []
        if self._has_default_kernel:
            longer = copy.deepcopy(self)
            longer.kernel.base_kernel.lengthscale = _STARTS[1] * reach(self.train_X)
            starts = [raw_parameters(longer)]
        return fit_hyperparameters(
            self, self.evidence, starts=starts, n_draws=n_draws, generator=generator, max_iterations=max_iterations
        )

    @property
    def latent(self) -> LatentPosterior:
        """The latent values at the training points, at the present hyperparameters; kept until something moves."""
        return self._state().latent

    def _state(self) -> "_Conditioned":
        now = [*self.parameters(), *self.buffers()]
        # By value: gpytorch's setters write through `.data`, which no version counter sees.
        if self._conditioned is None or not all_equal(self._conditioned[0], now):
            # of their own, so that predictions have no graph to hyperparameters that they only partly depend on
            kernel, mean = (copy.deepcopy(part).requires_grad_(False) for part in (self.kernel, self.mean))
            K, y = kernel(self.train_X).to_dense(), self.train_Y[:, 0]
            method = LatentLaplace(self.likelihood)
            with torch.no_grad(), _errors_named():
                found = (method.expectation_propagation if self.uses_ep else method.posterior)(K, mean(self.train_X), y)
            self._conditioned = ([tensor.detach().clone() for tensor in now], _Conditioned(found, kernel, mean))
        return self._conditioned[1]

    # -- prediction -----------------------------------------------------------------------------------------------

    @override
    def posterior(
        self,
        X: Tensor,
        output_indices: list[int] | None = None,
        observation_noise: bool | Tensor = False,
        posterior_transform: PosteriorTransform | None = None,
    ) -> Posterior:
        """Joint posterior of the latent function at q test points, differentiable with respect to them.

        Args:
            X: Features, `b x q x d`.
            output_indices: None or `[0]`.
            observation_noise: False: an observation is not normal given its latent value.
            posterior_transform: Applied to the result.

        Returns:
            A `GPyTorchPosterior` of f, mean `b x q x 1`.

        Raises:
            InvalidDataError: If X has another number of features, or an output or noise is asked for that is not there.
        """
        check_test_inputs(X, self.train_X.shape[-1])
        check_output_indices(output_indices)
        if observation_noise is not False:
            raise InvalidDataError(
                "observation_noise: expected False, as the posterior is of the latent function; for observations use "
                "`probability`, `outcome_mean` or `log_predictive`."
            )
        state = self._state()
        prior = state.kernel(X).to_dense()
        K_test = state.kernel(X, self.train_X.expand(*X.shape[:-2], *self.train_X.shape)).to_dense()
        mean, covariance = state.latent.jointly_at(K_test, state.mean(X), prior)
        covariance = covariance + _JITTER * torch.diag_embed(prior.diagonal(dim1=-2, dim2=-1))
        posterior = GPyTorchPosterior(MultivariateNormal(mean, covariance))
        return posterior if posterior_transform is None else posterior_transform(posterior)

    def marginals(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the latent function at each test point alone, differentiable in the points.

        Args:
            X: Features, `b x q x d`.

        Returns:
            Means and variances, `b x q` each.

        Raises:
            InvalidDataError: If X has another number of features.
        """
        check_test_inputs(X, self.train_X.shape[-1])
        state = self._state()
        prior = state.kernel(X, diag=True)
        K_test = state.kernel(X, self.train_X.expand(*X.shape[:-2], *self.train_X.shape)).to_dense()
        mean, variance = state.latent.at(K_test, state.mean(X), prior)
        return mean, variance.clamp_min(_JITTER * prior)

    def outcome_mean(self, X: Tensor) -> Tensor:
        """Mean of an observation at each test point: of labels their probability, of counts the expected count.

        Args:
            X: Features, `b x q x d`.

        Returns:
            `b x q`.
        """
        return self.likelihood.predictive_mean(*self.marginals(X))

    def probability(self, X: Tensor) -> Tensor:
        """Probability of a label 1 at each test point.

        Args:
            X: Features, `b x q x d`.

        Returns:
            `b x q`.

        Raises:
            InvalidDataError: If the observations are no labels.
        """
        return self.log_probability(X).exp()

    def log_probability(self, X: Tensor) -> Tensor:
        """Its log, which keeps its digits and its gradient where a 1 is next to impossible.

        Args:
            X: Features, `b x q x d`.

        Returns:
            `b x q`.

        Raises:
            InvalidDataError: If the observations are no labels.
        """
        if not self.likelihood.is_binary:
            raise InvalidDataError(
                f"probability: of labels alone, but the likelihood is {self.likelihood}; use `outcome_mean`."
            )
        mean, variance = self.marginals(X)
        return self.likelihood.log_predictive(torch.ones_like(mean), mean, variance)

    def log_predictive(self, X: Tensor, Y: Tensor) -> Tensor:
        """Log probability, or density, of observations that were not seen.

        Args:
            X: Features, `b x q x d`.
            Y: Observations, `b x q x 1`.

        Returns:
            Of each on its own, `b x q`.

        Raises:
            InvalidDataError: If a shape or an observation cannot be used.
        """
        _check_outcomes("Y", Y, X, self.likelihood)
        return self.likelihood.log_predictive(Y[..., 0], *self.marginals(X))

    def leave_one_out(self) -> Tensor:
        """Log probability, or density, of each training observation given all others; hyperparameters stay.

        Returns:
            `n`. From EP's cavities they are those of refits to within a few hundredths.
        """
        return self.likelihood.log_predictive(self.train_Y[:, 0], *self.latent.leave_one_out())

    @override
    def condition_on_observations(self, X: Tensor, Y: Tensor, **_: Any) -> "LaplaceGP":
        """The model after further observations; hyperparameters stay as they are.

        Args:
            X: Features, `k x d`.
            Y: Observations, `k x 1`.

        Returns:
            A new model; this one is left alone.

        Raises:
            InvalidDataError: If a shape or value cannot be used.
        """
        check_inputs("X", X, like=self.train_X)
        check_test_inputs(X, self.train_X.shape[-1])
        _check_outcomes("Y", Y, X, self.likelihood)
        after = copy.deepcopy(self)
        after.register_buffer("train_X", torch.cat([self.train_X, X]), persistent=False)
        after.register_buffer("train_Y", torch.cat([self.train_Y, Y]), persistent=False)
        return after


class _Conditioned(NamedTuple):
    latent: LatentPosterior
    kernel: Kernel
    mean: ConstantMean


def _default_kernel(X: Tensor, spread: Tensor) -> Kernel:
    """A Gaussian kernel with BoTorch's lengthscale prior and a variance of a few typical spreads squared."""
    ranges, d = reach(X), X.shape[-1]
    median = _LENGTHSCALE_MEDIAN * math.sqrt(d) * ranges
    base = RBFKernel(
        ard_num_dims=d,
        lengthscale_prior=LogNormalPrior(median.log(), torch.full_like(ranges, math.sqrt(3.0))),
        lengthscale_constraint=GreaterThan(0.025 * ranges, transform=torch.exp, inv_transform=torch.log),
    ).to(X)
    base.lengthscale = _STARTS[0] * ranges
    variance = spread.square()
    scaled = ScaleKernel(
        base,
        outputscale_prior=LogNormalPrior(_VARIANCE_LOG_MEAN + variance.log(), torch.ones_like(variance)),
        outputscale_constraint=GreaterThan(1e-4 * variance, transform=torch.exp, inv_transform=torch.log),
    ).to(X)
    scaled.outputscale = math.exp(_VARIANCE_LOG_MEAN) * variance
    return scaled


def _check_outcomes(name: str, Y: Tensor, X: Tensor, likelihood: Likelihood) -> None:
    if Y.shape != (*X.shape[:-1], 1) or Y.dtype != X.dtype:
        raise InvalidDataError(
            f"{name}: expected {(*X.shape[:-1], 1)}, {X.dtype}, one row a row of X, got {tuple(Y.shape)}, {Y.dtype}."
        )
    try:
        likelihood.check(Y)
    except InvalidInputError as error:
        raise InvalidDataError(f"{name}: {error}") from error


@contextmanager
def _errors_named() -> Iterator[None]:
    """What `inference` cannot factor is an error of this package, which fits and strategies know how to survive."""
    try:
        yield
    except InferenceError as error:
        raise NotPositiveDefiniteError(str(error)) from error
