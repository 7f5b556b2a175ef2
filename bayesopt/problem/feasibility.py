"""Whether linear constraints can hold at all, and where: linear programs with whole numbers among their variables.

Alphabet. x: a variable in its own units, x = low + unit * v; v: what the solver sees, [0, 1] for reals and
0, 1, ..., high - low for whole numbers; s: slack of every row relative to how far the row can vary.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bayesopt.problem.constraints import TOLERANCE, LinearConstraint

FloatArray = NDArray[np.float64]

_SOLVER_OPTIONS: Final = {"primal_feasibility_tolerance": 1e-10, "time_limit": 10.0}
"""The solver's tightest tolerance, as thin slabs need it; and seconds after which a program counts as undecided."""

_INFEASIBLE: Final = 2
"""The status by which `scipy.optimize.linprog` says that nothing satisfies the constraints."""


@dataclass(frozen=True)
class Variable:
    """A number that the constraints speak of."""

    low: float
    """Least value."""
    high: float
    """Greatest value."""
    is_whole: bool = False
    """Whether it takes whole values only."""


class LinearProgram:
    """Points that satisfy linear constraints, found by HiGHS."""

    def __init__(
        self,
        constraints: Sequence[LinearConstraint],
        variables: Mapping[str, Variable],
        *,
        wholes: Sequence[tuple[Sequence[str], bool]] = (),
        constants: Mapping[str, float] | None = None,
    ) -> None:
        """Put constraints in the form of the solver.

        Args:
            constraints: What must hold.
            variables: What may vary; a name that is neither here nor among the constants counts as 0.
            wholes: Groups of variables that sum to 1, or, where the flag is set, to at most 1.
            constants: What is given.
        """
        self._names = list(variables)
        self._low = np.array([v.low for v in variables.values()])
        span = np.array([v.high - v.low for v in variables.values()])
        self._whole = np.array([v.is_whole for v in variables.values()], dtype=np.int64)
        self._unit = np.where(self._whole == 1, 1.0, span)
        self._top = np.where(self._whole == 1, span, 1.0)
        given = constants or {}
        rows, bounds = [], []
        self.contradiction = False
        """Whether a constraint fails whatever the variables are."""
        for constraint in constraints:
            weights = np.array([constraint.coefficients.get(name, 0.0) for name in self._names])
            fixed = [constraint.coefficients[name] * given.get(name, 0.0) for name in constraint.coefficients]
            base = float(sum(fixed)) + float(weights @ self._low)
            reach = float(np.abs(weights) @ span)
            for sign, bound in ((1.0, constraint.upper), (-1.0, constraint.lower)):
                if bound is None:
                    continue
                room = sign * (bound - base)
                if reach > 0:
                    rows.append(np.append(sign * weights * self._unit, reach) / reach)
                    bounds.append(room / reach)
                elif room < -TOLERANCE * (abs(bound) + abs(base)):
                    self.contradiction = True
        self._rows, self._bounds = np.array(rows).reshape(len(rows), len(self._names) + 1), np.array(bounds)
        self._wholes = [(self._sum_row(group), at_most) for group, at_most in wholes]

    def most_slack(self) -> float | None:
        """The largest relative slack that all rows can have at once; None if they cannot hold together.

        Returns:
            The slack, from 0 to 1; 0 also where the solver does not decide whether the rows can hold.
        """
        if self.contradiction:
            return None
        if not len(self._rows):
            return 1.0
        result = self._solve(np.append(np.zeros(len(self._names)), -1.0), 0.0)
        if result.status == _INFEASIBLE:
            return None
        return float(result.x[-1]) if result.x is not None else 0.0

    def point(self, direction: FloatArray, slack: float) -> dict[str, float] | None:
        """The point furthest against a direction, one entry a variable, that keeps a slack; None if none is found."""
        result = self._solve(np.append(direction / self._top, 0.0), slack)
        if result.x is None:
            return None
        steps = np.where(self._whole == 1, np.rint(result.x[:-1]), result.x[:-1])
        return dict(zip(self._names, (self._low + self._unit * steps).tolist(), strict=True))

    def _sum_row(self, group: Sequence[str]) -> tuple[FloatArray, float]:
        members = np.isin(self._names, list(group))
        return np.append(np.where(members, self._unit, 0.0), 0.0), 1.0 - float(self._low[members].sum())

    def _solve(self, cost: FloatArray, slack: float) -> Any:
        from scipy.optimize import linprog  # late: scipy.optimize takes longer to import than this whole package

        exact = [row for row, at_most in self._wholes if not at_most]
        at_most = [row for row, at_most in self._wholes if at_most]
        return linprog(
            cost,
            A_ub=np.vstack([self._rows, *(row for row, _ in at_most)]),
            b_ub=np.append(self._bounds, [total for _, total in at_most]),
            A_eq=np.vstack([row for row, _ in exact]) if exact else None,
            b_eq=np.array([total for _, total in exact]) if exact else None,
            bounds=[*((0.0, top) for top in self._top), (slack, 1.0)],
            integrality=np.append(self._whole, 0),
            options=_SOLVER_OPTIONS,
        )
