"""The prior process along one axis as a basis of functions: few, orthonormal a priori, differentiable in closed form.

Alphabet. t: the axis' grid, n equispaced points `h` apart. K: the kernel on it. r: functions kept. T: `n x r` with
`T' K T = I`, so that `k(x, t) T z` with standard normal z is the process, projected on the grid.
"""

from collections.abc import Sequence
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

from gp.kernels.spectral_mixture import SpectralMixtureKernel


class Basis(Protocol):
    """Functions along an axis, with the grid that they were made on."""

    grid: Tensor

    @property
    def size(self) -> int:
        """How many, r."""

    def on_grid(self, order: int = 0, shift: float = 0.0) -> Tensor:
        """The functions at the grid, `n x r`, shifted by a share of a step, or a derivative of them."""

    def at(self, x: Tensor, order: int = 0) -> Tensor:
        """The functions at coordinates, `m -> m x r`, or a derivative of them."""


class AxisBasis:
    """Functions of one coordinate whose independent standard normal combinations are the prior along the axis."""

    def __init__(self, kernel: SpectralMixtureKernel, grid: Tensor, cut: float, most: int) -> None:
        """Factor the kernel on the grid.

        Args:
            kernel: The prior along the axis, of one input dimension.
            grid: Equispaced points, `n`.
            cut: Functions kept have at least this variance, relative to the largest: a jitter on K would cap the
                accuracy at its size, leaving directions out does not.
            most: Functions kept at most, those of largest variance.
        """
        self._kernel, self.grid = kernel, grid
        self._step = (grid[-1] - grid[0]) / (len(grid) - 1)
        values, vectors = torch.linalg.eigh(self._covariances(0, 0.0))
        n_kept = min(int((values > cut * values[-1]).sum()), most)
        self._T = vectors[:, -n_kept:] / values[-n_kept:].sqrt()
        self._on_grid = cache(lambda order, shift: self._covariances(order, shift) @ self._T)

    @property
    def size(self) -> int:
        """Functions kept, r."""
        return self._T.shape[1]

    def on_grid(self, order: int = 0, shift: float = 0.0) -> Tensor:
        """The functions at the grid, `n x r`, shifted by a share of a step, or a derivative of them."""
        return self._on_grid(order, shift)

    def at(self, x: Tensor, order: int = 0) -> Tensor:
        """The functions at any coordinates.

        Args:
            x: Coordinates, `m`.
            order: Of a derivative, 0 for the functions themselves.

        Returns:
            `m x r`.
        """
        return self._kernel.along_axis(0, x[:, None] - self.grid, order) @ self._T

    def _covariances(self, order: int, shift: float) -> Tensor:
        # equispaced: the kernel is evaluated at 2 n - 1 lags instead of at n² pairs
        n = len(self.grid)
        lags = (torch.arange(1 - n, n, dtype=self.grid.dtype, device=self.grid.device) + shift) * self._step
        at_lags = self._kernel.along_axis(0, lags, order)
        i = torch.arange(n, device=self.grid.device)
        return at_lags[i[:, None] - i + n - 1]


class JoinedBasis:
    """Functions of several processes that add up, told apart so that each process can have a variance of its own."""

    def __init__(self, parts: Sequence[AxisBasis]) -> None:
        """Join them.

        Args:
            parts: On the same grid.
        """
        self._parts, self.grid = tuple(parts), parts[0].grid
        counts = torch.tensor([part.size for part in parts], device=self.grid.device)
        self.groups = torch.repeat_interleave(torch.arange(len(parts), device=self.grid.device), counts)
        """For each function the index of its process."""

    @property
    def size(self) -> int:
        """Functions of all of them."""
        return len(self.groups)

    def on_grid(self, order: int = 0, shift: float = 0.0) -> Tensor:
        """The functions at the grid, `n x r`, shifted by a share of a step, or a derivative of them."""
        return torch.cat([part.on_grid(order, shift) for part in self._parts], -1)

    def at(self, x: Tensor, order: int = 0) -> Tensor:
        """The functions at coordinates, `m -> m x r`, or a derivative of them."""
        return torch.cat([part.at(x, order) for part in self._parts], -1)
