"""Which configurations the user believes to be better than which."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from bayesopt.errors import InvalidInputError, InvalidParamsError, InvalidPriorError
from bayesopt.problem.arguments import entries, non_negative
from bayesopt.problem.beliefs import Belief, Functions, Prior
from bayesopt.problem.optimal_value import log_probability_positive
from bayesopt.problem.space import Space

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class PreferencePrior(Prior):
    """Pairs of configurations, the better one first.

    The order is that of the noise-free objective. Each judgement may err by a normal amount on either side, so that it
    holds with probability `Phi(difference / (sqrt(2) softness))`.

    Example:
        >>> PreferencePrior([({"lr": 1e-3}, {"lr": 1e-1})], softness=0.05).softness
        0.05
    """

    pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
    """Better and worse configuration, each with a value for every active parameter."""
    softness: float = 0.0
    """Standard deviation of the error about each configuration, in the objective's units; 0 makes the order certain."""

    def __post_init__(self) -> None:
        """Refuse what is no list of pairs.

        Raises:
            InvalidPriorError: If there is no pair, one is no pair of dicts, or the softness is negative.
        """
        try:
            pairs = entries("pairs", self.pairs)
        except InvalidInputError:
            pairs = ()
        if not pairs or not all(_is_pair(pair) for pair in pairs):
            raise InvalidPriorError(
                "PreferencePrior: expected a non-empty list of pairs of configurations, (better, worse), got "
                f"{self.pairs!r}."
            )
        non_negative("PreferencePrior: softness", self.softness, InvalidPriorError)

    @override
    def on(self, space: Space) -> Belief:
        """The belief on the unit cube of a space; as in `Prior.on`."""
        try:
            points = [[space.encode(space.validate(params)) for params in pair] for pair in self.pairs]
        except InvalidParamsError as error:
            raise InvalidPriorError(f"PreferencePrior: a configuration does not belong to the space: {error}") from None
        return _Preferences(np.concatenate(points), self.softness)


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(params, Mapping) for params in pair)


@dataclass(frozen=True)
class _Preferences(Belief):
    places: FloatArray
    """Better and worse point of the first pair, then of the next, `2 pairs x d`."""
    softness: float

    @property
    @override
    def points(self) -> FloatArray:
        """The points of all pairs."""
        return self.places

    @override
    def log_weight(self, functions: Functions) -> FloatArray:
        """Log probability that every judgement holds of each function, `S`."""
        gain = functions.sign * functions.at_points
        with np.errstate(invalid="ignore"):
            # Both may lie beyond what the objective's scale reaches, where they cannot be told apart.
            lead = np.nan_to_num(gain[::2] - gain[1::2], nan=0.0, posinf=np.inf, neginf=-np.inf)
        return log_probability_positive(lead, np.sqrt(2.0) * self.softness).sum(0)
