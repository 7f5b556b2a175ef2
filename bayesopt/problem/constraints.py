"""Linear constraints on what may be tried, in the parameters' own units.

Alphabet. X: native values by flat name, `n x M`; a flat name is a Float's or Int's own, or "mixture.web" for a share.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from bayesopt.errors import InvalidSpaceError
from bayesopt.problem.arguments import as_number
from bayesopt.problem.parameters import check_name

FloatArray = NDArray[np.float64]

TOLERANCE: Final = 1e-9
"""How far a sum may lie beyond its bound, relative to the size of its terms: rounding, not intent."""


@dataclass(frozen=True, repr=False)
class LinearConstraint:
    """A weighted sum of parameters that must stay within bounds; a parameter that does not exist counts as 0.

    Example:
        >>> LinearConstraint({"width": 1, "depth": 8.0}, upper=512)
        LinearConstraint(width + 8*depth <= 512)
    """

    coefficients: Mapping[str, float]
    """Name to weight: of a Float or Int by its name, of a share as `"mixture.web"`."""
    upper: float | None = field(default=None, kw_only=True)
    """The most that the sum may be; None for no limit."""
    lower: float | None = field(default=None, kw_only=True)
    """The least that the sum may be; None for no limit."""

    def __post_init__(self) -> None:
        """Refuse what bounds nothing, or leaves nothing.

        Raises:
            InvalidSpaceError: If coefficients are missing or no numbers, or the bounds are missing or in no order.
        """
        if not isinstance(self.coefficients, Mapping) or not self.coefficients:
            raise InvalidSpaceError(
                f"LinearConstraint: expected a dict from parameter name to coefficient, got {self.coefficients!r}."
            )
        coefficients = {
            check_name("LinearConstraint", name): _finite(f"LinearConstraint: the coefficient of {name!r}", value)
            for name, value in self.coefficients.items()
        }
        for name, value in coefficients.items():
            if value == 0:
                raise InvalidSpaceError(f"LinearConstraint: the coefficient of {name!r} is 0; leave the name out.")
        object.__setattr__(self, "coefficients", coefficients)
        for side in ("upper", "lower"):
            if (bound := getattr(self, side)) is not None:
                object.__setattr__(self, side, _finite(f"LinearConstraint({side}=...)", bound))
        if self.upper is None and self.lower is None:
            raise InvalidSpaceError(
                f"LinearConstraint({_sum(coefficients)}): no bound is given; give upper= or lower=."
            )
        if self.upper is not None and self.lower is not None and self.lower >= self.upper:
            raise InvalidSpaceError(
                f"LinearConstraint({self}): lower must be below upper; where an exact sum is needed, compute one "
                "parameter from the others instead of tuning it, or use Simplex for shares of a whole."
            )

    @override
    def __str__(self) -> str:
        """The inequality."""
        left = "" if self.lower is None else f"{self.lower:g} <= "
        right = "" if self.upper is None else f" <= {self.upper:g}"
        return f"{left}{_sum(self.coefficients)}{right}"

    @override
    def __repr__(self) -> str:
        """The inequality, by name of its kind."""
        return f"LinearConstraint({self})"

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON values; its entries are the constructor's arguments."""
        return {"coefficients": dict(self.coefficients), "upper": self.upper, "lower": self.lower}


class LinearSystem:
    """Several linear constraints on flat native values, checked together."""

    def __init__(self, constraints: Sequence[LinearConstraint], positions: Mapping[str, int]) -> None:
        """The constraints, and the column of X of every flat name."""
        self.weights = np.zeros((len(constraints), len(positions)))
        for i, constraint in enumerate(constraints):
            for name, weight in constraint.coefficients.items():
                self.weights[i, positions[name]] = weight
        self.lower = np.array([-math.inf if c.lower is None else c.lower for c in constraints])
        self.upper = np.array([math.inf if c.upper is None else c.upper for c in constraints])
        self._bound_size = np.maximum(*(np.where(np.isfinite(b), np.abs(b), 0.0) for b in (self.lower, self.upper)))

    def sums(self, X: FloatArray) -> FloatArray:
        """The weighted sums, `n x r`."""
        return X @ self.weights.T

    def satisfied(self, X: FloatArray) -> NDArray[np.bool_]:
        """Which constraints hold at each row, `n x r`, up to rounding."""
        sums = self.sums(X)
        slack = TOLERANCE * (np.abs(X) @ np.abs(self.weights).T + self._bound_size)
        return (sums <= self.upper + slack) & (sums >= self.lower - slack)


def _finite(role: str, value: Any) -> float:
    number = as_number(role, value, InvalidSpaceError)
    if not math.isfinite(number):
        raise InvalidSpaceError(f"{role}: expected a finite number, got {number!r}.")
    return number


def _sum(coefficients: Mapping[str, float]) -> str:
    """The weighted sum as a person writes it: `width - 2*depth`."""
    text = ""
    for name, value in coefficients.items():
        sign = (" - " if value < 0 else " + ") if text else ("-" if value < 0 else "")
        factor = "" if abs(value) == 1 else f"{abs(value):g}*"
        text += f"{sign}{factor}{name}"
    return text
