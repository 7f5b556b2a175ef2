"""Hyperparameters of greatest posterior density, for every model whose likelihood torch can differentiate.

Alphabet. theta: the trainable raw parameters of a module, one after another in the order of `modules`, `p` of them.
evidence: log marginal likelihood of the data, a scalar. Posterior densities are those of gpytorch: of the constrained
parameters, without a Jacobian.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from gpytorch.module import Module
from scipy.optimize import minimize
from torch import Tensor

from gp.array_kernels import FloatArray
from gp.errors import GPError, InvalidDataError
from inference.seeding import seeded

_DECREASE_TOLERANCE: Final = 1e-7
"""L-BFGS stops where a step gains less than this share of the objective's size: a thousandth of a nat in 10,000."""
_GRADIENT_TOLERANCE: Final = 1e-5
"""L-BFGS stops where no entry of the gradient, over the objective's size at the start, is larger."""
_SETTLED: Final = 0.1
"""Share of the length that a stochastic gradient's steps fall to by the last one."""


@dataclass(frozen=True)
class FitReport:
    """How a search for hyperparameters went."""

    log_posterior: float
    """Log evidence plus log prior where the search ended; nan where only its gradient can be had."""
    gradient_norm: float
    """Norm of its gradient in theta there, less what pushes against a bound."""
    starts: int
    """How many searches were begun."""
    iterations: int
    """Steps of the optimiser, of all starts."""
    jitter: float
    """Diagonal shift that the factorisation at the end needed, relative to the mean diagonal; 0 if none."""
    cpu_seconds: float
    """Processor time of the search."""
    converged: bool
    """Whether the best start ended by a tolerance of the optimiser, not by running out of steps or breaking down."""


def log_prior(module: Module) -> Tensor:
    """Sum of the log densities of all priors that are registered in a module.

    Args:
        module: Any gpytorch module.

    Returns:
        A scalar, differentiable; zero without priors.
    """
    total = torch.zeros(())
    for _, owner, prior, closure, _ in module.named_priors():
        total = total + prior.log_prob(closure(owner)).sum()
    return total


def raw_parameters(module: Module) -> Tensor:
    """Theta as it stands, a copy: what `fit_hyperparameters` takes as a start.

    Args:
        module: Any gpytorch module.

    Returns:
        `p`, float64.

    Example:
        >>> from gpytorch.kernels import RBFKernel
        >>> raw_parameters(RBFKernel())
        tensor([0.], dtype=torch.float64)
    """
    return torch.as_tensor(_Theta(module).read())


def fit_hyperparameters(
    module: Module,
    evidence: Callable[[], Tensor],
    *,
    starts: Sequence[Tensor] = (),
    n_draws: int = 2,
    generator: torch.Generator | None = None,
    max_iterations: int = 200,
    jitter: Callable[[], float] | None = None,
) -> FitReport:
    """Move a module's parameters to the greatest posterior density that L-BFGS finds from several starts.

    The first start is where the parameters are. A start, or a point of a search, at which the evidence cannot be
    computed counts as too low; where that is so at every start, the parameters stay as they were and the error of the
    first is raised.

    Args:
        module: Its parameters that require gradients are moved; constraints and priors are respected.
        evidence: Log marginal likelihood at the module's present parameters, a differentiable scalar.
        starts: Further starts, each a theta as `raw_parameters` gives it.
        n_draws: How many starts are drawn from the priors besides; parameters without a prior stay where they are.
        generator: Draws them; None for a fresh one of seed 0.
        max_iterations: Of each search.
        jitter: Tells, once the search is over and the evidence evaluated there, the shift that it needed.

    Returns:
        What was reached; the module holds the parameters.

    Raises:
        InvalidDataError: If the module has no trainable parameters, or a start has another length.
        GPError: If the evidence cannot be computed at any start.

    Reference: Byrd et al. 1995, "A Limited Memory Algorithm for Bound Constrained Optimization".

    Example:
        >>> from gpytorch.kernels import RBFKernel
        >>> kernel = RBFKernel().double()
        >>> report = fit_hyperparameters(kernel, lambda: -(kernel.lengthscale - 2.0).square().sum())
        >>> round(kernel.lengthscale.item(), 3), report.converged
        (2.0, True)
    """
    began = time.process_time()
    theta = _Theta(module)
    here = theta.read()
    given = [np.asarray(start.detach().cpu(), dtype=np.float64) for start in starts]
    for start in given:
        if start.shape != here.shape:
            raise InvalidDataError(f"starts: expected each of shape {here.shape}, got {start.shape}.")
    draws = torch.Generator().manual_seed(0) if generator is None else generator
    begun = [here, *given, *(theta.draw(here, draws) for _ in range(n_draws))]
    search = _Search(theta, evidence)
    for start in begun:
        search.run(start, max_iterations)
    if search.best is None:
        theta.write(here)
        assert search.error is not None  # a start that has no value has left its error
        raise search.error
    theta.write(search.best)
    value, gradient = search.evaluate(search.best)
    return FitReport(
        log_posterior=value,
        gradient_norm=theta.projected_norm(search.best, gradient),
        starts=len(begun),
        iterations=search.iterations,
        jitter=0.0 if jitter is None else jitter(),
        cpu_seconds=time.process_time() - began,
        converged=search.converged,
    )


