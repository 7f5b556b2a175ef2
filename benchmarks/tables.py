"""What the committed tables have in common: their looks, and the line that says where they come from."""

import datetime
import math
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any


def machine(runs: Iterable[Mapping[str, Any]]) -> str:
    """Date, machine and versions behind some runs."""
    tools = sorted({run["version"] for run in runs})
    own = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "scipy"))
    return (
        f"{datetime.date.today()}; {os.cpu_count()} cores ({platform.machine()}, virtual machine), one thread a run; "
        f"Python {platform.python_version()}, {own}; {', '.join(tools)}."
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def bold(cells: list[str], values: Sequence[float]) -> list[str]:
    """Cells with those of the least value in bold; nan is no value."""
    finite = [value for value in values if not math.isnan(value)]
    return [
        f"**{cell}**" if finite and value == min(finite) else cell for cell, value in zip(cells, values, strict=True)
    ]
