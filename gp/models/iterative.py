"""An exact Gaussian process for many thousands of points, whose linear systems are solved iteratively.

Alphabet. X: `n x d` inputs. Y: `n x 1`. y: Y less its mean, over its standard deviation. K: kernel matrix. D: diagonal
of noise variances. S: functions. f: functions from the prior. z: `n x S` solutions of `(K + D) z = f(X) + e` with noise
e of variance D. a: the solution for y. b x q: batch of joint test points.

A function from the posterior is `f(.) + k(., X) (a - z)` (Matheron's rule): what the data leave open at a point is
`f(.) - k(., X) z`, with mean zero. The same z estimate the gradient of the evidence, as `E z z' = (K + D)^-1`.
"""

import copy
import math
import warnings
from dataclasses import dataclass
from typing import Any, Final

import torch
from botorch.acquisition.objective import PosteriorTransform
from botorch.posteriors.gpytorch import GPyTorchPosterior
from botorch.posteriors.posterior import Posterior
from gpytorch.constraints.constraints import GreaterThan
from gpytorch.distributions.multivariate_normal import MultivariateNormal
from gpytorch.kernels.kernel import Kernel
from gpytorch.likelihoods.gaussian_likelihood import GaussianLikelihood
from gpytorch.module import Module
from torch import Tensor
from typing_extensions import override

from gp.errors import InvalidDataError
from gp.fitting import FitReport, follow_gradient
from gp.kernels.covariance import covariance
from gp.kernels.matern import scaled_matern
from gp.linalg.iterative.evidence import evidence_surrogate
from gp.linalg.iterative.solvers import SOLVERS, SolverName
from gp.linalg.iterative.system import KernelSystem, Solution
from gp.models.base import (
    OutcomeScale,
    SingleOutputModel,
    check_inputs,
    check_output_indices,
    check_test_inputs,
    warn_of_single_precision,
)
from gp.posterior_functions import PosteriorFunctions
from gp.posteriors import PathPosterior
from gp.random_functions import RandomFunctions

NOISE_FLOOR: Final = 1e-5
"""Least noise variance of y: below it, K in float32 is not positive definite for rounding alone."""
_FIRST_NOISE: Final = 0.1
"""Noise variance of y before it is learned."""
_EXACT_POINTS: Final = 64
"""Up to so many test points have their exact covariance, at the price of a solution with as many right-hand sides."""
_CHUNK: Final = 2**24
"""Covariances of test points and data held at once where no graph is kept: 128 MB in float64."""


@dataclass(frozen=True)
class _Conditioned:
    """Prior functions and solutions for one value of the hyperparameters."""

    theta: Tensor
    system: KernelSystem
    functions: RandomFunctions
    solution: Solution
    """Of y, then of each function with noise, `n x (1 + S)`."""


