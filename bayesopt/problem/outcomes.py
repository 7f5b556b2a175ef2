"""What a trial is judged by: one objective, and outcomes that must stay on one side of a bound.

Alphabet. margin: signed distance of an outcome to its bound, in the outcome's own units; feasible when <= 0.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bayesopt.errors import InvalidOutcomeError
from bayesopt.problem.arguments import as_number, non_negative

Direction = Literal["minimize", "maximize"]


def _check_name(role: str, name: object) -> None:
    if not isinstance(name, str) or not name.strip():
        raise InvalidOutcomeError(f"{role}: expected the outcome's name, a non-empty string, got {name!r}.")


@dataclass(frozen=True)
class Objective:
    """The outcome to make as small or as large as possible."""

    name: str
    """Its key in what `Study.tell` receives."""
    direction: Direction = "minimize"
    """Which way is better."""

    def __post_init__(self) -> None:
        """Refuse nameless objectives.

        Raises:
            InvalidOutcomeError: If the name is not a non-empty string or the direction is unknown.
        """
        _check_name("objective", self.name)
        if self.direction not in ("minimize", "maximize"):
            raise InvalidOutcomeError(
                f"objective {self.name!r}: direction must be 'minimize' or 'maximize', got {self.direction!r}."
            )

    @property
    def sign(self) -> float:
        """Factor that turns the outcome into something to maximise: +1.0 or -1.0."""
        return 1.0 if self.direction == "maximize" else -1.0


@dataclass(frozen=True)
class _Bound:
    name: str
    """Its key in what `Study.tell` receives."""
    bound: float
    """The limit, in the outcome's own units; the limit itself is allowed."""

    def __post_init__(self) -> None:
        kind = type(self).__name__
        _check_name(kind, self.name)
        bound = as_number(f"{kind}({self.name!r}) bound", self.bound)
        if not math.isfinite(bound):
            raise InvalidOutcomeError(f"{kind}({self.name!r}): the bound must be finite, got {bound!r}.")
        object.__setattr__(self, "bound", bound)


class AtMost(_Bound):
    """An outcome that must not exceed a bound.

    Example:
        >>> AtMost("memory_gb", 24.0).margin(18.0)
        -6.0
    """

    symbol = "<="

    def margin(self, value: float) -> float:
        """How far the value lies above the bound; `<= 0` is feasible."""
        return value - self.bound


class AtLeast(_Bound):
    """An outcome that must reach a bound.

    Example:
        >>> AtLeast("accuracy", 0.9).margin(0.95) <= 0
        True
    """

    symbol = ">="

    def margin(self, value: float) -> float:
        """How far the value lies below the bound; `<= 0` is feasible."""
        return self.bound - value


Constraint = AtMost | AtLeast


