"""An exact Gaussian process on a grid, complete or not: its cost is that of its axes, not of their product.

Alphabet. m: axes. n_i: size of axis i, d_i: its features, N: cells. Y: values on the grid, nan where none was observed;
y: the same less their mean, over their standard deviation. t: outputs, the cells of all axes but the first. q: joint
test points of the first axis, b: batch of them. k: rows added later.

Reference: Saatci 2011, "Scalable Inference for Structured Gaussian Process Models"; Lin et al. 2025, "Scalable Gaussian
Processes with Latent Kronecker Structure".
"""

import copy
import math
from collections.abc import Sequence
from typing import Any, Final

import torch
from botorch.acquisition.objective import PosteriorTransform
from botorch.models.model import Model
from botorch.posteriors.gpytorch import GPyTorchPosterior
from botorch.posteriors.posterior import Posterior
from gpytorch.constraints.constraints import GreaterThan
from gpytorch.distributions.multitask_multivariate_normal import MultitaskMultivariateNormal
from gpytorch.distributions.multivariate_normal import MultivariateNormal
from gpytorch.kernels.kernel import Kernel
from gpytorch.likelihoods.gaussian_likelihood import GaussianLikelihood
from gpytorch.module import Module
from gpytorch.priors.torch_priors import LogNormalPrior
from torch import Tensor
from typing_extensions import override

from gp.errors import GPError, InvalidDataError
from gp.fitting import FitReport, fit_hyperparameters, follow_gradient
from gp.grid_paths import GridPaths, draw_grid_paths
from gp.kernels.axis_kernel import axis_kernel
from gp.linalg.grid_systems import kind_of_system
from gp.models.base import OutcomeScale, check_inputs, check_test_inputs, warn_of_single_precision
from gp.models.grid_data import check_grid, check_noise, with_rows
from gp.models.grid_solution import GridSolution
from gp.posteriors import PathPosterior

_LEAST_NOISE: Final = 1e-6
"""Floor of every noise variance, in units of the variance of Y: keeps the systems well posed for exact simulators."""

Points = list[Tensor | None]
"""Test points of each axis, `... x p_i x d_i`; None for the axis' own."""


_State = tuple[list[Tensor], tuple[tuple[int, int], ...]]
"""Hyperparameters, and which data."""


def _same(a: _State, b: _State) -> bool:
    """Whether nothing moved; a model on another device has moved."""
    return a[1] == b[1] and all(
        one.device == other.device and one.dtype == other.dtype and torch.equal(one, other)
        for one, other in zip(a[0], b[0], strict=True)
    )


