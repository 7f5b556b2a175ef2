"""The equation and its boundary as weighted linear equations for the coefficients of a basis, one tensor axis an axis.

Alphabet. Z: coefficients, `r` in one dimension, `r1 x r2` in two; z is Z flattened. F: factors, a matrix an axis that
takes the coefficients of the axis to points. u: values of the solution at the grid. s: slope of the reaction there. J:
the equations' derivative with respect to z, each row over its standard deviation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from gp.pde.basis import Basis
from gp.pde.problem import PDEProblem

Factors = tuple[Tensor, ...]


def spread(factors: Factors, Z: Tensor) -> Tensor:
    """Values from coefficients: each axis through its factor."""
    along_first = factors[0] @ Z
    return along_first if len(factors) == 1 else along_first @ factors[1].mT


def gather(factors: Factors, values: Tensor) -> Tensor:
    """The adjoint of `spread`."""
    along_first = factors[0].mT @ values
    return along_first if len(factors) == 1 else along_first @ factors[1]


def grid_points(axes: Sequence[Tensor]) -> Tensor:
    """All points of a grid, `prod n x d`, the last axis fastest."""
    return torch.stack([coordinate.flatten() for coordinate in torch.meshgrid(*axes, indexing="ij")], -1)


@dataclass(frozen=True)
class Side:
    """Boundary values at one end of one axis."""

    axis: int
    end: int
    """0 for the lower, -1 for the upper."""
    values: Tensor
    """One a grid point of the side: 1 in one dimension, n of the other axis in two."""


@dataclass(frozen=True)
class Data:
    """What is known of the solution: the equation's right-hand side on a grid, and the boundary values."""

    source: Tensor
    """`n` or `n1 x n2`."""
    sides: tuple[Side, ...]


@dataclass(frozen=True)
class Equations:
    """Weighted equations for the coefficients; the first block is the differential equation, the others the sides."""

    problem: PDEProblem
    data: Data
    values: Factors
    """From coefficients to the solution at the grid."""
    derivatives: tuple[tuple[float, Factors], ...]
    """Coefficient and factors of each term of the operator."""
    at_sides: tuple[Factors, ...]
    """From coefficients to the solution at each side."""
    equation_sd: float
    boundary_sd: float

    @classmethod
    def on_grid(
        cls,
        problem: PDEProblem,
        data: Data,
        bases: Sequence[Basis],
        sds: tuple[float, float],
        shift: float = 0.0,
    ) -> "Equations":
        """The equations at the grid of the bases.

        Args:
            problem: What is solved.
            data: Its right-hand sides, at the points of the (shifted) grid.
            bases: One an axis.
            sds: Standard deviations of a value of the source and of the boundary, which weigh the equations.
            shift: Share of a step by which the points of the differential equation are shifted; the last one along
                each axis, which that would take out of the box, is then left out.

        Returns:
            The equations.
        """
        n_kept = [len(basis.grid) - (shift != 0.0) for basis in bases]

        def factors(orders: Sequence[int]) -> Factors:
            pairs = zip(bases, orders, n_kept, strict=True)
            return tuple(basis.on_grid(order, shift)[:n] for basis, order, n in pairs)

        derivatives = tuple((c, factors(orders)) for orders, c in problem.terms.items() if c != 0)
        whole = [basis.on_grid() for basis in bases]
        at_sides = tuple(
            tuple(F if axis != side.axis else F[:1] if side.end == 0 else F[-1:] for axis, F in enumerate(whole))
            for side in data.sides
        )
        return cls(problem, data, factors([0] * problem.dims), derivatives, at_sides, *sds)

    def residuals(self, Z: Tensor) -> tuple[Tensor, list[Tensor]]:
        """What the equations leave at some coefficients, each over its standard deviation, and the reaction's slope.

        Args:
            Z: Coefficients.

        Returns:
            The slope s at the grid, and the residuals, one tensor a block.
        """
        reaction, slope = self.problem.reacts(spread(self.values, Z))
        operator = sum((c * spread(F, Z) for c, F in self.derivatives), reaction)
        left = [(self.data.source - operator) / self.equation_sd]
        for side, F in zip(self.data.sides, self.at_sides, strict=True):
            at_side = spread(F, Z)
            left.append((side.values.reshape(at_side.shape) - at_side) / self.boundary_sd)
        return slope, left

    def forward(self, Z: Tensor, slope: Tensor) -> list[Tensor]:
        """`J z`, one tensor a block."""
        image = sum((c * spread(F, Z) for c, F in self.derivatives), slope * self._reacting(Z))
        rows = [image / self.equation_sd]
        return rows + [spread(F, Z) / self.boundary_sd for F in self.at_sides]

    def adjoint(self, rows: Sequence[Tensor], slope: Tensor) -> Tensor:
        """`J' v` of one tensor a block, in the shape of Z."""
        first = rows[0] / self.equation_sd
        total = sum((c * gather(F, first) for c, F in self.derivatives), torch.zeros_like(gather(self.values, first)))
        if self.problem.reaction is not None:
            total = total + gather(self.values, slope * first)
        for F, row in zip(self.at_sides, rows[1:], strict=True):
            total = total + gather(F, row) / self.boundary_sd
        return total

    def _reacting(self, Z: Tensor) -> Tensor | float:
        return 0.0 if self.problem.reaction is None else spread(self.values, Z)

    def jacobian(self, slope: Tensor) -> Tensor:
        """J of a problem of one dimension, `equations x r`."""
        operator = sum((c * F[0] for c, F in self.derivatives), slope[:, None] * self.values[0])
        sides = [F[0] / self.boundary_sd for F in self.at_sides]
        return torch.cat([operator / self.equation_sd, *sides])

    def gram(self, slope: Tensor) -> Tensor:
        """`J' J`, without J: by the axes' factors alone, also where the slope is a field on the grid.

        Args:
            slope: Of the reaction, on the grid.

        Returns:
            `r x r`, or `r1 r2 x r1 r2` with the last axis fastest.
        """
        if self.problem.dims == 1:
            J = self.jacobian(slope)
            return J.mT @ J
        terms: list[tuple[float, Factors]] = list(self.derivatives)
        size = self.values[0].shape[1] * self.values[1].shape[1]
        total = torch.zeros(size, size, dtype=slope.dtype, device=slope.device)
        for (c, F), (e, G) in product(terms, terms):
            total += c * e * torch.kron(F[0].mT @ G[0], F[1].mT @ G[1])
        if self.problem.reaction is not None:
            for c, F in terms:
                cross = c * _weighted_gram(F, slope, self.values)
                total += cross + cross.mT
            total += _weighted_gram(self.values, slope.square(), self.values)
        total /= self.equation_sd**2
        for F in self.at_sides:
            total += torch.kron(F[0].mT @ F[0], F[1].mT @ F[1]) / self.boundary_sd**2
        return total


def _weighted_gram(F: Factors, field: Tensor, G: Factors) -> Tensor:
    """`(F1 kron F2)' diag(field) (G1 kron G2)` of a field on the grid, `n1 x n2`, in `O(n1 r1² r2²)`."""
    r1, r2 = F[0].shape[1], F[1].shape[1]
    # first the sum over the second axis, for each point of the first
    inner = torch.einsum("jb,ij,jd->ibd", F[1], field, G[1]).flatten(1)
    outer = (F[0][:, :, None] * G[0][:, None, :]).flatten(1)
    return (outer.mT @ inner).reshape(r1, r1, r2, r2).permute(0, 2, 1, 3).reshape(r1 * r2, r1 * r2)
