"""The bounded set of configurations that a solver's tuner chooses between, and the features that its model sees.

Alphabet. U: points of the unit cube, `n x d`. Z: features, `n x F`, where a distance means how different two
configurations are. g: groups of features, one a column of the cube.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import bayesopt as bo

FloatArray = NDArray[np.float64]

GRID: Final = 20
"""Arms along a space of one real number: with a step of 0.05 in omega the best arm is within half an iteration."""
LISTED: Final = 64
"""Configurations up to which a finite space is taken whole."""
_START: Final = 32
"""Random arms that a larger space starts with,"""
MOST: Final = 96
"""and how many it may have, so that an ask costs the same for ever."""
_PROPOSED: Final = 8
"""Fresh configurations offered at each ask until then: half of them near the best arm, half anywhere."""
_STEP: Final = 0.12
"""Standard deviation of a step from the best arm, in units of a column's range."""
_SWITCH: Final = 0.25
"""Probability that such a step draws an option anew."""


class Arms:
    """Configurations by number; a large space gains some where the model finds them worth a trial."""

    def __init__(self, space: bo.Space, rng: np.random.Generator) -> None:
        """List the first arms.

        Args:
            space: What may be chosen.
            rng: Where the randomness comes from.
        """
        self.space = space
        self._ranks = [_ranks(space, i) for i in range(space.dim)]
        self._is_numeric = np.array([ranks is not None for ranks in self._ranks])
        self.groups = np.concatenate([
            np.full(1 if ranks is not None else max(space.columns[i].levels or 1, 1), i)
            for i, ranks in enumerate(self._ranks)
        ])
        """For each feature the column that it stands for, `F`."""
        if space.size is not None and space.size <= LISTED:
            U = space.enumerate(LISTED)
            self.may_grow = False
        elif space.dim == 1 and not space.is_constrained:
            U = space.snap(np.linspace(0.0, 1.0, GRID)[:, None])
            self.may_grow = False
        else:
            U = space.sample(_START, rng)
            self.may_grow = True
        self.U: FloatArray = np.unique(U, axis=0)
        self.Z = self.features(self.U)

    def __len__(self) -> int:
        """How many there are."""
        return len(self.U)

    def features(self, U: FloatArray) -> FloatArray:
        """A number's place in its range, an option's one-hot vector over sqrt(2); `n x F`."""
        columns = []
        for i, ranks in enumerate(self._ranks):
            levels = self.space.columns[i].levels
            if ranks is None:
                assert levels is not None  # only options have no rank
                position = np.minimum((U[:, i] * levels).astype(np.intp), levels - 1)
                columns.append(np.eye(levels)[position] / np.sqrt(2.0))
            elif len(ranks):
                position = np.minimum((U[:, i] * len(ranks)).astype(np.intp), len(ranks) - 1)
                columns.append(ranks[position][:, None])
            else:
                columns.append(U[:, [i]])
        return np.concatenate(columns, axis=1)

    def params(self, arm: int) -> dict[str, Any]:
        """An arm as a configuration."""
        return self.space.decode(self.U[arm])

    def number(self, params: dict[str, Any]) -> int:
        """The arm of a configuration; one that is no arm becomes one, or counts as the nearest where all are taken."""
        u = self.space.encode(params)
        distance = np.abs(self.U - u).max(axis=1)
        nearest = int(distance.argmin())
        if distance[nearest] < 1e-9 or len(self) >= MOST:
            return nearest
        return self.add(u)

    def add(self, u: FloatArray) -> int:
        """Make a point of the cube, `d`, an arm and return its number."""
        self.U = np.concatenate([self.U, u[None]])
        self.Z = np.concatenate([self.Z, self.features(u[None])])
        return len(self) - 1

    def restore(self, U: FloatArray) -> None:
        """Take the arms of a stored tuner, `n x d`, for these."""
        self.U, self.Z = U, self.features(U)

    def proposals(self, best: int, rng: np.random.Generator) -> FloatArray:
        """Configurations that could become arms, `p x d`; none where the arms are all there will be.

        Args:
            best: The arm that half of them are near to.
            rng: Where the randomness comes from.

        Returns:
            Allowed points, snapped.
        """
        if not self.may_grow or len(self) >= MOST:
            return self.U[:0]
        anywhere = self.space.sample(_PROPOSED, rng)
        near = self.U[best] + _STEP * rng.standard_normal((_PROPOSED // 2, self.space.dim))
        kept = self._is_numeric | (rng.random(near.shape) > _SWITCH)
        near = np.where(kept, np.where(self._is_numeric, near, self.U[best]), anywhere[: len(near)])
        near = self.space.snap(np.clip(near, 0.0, 1.0))
        return np.concatenate([near[self.space.is_allowed(near)], anywhere[len(near) :]])


def _ranks(space: bo.Space, column: int) -> FloatArray | None:
    """Where a column's levels lie in [0, 1]: empty for a number's own place, None for options without an order.

    Options that are all numbers have an order, whether or not the user said so.

    Returns:
        Shape `levels`, `0`, or None.
    """
    described = space.columns[column]
    if described.kind != "categorical":
        return np.empty(0)
    parameter = space[described.parameter]
    assert isinstance(parameter, bo.Choice)
    if any(isinstance(option, bool) or not isinstance(option, int | float) for option in parameter.options):
        return None
    order = np.argsort(np.argsort(np.array(parameter.options, dtype=np.float64)))
    return order / max(1, len(order) - 1)
