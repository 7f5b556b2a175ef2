"""Texts as the page has room for them. They are data, not markup: the browser is handed them as text alone."""

import math
from typing import Any, Final

NAME_WIDTH: Final = 60
"""Characters of a name that are sent."""
REASON_WIDTH: Final = 200
"""Characters of a failure's reason in a table."""


def shortened(text: Any, width: int = NAME_WIDTH) -> str:
    """A text on one line, not too long; of a long one both ends, since names that begin alike often end differently."""
    line = " ".join(str(text).split()) or repr(text)
    head = (width - 1) * 3 // 5
    return line if len(line) <= width else f"{line[:head]}…{line[len(line) - (width - 1 - head) :]}"


def number_text(value: float | None) -> str:
    """An outcome, also one that no plain number is."""
    return "not measured" if value is None else f"{value:.6g}"


def value_text(value: Any) -> str:
    """A parameter's value."""
    if isinstance(value, dict):
        return ", ".join(f"{shortened(name, 24)} {share:.3g}" for name, share in value.items())
    return f"{value:.4g}" if isinstance(value, float) else shortened(value)


def json_number(value: float | None, digits: int = 7) -> float | None:
    """A number that JSON can spell, with so many digits; None for any other."""
    return float(f"{value:.{digits}g}") if value is not None and math.isfinite(value) else None
