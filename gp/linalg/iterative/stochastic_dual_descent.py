"""Stochastic dual descent: momentum steps along random blocks of the gradient, of a length found without being told.

Alphabet as in `gp.linalg.iterative.system`. T: steps in the budget.
"""

from typing import Final

import torch
from torch import Tensor

from gp.linalg.iterative.system import Equations, KernelSystem, Solution

_MOMENTUM: Final = 0.9
"""Nesterov's; a step `1 / largest eigenvalue` is then within the stable `1.36 / largest eigenvalue`."""
_AVERAGED: Final = 100.0
"""The average forgets iterates within T / 100 steps."""
_SUBSET: Final = 4096
"""Rows that the largest eigenvalue is found on; the error of so many random rows is a few per cent."""
_POWER_ITERATIONS: Final = 15
"""Enough for a few per cent: the largest eigenvalue of a kernel matrix stands well clear of the others."""


def stochastic_dual_descent(
    system: KernelSystem,
    right: Tensor,
    *,
    start: Tensor | None = None,
    passes: float = 100.0,
    tolerance: float = 1e-3,
    generator: torch.Generator | None = None,
) -> Solution:
    """Solve `A x = b` by stochastic gradients of the dual objective `x'Ax/2 - b'x`.

    Each step sees one block of rows at a look-ahead point; blocks come in a new random order every pass, and the
    solution is a geometric average of the iterates. Needs no factorisation and no step size: that is the inverse of the
    largest eigenvalue of A, by power iterations on some of the rows.

    Args:
        system: Its A; its order should be random.
        right: Right-hand sides, `n x s`.
        start: Where to start from, `n x s`; None for zeros. Another costs one pass.
        passes: At most so many over the kernel matrix, of which one evaluates the residual at the end.
        tolerance: Stop where no right-hand side's residual norm is above this share of its own. It is evaluated, at the
            price of a pass, when the blocks' residuals on their visits say that it may be so.
        generator: Of the order of the blocks; None for a fresh one of seed 0.

    Returns:
        The solution; its history holds what the blocks' residuals on their visits add up to, a pass each, and the
        residual where it was evaluated, last of all that of the solution.

    Raises:
        InvalidDataError: If a shape does not fit or a value is not finite.

    Reference: Lin et al. 2024, "Stochastic Gradient Descent for Gaussian Processes Done Right".

    Example:
        >>> from gpytorch.kernels import RBFKernel
        >>> X = torch.linspace(0, 1, 6, dtype=torch.float64)[:, None]
        >>> system = KernelSystem(RBFKernel().double(), X, torch.full((6,), 0.1, dtype=torch.float64))
        >>> torch.allclose(system.product(stochastic_dual_descent(system, X, passes=500).x), X, atol=1e-2)
        True
    """
    with torch.no_grad():
        equations = Equations.of(system, right, start)
        scaled = equations.residual if start is None else equations.residual + system.product(equations.x)
        if start is not None:
            equations.passes += 1.0
            if equations.solved(tolerance):
                return equations.solution(tolerance)
        largest, share = largest_eigenvalue(system)
        equations.passes += share
        draws = torch.Generator().manual_seed(0) if generator is None else generator
        size, starts = system.block_size, system.starts
        length = (system.n / size) / (largest + system.noise.max())
        a_pass = len(starts) * size / system.n
        n_steps = max((passes - equations.passes - 1.0) / a_pass, 1.0) * len(starts)
        keep = max(1.0 - _AVERAGED / n_steps, 0.0)
        x, average = equations.x.clone(), equations.x
        velocity = torch.zeros_like(x)
        while True:
            seen = torch.zeros_like(x[0])
            for place in torch.randperm(len(starts), generator=draws, device=draws.device).tolist():
                block = slice(starts[place], starts[place] + size)
                ahead = x + _MOMENTUM * velocity
                gradient = (system.rows(block.start, size) @ ahead.to(system.row_dtype)).to(x.dtype)
                gradient += system.noise[block, None] * ahead[block] - scaled[block]
                seen += gradient.square().sum(0)
                velocity *= _MOMENTUM
                velocity[block] -= length * gradient
                x += velocity
                average.mul_(keep).add_(x, alpha=1.0 - keep)
            equations.passes += a_pass
            out_of_budget = equations.passes + a_pass + 1.0 > passes
            if equations.noted(seen.sqrt(), tolerance) or out_of_budget:
                equations.residual = scaled - system.product(average)
                equations.passes += 1.0
                if equations.solved(tolerance) or out_of_budget:
                    return equations.solution(tolerance)


def largest_eigenvalue(system: KernelSystem) -> tuple[Tensor, float]:
    """Largest eigenvalue of K, from its first rows where there are many.

    Args:
        system: Its K.

    Returns:
        The eigenvalue, a scalar, and the passes that it took.
    """
    m = min(system.n, _SUBSET)
    corner = system.diagonal_block(0, m)
    vector = torch.ones(m, 1, dtype=corner.dtype, device=corner.device)  # K is mostly positive: close to the answer
    for _ in range(_POWER_ITERATIONS):
        vector = corner @ (vector / vector.norm())
    return vector.norm() * (system.n / m), _POWER_ITERATIONS * (m / system.n) ** 2