@dataclass(frozen=True)
class Outcomes:
    """Everything a trial must report: the objective and the constrained outcomes."""

    objective: Objective
    """What is optimised."""
    constraints: tuple[Constraint, ...] = ()
    """What must hold, each on an outcome of its own or on the objective."""

    def __post_init__(self) -> None:
        """Refuse what is not a constraint, and two equal ones.

        Raises:
            InvalidOutcomeError: If an entry is no `AtMost`/`AtLeast`, or stands twice.
        """
        for entry in self.constraints:
            if not isinstance(entry, AtMost | AtLeast):
                raise InvalidOutcomeError(
                    f"subject_to: expected AtMost(name, bound) or AtLeast(name, bound), got {entry!r}."
                )
        keys = [(type(c), c.name) for c in self.constraints]
        if len(set(keys)) < len(keys):
            raise InvalidOutcomeError(
                f"subject_to: each outcome takes one AtMost and one AtLeast, got {list(self.constraints)!r}."
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Every outcome's name once, the objective first."""
        return tuple(dict.fromkeys([self.objective.name, *(c.name for c in self.constraints)]))

    def parse(self, values: Any) -> dict[str, float | None]:
        """What was told, as floats by name; the declared outcomes first.

        Args:
            values: A mapping from outcome name to number, or the objective's number alone when nothing else is
                declared. None marks a constrained outcome that could not be measured. Undeclared outcomes are kept.

        Returns:
            A dict with every declared outcome and every other one that was given.

        Raises:
            InvalidOutcomeError: If a declared outcome is missing, the objective is None, or a value is no number.
        """
        if not isinstance(values, Mapping):
            if len(self.names) > 1:
                raise InvalidOutcomeError(
                    f"outcomes: expected a dict with {_listed(self.names)}, got {values!r} "
                    f"of type {type(values).__name__}."
                )
            values = {self.objective.name: as_number(self.objective.name, values)}
        for name in values:
            _check_name("outcomes", name)
        missing = [name for name in self.names if name not in values]
        if missing:
            raise InvalidOutcomeError(
                f"outcomes: {_listed(missing)} missing; got {_listed(list(values)) or 'nothing'}. "
                "Give None for a constrained outcome that could not be measured, "
                "and use Study.fail for a trial that broke."
            )
        if values[self.objective.name] is None:
            raise InvalidOutcomeError(
                f"outcomes: the objective {self.objective.name!r} is None; use Study.fail for a trial that broke."
            )
        ordered = [*self.names, *(name for name in values if name not in self.names)]
        return {name: None if values[name] is None else as_number(name, values[name]) for name in ordered}

    def parse_sd(self, sd: Any, told: Mapping[str, float | None]) -> dict[str, float]:
        """Known standard deviations of the noise, as floats by outcome name.

        Args:
            sd: A mapping from outcome name to standard deviation in the outcome's units, or None for none.
            told: The outcomes that were told.

        Returns:
            The same mapping, checked.

        Raises:
            InvalidOutcomeError: If a name was not told, or a value is no finite number of at least 0.
        """
        if sd is None:
            return {}
        if not isinstance(sd, Mapping):
            raise InvalidOutcomeError(f"sd: expected a dict from outcome name to standard deviation, got {sd!r}.")
        unknown = [name for name in sd if name not in told]
        if unknown:
            raise InvalidOutcomeError(f"sd: {unknown[0]!r} is none of the outcomes told, {list(told)}.")
        return {name: non_negative(f"sd of {name}", value, InvalidOutcomeError) for name, value in sd.items()}

    def margins(self, values: Mapping[str, float | None]) -> list[float]:
        """Each constraint's margin for one trial's outcomes; nan where the outcome is unknown."""
        told = [values.get(c.name) for c in self.constraints]
        return [
            math.nan if value is None else constraint.margin(value)
            for constraint, value in zip(self.constraints, told, strict=True)
        ]

    def to_json(self) -> dict[str, Any]:
        """A JSON description that `from_json` reads back."""
        return {
            "objective": {"name": self.objective.name, "direction": self.objective.direction},
            "constraints": [{"kind": type(c).__name__, "name": c.name, "bound": c.bound} for c in self.constraints],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Outcomes":
        """The outcomes that `to_json` described."""
        kinds: dict[str, type[Constraint]] = {"AtMost": AtMost, "AtLeast": AtLeast}
        return cls(
            Objective(**data["objective"]),
            tuple(kinds[c["kind"]](c["name"], c["bound"]) for c in data["constraints"]),
        )

    def differences(self, other: "Outcomes") -> list[str]:
        """What differs from another declaration, one sentence a difference; empty when nothing does."""
        sentences = []
        if self.objective != other.objective:
            sentences.append(
                f"the objective was {self.objective.direction} {self.objective.name!r}, "
                f"now it is {other.objective.direction} {other.objective.name!r}"
            )
        if set(self.constraints) != set(other.constraints):
            sentences.append(
                f"the constraints were {_constraints(self.constraints)}, now they are {_constraints(other.constraints)}"
            )
        return sentences


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _constraints(constraints: Sequence[Constraint]) -> str:
    return "; ".join(f"{c.name} {c.symbol} {c.bound:g}" for c in constraints) or "none"
