"""The points of one ask as they are chosen, with what is to be said of each."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Chosen(list[NDArray[np.float64]]):
    """Points of the unit cube, `d` each, in the order of their choice.

    Example:
        >>> chosen = Chosen()
        >>> chosen.append(np.zeros(2))
        >>> chosen.note(around=7)
        >>> chosen.grounds(0)
        {'around': 7}
    """

    def __init__(self) -> None:
        """None yet."""
        super().__init__()
        self._notes: dict[int, dict[str, Any]] = {}

    def note(self, **grounds: Any) -> None:
        """Add to the grounds of the point that was chosen last, in the words of `bayesopt.record.grounds`."""
        self._notes.setdefault(len(self) - 1, {}).update(grounds)

    def expect(self, first: int, expected: Sequence[dict[str, Any]]) -> None:
        """Add what models expect of the points from one on; those of the start were not chosen for that."""
        for index, grounds in enumerate(expected, start=first):
            if "start" not in self._notes.get(index, {}):
                self._notes[index] = grounds | self._notes.get(index, {})

    def grounds(self, index: int) -> dict[str, Any]:
        """What was noted of a point."""
        return self._notes.get(index, {})