def follow_gradient(
    module: Module, surrogate: Callable[[], Tensor], *, n_steps: int = 60, rate: float = 0.1
) -> FitReport:
    """Move a module's parameters uphill along an unbiased gradient of the evidence, where its value cannot be had.

    Adam, its steps shrinking to a tenth; the parameters are those of the mean over the last quarter of the steps, which
    halves what the noise of the gradient leaves.

    Args:
        module: As in `fit_hyperparameters`.
        surrogate: A scalar whose gradient is an unbiased estimate of the evidence's; its value does not matter.
        n_steps: How many steps.
        rate: Length of the first ones, in units of theta.

    Returns:
        What was reached; `log_posterior` is nan and `converged` says whether all steps were finite.

    Raises:
        InvalidDataError: If the module has no trainable parameters.

    Reference: Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization"; Lin et al. 2024, "Improving Linear
    System Solvers for Hyperparameter Optimisation in Iterative Gaussian Processes".
    """
    began = time.process_time()
    theta = _Theta(module)
    here = theta.read()
    first, second, total = np.zeros_like(here), np.zeros_like(here), np.zeros_like(here)
    gradient, n_kept, finite = np.zeros_like(here), 0, True
    for step in range(1, n_steps + 1):
        theta.write(here)
        gradient = theta.gradient(surrogate() + log_prior(module))
        if not np.isfinite(gradient).all():
            finite = False
            break
        first, second = 0.9 * first + 0.1 * gradient, 0.99 * second + 0.01 * gradient**2
        unbiased = first / (1.0 - 0.9**step), second / (1.0 - 0.99**step)
        length = rate * _SETTLED ** (step / n_steps)
        here = theta.inside(here + length * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-12))
        if step > 0.75 * n_steps:
            total, n_kept = total + here, n_kept + 1
    here = total / n_kept if n_kept else here
    theta.write(here)
    return FitReport(
        log_posterior=math.nan,
        gradient_norm=theta.projected_norm(here, -gradient),
        starts=1,
        iterations=n_steps if finite else step,
        jitter=0.0,
        cpu_seconds=time.process_time() - began,
        converged=finite,
    )


def _trainable(module: torch.nn.Module) -> Iterator[tuple[torch.nn.Module, str, torch.nn.Parameter]]:
    """Each parameter that requires a gradient, once, with the module that holds it: which knows its constraint."""
    seen = set()
    for owner in module.modules():
        for name, parameter in owner.named_parameters(recurse=False):
            if parameter.requires_grad and parameter not in seen:
                seen.add(parameter)
                yield owner, name, parameter


