"""Conjugate gradients on a kernel matrix, preconditioned by a pivoted Cholesky factor if that is asked for.

Alphabet as in `gp.linalg.iterative.system`. L: `n x k` factor with `L L'` close to K. P: preconditioner `L L' + D`.
"""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from gp.errors import InvalidDataError
from gp.linalg.cholesky import safe_cholesky
from gp.linalg.iterative.system import Equations, KernelSystem, Solution

_CHECKED_EVERY: Final = 5
"""Passes between looks at the device: one of conjugate gradients costs a fifth of one of the other solvers."""


def conjugate_gradients(
    system: KernelSystem,
    right: Tensor,
    *,
    start: Tensor | None = None,
    passes: float = 100.0,
    tolerance: float = 1e-3,
    rank: int = 0,
) -> Solution:
    """Solve `A x = b` by conjugate gradients, each right-hand side with step lengths of its own.

    Args:
        system: Its A.
        right: Right-hand sides, `n x s`.
        start: Where to start from, `n x s`; None for zeros. Another costs one pass.
        passes: Products with A, at most; at least one is made.
        tolerance: Stop where no right-hand side's residual norm is above this share of its own.
        rank: Columns k of the pivoted Cholesky factor in the preconditioner; 0 for no preconditioner.

    Returns:
        The solution, with its residual as the recursion has it, every fifth pass and at the end.

    Raises:
        InvalidDataError: If a shape does not fit, a value is not finite or the rank is not in `0 .. n`.

    Reference: Hestenes and Stiefel 1952, "Methods of Conjugate Gradients for Solving Linear Systems"; Gardner et al.
    2018, "GPyTorch", for the preconditioner.

    Example:
        >>> from gpytorch.kernels import RBFKernel
        >>> X = torch.linspace(0, 1, 6, dtype=torch.float64)[:, None]
        >>> system = KernelSystem(RBFKernel().double(), X, torch.full((6,), 0.1, dtype=torch.float64))
        >>> torch.allclose(system.product(conjugate_gradients(system, X, tolerance=1e-9).x), X)
        True
    """
    if not 0 <= rank <= system.n:
        raise InvalidDataError(f"rank: expected 0 .. n = {system.n}, got {rank}.")
    with torch.no_grad():
        equations = Equations.of(system, right, start)
        x, residual = equations.x, equations.residual
        precondition = _woodbury(pivoted_cholesky(system, rank), system.noise) if rank else torch.clone
        equations.passes += rank / system.n
        if start is not None and equations.solved(tolerance):
            return equations.solution(tolerance)
        z = precondition(residual)
        direction, rz = z, (residual * z).sum(0)
        step = 0
        while True:
            moved = system.product(direction)
            length = _ratio(rz, (direction * moved).sum(0))
            x += length * direction
            residual -= length * moved
            equations.passes += 1.0
            step += 1
            last = equations.passes + 1.0 > passes
            if (last or step % _CHECKED_EVERY == 0) and (equations.solved(tolerance) or last):
                return equations.solution(tolerance)
            z = precondition(residual)
            before, rz = rz, (residual * z).sum(0)
            direction = z + _ratio(rz, before) * direction


def pivoted_cholesky(system: KernelSystem, rank: int) -> Tensor:
    """Columns of the Cholesky factor of K, each for the point of which the others leave most variance.

    Args:
        system: Its K.
        rank: How many columns, k.

    Returns:
        `n x k`, in the order of the rows inside; columns beyond the numerical rank are zero.

    Reference: Harbrecht et al. 2012, "On the low-rank approximation by the pivoted Cholesky decomposition".
    """
    left = system.diagonal().clone()
    negligible = torch.finfo(left.dtype).eps * left.max()
    L = torch.zeros(system.n, rank, dtype=left.dtype, device=left.device)
    for column in range(rank):
        pivot = left.argmax()
        spread = left[pivot]
        rest = system.row(pivot) - L @ L.index_select(0, pivot.reshape(1))[0]
        new = torch.where(spread > negligible, rest / spread.clamp_min(negligible).sqrt(), torch.zeros_like(rest))
        L[:, column] = new
        left = (left - new.square()).clamp_min(0.0)
        left.index_fill_(0, pivot.reshape(1), 0.0)
    return L


def _woodbury(L: Tensor, noise: Tensor) -> Callable[[Tensor], Tensor]:
    """The product with the inverse of P."""
    over = L / noise[:, None]
    inner = safe_cholesky(torch.eye(L.shape[1], dtype=L.dtype, device=L.device) + L.mT @ over, "I + L' D^-1 L")
    return lambda r: r / noise[:, None] - over @ torch.cholesky_solve(over.mT @ r, inner)


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """`above / below`, 0 for a column that is solved and has nothing left."""
    return torch.where(below > 0, above / below.clamp_min(torch.finfo(below.dtype).tiny), torch.zeros_like(above))