class IterativeGP(SingleOutputModel, Module):
    """Gaussian process regression without a factorisation of the kernel matrix.

    The prior mean of y is zero. The posterior mean is that of an exact Gaussian process up to the solver's tolerance.
    Covariances of at most 64 test points are exact in the same sense, never too small; for more, they are those of S
    functions drawn from the posterior, a relative error of `sqrt(2 / S)` of a variance, and samples are normal mixtures
    of these functions. Up to 23,170 points the kernel matrix is kept in float32, 2 GB; beyond, its rows are computed
    anew when they are needed.

    Reference: Lin et al. 2024, "Stochastic Gradient Descent for Gaussian Processes Done Right" and "Improving Linear
    System Solvers for Hyperparameter Optimisation in Iterative Gaussian Processes".

    Example:
        >>> X = torch.linspace(0, 1, 50, dtype=torch.float64)[:, None]
        >>> model = IterativeGP(X, torch.sin(6 * X), noise=0.01)
        >>> bool((model.posterior(X).mean - torch.sin(6 * X)).abs().max() < 0.01)
        True
    """

    train_X: Tensor
    train_Y: Tensor
    train_Yvar: Tensor | None
    offset: Tensor
    """Mean of Y, a scalar."""
    scale: Tensor
    """Standard deviation of Y, a scalar."""

    def __init__(
        self,
        train_X: Tensor,
        train_Y: Tensor,
        train_Yvar: Tensor | None = None,
        *,
        solver: SolverName = "ap",
        kernel: Kernel | None = None,
        noise: float | None = None,
        n_paths: int = 64,
        passes: float = 100.0,
        tolerance: float = 1e-2,
        seed: int = 0,
    ) -> None:
        """Take the data in; nothing is solved before it is asked for.

        Args:
            train_X: Inputs, `n x d`.
            train_Y: Observations, `n x 1`.
            train_Yvar: Known noise variances, `n x 1`, in units of Y squared; nan where unknown, None where all are.
            solver: "ap", alternating projections, which predict well after few passes whatever the data; "sdd",
                stochastic dual descent, without any factorisation; "cg", conjugate gradients with a pivoted Cholesky
                preconditioner, quickest to a small residual where few dimensions or much noise make K close to low
                rank, and worse than either of the others where not.
            kernel: Covariance of y, of which random features are known; None for a scaled Matérn-3/2 with a
                lengthscale a feature, which start at the features' standard deviations times `sqrt(d)`.
            noise: Known standard deviation of the noise, in units of Y, of the values without a known variance; None to
                learn it.
            n_paths: S, functions that variances are taken from.
            passes: At most so many over the kernel matrix a solution; running out of them is warned of.
            tolerance: Share of a right-hand side's norm that a solution may leave as its residual.
            seed: Of the functions, the order of the rows, and all else that is drawn.

        Raises:
            InvalidDataError: If a shape, a dtype or a value cannot be used.
        """
        super().__init__()
        _check_data(train_X, train_Y, train_Yvar)
        if solver not in SOLVERS:
            raise InvalidDataError(f"solver: expected one of {', '.join(map(repr, SOLVERS))}, got {solver!r}.")
        if noise is not None and not (math.isfinite(noise) and noise >= 0):
            raise InvalidDataError(f"noise: expected a finite standard deviation >= 0, or None, got {noise!r}.")
        if n_paths < 1 or passes < 1 or not tolerance > 0:
            raise InvalidDataError(
                f"n_paths, passes, tolerance: expected at least 1, at least 1 and a positive share, got {n_paths}, "
                f"{passes} and {tolerance}."
            )
        warn_of_single_precision(train_X.dtype, "IterativeGP")
        self.register_buffer("train_X", train_X.detach(), persistent=False)
        self.register_buffer("train_Y", train_Y.detach(), persistent=False)
        self.register_buffer("train_Yvar", None if train_Yvar is None else train_Yvar.detach(), persistent=False)
        scale = OutcomeScale.of(train_Y)
        self.register_buffer("offset", scale.offset)
        self.register_buffer("scale", scale.scale)
        self.solver, self.n_paths, self.passes, self.tolerance, self.seed = solver, n_paths, passes, tolerance, seed
        self.kernel = scaled_matern(train_X) if kernel is None else kernel
        floor = GreaterThan(NOISE_FLOOR, transform=torch.exp, inv_transform=torch.log)
        self.likelihood = GaussianLikelihood(noise_constraint=floor).to(train_X)
        if noise is None:
            self.likelihood.noise = _FIRST_NOISE
        else:  # the constraint maps the floor itself to minus infinity
            self.likelihood.noise = 1.01 * NOISE_FLOOR + (noise / float(scale.scale)) ** 2
        if noise is not None or (train_Yvar is not None and not bool(train_Yvar.isnan().any())):
            self.likelihood.requires_grad_(False)
        draws = torch.Generator().manual_seed(seed)
        self._order = torch.randperm(len(train_X), generator=draws, device="cpu")
        self._normals = torch.randn(len(train_X), n_paths, generator=draws, dtype=torch.float64, device="cpu")
        self._cached: _Conditioned | None = None
        self._start: Tensor | None = None

    # -- hyperparameters ------------------------------------------------------------------------------------------

    @property
    def noise_variances(self) -> Tensor:
        """Noise variance of each observation, `n x 1`, in units of Y squared."""
        return self.scale.square() * self._noise().detach()[:, None]

    @property
    def solution(self) -> Solution:
        """Solutions at the present hyperparameters of y, then of the S functions with noise, `n x (1 + S)`."""
        return self._conditioned().solution

    def fit(self, *, n_steps: int = 30, rate: float = 0.2, passes: float = 10.0, n_probes: int = 16) -> FitReport:
        """Move the hyperparameters along the gradient of the evidence, estimated from functions drawn from the prior.

        Every step solves for y and the first functions, from the solutions of the step before, on a budget that need
        not reach the tolerance: what a step leaves, the next one goes on with.

        Args:
            n_steps: How many.
            rate: Length of the first ones, in raw parameters, which are logarithms in the default kernel and the noise.
            passes: Budget of each solution.
            n_probes: Functions in the estimate, at most S.

        Returns:
            What was reached. The evidence itself is not known: `log_posterior` is nan.

        Raises:
            InvalidDataError: If there is nothing to fit, or `n_probes` is not in `1 .. S`.
        """
        if not 1 <= n_probes <= self.n_paths:
            raise InvalidDataError(f"n_probes: expected 1 .. n_paths = {self.n_paths}, got {n_probes}.")
        self._cached = None
        found = torch.zeros(len(self.train_X), 1 + n_probes).to(self.train_X)

        def surrogate() -> Tensor:
            nonlocal found
            with torch.no_grad():
                system, _, right = self._equations(n_probes)
                found = self._solved(system, right, start=found, passes=passes + 1.0).x
            return evidence_surrogate(self.kernel, self.train_X, self._noise(), found[:, :1], found[:, 1:])

        report = follow_gradient(self, surrogate, n_steps=n_steps, rate=rate)
        rest = torch.zeros(len(found), self.n_paths - n_probes).to(found)
        self._start = torch.cat([found, rest], 1)
        return report

    # -- prediction -----------------------------------------------------------------------------------------------

    @override
    def subset_output(self, idcs: list[int]) -> "IterativeGP":
        """The model of some outputs, of which there is one.

        Args:
            idcs: `[0]`.

        Returns:
            This model.

        Raises:
            InvalidDataError: If another output is asked for.
        """
        if idcs != [0]:
            raise InvalidDataError(f"idcs: there is one output, expected [0], got {idcs}.")
        return self

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
            X: Inputs, `b x q x d`.
            output_indices: None or `[0]`.
            observation_noise: True for the posterior of observations; a tensor gives their noise variances in units of
                Y squared, broadcast to `b x q x 1`.
            posterior_transform: Applied to the result.

        Returns:
            In units of Y, mean `b x q x 1`: a `GPyTorchPosterior` for at most 64 points in all, else a `PathPosterior`.

        Raises:
            InvalidDataError: If X has another number of features, or another output is asked for.
        """
        check_test_inputs(X, self.train_X.shape[-1])
        check_output_indices(output_indices)
        noise: Tensor | None = None
        if isinstance(observation_noise, Tensor):
            noise = observation_noise.expand(*X.shape[:-1], 1)
        elif observation_noise:
            noise = self._further_noise().expand(*X.shape[:-1], 1) * self.scale.square()
        few = X.shape[:-1].numel() <= _EXACT_POINTS
        posterior = self._exact(X, noise) if few else self._from_paths(X, noise)
        return posterior if posterior_transform is None else posterior_transform(posterior)

    def draw_paths(self, n_paths: int, generator: torch.Generator | None = None) -> PosteriorFunctions:
        """Whole functions from the posterior, for Thompson sampling; one solution for all of them.

        Args:
            n_paths: How many.
            generator: Draws them; None for a fresh one of seed 0.

        Returns:
            The functions, independent of those that `posterior` takes its variances from.

        Raises:
            InvalidDataError: If `n_paths` is not positive.

        Example:
            >>> X = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None]
            >>> paths = IterativeGP(X, torch.sin(6 * X), noise=0.01).draw_paths(3)
            >>> paths(X).shape
            torch.Size([3, 9])
        """
        if n_paths < 1:
            raise InvalidDataError(f"n_paths: expected at least 1, got {n_paths}.")
        draws = torch.Generator().manual_seed(self.seed) if generator is None else generator
        seed = int(torch.randint(2**62, (1,), generator=draws, device=draws.device))
        here = self._conditioned()
        functions = RandomFunctions(here.system.kernel, self.train_X, n_functions=n_paths, seed=seed)
        normals = torch.randn(len(self.train_X), n_paths, generator=draws, dtype=torch.float64, device=draws.device)
        with torch.no_grad():
            right = functions(self.train_X) + self._noise().sqrt()[:, None] * normals.to(self.train_X)
            z = self._solved(here.system, right).x
        weights = here.solution.x[:, :1] - z
        return PosteriorFunctions(functions, here.system.kernel, self.train_X, weights, self._outcome_scale())

    @override
    def condition_on_observations(self, X: Tensor, Y: Tensor, noise: Tensor | None = None, **_: Any) -> "IterativeGP":
        """The model after further observations; hyperparameters and scaling stay as they are.

        The solutions go on from those without the observations, and of the kernel matrix only the new rows are
        computed.

        Args:
            X: Inputs, `k x d`.
            Y: Observations, `k x 1`.
            noise: Their noise variances, `k x 1`, in units of Y squared; None for that of this model.

        Returns:
            A new model; this one is left alone.

        Raises:
            InvalidDataError: If a shape or value cannot be used.
        """
        _check_data(X, Y, noise)
        check_test_inputs(X, self.train_X.shape[-1])
        here, k = self._conditioned(), len(X)
        after = copy.copy(self)
        after._buffers, after._modules = dict(self._buffers), dict(self._modules)
        after.kernel, after.likelihood = copy.deepcopy(self.kernel), copy.deepcopy(self.likelihood)
        after.train_X, after.train_Y = torch.cat([self.train_X, X.detach()]), torch.cat([self.train_Y, Y.detach()])
        if noise is not None or self.train_Yvar is not None:
            unknown = torch.full_like(self.train_Y, math.nan)
            further = self._further_noise() * self.scale.square() if noise is None else noise
            before = unknown if self.train_Yvar is None else self.train_Yvar
            after.train_Yvar = torch.cat([before, further.expand(k, 1)])
        draws = torch.Generator().manual_seed(self.seed + len(self.train_X))
        after._order = torch.cat([self._order, torch.arange(len(self._order), len(self._order) + k, device="cpu")])
        normals = torch.randn(k, self.n_paths, generator=draws, dtype=torch.float64, device="cpu")
        after._normals = torch.cat([self._normals, normals])
        system = here.system.extended(X, after._noise()[-k:])
        with torch.no_grad():
            right = after._right(here.functions, self.n_paths)
            start = torch.cat([here.solution.x, torch.zeros(k, 1 + self.n_paths).to(X)])
            solution = after._solved(system, right, start=start)
        after._cached, after._start = _Conditioned(here.theta, system, here.functions, solution), None
        return after

    # -- inside ---------------------------------------------------------------------------------------------------

    def _outcome_scale(self) -> OutcomeScale:
        return OutcomeScale(self.offset, self.scale)

    def _noise(self) -> Tensor:
        """Noise variances of y, `n`; differentiable where they are learned."""
        learned = self.likelihood.noise.expand(len(self.train_X))
        if self.train_Yvar is None:
            return learned
        known = self.train_Yvar[:, 0] / self.scale.square() + NOISE_FLOOR
        return torch.where(known.isnan(), learned, known)

    def _further_noise(self) -> Tensor:
        """Noise variance of a further y, a scalar: the learned one, else the mean of those known."""
        return self._noise().detach().mean() if self.train_Yvar is not None else self.likelihood.noise.detach()[0]

    def _theta(self) -> Tensor:
        """All that a solution depends on besides the data."""
        parts = [*self.kernel.parameters(), *self.kernel.buffers(), *self.likelihood.parameters()]
        return torch.cat([part.detach().reshape(-1).to(self.train_X) for part in [*parts, self.offset, self.scale]])

    def _right(self, functions: RandomFunctions, n_functions: int) -> Tensor:
        """Right-hand sides: y, then the first functions with noise, `n x (1 + n_functions)`."""
        noise = self._noise().sqrt()[:, None] * self._normals[:, :n_functions].to(self.train_X)
        drawn = functions(self.train_X) + noise
        return torch.cat([self._outcome_scale().standardise(self.train_Y), drawn], 1)

    def _equations(self, n_functions: int) -> tuple[KernelSystem, RandomFunctions, Tensor]:
        system = KernelSystem(self.kernel, self.train_X, self._noise(), order=self._order.to(self.train_X.device))
        functions = RandomFunctions(system.kernel, self.train_X, n_functions=n_functions, seed=self.seed)
        return system, functions, self._right(functions, n_functions)

    def _solved(
        self, system: KernelSystem, right: Tensor, *, start: Tensor | None = None, passes: float | None = None
    ) -> Solution:
        """Of the model's solver; running out of the model's own budget is warned of."""
        budget = self.passes if passes is None else passes
        solution = SOLVERS[self.solver](system, right, start=start, passes=budget, tolerance=self.tolerance)
        if passes is None and not solution.converged:
            warnings.warn(
                f"IterativeGP: {solution.passes:.0f} passes of {self.solver!r} left a relative residual of "
                f"{solution.history[-1]:.1e}; expected {self.tolerance:g}. Raise `passes` or `tolerance`; the cause is "
                'noise far below the variance of the values. In few dimensions, `solver="cg"` is quicker.',
                stacklevel=3,
            )
        return solution

    def _conditioned(self) -> _Conditioned:
        theta = self._theta()
        kept = self._cached
        if kept is None or kept.theta.device != theta.device or not torch.equal(kept.theta, theta.to(kept.theta)):
            self._cached = None  # two kernel matrices need not be in memory at once
            with torch.no_grad():
                system, functions, right = self._equations(self.n_paths)
                kept = _Conditioned(theta, system, functions, self._solved(system, right, start=self._start))
            self._cached, self._start = kept, None
        return kept

    def _exact(self, X: Tensor, noise: Tensor | None) -> Posterior:
        here = self._conditioned()
        kernel = here.system.kernel
        flat = X.reshape(-1, X.shape[-1])
        cross = covariance(kernel, flat, self.train_X)
        with torch.no_grad():
            solved = self._solved(here.system, cross.detach().mT.contiguous())
        by_batch = (*X.shape[:-1], len(self.train_X))
        cross, V, left = cross.reshape(by_batch), solved.x.mT.reshape(by_batch), solved.residual.mT.reshape(by_batch)
        # k K^-1 k' as the maximum over V of 2 V k' - V A V': right in the gradient too, and off only by the square of
        # what V lacks, to the side of a larger variance
        linear = cross @ V.mT
        explained = linear + linear.mT - V @ (cross.detach() - left).mT
        rounding = max(10.0 * torch.finfo(here.system.row_dtype).eps, 1e-9)
        K = kernel(X).to_dense() - explained + rounding * torch.eye(X.shape[-2]).to(X)
        scale = self._outcome_scale()
        K = scale.restore_variance(K)
        if noise is not None:
            K = K + torch.diag_embed(noise[..., 0])
        return GPyTorchPosterior(MultivariateNormal(scale.restore(cross @ here.solution.x[:, 0]), K))

    def _from_paths(self, X: Tensor, noise: Tensor | None) -> Posterior:
        here, n = self._conditioned(), len(self.train_X)
        flat = X.reshape(-1, X.shape[-1])
        parts = [flat] if X.requires_grad else flat.split(max(_CHUNK // n, 1))
        explained = torch.cat([covariance(here.system.kernel, part, self.train_X) @ here.solution.x for part in parts])
        explained = explained.reshape(*X.shape[:-1], -1)
        scale = self._outcome_scale()
        deviations = (here.functions(X) - explained[..., 1:]) * (scale.scale / math.sqrt(self.n_paths))
        mean, S = scale.restore(explained[..., :1]), self.n_paths

        def variance() -> Tensor:
            of_function = deviations.square().sum(-1, keepdim=True)
            return of_function if noise is None else of_function + noise

        def paths(normals: Tensor) -> Tensor:
            values = mean + deviations @ normals[..., :S, None]
            return values if noise is None else values + noise.sqrt() * normals[..., S:, None]

        return PathPosterior(mean, variance, paths, S if noise is None else S + X.shape[-2])


def _check_data(X: Tensor, Y: Tensor, Yvar: Tensor | None) -> None:
    check_inputs("X", X)
    if Y.shape != (len(X), 1) or Y.dtype != X.dtype:
        raise InvalidDataError(
            f"Y: expected `n x 1` with n={len(X)} of {X.dtype}, as X, got {tuple(Y.shape)} of {Y.dtype}."
        )
    if not torch.isfinite(Y).all():
        raise InvalidDataError("Y: expected finite values; leave failed observations out.")
    if Yvar is not None and (Yvar.shape != Y.shape or not (Yvar.isnan() | (Yvar >= 0)).all()):
        raise InvalidDataError(
            f"Yvar: expected variances >= 0 (nan where unknown) of shape {tuple(Y.shape)}, got {tuple(Yvar.shape)}, "
            f"the least value {float(Yvar.nan_to_num().min()) if Yvar.numel() else math.nan:g}."
        )
