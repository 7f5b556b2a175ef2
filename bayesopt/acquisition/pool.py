"""Where the search for the most valuable configuration looks first, and where it starts to climb.

Alphabet. U: points of the unit cube, snapped to configurations, `m x d`.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from bayesopt.problem.space import Space

FloatArray = NDArray[np.float64]

N_SAMPLES: Final = 384
"""Points drawn over the whole space before each search."""
N_STARTS: Final = 4
"""Local searches, run as one stack."""
START_DISTANCE: Final = 0.12
"""Least distance between two starts, as a share of the diagonal, so that they do not climb the same hill."""
SHARE_NEAR: Final = 0.5
"""Share of the starts that moves around the incumbents may take: with them all taken, a better hill elsewhere was
missed by 0.1 in log expected improvement on average, by 0.04 with half of them."""
PERTURBATION_SCALES: Final = (0.1, 0.02, 0.004)
"""Standard deviations of the moves around the incumbents, in sides of the cube."""
N_PERTURBATIONS: Final = 8
"""Moves per incumbent and scale."""
_LISTED_AT_ONCE: Final = 2_000
"""Largest space whose every configuration is scored instead of a sample."""


def draw_pool(space: Space, incumbents: FloatArray, rng: np.random.Generator, n: int = N_SAMPLES) -> FloatArray:
    """Allowed points to look at first, `m x d`: `draw_samples` and `draw_moves`."""
    return np.concatenate([draw_samples(space, rng, n), draw_moves(space, incumbents, rng)])


def draw_samples(space: Space, rng: np.random.Generator, n: int = N_SAMPLES) -> FloatArray:
    """Snapped and allowed points of the whole space, `m x d`: all of a small space, else n drawn ones."""
    if space.size is not None and space.size <= _LISTED_AT_ONCE:
        return space.enumerate(_LISTED_AT_ONCE)
    return space.sample(n, rng)


def draw_moves(space: Space, incumbents: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Snapped and allowed points around others, few of whose columns differ.

    Args:
        space: What can be proposed.
        incumbents: The others, `k x d`; may be none.
        rng: Draws the moves.

    Returns:
        Points, `m x d`, some of them maybe more than once; none around those of a small space.
    """
    if len(incumbents) == 0 or (space.size is not None and space.size <= _LISTED_AT_ONCE):
        return np.zeros((0, space.dim))
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
    return near[space.is_allowed(near)]


def bounded(space: Space, region: FloatArray | None) -> FloatArray:
    """A region with its discrete columns free, `2 x d`; the whole cube for None."""
    whole = np.stack([np.zeros(space.dim), np.ones(space.dim)])
    if region is None:
        return whole
    continuous = np.array([column.levels is None for column in space.columns])
    return np.where(continuous, region, whole)


def _is_whole(region: FloatArray) -> bool:
    return bool((region[0] == 0.0).all() and (region[1] == 1.0).all())


def shrunk(space: Space, samples: FloatArray, region: FloatArray) -> FloatArray:
    """Samples of the cube shrunk into a region, those that are allowed there."""
    return samples if _is_whole(region) else _allowed(space, region[0] + (region[1] - region[0]) * samples)


def clipped(space: Space, moves: FloatArray, region: FloatArray) -> FloatArray:
    """Moves around the incumbents clipped to a region, those that are allowed there."""
    return moves if _is_whole(region) else _allowed(space, np.clip(moves, region[0], region[1]))


def _allowed(space: Space, U: FloatArray) -> FloatArray:
    snapped = space.snap(U)
    return snapped[space.is_allowed(snapped)]


def separate(pool: FloatArray, values: FloatArray, n_samples: int, distance: float, n_starts: int) -> NDArray[np.intp]:
    """Rows of a pool to start from.

    Args:
        pool: Samples of the space, then moves around the incumbents, `m x d`.
        values: What each is worth, `m`.
        n_samples: How many of the pool are samples.
        distance: The least between two starts.
        n_starts: How many there are at most.

    Returns:
        Up to `n_starts` rows by value, each away from those before it, at most `SHARE_NEAR` of them moves.
    """
    chosen: list[int] = []
    n_near = 0
    for row in np.argsort(-values, kind="stable"):
        if row >= n_samples and n_near >= SHARE_NEAR * n_starts:
            continue
        if all(np.linalg.norm(pool[row] - pool[other]) >= distance for other in chosen):
            chosen.append(int(row))
            n_near += row >= n_samples
            if len(chosen) == n_starts:
                break
    return np.array(chosen, dtype=np.intp)
