"""Admissible mixtures to choose among: sparse random ones under caps, and better ones nearby.

Alphabet. m: groups. q: what a random mixture is centred on, `m`. P: proportions, `n x m`.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bayesopt.problem.parameters import Simplex

FloatArray = NDArray[np.float64]
Score = Callable[[FloatArray], tuple[FloatArray, FloatArray]]
"""From mixtures, `n x m`, to scores, `n`, larger is better, and their slopes along the proportions, `n x m`."""

_STRENGTHS: Final = (0.1, 5.0)
"""Range of a Dirichlet distribution's strength: from nearly one group alone to all groups near q. A uniform draw of 17
groups leaves none without a share, while a third to two thirds of the shares of RegMix are 0, in good mixtures too."""
_NEGLIGIBLE: Final = 2e-4
"""Smaller shares of a random mixture are none, as in RegMix."""
_STEPS: Final = 20
"""Exponentiated-gradient steps from each start,"""
_LENGTH: Final = 0.5
"""and the first one's length: the log of the most that a share grows or shrinks by."""


class MixtureCandidates:
    """The mixtures that token counts allow, and how they are searched."""

    def __init__(self, simplex: Simplex, centre: Sequence[float]) -> None:
        """Ready to draw.

        Args:
            simplex: Names and caps.
            centre: Positive weights of the groups around which mixtures are drawn; token counts, or ones.
        """
        self.scale = simplex.scale
        root = np.sqrt(np.array(centre, dtype=np.float64))
        self._q = root / root.sum()

    def sample(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Random mixtures within the caps, none rejected.

        Args:
            n: How many.
            rng: Where the randomness comes from.

        Returns:
            `n x m` of twelve decimals, rows that sum to 1; what a share has above its cap, the others get.
        """
        low, high = np.log(_STRENGTHS)
        strengths = np.exp(rng.uniform(low, high, n))
        gammas = np.maximum(rng.standard_gamma(strengths[:, None] * len(self._q) * self._q), 1e-300)
        P = gammas / gammas.sum(1, keepdims=True)
        P[P < _NEGLIGIBLE] = 0.0
        return self.capped(P)

    def capped(self, P: FloatArray) -> FloatArray:
        """Mixtures brought within the caps: what is above is given to the others in proportion to what they have.

        Args:
            P: Non-negative, `n x m`, rows of a positive sum.

        Returns:
            `n x m` of twelve decimals, rows that sum to 1.
        """
        caps, P = self.scale.caps, P / P.sum(1, keepdims=True)
        for _ in caps:  # each pass fills up one more group, or is the last
            P = np.minimum(P, caps)
            missing = 1.0 - P.sum(1)
            growing = np.where(P < caps, P, 0.0)
            held = growing.sum(1)
            if np.all((missing <= 1e-15) | (held <= 0)):
                break
            P = P + growing * (np.maximum(missing, 0.0) / np.where(held > 0, held, 1.0) * (held > 0))[:, None]
        room = caps - np.minimum(P, caps)  # for rows whose groups are all full or empty
        missing = 1.0 - np.minimum(P, caps).sum(1)
        P = np.minimum(P, caps) + room * (np.maximum(missing, 0.0) / room.sum(1))[:, None]
        return self.scale.rounded(P)

    def climb(self, P: FloatArray, score: Score) -> FloatArray:
        """Better mixtures near some, by exponentiated gradients: groups without a share stay without.

        Args:
            P: Starts, `n x m`.
            score: What is to be large.

        Returns:
            `n x m`, each of a score at least that of its start.
        """
        values, slopes = score(P)
        lengths = np.full(len(P), _LENGTH)
        for _ in range(_STEPS):
            slopes = slopes - (P * slopes).sum(1, keepdims=True)
            steepest = np.where(P > 0, np.abs(slopes), 0.0).max(1)
            rates = lengths / np.where(steepest > 0, steepest, 1.0)
            moved = self.capped(P * np.exp(np.clip(rates[:, None] * slopes, -_LENGTH, _LENGTH)))
            new_values, new_slopes = score(moved)
            better = new_values > values
            lengths = np.where(better, lengths, 0.5 * lengths)
            P = np.where(better[:, None], moved, P)
            values = np.where(better, new_values, values)
            slopes = np.where(better[:, None], new_slopes, slopes)
        return P
