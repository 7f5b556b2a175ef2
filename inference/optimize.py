"""The mode of a log density: L-BFGS from several starts.

Alphabet. z: unconstrained coordinates. s: starts.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.optimize
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.density import LogDensity
from inference.errors import InvalidInputError

_ABOVE: Final = 10.0
"""By how many times its size an impossible point counts for worse than the worst seen: high enough to be refused, and
low enough for a line search to step back by a part of its step only."""


@dataclass(frozen=True)
class MapResult:
    """Where the density is largest, as far as was found."""

    z: Tensor
    """The best point, `dim`."""
    value: float
    """Log density there."""
    grad_norm: float
    """Largest entry of its gradient, of those coordinates that no bound holds."""
    converged: bool
    """Whether the search that found it ended by itself, not by its limit or a failed line search."""


def find_map(
    density: LogDensity, starts: Tensor, *, bounds: Tensor | None = None, max_iterations: int = 200
) -> MapResult:
    """The highest of the local maxima that searches from some starts end in.

    Args:
        density: What is maximised.
        starts: `s x dim`.
        bounds: Lower and upper bounds, `2 x dim`; None for none.
        max_iterations: Of each search.

    Returns:
        The best point of all; `converged` says whether it can be taken for a maximum.

    Raises:
        InvalidInputError: If a shape does not fit, or no start has a finite density.

    Example:
        >>> from inference.density import from_callable
        >>> bowl = from_callable(lambda z: -(z - 3.0).square().sum(1), dim=1)
        >>> round(find_map(bowl, torch.zeros(1, 1)).z.item(), 6)
        3.0
    """
    if starts.dim() != 2 or starts.shape[1] != density.dim or len(starts) == 0:
        raise InvalidInputError(f"starts: expected `s x dim` with dim={density.dim}, got {tuple(starts.shape)}.")
    if bounds is not None and (bounds.shape != (2, density.dim) or not bool((bounds[0] <= bounds[1]).all())):
        raise InvalidInputError(f"bounds: expected lower <= upper of shape (2, {density.dim}), got {bounds}.")
    box = None if bounds is None else scipy.optimize.Bounds(*bounds.detach().cpu().double().numpy())

    worst = -np.inf

    def objective(z: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        nonlocal worst
        point = torch.as_tensor(z, dtype=density.dtype, device=density.device)
        value, gradient = density.value_and_grad(point[None])
        if not bool(torch.isfinite(value).all() and torch.isfinite(gradient).all()):
            return worst + _ABOVE * (1.0 + abs(worst)), np.zeros_like(z)
        worst = max(worst, -float(value))
        return -float(value), -gradient[0].double().cpu().numpy()

    value, gradient = density.value_and_grad(starts)
    possible = starts[torch.isfinite(value) & torch.isfinite(gradient).all(1)]
    if len(possible) == 0:
        raise InvalidInputError(
            f"starts: the density is 0 or not a number at all {len(starts)} of them; start elsewhere."
        )
    found = [
        scipy.optimize.minimize(
            objective, start, jac=True, method="L-BFGS-B", bounds=box, options={"maxiter": max_iterations}
        )
        for start in possible.detach().cpu().double().numpy()
    ]
    best = min(found, key=lambda one: one.fun)
    moved = best.x - best.jac
    free = best.x - (moved if box is None else np.clip(moved, box.lb, box.ub))
    return MapResult(
        z=torch.as_tensor(best.x, dtype=density.dtype, device=density.device),
        value=-float(best.fun),
        grad_norm=float(np.abs(free).max()),
        converged=bool(best.success),
    )
