"""The axes of a space's parameters: which there are, and which of their values get a tick."""

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogFormatterSciNotation,
    LogLocator,
    MaxNLocator,
    NullFormatter,
)

from bayesopt.plot.drawing import plain
from bayesopt.problem.parameters import Choice, Int, Simplex
from bayesopt.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

_OPTION_WIDTH: Final = 12
"""Characters of an option that are shown."""
_MOST_OPTIONS: Final = 12
"""Options of a Choice that get a tick; of more, this many are picked evenly."""


def axes_of(study: Study) -> list[tuple[str, str | None]]:
    """Each parameter with None, and each mixture with each of its shares."""
    return [
        (name, share)
        for name, parameter in study.space.items()
        for share in (parameter.names if isinstance(parameter, Simplex) else [None])
    ]


def log_ticks(axis: "Axis", low: float, high: float) -> None:
    """Powers of ten, or round numbers where few of them lie between the bounds."""
    if high / low >= 1000:
        axis.set_major_locator(LogLocator(numticks=6))
        axis.set_major_formatter(_decade_formatter(low, high))
        axis.set_minor_formatter(NullFormatter())
    else:
        axis.set_major_locator(FixedLocator(_log_steps(low, high)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(FixedLocator([]))


def _decade_formatter(low: float, high: float) -> Any:
    if low >= 0.01 and high <= 10_000:
        return FuncFormatter(lambda value, _: f"{value:g}")
    return LogFormatterSciNotation()


def _log_steps(low: float, high: float) -> list[float]:
    """Three to six round numbers between two bounds that lie few decades apart."""
    decades = 10.0 ** np.arange(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ([1.0], [1.0, 3.0], [1.0, 2.0, 5.0]):
        round_numbers = sorted(float(f"{d * s:.3g}") for d in decades for s in steps)
        inside = [number for number in round_numbers if low <= number <= high]
        if len(inside) >= 3:
            return inside
    return [low, high]


def option_ticks(ax: "Axes", parameter: Choice) -> None:
    """The options below a panel on which they stand at 0, 1, 2, ..."""
    n = len(parameter.options)
    positions = np.unique(np.linspace(0, n - 1, min(n, _MOST_OPTIONS)).round().astype(int))
    labels = [plain(parameter.options[i], _OPTION_WIDTH) for i in positions]
    crowded = sum(map(len, labels)) > 26
    ax.set_xticks(positions, labels, rotation=30 if crowded else 0, ha="right" if crowded else "center")
    ax.set_xlim(-0.5, n - 0.5)


def axis_ticks(parameter: Any, share: str | None) -> list[tuple[float, str]]:
    """Heights and texts of an axis."""
    if share is not None:
        return [(height, f"{height:g}") for height in (0.0, 0.25, 0.5, 0.75, 1.0)]
    if isinstance(parameter, Choice):
        n = len(parameter.options)
        picked = np.unique(np.linspace(0, n - 1, min(n, _MOST_OPTIONS)).round().astype(int))
        return [((i + 0.5) / n, plain(parameter.options[i], _OPTION_WIDTH)) for i in picked]
    low, high = parameter.low, parameter.high
    if parameter.log and high / low >= 1000:
        decades = 10.0 ** np.arange(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
        values = list(decades[:: max(1, math.ceil(len(decades) / 6))])
    elif parameter.log:
        values = _log_steps(low, high)
    else:
        values = [
            v for v in MaxNLocator(5, integer=isinstance(parameter, Int)).tick_values(low, high) if low <= v <= high
        ]
    if isinstance(parameter, Int):
        values = [int(value) for value in values if low <= int(value) <= high]
    return [(float(parameter.encode(min(max(v, low), high))[0]), _number_text(v)) for v in values]


def _number_text(value: float) -> str:
    if value and not 1e-3 <= abs(value) < 1e5:
        exponent = math.floor(math.log10(abs(value)))
        mantissa = value / 10.0**exponent
        power = rf"10^{{{exponent}}}"
        return rf"${power}$" if math.isclose(mantissa, 1.0) else rf"${mantissa:.3g}\times {power}$"
    return f"{value:g}"
