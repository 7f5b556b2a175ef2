"""What the user believes the best reachable value of the objective to be."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from bayesopt.errors import InvalidPriorError
from bayesopt.problem.arguments import as_number
from bayesopt.problem.beliefs import Belief, Functions, Prior
from bayesopt.problem.space import Space

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class OptimalValuePrior(Prior):
    """The value of the objective at its optimum, in the objective's units.

    Either a normal belief, `mean` and `sd`, or a bound: `at_most`, `at_least` or both, each of which holds up to a
    `softness`, the standard deviation of what it may be wrong by; 0 makes it strict. `at_most=2.2` for a loss says that
    a loss of 2.2 or less can be reached.

    Example:
        >>> OptimalValuePrior(mean=2.2, sd=0.05).sd
        0.05
    """

    mean: float | None = None
    """Where the value is expected,"""
    sd: float | None = None
    """give or take this."""
    at_most: float | None = None
    """What the value does not exceed."""
    at_least: float | None = None
    """What the value does not fall below."""
    softness: float = 0.0
    """By how much a bound may be off."""

    def __post_init__(self) -> None:
        """Refuse what is no belief.

        Raises:
            InvalidPriorError: If neither a normal belief nor a bound is given, or both, or a number is out of range.
        """
        is_normal = self.mean is not None or self.sd is not None
        if is_normal == (self.at_most is not None or self.at_least is not None):
            raise InvalidPriorError(
                "OptimalValuePrior: give either mean= and sd=, or a bound, at_most= or at_least= with softness=."
            )
        if is_normal and (self.mean is None or self.sd is None):
            raise InvalidPriorError("OptimalValuePrior: a normal belief needs both mean= and sd=.")
        for name in ("mean", "sd", "at_most", "at_least", "softness"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(
                as_number(f"OptimalValuePrior: {name}", value, InvalidPriorError)
            ):
                raise InvalidPriorError(f"OptimalValuePrior: {name} must be finite, got {value!r}.")
        if self.sd is not None and self.sd <= 0:
            raise InvalidPriorError(f"OptimalValuePrior: sd must be positive, got {self.sd!r}.")
        if self.softness < 0 or (is_normal and self.softness != 0):
            raise InvalidPriorError(
                f"OptimalValuePrior: softness is of a bound and at least 0, got {self.softness!r}"
                f"{' beside mean= and sd=' if is_normal else ''}."
            )
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise InvalidPriorError(
                f"OptimalValuePrior: at_least={self.at_least!r} lies above at_most={self.at_most!r}."
            )

    @override
    def on(self, space: Space) -> Belief:
        """The belief, which speaks of no place; as in `Prior.on`."""
        return _ValueBelief(self)


@dataclass(frozen=True)
class _ValueBelief(Belief):
    prior: OptimalValuePrior

    @override
    def log_weight(self, functions: Functions) -> FloatArray:
        """Log density of the best value of each function, or the log probability that it keeps to the bounds, `S`."""
        prior, best = self.prior, functions.best
        if prior.mean is not None and prior.sd is not None:
            with np.errstate(over="ignore"):
                return -0.5 * np.square((best - prior.mean) / prior.sd)
        total = np.zeros(len(best))
        for bound, sign in ((prior.at_most, 1.0), (prior.at_least, -1.0)):
            if bound is not None:
                total += log_probability_positive(sign * (bound - best), prior.softness)
        return total


def log_probability_positive(margin: FloatArray, sd: float) -> FloatArray:
    """Log probability that a margin stays positive under normal errors; of a sd of 0, whether it is."""
    if sd == 0.0:
        return np.where(margin >= 0, 0.0, -math.inf)
    from scipy.special import log_ndtr  # late: a study without beliefs need not wait for it

    result: FloatArray = log_ndtr(margin / sd)
    return result
