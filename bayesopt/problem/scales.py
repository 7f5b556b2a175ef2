"""How one number travels to the unit interval and back, for many columns at once.

Alphabet. U: unit values, `n x c`, in [0, 1]; X: native values, `n x c`, in the parameter's own units; both float64,
whole numbers included (every whole number that a parameter admits is exact in float64). Each way back is exact:
`native(unit(x)) == x` for whole numbers, for bounds, and for numbers on the decimal grid that `native` returns.
"""

from typing import Final, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

LINEAR_DIGITS: Final = 14
"""Significant digits of a linear parameter. Scaling there and back errs by 7 roundings of 1.1e-16 at the most, which
is 0.08 of a step at 14 digits; at 15 it could reach the half step where rounding picks the neighbour."""

LOG_DIGITS: Final = 12
"""Significant digits of a logarithmic parameter: the widest range, e^709, errs by 0.24 of a step."""

_EXACT_POWERS: Final = 10.0 ** np.arange(23)
"""The powers of ten that float64 holds exactly; one division by them rounds as a decimal literal does."""

_LEAST_EXPONENT: Final = -324

_POWERS: Final = np.array([float(f"1e{k}") for k in range(_LEAST_EXPONENT, 310)])
"""The powers of ten around float64's range, 0 and infinity at the ends; next to a power, log10 is off by a rounding."""


class Scale(Protocol):
    """A map between unit columns and native columns."""

    def native(self, U: FloatArray) -> FloatArray:
        """Native values of unit values."""
        ...

    def unit(self, X: FloatArray) -> FloatArray:
        """Unit values of native values."""
        ...


def round_significant(X: FloatArray, digits: int, scale: FloatArray) -> FloatArray:
    """Round to decimal numbers, each exactly the float that its literal reads as.

    Args:
        X: Numbers, `n x c`.
        digits: Significant digits, counted from the leading one of `max(abs(x), scale)`.
        scale: Magnitudes below which digits are not counted, shape `c`.

    Returns:
        The rounded numbers, `n x c`.
    """
    magnitude = np.maximum(np.abs(X), scale)
    with np.errstate(divide="ignore"):
        place = np.floor(np.log10(magnitude))
    index = np.maximum(place, _LEAST_EXPONENT).astype(np.intp) - _LEAST_EXPONENT
    index += magnitude >= _POWERS[index + 1]
    index -= magnitude < _POWERS[index]
    decimals = digits - 1 - _LEAST_EXPONENT - index
    if np.all((decimals >= 0) & (decimals <= 22)):
        power = _EXACT_POWERS[decimals]
        return np.rint(X * power) / power + 0.0  # + 0.0: never -0.0
    up, down = (_EXACT_POWERS[np.clip(shift, 0, 22)] for shift in (decimals, -decimals))
    rounded = np.rint(X * up / down) / up * down
    for i, j in np.argwhere(np.abs(decimals) > 22):  # tiny and huge numbers: beyond one exact power of ten
        rounded[i, j] = round(float(X[i, j]), int(decimals[i, j]))
    return rounded + 0.0


class LinearScale:
    """Real numbers, evenly spread."""

    def __init__(self, low: ArrayLike, high: ArrayLike) -> None:
        """Bounds of each column, shape `c`."""
        self.low, self.high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
        self._span, self._scale = self.high - self.low, np.abs(self.low)

    def native(self, U: FloatArray) -> FloatArray:
        """Numbers of 14 significant digits; 0 and 1 are the bounds themselves."""
        X = round_significant(self.low + U * self._span, LINEAR_DIGITS, self._scale)
        return _with_ends(U, self.unit(X), X, self.low, self.high)

    def unit(self, X: FloatArray) -> FloatArray:
        """Place of each number between its bounds."""
        return (X - self.low) / self._span


class LogScale:
    """Positive real numbers, their logarithms evenly spread."""

    def __init__(self, low: ArrayLike, high: ArrayLike) -> None:
        """Bounds of each column, shape `c`."""
        self.low, self.high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
        self._log_span = np.log(self.high / self.low)
        self._scale = np.zeros_like(self.low)

    def native(self, U: FloatArray) -> FloatArray:
        """Numbers of 12 significant digits; 0 and 1 are the bounds themselves."""
        # High meets u = 1 below; just short of it the product may overflow by a rounding, which the clip repairs.
        with np.errstate(over="ignore"):
            X = self.low * np.exp(U * self._log_span)
        X = np.clip(round_significant(np.minimum(X, self.high), LOG_DIGITS, self._scale), self.low, self.high)
        return _with_ends(U, self.unit(X), X, self.low, self.high)

    def unit(self, X: FloatArray) -> FloatArray:
        """Place of each number's logarithm between those of its bounds."""
        U = np.log(X / self.low) / self._log_span
        return np.where(X >= self.high, 1.0, np.minimum(U, 1.0))


class IntegerScale:
    """Whole numbers, each the middle of its share of the unit interval."""

    def __init__(self, low: ArrayLike, high: ArrayLike) -> None:
        """Bounds of each column, shape `c`, both included."""
        self.low, self.high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
        self._levels = self.high - self.low + 1

    def native(self, U: FloatArray) -> FloatArray:
        """The whole number whose share of the interval holds each unit value."""
        return self.low + np.minimum(np.floor(U * self._levels), self._levels - 1)

    def unit(self, X: FloatArray) -> FloatArray:
        """Middle of each number's share."""
        return (X - self.low + 0.5) / self._levels

    def bin_width(self, X: FloatArray) -> FloatArray:
        """Length of each number's share."""
        return np.broadcast_to(1 / self._levels, X.shape)


class LogIntegerScale:
    """Positive whole numbers; x takes the share from log(x - 1/2) to log(x + 1/2)."""

    def __init__(self, low: ArrayLike, high: ArrayLike) -> None:
        """Bounds of each column, shape `c`, both included."""
        self.low, self.high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
        self._start = np.log(self.low - 0.5)
        self._log_span = np.log(self.high + 0.5) - self._start

    def native(self, U: FloatArray) -> FloatArray:
        """The whole number whose share of the interval holds each unit value."""
        return np.clip(np.floor(np.exp(self._start + U * self._log_span) + 0.5), self.low, self.high)

    def unit(self, X: FloatArray) -> FloatArray:
        """Middle of each number's share."""
        return (0.5 * (np.log(X - 0.5) + np.log(X + 0.5)) - self._start) / self._log_span

    def bin_width(self, X: FloatArray) -> FloatArray:
        """Length of each number's share."""
        return np.log((X + 0.5) / (X - 0.5)) / self._log_span


def _with_ends(U: FloatArray, rounded: FloatArray, X: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """X, or the bound where either U or the place of X once rounded is an end: 64 bits tell no more apart there."""
    return np.where((U <= 0) | (rounded <= 0), low, np.where((U >= 1) | (rounded >= 1), high, X))
