"""How wide the prior is and how large the noise: the maximum of a function of a few logarithms, on grids that shrink.

Alphabet. e, s, tau as in `structures.structure`.
"""

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

Objective = Callable[[Sequence[Tensor]], Tensor]
"""From one column of points a dimension to the value of each point."""

_SHRINKING: Final = 4
"""Rounds after the first, each over two cells of the one before it."""


def grid_maximum(
    objective: Objective, bounds: Sequence[tuple[float, float]], sizes: Sequence[int]
) -> tuple[float, ...]:
    """The best point of a grid, then of ever finer ones about it.

    Args:
        objective: Maximised; where it is nan it is never chosen.
        bounds: Lowest and highest value of each dimension.
        sizes: Points of each dimension in a grid.

    Returns:
        One number a dimension, within the bounds.

    Example:
        >>> x, = grid_maximum(lambda point: -(point[0] - 0.3).square(), [(-4.0, 4.0)], [81])
        >>> abs(x - 0.3) < 1e-5
        True
    """
    ranges = list(bounds)
    best: tuple[float, ...] = ()
    for _ in range(1 + _SHRINKING):
        axes = [
            torch.linspace(low, high, size, dtype=torch.float64)
            for (low, high), size in zip(ranges, sizes, strict=True)
        ]
        columns = [axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij")]
        values = objective(columns).nan_to_num(nan=-torch.inf)
        at = int(values.argmax())
        best = tuple(float(column[at]) for column in columns)
        cells = [(high - low) / (size - 1) for (low, high), size in zip(ranges, sizes, strict=True)]
        ranges = [
            (max(low, x - cell), min(high, x + cell)) for x, cell, (low, high) in zip(best, cells, bounds, strict=True)
        ]
    return best


def log_volume_ratio(spectrum: Tensor, scale: Tensor, tau: Tensor) -> Tensor:
    """`1/2 log |tau R| - 1/2 log |s H + tau R|`, how much of the prior's volume the posterior takes up.

    Args:
        spectrum: e, `K`.
        scale: s, `m`.
        tau: `m`.

    Returns:
        `m`.
    """
    ratios = (scale / tau).to(spectrum)
    # one at a time: a grid times all eigenvalues of a network is more than a small machine holds
    return torch.stack([-0.5 * torch.log1p(spectrum * ratio).sum() for ratio in ratios])
