"""Which trials of a long history the models are shown: fitting cost grows with the cube of their number."""

import dataclasses
import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bayesopt.record.history import History
from gp.array_kernels import squared_distances

FloatArray = NDArray[np.float64]
Rows = NDArray[np.intp]

MAX_EXACT: Final = 400
"""Most trials that the exact models are conditioned on."""
_BEST_KEPT: Final = 0.5
"""Share of them that is there for its objective,"""
_NEAR_KEPT: Final = 0.25
"""and share for lying nearest to the boundary of what is feasible; the others cover the space."""
_FAILED_KEPT: Final = 0.5
"""Failed trials kept, as a share of the most that are told."""
_MOST_DISTANCES: Final = 2**26
"""Most squared distances, one a feature and pair of trials, that a fit keeps in memory: half a gigabyte."""


def shortened(history: History, Z: FloatArray, failed_Z: FloatArray) -> tuple[History, Rows]:
    """The history as the models see it: whole while it is short.

    Of a long one the best told trials stay, those that decide where the constraints hold, and others spread over the
    space; of many failures, those spread over the space.

    Args:
        history: What was told and what failed.
        Z: Features of the told trials, `n x F`.
        failed_Z: Features of the failed ones, `f x F`.

    Returns:
        The short history, and which told rows it holds, in increasing order.
    """
    n = len(Z)
    most = min(MAX_EXACT, math.isqrt(_MOST_DISTANCES // Z.shape[1]))
    most_failed = int(_FAILED_KEPT * most)
    if n <= most and len(failed_Z) <= most_failed:
        return history, np.arange(n)
    rows = np.arange(n)
    if n > most:
        worst = np.nan_to_num(history.constraints, nan=0.0).max(axis=1, initial=-np.inf)
        order = np.lexsort((-history.objective, np.maximum(worst, 0.0)))  # feasible ones first, the best of them first
        kept = order[: int(_BEST_KEPT * most)]
        if history.constraints.shape[1]:
            others = np.setdiff1d(rows, kept)
            near = others[np.argsort(np.abs(worst[others]), kind="stable")]
            kept = np.concatenate([kept, near[: int(_NEAR_KEPT * most)]])
        rows = _spread(Z, kept, most)
    failed = np.arange(len(failed_Z))
    if len(failed_Z) > most_failed:
        failed = _spread(failed_Z, failed[-1:], most_failed)
    short = dataclasses.replace(
        history,
        ids=history.ids[rows],
        X=history.X[rows],
        objective=history.objective[rows],
        objective_sd=history.objective_sd[rows],
        constraints=history.constraints[rows],
        constraints_sd=history.constraints_sd[rows],
        costs=history.costs[rows],
        failed=history.failed[failed],
    )
    return short, rows


def _spread(Z: FloatArray, kept: Rows, n: int) -> Rows:
    """Rows `kept` and more of them, n in all, each the farthest from those before."""
    chosen = list(kept)
    nearest = squared_distances(Z, Z[kept]).min(1)
    nearest[kept] = -np.inf  # never again, not even where all others lie at the same places
    for _ in range(n - len(chosen)):
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.square(Z - Z[chosen[-1]]).sum(1))
        nearest[chosen[-1]] = -np.inf
    return np.sort(np.array(chosen, dtype=np.intp))
