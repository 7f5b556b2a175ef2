"""Alternating projections: solve for the block of rows that is worst off, again and again.

Alphabet as in `gp.linalg.iterative.system`.
"""

import torch
from torch import Tensor

from gp.linalg.cholesky import safe_cholesky
from gp.linalg.iterative.system import Equations, KernelSystem, Solution


def alternating_projections(
    system: KernelSystem,
    right: Tensor,
    *,
    start: Tensor | None = None,
    passes: float = 100.0,
    tolerance: float = 1e-3,
) -> Solution:
    """Solve `A x = b` by block Gauss-Southwell steps.

    A step takes the block of the largest residual over all right-hand sides, solves its own equations exactly by a
    Cholesky factor kept from the beginning, and updates the residual of all rows with the block's. Every step decreases
    the energy `x'Ax/2 - b'x`; there is no step size. The factors take `n B` numbers.

    Args:
        system: Its A.
        right: Right-hand sides, `n x s`.
        start: Where to start from, `n x s`; None for zeros. Another costs one pass.
        passes: At most so many over the kernel matrix; at least one is made.
        tolerance: Stop where no right-hand side's residual norm is above this share of its own.

    Returns:
        The solution, with a check of its residual a pass.

    Raises:
        InvalidDataError: If a shape does not fit or a value is not finite.
        NotPositiveDefiniteError: If the block of some rows cannot be factored.

    Reference: Shalev-Shwartz and Zhang 2013 for dual coordinates; Wu et al. 2024, "Large-Scale Gaussian Processes via
    Alternating Projection".

    Example:
        >>> from gpytorch.kernels import RBFKernel
        >>> X = torch.linspace(0, 1, 6, dtype=torch.float64)[:, None]
        >>> system = KernelSystem(RBFKernel().double(), X, torch.full((6,), 0.1, dtype=torch.float64))
        >>> found = alternating_projections(system, X)
        >>> torch.allclose(system.product(found.x), X), found.passes
        (True, 1.0)
    """
    with torch.no_grad():
        equations = Equations.of(system, right, start)
        x, residual, size = equations.x, equations.residual, system.block_size
        starts = torch.tensor(system.starts, device=x.device)
        blocks = starts[:, None] + torch.arange(size, device=x.device)
        factors = _factors(system, x.dtype)
        solved = start is not None and equations.solved(tolerance)
        while not solved:
            for _ in system.starts:
                worst = residual.square().sum(1)[blocks].sum(1).argmax()
                block = blocks[worst]
                move = torch.cholesky_solve(residual[block], factors[worst])
                # what is added to x is what the rows are multiplied with, to the last digit
                low = move.to(system.row_dtype)
                move = low.to(x.dtype)
                x.index_add_(0, block, move)
                residual.sub_((system.block(starts[worst]).mT @ low).to(x.dtype))
                residual.index_add_(0, block, system.noise[block, None] * move, alpha=-1.0)
            equations.passes += len(system.starts) * size / system.n
            solved = equations.solved(tolerance) or equations.passes + 1.0 > passes
        return equations.solution(tolerance)


def _factors(system: KernelSystem, dtype: torch.dtype) -> Tensor:
    """Cholesky factors of the diagonal blocks of A, `blocks x B x B`."""
    size = system.block_size
    factors = torch.empty(len(system.starts), size, size, dtype=dtype, device=system.X.device)
    for place, start in enumerate(system.starts):
        rows = system.diagonal_block(start, size).to(dtype)
        noise = torch.diag(system.noise[start : start + size])
        factors[place] = safe_cholesky(rows + noise, f"rows {start} to {start + size} of K + D")
    return factors
