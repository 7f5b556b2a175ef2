"""Between a constraint's margins and the scale that its model lives on: 0, the bound, stays 0.

Alphabet. m: margins in the outcome's units, feasible when <= 0. typical: median size of those that are not 0.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_LARGEST: Final = 1e100
"""What a larger ratio is taken for: its square is finite, and its product with any unit."""
_UNITS: Final = (1e-200, 1e200)
"""Between what bounds the unit of a margin lies."""


@dataclass(frozen=True)
class MarginScale:
    """How one constraint's margins are scaled: by their typical size, and where it is curved `sign(m) log(1 + |m|)`.

    Dividing first makes the result free of units; the curve pulls far violations in.
    """

    typical: float
    """The unit, positive."""
    is_curved: bool = False
    """Whether far margins are pulled in."""

    @classmethod
    def of(cls, margins: FloatArray) -> "MarginScale":
        """The straight scale of finite margins, `n`; with unit 1 where all are 0."""
        sizes = np.abs(margins)
        if not sizes.any():
            return cls(1.0)
        with np.errstate(over="ignore"):
            return cls(float(np.clip(np.median(sizes[sizes > 0]), *_UNITS)))

    def curved(self) -> "MarginScale":
        """The same unit on a curve."""
        return replace(self, is_curved=True)

    def apply(self, margins: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Scaled margins of the same signs, and the slopes of the scale there, `n` each."""
        with np.errstate(over="ignore"):
            relative = np.clip(margins / self.typical, -_LARGEST, _LARGEST)
        if not self.is_curved:
            return relative, np.full(len(margins), 1.0 / self.typical)
        size = np.abs(relative)
        return np.sign(margins) * np.log1p(size), 1.0 / (self.typical * (1.0 + size))

    def to_units(self, scaled: FloatArray) -> FloatArray:
        """Margins in the outcome's units from scaled ones, any shape; infinite where they leave the floats."""
        with np.errstate(over="ignore"):
            relative = np.sign(scaled) * np.expm1(np.abs(scaled)) if self.is_curved else scaled
            units: FloatArray = self.typical * relative
        return units
