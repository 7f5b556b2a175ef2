"""The most valuable configuration of a space that was not tried yet.

Alphabet. U: points of the unit cube, snapped to configurations, `m x d`. A column is *smooth* when it is continuous or
has so many levels that gradients serve it better than neighbours do; the others are *discrete*.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from bayesopt.problem.parameters import Choice, Int, Parameter, Simplex
from bayesopt.problem.space import Space

FloatArray = NDArray[np.float64]
_Follow = Callable[[FloatArray], tuple[FloatArray, FloatArray]]


class Acquisition(Protocol):
    """A function of the unit cube that says how much each point is worth trying."""

    def values(self, U: FloatArray) -> FloatArray:
        """Values, `m`, at `m x d` points; the larger the better, nan the worst."""
        ...

    def value_and_gradient(self, U: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Values, `m`, and gradients, `m x d`, at `m x d` points."""
        ...


N_INCUMBENTS: Final = 3
"""Best trials around which a pool is densest, of those that the strategies know."""
N_SAMPLES: Final = 384
"""Points drawn over the whole space before each search."""
N_STARTS: Final = 4
"""Local searches, run as one stack."""
START_DISTANCE: Final = 0.05
"""Least distance between two starts in the unit cube, so that they do not climb the same hill."""
PERTURBATION_SCALES: Final = (0.1, 0.02, 0.004)
"""Standard deviations of the moves around the incumbents, in sides of the cube."""
N_PERTURBATIONS: Final = 16
"""Moves per incumbent and scale."""
SAME: Final = 1e-9
"""Configurations that differ by less than this in every column are the same."""
MAX_ENUMERATED: Final = 100_000
"""Largest space that is listed in full when nothing else is left to propose."""
_LISTED_AT_ONCE: Final = 2_000
"""Largest space whose every configuration is scored instead of a sample."""
_SMOOTH_LEVELS: Final = 16
"""An integer with more levels than this is searched by gradient first."""
_MAX_FLIPS: Final = 256
"""Most neighbours of one start that are scored in a round."""
_MAX_EVALUATIONS: Final = 60
"""Evaluations of one gradient search, each of all its starts, at most."""
_RANKED: Final = 32
"""Candidates of a guided search that the acquisition function itself ranks."""
_ROUNDS: Final = 4
"""Most alternations of gradient search and neighbour moves."""
_FOLLOWED: Final = 8
"""Neighbours of one start, the best of them, that the continuous columns follow."""
_BACKTRACKS: Final = 32
"""Points tried on the way back from a forbidden end of a search to its allowed start."""


def maximize(
    acquisition: Acquisition,
    space: Space,
    incumbents: FloatArray,
    tried: FloatArray,
    rng: np.random.Generator,
    *,
    guide: Acquisition | None = None,
    region: FloatArray | None = None,
    n_samples: int = N_SAMPLES,
    tolerance: float = 1e-4,
    follow_up: bool = False,
) -> FloatArray | None:
    """The allowed, untried configuration where an acquisition function is largest, as far as a search can tell.

    A pool of samples and sparse moves around the incumbents is scored; bounded quasi-Newton searches climb from its
    best separate members over the smooth columns, in turns with one-column moves over the discrete ones; the best
    result that was not tried before wins, and the pool stands in when every result was.

    Args:
        acquisition: What is maximised.
        space: What can be proposed.
        incumbents: The best points so far, `k x d`, around which the pool is densest; may be empty.
        tried: Points that must not be proposed again, `t x d`.
        rng: Draws the pool.
        guide: A cheaper function that is nearly as large, to search by; `acquisition` then has the last word on where
            the searches ended and on the best of the pool.
        region: Lower and upper bounds, `2 x d`, that continuous columns are kept in; None for the whole cube.
        n_samples: Points of the pool that are drawn over the whole of it.
        tolerance: A gradient search ends when a step gains less.
        follow_up: Whether a move over the discrete columns is judged after the continuous ones have followed it. Where
            constraints tie the two together, a move of one column alone ends outside.

    Returns:
        A snapped point, `d`; None when a finite space has no untried configuration left.
    """
    region = _bounds(space, region)
    pool = _within(space, draw_pool(space, incumbents, rng, n_samples), region, n_samples)
    if len(pool) == 0:
        return any_untried(space, tried, rng)
    search = acquisition if guide is None else guide
    values = _scores(search, pool)
    starts = _separate(pool, values)
    found, found_values = _climb(search, space, pool[starts], values[starts], rng, region, tolerance, follow_up)
    candidates = np.concatenate([found, _by_value(pool, values)])
    if guide is None:
        candidates = _by_value(candidates, np.concatenate([found_values, np.sort(values)[::-1]]))
    else:
        few = candidates[:_RANKED]
        candidates = np.concatenate([_by_value(few, _scores(acquisition, few)), candidates[_RANKED:]])
    for candidate in candidates:
        if is_untried(candidate, tried):
            return candidate
    return any_untried(space, tried, rng)


