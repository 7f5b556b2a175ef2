"""Rows of tables that were measured already, so that an interrupted benchmark goes on where it stopped."""

import json
from collections.abc import Callable
from pathlib import Path

FILE = Path(__file__).parents[2] / "build" / "mixture" / "rows.json"
"""Delete it to measure everything anew."""


class Kept:
    """The rows of one run of the benchmark."""

    def __init__(self, *, measure: bool) -> None:
        """Read what there is.

        Args:
            measure: Whether rows that are missing are measured; otherwise they are left out of the tables.
        """
        self._measure = measure
        self.missing: list[str] = []
        self._rows: dict[str, list[str]] = json.loads(FILE.read_text()) if FILE.exists() else {}

    def row(self, section: str, name: str, measured: Callable[[], list[str]]) -> list[list[str]]:
        """One row, its name first, or none where it is missing and not to be measured."""
        key = f"{section}: {name}"
        if key not in self._rows:
            if not self._measure:
                self.missing.append(key)
                return []
            self._rows[key] = measured()
            FILE.parent.mkdir(parents=True, exist_ok=True)
            FILE.write_text(json.dumps(self._rows, indent=1))
            print(name, *self._rows[key], sep=" | ", flush=True)
        return [[name, *self._rows[key]]]
