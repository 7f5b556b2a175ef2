"""What goes into a mixture tuner and comes out of it: counts of tokens, tables of runs, reports."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bayesopt.errors import InvalidInputError
from bayesopt.problem.arguments import entries, non_negative

Run = tuple[dict[str, float], dict[str, float], str | None]
"""Shares by group, losses by name, and the scale where a column names it."""


@dataclass(frozen=True)
class Interval:
    """A predicted loss."""

    mean: float
    """Posterior mean, in units of the losses."""
    low: float
    """Lower end of the interval,"""
    high: float
    """and its upper end."""


@dataclass(frozen=True)
class MixtureReport:
    """A mixture and what is known of it."""

    mixture: dict[str, float]
    """Shares by group; they sum to 1."""
    target: Interval
    """The target's prediction."""
    losses: dict[str, Interval]
    """That of each loss."""
    observed: float | None
    """The target as it was told; None for a mixture that was not run."""


def by_name(what: str, values: Any, names: Sequence[str]) -> list[float] | None:
    """Positive numbers in the order of the names.

    Args:
        what: The argument's name, for the message.
        values: A list, a dict by name, or None.
        names: The groups.

    Returns:
        The numbers; None for None.

    Raises:
        InvalidInputError: If they are not one positive number a name.
    """
    if values is None:
        return None
    if isinstance(values, Mapping):
        if set(values) != set(names):
            raise InvalidInputError(
                f"MixtureTuner({what}): expected the groups {', '.join(map(str, names))}, "
                f"got {', '.join(map(str, values))}."
            )
        values = [values[name] for name in names]
    listed = [non_negative(f"MixtureTuner({what})", value) for value in entries(f"MixtureTuner({what})", values)]
    if len(listed) != len(names) or min(listed) <= 0:
        raise InvalidInputError(f"MixtureTuner({what}): expected {len(names)} positive numbers, got {listed}.")
    return listed


def share_caps(
    names: Sequence[str], counts: list[float] | None, repeats: float, run_tokens: float | None
) -> dict[str, float] | None:
    """Greatest shares: `repeats` times a group's tokens over those of a run.

    Args:
        names: The groups.
        counts: Tokens of each; None where none is scarce.
        repeats: How often a token may be seen.
        run_tokens: Tokens of a run; None for the sum of the counts.

    Returns:
        Caps by name; None without counts.

    Raises:
        InvalidInputError: If the tokens do not suffice for a run, or run_tokens comes without counts.
    """
    if counts is None:
        if run_tokens is not None:
            raise InvalidInputError(
                "MixtureTuner(run_tokens): it caps shares only beside token_counts; give those too."
            )
        return None
    needed = sum(counts) if run_tokens is None else non_negative("MixtureTuner(run_tokens)", run_tokens)
    if repeats * sum(counts) <= needed:
        raise InvalidInputError(
            f"MixtureTuner: {repeats:g} repeats of {sum(counts):g} tokens leave no choice for a run of {needed:g}; "
            "allow more repeats, or shorten the run."
        )
    return {name: min(1.0, repeats * count / needed) for name, count in zip(names, counts, strict=True)}


def read_runs(path: str | Path, groups: Sequence[str], *, weight: str, loss: str, scale: str | None) -> list[Run]:
    """The runs of a CSV file with a header.

    Args:
        path: The file.
        groups: Names of the groups.
        weight: What a group's name is preceded by in its column's name,
        loss: and a loss's.
        scale: The column of scales, if there is one.

    Returns:
        One run a row.

    Raises:
        InvalidInputError: If a column is missing or a cell is no number.
    """
    with Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows, header = list(reader), list(reader.fieldnames or [])
    wanted = [weight + group for group in groups] + ([] if scale is None else [scale])
    missing = [column for column in wanted if column not in header]
    names = [column for column in header if column.startswith(loss)]
    if missing or not names:
        raise InvalidInputError(
            f"{path}: no column {', '.join(missing) or loss + '...'}; the columns are {', '.join(header) or 'none'}."
        )
    return [
        (
            {group: _cell(path, line, weight + group, row) for group in groups},
            {name.removeprefix(loss): _cell(path, line, name, row) for name in names},
            None if scale is None else row[scale],
        )
        for line, row in enumerate(rows, start=2)
    ]


def _cell(path: str | Path, line: int, column: str, row: Mapping[str, str | None]) -> float:
    try:
        return float(row[column] or "")
    except ValueError:
        raise InvalidInputError(f"{path}, line {line}: {column} is {row[column]!r}, no number.") from None
