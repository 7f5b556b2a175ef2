"""The objective that spectral solvers of differential equations were published with, for comparison.

Alphabet. U: the solution at the grid, `n` or `n1 x n2`, a free parameter. C: the prior's covariance along an axis.
tau: precisions of the boundary and of the equation.
"""

import math
import time
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from gp.kernels.spectral_mixture import SpectralMixtureKernel
from gp.linalg.cholesky import safe_cholesky
from gp.pde.equations import Data
from gp.pde.problem import PDEProblem

_COMPONENTS: Final = 30
_JITTER: Final = 1e-6
_RATE: Final = 1e-2
_BOUNDARY_WEIGHT: Final = 200.0
"""These four as published."""


@dataclass(frozen=True)
class PublishedSolution:
    """The solution at the grid and its interpolation."""

    U: Tensor
    kernels: tuple[SpectralMixtureKernel, ...]
    axes: tuple[Tensor, ...]
    steps: int
    """Of the optimiser."""
    cpu_seconds: float

    def on_product(self, axes: list[Tensor]) -> Tensor:
        """The solution at all points of another grid.

        Args:
            axes: Coordinates along each axis.

        Returns:
            `n` or `n1 x n2`.
        """
        values = self.U
        for axis, (kernel, grid, x) in enumerate(zip(self.kernels, self.axes, axes, strict=True)):
            L = _factor(kernel, grid)
            cross = kernel.along_axis(0, x[:, None] - grid)
            values = _along(torch.cholesky_solve(cross.mT, L).mT, values, axis)
        return values.detach()


def solve_published(
    problem: PDEProblem, data: Data, axes: list[Tensor], *, highest: float, spectrum: str, seconds: float
) -> PublishedSolution:
    """Maximise the joint density of the solution at the grid, the boundary values and a residual of 0, by Adam.

    Args:
        problem: What to solve.
        data: Its right-hand sides at the grid.
        axes: The grid.
        highest: Frequencies start equispaced from 0 up to this, in cycles a unit of x.
        spectrum: 'gaussian' or 'student'.
        seconds: Processor time to spend.

    Returns:
        Where the optimiser is then.

    Reference: Fang et al. 2024, "Solving High Frequency and Multi-Scale PDEs with Gaussian Processes".
    """
    kernels = []
    for grid in axes:
        kernel = SpectralMixtureKernel(_COMPONENTS, spectrum=spectrum).to(grid)
        kernel.frequencies = torch.linspace(0.0, highest, _COMPONENTS).to(grid)
        # envelopes exp(-z²) or a lengthscale of 1
        kernel.bandwidths = grid.new_tensor(
            1.0 / (math.sqrt(2.0) * math.pi if spectrum == "gaussian" else 2.0 * math.pi)
        )
        kernels.append(kernel)
    U = torch.zeros_like(data.source).requires_grad_(True)
    log_tau = axes[0].new_zeros(2).requires_grad_(True)
    parameters = [U, log_tau, *(value for kernel in kernels for value in kernel.parameters())]
    optimiser = torch.optim.Adam(parameters, lr=_RATE)
    steps = 0
    began = time.process_time()  # torch loads its optimisers when the first is made, in seconds
    while time.process_time() - began < seconds:
        optimiser.zero_grad()
        loss = -log_density(problem, data, axes, kernels, U, log_tau)
        loss.backward()
        optimiser.step()
        steps += 1
    return PublishedSolution(U.detach(), tuple(kernels), tuple(axes), steps, time.process_time() - began)


def log_density(
    problem: PDEProblem,
    data: Data,
    axes: list[Tensor],
    kernels: list[SpectralMixtureKernel],
    U: Tensor,
    log_tau: Tensor,
) -> Tensor:
    """What is maximised, up to a constant.

    Args:
        problem: What to solve.
        data: Its right-hand sides at the grid.
        axes: The grid.
        kernels: The prior along each axis.
        U: The solution at the grid.
        log_tau: Logarithms of the precisions of the boundary values and of the equation.

    Returns:
        A scalar, differentiable in U, log_tau and what the kernels hold.
    """
    factors = [_factor(kernel, grid) for kernel, grid in zip(kernels, axes, strict=True)]
    solved = U
    for axis, L in enumerate(factors):
        solved = _along_solve(L, solved, axis)
    total = -0.5 * (U * solved).sum()
    for L in factors:
        total = total - U.numel() / len(L) * L.diagonal().log().sum()
    operator = problem.reaction(U) if problem.reaction is not None else torch.zeros_like(U)
    for orders, c in problem.terms.items():
        field = solved
        for axis, order in enumerate(orders):
            field = _along(_covariance(kernels[axis], axes[axis], order), field, axis)
        operator = operator + c * field
    misfit = (operator - data.source).square().sum()
    total = total + 0.5 * (U.numel() * log_tau[1] - log_tau[1].exp() * misfit)
    for side in data.sides:
        missed = (U.select(side.axis, side.end).flatten() - side.values).square().sum()
        total = total + _BOUNDARY_WEIGHT * 0.5 * (side.values.numel() * log_tau[0] - log_tau[0].exp() * missed)
    return total


def _covariance(kernel: SpectralMixtureKernel, grid: Tensor, order: int) -> Tensor:
    # equispaced, as in `AxisBasis`: a thirtieth of the time
    n = len(grid)
    i = torch.arange(n, device=grid.device)
    lags = torch.arange(1 - n, n, dtype=grid.dtype, device=grid.device) * ((grid[-1] - grid[0]) / (n - 1))
    return kernel.along_axis(0, lags, order)[i[:, None] - i + n - 1]


def _factor(kernel: SpectralMixtureKernel, grid: Tensor) -> Tensor:
    C = _covariance(kernel, grid, 0)
    return safe_cholesky(C + _JITTER * torch.eye(len(grid), dtype=grid.dtype, device=grid.device), "prior on the grid")


def _along(matrix: Tensor, values: Tensor, axis: int) -> Tensor:
    return torch.tensordot(matrix, values, dims=([1], [axis])).movedim(0, axis)


def _along_solve(L: Tensor, values: Tensor, axis: int) -> Tensor:
    first = values.movedim(axis, 0)
    return torch.cholesky_solve(first.reshape(len(L), -1), L).reshape(first.shape).movedim(0, axis)