def is_untried(u: FloatArray, tried: FloatArray) -> bool:
    """Whether a point, `d`, differs from every row of `t x d` points in some column."""
    return not bool((np.abs(tried - u) <= SAME).all(1).any())


def any_untried(space: Space, tried: FloatArray, rng: np.random.Generator) -> FloatArray | None:
    """Some allowed configuration that was not tried, without preference.

    Args:
        space: What can be proposed.
        tried: Points that must not be proposed again, `t x d`.
        rng: Draws it.

    Returns:
        A snapped point, `d`; None when there is none left, or none was met in a space too large to list.
    """
    for candidate in space.sample(N_SAMPLES, rng):
        if is_untried(candidate, tried):
            return candidate
    if space.size is not None and space.size <= MAX_ENUMERATED:
        everything = space.enumerate(MAX_ENUMERATED)
        for candidate in everything[rng.permutation(len(everything))]:
            if is_untried(candidate, tried):
                chosen: FloatArray = candidate
                return chosen
    return None


def _scores(acquisition: Acquisition, U: FloatArray) -> FloatArray:
    values = acquisition.values(U)
    return np.where(np.isnan(values), -np.inf, values)


def _by_value(U: FloatArray, values: FloatArray) -> FloatArray:
    return U[np.argsort(-values, kind="stable")]


def draw_pool(space: Space, incumbents: FloatArray, rng: np.random.Generator, n_samples: int = N_SAMPLES) -> FloatArray:
    """Allowed points to look at first: the whole of a small space, else samples and moves around the incumbents.

    Args:
        space: What can be proposed.
        incumbents: Points around which it is densest, `k x d`; may be empty.
        rng: Draws them.
        n_samples: How many are drawn over the whole space.

    Returns:
        Snapped points, `m x d`, some of them maybe more than once.
    """
    if space.size is not None and space.size <= _LISTED_AT_ONCE:
        return space.enumerate(_LISTED_AT_ONCE)
    samples = space.sample(n_samples, rng)
    if len(incumbents) == 0:
        return samples
    scales = np.repeat(PERTURBATION_SCALES, N_PERTURBATIONS)
    near = np.repeat(incumbents, len(scales), axis=0)
    scale = np.tile(scales, len(incumbents))[:, None]
    d = space.dim
    moved = rng.random(near.shape) < max(3.0 / d, 0.3)
    moved[np.arange(len(near)), rng.integers(d, size=len(near))] = True
    step = rng.standard_normal(near.shape) * scale
    levels = np.array([0 if column.levels is None else column.levels for column in space.columns])
    # A move shorter than a level would be snapped away: it goes one level up or down instead.
    coarse = levels > 0
    least = np.where(coarse, 1.0 / np.maximum(levels, 1), 0.0)
    step = np.where(coarse & (np.abs(step) < least), np.copysign(least, step), step)
    categorical = np.array([column.kind == "categorical" for column in space.columns])
    anywhere = rng.random(near.shape)
    near = np.where(moved, np.where(categorical, anywhere, near + step), near)
    near = space.snap(np.clip(near, 0.0, 1.0))
    return np.concatenate([samples, near[space.is_allowed(near)]])


def _bounds(space: Space, region: FloatArray | None) -> FloatArray:
    """A region with its discrete columns free, `2 x d`."""
    whole = np.stack([np.zeros(space.dim), np.ones(space.dim)])
    if region is None:
        return whole
    continuous = np.array([column.levels is None for column in space.columns])
    return np.where(continuous, region, whole)


def _within(space: Space, pool: FloatArray, region: FloatArray, n_samples: int) -> FloatArray:
    """Samples shrunk into the region, and moves around the incumbents clipped to it."""
    if len(pool) == 0 or ((region[0] == 0.0).all() and (region[1] == 1.0).all()):
        return pool
    inside = np.clip(pool, region[0], region[1])
    inside[:n_samples] = region[0] + (region[1] - region[0]) * pool[:n_samples]
    inside = space.snap(inside)
    return inside[space.is_allowed(inside)]


