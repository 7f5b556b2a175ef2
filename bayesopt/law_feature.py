"""The law that the user believes in as one more feature, which the objective's prior mean holds and no kernel sees.

Alphabet. U: `m x d` points of the unit cube. n: told trials.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bayesopt.output_scale import WINSOR_IQR
from bayesopt.problem.mean import MeanOnCube
from bayesopt.record.history import History

FloatArray = NDArray[np.float64]

FACTOR_SD: Final = 0.5
"""Standard deviation of the factor on the law, which is believed to be 1: a law may well be off by a half."""


@dataclass(frozen=True)
class LawFeature:
    """The law turned so that larger is better, its bad tail pulled in as the objective's is, and standardised."""

    law: MeanOnCube
    """The law in the objective's units."""
    sign: float
    """1 where a larger objective is better, else -1."""
    least: float
    """Value below which it stays flat, in the objective's units."""
    centre: float
    """Its mean over the told trials,"""
    unit: float
    """and its standard deviation there, both in the objective's units."""

    @classmethod
    def of(cls, history: History) -> "LawFeature | None":
        """The feature for a history; None without a law, or where it is the same at every told trial."""
        if history.law is None or len(history.X) == 0:
            return None
        sign = history.outcomes.objective.sign
        told = sign * history.law.values(history.X)
        low, median, high = np.quantile(told, [0.25, 0.5, 0.75])
        # As the objective's values are: else those would leave the law where it is most wrong without being so.
        least = median - WINSOR_IQR * (high - low) if high > low else told.min()
        told = np.maximum(told, least)
        with np.errstate(over="ignore", invalid="ignore"):
            centre, unit = float(told.mean()), float(told.std())
        is_flat = not np.isfinite(unit) or unit <= 1e-12 * np.abs(told).max()
        return None if is_flat else cls(history.law, sign, float(least), centre, unit)

    def values(self, U: FloatArray) -> FloatArray:
        """The feature at `m x d` points, `m`."""
        values: FloatArray = (np.maximum(self.sign * self.law.values(U), self.least) - self.centre) / self.unit
        return values

    def gradient(self, U: FloatArray) -> FloatArray:
        """Its slopes, `m x d`."""
        moves = self.sign * self.law.values(U) > self.least
        gradient: FloatArray = moves[:, None] * self.law.gradient(U) * (self.sign / self.unit)
        return gradient
