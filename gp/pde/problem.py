"""What a differential equation is, for the solver: a box, an operator of constant coefficients, a source, a boundary.

Alphabet. d: dimensions of the box, 1 or 2. X: points, `n x d`. u: the solution. f: the source. g: the boundary values.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from gp.errors import InvalidDataError

Field = Callable[[Tensor], Tensor]
"""Values at points: `n x d -> n`."""
_HIGHEST_ORDER: Final = 2
_MOST_DIMENSIONS: Final = 2


@dataclass(frozen=True)
class PDEProblem:
    """`sum_o c_o D^o u + reaction(u) = f` in a box, `u = g` on all of its sides.

    Example:
        >>> import math
        >>> poisson = PDEProblem(
        ...     domain=[(0.0, 1.0)],
        ...     terms={(2,): 1.0},
        ...     source=lambda X: -(math.pi**2) * torch.sin(math.pi * X[:, 0]),
        ...     boundary=lambda X: torch.zeros_like(X[:, 0]),
        ... )
        >>> poisson.dims
        1
    """

    domain: Sequence[tuple[float, float]]
    """Lower and upper end along each axis, in units of x."""
    terms: Mapping[tuple[int, ...], float]
    """Coefficient of each derivative; `(2, 0)` is the second one along the first axis, `(0, 0)` is u itself."""
    source: Field
    """f, evaluated once at the points of a grid, its ends included."""
    boundary: Field
    """g, evaluated once at the points of the grid that lie on a side."""
    reaction: Callable[[Tensor], Tensor] | None = None
    """A nonlinear term, elementwise and differentiable by autograd; None for a linear equation."""
    source_sd: float = 0.0
    """Standard deviation of independent noise in each value of the source, in units of f; 0 for exact ones."""
    boundary_sd: float = 0.0
    """Standard deviation of independent noise in each boundary value, in units of u; 0 for exact ones."""

    def __post_init__(self) -> None:
        """Check what can be checked without evaluating anything.

        Raises:
            InvalidDataError: If a field is not of an accepted kind.
        """
        if not 1 <= self.dims <= _MOST_DIMENSIONS:
            raise InvalidDataError(f"domain: problems of one and two dimensions are solved, got {self.dims} pairs.")
        for low, high in self.domain:
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise InvalidDataError(
                    f"domain: expected finite pairs (low, high) with low < high, got ({low}, {high})."
                )
        for orders, coefficient in self.terms.items():
            if len(orders) != self.dims or not all(0 <= order <= _HIGHEST_ORDER for order in orders):
                raise InvalidDataError(
                    f"terms: expected one derivative of order 0, 1 or 2 along each of {self.dims} axes, got {orders}."
                )
            if not math.isfinite(coefficient):
                raise InvalidDataError(f"terms: expected a finite coefficient of {orders}, got {coefficient}.")
        if not any(coefficient != 0 and any(orders) for orders, coefficient in self.terms.items()):
            raise InvalidDataError(f"terms: expected a derivative with a coefficient that is not 0, got {self.terms}.")
        for name, sd in (("source_sd", self.source_sd), ("boundary_sd", self.boundary_sd)):
            if not (math.isfinite(sd) and sd >= 0):
                raise InvalidDataError(f"{name}: expected a finite standard deviation >= 0, got {sd}.")

    @property
    def dims(self) -> int:
        """Dimensions of the box, d."""
        return len(self.domain)

    @property
    def noisy(self) -> bool:
        """Whether the source or the boundary values carry noise."""
        return self.source_sd > 0 or self.boundary_sd > 0

    def reacts(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """The nonlinear term and its derivative.

        Args:
            u: Values of the solution, of any shape.

        Returns:
            Two tensors of the shape of u; zeros for a linear equation.
        """
        if self.reaction is None:
            return torch.zeros_like(u), torch.zeros_like(u)
        with torch.enable_grad():
            leaf = u.detach().requires_grad_(True)
            value = self.reaction(leaf)
            (slope,) = torch.autograd.grad(value.sum(), leaf)
        return value.detach(), slope

    def checked(self, name: str, values: Tensor, n: int) -> Tensor:
        """Values of a field of this problem, if they can be used.

        Args:
            name: 'source' or 'boundary'.
            values: What the field returned.
            n: At how many points.

        Returns:
            The same values.

        Raises:
            InvalidDataError: If their shape is another one, or one is not finite.
        """
        if values.shape != (n,):
            raise InvalidDataError(
                f"{name}: expected {n} values at `n x {self.dims}` points, got {tuple(values.shape)}."
            )
        if not bool(torch.isfinite(values).all()):
            raise InvalidDataError(f"{name}: a value is not finite; is the function defined on the closed box?")
        return values
