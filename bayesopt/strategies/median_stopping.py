"""Stop a run whose learning curve is worse than most at the same step."""

import math
from statistics import median

from typing_extensions import override

from bayesopt.record.curves import Curve, Curves
from bayesopt.strategies.base import CurveRule

_MIN_CURVES = 5
"""Curves of other trials needed before any run is stopped; with fewer the median says little."""


class MedianStopping(CurveRule):
    """The median rule: stop when the best value so far is below the median of the others' best up to that step.

    A run is also stopped as soon as its curve holds a value that is not finite, and never while fewer than five others
    got as far.

    Reference: Golovin et al. 2017, "Google Vizier: A Service for Black-Box Optimization", section 3.2.2 (their rule
    uses running averages; the best value so far is fairer to curves that start badly).
    """

    @override
    def _is_hopeless(self, curves: Curves) -> bool:
        curve = curves.mine.curve
        last = max(curve)
        as_far = [other.curve for other in curves.others if max(other.curve) >= last]
        bests = [max(reached) for other in as_far if (reached := _finite_until(other, last))]
        return len(bests) >= _MIN_CURVES and max(curve.values()) < median(bests)


def _finite_until(curve: Curve, step: float) -> list[float]:
    return [value for at, value in curve.items() if at <= step and math.isfinite(value)]
