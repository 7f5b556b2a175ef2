"""The learning-rate range test: one short run with a rising learning rate says where a good one may lie."""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import override

from bayesopt.errors import InvalidInputError
from bayesopt.laws.base import FixedLaw

FloatArray = NDArray[np.float64]

_BELOW: Final = 3.0
"""How many times below the largest usable learning rate the best is believed to be,"""
_SD: Final = 0.7
"""give or take so many octaves."""
_WINDOW: Final = 0.05
"""Share of the run over which losses are smoothed."""
_FALLEN: Final = 0.05
"""Share of the whole fall after which the loss counts as falling."""
_RAGGED: Final = 4.0
"""A loss so many typical deviations off the smoothed curve is where training became ragged."""


class RangeTest(FixedLaw):
    """What a run with a rising learning rate shows, as a law about "lr".

    The loss first stands, then falls, then turns ragged or rises. The best learning rate of a full run is believed to
    be a third of the last usable one. The test costs a hundredth of a run: make it before the first trial.

    Reference: Smith 2017, "Cyclical Learning Rates for Training Neural Networks", arXiv 1506.01186.

    Example:
        >>> rates = np.geomspace(1e-6, 1.0, 200)
        >>> test = RangeTest(rates, 2.0 - np.minimum(rates / 0.01, 1.0) + 5.0 * np.maximum(rates - 0.05, 0.0))
        >>> 0.01 < test.high < 0.1
        True
    """

    def __init__(self, rates: ArrayLike, losses: ArrayLike) -> None:
        """Read a range test.

        Args:
            rates: Learning rate at every step, rising, `n >= 20`.
            losses: The loss there, `n`; those after a divergence may be infinite or nan.

        Raises:
            InvalidInputError: If there are too few, the rates do not rise, or the loss never falls.
        """
        lr, y = np.asarray(rates, dtype=np.float64), np.asarray(losses, dtype=np.float64)
        if lr.ndim != 1 or lr.shape != y.shape or len(lr) < 20:
            raise InvalidInputError(
                f"RangeTest: expected two lists of the same length of at least 20, got shapes {lr.shape} and {y.shape}."
            )
        if not (lr > 0).all() or not (np.diff(lr) > 0).all():
            raise InvalidInputError("RangeTest(rates): expected positive learning rates that rise from step to step.")
        broken = np.flatnonzero(~np.isfinite(y))
        end = int(broken[0]) if len(broken) else len(y)
        half = max(1, round(0.5 * _WINDOW * len(y)))
        if end <= 2 * half:
            raise InvalidInputError(f"RangeTest(losses): only {end} are finite; begin with a smaller learning rate.")
        smooth = _running_median(y[:end], half)
        off = np.abs(y[:end] - smooth)
        typical = float(np.median(off[: max(half, end // 2)])) + 1e-3 * float(np.ptp(smooth))
        lowest = int(np.argmin(smooth))
        ragged = np.flatnonzero(off[:lowest] > _RAGGED * typical)
        # one loss off the curve is noise; three within a window are not
        crowded = [index for index in ragged if np.sum((ragged >= index) & (ragged < index + 2 * half)) >= 3]
        last = max(int(crowded[0]) - 1, 0) if crowded else lowest
        fall = float(smooth[0] - smooth[lowest])
        if fall <= 3.0 * typical:
            raise InvalidInputError(
                "RangeTest(losses): the loss never clearly falls; extend the range of learning rates, or average more "
                "batches a step."
            )
        begins = int(np.flatnonzero(smooth <= smooth[0] - _FALLEN * fall)[0])
        self.high = float(lr[max(last, begins)])
        """The last learning rate before the loss turned."""
        self.low = float(min(lr[begins], self.high))
        """The first at which it fell."""
        super().__init__({"lr": float(np.log2(self.high / _BELOW))}, {"lr": _SD})

    @property
    def box(self) -> tuple[float, float]:
        """Bounds for a `Float` of a study: half of `low`, and `high`."""
        return 0.5 * self.low, self.high

    @override
    def __repr__(self) -> str:
        """What it found."""
        return f"RangeTest(low={self.low:.3g}, high={self.high:.3g})"


def _running_median(y: FloatArray, half: int) -> FloatArray:
    """Medians over windows of `2 half + 1`, shorter at the ends."""
    return np.array([np.median(y[max(0, i - half) : i + half + 1]) for i in range(len(y))])
