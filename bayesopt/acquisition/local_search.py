"""Local search over every kind of column: gradients for the smooth ones, one-column moves for the discrete ones.

Alphabet. U: points of the unit cube, snapped to configurations, `b x d`. A column is *smooth* when it is continuous or
has so many levels that gradients serve it better than neighbours do; the others are *discrete*.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from bayesopt.problem.parameters import Choice, Int, Parameter, Simplex
from bayesopt.problem.space import Space

FloatArray = NDArray[np.float64]

MAX_EVALUATIONS: Final = 60
"""Evaluations of one gradient search, each of all its starts, at most."""
_SMOOTH_LEVELS: Final = 16
"""An integer with more levels than this is searched by gradient first."""
_MAX_FLIPS: Final = 256
"""Most neighbours of one start that are scored in a round."""
_ROUNDS: Final = 4
"""Most alternations of gradient search and neighbour moves."""
_FOLLOWED: Final = 8
"""Neighbours of one start, the best of them, that the continuous columns follow."""
_BACKTRACKS: Final = 32
"""Points tried on the way back from a forbidden end of a search to its allowed start."""


class Acquisition(Protocol):
    """A function of the unit cube that says how much each point is worth trying."""

    def values(self, U: FloatArray) -> FloatArray:
        """Values, `m`, at `m x d` points; the larger the better, nan the worst."""
        ...

    def value_and_gradient(self, U: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Values, `m`, and gradients, `m x d`, at `m x d` points."""
        ...


def scores(acquisition: Acquisition, U: FloatArray) -> FloatArray:
    """Values, `m`, at `m x d` points, minus infinity for nan."""
    values = acquisition.values(U)
    return np.where(np.isnan(values), -np.inf, values)


