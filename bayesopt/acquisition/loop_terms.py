"""Scalar terms of the loop's acquisition values with their slopes, on arrays: no graph, one pass for both.

The same functions as in `primitives`, which autograd uses; here value and slope share their special function, and
arrays of a few numbers, as a local search has them, cost a third of what tensors cost.

Alphabet. phi, Phi: density and distribution function of the standard normal. h(u) = phi(u) + u Phi(u). L: lines
`a_i + b_i Z` of a standard normal Z, the last of them the new one.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr

from bayesopt.acquisition.primitives import SERIES, SERIES_FROM

FloatArray = NDArray[np.float64]

_LOG_SQRT_2PI: Final = 0.5 * math.log(2.0 * math.pi)
_SQRT_HALF_PI: Final = math.sqrt(0.5 * math.pi)
_SQRT_HALF: Final = math.sqrt(0.5)
_LARGEST_EXPONENT: Final = 700.0
"""Beyond this the exponential overflows."""
_NEWTON_STEPS: Final = 8
"""Of `inv_log_h`, as in `primitives`: five reach 1e-13."""
_MOST_PAIRS: Final = 2**18
"""Pairs of lines compared at once: two megabytes an array."""


def log_h_and_slope(u: FloatArray) -> tuple[FloatArray, FloatArray]:
    """`log h(u)` and its derivative `Phi / h`.

    Args:
        u: Improvement in standard deviations, any shape.

    Returns:
        Both, in the shape of `u`.

    Example:
        >>> [round(float(part), 4) for part in log_h_and_slope(np.array(-40.0))]
        [-808.2986, 40.0499]
    """
    near = np.clip(u, -SERIES_FROM, SERIES_FROM)
    mills = _SQRT_HALF_PI * erfcx(-_SQRT_HALF * near)  # Phi / phi
    ratio = 1.0 + near * mills  # h / phi
    value = np.log(ratio) - 0.5 * near * near - _LOG_SQRT_2PI
    slope = mills / ratio
    if np.abs(u).max(initial=0.0) > SERIES_FROM:
        with np.errstate(over="ignore", divide="ignore"):  # to infinity, where these belong
            x = 1.0 / np.square(np.maximum(np.abs(u), SERIES_FROM))
            series = np.polynomial.polynomial.polyval(x, SERIES)  # u² h / phi, and |u| Phi / phi = 1 - h / phi
            below, above = u < -SERIES_FROM, u > SERIES_FROM
            value = np.where(below, np.log(x * series) - 0.5 * u * u - _LOG_SQRT_2PI, value)
            slope = np.where(below, np.abs(u) * (1.0 - x * series) / series, slope)
            value = np.where(above, np.log(np.maximum(u, 1.0)), value)
            slope = np.where(above, 1.0 / np.maximum(u, 1.0), slope)
    return value, slope


def inv_log_h(t: FloatArray) -> FloatArray:
    """The `u` with `log h(u) = t`, by Newton's method on a concave increasing function.

    Args:
        t: Any shape; above about 709 the result overflows to infinity.

    Returns:
        The shape of `t`.

    Example:
        >>> float(log_h_and_slope(inv_log_h(np.array(-808.2986)))[0].round(4))
        -808.2986
    """
    with np.errstate(over="ignore"):
        u = np.where(t > -_LOG_SQRT_2PI, np.exp(t), -np.sqrt(2.0 * np.maximum(-t - _LOG_SQRT_2PI, 0.0)))
    for _ in range(_NEWTON_STEPS):
        value, slope = log_h_and_slope(u)
        u = u + np.clip(np.nan_to_num((t - value) / slope, nan=0.0), -3.0, 3.0)
    return u


def log_ndtr_and_slope(u: FloatArray) -> tuple[FloatArray, FloatArray]:
    """`log Phi(u)` and its derivative `phi / Phi`.

    Args:
        u: Any shape.

    Returns:
        Both, in the shape of `u`.
    """
    with np.errstate(over="ignore", divide="ignore"):  # the slope is 0 there, and infinite at -infinity
        return log_ndtr(u), 1.0 / (_SQRT_HALF_PI * erfcx(-_SQRT_HALF * u))


@dataclass(frozen=True)
class EmaxGain:
    """`log(E[max_i (a_i + b_i Z)] - max_i a_i)` and its derivatives."""

    value: FloatArray
    """Log gains, `...`; -infinity where one line is best everywhere."""
    _order: NDArray[np.intp]
    _following: NDArray[np.intp]
    _handing: NDArray[np.bool_]
    _z: FloatArray

    def gradients(self) -> tuple[FloatArray, FloatArray]:
        """Derivatives with respect to the intercepts and to the slopes, `... x L` each; 0 for lines nowhere best."""
        scale = np.where(np.isfinite(self.value), self.value, 0.0).reshape(-1, 1)
        # Derivatives of (b_next - b_i) h(-|z|), over the gain: gained by the line that follows, lost by this one.
        size = np.abs(self._z)
        tail = np.exp(np.minimum(log_ndtr(-size) - scale, _LARGEST_EXPONENT)) * self._handing * np.sign(self._z)
        density = np.exp(np.minimum(-0.5 * size * size - _LOG_SQRT_2PI - scale, _LARGEST_EXPONENT)) * self._handing
        return self._handed_over(tail), self._handed_over(density)

    def _handed_over(self, share: FloatArray) -> FloatArray:
        change = -share
        change.ravel()[self._following] += share[self._handing]  # a line follows one other at most
        along = np.empty_like(change)
        along.ravel()[self._order] = change
        return along.reshape(*self.value.shape, -1)


def log_emax_gain(a: FloatArray, b: FloatArray) -> EmaxGain:
    """What knowing Z adds to the best of the lines `a_i + b_i Z`, in logs.

    By increasing slope, a line is best between the last line that it overtakes and the first that overtakes it, if
    these crossings are in this order. Each line that is best somewhere hands over to the next such line at a crossing
    z, and the gain is the sum of `(b_next - b_i) h(-|z|)`: every term is positive, so nothing cancels. All pairs of
    lines are compared, a bounded number of pairs at a time.

    Args:
        a: Intercepts, `... x L`.
        b: Slopes, `... x L`; the leading shapes are broadcast.

    Returns:
        The gains.

    Reference: Frazier, Powell and Dayanik 2009, "The Knowledge-Gradient Policy for Correlated Normal Beliefs".

    Example:
        >>> log_emax_gain(np.array([0.0, -3.0]), np.array([0.0, 1.0])).value - log_h_and_slope(np.array(-3.0))[0]
        np.float64(0.0)
    """
    a, b = np.broadcast_arrays(a, b)
    shape, n_lines = a.shape[:-1], a.shape[-1]
    a, b = a.reshape(-1, n_lines), b.reshape(-1, n_lines)
    order = b.argsort(-1, kind="stable") + np.arange(0, a.size, n_lines)[:, None]
    a, b = a.ravel()[order], b.ravel()[order]
    best = np.flatnonzero(_best_somewhere(a, b))
    # Each hands over to the next that is best somewhere, even where rounding has mixed up crossings that coincide.
    row = best // n_lines
    before, following = best[:-1][row[1:] == row[:-1]], best[1:][row[1:] == row[:-1]]
    step, z = np.zeros_like(a), np.zeros_like(a)
    handing = np.zeros(a.shape, dtype=np.bool_)
    handing.ravel()[before] = True
    rise = b.ravel()[following] - b.ravel()[before]
    step.ravel()[before] = rise
    z.ravel()[before] = (a.ravel()[before] - a.ravel()[following]) / rise
    with np.errstate(divide="ignore"):
        terms = np.log(step) + log_h_and_slope(-np.abs(z))[0]
        largest = np.maximum(terms.max(-1), -np.finfo(np.float64).max)
        value = largest + np.log(np.exp(terms - largest[:, None]).sum(-1))
    return EmaxGain(value.reshape(shape), order, following, handing, z)


def _best_somewhere(a: FloatArray, b: FloatArray) -> NDArray[np.bool_]:
    """Which of the lines, sorted by slope, are best for some Z, `m x L`; of equal lines the last."""
    n_lines = a.shape[1]
    later = np.tri(n_lines, dtype=np.bool_).T
    later.flat[:: n_lines + 1] = False
    best = np.empty(a.shape, dtype=np.bool_)
    rows = max(1, _MOST_PAIRS // n_lines**2)
    for first in range(0, len(a), rows):
        some = slice(first, first + rows)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            crossing = (a[some, :, None] - a[some, None, :]) / (b[some, None, :] - b[some, :, None])
        # Between parallel lines it is infinite, with the sign that rules out the lower one; between equal lines nan.
        np.fmax(crossing, -np.inf, out=crossing)
        upper = np.where(later, crossing, np.inf).min(2)
        lower = np.where(later, crossing, -np.inf).max(1)
        np.less(lower, upper, out=best[some])
    return best
