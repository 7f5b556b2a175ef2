"""The axes of a space as the page draws them: where a value stands on its axis, and which values are written there.

Alphabet. height: place on an axis, 0 at its low end and 1 at its high one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from bayesopt.problem.parameters import Choice, Int, Simplex
from bayesopt.problem.space import Space
from bayesopt.web.texts import shortened

_MOST_OPTIONS: Final = 12
"""Options of a Choice that are written; of more, this many are picked evenly."""
_MOST_TICKS: Final = 6
"""Numbers that are written along an axis."""
_OPTION_WIDTH: Final = 14
"""Characters of an option that are shown."""


@dataclass(frozen=True)
class Axis:
    """A parameter, or one share of a mixture."""

    name: str
    """The parameter."""
    share: str | None
    """Which share of it, if it is a mixture."""
    parameter: Any

    @property
    def label(self) -> str:
        """What is written above it."""
        return shortened(self.name if self.share is None else f"{self.name}.{self.share}")

    def height(self, params: Mapping[str, Any]) -> float | None:
        """Where a configuration stands; None where it does not have the parameter."""
        if self.name not in params:
            return None
        value = params[self.name]
        return float(value[self.share] if self.share is not None else self.parameter.encode(value)[0])

    def ticks(self) -> list[tuple[float, str]]:
        """Heights and texts of the values that are written."""
        if self.share is not None:
            return [(height, f"{height:g}") for height in (0.0, 0.25, 0.5, 0.75, 1.0)]
        if isinstance(self.parameter, Choice):
            options = self.parameter.options
            n = min(len(options), _MOST_OPTIONS)
            picked = [options[round(i * (len(options) - 1) / max(1, n - 1))] for i in range(n)]
            return [(float(self.parameter.encode(o)[0]), shortened(o, _OPTION_WIDTH)) for o in picked]
        return [(float(self.parameter.encode(value)[0]), text) for value, text in _numbers(self.parameter)]


def axes_of(space: Space) -> list[Axis]:
    """Each parameter, and of a mixture each share."""
    return [
        Axis(name, share, parameter)
        for name, parameter in space.items()
        for share in (parameter.names if isinstance(parameter, Simplex) else [None])
    ]


def _numbers(parameter: Any) -> list[tuple[Any, str]]:
    """Round numbers within the bounds; the bounds themselves where few of them are."""
    low, high = parameter.low, parameter.high
    whole = isinstance(parameter, Int)
    values = _log_steps(low, high) if parameter.log else _even_steps(low, high)
    if whole:
        values = sorted({round(value) for value in values if low <= round(value) <= high})
    if len(values) < 2:
        values = sorted({low, high})
    # as many digits as tell neighbours apart
    gap = min((b - a for a, b in pairwise(values)), default=1.0)
    digits = 3 if parameter.log else max(3, math.ceil(math.log10(max(abs(low), abs(high)) / gap)) + 1)
    return [(value, str(value) if whole and abs(value) < 100_000 else f"{value:.{digits}g}") for value in values]


def _even_steps(low: float, high: float) -> list[float]:
    """Up to `_MOST_TICKS` multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / (_MOST_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 0.0
    if power == 0.0:
        return []
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [min(max(step * i, low), high) for i in range(first, last + 1)]


def _log_steps(low: float, high: float) -> list[float]:
    """Powers of ten, or round numbers between them where few powers lie between the bounds."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for multiples in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0)):
        round_numbers = (float(f"{multiple}e{power}") for power in range(first, last + 1) for multiple in multiples)
        inside = [number for number in round_numbers if low <= number <= high]
        if len(inside) >= 3:
            return _thinned(inside, _MOST_TICKS)
    return [low, high]


def _thinned(values: Sequence[float], most: int) -> list[float]:
    return list(values[:: math.ceil(len(values) / most)])
