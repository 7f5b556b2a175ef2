"""The iterative solvers by the names that models know them by."""

from collections.abc import Callable
from typing import Any, Final, Literal

from torch import Tensor

from gp.linalg.iterative.alternating_projections import alternating_projections
from gp.linalg.iterative.conjugate_gradients import conjugate_gradients
from gp.linalg.iterative.stochastic_dual_descent import stochastic_dual_descent
from gp.linalg.iterative.system import KernelSystem, Solution

SolverName = Literal["ap", "sdd", "cg"]
_RANK: Final = 100
"""Columns of the preconditioner of conjugate gradients: 10 instead of more than 100 products for 2,000 points in two
dimensions."""


def _preconditioned(system: KernelSystem, right: Tensor, **options: Any) -> Solution:
    return conjugate_gradients(system, right, rank=min(_RANK, system.n), **options)


SOLVERS: Final[dict[str, Callable[..., Solution]]] = {
    "ap": alternating_projections,
    "sdd": stochastic_dual_descent,
    "cg": _preconditioned,
}
"""Each takes a system, right-hand sides, `start`, `passes` and `tolerance`."""