@dataclass(frozen=True)
class LocalSearch:
    """Climbs an acquisition function from several points at once."""

    acquisition: Acquisition
    """What is maximised."""
    space: Space
    """What can be proposed."""
    region: FloatArray
    """Lower and upper bounds that the columns are kept in, `2 x d`, until some follow; a start outside may stay."""
    rng: np.random.Generator
    """Draws which neighbours are looked at where there are very many."""
    tolerance: float = 1e-4
    """A gradient search ends when a step gains less,"""
    max_evaluations: int = MAX_EVALUATIONS
    """and after this many evaluations of all its starts."""
    follows: bool = False
    """Whether a move over the discrete columns is judged after the continuous ones have followed it. Where constraints
    tie the two together, a move of one column alone ends outside."""

    def climb(self, U: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Local maxima over smooth and discrete columns in turns.

        Args:
            U: Where the searches start, `b x d`, snapped and allowed; overwritten.
            values: The values there, `b`; overwritten.

        Returns:
            Snapped and allowed points, `b x d`, none worse than its start, and their values, `b`.
        """
        follows = self.follows and 0 < self._continuous.sum() < self.space.dim
        improved = np.arange(len(U))
        for _ in range(_ROUNDS):
            smooth_U, smooth_values = self._along_gradients(U[improved])
            if follows:  # snapping a whole number may have led out of the feasible set
                smooth_U, smooth_values = self._along_gradients(smooth_U, continuous=True)
            better = smooth_values > values[improved]
            U[improved[better]], values[improved[better]] = smooth_U[better], smooth_values[better]
            improved = self._move_to_neighbours(U, values, follows)
            if len(improved) == 0:
                break
        return U, values

    def follow(self, U: FloatArray, lower: FloatArray, upper: FloatArray) -> FloatArray:
        """Where the function is larger than at `b x d` points, within `b x d` bounds; neither snapped nor allowed."""
        from gp.quasi_newton import minimize  # late: `gp` brings torch, which a space-filling strategy never needs

        def loss(points: FloatArray) -> tuple[FloatArray, FloatArray]:
            values, gradients = self.acquisition.value_and_gradient(points)
            return -values, -gradients

        ends, _ = minimize(
            loss,
            U,
            lower,
            upper,
            max_evaluations=self.max_evaluations,
            gradient_tolerance=10.0 * self.tolerance,
            decrease_tolerance=self.tolerance,
        )
        return ends

    @property
    def _continuous(self) -> NDArray[np.bool_]:
        return np.array([column.levels is None for column in self.space.columns])

    def _along_gradients(self, U: FloatArray, *, continuous: bool = False) -> tuple[FloatArray, FloatArray]:
        """Where gradients lead over the smooth columns, or the continuous ones that follow, and the values there."""
        smooth = _smooth_columns(self.space, U)
        if continuous:
            smooth &= self._continuous
        if not smooth.any():
            return U, np.full(len(U), -np.inf)
        # What follows is not held to the region: it may have to go far, a vessel's length by a fifth of its range.
        low, high = (np.zeros_like(U[0]), np.ones_like(U[0])) if continuous else self.region
        ends = self.follow(U, np.where(smooth, np.minimum(low, U), U), np.where(smooth, np.maximum(high, U), U))
        snapped = self.space.snap(ends)
        for row in np.flatnonzero(~self.space.is_allowed(snapped)):
            share = np.linspace(0.0, 1.0, _BACKTRACKS, endpoint=False)[:, None]
            path = self.space.snap(U[row] + share * (ends[row] - U[row]))
            snapped[row] = path[np.flatnonzero(self.space.is_allowed(path)).max(initial=0)]
        return snapped, scores(self.acquisition, snapped)

    def _move_to_neighbours(self, U: FloatArray, values: FloatArray, follows: bool) -> NDArray[np.intp]:
        """Replace points, in place, by their best neighbour that is better; returns the rows that moved."""
        blocks = [_neighbours(self.space, u, self.rng) for u in U]
        sizes = [len(block) for block in blocks]
        if sum(sizes) == 0:
            return np.zeros(0, dtype=np.intp)
        neighbours = self.space.snap(np.concatenate(blocks))
        owner = np.repeat(np.arange(len(U)), sizes)
        allowed = self.space.is_allowed(neighbours)
        neighbours, owner = neighbours[allowed], owner[allowed]
        if len(neighbours) == 0:
            return np.zeros(0, dtype=np.intp)
        worth = scores(self.acquisition, neighbours)
        if follows:
            order = np.argsort(-worth, kind="stable")
            few = np.concatenate([order[owner[order] == row][:_FOLLOWED] for row in range(len(U))])
            owner = owner[few]
            neighbours, worth = self._along_gradients(neighbours[few], continuous=True)
        moved = []
        for row in range(len(U)):
            mine = np.flatnonzero(owner == row)
            if len(mine) and worth[best := mine[np.argmax(worth[mine])]] > values[row] + 1e-9:
                U[row], values[row] = neighbours[best], worth[best]
                moved.append(row)
        return np.array(moved, dtype=np.intp)


def _smooth_columns(space: Space, U: FloatArray) -> NDArray[np.bool_]:
    """Which columns of which points gradients may move, `m x d`."""
    deciding = {parent for parameter in space.values() for parent in parameter.active_if or ()}
    smooth = [
        column.levels is None
        or (column.kind == "integer" and column.levels > _SMOOTH_LEVELS and column.parameter not in deciding)
        for column in space.columns
    ]
    return np.array(smooth) & _existing(space, U)


def _existing(space: Space, U: FloatArray) -> NDArray[np.bool_]:
    """Which columns belong to a parameter that exists in each point, `m x d`; the others snap back when moved."""
    exists = np.ones(U.shape, dtype=np.bool_)
    if all(parameter.active_if is None for parameter in space.values()):
        return exists
    native = space.native(U)
    for index, column in enumerate(space.columns):
        parameter = space[column.parameter]
        name = f"{column.parameter}.{parameter.names[0]}" if isinstance(parameter, Simplex) else column.parameter
        values = native[name]
        exists[:, index] = values != None if values.dtype == object else ~np.isnan(values)  # noqa: E711  # elementwise
    return exists


def _neighbours(space: Space, u: FloatArray, rng: np.random.Generator) -> FloatArray:
    """One-column moves over the discrete columns: every other option, one and two levels up and down."""
    exists = _existing(space, u[None])[0]
    moves = [
        (index, place)
        for index, column in enumerate(space.columns)
        if exists[index]
        for place in _places(space[column.parameter], column.kind, float(u[index]))
    ]
    if len(moves) > _MAX_FLIPS:
        kept = np.sort(rng.choice(len(moves), _MAX_FLIPS, replace=False))
        moves = [moves[i] for i in kept]
    block = np.tile(u, (len(moves), 1))
    for row, (index, place) in enumerate(moves):
        block[row, index] = place
    return block


def _places(parameter: Parameter, kind: str, unit: float) -> list[float]:
    """Where a column with levels may go in one move; none for a column without."""
    if not isinstance(parameter, Int | Choice):
        return []
    least = parameter.low if isinstance(parameter, Int) else 0
    most = least + parameter.levels - 1
    here = int(parameter.scale.native(np.array([[unit]]))[0, 0])
    there = range(least, most + 1) if kind == "categorical" else range(max(least, here - 2), min(most, here + 2) + 1)
    levels = [[float(level)] for level in there if level != here]
    return parameter.scale.unit(np.array(levels).reshape(-1, 1))[:, 0].tolist()
