"""The part of a space that fits what is left of a budget.

Alphabet. U: `m x d` points of the unit cube.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import override

from bayesopt.problem.space import Space

FloatArray = NDArray[np.float64]

_FEW: Final = 0.25
"""Share of the samples below which more are drawn around configurations that are known to fit."""
_MOVE: Final = 0.05
"""Standard deviation of a move around one of those, in sides of the cube."""


class AffordableSpace(Space):
    """A space without the configurations that cost too much: to a strategy they are forbidden like any other.

    Every strategy thus keeps within the budget without knowing of it.
    """

    def __init__(
        self, whole: Space, fits: Callable[[FloatArray], NDArray[np.bool_]], known: Callable[[], FloatArray]
    ) -> None:
        """Restrict a space.

        Args:
            whole: The space.
            fits: Which of `m x d` points fit the budget, `m`.
            known: Some allowed points that do, `k x d`.
        """
        self.__dict__.update(whole.__dict__)  # the same parameters and columns, compiled once
        self._whole, self._fits, self._known = whole, fits, known

    @property
    @override
    def is_constrained(self) -> bool:
        """Whether there are configurations that must not be tried: those that are too dear."""
        return True

    @override
    def is_allowed(self, U: ArrayLike) -> NDArray[np.bool_]:
        """Which configurations are allowed and fit, as in `Space.is_allowed`."""
        allowed = self._whole.is_allowed(U)
        points = np.asarray(U, dtype=np.float64)
        allowed[allowed] = self._fits(self._whole.snap(points[allowed]))
        return allowed

    @override
    def sample(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Up to n configurations that are allowed and fit: uniform ones, and where few fit, some around known ones."""
        drawn = self._whole.sample(n, rng)
        drawn = drawn[self._fits(drawn)]
        if len(drawn) >= _FEW * n or len(known := self._known()) == 0:
            return drawn
        near = known[rng.integers(len(known), size=n - len(drawn))]
        is_ordered = np.array([column.kind != "categorical" for column in self.columns])
        near = near + _MOVE * is_ordered * rng.standard_normal(near.shape)
        near = self._whole.snap(np.clip(near, 0.0, 1.0))
        return np.concatenate([drawn, near[self.is_allowed(near)]])

    @override
    def enumerate(self, limit: int) -> FloatArray:
        """Every configuration of a finite space that is allowed and fits, as in `Space.enumerate`."""
        every = self._whole.enumerate(limit)
        return every[self._fits(every)]
