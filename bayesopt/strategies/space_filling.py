"""Points that cover a space evenly: a strategy of its own, and the start of the model-based ones.

Alphabet. U: points of the unit cube, `m x d`.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bayesopt.acquisition.maximize import any_untried, is_untried
from bayesopt.problem.space import Space
from bayesopt.record.history import History

FloatArray = NDArray[np.float64]

_LOOKAHEAD: Final = 64
"""Sobol points inspected for one that is allowed and untried before a random one is taken; a power of two."""


class SobolSearch:
    """A scrambled Sobol sequence over the unit cube, snapped to the space.

    The k-th trial of a study takes the k-th point of one sequence, however many asks it took to get there. Points that
    are forbidden or were tried are passed over.

    Reference: Owen 1998, "Scrambling Sobol' and Niederreiter-Xing Points".
    """

    def suggest(self, history: History, n: int, rng: np.random.Generator) -> list[dict[str, Any]]:
        """Configurations to try next, as in `Strategy.suggest`."""
        tried, chosen = history.tried, []
        for index in range(history.n_asked, history.n_asked + n):
            u = sobol_point(history.space, index, history.seed, tried, rng)
            if u is None:
                break
            tried = np.vstack([tried, u])
            chosen.append(history.space.decode(u))
        return chosen


def sobol_point(space: Space, index: int, seed: int, tried: FloatArray, rng: np.random.Generator) -> FloatArray | None:
    """One point of the scrambled Sobol sequence of a seed, or the next one that can be proposed.

    Args:
        space: What can be proposed.
        index: Place in the sequence, from 0.
        seed: Scrambles the sequence.
        tried: Points that must not be proposed again, `t x d`.
        rng: Draws a point where the sequence offers none.

    Returns:
        A snapped point, `d`; None when a finite space has no untried configuration left.
    """
    from scipy.stats import qmc  # late: scipy.stats takes longer to import than the whole of this package

    sequence = qmc.Sobol(space.dim, scramble=True, rng=np.random.default_rng(np.random.SeedSequence([seed, space.dim])))
    if index:
        sequence.fast_forward(index)
    candidates = space.snap(sequence.random(_LOOKAHEAD))
    for candidate in candidates[space.is_allowed(candidates)]:
        if is_untried(candidate, tried):
            chosen: FloatArray = candidate
            return chosen
    return any_untried(space, tried, rng)
