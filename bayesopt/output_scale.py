"""Between the objective's units and the scale that its model lives on: monotone, so that the best stays the best.

Alphabet. y: objective values, larger is better. z: y standardised, its bad tail pulled in. w: z warped by a power and
standardised again, or z itself. power: Yeo and Johnson's lambda; 1 leaves z alone, more pulls the bad tail in.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

WINSOR_IQR: Final = 5.0
"""How many interquartile ranges below the median a value may lie before it is pulled in."""
POWERS: Final = np.linspace(-1.0, 3.0, 81)
"""Powers among which the likeliest is taken; a finer grid changes the likelihood by less than a hundredth of a nat."""


@dataclass(frozen=True)
class OutputScale:
    """How one history's objective values are scaled."""

    offset: float
    """Objective at z = 0."""
    unit: float
    """Objective units in one unit of z."""
    power: float = 1.0
    """Yeo and Johnson's lambda."""
    shift: float = 0.0
    """Mean of the warped values, taken off after the warp."""
    spread: float = 1.0
    """Standard deviation of the warped values, divided by after the warp."""

    def slope(self, z: FloatArray) -> FloatArray:
        """dw/dz, positive."""
        slope: FloatArray = np.exp((self.power - 1.0) * np.sign(z) * np.log1p(np.abs(z))) / self.spread
        return slope

    def warp(self, z: FloatArray) -> FloatArray:
        """Warped values at z."""
        return (_yeo_johnson(z, self.power) - self.shift) / self.spread

    def to_units(self, w: FloatArray) -> FloatArray:
        """Objective values, in their units, at places on the model's scale; infinite beyond what the warp can reach."""
        z = w if self.power == 1.0 and self.spread == 1.0 else _inverse(self.shift + self.spread * w, self.power)
        with np.errstate(over="ignore"):
            units: FloatArray = self.offset + self.unit * z
        return units


AS_IT_IS: Final = OutputScale(0.0, 1.0)
"""The scale that changes nothing."""


def standardised(y: FloatArray) -> tuple[FloatArray, OutputScale]:
    """Values with mean 0 and variance 1, the bad tail pulled in.

    Args:
        y: Finite values, `n`, of any size up to the largest float.

    Returns:
        z, `n`, and the scale, with power 1.
    """
    magnitude = max(float(np.abs(y).max()), np.finfo(np.float64).tiny)
    relative = y / magnitude  # 1e300 - (-1e300) would overflow
    low, median, high = np.quantile(relative, [0.25, 0.5, 0.75])
    if high > low:
        relative = np.maximum(relative, median - WINSOR_IQR * (high - low))
    offset, unit = float(relative.mean()), float(relative.std())
    if unit <= 1e-12:
        return np.zeros_like(y), OutputScale(float(y[0]), 1.0)
    return (relative - offset) / unit, OutputScale(offset * magnitude, unit * magnitude)


def warped(z: FloatArray, scale: OutputScale) -> tuple[FloatArray, OutputScale]:
    """Values after the power that makes them most nearly normal.

    Args:
        z: Standardised values, `n`.
        scale: Where they come from.

    Returns:
        w, `n`, with mean 0 and variance 1, and the scale.

    Reference: Yeo and Johnson 2000, "A new family of power transformations to improve normality or symmetry".
    """
    candidates = _yeo_johnson(z, POWERS[:, None])
    tilt = (np.sign(z) * np.log1p(np.abs(z))).sum()
    with np.errstate(divide="ignore"):
        likelihood = -0.5 * len(z) * np.log(candidates.var(axis=1)) + (POWERS - 1.0) * tilt
    best = int(np.argmax(likelihood))
    shift, spread = float(candidates[best].mean()), float(candidates[best].std())
    after = OutputScale(scale.offset, scale.unit, float(POWERS[best]), shift, max(spread, 1e-12))
    return after.warp(z), after


def _yeo_johnson(z: FloatArray, power: float | FloatArray) -> FloatArray:
    size = np.log1p(np.abs(z))
    exponent = np.where(z < 0.0, 2.0 - power, power)
    # expm1(p x) / p with its limit x at p = 0
    is_log = np.abs(exponent) < 1e-9
    grown: FloatArray = np.where(is_log, size, np.expm1(exponent * size) / np.where(is_log, 1.0, exponent))
    return np.copysign(grown, z)


def _inverse(v: FloatArray, power: float) -> FloatArray:
    return _unpower(np.maximum(v, 0.0), power) - _unpower(np.maximum(-v, 0.0), 2.0 - power)


def _unpower(v: FloatArray, power: float) -> FloatArray:
    if abs(power) < 1e-9:
        grown: FloatArray = np.expm1(v)
        return grown
    with np.errstate(divide="ignore"):
        grown = np.expm1(np.log1p(np.maximum(power * v, -1.0)) / power)
    return grown
