"""The most valuable configuration of a space that was not tried yet.

Alphabet. U: points of the unit cube, snapped to configurations, `m x d`.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from bayesopt.acquisition.local_search import MAX_EVALUATIONS, Acquisition, LocalSearch, scores
from bayesopt.acquisition.pool import (
    N_SAMPLES,
    N_STARTS,
    START_DISTANCE,
    bounded,
    clipped,
    draw_moves,
    draw_samples,
    separate,
    shrunk,
)
from bayesopt.problem.space import Space

FloatArray = NDArray[np.float64]

N_INCUMBENTS: Final = 3
"""Best trials around which a pool is densest, of those that the strategies know."""
SAME: Final = 1e-9
"""Configurations that differ by less than this in every column are the same."""
MAX_ENUMERATED: Final = 100_000
"""Largest space that is listed in full when nothing else is left to propose."""
_RANKED: Final = 32
"""Candidates of a guided search that the acquisition function itself ranks."""


def maximize(
    acquisition: Acquisition,
    space: Space,
    incumbents: FloatArray,
    tried: FloatArray,
    rng: np.random.Generator,
    *,
    guide: Acquisition | None = None,
    region: FloatArray | None = None,
    likely: FloatArray | None = None,
    n_samples: int = N_SAMPLES,
    n_starts: int = N_STARTS,
    tolerance: float = 1e-4,
    max_evaluations: int = MAX_EVALUATIONS,
    follows: bool = False,
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
        likely: Further points of the pool, `l x d`, snapped and allowed, in the region or not.
        n_samples: Points of the pool that are drawn over the whole of it.
        n_starts: Searches that climb from it.
        tolerance: As in `LocalSearch`.
        max_evaluations: As in `LocalSearch`.
        follows: As in `LocalSearch`.

    Returns:
        A snapped point, `d`; None when a finite space has no untried configuration left.
    """
    bounds = bounded(space, region)
    samples = shrunk(space, draw_samples(space, rng, n_samples), bounds)
    if likely is not None:
        samples = np.concatenate([samples, likely])
    pool = np.concatenate([samples, clipped(space, draw_moves(space, incumbents, rng), bounds)])
    if len(pool) == 0:
        return any_untried(space, tried, rng)
    search = acquisition if guide is None else guide
    values = scores(search, pool)
    distance = START_DISTANCE * float(np.linalg.norm(bounds[1] - bounds[0]))
    starts = separate(pool, values, len(samples), distance, n_starts)
    local = LocalSearch(search, space, bounds, rng, tolerance, max_evaluations, follows)
    found, found_values = local.climb(pool[starts], values[starts])
    candidates = np.concatenate([found, _by_value(pool, values)])
    if guide is None:
        candidates = _by_value(candidates, np.concatenate([found_values, np.sort(values)[::-1]]))
    else:
        few = candidates[:_RANKED]
        candidates = np.concatenate([_by_value(few, scores(acquisition, few)), candidates[_RANKED:]])
    for candidate in candidates:
        if is_untried(candidate, tried):
            return candidate
    return any_untried(space, tried, rng)


def is_untried(u: FloatArray, tried: FloatArray, *, within: float = SAME) -> bool:
    """Whether a point, `d`, differs from every row of `t x d` points in some column by more than a distance."""
    return not bool((np.abs(tried - u) <= within).all(1).any())


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


def _by_value(U: FloatArray, values: FloatArray) -> FloatArray:
    return U[np.argsort(-values, kind="stable")]
