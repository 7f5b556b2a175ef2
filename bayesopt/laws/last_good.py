"""'My last good configuration' as a law: what worked before is about right."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from bayesopt.errors import InvalidInputError
from bayesopt.laws.base import FixedLaw
from bayesopt.problem.arguments import as_number

_OCTAVES: Final = 1.0
"""How far the optimum moves from one project to the next, give or take: a factor of 2."""


class LastGood(FixedLaw):
    """The numbers of a configuration that worked, each give or take some octaves.

    Example:
        >>> mean, sd = LastGood({"lr": 0.001, "batch_size": 64}).predict({})
        >>> round(2 ** mean["batch_size"]), sd["lr"]
        (64, 1.0)
    """

    def __init__(self, config: Mapping[str, Any], octaves: float | Mapping[str, float] = _OCTAVES) -> None:
        """Remember a configuration.

        Args:
            config: Parameter name to value. Those that are no positive numbers, such as options, have no octaves and
                are left open.
            octaves: How sure it is: a standard deviation for all, or by name.

        Raises:
            InvalidInputError: If no value is a positive number, or a standard deviation is not positive.
        """
        numbers = {
            name: as_number(name, value, InvalidInputError)
            for name, value in config.items()
            if not isinstance(value, bool | str | Mapping) and value is not None
        }
        mean = {name: float(np.log2(value)) for name, value in numbers.items() if 0 < value < np.inf}
        if not mean:
            raise InvalidInputError(f"LastGood: expected at least one positive number, got {dict(config)!r}.")
        sd = {name: octaves.get(name, _OCTAVES) if isinstance(octaves, Mapping) else octaves for name in mean}
        for value in sd.values():
            if not value > 0:
                raise InvalidInputError(f"LastGood(octaves=...): expected a positive number of octaves, got {value!r}.")
        super().__init__(mean, sd)