class _Theta:
    """The trainable parameters of a module as one array, with their bounds."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.parameters: list[Tensor] = []
        lower: list[FloatArray] = []
        upper: list[FloatArray] = []
        for owner, name, parameter in _trainable(module):
            self.parameters.append(parameter)
            constraint = owner.constraint_for_parameter_name(name) if isinstance(owner, Module) else None
            # A constraint that is enforced maps all of the real line into itself; another leaves the bounds to us.
            bounded = constraint is not None and not constraint.enforced
            for side, bound in ((lower, "lower_bound"), (upper, "upper_bound")):
                free = -math.inf if side is lower else math.inf
                limit = getattr(constraint, bound) if bounded else torch.tensor(free)
                side.append(np.broadcast_to(limit.detach().cpu().numpy(), parameter.shape).ravel())
        if not self.parameters:
            raise InvalidDataError("module: none of its parameters requires a gradient; there is nothing to fit.")
        self.lower, self.upper = np.concatenate(lower).astype(float), np.concatenate(upper).astype(float)

    def read(self) -> FloatArray:
        flat = torch.cat([parameter.detach().reshape(-1).double().cpu() for parameter in self.parameters])
        return flat.numpy().copy()

    def write(self, theta: FloatArray) -> None:
        at = 0
        with torch.no_grad():
            for parameter in self.parameters:
                part = torch.as_tensor(theta[at : at + parameter.numel()]).to(parameter)
                parameter.copy_(part.reshape(parameter.shape))
                at += parameter.numel()

    def inside(self, theta: FloatArray) -> FloatArray:
        clipped: FloatArray = np.clip(theta, self.lower, self.upper)
        return clipped

    def gradient(self, value: Tensor) -> FloatArray:
        # autograd.grad rather than backward: what the caller keeps in .grad stays untouched
        parts = torch.autograd.grad(value, self.parameters, allow_unused=True)
        filled = [
            torch.zeros_like(parameter) if part is None else part
            for part, parameter in zip(parts, self.parameters, strict=True)
        ]
        return torch.cat([part.reshape(-1).double().cpu() for part in filled]).numpy()

    def projected_norm(self, theta: FloatArray, downhill: FloatArray) -> float:
        """Norm of an objective's gradient, of which we minimise, less what pushes against a bound."""
        return float(np.linalg.norm(theta - self.inside(theta - downhill)))

    def draw(self, here: FloatArray, generator: torch.Generator) -> FloatArray:
        """Theta with every parameter that has a prior drawn from it."""
        seed = int(torch.randint(2**62, (1,), generator=generator, device=generator.device))
        with seeded(seed), torch.no_grad():
            for _, owner, prior, closure, setting in self.module.named_priors():
                if setting is not None:
                    shape = closure(owner).shape
                    setting(owner, prior.sample() if prior.batch_shape else prior.expand(shape).sample())
        drawn = self.read()
        self.write(here)
        # a draw that its constraint forbids has no raw value, or one outside the bounds
        return self.inside(np.where(np.isfinite(drawn), drawn, here))


class _Search:
    """Minimises minus the log posterior density from one start after the other, and keeps the best point seen."""

    def __init__(self, theta: _Theta, evidence: Callable[[], Tensor]) -> None:
        self.theta, self.evidence = theta, evidence
        self.best: FloatArray | None = None
        self.best_value = -math.inf
        self.error: GPError | None = None
        self.iterations, self.converged = 0, False

    def evaluate(self, point: FloatArray) -> tuple[float, FloatArray]:
        """Log posterior density and the gradient of minus it."""
        self.theta.write(point)
        with torch.enable_grad():
            value = self.evidence() + log_prior(self.theta.module)
            gradient = self.theta.gradient(value)
        return float(value.detach()), -gradient

    def run(self, start: FloatArray, max_iterations: int) -> None:
        first = self._evaluate_safely(self.theta.inside(start))
        if first is None:
            return
        size = max(1.0, abs(first[0]))
        reached, worst = -math.inf, -first[0]

        def objective(point: FloatArray) -> tuple[float, FloatArray]:
            nonlocal reached, worst
            found = self._evaluate_safely(point)
            if found is None:  # a wall, high above what was seen: the line search turns back
                return (worst + 10.0 * size) / size, np.zeros_like(point)
            value, gradient = found
            worst = max(worst, -value)
            reached = max(reached, value)
            if value > self.best_value:
                self.best, self.best_value = point.copy(), value
            return -value / size, gradient / size

        bounds = np.stack([self.theta.lower, self.theta.upper], 1)
        options: dict[str, Any] = {
            "maxiter": max_iterations,
            "ftol": _DECREASE_TOLERANCE,
            "gtol": _GRADIENT_TOLERANCE,
        }
        found = minimize(
            objective, self.theta.inside(start), jac=True, method="L-BFGS-B", bounds=bounds, options=options
        )
        self.iterations += int(found.nit)
        if reached >= self.best_value:  # this search holds the best point
            self.converged = bool(found.success)

    def _evaluate_safely(self, point: FloatArray) -> tuple[float, FloatArray] | None:
        try:
            value, gradient = self.evaluate(point)
        except GPError as error:
            self.error = self.error or error
            return None
        if math.isfinite(value) and bool(np.isfinite(gradient).all()):
            return value, gradient
        self.error = self.error or GPError(
            f"evidence: expected a finite value and gradient, got {value} at theta = {point}. Likely causes: data that "
            "are not finite, or a prior without mass where the parameters start."
        )
        return None
