"""A Gaussian process that averages over its hyperparameters instead of fitting them: for few data, in half a second.

Alphabet. X: `n x d` features. Y: `n x 1`. y: Y less its mean, over its standard deviation. S: draws of the
hyperparameters, which BoTorch keeps in dimension -3.
"""

import copy
import math
from typing import Any, Final, Literal

import torch
from botorch.acquisition.objective import PosteriorTransform
from botorch.posteriors.fully_bayesian import GaussianMixturePosterior
from botorch.posteriors.posterior import Posterior
from gpytorch.distributions.multivariate_normal import MultivariateNormal
from torch import Tensor
from typing_extensions import override

from gp.data import check_data
from gp.errors import InvalidDataError
from gp.hyperposterior import DimensionScaled, Hyperparameters, Hyperposterior, Saas
from gp.kernels.mapped import Mapping
from gp.linalg.cholesky import safe_cholesky
from gp.matern import matern52, squared_distances
from gp.models.base import SingleOutputModel, check_output_indices, check_test_inputs
from gp.threads import single_threaded
from inference.laplace.density import laplace
from inference.mcmc.ensemble_hmc import EnsembleState, ensemble_hmc
from inference.mcmc.nuts import nuts
from inference.optimize import find_map
from inference.seeding import as_generator

N_DRAWS: Final = 16
"""Models of the mixture, and chains of the ensemble: each gives its last point."""
KERNELS: Final = {"saas": Saas, "dimension-scaled": DimensionScaled}
METHODS: Final = ("map", "laplace", "hmc", "nuts")
_MAX_SD: Final = 2.0
"""Of a hyperparameter's logarithm in the Laplace approximation: its tails are flat, and draws should not go there."""
_MAX_LEAPFROG: Final = 8
"""Most steps of a path: with 12, predictions were no better on Hartmann-6 and the fit took 1.6 times as long."""
_COLD_WARMUP: Final = 60
"""Steps that adapt of chains that begin at the mode."""
_WARM_WARMUP: Final = 20
"""Steps that adapt where the chains go on from an earlier fit."""
_KNOWN_FLOOR: Final = 1e-6
"""Least variance of a value whose noise is known, zero included, in units of the variance of Y: keeps K well posed."""
_LEAST_VARIANCE: Final = 1e-10
"""Added to predicted variances, in units of y squared, so that a joint covariance can be factored."""


