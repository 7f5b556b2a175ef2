"""Shares that sum to 1, each between a floor and a cap, and their way to the unit cube.

The first share breaks a piece off a stick of length 1, the second a piece off what remains, and so on; the last takes
the rest. Alphabet. k: shares; m = k - 1 - i: shares after share i; c: what a share may take above its floor;
R_i: what remains of the stick before share i. The remainder after it lies between r_lo = max(R_i - c_i, 0) and
r_hi = min(R_i, sum of c_j, j > i), and column u_i places it there by volume,

    R_{i+1} = (r_lo^m + u_i (r_hi^m - r_lo^m))^(1/m),

so that every point of the cube is an admissible mixture, and a uniform cube a uniform mixture where no cap binds.
Shares are counted in steps of 1e-12, so that a sum of 1 is exact.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

STEPS: Final = 1e12
"""Steps in a share of 1: twelve decimals."""

_SWEEPS: Final = 40
"""Sweeps of the sampler. Measured on k = 3 to 20: by 20 the moments are within their standard errors from any start."""

_LEAST_VOLUME: Final = 1e-12
"""Relative volumes below this are read as this in a slope: at the corners, where it is infinite, it stays finite."""


class StickBreaking:
    """The map between k shares and k - 1 columns of the unit cube."""

    def __init__(self, floors: FloatArray, caps: FloatArray) -> None:
        """Least and greatest value of each share, shape `k`, multiples of 1e-12 that leave room between them."""
        self.floors, self.caps = floors, caps
        self._least, self._most = np.rint(floors * STEPS), np.rint(caps * STEPS)
        self._room = self._most - self._least
        self._room_after = np.append(np.cumsum(self._room[:0:-1])[::-1], 0.0)
        self._stick = STEPS - self._least.sum()
        self.is_capped = bool(np.any(self._room < self._stick))

    def shares(self, U: FloatArray) -> FloatArray:
        """Shares before rounding, `n x k`, smooth in U, `n x (k - 1)`."""
        taken = np.empty((len(U), len(self.floors)))
        remaining = np.full(len(U), self._stick)
        for i in range(U.shape[1]):
            low, high, ratio = self._bounds(i, remaining)
            m = U.shape[1] - i
            volume = ratio**m
            left = np.clip(high * (volume + U[:, i] * (1 - volume)) ** (1 / m), low, high)
            taken[:, i] = remaining - left
            remaining = left
        taken[:, -1] = remaining
        return (self._least + taken) / STEPS

    def jacobian(self, U: FloatArray) -> FloatArray:
        """Slopes of `shares`, `n x k x (k - 1)`: [a, j, i] is of share j by column i at point a."""
        n, columns = U.shape
        slopes = np.zeros((n, columns + 1, columns))
        remaining, d_remaining = np.full(n, self._stick), np.zeros((n, columns))
        for i in range(columns):
            low, high, ratio = self._bounds(i, remaining)
            m = columns - i
            volume = ratio**m
            filled = np.maximum(volume + U[:, i] * (1 - volume), _LEAST_VOLUME if m > 1 else 0.0)
            left = np.clip(high * filled ** (1 / m), low, high)
            weight = filled ** (1 / m - 1)
            by_low = (1 - U[:, i]) * ratio ** (m - 1) * (remaining > self._room[i])
            by_high = U[:, i] * (remaining <= self._room_after[i])
            d_left = (weight * (by_low + by_high))[:, None] * d_remaining
            d_left[:, i] += high * (1 - volume) / m * weight
            slopes[:, i] = d_remaining - d_left
            remaining, d_remaining = left, d_left
        slopes[:, -1] = d_remaining
        return slopes / STEPS

    def native(self, U: FloatArray) -> FloatArray:
        """Shares of twelve decimals, `n x k`, that sum to 1 and keep to floors and caps."""
        return self.rounded(self.shares(U))

    def unit(self, X: FloatArray) -> FloatArray:
        """Columns, `n x (k - 1)`, of shares; 0.5 where the earlier shares leave a share no choice."""
        taken = np.rint(self.rounded(X) * STEPS) - self._least
        remaining = np.cumsum(taken[:, ::-1], axis=1)[:, ::-1]  # summed from the end: small remainders stay exact
        U = np.full((len(X), X.shape[1] - 1), 0.5)
        for i in range(U.shape[1]):
            low, high, ratio = self._bounds(i, remaining[:, i])
            free = high > low
            m = U.shape[1] - i
            volume = ratio[free] ** m
            U[free, i] = ((remaining[free, i + 1] / high[free]) ** m - volume) / (1 - volume)
        return U

    def rounded(self, X: FloatArray) -> FloatArray:
        """The nearest shares of twelve decimals that keep to floors and caps; the largest gap absorbs the rounding."""
        steps = np.clip(np.rint(X * STEPS), self._least, self._most)
        excess = steps.sum(axis=1) - STEPS
        gap = np.where(excess[:, None] > 0, steps - self._least, self._most - steps)
        steps[np.arange(len(steps)), np.argmax(gap, axis=1)] -= excess
        return steps / STEPS

    def sample(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Mixtures drawn uniformly from all admissible ones, `n x k`.

        Without caps the cube's own map is uniform. With caps, n independent Gibbs chains start from that map; a step
        pairs the shares at random and redraws how each pair divides what it holds, which leaves the uniform
        distribution as it is and never rejects.

        Args:
            n: How many.
            rng: Where the randomness comes from.

        Returns:
            Shares of twelve decimals, `n x k`.
        """
        U = rng.random((n, len(self.floors) - 1))
        if not self.is_capped:
            return self.native(U)
        taken = self.shares(U) * STEPS - self._least
        half = len(self.floors) // 2
        for _ in range(_SWEEPS):
            order = rng.permutation(len(self.floors))
            a, b = order[:half], order[half : 2 * half]
            both = taken[:, a] + taken[:, b]
            least, most = np.maximum(both - self._room[b], 0.0), np.minimum(both, self._room[a])
            taken[:, a] = least + rng.random((n, half)) * (most - least)
            taken[:, b] = both - taken[:, a]
        return self.rounded((taken + self._least) / STEPS)

    def _bounds(self, i: int, remaining: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Least and greatest remainder after share i, and their ratio (0 where nothing remains)."""
        low = np.maximum(remaining - self._room[i], 0.0)
        high = np.minimum(remaining, self._room_after[i])
        low = np.minimum(low, high)
        return low, high, np.divide(low, high, out=np.zeros_like(low), where=high > 0)