def _separate(pool: FloatArray, values: FloatArray) -> NDArray[np.intp]:
    """Rows of the pool to start from: by value, each away from those before it."""
    order = np.argsort(-values, kind="stable")
    chosen: list[int] = []
    for row in order:
        if all(np.linalg.norm(pool[row] - pool[other]) >= START_DISTANCE for other in chosen):
            chosen.append(int(row))
            if len(chosen) == N_STARTS:
                break
    return np.array(chosen, dtype=np.intp)


def _climb(
    acquisition: Acquisition,
    space: Space,
    U: FloatArray,
    values: FloatArray,
    rng: np.random.Generator,
    region: FloatArray,
    tolerance: float,
    follow_up: bool,
) -> tuple[FloatArray, FloatArray]:
    """Local maxima over smooth and discrete columns in turns; every point returned is snapped and allowed."""
    follow: _Follow | None = None
    if follow_up and len({column.levels is None for column in space.columns}) == 2:
        # Not held to the region: what follows may have to go far, a vessel's length by a fifth of its range.
        whole = _bounds(space, None)
        follow = partial(_follow_gradient, acquisition, space, region=whole, tolerance=tolerance, continuous=True)
    improved = np.arange(len(U))
    for _ in range(_ROUNDS):
        smooth_U, smooth_values = _follow_gradient(acquisition, space, U[improved], region, tolerance)
        if follow is not None:
            smooth_U, smooth_values = follow(smooth_U)  # snapping a whole number may have led out of the feasible set
        better = smooth_values > values[improved]
        U[improved[better]], values[improved[better]] = smooth_U[better], smooth_values[better]
        improved = _move_to_neighbours(acquisition, space, U, values, rng, follow)
        if len(improved) == 0:
            break
    return U, values


def _follow_gradient(
    acquisition: Acquisition,
    space: Space,
    U: FloatArray,
    region: FloatArray,
    tolerance: float,
    *,
    continuous: bool = False,
) -> tuple[FloatArray, FloatArray]:
    """Where gradients lead over the smooth columns, or the continuous ones alone, snapped and allowed; its values."""
    smooth = _smooth_columns(space, U)
    if continuous:
        smooth &= np.array([column.levels is None for column in space.columns])
    if not smooth.any():
        return U, np.full(len(U), -np.inf)
    from gp.quasi_newton import minimize  # late: `gp` brings torch, which a space-filling strategy never needs

    def loss(points: FloatArray) -> tuple[FloatArray, FloatArray]:
        values, gradients = acquisition.value_and_gradient(points)
        return -values, -gradients

    lower, upper = np.where(smooth, np.minimum(region[0], U), U), np.where(smooth, np.maximum(region[1], U), U)
    ends, _ = minimize(
        loss,
        U,
        lower,
        upper,
        max_evaluations=_MAX_EVALUATIONS,
        gradient_tolerance=10.0 * tolerance,
        decrease_tolerance=tolerance,
    )
    snapped = space.snap(ends)
    forbidden = ~space.is_allowed(snapped)
    for row in np.flatnonzero(forbidden):
        share = np.linspace(0.0, 1.0, _BACKTRACKS, endpoint=False)[:, None]
        path = space.snap(U[row] + share * (ends[row] - U[row]))
        snapped[row] = path[np.flatnonzero(space.is_allowed(path)).max(initial=0)]
    return snapped, _scores(acquisition, snapped)


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


def _move_to_neighbours(
    acquisition: Acquisition,
    space: Space,
    U: FloatArray,
    values: FloatArray,
    rng: np.random.Generator,
    follow: _Follow | None,
) -> NDArray[np.intp]:
    """Replace points, in place, by their best neighbour that is better; returns the rows that moved."""
    blocks = [_neighbours(space, u, rng) for u in U]
    sizes = [len(block) for block in blocks]
    if sum(sizes) == 0:
        return np.zeros(0, dtype=np.intp)
    neighbours = space.snap(np.concatenate(blocks))
    owner = np.repeat(np.arange(len(U)), sizes)
    allowed = space.is_allowed(neighbours)
    neighbours, owner = neighbours[allowed], owner[allowed]
    if len(neighbours) == 0:
        return np.zeros(0, dtype=np.intp)
    scores = _scores(acquisition, neighbours)
    if follow is not None:
        order = np.argsort(-scores, kind="stable")
        few = np.concatenate([order[owner[order] == row][:_FOLLOWED] for row in range(len(U))])
        owner = owner[few]
        neighbours, scores = follow(neighbours[few])
    moved = []
    for row in range(len(U)):
        mine = np.flatnonzero(owner == row)
        if len(mine) and scores[best := mine[np.argmax(scores[mine])]] > values[row] + 1e-9:
            U[row], values[row] = neighbours[best], scores[best]
            moved.append(row)
    return np.array(moved, dtype=np.intp)


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
