"""A grid's data solved for, and what follows from that at test points.

Alphabet. m: axes. n_i: size of axis i. p_i: test points of axis i; those of the first may have a batch, `... x p_1`.
y: standardised values. t: outputs, the test cells of all axes but the first, the last axis the fastest. s: functions.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final

import torch
from gpytorch.kernels.kernel import Kernel
from torch import Tensor

from gp.errors import InvalidDataError
from gp.grid_paths import AxisFactor, axis_factor, n_normals, split_normals, update_weights
from gp.linalg.grid_systems import GridSystem
from gp.linalg.kronecker import mode_products
from gp.posteriors import unexpanded

_MOST_EXACT_VARIANCES: Final = 1024
"""So many test cells get their variance by a solution each where a grid is solved iteratively; beyond, by paths."""
_VARIANCE_PATHS: Final = 256
"""Paths behind such a variance: its relative standard error is the root of 2 / 256, 9 %."""
_MOST_JOINT: Final = 200_000_000
"""Numbers that a joint covariance matrix may take on its way: 1.6 GB."""


class GridSolution:
    """The system of the observed cells, and its solution for their values."""

    def __init__(self, kernels: Sequence[Kernel], axes: Sequence[Tensor], system: GridSystem, y: Tensor) -> None:
        """Solve.

        Args:
            kernels: One an axis.
            axes: Their points, `n_i x d_i`.
            system: Of the observed cells, made of the kernels' covariances.
            y: Values, `n_1 x ... x n_m`, zero at missing cells.
        """
        self.kernels, self.axes, self.system, self.y = kernels, axes, system, y.double()
        self.weights = system.solve(self.y[None])[0]
        self._moved: tuple[Any, Tensor, Tensor] | None = None

    def at(self, points: Sequence[Tensor | None]) -> "GridQuery":
        """What is known at the grid of some test points.

        Args:
            points: Of each axis, `p_i x d_i`, those of the first `... x p_1 x d_1`; None for the axis' own.

        Returns:
            A query, whose parts are computed as they are asked for.
        """
        return GridQuery(self, points)

    def update(self, factors: Sequence[AxisFactor], cells: Tensor, noise: Tensor, normals: Tensor) -> Tensor:
        """Matheron's weights of the functions that some normal numbers make.

        Args:
            factors: Of each axis.
            cells: The numbers' part for the cells.
            noise: Their part for the noise.
            normals: All of them, by which a call that comes back with the same is recognised: so does every step of an
                optimiser of acquisition functions, and these weights do not depend on the test points.

        Returns:
            `... x n_1 x ... x n_m`.
        """
        key = (normals.data_ptr(), normals._version, normals.shape, normals.stride(), normals.dtype)
        if self._moved is None or self._moved[0] != key:
            with torch.no_grad():
                before = mode_products([factor.own for factor in factors], cells)
                weights = update_weights(self.system, self.y, before, noise)
            self._moved = (key, normals, weights)  # the numbers are held, so that no others come to lie where they are
        return self._moved[2]


class GridQuery:
    """Test points of each axis, and the posterior of y at their grid."""

    def __init__(self, solution: GridSolution, points: Sequence[Tensor | None]) -> None:
        """Compute the covariances with the axes.

        Args:
            solution: Of the data.
            points: As for `GridSolution.at`.
        """
        self.solution, self.points = solution, points
        own = solution.system.covariances
        self.crosses = [
            own[axis] if test is None else solution.kernels[axis](test, solution.axes[axis]).to_dense().double()
            for axis, test in enumerate(points)
        ]
        self.lead = self.crosses[0].shape[:-1]
        self.n_outputs = math.prod(C.shape[-2] for C in self.crosses[1:])

    @property
    def mean(self) -> Tensor:
        """`... x p_1 x t`."""
        return self._flat(mode_products(self.crosses, self.solution.weights))

    @property
    def variance(self) -> Tensor:
        """`... x p_1 x t`; estimated by paths for more cells than an iterative method can solve for one by one."""
        system = self.solution.system
        if not system.exact and math.prod(self.lead) * self.n_outputs > _MOST_EXACT_VARIANCES:
            generator = torch.Generator(self.crosses[0].device).manual_seed(0)
            shape = (_VARIANCE_PATHS, *[1] * (len(self.lead) - 1), self.n_normals)
            like = self.crosses[0]
            normals = torch.randn(shape, dtype=like.dtype, device=like.device, generator=generator)
            return self.functions(normals).var(0)
        prior = [
            system.covariances[axis].diagonal() if test is None else self._kernel(axis)(test, diag=True).double()
            for axis, test in enumerate(self.points)
        ]
        total = prior[0].reshape(-1)
        for each in prior[1:]:
            total = total[..., None] * each
        explained = system.explained([self.crosses[0].flatten(0, -2), *self.crosses[1:]])
        # rounding may leave nothing, or less, of a variance that the data explain
        least = torch.finfo(torch.float64).eps * total.detach()
        return torch.maximum(total - explained, least).reshape(*self.lead, -1)

    def joint_covariance(self, outputs: Sequence[int] | None) -> Tensor:
        """Covariances among the p_1 points times some outputs.

        Args:
            outputs: Which; None for all.

        Returns:
            `... x p_1 t x p_1 t`, the outputs the fastest.

        Raises:
            InvalidDataError: If it does not fit in memory.
        """
        system, device = self.solution.system, self.crosses[0].device
        kept = torch.arange(self.n_outputs, device=device)
        kept = kept if outputs is None else kept[list(outputs)]
        n_rows = math.prod(self.lead)
        if (
            max(n_rows * self.n_outputs * self.solution.y.numel(), n_rows * self.lead[-1] * len(kept) ** 2)
            > _MOST_JOINT
        ):
            raise InvalidDataError(
                f"posterior_transform: the joint covariance of {self.lead[-1]} points and {len(kept)} outputs does not "
                "fit in memory. Ask for fewer points, or take the posterior without a transform and transform its "
                "samples."
            )
        others = torch.ones(1, 1, dtype=torch.float64, device=device)
        for axis in range(1, len(self.points)):
            others = torch.kron(others, self._within(axis))
        others = others[kept][:, kept]
        prior = torch.einsum("...ij,kl->...ikjl", self._within(0), others).flatten(-4, -3).flatten(-2, -1)
        batches = self.crosses[0].reshape(-1, *self.crosses[0].shape[-2:])
        explained = torch.stack([system.jointly_explained([C, *self.crosses[1:]], kept) for C in batches])
        return prior - explained.reshape(prior.shape)

    @property
    def n_normals(self) -> int:
        """Standard normal numbers that one function takes."""
        return n_normals(self._factors)

    def functions(self, normals: Tensor) -> Tensor:
        """Functions drawn jointly at the test cells.

        Args:
            normals: `s x ... x n_normals`; the dimensions in between broadcast with the batch of the first axis.

        Returns:
            `s x ... x p_1 x t`.
        """
        normals = unexpanded(normals)
        cells, noise, whole = split_normals(self._factors, normals.double())
        weights = self.solution.update(self._factors, cells, noise, normals)
        rows = [factor.rows for factor in self._factors]
        return self._flat(mode_products(rows, whole) + mode_products(self.crosses, weights))

    @cached_property
    def _factors(self) -> list[AxisFactor]:
        eigen = self.solution.system.factors
        return [
            axis_factor(vectors, values)
            if test is None
            else axis_factor(vectors, values, self.crosses[axis], self._within(axis))
            for axis, (test, vectors, values) in enumerate(zip(self.points, eigen.vectors, eigen.values, strict=True))
        ]

    def _kernel(self, axis: int) -> Kernel:
        return self.solution.kernels[axis]

    def _within(self, axis: int) -> Tensor:
        """Covariances among the test points of an axis."""
        test = self.points[axis]
        if test is None:
            return self.solution.system.covariances[axis]
        within: Tensor = self._kernel(axis)(test).to_dense().double()
        return within

    def _flat(self, values: Tensor) -> Tensor:
        """Test cells of all axes but the first as one dimension."""
        return values.reshape(*values.shape[: values.dim() - len(self.points) + 1], -1)
