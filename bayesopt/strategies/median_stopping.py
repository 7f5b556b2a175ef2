"""Stop a run whose learning curve is worse than most at the same step."""

import math
from collections.abc import Mapping, Sequence
from statistics import median

_MIN_CURVES = 5
"""Curves of other trials needed before any run is stopped; with fewer the median says little."""


def should_stop(curve: Mapping[float, float], others: Sequence[Mapping[float, float]]) -> bool:
    """The median rule: stop when the best value so far is below the median of the others' best up to that step.

    Args:
        curve: Step to objective of the run in question, turned so that larger is better.
        others: The curves of finished trials, likewise.

    Returns:
        Whether to stop: also True as soon as the curve holds a value that is not finite, and False while the curve
        is empty or fewer than five others got as far.

    Reference:
        Golovin et al., "Google Vizier: A Service for Black-Box Optimization", KDD 2017, section 3.2.2 (their rule
        uses running averages; the best value so far is fairer to curves that start badly).

    Example:
        >>> should_stop({1.0: 0.1, 2.0: 0.2}, [{1.0: 0.5, 2.0: 0.6}] * 5)
        True
    """
    if not curve:
        return False
    if not all(map(math.isfinite, curve.values())):
        return True
    last = max(curve)
    as_far = [other for other in others if max(other, default=-math.inf) >= last]
    bests = [max(reached) for other in as_far if (reached := _finite_until(other, last))]
    return len(bests) >= _MIN_CURVES and max(curve.values()) < median(bests)


def _finite_until(curve: Mapping[float, float], step: float) -> list[float]:
    return [value for at, value in curve.items() if at <= step and math.isfinite(value)]
