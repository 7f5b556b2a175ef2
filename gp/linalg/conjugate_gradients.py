"""Conjugate gradients for many right-hand sides at once.

Alphabet. A: symmetric positive definite, known by its products. s: systems that share it. n: unknowns of each.
"""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]


def conjugate_gradients(
    product: Product,
    right: Tensor,
    *,
    precondition: Product | None = None,
    tolerance: float = 1e-9,
    max_iterations: int = 2000,
) -> Tensor:
    """Solve `A x = r` for every row of right-hand sides, to a relative residual.

    Args:
        product: From `s x n` to `s x n`, A times each row.
        right: `s x n`.
        precondition: The same of an approximate inverse of A, symmetric positive definite; None for none.
        tolerance: A row is solved when the norm of its residual is below this share of that of its right-hand side.
        max_iterations: Products at most; running out of them is warned of.

    Returns:
        `s x n`, without a graph.

    Reference: Hestenes and Stiefel 1952, "Methods of Conjugate Gradients for Solving Linear Systems".

    Example:
        >>> A = torch.tensor([[4.0, 1.0], [1.0, 3.0]], dtype=torch.float64)
        >>> x = conjugate_gradients(lambda v: v @ A, torch.tensor([[1.0, 2.0]], dtype=torch.float64))
        >>> torch.allclose(x @ A, torch.tensor([[1.0, 2.0]], dtype=torch.float64))
        True
    """
    with torch.no_grad():
        x, residual = torch.zeros_like(right), right.clone()
        smallest = tolerance * right.norm(dim=-1)
        z = residual if precondition is None else precondition(residual)
        direction, rz = z.clone(), (residual * z).sum(-1)
        for _ in range(max_iterations):
            # the one look at the device in a pass
            if bool((residual.norm(dim=-1) <= smallest).all()):
                return x
            moved = product(direction)
            step = _ratio(rz, (direction * moved).sum(-1))
            x += step[..., None] * direction
            residual -= step[..., None] * moved
            z = residual if precondition is None else precondition(residual)
            before, rz = rz, (residual * z).sum(-1)
            direction = z + _ratio(rz, before)[..., None] * direction
        worst = float((residual.norm(dim=-1) / right.norm(dim=-1).clamp_min(torch.finfo(right.dtype).tiny)).max())
        if worst > tolerance:
            warnings.warn(
                f"conjugate gradients left a relative residual of {worst:.1e} after {max_iterations} products; "
                f"expected {tolerance:.0e}. Likely cause: noise variance far below the variance of the signal.",
                stacklevel=2,
            )
        return x


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """`above / below`, 0 for a row that is solved and has nothing left."""
    return torch.where(below > 0, above / below.clamp_min(torch.finfo(below.dtype).tiny), torch.zeros_like(above))