class FullyBayesianGP(SingleOutputModel):
    """A mixture of Matérn-5/2 Gaussian processes, one for each draw of the hyperparameters' posterior.

    With fewer than some ten values a feature, hyperparameters are not known, and a model that takes the likeliest for
    the truth is too sure. BoTorch's acquisition functions average over the mixture by themselves.

    Methods: "hmc" (`inference.ensemble_hmc`) for the posterior itself; "laplace" for a Gaussian approximation of it,
    some five times faster, whose `diagnostics["khat"]` tells how far to trust it; "map" for the likeliest alone; "nuts"
    for Pyro's sampler, slow, as a check. Kernels: "saas" where few of the features matter, "dimension-scaled" where all
    may.

    References: Eriksson and Jankowiak 2021, "High-Dimensional Bayesian Optimization with Sparse Axis-Aligned
    Subspaces"; Hvarfner, Hellsten and Nardi 2024, "Vanilla Bayesian Optimization Performs Great in High Dimensions".

    Example:
        >>> X = torch.linspace(0, 1, 6).double()[:, None]
        >>> model = FullyBayesianGP(X, torch.sin(6 * X), method="laplace").fit(seed=0)
        >>> model.posterior(X).mean.shape
        torch.Size([16, 6, 1])
    """

    _is_fully_bayesian = True
    _is_ensemble = True

    def __init__(
        self,
        train_X: Tensor,
        train_Y: Tensor,
        train_Yvar: Tensor | None = None,
        *,
        kernel: Literal["saas", "dimension-scaled"] = "saas",
        method: Literal["map", "laplace", "hmc", "nuts"] = "hmc",
        mapping: Mapping | None = None,
    ) -> None:
        """Standardise the data.

        Args:
            train_X: Features, `n x d`, scaled so that a side of the search space has length about 1; points that become
                such by `mapping` where that is given.
            train_Y: Observations, `n x 1`.
            train_Yvar: Known noise variances, `n x 1`, in units of Y squared; nan where unknown, None where all are.
            kernel: Which prior the hyperparameters have.
            method: Which posterior of them is taken.
            mapping: From points `... x d` to features, differentiable.

        Raises:
            InvalidDataError: If a shape, a dtype, a value or a name cannot be used.
        """
        super().__init__()
        check_data(train_X, train_Y, train_Yvar)
        if kernel not in KERNELS or method not in METHODS:
            raise InvalidDataError(
                f"kernel, method: expected one of {', '.join(KERNELS)} and one of {', '.join(METHODS)}, "
                f"got {kernel!r} and {method!r}."
            )
        self.train_X, self.train_Y = train_X, train_Y
        self.kernel, self.method, self.mapping = kernel, method, mapping
        self.offset = float(train_Y.mean())
        sd = float(train_Y.std(correction=0))
        self.scale = sd if sd > 1e-12 else 1.0
        unknown = torch.full_like(train_Y, math.nan) if train_Yvar is None else train_Yvar
        self._variances = unknown[:, 0].double() / self.scale**2 + _KNOWN_FLOOR
        self.diagnostics: dict[str, Any] = {}
        self.state: EnsembleState | None = None
        self._draws: Tensor | None = None

    def fit(self, *, seed: int | torch.Generator = 0, warm_start: EnsembleState | None = None) -> "FullyBayesianGP":
        """Draw hyperparameters.

        Args:
            seed: Of everything that is random.
            warm_start: `state` of a model fitted by "hmc" to nearly the same data: its chains go on, with a third of
                the warm-up and no search for the mode.

        Returns:
            This model.

        Raises:
            InvalidDataError: If `warm_start` comes with another method or does not fit.
        """
        with single_threaded():
            self._draw(as_generator(seed), warm_start)
            self._condition()
        return self

    def _draw(self, generator: torch.Generator, warm_start: EnsembleState | None) -> None:
        density = self._density()
        if warm_start is not None:
            if self.method != "hmc" or warm_start.z.shape != (N_DRAWS, density.dim):
                raise InvalidDataError(
                    f"warm_start: expected method 'hmc' and {N_DRAWS} chains of dimension {density.dim}, got "
                    f"{self.method!r} and {tuple(warm_start.z.shape)}."
                )
            self._sample(density, warm_start, _WARM_WARMUP, generator)
            return
        mode = find_map(density, density.starts(), bounds=density.bounds(), max_iterations=100)
        if self.method == "map":
            self._draws = mode.z[None]
            self.diagnostics = {"converged": mode.converged, "grad_norm": mode.grad_norm}
        elif self.method == "nuts":
            samples = nuts(density, mode.z[None], seed=generator)
            spaced = torch.linspace(0, len(samples.z) - 1, N_DRAWS, device=mode.z.device).round().long()
            self._draws, self.diagnostics = samples.z[spaced, 0], samples.diagnostics
        else:
            n_check = 512 if self.method == "laplace" else 0
            gaussian = laplace(density, mode, max_sd=_MAX_SD, n_check=n_check, seed=generator)
            if self.method == "laplace":
                self._draws, self.diagnostics = gaussian.sample(N_DRAWS, generator), gaussian.diagnostics
            else:
                self._sample(density, gaussian, _COLD_WARMUP, generator)

    def _sample(self, density: Hyperposterior, start: Any, n_warmup: int, generator: torch.Generator) -> None:
        # Predictions agree long before the tails of all hyperparameters do: R-hat is told and not warned of.
        samples = ensemble_hmc(
            density,
            start=start,
            n_chains=N_DRAWS,
            n_warmup=n_warmup,
            max_leapfrog=_MAX_LEAPFROG,
            max_rhat=math.inf,
            seed=generator,
        )
        self._draws, self.state, self.diagnostics = samples.z[-1], samples.state, samples.diagnostics

    def _density(self) -> Hyperposterior:
        """Of the hyperparameters, in double precision whatever the data have."""
        X = self._features(self.train_X).double()
        y = (self.train_Y[:, 0].double() - self.offset) / self.scale
        return Hyperposterior(X, y, self._variances, KERNELS[self.kernel](X.shape[1]))

    def _features(self, X: Tensor) -> Tensor:
        return X if self.mapping is None else self.mapping(X)

    def _condition(self) -> None:
        """Factor the covariance of the data under each draw."""
        assert self._draws is not None
        density = self._density()
        p = density.hyperparameters(self._draws)
        X = self._features(self.train_X).double() / p.lengthscales[:, None]
        K = p.signal_variance[:, None, None] * matern52(squared_distances(X, X))
        L = safe_cholesky(K + torch.diag_embed(density.noise_diagonal(p.noise_variance)), "K_XX")
        eye = torch.eye(len(self.train_X), dtype=L.dtype, device=L.device).expand_as(L)
        inverse_factor = torch.linalg.solve_triangular(L, eye, upper=False)
        y = (self.train_Y[:, 0].double() - self.offset) / self.scale
        white = (inverse_factor @ (y - p.mean[:, None])[:, :, None])[:, :, 0]
        self._p, self._scaled_X, self._inverse_factor, self._white = p, X, inverse_factor, white

    @property
    def hyperparameters(self) -> Hyperparameters:
        """Of each draw, in units of y."""
        self._check_fitted()
        return self._p

    @property
    def num_mcmc_samples(self) -> int:
        """Models of the mixture."""
        self._check_fitted()
        return len(self._white)

    @property
    @override
    def batch_shape(self) -> torch.Size:
        """The models of the mixture, `S`."""
        return torch.Size([self.num_mcmc_samples])

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
            X: Points, `... x q x d`.
            output_indices: None or `[0]`.
            observation_noise: True for the posterior of observations; a tensor gives their noise variances in units of
                Y squared, broadcast to `... x S x q`.
            posterior_transform: Applied to the result.

        Returns:
            A `GaussianMixturePosterior` in units of Y, mean `... x S x q x 1`.

        Raises:
            InvalidDataError: If the model is not fitted, X has another number of features, or another output is asked
                for.
        """
        self._check_fitted()
        check_test_inputs(X, self.train_X.shape[-1])
        check_output_indices(output_indices)
        p = self._p
        scaled = self._features(X).unsqueeze(-3).to(self._white) / p.lengthscales[:, None]
        signal = p.signal_variance[:, None, None]
        half = signal * matern52(squared_distances(scaled, self._scaled_X)) @ self._inverse_factor.mT
        mean = p.mean[:, None] + (half @ self._white[..., None])[..., 0]
        covariance = signal * matern52(squared_distances(scaled, scaled)) - half @ half.mT
        variance = covariance.new_full(covariance.shape[:-1], _LEAST_VARIANCE)
        if isinstance(observation_noise, Tensor):
            variance = variance + observation_noise / self.scale**2
        elif observation_noise:
            variance = variance + self._noise_of_more()[:, None]
        covariance = self.scale**2 * (covariance + torch.diag_embed(variance))
        normal = MultivariateNormal((self.offset + self.scale * mean).to(X), covariance.to(X))
        posterior = GaussianMixturePosterior(normal)
        return posterior if posterior_transform is None else posterior_transform(posterior)

    @override
    def condition_on_observations(
        self, X: Tensor, Y: Tensor, noise: Tensor | None = None, **_: Any
    ) -> "FullyBayesianGP":
        """The model after further observations; draws and scaling stay as they are.

        Args:
            X: Points, `k x d`.
            Y: Observations, `k x 1`.
            noise: Their noise variances, `k x 1`, in units of Y squared; None for that of each draw.

        Returns:
            A new model; this one is left alone.

        Raises:
            InvalidDataError: If the model is not fitted, or a shape or value cannot be used.
        """
        self._check_fitted()
        check_data(X, Y, noise)
        after = copy.copy(self)
        after.train_X, after.train_Y = torch.cat([self.train_X, X]), torch.cat([self.train_Y, Y])
        if noise is not None:
            more = noise[:, 0].double() / self.scale**2 + _KNOWN_FLOOR
        elif bool(self._variances.isnan().any()):
            more = torch.full_like(Y[:, 0], math.nan, dtype=torch.float64)
        else:
            more = self._variances.median().expand(len(Y))
        after._variances = torch.cat([self._variances, more])
        after._condition()
        return after

    def _noise_of_more(self) -> Tensor:
        """Noise variance of a further observation under each draw, `S`: the learned one, else the median known."""
        if bool(self._variances.isnan().any()):
            return self._p.noise_variance
        return self._variances.median().expand(len(self._white))

    def _check_fitted(self) -> None:
        if self._draws is None:
            raise InvalidDataError("the model has no hyperparameters yet; call `fit()` first.")