class KroneckerGP(Model, Module):
    """Gaussian process regression on the grid of m axes, with a kernel for each axis and their product between cells.

    The evidence, its gradient, means, variances and samples are those of the dense model on the observed cells. Beyond
    2,000 missing cells (or 30 million numbers for their exact gradient) and 4,096 observed ones the data are solved for
    by conjugate gradients and the fit follows an unbiased estimate of the gradient.

    As a model of BoTorch it takes points of the first axis and has one output for each cell of the others;
    `gp.models.grid_points.GridPointsGP` takes points of all axes and has one.

    Example:
        >>> x, z = torch.linspace(0, 1, 9).double(), torch.linspace(0, 1, 7).double()
        >>> model = KroneckerGP([x, z], torch.sin(4 * x)[:, None] * torch.cos(3 * z))
        >>> report = model.fit()
        >>> halfway = torch.tensor([[0.3125]]).double()
        >>> (model.posterior(halfway).mean - torch.sin(4 * halfway) * torch.cos(3 * z)).abs().max() < 0.01
        tensor(True)
    """

    Y: Tensor
    """Values, `n_1 x ... x n_m`; nan where none was observed."""
    Yvar: Tensor | None
    """Known noise variances, in units of Y squared; None where one is learned."""
    observed: Tensor
    """Mask of the values."""
    offset: Tensor
    """Mean of the observed values."""
    scale: Tensor
    """Their standard deviation."""
    kernels: Any
    """A `ModuleList` of one kernel an axis."""

    def __init__(
        self,
        axes: Sequence[Tensor],
        Y: Tensor,
        Yvar: Tensor | None = None,
        *,
        kernels: Sequence[Kernel] | None = None,
    ) -> None:
        """Standardise the observed values and put the hyperparameters where the search for them begins.

        Args:
            axes: Points of each axis, `n_i x d_i`, or `n_i` for a single feature; in any units, as the default kernels'
                priors are relative to the range of each feature.
            Y: Values, `n_1 x ... x n_m`; nan where none was observed.
            Yvar: Known noise variances in units of Y squared, broadcast to the shape of Y; None to learn one for all.
            kernels: One an axis; None for Matérn-5/2 kernels with a lengthscale a feature.

        Raises:
            InvalidDataError: If a shape, a dtype or a value cannot be used.
        """
        super().__init__()
        columns = [axis[:, None] if axis.dim() == 1 else axis for axis in axes]
        check_grid(columns, Y, Yvar)
        if kernels is not None and len(kernels) != len(columns):
            raise InvalidDataError(f"kernels: expected one an axis, {len(columns)}, got {len(kernels)}.")
        warn_of_single_precision(Y.dtype, type(self).__name__)
        self.n_axes = len(columns)
        for index, axis in enumerate(columns):
            self.register_buffer(f"axis_{index}", axis, persistent=False)
        scale = OutcomeScale.of(Y)
        self.register_buffer("offset", scale.offset)
        self.register_buffer("scale", scale.scale)
        self._set_data(Y, None if Yvar is None else Yvar.expand(Y.shape))
        if kernels is None:
            kernels = [axis_kernel(axis, of_inputs=index == 0) for index, axis in enumerate(columns)]
        self.kernels = torch.nn.ModuleList(kernels)
        if Yvar is None:
            constraint = GreaterThan(_LEAST_NOISE, transform=torch.exp, inv_transform=torch.log)
            prior = LogNormalPrior(-4.0, 1.0)
            self.likelihood = GaussianLikelihood(noise_prior=prior, noise_constraint=constraint).to(Y)
            self.likelihood.noise = torch.tensor(math.exp(-4.0))
        self._solved: tuple[_State, GridSolution] | None = None

    def _set_data(self, Y: Tensor, Yvar: Tensor | None) -> None:
        self.register_buffer("Y", Y, persistent=False)
        self.register_buffer("Yvar", Yvar, persistent=False)
        self.register_buffer("observed", ~Y.isnan(), persistent=False)

    # -- the data and the prior -----------------------------------------------------------------------------------

    @property
    def axes(self) -> list[Tensor]:
        """Points of each axis, `n_i x d_i`."""
        return [getattr(self, f"axis_{index}") for index in range(self.n_axes)]

    @property
    def outcome_scale(self) -> OutcomeScale:
        """The way between Y and y."""
        return OutcomeScale(self.offset, self.scale)

    @property
    def _y(self) -> Tensor:
        return self.outcome_scale.standardise(self.Y).nan_to_num(0.0)

    @property
    def noise(self) -> Tensor:
        """Noise variances of y, a scalar where all are the same, else `n_1 x ... x n_m`."""
        if self.Yvar is None:
            learned: Tensor = self.likelihood.noise.squeeze()
            return learned
        known = self.Yvar / self.scale.square()
        seen = known[self.observed]
        return (seen[0] if bool((seen == seen[0]).all()) else known).clamp_min(_LEAST_NOISE)

    def covariances(self) -> list[Tensor]:
        """K_i of each axis, `n_i x n_i`, with a graph to the hyperparameters."""
        return [kernel(axis).to_dense() for kernel, axis in zip(self.kernels, self.axes, strict=True)]

    def evidence(self) -> Tensor:
        """Log marginal likelihood of y at the present hyperparameters, exact and differentiable.

        Returns:
            A scalar.

        Raises:
            GPError: If the grid is so large and incomplete that only an estimate of the gradient can be computed.
        """
        noise = self.noise
        kind = kind_of_system(noise, self.observed)
        if not kind.exact:
            raise GPError(
                f"evidence: of {self.Y.numel()} cells {int((~self.observed).sum())} are missing; no exact value is "
                "affordable. `fit` follows an estimate of its gradient."
            )
        return kind.evidence(self.covariances(), noise, self._y, self.observed, seed=0)

    def fit(
        self, *, n_draws: int = 0, generator: torch.Generator | None = None, max_iterations: int = 200
    ) -> FitReport:
        """Move the hyperparameters to the maximum of evidence times prior.

        Args:
            n_draws: Starts drawn from the priors beside the present hyperparameters; a grid holds so many values
                that the evidence rarely has a second maximum.
            generator: Draws them, and the probes of an estimated gradient; None for a fresh one of seed 0.
            max_iterations: Of each start. An estimated gradient is followed for as many steps, at most 60.

        Returns:
            How it went; the model holds the hyperparameters.

        Raises:
            GPError: If the evidence cannot be computed at any start.
        """
        kind = kind_of_system(self.noise, self.observed)
        if kind.exact:
            return fit_hyperparameters(
                self,
                self.evidence,
                n_draws=n_draws,
                generator=generator,
                max_iterations=max_iterations,
                jitter=lambda: self.solution().system.jitter,
            )
        draws = torch.Generator().manual_seed(0) if generator is None else generator
        y = self._y

        def surrogate() -> Tensor:
            seed = int(torch.randint(2**62, (1,), generator=draws, device=draws.device))
            return kind.evidence(self.covariances(), self.noise, y, self.observed, seed)

        return follow_gradient(self, surrogate, n_steps=min(max_iterations, 60))

    def solution(self) -> GridSolution:
        """The data solved for at the present hyperparameters; kept until something moves.

        Returns:
            The solution, without a graph to the hyperparameters.
        """
        # Hyperparameters by value: GPyTorch's setters go past what torch counts as a change. Data do not.
        hyperparameters = [parameter.detach().clone() for parameter in self.parameters()]
        data = tuple((tensor.data_ptr(), tensor._version) for tensor in self.buffers())
        if self._solved is None or not _same(self._solved[0], (hyperparameters, data)):
            now = (hyperparameters, data)
            with torch.no_grad():
                noise = self.noise
                system = kind_of_system(noise, self.observed)(self.covariances(), noise, self.observed)
                self._solved = (now, GridSolution(list(self.kernels), self.axes, system, self._y))
        return self._solved[1]

    # -- prediction -----------------------------------------------------------------------------------------------

    @property
    @override
    def num_outputs(self) -> int:
        """Cells of all axes but the first, t."""
        return math.prod(self.Y.shape[1:])

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
        """Joint posterior at q points of the first axis and all cells of the others, differentiable in the points.

        Args:
            X: Points, `b x q x d_1`.
            output_indices: Which outputs, counted over the other axes with the last the fastest; None for all.
            observation_noise: True for the posterior of observations (where noise is known, with the mean noise of each
                output's observed cells); a tensor gives noise variances in units of Y squared, broadcast to
                `b x q x t`.
            posterior_transform: Applied to the joint Gaussian of the q points and the outputs.

        Returns:
            A `PathPosterior` in units of Y, mean `b x q x t`; what `posterior_transform` makes, where one is given.

        Raises:
            InvalidDataError: If X has another number of features, an output does not exist, or a transform asks for a
                joint covariance that does not fit in memory.
        """
        check_test_inputs(X, self.axes[0].shape[-1])
        return self._posterior([X, *[None] * (self.n_axes - 1)], output_indices, observation_noise, posterior_transform)

    def _posterior(
        self,
        points: Points,
        output_indices: list[int] | None,
        observation_noise: bool | Tensor,
        posterior_transform: PosteriorTransform | None,
    ) -> Posterior:
        query, scale = self.solution().at(points), self.outcome_scale
        t = query.n_outputs
        if output_indices is not None and not all(-t <= index < t for index in output_indices):
            raise InvalidDataError(f"output_indices: there are {t} outputs, got {output_indices}.")

        def shown(values: Tensor) -> Tensor:
            chosen = values if output_indices is None else values[..., output_indices]
            return chosen.to(self.Y.dtype)

        mean = scale.restore(shown(query.mean))
        noise = self._noise_of_outputs(observation_noise, mean, points, output_indices)
        if posterior_transform is not None:
            covariance = scale.restore_variance(query.joint_covariance(output_indices).to(mean))
            covariance = covariance + torch.diag_embed(noise.expand(mean.shape).flatten(-2))
            if mean.shape[-1] == 1:
                return posterior_transform(GPyTorchPosterior(MultivariateNormal(mean[..., 0], covariance)))
            return posterior_transform(GPyTorchPosterior(MultitaskMultivariateNormal(mean, covariance)))
        n_function, noisy = query.n_normals, observation_noise is not False

        def paths(normals: Tensor) -> Tensor:
            function, rest = normals.split([n_function, normals.shape[-1] - n_function], -1)
            values = scale.restore(shown(query.functions(function)))
            return values + noise.sqrt() * rest.reshape(*rest.shape[:-1], *mean.shape[-2:]) if noisy else values

        def variance() -> Tensor:
            return scale.restore_variance(shown(query.variance)) + noise

        return PathPosterior(mean, variance, paths, n_function + (math.prod(mean.shape[-2:]) if noisy else 0))

    def _noise_of_outputs(
        self, observation_noise: bool | Tensor, mean: Tensor, points: Points, outputs: list[int] | None
    ) -> Tensor:
        """Noise variances in units of Y squared that broadcast to `b x q x t`."""
        if isinstance(observation_noise, Tensor):
            return observation_noise.to(mean)
        if not observation_noise:
            return torch.zeros((), dtype=mean.dtype, device=mean.device)
        if self.noise.dim() == 0:
            return (self.noise.detach() * self.scale.square()).to(mean)
        if any(test is not None for test in points[1:]):
            raise InvalidDataError(
                "observation_noise: the known noise differs from cell to cell, so it is not known at other points of "
                "the further axes. Give the variances as a tensor."
            )
        seen = torch.where(self.observed, self.noise, 0.0).flatten(1)
        count = self.observed.flatten(1).sum(0)
        overall = seen.sum() / count.sum()
        each = torch.where(count > 0, seen.sum(0) / count.clamp_min(1), overall) * self.scale.square()
        return (each if outputs is None else each[outputs]).to(mean)

    def draw_paths(self, n_paths: int, generator: torch.Generator, *, n_features: int = 1024) -> GridPaths:
        """Whole functions from the posterior, which stay the same wherever they are evaluated.

        Their prior part is a sum of random features along the first axis: exact in the mean and along the other axes,
        and with a covariance along the first that is right up to about `1 / sqrt(n_features)`. Samples of `posterior`
        are exact throughout.

        Args:
            n_paths: How many, s.
            generator: Draws them.
            n_features: Random features.

        Returns:
            A differentiable callable from `... x q x d_1` to `s x ... x q x t`, in units of Y.

        Raises:
            InvalidDataError: If no random features are known for the kernel of the first axis.
        """
        solution = self.solution()
        return draw_grid_paths(
            self.kernels[0],
            self.axes[0],
            solution.system,
            solution.y,
            self.outcome_scale.restore,
            n_paths=n_paths,
            n_features=n_features,
            generator=generator,
        )

    # -- further data ---------------------------------------------------------------------------------------------

    @override
    def condition_on_observations(self, X: Tensor, Y: Tensor, noise: Tensor | None = None, **_: Any) -> "KroneckerGP":
        """The model after further observations; hyperparameters and scaling stay as they are.

        Observations at a point that the first axis has fill its missing cells; everything else becomes a new row.

        Args:
            X: Points of the first axis, `k x d_1`.
            Y: Observations, `k x t` or `k x n_2 x ... x n_m`; nan for none.
            noise: Their noise variances in units of Y squared, broadcast to Y; needed where those of the model are
                known, and only there.

        Returns:
            A new model; this one is left alone.

        Raises:
            InvalidDataError: If a shape or value cannot be used.
        """
        check_inputs("X", X, like=self.Y)
        check_test_inputs(X, self.axes[0].shape[-1])
        if Y.shape not in ((len(X), self.num_outputs), (len(X), *self.Y.shape[1:])) or Y.isinf().any():
            raise InvalidDataError(
                f"Y: expected finite or nan, `k x t` with k={len(X)}, t={self.num_outputs}, got {tuple(Y.shape)}."
            )
        if (noise is None) != (self.Yvar is None):
            known = "known for the training data: give it" if noise is None else "learned for all: leave it out"
            raise InvalidDataError(f"noise: the noise variance is {known}.")
        sizes = (len(X), *self.Y.shape[1:])
        old, new = [self.Y], [Y.reshape(sizes)]
        if noise is not None and self.Yvar is not None:
            check_noise(noise, Y)
            old, new = [*old, self.Yvar], [*new, noise.expand(Y.shape).reshape(sizes)]
        axis, fields = with_rows(self.axes[0], old, X, new)
        after = copy.deepcopy(self)
        after.axis_0 = axis
        after._set_data(fields[0], fields[1] if len(fields) > 1 else None)
        after._solved = None
        return after
